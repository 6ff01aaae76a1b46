//! Shared data beyond the two hostcalls: removing, listing, and values that vanish. All of it within the `vm_id`.

use std::time::Duration;

use super::Reader;
use crate::host::Host;
use crate::limits::{self, Quota};
use crate::pairs;
use crate::shared_data::SharedDataError;
use crate::state::State;
use crate::storage::{Refusal, VecHeaderMap};
use crate::types::Status;

/// `tollgate.shared_data_delete`: the number to compare, the key.
pub(super) fn delete<H: Host>(state: &mut State<H>, args: &[u8]) -> Result<Vec<u8>, Status> {
    let mut args = Reader::new(args);
    let cas = args.number()?;
    match state.settings.shared_data.remove(args.rest(), cas) {
        Ok(true) => Ok(Vec::new()),
        Ok(false) => Err(Status::NotFound),
        Err(why) => Err(refuse(state, why)),
    }
}

/// `tollgate.shared_data_keys`: how the keys begin; the result is a list of them in order.
pub(super) fn keys<H: Host>(state: &mut State<H>, prefix: &[u8]) -> Result<Vec<u8>, Status> {
    let keys = state.settings.shared_data.keys(prefix);
    // Room that the encoding takes beside each key: two sizes and two NULs.
    let size: usize = keys.iter().map(|key| key.len() + 10).sum();
    if size > limits::SLICE as usize {
        return Err(Status::BadArgument);
    }
    Ok(pairs::encode(&VecHeaderMap::new(keys.iter().map(|key| (key, b"")))))
}

/// `tollgate.shared_data_set_ttl`: milliseconds, the number to compare, the length of the key, the key, the value.
pub(super) fn set_ttl<H: Host>(state: &mut State<H>, args: &[u8]) -> Result<Vec<u8>, Status> {
    let mut args = Reader::new(args);
    let (ttl, cas) = (args.number()?, args.number()?);
    let key = args.sized()?;
    if ttl == 0 || key.len() > limits::STRING as usize {
        return Err(Status::BadArgument);
    }
    let ttl = Duration::from_millis(u64::from(ttl));
    match state.settings.shared_data.set_for(key, args.rest(), cas, ttl) {
        Ok(()) => Ok(Vec::new()),
        Err(why) => Err(refuse(state, why)),
    }
}

/// SDKs survive no `CasMismatch` from a function.
fn refuse<H: Host>(state: &mut State<H>, why: SharedDataError) -> Status {
    let SharedDataError::Limit(what) = why else {
        return Status::BadArgument;
    };
    state.host.refused("proxy_call_foreign_function", &Refusal::Limit(what));
    state.host.over_quota(Quota::SharedData);
    Status::InternalFailure
}
