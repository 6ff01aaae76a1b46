//! The binary from outside: what each command prints, and with which exit code it ends.
//!
//! Whether traffic is served well is not asked here. Every process is waited for with a bound and ended by its own handle.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

/// Longer than any command here may take, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a command left behind.
struct Outcome {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// A running `tollgate`, killed when the test is over before it is.
struct Tollgate {
    child: Child,
}

impl Drop for Tollgate {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Tollgate {
    fn start(folder: &Path, arguments: &[&str]) -> Result<Tollgate> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
        command.args(arguments).current_dir(folder).env_remove("TOLLGATE_LOG");
        command.env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(Tollgate { child: command.spawn()? })
    }

    /// Waits for the end and everything that was printed.
    fn finish(mut self) -> Result<Outcome> {
        let stdout = read_all(self.child.stdout.take());
        let stderr = read_all(self.child.stderr.take());
        // Both pipes end when the process does, so waiting for them waits for it.
        let stdout = stdout.recv_timeout(PATIENCE).context("the command did not end")?;
        let stderr = stderr.recv_timeout(PATIENCE).context("the command did not end")?;
        let status: ExitStatus = self.child.wait()?;
        Ok(Outcome { code: status.code(), stdout, stderr })
    }
}

fn read_all(pipe: Option<impl Read + Send + 'static>) -> mpsc::Receiver<String> {
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        let mut text = String::new();
        let _ = pipe.map(|mut pipe| pipe.read_to_string(&mut text));
        let _ = send.send(text);
    });
    receive
}

fn tollgate(folder: &Path, arguments: &[&str]) -> Result<Outcome> {
    Tollgate::start(folder, arguments)?.finish()
}

/// A folder with a configuration named `tollgate.yaml`.
fn folder_with(config: &str) -> Result<TempDir> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("tollgate.yaml"), config)?;
    Ok(folder)
}

fn echo_on(port: u16) -> String {
    format!(
        "# try: curl http://127.0.0.1/\n# shows: the request\nadmin: off\nlisten: 127.0.0.1:{port}\nroutes:\n- to: echo\n"
    )
}

/// Bounded `assert`: fails with what the command printed.
fn ended(outcome: &Outcome, code: i32) -> Result<()> {
    ensure!(outcome.code == Some(code), "code {:?}\n{}\n{}", outcome.code, outcome.stdout, outcome.stderr);
    Ok(())
}

#[test]
fn the_version_is_that_of_the_package() -> Result<()> {
    let outcome = tollgate(Path::new("."), &["--version"])?;

    ended(&outcome, 0)?;
    assert_eq!(outcome.stdout, format!("tollgate {}\n", env!("CARGO_PKG_VERSION")));
    Ok(())
}

#[test]
fn the_schema_is_the_committed_one() -> Result<()> {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/schema.json");
    let committed = std::fs::read_to_string(committed)?;

    let outcome = tollgate(Path::new("."), &["schema"])?;

    ended(&outcome, 0)?;
    assert_eq!(outcome.stdout, committed);
    Ok(())
}

#[test]
fn completions_and_the_manual_name_the_commands_that_are_for_people() -> Result<()> {
    for arguments in [&["completions", "bash"][..], &["completions", "fish"], &["man"]] {
        let outcome = tollgate(Path::new("."), arguments)?;

        ended(&outcome, 0)?;
        ensure!(outcome.stdout.contains("check"), "{arguments:?}: {}", outcome.stdout);
        ensure!(!outcome.stdout.to_lowercase().contains("compile"), "{arguments:?}: {}", outcome.stdout);
    }
    Ok(())
}

#[test]
fn a_command_line_that_cannot_be_understood_ends_with_2() -> Result<()> {
    for arguments in [&[][..], &["serve"], &["run", "--workers", "0"], &["check"], &["run", "--log-format", "xml"]] {
        let outcome = tollgate(Path::new("."), arguments)?;

        ended(&outcome, 2)?;
        ensure!(!outcome.stderr.is_empty(), "{arguments:?}");
    }
    Ok(())
}

#[test]
fn a_missing_file_ends_with_1_and_its_code() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for arguments in
        [&["check", "absent.yaml"][..], &["run", "--config", "absent.yaml"], &["config", "expand", "absent.yaml"]]
    {
        let outcome = tollgate(folder.path(), arguments)?;

        ended(&outcome, 1)?;
        ensure!(outcome.stderr.contains("TG0101") && outcome.stderr.contains("absent.yaml"), "{}", outcome.stderr);
    }
    Ok(())
}

#[test]
fn running_without_a_configuration_says_how_to_name_one() -> Result<()> {
    let folder = tempfile::tempdir()?;

    let outcome = tollgate(folder.path(), &["run"])?;

    ended(&outcome, 1)?;
    ensure!(outcome.stderr.contains("tollgate.yaml") && outcome.stderr.contains("--config"), "{}", outcome.stderr);
    Ok(())
}

#[test]
fn a_bad_configuration_ends_with_1_a_place_and_a_caret() -> Result<()> {
    let folder = folder_with("lisen: 127.0.0.1:0\nroutes:\n- to: echo\n")?;
    for arguments in [&["check", "tollgate.yaml"][..], &["run"]] {
        let outcome = tollgate(folder.path(), arguments)?;

        ended(&outcome, 1)?;
        for part in ["error[TG0", "tollgate.yaml:1:1", "^", "listen"] {
            ensure!(outcome.stderr.contains(part), "{part} is not in {}", outcome.stderr);
        }
    }
    Ok(())
}

#[test]
fn a_module_that_is_not_one_ends_with_1_and_names_its_plugin() -> Result<()> {
    let folder =
        folder_with("admin: off\nlisten: 127.0.0.1:0\nroutes:\n- to: echo\n  filters: [{ wasm: bad.wasm }]\n")?;
    std::fs::write(folder.path().join("bad.wasm"), "no module")?;

    let outcome = tollgate(folder.path(), &["check", "tollgate.yaml"])?;

    ended(&outcome, 1)?;
    ensure!(outcome.stderr.contains("TG02") && outcome.stderr.contains("bad"), "{}", outcome.stderr);
    Ok(())
}

#[test]
fn a_good_configuration_ends_with_0_and_a_summary() -> Result<()> {
    let folder = folder_with(&echo_on(8000))?;

    let outcome = tollgate(folder.path(), &["check", "tollgate.yaml"])?;

    ended(&outcome, 0)?;
    for part in ["tollgate.yaml is good", "listener 127.0.0.1:8000", "-> echo"] {
        ensure!(outcome.stdout.contains(part), "{part} is not in {}", outcome.stdout);
    }
    Ok(())
}

#[test]
fn the_long_form_is_its_own_long_form() -> Result<()> {
    let folder = folder_with(&echo_on(8000))?;

    let once = tollgate(folder.path(), &["config", "expand", "tollgate.yaml"])?;
    std::fs::write(folder.path().join("long.yaml"), &once.stdout)?;
    let twice = tollgate(folder.path(), &["config", "expand", "long.yaml"])?;

    ended(&once, 0)?;
    ended(&twice, 0)?;
    ensure!(once.stdout.contains("listeners:"), "{}", once.stdout);
    assert_eq!(once.stdout, twice.stdout);
    Ok(())
}

#[test]
fn a_port_in_use_ends_with_3() -> Result<()> {
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let port = taken.local_addr()?.port();
    let folder = folder_with(&echo_on(port))?;

    let outcome = tollgate(folder.path(), &["run"])?;

    ended(&outcome, 3)?;
    ensure!(outcome.stderr.contains("TG03") && outcome.stderr.contains(&port.to_string()), "{}", outcome.stderr);
    Ok(())
}

#[test]
fn a_running_proxy_says_where_it_listens_and_what_to_try() -> Result<()> {
    let folder = folder_with(&echo_on(0))?;

    let mut running = Tollgate::start(folder.path(), &["run", "--workers", "1"])?;

    let said = lines(running.child.stderr.take().context("no pipe")?);
    for part in ["listening on http://127.0.0.1:", "try:   curl http://127.0.0.1/", "shows: the request"] {
        wait_for(&said, part)?;
    }
    Ok(())
}

#[test]
fn a_proxy_told_to_end_writes_its_last_lines_and_ends_with_0() -> Result<()> {
    let folder = folder_with(&format!("{}telemetry: {{ access_log: {{ format: json, to: stdout }} }}\n", echo_on(0)))?;
    let mut running = Tollgate::start(folder.path(), &["run", "--workers", "1"])?;
    let said = lines(running.child.stderr.take().context("no pipe")?);
    let address = wait_for(&said, "listening on http://")?;
    let address = address.split(['/', ' ']).nth(4).context("no address")?;
    get(address, "/toll")?;

    let told = Command::new("kill").args(["-TERM", &running.child.id().to_string()]).status()?;

    ensure!(told.success(), "kill: {told}");
    let outcome = running.finish()?;
    ended(&outcome, 0)?;
    let line: serde_json::Value = serde_json::from_str(&outcome.stdout)?;
    assert_eq!((&line["path"], &line["status"]), (&"/toll".into(), &200.into()));
    Ok(())
}

/// One exchange, read to the end.
fn get(address: &str, path: &str) -> Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    Ok(())
}

/// The lines of a pipe as they come.
fn lines(pipe: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        let lines = BufReader::new(pipe).lines().map_while(std::io::Result::ok);
        // A test that heard enough hangs up; the pipe is still read, so that the process is not held.
        lines.for_each(|line| drop(send.send(line)));
    });
    receive
}

/// The first line with `part` in it.
fn wait_for(said: &mpsc::Receiver<String>, part: &str) -> Result<String> {
    let mut heard = Vec::new();
    while let Ok(line) = said.recv_timeout(PATIENCE) {
        if line.contains(part) {
            return Ok(line);
        }
        heard.push(line);
    }
    bail!("{part} was not said in {heard:?}")
}
