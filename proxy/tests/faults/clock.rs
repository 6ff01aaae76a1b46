//! A wall clock that is set an hour on and an hour back: nothing that waits is over because of it, and nothing stands still.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::process::Command;

use tempfile::TempDir;

use crate::common::client::Client;
use crate::common::modules::Guest;
use crate::common::origin::Origin;
use crate::common::process::Tollgate;
use crate::common::until;

/// A wall clock to be set, for processes that are started under it.
struct WallClock {
    folder: TempDir,
    step: File,
}

impl WallClock {
    fn new() -> WallClock {
        let folder = tempfile::tempdir().unwrap();
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/faults/clock.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", source, "-o"]).arg(folder.path().join("clock.so"));
        assert!(compiler.status().expect("a C compiler called cc").success());
        let step = File::create(folder.path().join("step")).unwrap();
        step.write_all_at(&0_i64.to_ne_bytes(), 0).unwrap();
        WallClock { folder, step }
    }

    /// Sets it, by seconds from the true time.
    fn set(&self, seconds: i64) {
        self.step.write_all_at(&seconds.to_ne_bytes(), 0).unwrap();
    }

    fn run(&self, config: &str) -> Tollgate {
        let folder = self.folder.path().display();
        let under = format!("exec env LD_PRELOAD={folder}/clock.so CLOCK_STEP={folder}/step \"$0\" \"$@\"");
        Tollgate::run_under(&under, config)
    }
}

/// A filter that ticks, and says so.
fn ticking(milliseconds: u32, says: &str) -> Guest {
    let length = says.len();
    Guest::from_wat(&format!(
        "(module
           (import \"env\" \"proxy_set_tick_period_milliseconds\" (func $period (param i32) (result i32)))
           (import \"env\" \"proxy_log\" (func $log (param i32 i32 i32) (result i32)))
           (memory (export \"memory\") 1)
           (data (i32.const 0) {says:?})
           (func (export \"proxy_abi_version_0_2_1\"))
           (func (export \"malloc\") (param i32) (result i32) (i32.const 1024))
           (func (export \"proxy_on_configure\") (param i32 i32) (result i32)
             (drop (call $period (i32.const {milliseconds}))) (i32.const 1))
           (func (export \"proxy_on_tick\") (param i32)
             (drop (call $log (i32.const 4) (i32.const 0) (i32.const {length})))))"
    ))
}

/// A filter that holds each request until the cluster `held` has answered; it gives it a minute.
fn calling() -> Guest {
    Guest::from_wat(
        r#"(module
             (import "env" "proxy_http_call"
               (func $call (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
             (import "env" "proxy_continue_stream" (func $continue (param i32) (result i32)))
             (import "env" "proxy_set_effective_context" (func $for (param i32) (result i32)))
             (memory (export "memory") 1)
             (global $held (mut i32) (i32.const 0))
             (data (i32.const 0) "held")
             (data (i32.const 100) "\03\00\00\00\07\00\00\00\03\00\00\00\05\00\00\00\01\00\00\00\0a\00\00\00\04\00\00\00:method\00GET\00:path\00/\00:authority\00held\00")
             (func (export "proxy_abi_version_0_2_1"))
             (func (export "malloc") (param i32) (result i32) (i32.const 1024))
             (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
               (global.set $held (local.get 0))
               (if (call $call (i32.const 0) (i32.const 4) (i32.const 100) (i32.const 64) (i32.const 0) (i32.const 0)
                     (i32.const 0) (i32.const 0) (i32.const 60000) (i32.const 512)) (then unreachable))
               (i32.const 1))
             (func (export "proxy_on_http_call_response") (param i32 i32 i32 i32 i32)
               ;; Without headers, nobody answered.
               (if (i32.eqz (local.get 2)) (then unreachable))
               (drop (call $for (global.get $held)))
               (drop (call $continue (i32.const 0)))))"#,
    )
}

fn asking(address: SocketAddr, path: &str) -> Client {
    let mut client = Client::connect(address);
    ask_again(&mut client, path);
    client
}

fn ask_again(client: &mut Client, path: &str) {
    client.send(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n"));
}

/// The second of its day in which the access log has an exchange for that path.
fn second_of(tollgate: &Tollgate, path: &str) -> i64 {
    let mut line = None;
    until(&format!("the access log has {path}"), || {
        let log = fs::read_to_string(tollgate.folder().join("access.log")).unwrap();
        line = log.lines().find(|line| line.contains(&format!("\"{path}\""))).map(str::to_owned);
        line.is_some()
    });
    let line: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
    let time = line["time"].as_str().unwrap();
    let number = |at: usize| time[at..at + 2].parse::<i64>().unwrap();
    (number(11) * 60 + number(14)) * 60 + number(17)
}

#[test]
fn a_clock_that_is_set_ends_nothing_that_waits_and_the_access_log_follows_it() {
    let (clock, (origin, release)) = (WallClock::new(), Origin::held("finished"));
    let guests = [ticking(20, "short tick"), ticking(600_000, "long tick"), calling()];
    let tollgate = clock.run(&format!(
        "admin: off\nlisten: 127.0.0.1:0\ntelemetry: {{ access_log: {{ format: json, to: access.log }} }}\n\
         clusters: {{ held: {{ hosts: [{:?}] }} }}\nfilters:\n  short: {{ wasm: {:?} }}\n  long: {{ wasm: {:?} }}\n  \
         calling: {{ wasm: {:?}, pause_timeout: 1m, allow: {{ calls: [held] }} }}\nroutes:\n\
         - {{ match: {{ path: /calling }}, to: echo, filters: [calling] }}\n\
         - {{ match: {{ path: /held }}, to: held, timeout: 1m }}\n- {{ to: echo, filters: [short, long] }}\n",
        origin.address().to_string(),
        guests[0].path(),
        guests[1].path(),
        guests[2].path(),
    ));
    let address = tollgate.address_after("listening on http://");
    let ticks = || tollgate.log().matches("short tick").count();
    let mut idle = asking(address, "/before");
    assert_eq!(idle.answer().status(), 200);
    let before = second_of(&tollgate, "/before");

    for (place, hours) in [1, -1].into_iter().enumerate() {
        let mut waiting = [asking(address, "/held"), asking(address, "/calling")];
        until("both wait for the origin", || origin.requests().len() == 2 * (place + 1));

        clock.set(hours * 3600);
        let ticked = ticks();
        // Timeouts are looked at several times meanwhile.
        until("it ticks on", || ticks() > ticked + 40);
        let path = format!("/after{hours}");
        ask_again(&mut idle, &path);

        assert_eq!(idle.answer().status(), 200);
        let ahead = (second_of(&tollgate, &path) - before).rem_euclid(86_400);
        let off = (ahead - hours * 3600).rem_euclid(86_400);
        assert!(off < 120, "{hours} h: the access log is {ahead} s ahead");
        waiting.iter().for_each(|_| release.send(()).unwrap());
        assert_eq!(waiting.each_mut().map(|client| client.answer().status()), [200, 200], "{}", tollgate.log());
    }

    assert_eq!(tollgate.log().matches("long tick").count(), 0);
}
