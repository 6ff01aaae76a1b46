//! WASI preview 1, every function of it, without files and sockets: toolchains import them, filters rarely call them.
//!
//! Clocks, random bytes, configured variables, standard output as log lines, and `proc_exit` work; the rest answers an
//! error code that libraries survive. The names are the same under `wasi_snapshot_preview1` and `wasi_unstable`.

use std::time::Instant;

use crate::fault::{Exit, Fault};
use crate::guest::Guest;
use crate::host::Host;
use crate::limits;
use crate::memory::{GuestPtr, GuestSlice};
use crate::row::{Answer, Row, rows};
use crate::settings::PluginSettings;
use crate::types::{LogLevel, Status};

/// A WASI error number; 0 never occurs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Errno(u32);

impl Errno {
    const BADF: Errno = Errno(8);
    const FAULT: Errno = Errno(21);
    const INVAL: Errno = Errno(28);
    const IO: Errno = Errno(29);
    const NOENT: Errno = Errno(44);
    const NOSYS: Errno = Errno(52);
    const NOTSUP: Errno = Errno(58);
    const SPIPE: Errno = Errno(70);
}

impl From<Errno> for u32 {
    fn from(errno: Errno) -> u32 {
        errno.0
    }
}

impl From<Status> for Errno {
    fn from(_: Status) -> Errno {
        Errno::FAULT
    }
}

impl From<Fault> for Errno {
    fn from(_: Fault) -> Errno {
        Errno::FAULT
    }
}

impl Answer for Result<(), Errno> {
    type Wire = u32;

    fn into_wire(self) -> wasmtime::Result<u32> {
        Ok(self.err().map_or(0, u32::from))
    }
}

/// The whole import set. None of these enters the guest, so all are open while it initialises or allocates.
pub(crate) fn rows<H: Host>() -> Vec<Row<H>> {
    let mut rows = working();
    rows.extend(files());
    rows.extend(paths_and_sockets());
    rows
}

fn working<H: Host>() -> Vec<Row<H>> {
    rows! {
        open args_get(pointers: u32, text: u32) -> errno = always(0_u32);
        open args_sizes_get(count: u32, size: u32) -> errno = args_sizes_get;
        open environ_get(pointers: u32, text: u32) -> errno = environ_get;
        open environ_sizes_get(count: u32, size: u32) -> errno = environ_sizes_get;
        open clock_res_get(clock: u32, resolution: u32) -> errno = clock_res_get;
        open clock_time_get(clock: u32, precision: u64, time: u32) -> errno = clock_time_get;
        open fd_write(fd: u32, vectors: u32, count: u32, written: u32) -> errno = fd_write;
        open fd_pwrite(fd: u32, vectors: u32, count: u32, offset: u64, written: u32) -> errno = fd_pwrite;
        open poll_oneoff(subscriptions: u32, events: u32, count: u32, happened: u32) -> errno = poll_oneoff;
        open proc_exit(code: u32) = proc_exit;
        open proc_raise(signal: u32) -> errno = always(Errno::NOSYS);
        open random_get(data: u32, size: u32) -> errno = random_get;
        open sched_yield() -> errno = always(0_u32);
    }
}

fn files<H: Host>() -> Vec<Row<H>> {
    rows! {
        open fd_advise(fd: u32, offset: u64, size: u64, advice: u32) -> errno = always(Errno::BADF);
        open fd_allocate(fd: u32, offset: u64, size: u64) -> errno = always(Errno::BADF);
        open fd_close(fd: u32) -> errno = fd_close;
        open fd_datasync(fd: u32) -> errno = always(Errno::BADF);
        open fd_fdstat_get(fd: u32, stat: u32) -> errno = fd_fdstat_get;
        open fd_fdstat_set_flags(fd: u32, flags: u32) -> errno = always(Errno::NOSYS);
        open fd_fdstat_set_rights(fd: u32, base: u64, inheriting: u64) -> errno = always(Errno::BADF);
        open fd_filestat_get(fd: u32, stat: u32) -> errno = always(Errno::BADF);
        open fd_filestat_set_size(fd: u32, size: u64) -> errno = always(Errno::BADF);
        open fd_filestat_set_times(fd: u32, access: u64, change: u64, flags: u32) -> errno = always(Errno::BADF);
        open fd_pread(fd: u32, vectors: u32, count: u32, offset: u64, read: u32) -> errno = always(Errno::BADF);
        open fd_prestat_get(fd: u32, stat: u32) -> errno = always(Errno::BADF);
        open fd_prestat_dir_name(fd: u32, path: u32, size: u32) -> errno = always(Errno::BADF);
        open fd_read(fd: u32, vectors: u32, count: u32, read: u32) -> errno = always(Errno::BADF);
        open fd_readdir(fd: u32, data: u32, size: u32, cookie: u64, used: u32) -> errno = always(Errno::BADF);
        open fd_renumber(fd: u32, to: u32) -> errno = always(Errno::BADF);
        open fd_seek(fd: u32, offset: i64, whence: u32, position: u32) -> errno = fd_seek;
        open fd_sync(fd: u32) -> errno = always(Errno::BADF);
        open fd_tell(fd: u32, position: u32) -> errno = fd_tell;
    }
}

fn paths_and_sockets<H: Host>() -> Vec<Row<H>> {
    rows! {
        open path_create_directory(fd: u32, path: u32, size: u32) -> errno = always(Errno::NOTSUP);
        open path_filestat_get(fd: u32, flags: u32, path: u32, size: u32, stat: u32) -> errno = always(Errno::NOENT);
        open path_filestat_set_times(
            fd: u32, flags: u32, path: u32, size: u32, access: u64, change: u64, which: u32
        ) -> errno = always(Errno::NOTSUP);
        open path_link(
            fd: u32, flags: u32, path: u32, size: u32, to_fd: u32, to: u32, to_size: u32
        ) -> errno = always(Errno::NOTSUP);
        open path_open(
            fd: u32, lookup: u32, path: u32, size: u32, flags: u32, base: u64, inheriting: u64, fd_flags: u32, opened: u32
        ) -> errno = always(Errno::NOENT);
        open path_readlink(fd: u32, path: u32, size: u32, data: u32, room: u32, used: u32) -> errno = always(Errno::NOENT);
        open path_remove_directory(fd: u32, path: u32, size: u32) -> errno = always(Errno::NOTSUP);
        open path_rename(fd: u32, path: u32, size: u32, to_fd: u32, to: u32, to_size: u32) -> errno = always(Errno::NOTSUP);
        open path_symlink(path: u32, size: u32, fd: u32, to: u32, to_size: u32) -> errno = always(Errno::NOTSUP);
        open path_unlink_file(fd: u32, path: u32, size: u32) -> errno = always(Errno::NOTSUP);
        open sock_accept(fd: u32, flags: u32, accepted: u32) -> errno = always(Errno::NOTSUP);
        open sock_recv(fd: u32, data: u32, count: u32, flags: u32, read: u32, out: u32) -> errno = always(Errno::NOTSUP);
        open sock_send(fd: u32, data: u32, count: u32, flags: u32, written: u32) -> errno = always(Errno::NOTSUP);
        open sock_shutdown(fd: u32, how: u32) -> errno = always(Errno::NOTSUP);
    }
}

fn args_sizes_get<H: Host>(guest: &mut Guest<'_, H>, count: u32, size: u32) -> Result<(), Errno> {
    let (memory, _) = guest.split()?;
    GuestPtr(count).write_u32(memory, 0)?;
    Ok(GuestPtr(size).write_u32(memory, 0)?)
}

fn environ_sizes_get<H: Host>(guest: &mut Guest<'_, H>, count: u32, size: u32) -> Result<(), Errno> {
    let (memory, state) = guest.split()?;
    let (mut variables, mut bytes) = (0, 0);
    for (name, value) in variables_of(&state.settings) {
        variables += 1;
        bytes += name.len() + value.len() + 2;
    }
    GuestPtr(count).write_u32(memory, variables)?;
    GuestPtr(size).write_u32(memory, u32::try_from(bytes).map_err(|_| Errno::INVAL)?)?;
    Ok(())
}

fn environ_get<H: Host>(guest: &mut Guest<'_, H>, mut pointers: u32, mut text: u32) -> Result<(), Errno> {
    let (memory, state) = guest.split()?;
    for (name, value) in variables_of(&state.settings) {
        let line = [name.as_bytes(), b"=", value.as_bytes(), b"\0"].concat();
        let size = u32::try_from(line.len()).map_err(|_| Errno::INVAL)?;
        GuestSlice::new(text, size).write(memory)?.copy_from_slice(&line);
        GuestPtr(pointers).write_u32(memory, text)?;
        text = text.checked_add(size).ok_or(Errno::FAULT)?;
        pointers = pointers.checked_add(4).ok_or(Errno::FAULT)?;
    }
    Ok(())
}

// A NUL would end a variable early and let one pass for another.
fn variables_of(settings: &PluginSettings) -> impl Iterator<Item = &(String, String)> {
    settings.env.iter().filter(|(name, value)| !name.contains(['\0', '=']) && !value.contains('\0'))
}

fn clock_res_get<H: Host>(guest: &mut Guest<'_, H>, clock: u32, resolution: u32) -> Result<(), Errno> {
    if clock > 1 {
        return Err(Errno::NOTSUP);
    }
    let (memory, _) = guest.split()?;
    Ok(GuestPtr(resolution).write_u64(memory, 1)?)
}

fn clock_time_get<H: Host>(guest: &mut Guest<'_, H>, clock: u32, _: u64, time: u32) -> Result<(), Errno> {
    let now = match clock {
        0 => crate::hostcall::wall_clock(),
        1 => u64::try_from(Instant::now().duration_since(guest.state().born).as_nanos()).unwrap_or(u64::MAX),
        _ => return Err(Errno::NOTSUP),
    };
    let (memory, _) = guest.split()?;
    Ok(GuestPtr(time).write_u64(memory, now)?)
}

/// Standard output becomes a line at info, standard error one at error; one newline at the end is dropped.
fn fd_write<H: Host>(guest: &mut Guest<'_, H>, fd: u32, vectors: u32, count: u32, written: u32) -> Result<(), Errno> {
    let level = match fd {
        1 => LogLevel::Info,
        2 => LogLevel::Error,
        _ => return Err(Errno::BADF),
    };
    if count > limits::IOVECS {
        return Err(Errno::INVAL);
    }
    let (memory, state) = guest.split()?;
    let mut line = std::mem::take(&mut state.scratch);
    line.clear();
    let size = gather(memory, vectors, count, &mut line);
    state.tally(GuestSlice::new(0, size.unwrap_or_default()));
    if size.is_ok() && !line.is_empty() {
        state.host.log(level, line.strip_suffix(b"\n").unwrap_or(&line));
    }
    state.scratch = line;
    Ok(GuestPtr(written).write_u32(memory, size?)?)
}

/// Joins what the vectors name, up to the longest line, and counts all of it.
fn gather(memory: &[u8], vectors: u32, count: u32, line: &mut Vec<u8>) -> Result<u32, Errno> {
    let longest = usize::try_from(limits::STRING).unwrap_or(usize::MAX);
    let mut total: u32 = 0;
    for index in 0..count {
        let at = vectors.checked_add(index * 8).ok_or(Errno::FAULT)?;
        let data = GuestPtr(at).read_u32(memory)?;
        let size = GuestPtr(at.checked_add(4).ok_or(Errno::FAULT)?).read_u32(memory)?;
        let bytes = GuestSlice::new(data, size).read(memory)?;
        total = total.checked_add(size).ok_or(Errno::INVAL)?;
        let room = longest.saturating_sub(line.len()).min(bytes.len());
        line.extend_from_slice(&bytes[..room]);
    }
    Ok(total)
}

fn fd_pwrite<H: Host>(
    guest: &mut Guest<'_, H>,
    fd: u32,
    vectors: u32,
    count: u32,
    _offset: u64,
    written: u32,
) -> Result<(), Errno> {
    fd_write(guest, fd, vectors, count, written)
}

/// Nothing ever happens, at once: a guest that sleeps goes on without having slept. Go does not start without success.
fn poll_oneoff<H: Host>(guest: &mut Guest<'_, H>, _: u32, _: u32, _: u32, happened: u32) -> Result<(), Errno> {
    let (memory, _) = guest.split()?;
    Ok(GuestPtr(happened).write_u32(memory, 0)?)
}

/// Ends the instance; `vm` takes code 0 from `_start` and `main` for their normal end.
fn proc_exit<H: Host>(_: &mut Guest<'_, H>, code: u32) -> wasmtime::Result<()> {
    Err(wasmtime::Error::new(Exit(code.cast_signed())))
}

fn random_get<H: Host>(guest: &mut Guest<'_, H>, data: u32, size: u32) -> Result<(), Errno> {
    if size > limits::RANDOM {
        return Err(Errno::INVAL);
    }
    let (memory, state) = guest.split()?;
    let room = GuestSlice::new(data, size);
    getrandom::fill(room.write(memory)?).map_err(|_| Errno::IO)?;
    state.tally(room);
    Ok(())
}

fn fd_close<H: Host>(_: &mut Guest<'_, H>, fd: u32) -> Result<(), Errno> {
    if fd <= 2 { Ok(()) } else { Err(Errno::BADF) }
}

/// The size of the record that describes a descriptor.
const FDSTAT: u32 = 24;

/// Outputs are character devices that may be written and nothing else.
fn fd_fdstat_get<H: Host>(guest: &mut Guest<'_, H>, fd: u32, stat: u32) -> Result<(), Errno> {
    outputs_only(fd)?;
    let mut record = [0; 24];
    record[0] = 2;
    record[8] = 1 << 6;
    let (memory, _) = guest.split()?;
    GuestSlice::new(stat, FDSTAT).write(memory)?.copy_from_slice(&record);
    Ok(())
}

fn fd_seek<H: Host>(_: &mut Guest<'_, H>, fd: u32, _: i64, _: u32, _: u32) -> Result<(), Errno> {
    outputs_only(fd)?;
    Err(Errno::SPIPE)
}

fn fd_tell<H: Host>(_: &mut Guest<'_, H>, fd: u32, _: u32) -> Result<(), Errno> {
    outputs_only(fd)?;
    Err(Errno::SPIPE)
}

fn outputs_only(fd: u32) -> Result<(), Errno> {
    if matches!(fd, 1 | 2) { Ok(()) } else { Err(Errno::BADF) }
}
