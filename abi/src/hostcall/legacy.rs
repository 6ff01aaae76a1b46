//! Imports that toolchains leave in modules and that are no part of proxy-wasm.

use crate::guest::Guest;
use crate::host::Host;
use crate::memory::{GuestPtr, GuestSlice};

/// Emscripten's libc tells the host that memory grew; this host notices by itself.
pub(super) fn emscripten_notify_memory_growth<H: Host>(_: &mut Guest<'_, H>, _memory: u32) -> wasmtime::Result<()> {
    Ok(())
}

/// Left undefined by the standard library of older C++ SDKs.
pub(super) fn pthread_equal<H: Host>(_: &mut Guest<'_, H>, one: u32, other: u32) -> u32 {
    u32::from(one == other)
}

/// AssemblyScript's failed assertion: strings are UTF-16 with their byte length in front of the pointer.
pub(super) fn abort<H: Host>(
    guest: &mut Guest<'_, H>,
    message: u32,
    file: u32,
    line: u32,
    column: u32,
) -> wasmtime::Result<()> {
    let message = utf16(guest, message);
    let file = utf16(guest, file);
    Err(wasmtime::Error::msg(format!("abort: {message} ({file}:{line}:{column})")))
}

/// The longest part of a message that is shown, in bytes.
const SHOWN: u32 = 1024;

fn utf16<H: Host>(guest: &mut Guest<'_, H>, text: u32) -> String {
    let Ok((memory, _)) = guest.split() else {
        return String::new();
    };
    let Some(head) = text.checked_sub(4) else {
        return String::new();
    };
    let size = GuestPtr(head).read_u32(memory).unwrap_or_default();
    let bytes = GuestSlice::new(text, size.min(SHOWN)).read(memory).unwrap_or_default();
    let (units, _) = bytes.as_chunks::<2>();
    let units: Vec<u16> = units.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
    String::from_utf16_lossy(&units)
}
