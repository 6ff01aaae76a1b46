//! What one row of the table says: how a hostile module is met, and exactly what comes of it.

use crate::common::wire::Message;

/// How a client asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    Get,
    Head,
    /// With a body of a declared length.
    Post,
    /// With chunks and a trailer, both ways.
    Trailers,
    /// For an answer whose second part comes when its head has arrived.
    Late,
    /// As gRPC does.
    Grpc,
    /// A connection without HTTP, over which `ping` is sent and comes back.
    Tcp,
}

/// What the client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// An answer of that status, whole. With 200, it and what the origin sees are those of an honest exchange, unless
    /// `Row::seen` says what else they are.
    Status(u16),
    /// An answer that visibly breaks off; over TCP, a reset.
    Cut,
    /// Over TCP, what was sent.
    Echo,
    /// No load: the error's code, and what its text says.
    Refused(&'static str, &'static [&'static str]),
}

/// An exchange that a filter was allowed to change, beside the honest one before it.
pub(crate) struct Seen<'a> {
    pub(crate) honest: &'a Message,
    pub(crate) answer: &'a Message,
    /// What the origin was asked, if it was.
    pub(crate) request: Option<&'a Message>,
}

/// One module.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    /// `group/name`.
    pub(crate) name: &'static str,
    pub(crate) ask: Ask,
    pub(crate) end: End,
    /// The same for a lenient plugin.
    pub(crate) lenient: End,
    /// The kind under which its failure is counted; there is one failure then, and none otherwise.
    pub(crate) dies: Option<&'static str>,
    /// The quota that it passes.
    pub(crate) over: Option<&'static str>,
    /// CPU time of one callback.
    pub(crate) time: &'static str,
    /// Further settings of the plugin.
    pub(crate) settings: &'static str,
    /// Its filter chain; `self` is the module.
    pub(crate) chain: &'static [&'static str],
    /// MiB that it may keep in the proxy beside its memory, by its quotas and the limits of a message.
    pub(crate) keeps: u64,
    /// True for one that goes on after its exchange, and gets a process of its own.
    pub(crate) alone: bool,
    pub(crate) seen: Option<fn(&Seen) -> bool>,
}

impl Row {
    const fn new(name: &'static str, ask: Ask, end: End) -> Row {
        Row {
            name,
            ask,
            end,
            lenient: end,
            dies: None,
            over: None,
            time: "10ms",
            settings: "on_error: deny",
            chain: &["self"],
            keeps: 0,
            alone: false,
            seen: None,
        }
    }

    pub(crate) const fn ask(self, ask: Ask) -> Row {
        Row { ask, ..self }
    }

    pub(crate) const fn lenient(self, lenient: End) -> Row {
        Row { lenient, ..self }
    }

    pub(crate) const fn dies(self, kind: &'static str) -> Row {
        Row { dies: Some(kind), ..self }
    }

    pub(crate) const fn over(self, quota: &'static str) -> Row {
        Row { over: Some(quota), ..self }
    }

    /// More CPU time than usual, so that a bound ends it rather than a deadline.
    pub(crate) const fn slow(self) -> Row {
        Row { time: "5s", ..self }
    }

    pub(crate) const fn with(self, settings: &'static str) -> Row {
        Row { settings, ..self }
    }

    pub(crate) const fn chain(self, chain: &'static [&'static str]) -> Row {
        Row { chain, ..self }
    }

    pub(crate) const fn keeps(self, mib: u64) -> Row {
        Row { keeps: mib, ..self }
    }

    pub(crate) const fn alone(self) -> Row {
        Row { alone: true, ..self }
    }

    pub(crate) const fn seen(self, seen: fn(&Seen) -> bool) -> Row {
        Row { seen: Some(seen), ..self }
    }

    /// The part of the name before the slash.
    pub(crate) fn group(&self) -> &'static str {
        self.name.split('/').next().unwrap()
    }

    /// The part behind it.
    pub(crate) fn stem(&self) -> &'static str {
        self.name.rsplit('/').next().unwrap()
    }
}

/// An exchange as if the filter were honest.
pub(crate) const fn honest(name: &'static str) -> Row {
    Row::new(name, Ask::Get, End::Status(200))
}

/// An answer of that status.
pub(crate) const fn answers(name: &'static str, status: u16) -> Row {
    Row::new(name, Ask::Get, End::Status(status))
}

/// 503, and a failure of that kind.
pub(crate) const fn fails(name: &'static str, kind: &'static str) -> Row {
    answers(name, 503).dies(kind)
}

/// An answer that breaks off, although nothing failed.
pub(crate) const fn breaks(name: &'static str) -> Row {
    Row::new(name, Ask::Get, End::Cut)
}

/// An answer that breaks off, and a failure of that kind.
pub(crate) const fn cuts(name: &'static str, kind: &'static str) -> Row {
    breaks(name).dies(kind)
}

/// An honest exchange, and a failure of that kind after it.
pub(crate) const fn fails_after(name: &'static str, kind: &'static str) -> Row {
    honest(name).dies(kind)
}

/// A local response that cannot be sent: 500.
pub(crate) const fn unsendable(name: &'static str) -> Row {
    answers(name, 500)
}

/// A module that is never loaded.
pub(crate) const fn refused(name: &'static str, code: &'static str, says: &'static [&'static str]) -> Row {
    Row::new(name, Ask::Get, End::Refused(code, says))
}

/// A connection that is reset.
pub(crate) const fn resets(name: &'static str) -> Row {
    Row::new(name, Ask::Tcp, End::Cut)
}

/// A connection as if the filter were honest.
pub(crate) const fn echoes(name: &'static str) -> Row {
    Row::new(name, Ask::Tcp, End::Echo)
}
