//! The foreign functions: what a guest calls by name with `proxy_call_foreign_function`, bytes in and bytes out.
//!
//! Names without a dot are Envoy's, with its encodings; those that begin with `tollgate.` are ours. What is not known here
//! is asked of `Host::foreign_function`. `SUPPORTED.md` lists them with their bounds and tests.
//!
//! # Layouts of ours
//! Numbers are four bytes, little-endian. A list has the form of a list of pairs whose values are empty.
//!
//! | Name | Arguments | Result |
//! |---|---|---|
//! | `tollgate.sha256` | bytes | 32 bytes |
//! | `tollgate.hmac_sha256` | length of the key, key, message | 32 bytes |
//! | `tollgate.jwt_verify` | protobuf: 1 token, then one of 2 secret, 3 PEM, 4 JWK or JWKS, then where wanted 5 issuers, 6 audiences, 7 algorithms, 8 accept tokens without `exp` | protobuf: 1 result, 2 error, 3 claims |
//! | `tollgate.shared_data_delete` | number to compare or 0, key | – |
//! | `tollgate.shared_data_keys` | how the keys begin | list |
//! | `tollgate.shared_data_set_ttl` | milliseconds, number to compare or 0, length of the key, key, value | – |
//! | `tollgate.header_values` | map, name | list |
//! | `tollgate.set_timer` | milliseconds | number of the timer |
//! | `tollgate.cancel_timer` | number of the timer | – |
//! | `tollgate.resolve_dns` | host name | token |
//!
//! # What comes later
//! Timers and looked-up names are told to the root with `proxy_on_foreign_function`, in buffer 8. The number of the context
//! that asked stands first, so that the guest can choose it; it hears nothing for a context that has ended.
//!
//! | Function | Arguments |
//! |---|---|
//! | 1, a timer fired | context, number of the timer |
//! | 2, a name was looked up | context, token, count, that many times to live in seconds, that many addresses with a NUL behind each; a count of 0 is a failure |

use crate::host::{Host, Stream};
use crate::state::State;
use crate::types::Status;

#[cfg(feature = "functions")]
mod declared;
#[cfg(feature = "functions")]
mod digest;
mod headers;
#[cfg(feature = "functions")]
mod jwt;
#[cfg(feature = "functions")]
mod key;
mod lookup;
#[cfg(feature = "functions")]
mod messages;
mod property;
mod shared;
#[cfg(feature = "functions")]
mod signature;
mod timer;
#[cfg(feature = "functions")]
mod zlib;

pub use lookup::DnsRecord;
pub(crate) use lookup::{look_up, records};
pub(crate) use property::write as set_property;

/// The number under which `proxy_on_foreign_function` hears of a timer.
pub(crate) const TIMER: u32 = 1;
/// The number under which it hears of a looked-up name.
pub(crate) const RESOLVED: u32 = 2;

/// Calls a function of this crate, else of the embedder, on the effective context.
pub(crate) fn call<H: Host>(state: &mut State<H>, name: &[u8], args: &[u8]) -> Result<Vec<u8>, Status> {
    match name {
        b"clear_route_cache" => clear_route_cache(state),
        b"tollgate.shared_data_delete" => shared::delete(state, args),
        b"tollgate.shared_data_keys" => shared::keys(state, args),
        b"tollgate.shared_data_set_ttl" => shared::set_ttl(state, args),
        b"tollgate.header_values" => headers::values(state, args),
        b"tollgate.set_timer" => timer::set(state, args),
        b"tollgate.cancel_timer" => timer::cancel(state, args),
        b"tollgate.resolve_dns" => lookup::resolve(state, args),
        _ => call_with_dependencies(state, name, args),
    }
}

#[cfg(feature = "functions")]
fn call_with_dependencies<H: Host>(state: &mut State<H>, name: &[u8], args: &[u8]) -> Result<Vec<u8>, Status> {
    let deadline = &mut state.deadline;
    match name {
        b"compress" => zlib::compress(args, deadline),
        b"uncompress" => zlib::uncompress(args, deadline),
        b"verify_signature" => signature::verify_signature(args, deadline),
        b"sign" => signature::sign(args, deadline),
        b"declare_property" => declared::declare(state, args),
        b"set_envoy_filter_state" => declared::set(state, args),
        b"tollgate.sha256" => digest::sha256(args, deadline),
        b"tollgate.hmac_sha256" => digest::hmac_sha256(args, deadline),
        b"tollgate.jwt_verify" => jwt::jwt_verify(args, jwt::now()),
        _ => state.host.foreign_function(name, args),
    }
}

#[cfg(not(feature = "functions"))]
fn call_with_dependencies<H: Host>(state: &mut State<H>, name: &[u8], args: &[u8]) -> Result<Vec<u8>, Status> {
    state.host.foreign_function(name, args)
}

/// In the root context there is no route, which is fine.
fn clear_route_cache<H: Host>(state: &mut State<H>) -> Result<Vec<u8>, Status> {
    if let Some(stream) = state.contexts.stream() {
        stream.clear_route_cache();
    }
    Ok(Vec::new())
}

/// Reads arguments from the front; what is missing is a bad argument.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn new(args: &'a [u8]) -> Self {
        Reader { rest: args }
    }

    fn number(&mut self) -> Result<u32, Status> {
        let (number, rest) = self.rest.split_first_chunk::<4>().ok_or(Status::BadArgument)?;
        self.rest = rest;
        Ok(u32::from_le_bytes(*number))
    }

    /// Bytes with their length before them.
    fn sized(&mut self) -> Result<&'a [u8], Status> {
        let size = usize::try_from(self.number()?).map_err(|_| Status::BadArgument)?;
        let (bytes, rest) = self.rest.split_at_checked(size).ok_or(Status::BadArgument)?;
        self.rest = rest;
        Ok(bytes)
    }

    /// Everything that was not read.
    fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// Nothing may be left.
    fn end(self) -> Result<(), Status> {
        if self.rest.is_empty() { Ok(()) } else { Err(Status::BadArgument) }
    }
}
