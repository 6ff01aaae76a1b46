//! One process that compiles one module, within a time; it is ended and waited for on every way out.
//!
//! What the process does, and how it bounds itself, is `cli/compile.rs`.

use std::io::{self, Read, Write};
use std::mem::take;
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use bytes::buf::Chain;
use bytes::{Buf, Bytes};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::ioctl_fionbio;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::CompileError;
use super::wire::{ANSWER_LIMIT, Answer, Request};
use crate::filter::blob::Blob;

/// How much of what it complains is kept.
const COMPLAINT_LIMIT: usize = 4096;
/// How often its end is looked for while its pipes are silent: something it left behind may hold them open.
const LOOK: Duration = Duration::from_millis(50);
/// The same once the pipes are closed, when the end is near.
const LAST_LOOK: Duration = Duration::from_millis(1);

/// What a process may use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Wall-clock time, and CPU time of all its threads together.
    pub(super) time: Duration,
    /// Bytes of memory, beside the stacks of its threads.
    pub(super) memory: u64,
}

/// Has `program` compile a module. Blocks for at most `bounds.time` and what ending a process takes.
pub(super) fn compile(program: &Path, bounds: Bounds, request: &Request) -> Result<Answer, CompileError> {
    let begun = Instant::now();
    let not_started = |error| CompileError::NotStarted { program: program.to_owned(), error };
    let child = command(program, bounds).spawn().map_err(not_started)?;
    let mut process = Process { child, status: None };
    let mut talk = Talk::new(&mut process.child, request).map_err(not_started)?;
    let in_time = talk.until(|| process.has_ended(), || bounds.time.saturating_sub(begun.elapsed()));
    let status = process.end();
    match (in_time, status) {
        (Ok(false), _) => Err(CompileError::OverTime(bounds.time)),
        (Ok(true), Ok(status)) if status.success() => Answer::decode(take(&mut talk.answer).into())
            .map_err(|error| bad(program, format!("answered {error}"), &talk)),
        (Ok(true), Ok(status)) => Err(failed(program, bounds, status, &talk)),
        (Err(error), _) | (_, Err(error)) => Err(bad(program, error.to_string(), &talk)),
    }
}

fn command(program: &Path, bounds: Bounds) -> Command {
    let seconds = bounds.time.as_secs().saturating_add(u64::from(bounds.time.subsec_nanos() > 0));
    let mut command = Command::new(program);
    command.arg0("tollgate").args(["compile", "--seconds", &seconds.to_string()]);
    command.args(["--memory", &bounds.memory.to_string()]);
    // A group of its own is ended whole, and a Ctrl-C at the terminal does not reach it.
    command.env_clear().process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Why a process ended without success.
fn failed(program: &Path, bounds: Bounds, status: ExitStatus, talk: &Talk) -> CompileError {
    let Some(number) = status.signal() else { return bad(program, format!("ended with {status}"), talk) };
    if number == Signal::XCPU.as_raw() {
        return CompileError::OverTime(bounds.time);
    }
    // What std says before it aborts, where an allocation is refused.
    if talk.complaint().contains("memory allocation of") {
        return CompileError::OverMemory(bounds.memory);
    }
    CompileError::Killed { signal: status.to_string().replace("signal: ", "signal "), complaint: talk.complaint() }
}

fn bad(program: &Path, what: String, talk: &Talk) -> CompileError {
    CompileError::BadAnswer { program: program.to_owned(), what, complaint: talk.complaint() }
}

/// A process that does not outlive its owner, nor does what it started.
struct Process {
    child: Child,
    /// How it ended, once it was waited for: its id is then free for others.
    status: Option<ExitStatus>,
}

impl Process {
    fn id(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Looks, and leaves it to be waited for: until then no other process can have its id.
    fn has_ended(&self) -> io::Result<bool> {
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        Ok(waitid(WaitId::Pid(self.id()), look)?.is_some())
    }

    /// Ends the group, of which the process may be the last, and tells how the process ended.
    fn end(&mut self) -> io::Result<ExitStatus> {
        if let Some(status) = self.status {
            return Ok(status);
        }
        // An error says that there is nobody left to end.
        let _ = kill_process_group(self.id(), Signal::KILL);
        let status = self.child.wait()?;
        self.status = Some(status);
        Ok(status)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Whoever wanted to know how it ended has asked before.
        let _ = self.end();
    }
}

/// The three pipes, none of which is ever waited for alone.
struct Talk {
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    request: Chain<Bytes, Bytes>,
    answer: Blob,
    complaint: Blob,
}

impl Talk {
    fn new(child: &mut Child, request: &Request) -> io::Result<Talk> {
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let pipes =
            [stdin.as_ref().map(AsFd::as_fd), stdout.as_ref().map(AsFd::as_fd), stderr.as_ref().map(AsFd::as_fd)];
        for pipe in pipes.into_iter().flatten() {
            ioctl_fionbio(pipe, true)?;
        }
        let (answer, complaint) = (Blob::default(), Blob::default());
        Ok(Talk { stdin, stdout, stderr, request: request.encode(), answer, complaint })
    }

    /// Sends and listens until the process has ended; false when no time was left before that.
    fn until(
        &mut self,
        has_ended: impl Fn() -> io::Result<bool>,
        time_left: impl Fn() -> Duration,
    ) -> io::Result<bool> {
        loop {
            // Looked at before the pipes, so that what was written last is not missed.
            let ended = has_ended()?;
            self.send()?;
            self.listen()?;
            let left = time_left();
            if ended || left.is_zero() {
                return Ok(ended);
            }
            self.wait(left)?;
        }
    }

    fn wait(&self, left: Duration) -> io::Result<()> {
        let mut pipes = Vec::new();
        pipes.extend(self.stdin.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::OUT)));
        pipes.extend(self.stdout.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        pipes.extend(self.stderr.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        let look = if pipes.is_empty() { LAST_LOOK } else { LOOK };
        let timeout = Timespec::try_from(look.min(left)).map_err(io::Error::other)?;
        match poll(&mut pipes, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn send(&mut self) -> io::Result<()> {
        let Some(stdin) = &mut self.stdin else { return Ok(()) };
        while self.request.has_remaining() {
            match stdin.write(self.request.chunk()) {
                Ok(count) => self.request.advance(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // It has read enough; why, its end tells.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
                Err(error) => return Err(error),
            }
        }
        self.stdin = None;
        Ok(())
    }

    fn listen(&mut self) -> io::Result<()> {
        let length = |begun: &[u8]| Answer::length(begun).filter(|length| *length <= ANSWER_LIMIT);
        if hear(&mut self.stdout, &mut self.answer, ANSWER_LIMIT, length)? {
            return Err(io::Error::other(format!("answered more than {ANSWER_LIMIT} bytes")));
        }
        // Complaints past the limit are read and forgotten, so that nothing waits for room in the pipe.
        hear(&mut self.stderr, &mut self.complaint, COMPLAINT_LIMIT, |_| None).map(drop)
    }

    /// What it said on standard error, as one line.
    fn complaint(&self) -> String {
        String::from_utf8_lossy(self.complaint.as_ref()).split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// Takes what a pipe has and closes it at its end; true when there was more than `limit` allows to keep. `length` tells of a
/// beginning how much there will be.
fn hear<P: Read>(
    pipe: &mut Option<P>,
    into: &mut Blob,
    limit: usize,
    length: impl Fn(&[u8]) -> Option<usize>,
) -> io::Result<bool> {
    let Some(reader) = pipe else { return Ok(false) };
    let mut chunk = [0; 64 * 1024];
    loop {
        let heard = match reader.read(&mut chunk) {
            Ok(count) => &chunk[..count],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if heard.is_empty() {
            *pipe = None;
            return Ok(false);
        }
        let room = limit.saturating_sub(into.len()).min(heard.len());
        into.extend(&heard[..room])?;
        into.reserve(length(into.as_ref()).unwrap_or_default())?;
        if room < heard.len() {
            return Ok(true);
        }
    }
}
