//! Limits: everything that waits has a timeout, everything that grows has a bound, and each is here.
//! Keeping to them is the proxy's work.

use std::time::Duration;

use schemars::{Schema, json_schema};
use serde_json::Value;

use crate::ratio::{Part, Ratio};
use crate::scalar::{Bare, Scalar, Unfit};
use crate::unit::ByteSize;

/// The bounds of connections, exchanges and upstream traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most header fields of a request or a response.
    pub headers: usize,
    /// The most bytes of a head: start line and header fields.
    pub header_bytes: ByteSize,
    /// The longest wait for the head of a request once its first byte came.
    pub header_timeout: Duration,
    /// How long a client's connection may stay without a request.
    pub idle_timeout: Duration,
    /// The longest wait for the end of a request once its head came.
    pub request_timeout: Duration,
    /// The least bytes a second that a client has to send of a body that is waited for; `None`: any.
    pub body_rate: Option<ByteSize>,
    /// How long a client may be slow at first, and over how long its rate is averaged after that.
    pub body_grace: Duration,
    /// How long an exchange, or a connection that is passed on, may stay without a byte in either direction.
    pub stream_idle_timeout: Duration,
    /// How long a write to a client may take nothing.
    pub write_timeout: Duration,
    /// How long exchanges may go on after the proxy was told to stop.
    pub drain_timeout: Duration,
    /// The most connections of clients: of a listener, to it; for all, in the whole process, where it has descriptors enough.
    pub connections: usize,
    /// The longest wait for a new connection to an endpoint.
    pub connect_timeout: Duration,
    /// The longest wait for one of the connections to an endpoint, when it may have no more of them.
    pub pool_timeout: Duration,
    /// How long an unused connection to an endpoint is kept.
    pub upstream_idle_timeout: Duration,
    /// The most connections to one endpoint, in the whole process.
    pub upstream_connections: usize,
    /// The most exchanges that wait for a connection to one endpoint.
    pub pending: usize,
    /// The most concurrent exchanges on one HTTP/2 connection.
    pub streams: u32,
    /// The most bytes of one body that one filter may hold back.
    pub buffer: ByteSize,
    /// How long exchanges may go on in a generation of a plugin that was replaced.
    pub retire_timeout: Duration,
    /// How long an upgraded connection may go on in such a generation; `None`: until it ends.
    pub upgrade_age: Option<Duration>,
    /// The most memory that may be resident before requests are refused.
    pub memory: MemoryLimit,
    /// The most time that compiling one module may take, of the clock and of a processor.
    pub compile_time: Duration,
    /// The most bytes of memory that compiling one module may take.
    pub compile_memory: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            headers: 100,
            header_bytes: ByteSize::kib(60),
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            request_timeout: Duration::from_secs(300),
            body_rate: Some(ByteSize::kib(1)),
            body_grace: Duration::from_secs(10),
            stream_idle_timeout: Duration::from_secs(300),
            write_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(30),
            connections: 20_000,
            connect_timeout: Duration::from_secs(2),
            pool_timeout: Duration::from_secs(2),
            upstream_idle_timeout: Duration::from_secs(60),
            upstream_connections: 1024,
            pending: 1024,
            streams: 100,
            buffer: ByteSize::kib(1024),
            retire_timeout: Duration::from_secs(300),
            upgrade_age: None,
            memory: MemoryLimit::Share(Ratio::of_percent(90)),
            compile_time: Duration::from_secs(30),
            compile_memory: 2 << 30,
        }
    }
}

/// How much memory the process may have before it refuses requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryLimit {
    /// Any amount.
    Off,
    /// So much, more than nothing, of what its control group allows; any amount where that allows any.
    Share(Ratio),
    /// So many bytes.
    Size(ByteSize),
}

impl Scalar for MemoryLimit {
    const EXPECTED: &'static str = "\"off\", a size such as 512MiB, or a share such as 90%";
    const BARE: Bare = Bare::Lacks(&["MiB", "GiB"]);

    fn parse(text: &str) -> Result<MemoryLimit, Unfit> {
        match text {
            "off" => Ok(MemoryLimit::Off),
            _ if text.ends_with('%') => Part::parse(text).map(|Part(share)| MemoryLimit::Share(share)),
            _ if text.starts_with(|letter: char| letter.is_ascii_digit()) => {
                ByteSize::parse(text).map(MemoryLimit::Size)
            }
            _ => Err(Unfit::value("is not known here; write \"off\", a size such as 512MiB, or a share such as 90%")),
        }
    }

    fn spell(&self) -> Value {
        match self {
            MemoryLimit::Off => "off".into(),
            MemoryLimit::Share(share) => share.spell(),
            MemoryLimit::Size(size) => size.spell(),
        }
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": r"^(off|[0-9]+(B|KiB|MiB|GiB|kB|MB|GB)|[0-9]+(\.[0-9]{1,4})?%)$" })
    }
}

/// A duration, or `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Age(pub(crate) Option<Duration>);

impl Scalar for Age {
    const EXPECTED: &'static str = "\"off\" or a duration such as 1h";
    const BARE: Bare = Duration::BARE;

    fn parse(text: &str) -> Result<Age, Unfit> {
        match text {
            "off" => Ok(Age(None)),
            _ if text.starts_with(|letter: char| letter.is_ascii_digit()) => {
                Duration::parse(text).map(|age| Age(Some(age)))
            }
            _ => Err(Unfit::value("is not known here; write \"off\" or a duration such as 1h")),
        }
    }

    fn spell(&self) -> Value {
        self.0.map_or_else(|| "off".into(), |age| age.spell())
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^(off|[0-9]+(ms|s|m|h))$" })
    }
}

/// Bytes a second, or `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate(pub(crate) Option<ByteSize>);

impl Scalar for Rate {
    const EXPECTED: &'static str = "\"off\" or a size a second such as 1KiB";
    const BARE: Bare = ByteSize::BARE;

    fn parse(text: &str) -> Result<Rate, Unfit> {
        match text {
            "off" => Ok(Rate(None)),
            _ if text.starts_with(|letter: char| letter.is_ascii_digit()) => {
                ByteSize::parse(text).map(|rate| Rate(Some(rate)))
            }
            _ => Err(Unfit::value("is not known here; write \"off\" or a size a second such as 1KiB")),
        }
    }

    fn spell(&self) -> Value {
        self.0.map_or_else(|| "off".into(), |rate| rate.spell())
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^(off|[0-9]+(B|KiB|MiB|GiB|kB|MB|GB))$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_size_or_off() {
        assert_eq!(Rate::parse("off"), Ok(Rate(None)));
        assert_eq!(Rate::parse("2KiB"), Ok(Rate(Some(ByteSize::kib(2)))));
        assert_eq!(Rate(None).spell(), "off");
        assert_eq!(Rate(Some(ByteSize::kib(1))).spell(), "1KiB");
        for text in ["", "on", "none", "0B", "1024", "1KiB/s"] {
            assert!(Rate::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn memory_is_a_size_a_share_or_off() {
        let read = ["off", "512MiB", "90%"].map(|text| MemoryLimit::parse(text).unwrap());

        let (share, size) = (Ratio::of_percent(90), ByteSize::kib(512 * 1024));
        assert_eq!(read, [MemoryLimit::Off, MemoryLimit::Size(size), MemoryLimit::Share(share)]);
        assert_eq!(read.map(|limit| limit.spell()), ["off", "512MiB", "90%"]);
        for text in ["", "on", "0%", "101%", "0B", "512", "-5%", "5 %", "half"] {
            assert!(MemoryLimit::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_age_is_a_duration_or_off() {
        assert_eq!(Age::parse("off"), Ok(Age(None)));
        assert_eq!(Age::parse("1h"), Ok(Age(Some(Duration::from_secs(3600)))));
        assert_eq!(Age(None).spell(), "off");
        assert_eq!(Age(Some(Duration::from_secs(60))).spell(), "1m");
        for text in ["", "on", "none", "0s", "60", "9000h"] {
            assert!(Age::parse(text).is_err(), "{text}");
        }
    }
}
