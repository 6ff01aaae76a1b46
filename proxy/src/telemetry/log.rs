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

/// Bytes of a guest's line that are shown.
const GUEST_LINE_BYTES: usize = 4096;

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

/// Writes one line of a guest, with control characters made visible and cut at 4 KiB.
pub fn guest_line(plugin: &str, generation: u64, level: LogLevel, message: &[u8]) {
    let text = GuestText(message);
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
pub struct GuestText<'a>(pub &'a [u8]);

impl fmt::Display for GuestText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (shown, cut) = match self.0.split_at_checked(GUEST_LINE_BYTES) {
            Some((shown, cut)) => (shown, cut.len()),
            None => (self.0, 0),
        };
        for chunk in shown.utf8_chunks() {
            write_visible(f, chunk.valid())?;
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        if cut > 0 { write!(f, " … {cut} bytes more") } else { Ok(()) }
    }
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

/// A token bucket for the lines of one VM: 500 at once, 100 a second after that.
#[derive(Debug)]
pub struct LineBudget {
    /// In thousandths of a line, so that short gaps add up.
    tokens: u64,
    refilled: Instant,
    /// Lines refused since the last one that was granted.
    dropped: u64,
}

impl LineBudget {
    const LINE: u64 = 1_000;
    const BURST: u64 = 500 * Self::LINE;
    const PER_MILLISECOND: u64 = 100 * Self::LINE / 1_000;

    /// A full budget.
    pub fn new(now: Instant) -> LineBudget {
        LineBudget { tokens: Self::BURST, refilled: now, dropped: 0 }
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
        self.tokens = self.tokens.saturating_add(millis.saturating_mul(Self::PER_MILLISECOND)).min(Self::BURST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_of_a_guest_are_made_visible() {
        let text = GuestText(b"a\nb\x1b[31m\tc\x00\xffd \xc3\xa9").to_string();

        assert_eq!(text, "a\\nb\\u{1b}[31m\\tc\\u{0}\\xffd é");
    }

    #[test]
    fn a_line_of_4_kib_is_whole_and_one_byte_more_is_cut() {
        let whole = vec![b'a'; GUEST_LINE_BYTES];
        let longer = vec![b'a'; GUEST_LINE_BYTES + 1];

        assert_eq!(GuestText(&whole).to_string().len(), GUEST_LINE_BYTES);
        assert!(GuestText(&longer).to_string().ends_with("a … 1 bytes more"));
    }

    #[test]
    fn a_burst_is_granted_and_the_line_after_it_refused() {
        let now = Instant::now();
        let mut budget = LineBudget::new(now);

        let granted = (0..500).filter(|_| budget.take(now) == Some(0)).count();

        assert_eq!(granted, 500);
        assert_eq!(budget.take(now), None);
    }

    #[test]
    fn a_hundred_lines_come_back_each_second_and_the_first_tells_of_the_refused() {
        let now = Instant::now();
        let mut budget = LineBudget::new(now);
        while budget.take(now).is_some() {}

        let later = now + Duration::from_secs(1);
        let first = budget.take(later);
        let more = (0..1_000).filter(|_| budget.take(later).is_some()).count();

        assert_eq!(first, Some(1));
        assert_eq!(more, 99);
    }

    #[test]
    fn gaps_shorter_than_a_line_add_up() {
        let now = Instant::now();
        let mut budget = LineBudget::new(now);
        while budget.take(now).is_some() {}

        let step = Duration::from_micros(2_500);
        let granted = (1..=40).filter(|at| budget.take(now + step * *at).is_some()).count();

        assert_eq!(granted, 10);
    }
}
