//! `tollgate.header_values`: every value of a name, where `proxy_get_header_map_value` gives only the first.

use super::Reader;
use crate::host::Host;
use crate::pairs;
use crate::state::State;
use crate::storage::VecHeaderMap;
use crate::types::{MapType, Status};

/// The map, the name; the result is a list of the values in order. It is as large as the map at most.
pub(super) fn values<H: Host>(state: &mut State<H>, args: &[u8]) -> Result<Vec<u8>, Status> {
    let mut args = Reader::new(args);
    let map = MapType::try_from(args.number()?).map_err(|_| Status::BadArgument)?;
    let name = args.rest();
    let fields = state.map(map).ok_or(Status::NotFound)?;
    let mut values = Vec::new();
    fields.for_each(&mut |known, value| {
        if known.eq_ignore_ascii_case(name) {
            values.push((value.to_vec(), b""));
        }
    });
    if values.is_empty() { Err(Status::NotFound) } else { Ok(pairs::encode(&VecHeaderMap::new(values))) }
}
