//! HTTP/1.1 as bytes (RFC 9112): heads, bodies and what is on its way to a socket. Who speaks, and when, is `upstream::h1`'s;
//! hyper serves clients, which costs no more there (`benches/README.md`).
//!
//! A head's names and values are parts of the buffer that it was read into, and a body's pieces too: nothing is copied but
//! what is small. The grammar of heads is httparse's.

pub(crate) mod decode;
pub(crate) mod encode;
pub(crate) mod head;
pub(crate) mod out;
