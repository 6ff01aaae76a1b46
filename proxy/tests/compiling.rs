//! How modules become code: in a process of its own that is bounded, or out of a cache; and what is said when it is not to be.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::modules::Guest;
use common::proxy::{TestProxy, prepare_with};
use common::until;
use tempfile::TempDir;
use tollgate::app::RunOptions;
use tollgate::filter::compile::{CodeSource, CompileError, CompileSettings, Compiled, Compiler};
use tollgate::filter::digest::Digest;
use tollgate_abi::testing::{RecordingHost, RecordingStream, StreamEvent, guest, wat};
use tollgate_abi::{Engine, EngineSettings, Module, Vm};

const TOLLGATE: &str = env!("CARGO_BIN_EXE_tollgate");

/// Answers every request with 204.
const ANSWERS: &str = r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (drop (call $proxy_send_local_response (i32.const 204) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
        (i32.const 0) (i32.const 0) (i32.const -1)))
    (i32.const 1))"#;

/// Larger than what a pipe holds.
fn large() -> Vec<u8> {
    guest(&format!("(data (i32.const 0) \"{}\")", "x".repeat(1 << 20)))
}

fn compiler(settings: CompileSettings) -> Compiler {
    Compiler::new(Engine::new(&EngineSettings::default()).unwrap(), settings)
}

fn compile(settings: CompileSettings, bytes: &[u8]) -> Result<Compiled, CompileError> {
    compiler(settings).module(Digest::of(bytes), &Bytes::copy_from_slice(bytes), None)
}

/// In a process of this program.
fn apart() -> CompileSettings {
    CompileSettings { program: Some(TOLLGATE.into()), ..CompileSettings::default() }
}

fn cached(program: Option<&str>, cache: &TempDir) -> CompileSettings {
    let cache = Some(cache.path().join("code"));
    CompileSettings { program: program.map(PathBuf::from), cache, ..CompileSettings::default() }
}

/// A program that does this in place of compiling.
struct Script {
    folder: TempDir,
}

impl Script {
    fn new(body: &str) -> Script {
        let script = Script { folder: tempfile::tempdir().unwrap() };
        // Written by another process: a file that this one has open for writing, be it in a process it just forked for
        // another test, cannot be started.
        let write = "printf '#!/bin/sh\\n%s\\n' \"$1\" > \"$2\" && chmod 700 \"$2\"";
        let written = Command::new("sh").args(["-c", write, "sh", body]).arg(script.path()).status().unwrap();
        assert!(written.success());
        script
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("compiler")
    }
}

/// What is said when this is the compiler.
fn said_of(body: &str, time: Duration, bytes: &[u8]) -> String {
    let script = Script::new(body);
    let settings = CompileSettings { program: Some(script.path()), time, ..CompileSettings::default() };

    let said = compile(settings, bytes).unwrap_err().to_string();

    said.replace(&script.path().display().to_string(), "COMPILER")
}

/// Fails by hanging no longer than this.
const LONG: Duration = Duration::from_secs(600);

#[test]
fn a_module_that_a_process_of_its_own_compiled_serves() {
    let module = Guest::from_bytes(&guest(ANSWERS));
    let yaml = format!(
        "filters: {{ mine: {{ wasm: {:?} }} }}\nroutes: [{{ to: echo, filters: [mine] }}]\ncache: off",
        module.path()
    );
    let options = RunOptions { compiler: Some(TOLLGATE.into()), ..RunOptions::default() };

    let proxy = TestProxy::of(prepare_with(&yaml, &options).map_err(|error| error.to_string()).unwrap());

    assert_eq!(proxy.get("/").status(), 204);
}

#[test]
fn a_compiler_that_is_killed_ends_the_start_with_its_own_code() {
    let module = Guest::from_bytes(&guest(ANSWERS));
    let yaml = format!(
        "filters: {{ mine: {{ wasm: {:?} }} }}\nroutes: [{{ to: echo, filters: [mine] }}]\ncache: off",
        module.path()
    );
    let script = Script::new("kill -KILL $$");
    let options = RunOptions { compiler: Some(script.path()), ..RunOptions::default() };

    let error = prepare_with(&yaml, &options).map(drop).unwrap_err();

    let said =
        format!("error[TG0207]: plugin \"mine\": {}: its compilation was ended by signal 9 (SIGKILL)", module.path());
    assert_eq!(error.to_string(), said);
    assert_eq!(error.exit_code(), 1);
}

#[test]
fn a_process_of_its_own_is_where_code_comes_from() {
    let compiled = compile(apart(), &large()).unwrap();

    assert_eq!(compiled.source, CodeSource::Child);
}

#[test]
fn a_module_is_refused_with_the_same_words_in_a_process_of_its_own() {
    let invalid = guest("(func (result i32) (i64.const 1))");
    for bytes in [b"<html>".to_vec(), wat("(module)"), invalid] {
        let inside = compile(CompileSettings::default(), &bytes).unwrap_err();
        let apart = compile(apart(), &bytes).unwrap_err();

        let (CompileError::Module(inside), CompileError::Module(apart)) = (inside, apart) else { panic!("{bytes:?}") };
        assert_eq!(inside, apart);
    }
}

#[test]
fn a_compiler_that_fails_is_told_with_its_own_last_words() {
    let large = large();
    for (body, said) in [
        ("kill -TERM $$", "its compilation was ended by signal 15 (SIGTERM)"),
        ("cat > /dev/null; kill -KILL $$", "its compilation was ended by signal 9 (SIGKILL)"),
        (
            "ulimit -c 0; kill -XCPU $$",
            "its compilation was stopped after 600s, the time that limits.compile_time gives it",
        ),
        (
            "echo no such luck >&2; exit 1",
            "it was not compiled: COMPILER ended with exit status: 1; it said: no such luck",
        ),
        (
            "cat > /dev/null; echo garbage garbage",
            "it was not compiled: COMPILER answered not what this program writes",
        ),
        ("cat > /dev/null", "it was not compiled: COMPILER answered less than an answer"),
        (
            "echo \"<$CARGO_MANIFEST_DIR>\" >&2; exit 1",
            "it was not compiled: COMPILER ended with exit status: 1; it said: <>",
        ),
    ] {
        assert_eq!(said_of(body, LONG, &large), said, "{body}");
    }
}

#[test]
fn a_compiler_that_does_not_end_is_ended() {
    let said = "its compilation was stopped after 200ms, the time that limits.compile_time gives it";
    for body in ["exec sleep 1000", "sleep 1000", "exec yes >&2", "exec >&- 2>&- <&-; sleep 1000"] {
        assert_eq!(said_of(body, Duration::from_millis(200), &large()), said, "{body}");
    }
}

#[test]
fn what_a_compiler_leaves_behind_is_not_waited_for_and_ended() {
    let folder = tempfile::tempdir().unwrap();
    let note = folder.path().join("pid");
    let body = format!("sleep 1000 & echo $! > {}; kill -KILL $$", note.display());

    let said = said_of(&body, LONG, &large());

    assert_eq!(said, "its compilation was ended by signal 9 (SIGKILL)");
    let left = PathBuf::from(format!("/proc/{}/cmdline", fs::read_to_string(note).unwrap().trim()));
    // A process that was ended has no command line, before it is waited for and after.
    until("it is ended", || fs::read(&left).unwrap_or_default().is_empty());
}

#[test]
fn a_compiler_that_answers_without_end_is_stopped() {
    let said = said_of("exec yes", LONG, &guest(""));

    assert_eq!(said, "it was not compiled: COMPILER answered more than 268435456 bytes");
}

#[test]
fn a_compiler_that_is_not_there_is_named() {
    let settings = CompileSettings { program: Some("/absent/compiler".into()), ..CompileSettings::default() };

    let said = compile(settings, &guest("")).unwrap_err().to_string();

    assert!(said.starts_with("it was not compiled: /absent/compiler cannot be started: No such file"), "{said}");
}

#[test]
fn a_module_that_takes_longer_than_it_may_is_refused() {
    let settings = CompileSettings { time: Duration::from_millis(1), ..apart() };

    let said = compile(settings, &guest("")).unwrap_err().to_string();

    assert_eq!(said, "its compilation was stopped after 1ms, the time that limits.compile_time gives it");
}

#[test]
fn a_module_that_needs_more_memory_than_it_may_is_refused() {
    let settings = CompileSettings { memory: 1 << 20, ..apart() };

    let said = compile(settings, &many_functions()).unwrap_err().to_string();

    assert_eq!(said, "its compilation needs more than the 1MiB of memory that limits.compile_memory gives it");
}

/// Takes the compiler some megabytes.
fn many_functions() -> Vec<u8> {
    guest(&"(func (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))".repeat(40_000))
}

#[test]
fn a_process_that_compiles_bounds_itself_before_it_reads() {
    let mut command = Command::new(TOLLGATE);
    command.args(["compile", "--seconds", "7", "--memory", "1000000000"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let proc = PathBuf::from(format!("/proc/{}", child.id()));
    let bounds = |limits: &str| {
        let line = |name: &str| limits.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        let names = ["Max cpu time", "Max data size", "Max core file size", "Max file size", "Max open files"];
        names.map(|name| line(name).split_whitespace().take(2).collect::<Vec<_>>().join(" "))
    };
    // Beside the memory that is given: the stacks of as many threads as there are cores, and two.
    let memory = 1_000_000_000 + (std::thread::available_parallelism().unwrap().get() + 2) * 2304 * 1024;
    let expected = ["7 8", &format!("{memory} {memory}"), "0 0", "0 0", "16 16"];

    until("it is bounded", || bounds(&fs::read_to_string(proc.join("limits")).unwrap()) == expected);
    let niceness = niceness(&proc);
    drop(child.stdin.take());
    let output = child.wait_with_output().unwrap();

    assert_eq!(niceness, (self::niceness(Path::new("/proc/self")) + 10).min(19));
    assert_eq!(output.status.code(), Some(3));
    assert!(output.stdout.is_empty());
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("error[TG0402]"));
}

/// The 19th field of `stat`, counted from behind the name.
fn niceness(proc: &Path) -> i32 {
    let stat = fs::read_to_string(proc.join("stat")).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    fields.split(' ').nth(16).unwrap().parse().unwrap()
}

#[test]
fn a_known_module_needs_no_compiler() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = guest(ANSWERS);

    let cold = compile(cached(Some(TOLLGATE), &folder), &bytes).unwrap();
    let warm = compile(cached(Some("/absent/compiler"), &folder), &bytes).unwrap();
    let unknown = compile(cached(Some("/absent/compiler"), &folder), &guest("")).unwrap_err();

    assert_eq!((cold.source, warm.source), (CodeSource::Child, CodeSource::Cache));
    assert_eq!(answer(&cold.module), Some(204));
    assert_eq!(answer(&warm.module), Some(204));
    assert!(matches!(unknown, CompileError::NotStarted { .. }), "{unknown}");
}

/// What a VM of the module answers a request with.
fn answer(module: &Module) -> Option<u16> {
    let vm = Vm::start(module, Arc::default(), RecordingHost::default());
    let mut vm = vm.map_err(|(failure, _)| failure).unwrap();
    let (stream, begun) = vm.begin_stream(RecordingStream::default(), 0, true);
    begun.unwrap();
    let status = |event: &StreamEvent| match event {
        StreamEvent::Responded(response) => Some(response.status),
        _ => None,
    };
    stream.events.first().and_then(status)
}

#[test]
fn a_proxy_that_starts_again_serves_a_known_module_without_a_compiler() {
    let folder = tempfile::tempdir().unwrap();
    let module = Guest::from_bytes(&guest(ANSWERS));
    let yaml = format!(
        "filters: {{ mine: {{ wasm: {:?} }} }}\nroutes: [{{ to: echo, filters: [mine] }}]\ncache: {{ dir: {:?} }}",
        module.path(),
        folder.path().join("code")
    );
    let start = |compiler: &str| {
        let options = RunOptions { compiler: Some(compiler.into()), ..RunOptions::default() };
        TestProxy::of(prepare_with(&yaml, &options).map_err(|error| error.to_string()).unwrap())
    };

    drop(start(TOLLGATE));
    let again = start("/absent/compiler");

    assert_eq!(again.get("/").status(), 204);
}

#[test]
fn what_one_process_compiled_another_way_is_known_too() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = guest(ANSWERS);

    let cold = compile(cached(None, &folder), &bytes).unwrap();
    let warm = compile(cached(Some(TOLLGATE), &folder), &bytes).unwrap();

    assert_eq!((cold.source, warm.source), (CodeSource::InProcess, CodeSource::Cache));
}

#[test]
fn a_half_written_entry_is_compiled_and_written_anew() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = guest(ANSWERS);
    compile(cached(None, &folder), &bytes).unwrap();
    let entries = || fs::read_dir(folder.path().join("code")).unwrap().map(|entry| entry.unwrap().path());
    let entry = entries().find(|path| path.extension().is_some()).unwrap();
    let whole = fs::read(&entry).unwrap();
    fs::write(&entry, &whole[..whole.len() / 2]).unwrap();

    let first = compile(cached(None, &folder), &bytes).unwrap();
    let second = compile(cached(None, &folder), &bytes).unwrap();

    assert_eq!((first.source, second.source), (CodeSource::InProcess, CodeSource::Cache));
    assert_eq!(fs::read(&entry).unwrap(), whole);
}

#[test]
fn a_cache_that_cannot_be_used_fails_no_module() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let settings = CompileSettings { cache: Some(file.path().join("code")), ..CompileSettings::default() };

    let compiled = compile(settings, &guest("")).unwrap();

    assert_eq!(compiled.source, CodeSource::InProcess);
}
