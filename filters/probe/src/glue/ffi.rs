//! Hostcalls below the SDK, which aborts on most statuses: here every status comes back.
//! The only unsafe code of the filters.
#![expect(unsafe_code, reason = "imports can be declared and called in no other way")]

use crate::imports::imports;
use crate::policy::{Arg, Hostcall, Out, Outcome, Value};

/// What arguments refer to that are not in the hostcall itself.
#[derive(Clone, Copy, Default)]
pub(super) struct Frame {
    /// `Arg::Body`.
    pub(super) body: u32,
    /// `Arg::Handle`.
    pub(super) handle: u64,
}

/// Makes one hostcall.
pub(super) fn call(call: &Hostcall, frame: Frame) -> Outcome {
    // Two slots are enough for any argument, and none moves while the host knows where it is.
    let mut slots = vec![[0_u64; 2]; call.args.len()];
    let mut words = Vec::new();
    for (arg, slot) in call.args.iter().zip(&mut slots) {
        push(arg, slot, frame, &mut words);
    }

    let status = import(call.name, &words);

    let outs = call.args.iter().zip(&slots).filter(|_| status == 0);
    let results = outs.filter_map(|(arg, slot)| taken(arg, *slot)).collect();
    Outcome { status, results }
}

fn push(arg: &Arg, slot: &mut [u64; 2], frame: Frame, words: &mut Vec<i64>) {
    match arg {
        Arg::Number(number) => words.push(*number),
        Arg::Body => words.push(frame.body.into()),
        Arg::BodySize => words.push(body_size(frame)),
        Arg::Handle => words.push(frame.handle.cast_signed()),
        Arg::Bytes(bytes) => words.extend([address(bytes.as_ptr()), length(bytes)]),
        Arg::Out(Out::U32 | Out::U64) => words.push(address(&raw mut slot[0])),
        Arg::Out(Out::Bytes | Out::Pairs) => words.extend(slot.each_mut().map(|word| address(word))),
    }
}

fn body_size(frame: Frame) -> i64 {
    match call(&Hostcall::body_size(), frame).results.first() {
        Some(Value::Number(size)) => size.cast_signed(),
        _ => 0,
    }
}

fn address<T>(pointer: *const T) -> i64 {
    u32::try_from(pointer.expose_provenance()).map_or(0, i64::from)
}

fn length(bytes: &[u8]) -> i64 {
    u32::try_from(bytes.len()).map_or(0, i64::from)
}

fn taken(arg: &Arg, slot: [u64; 2]) -> Option<Value> {
    match arg {
        Arg::Out(Out::U32 | Out::U64) => Some(Value::Number(slot[0])),
        Arg::Out(Out::Bytes) => Some(Value::Bytes(owned(slot))),
        Arg::Out(Out::Pairs) => Some(Value::Pairs(owned(slot))),
        _ => None,
    }
}

/// Takes over the bytes that the host left in memory from the guest's allocator.
fn owned([data, size]: [u64; 2]) -> Vec<u8> {
    let (data, size) = (<*mut u8>::of(data.cast_signed()), u32::of(size.cast_signed()) as usize);
    if data.is_null() {
        return Vec::new();
    }
    // SAFETY: spec v0.2.1: after status 0 the two slots hold what `proxy_on_memory_allocate` returned for a request of
    // `size` bytes, and the guest owns it. The SDK makes it there as a boxed slice of that length.
    unsafe { Vec::from_raw_parts(data, size, size) }
}

/// A parameter of an import, from a word of a command.
trait Word {
    fn of(number: i64) -> Self;
}

impl Word for i64 {
    fn of(number: i64) -> Self {
        number
    }
}

impl Word for u32 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a negative word wraps, as documented")]
    fn of(number: i64) -> Self {
        number as Self
    }
}

impl Word for bool {
    fn of(number: i64) -> Self {
        number != 0
    }
}

impl Word for *mut u8 {
    fn of(number: i64) -> Self {
        std::ptr::with_exposed_provenance_mut(u32::of(number) as usize)
    }
}

macro_rules! import {
    ($($name:ident($($word:ty),*);)*) => {
        #[link(wasm_import_module = "env")]
        unsafe extern "C" {
            $(fn $name($(_: $word),*) -> u32;)*
        }

        /// Calls the import of that name; 12, unimplemented, when there is none.
        fn import(name: &str, words: &[i64]) -> u32 {
            let mut words = words.iter().copied();
            let mut next = || words.next().unwrap_or_default();
            match name {
                // SAFETY: the host checks every pointer against the guest's memory. One that a test invents may still
                // name memory in use; what the host then writes there is the test's own wish.
                $(stringify!($name) => unsafe { $name($(<$word>::of(next())),*) },)*
                _ => 12,
            }
        }
    };
}

imports!(import);
