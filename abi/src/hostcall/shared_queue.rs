//! Queues between VMs.

use crate::fault::Fault;
use crate::guest::Guest;
use crate::host::Host;
use crate::limits::{self, Quota};
use crate::memory::{GuestPtr, GuestSlice, ResultSlots};
use crate::shared_queue::QueueError;
use crate::state::State;
use crate::storage::Refusal;
use crate::types::{QueueId, Status};

/// The queue of this name among those of the plugin's `vm_id`, made when there is none; the guest hears of its messages.
pub(super) fn proxy_register_shared_queue<H: Host>(
    guest: &mut Guest<'_, H>,
    name: u32,
    name_size: u32,
    queue: u32,
) -> Result<(), Fault> {
    let (memory, state) = guest.split()?;
    GuestPtr(queue).check(memory, 4)?;
    let name = state.read(memory, GuestSlice::new(name, name_size))?;
    let settings = &state.settings;
    let registered = match name_size {
        0..=limits::STRING => settings.queues.register(&settings.vm_id, name, &settings.queue_limits),
        _ => Err(QueueError::Limit("bytes of the name of a queue")),
    };
    match registered {
        Ok(id) => {
            state.host.queue_registered(id);
            Ok(GuestPtr(queue).write_u32(memory, id.get())?)
        }
        // Every SDK aborts on an error here. Number 0 names no queue, so what is done with it is NOT_FOUND.
        Err(why) => {
            over(state, "proxy_register_shared_queue", why)?;
            Ok(GuestPtr(queue).write_u32(memory, 0)?)
        }
    }
}

/// The queue that a VM of a `vm_id` registered; an empty `vm_id` is the plugin's own.
pub(super) fn proxy_resolve_shared_queue<H: Host>(
    guest: &mut Guest<'_, H>,
    vm: u32,
    vm_size: u32,
    name: u32,
    name_size: u32,
    queue: u32,
) -> Result<(), Fault> {
    let (memory, state) = guest.split()?;
    GuestPtr(queue).check(memory, 4)?;
    let vm = state.read(memory, GuestSlice::new(vm, vm_size))?;
    let name = state.read(memory, GuestSlice::new(name, name_size))?;
    let vm = if vm.is_empty() { Ok(state.settings.vm_id.as_str()) } else { std::str::from_utf8(vm) };
    let found = vm.ok().and_then(|vm| state.settings.queues.resolve(vm, name));
    let id = found.ok_or(Status::NotFound)?;
    Ok(GuestPtr(queue).write_u32(memory, id.get())?)
}

/// Puts a message at the end.
pub(super) fn proxy_enqueue_shared_queue<H: Host>(
    guest: &mut Guest<'_, H>,
    queue: u32,
    value: u32,
    size: u32,
) -> Result<(), Fault> {
    let (memory, state) = guest.split()?;
    let value = state.read(memory, GuestSlice::new(value, size))?;
    let outcome = match size {
        0..=limits::SLICE => state.settings.queues.enqueue(QueueId(queue), value),
        _ => Err(QueueError::Limit("bytes of a message")),
    };
    outcome.or_else(|why| over(state, "proxy_enqueue_shared_queue", why))
}

/// Takes the oldest message. One that the guest has no room for is lost with the guest's own failure to make room.
pub(super) fn proxy_dequeue_shared_queue<H: Host>(
    guest: &mut Guest<'_, H>,
    queue: u32,
    data: u32,
    size: u32,
) -> Result<(), Fault> {
    let slots = ResultSlots::new(data, size);
    let (memory, state) = guest.split()?;
    slots.check(memory)?;
    match state.settings.queues.dequeue(QueueId(queue)) {
        Ok(message) => guest.give(slots, &message),
        Err(why) => over(state, "proxy_dequeue_shared_queue", why),
    }
}

fn over<H: Host>(state: &mut State<H>, hostcall: &'static str, why: QueueError) -> Result<(), Fault> {
    match why {
        QueueError::NotFound => Err(Status::NotFound.into()),
        QueueError::Empty => Err(Status::Empty.into()),
        QueueError::Limit(what) => {
            state.host.over_quota(Quota::Queue);
            state.refuse(hostcall, &Refusal::Limit(what), Status::InternalFailure)
        }
    }
}
