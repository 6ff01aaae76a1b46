//! The proxy's own log on standard error, and the lines that guests write into it.
//!
//! What one exchange did is the access log's matter, not this one's. `TOLLGATE_LOG` chooses levels
//! (`TOLLGATE_LOG=info,tollgate::filter=debug`); without it the level is info.

use std::fmt;
use std::time::{Duration, Instant};

use tollgate_abi::LogLevel;
use tracing_subscriber::EnvFilter;

/// The environment variable that chooses levels.
pub const VARIABLE: &str = "TOLLGATE_LOG";

/// The target of every line that a guest wrote.
const GUEST_TARGET: &str = "tollgate::filter";

/// How lines of the log are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Words for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Sends the log to standard error from here on. Where a log exists already, that one stays.
pub fn init(format: LogFormat) {
    let chosen = std::env::var(VARIABLE).ok();
    let (filter, unreadable) = match chosen.as_deref().map(EnvFilter::try_new) {
        Some(Ok(filter)) => (filter, false),
        Some(Err(_)) => (EnvFilter::new("info"), true),
        None => (EnvFilter::new("info"), false),
    };
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // An error means that an embedder or a test has set up a log of its own.
    let _ = match format {
        LogFormat::Text => log.with_ansi(false).try_init(),
        LogFormat::Json => log.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init(),
    };
    if unreadable {
        tracing::warn!(value = chosen, "{VARIABLE} cannot be read, so the level is info");
    }
}

/// Writes one line of a guest.
pub fn guest_line(plugin: &str, generation: u64, level: LogLevel, text: &GuestText<'_>) {
    match level {
        LogLevel::Trace => tracing::trace!(target: GUEST_TARGET, filter = plugin, generation, "{text}"),
        LogLevel::Debug => tracing::debug!(target: GUEST_TARGET, filter = plugin, generation, "{text}"),
        LogLevel::Info => tracing::info!(target: GUEST_TARGET, filter = plugin, generation, "{text}"),
        LogLevel::Warn => tracing::warn!(target: GUEST_TARGET, filter = plugin, generation, "{text}"),
        LogLevel::Error => tracing::error!(target: GUEST_TARGET, filter = plugin, generation, "{text}"),
        LogLevel::Critical => {
            tracing::error!(target: GUEST_TARGET, filter = plugin, generation, critical = true, "{text}");
        }
    }
}

/// The bytes of a guest as one line that cannot steer a terminal or start another line.
///
/// What is past the limit is left out; the line says how much that is.
#[derive(Clone, Copy, Debug)]
pub struct GuestText<'a> {
    /// What the guest wrote.
    pub bytes: &'a [u8],
    /// The most of it that is shown, in bytes.
    pub limit: usize,
}

impl fmt::Display for GuestText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = cut(self.bytes, self.limit);
        for chunk in shown.utf8_chunks() {
            write_visible(f, chunk.valid())?;
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        match self.bytes.len() - shown.len() {
            0 => Ok(()),
            more => write!(f, " … {more} bytes more"),
        }
    }
}

/// The first `limit` bytes, or up to three fewer where a character would be torn.
pub(super) fn cut(bytes: &[u8], limit: usize) -> &[u8] {
    let Some((shown, _)) = bytes.split_at_checked(limit) else { return bytes };
    let torn = shown.utf8_chunks().last().map_or(0, |last| last.invalid().len());
    let (whole, rest) = bytes.split_at(limit - torn);
    // Bytes at the end that are no text are torn from a character only where more bytes make them one.
    let character = rest.utf8_chunks().next().is_some_and(|next| !next.valid().is_empty());
    if character { whole } else { shown }
}

/// Writes text with each control character as its escape.
pub(super) fn write_visible(f: &mut impl fmt::Write, text: &str) -> fmt::Result {
    for char in text.chars() {
        match char {
            control if control.is_control() => write!(f, "{}", control.escape_default())?,
            // These end a line for some readers without being control characters.
            '\u{2028}' | '\u{2029}' => write!(f, "{}", char.escape_default())?,
            plain => f.write_char(plain)?,
        }
    }
    Ok(())
}

/// What the guest of one VM may write to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineQuota {
    /// Lines a second, in the long run.
    pub per_second: u32,
    /// Lines at once.
    pub burst: u32,
    /// Bytes of a line that are shown.
    pub bytes: usize,
}

impl Default for LineQuota {
    fn default() -> LineQuota {
        LineQuota { per_second: 100, burst: 500, bytes: 4096 }
    }
}

/// A token bucket for the lines of one VM.
#[derive(Clone, Debug)]
pub struct LineBudget {
    quota: LineQuota,
    /// In thousandths of a line, so that short gaps add up.
    tokens: u64,
    refilled: Instant,
    /// Lines refused since the last one that was granted.
    dropped: u64,
}

impl LineBudget {
    const LINE: u64 = 1_000;

    /// A full budget.
    pub fn new(quota: LineQuota, now: Instant) -> LineBudget {
        LineBudget { quota, tokens: u64::from(quota.burst) * Self::LINE, refilled: now, dropped: 0 }
    }

    /// Bytes of a line that are shown.
    pub fn bytes(&self) -> usize {
        self.quota.bytes
    }

    /// Asks for one line. `Some` grants it and says how many lines were refused since the last one granted;
    /// `None` refuses it.
    pub fn take(&mut self, now: Instant) -> Option<u64> {
        self.refill(now);
        let Some(left) = self.tokens.checked_sub(Self::LINE) else {
            self.dropped += 1;
            return None;
        };
        self.tokens = left;
        Some(std::mem::take(&mut self.dropped))
    }

    fn refill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.refilled).as_millis();
        let millis = u64::try_from(elapsed).unwrap_or(u64::MAX);
        // Less than a millisecond stays on the clock for the next call.
        self.refilled = self.refilled.checked_add(Duration::from_millis(millis)).unwrap_or(now);
        // Lines a second are thousandths of a line a millisecond.
        let earned = millis.saturating_mul(self.quota.per_second.into());
        self.tokens = self.tokens.saturating_add(earned).min(u64::from(self.quota.burst) * Self::LINE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(bytes: &[u8], limit: usize) -> String {
        GuestText { bytes, limit }.to_string()
    }

    #[test]
    fn control_characters_of_a_guest_are_made_visible() {
        let text = shown(b"a\nb\x1b[31m\tc\x00\xffd \xc3\xa9", 4096);

        assert_eq!(text, "a\\nb\\u{1b}[31m\\tc\\u{0}\\xffd é");
    }

    #[test]
    fn a_line_at_its_limit_is_whole_and_one_byte_more_is_cut_and_says_so() {
        assert_eq!(shown(b"abcd", 4), "abcd");
        assert_eq!(shown(b"abcde", 4), "abcd … 1 bytes more");
        assert_eq!(shown(b"", 0), "");
        assert_eq!(shown(b"a", 0), " … 1 bytes more");
    }

    #[test]
    fn a_line_is_cut_between_characters_and_bytes_that_are_none_are_cut_anywhere() {
        let text = "aé€𝄞".as_bytes();
        let lengths: Vec<_> = (0..=text.len()).map(|limit| cut(text, limit).len()).collect();

        assert_eq!(lengths, [0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10]);
        assert_eq!(cut(&[0xff; 9], 5), [0xff; 5]);
        assert_eq!(cut(b"a\xe2\x82zzzz", 3), b"a\xe2\x82");
    }

    #[test]
    fn a_burst_is_granted_and_the_line_after_it_refused() {
        let now = Instant::now();
        for burst in [0, 1, 500] {
            let mut budget = LineBudget::new(LineQuota { burst, ..LineQuota::default() }, now);

            let granted = (0..burst).filter(|_| budget.take(now) == Some(0)).count();

            assert_eq!(u32::try_from(granted), Ok(burst));
            assert_eq!(budget.take(now), None);
        }
    }

    #[test]
    fn a_quota_of_lines_comes_back_each_second_and_the_first_tells_of_the_refused() {
        let now = Instant::now();
        for (per_second, more) in [(100, 99), (7, 6), (1, 0)] {
            let mut budget = LineBudget::new(LineQuota { per_second, ..LineQuota::default() }, now);
            while budget.take(now).is_some() {}

            let later = now + Duration::from_secs(1);
            let first = budget.take(later);

            assert_eq!(first, Some(1));
            assert_eq!((0..1_000).filter(|_| budget.take(later).is_some()).count(), more);
        }
    }

    #[test]
    fn without_lines_a_second_the_burst_is_all() {
        let now = Instant::now();
        let mut budget = LineBudget::new(LineQuota { per_second: 0, burst: 1, bytes: 1 }, now);

        assert_eq!(budget.take(now), Some(0));
        assert_eq!(budget.take(now + Duration::from_secs(1 << 30)), None);
    }

    #[test]
    fn a_pause_of_any_length_earns_no_more_than_the_burst() {
        let now = Instant::now();
        let most = LineQuota { per_second: u32::MAX, burst: 3, bytes: 1 };
        let mut budget = LineBudget::new(most, now);
        let later = now + Duration::from_secs(1 << 30);

        assert_eq!((0..10).filter(|_| budget.take(later).is_some()).count(), 3);
    }

    #[test]
    fn gaps_shorter_than_a_line_add_up() {
        let now = Instant::now();
        let mut budget = LineBudget::new(LineQuota::default(), now);
        while budget.take(now).is_some() {}

        let step = Duration::from_micros(2_500);
        let granted = (1..=40).filter(|at| budget.take(now + step * *at).is_some()).count();

        assert_eq!(granted, 10);
    }
}
