//! What a VM is lent with each callback: an exchange or a connection that is passed on, and whom it goes back to.

use std::rc::Rc;

use tollgate_abi::{Buffer, BufferType, HeaderMap, LocalResponse, MapType, Refusal, Stream, StreamType};

use crate::exchange::Exchange;
use crate::exchange::passage::{Passage, PassageStream};
use crate::exchange::stream::FilterStream;

/// See the module. The boxes are what moves: lending costs a pointer.
#[derive(Debug)]
pub enum Lent {
    /// Of an exchange.
    Http(Box<FilterStream>),
    /// Of a connection.
    Tcp(Box<PassageStream>),
}

impl From<Box<FilterStream>> for Lent {
    fn from(stream: Box<FilterStream>) -> Self {
        Self::Http(stream)
    }
}

impl From<Box<PassageStream>> for Lent {
    fn from(stream: Box<PassageStream>) -> Self {
        Self::Tcp(stream)
    }
}

/// Calls the same method of either.
macro_rules! either {
    ($lent:expr, $stream:ident => $call:expr) => {
        match $lent {
            Lent::Http($stream) => $call,
            Lent::Tcp($stream) => $call,
        }
    };
}

impl Stream for Lent {
    fn headers(&mut self, map: MapType) -> Option<&mut dyn HeaderMap> {
        either!(self, stream => stream.headers(map))
    }

    fn buffer(&mut self, buffer: BufferType) -> Option<&mut dyn Buffer> {
        either!(self, stream => stream.buffer(buffer))
    }

    fn property(&mut self, path: &[&[u8]]) -> Option<Vec<u8>> {
        either!(self, stream => stream.property(path))
    }

    fn set_property(&mut self, path: &[u8], value: &[u8]) -> Result<(), Refusal> {
        either!(self, stream => stream.set_property(path, value))
    }

    fn local_response(&mut self, response: LocalResponse) -> Result<(), Refusal> {
        either!(self, stream => stream.local_response(response))
    }

    fn check_response(&mut self, response: &LocalResponse) -> Result<(), Refusal> {
        either!(self, stream => stream.check_response(response))
    }

    fn response_refused(&mut self) {
        either!(self, stream => stream.response_refused());
    }

    fn resume(&mut self, half: StreamType) {
        either!(self, stream => stream.resume(half));
    }

    fn close(&mut self, half: StreamType) {
        either!(self, stream => stream.close(half));
    }

    fn clear_route_cache(&mut self) {
        either!(self, stream => stream.clear_route_cache());
    }

    fn done(&mut self) {
        either!(self, stream => stream.done());
    }
}

/// Whose a context is.
pub enum Lender {
    /// An exchange's.
    Exchange(Rc<Exchange>),
    /// A connection's.
    Passage(Rc<Passage>),
}

impl Lender {
    /// Takes out what filters see, for the filter at `place`. `None` while it is lent already.
    pub fn lend(&self, place: usize) -> Option<Lent> {
        match self {
            Self::Exchange(exchange) => exchange.lend().map(|mut stream| {
                stream.holder = place;
                Lent::Http(stream)
            }),
            Self::Passage(passage) => passage.stream.take().map(|mut stream| {
                stream.holder = place;
                Lent::Tcp(stream)
            }),
        }
    }

    /// Takes back what `lend` gave the filter of this name, and wakes its owner where the filter wished something. A wish
    /// that leaves an exchange no choice ends it even while it waits for its upstream.
    pub fn take_back(&self, lent: Lent, name: &str) {
        match (self, lent) {
            (Self::Exchange(exchange), Lent::Http(mut stream)) => {
                let (ending, wishes) = (stream.take_ending(name), stream.has_wishes());
                exchange.stream.set(Some(stream));
                match ending {
                    Some(reason) => exchange.interrupt(reason),
                    None if wishes => exchange.wake(),
                    None => {}
                }
            }
            (Self::Passage(passage), Lent::Tcp(stream)) => {
                let wishes = stream.has_wishes();
                passage.stream.set(Some(stream));
                if wishes {
                    passage.wake();
                }
            }
            // A VM gives back what it got.
            _ => {}
        }
    }

    /// Has its owner look at what changed.
    pub fn wake(&self) {
        match self {
            Self::Exchange(exchange) => exchange.wake(),
            Self::Passage(passage) => passage.wake(),
        }
    }
}
