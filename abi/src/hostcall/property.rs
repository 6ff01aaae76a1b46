//! Properties: what the exchange, the embedder and this crate know under a path.

use crate::fault::Fault;
use crate::foreign;
use crate::guest::Guest;
use crate::host::{Host, Stream};
use crate::limits::{self, Quota};
use crate::memory::{GuestSlice, ResultSlots};
use crate::settings::PluginSettings;
use crate::state::State;
use crate::storage::Refusal;
use crate::types::Status;

/// Hands a value over: the exchange is asked first, then the embedder, then the plugin's own settings.
pub(super) fn proxy_get_property<H: Host>(
    guest: &mut Guest<'_, H>,
    path: u32,
    path_size: u32,
    data: u32,
    size: u32,
) -> Result<(), Fault> {
    let slots = ResultSlots::new(data, size);
    let (memory, state) = guest.split()?;
    slots.check(memory)?;
    let path = state.read(memory, GuestSlice::new(path, path_size))?;
    let value = find(state, path).ok_or(Status::NotFound)?;
    guest.give(slots, &value)
}

/// Writes a value; the path is handed on as it came, separators included.
pub(super) fn proxy_set_property<H: Host>(
    guest: &mut Guest<'_, H>,
    path: u32,
    path_size: u32,
    value: u32,
    size: u32,
) -> Result<(), Fault> {
    let (memory, state) = guest.split()?;
    let path = state.read(memory, GuestSlice::new(path, path_size))?;
    let value = state.read(memory, GuestSlice::new(value, size))?;
    let outcome = match () {
        () if path_size > limits::STRING => Err(Refusal::Limit("bytes of a property path")),
        () if size > limits::SLICE => Err(Refusal::Limit("bytes of a property")),
        () => foreign::set_property(state, path, value),
    };
    match outcome {
        Err(Refusal::Unavailable) => state.refuse("proxy_set_property", &Refusal::Unavailable, Status::NotFound),
        Err(Refusal::Limit(what)) => {
            state.host.over_quota(Quota::Property);
            state.answer("proxy_set_property", Err(Refusal::Limit(what)))
        }
        outcome => state.answer("proxy_set_property", outcome),
    }
}

fn find<H: Host>(state: &mut State<H>, path: &[u8]) -> Option<Vec<u8>> {
    let mut room = [&path[..0]; limits::PATH_SEGMENTS];
    let segments = split(path, &mut room)?;
    let own = state.contexts.stream().and_then(|stream| stream.property(segments));
    own.or_else(|| state.host.property(segments)).or_else(|| plugin(&state.settings, segments))
}

/// The parts between the NULs; one NUL at the end is tolerated. `None` for an empty path and for one of too many parts.
fn split<'a, 'r>(path: &'a [u8], room: &'r mut [&'a [u8]]) -> Option<&'r [&'a [u8]]> {
    let path = path.strip_suffix(&[0]).unwrap_or(path);
    if path.is_empty() {
        return None;
    }
    let mut count = 0;
    for segment in path.split(|byte| *byte == 0) {
        *room.get_mut(count)? = segment;
        count += 1;
    }
    room.get(..count)
}

/// The same with its own room.
#[cfg(any(test, feature = "testing"))]
pub(super) fn parts(path: &[u8]) -> Option<Vec<&[u8]>> {
    let mut room = [&path[..0]; limits::PATH_SEGMENTS];
    split(path, &mut room).map(<[&[u8]]>::to_vec)
}

// C++ guests look themselves up by `plugin_root_id` while their root context is made.
fn plugin(settings: &PluginSettings, segments: &[&[u8]]) -> Option<Vec<u8>> {
    let text = match segments {
        [b"plugin_name"] => &settings.name,
        [b"plugin_root_id"] => &settings.root_id,
        [b"plugin_vm_id"] => &settings.vm_id,
        _ => return None,
    };
    Some(text.clone().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_split_at_nul_and_may_end_in_one() {
        assert_eq!(parts(b"request\0path"), Some(vec![&b"request"[..], b"path"]));
        assert_eq!(parts(b"request\0path\0"), Some(vec![&b"request"[..], b"path"]));
        assert_eq!(parts(b"a\0\0b"), Some(vec![&b"a"[..], b"", b"b"]));
    }

    #[test]
    fn an_empty_path_and_a_path_of_too_many_parts_name_nothing() {
        assert_eq!(parts(b""), None);
        assert_eq!(parts(b"\0"), None);
        assert!(parts(&[b"x\0".repeat(31), b"x".to_vec()].concat()).is_some());
        assert_eq!(parts(&[b"x\0".repeat(32), b"x".to_vec()].concat()), None);
    }
}
