//! Looking host names up: the embedder asks, and the answer comes later as another callback.

use std::net::IpAddr;
use std::time::Duration;

use crate::host::Host;
use crate::limits::{self, Quota};
use crate::state::{Asker, State};
use crate::storage::Refusal;
use crate::types::Status;

/// One address of a host name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DnsRecord {
    /// The address.
    pub address: IpAddr,
    /// How long it may be used.
    pub ttl: Duration,
}

/// `tollgate.resolve_dns`: a host name; the result is the token of the answer.
pub(super) fn resolve<H: Host>(state: &mut State<H>, name: &[u8]) -> Result<Vec<u8>, Status> {
    let asker = Asker::Function(state.contexts.effective());
    Ok(look_up(state, name, asker)?.to_le_bytes().to_vec())
}

/// Has the embedder look a host name up. Look-ups under way are bounded like callouts.
pub(crate) fn look_up<H: Host>(state: &mut State<H>, name: &[u8], asker: Asker) -> Result<u32, Status> {
    let name = std::str::from_utf8(name).ok().filter(|name| (1..=limits::HOST_NAME).contains(&name.len()));
    let name = name.ok_or(Status::BadArgument)?;
    let hostcall = match asker {
        Asker::Envoy => "envoy_resolve_dns",
        Asker::Function(_) => "proxy_call_foreign_function",
    };
    if state.lookups.len() >= state.settings.limits.callouts.in_flight {
        state.host.over_quota(Quota::Callout);
        state.host.refused(hostcall, &Refusal::Limit("look-ups under way"));
        return Err(Status::InternalFailure);
    }
    let token = state.token();
    if let Err(why) = state.host.resolve_dns(token, name) {
        state.host.refused(hostcall, &Refusal::Callout(why));
        return Err(Status::BadArgument);
    }
    state.lookups.insert(token, asker);
    Ok(token)
}

/// Envoy's layout: the count, every time to live in seconds, every address with a NUL behind it.
pub(crate) fn records(records: &[DnsRecord]) -> Vec<u8> {
    let number = |number: u64| u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes();
    let mut bytes = number(records.len() as u64).to_vec();
    for record in records {
        bytes.extend(number(record.ttl.as_secs()));
    }
    for record in records {
        bytes.extend(record.address.to_string().into_bytes());
        bytes.push(0);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_laid_out_as_envoy_does() {
        let record = |address: [u8; 4], ttl| DnsRecord { address: address.into(), ttl: Duration::from_secs(ttl) };

        let bytes = records(&[record([10, 0, 0, 1], 60), record([10, 0, 0, 2], 5)]);

        assert_eq!(bytes, b"\x02\0\0\0\x3c\0\0\0\x05\x00\x00\x0010.0.0.1\x0010.0.0.2\0");
        assert_eq!(records(&[]), [0; 4]);
    }
}
