//! `declare_property` and `set_envoy_filter_state`, with the messages of Envoy.
//!
//! Types, schemas and life spans are taken and have no effect: every value is bytes and lives as long as its exchange.

use std::sync::Arc;

use prost::Message;

use super::messages::{DeclarePropertyArguments, SetEnvoyFilterStateArguments};
use super::property;
use crate::host::Host;
use crate::limits::{self, Quota};
use crate::state::{State, Writable};
use crate::storage::Refusal;
use crate::types::Status;

/// Declares a property for the whole VM; a second declaration of a name is a bad argument.
pub(super) fn declare<H: Host>(state: &mut State<H>, args: &[u8]) -> Result<Vec<u8>, Status> {
    let args = DeclarePropertyArguments::decode(args).map_err(|_| Status::BadArgument)?;
    if args.name.len() > limits::STRING as usize || state.declared.contains_key(&args.name) {
        return Err(Status::BadArgument);
    }
    if state.declared.len() >= limits::DECLARATIONS {
        state.host.over_quota(Quota::Property);
        state.host.refused("proxy_call_foreign_function", &Refusal::Limit("declared properties"));
        return Err(Status::InternalFailure);
    }
    let writable = if args.readonly { Writable::Once } else { Writable::Always };
    Arc::make_mut(&mut state.declared).insert(args.name, writable);
    Ok(Vec::new())
}

/// Sets a property under the path as it is. Without an exchange there is nowhere to put it.
pub(super) fn set<H: Host>(state: &mut State<H>, args: &[u8]) -> Result<Vec<u8>, Status> {
    let args = SetEnvoyFilterStateArguments::decode(args).map_err(|_| Status::BadArgument)?;
    if args.path.len() > limits::STRING as usize {
        return Err(Status::BadArgument);
    }
    match property::write(state, &args.path, &args.value) {
        Ok(()) => Ok(Vec::new()),
        Err(Refusal::Unavailable) => Err(Status::NotFound),
        Err(why) => {
            state.host.refused("proxy_call_foreign_function", &why);
            Err(Status::BadArgument)
        }
    }
}
