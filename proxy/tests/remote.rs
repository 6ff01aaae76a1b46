//! The commands that ask a running proxy: what they print, what they change, and with which exit code they end.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};

use common::admin::{TOKEN, secured, upload};
use common::modules::Guest;
use common::origin::free;
use common::proxy::TestProxy;
use common::swaps::{module, speaker};
use serde_json::Value;

/// A proxy whose only filter says `one`.
fn proxy(admin: &str) -> (TestProxy, Guest) {
    let guest = Guest::from_bytes(&speaker("one"));
    let yaml =
        format!("{admin}filters: {{ f: {{ wasm: {:?} }} }}\nroutes: [{{ to: echo, filters: [f] }}]", guest.path());
    (TestProxy::with(&yaml), guest)
}

fn open_proxy() -> (TestProxy, Guest) {
    proxy("admin: { listen: \"127.0.0.1:0\" }\n")
}

fn speaks(proxy: &TestProxy) -> String {
    proxy.get("/").field("x-by").unwrap_or_default().to_owned()
}

/// A command that knows neither an address nor a token by itself.
fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.args(arguments).stdin(Stdio::null());
    command.env_remove("TOLLGATE_ADMIN").env_remove("TOLLGATE_ADMIN_TOKEN");
    command
}

/// The exit code, and what was printed on either side.
fn ended(command: &mut Command) -> (i32, String, String) {
    // Every wait of the command has a bound.
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn tollgate(admin: SocketAddr, arguments: &[&str]) -> (i32, String, String) {
    ended(command(arguments).args(["--admin", &admin.to_string()]))
}

#[test]
fn a_swap_has_the_module_serve_and_a_rollback_takes_it_back() {
    let (proxy, _guest) = open_proxy();
    let two = Guest::from_bytes(&speaker("two"));

    let (code, out, error) = tollgate(proxy.admin(), &["swap", "f", &two.path()]);
    assert_eq!((code, error.as_str()), (0, ""));
    assert!(out.starts_with("filter f: generation 2 (sha256 ") && out.ends_with(") serves\n"), "{out}");
    assert_eq!(speaks(&proxy), "two");

    let (code, out, error) = tollgate(proxy.admin(), &["rollback", "f"]);
    assert_eq!((code, error.as_str()), (0, ""));
    assert!(out.starts_with("filter f: generation 3 ") && out.ends_with(") serves\n"), "{out}");
    assert_eq!(speaks(&proxy), "one");

    let (code, _, error) = tollgate(proxy.admin(), &["rollback", "f"]);
    assert_eq!((code, error.as_str()), (1, "error[TG0404]: filter \"f\": there is no generation before this one\n"));
}

#[test]
fn a_swap_may_stop_at_a_canary_or_before_it() {
    let (proxy, _guest) = open_proxy();
    let two = Guest::from_bytes(&speaker("two"));

    let (code, out, _) = tollgate(proxy.admin(), &["swap", "f", &two.path(), "--stage-only"]);
    assert_eq!(code, 0);
    assert!(out.ends_with("is ready and waits to be promoted\n"), "{out}");
    assert!(proxy.plugin("f").staged.is_some() && proxy.plugin("f").canary.is_none());

    let (code, out, _) = tollgate(proxy.admin(), &["swap", "f", &two.path(), "--canary", "12.5%"]);
    assert_eq!(code, 0);
    assert!(out.ends_with("is tried with 12.5% of exchanges\n"), "{out}");
    assert_eq!(proxy.plugin("f").canary.unwrap().1.to_string(), "12.5%");
}

#[test]
fn a_swap_promotes_the_module_that_it_uploaded_and_no_other() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    // It takes everything, and keeps what it was asked for.
    let peer = std::thread::spawn(move || {
        let take = |stream: io::Result<TcpStream>| {
            let mut stream = BufReader::new(stream.unwrap());
            let head: Vec<_> =
                stream.by_ref().lines().map(Result::unwrap).take_while(|line| !line.is_empty()).collect();
            stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n").unwrap();
            head[0].clone()
        };
        socket.incoming().take(2).map(take).collect::<Vec<_>>()
    });
    let empty = Guest::from_bytes(b"");

    let (code, out, error) = tollgate(address, &["swap", "f", &empty.path()]);

    assert_eq!((code, out.as_str(), error.as_str()), (0, "ok\n", ""));
    let digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let promote = format!("POST /filters/f/promote?sha256={digest} HTTP/1.1");
    assert_eq!(peer.join().unwrap(), ["PUT /filters/f/module HTTP/1.1", &promote]);
}

#[test]
fn a_module_that_does_not_run_ends_a_swap_with_1_and_its_fault() {
    let (proxy, _guest) = open_proxy();
    let refuses = module("two", "(func (export \"proxy_on_configure\") (param i32 i32) (result i32) (i32.const 0))");
    let bad = Guest::from_bytes(&refuses);

    let (code, out, error) = tollgate(proxy.admin(), &["swap", "f", &bad.path()]);

    assert_eq!((code, out.as_str()), (1, ""));
    assert!(error.starts_with("error[TG0205]: plugin \"f\": upload did not start: "), "{error}");
    assert_eq!(speaks(&proxy), "one");
}

#[test]
fn filters_are_shown_as_tables_and_as_json() {
    let (proxy, _guest) = open_proxy();

    let (code, table, _) = tollgate(proxy.admin(), &["filters"]);
    assert_eq!(code, 0);
    assert!(table.starts_with("NAME  STATE") && table.contains("\nf     serving  1 "), "{table}");
    let (_, page, _) = tollgate(proxy.admin(), &["filters", "f"]);
    assert!(page.starts_with("filter f: serving\n"), "{page}");
    let (_, json, _) = tollgate(proxy.admin(), &["filters", "f", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap()["generation"], 1);
    let (code, out, error) = tollgate(proxy.admin(), &["filters", "g"]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert_eq!(error, "error[TG0404]: there is no filter \"g\"; there are: f\n");
}

#[test]
fn a_reload_says_what_came_of_it() {
    let (proxy, guest) = open_proxy();

    let (code, out, _) = tollgate(proxy.admin(), &["reload"]);
    assert_eq!((code, out.as_str()), (0, "the configuration was taken over\n"));

    guest.replace(b"no module");
    let (code, _, error) = tollgate(proxy.admin(), &["reload"]);
    assert_eq!(code, 1);
    assert!(error.starts_with("error[TG0204]: plugin \"f\": "), "{error}");
}

#[test]
fn the_token_comes_from_a_file_or_from_the_environment() {
    let (proxy, guest) = proxy(&secured("127.0.0.1"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token").display().to_string();
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let admin = proxy.admin();

    let (code, _, error) = tollgate(admin, &["swap", "f", &guest.path()]);
    assert_eq!(code, 1);
    assert!(
        error.starts_with("error[TG0405]: the proxy wants its admin token; ") && error.contains("--token-file"),
        "{error}"
    );
    let mut wrong = command(&["reload", "--admin", &admin.to_string()]);
    let (code, _, error) = ended(wrong.env("TOLLGATE_ADMIN_TOKEN", "another-token-0000"));
    assert_eq!(
        (code, error.as_str()),
        (1, "error[TG0405]: the proxy has another admin token than the one it was told\n")
    );
    assert_eq!(tollgate(admin, &["swap", "f", &guest.path(), "--token-file", &file]).0, 0);
    let (code, _, error) = tollgate(admin, &["reload", "--token-file", "nowhere"]);
    assert_eq!(code, 1);
    assert!(error.starts_with("error[TG0405]: cannot read nowhere: "), "{error}");
    let mut by_environment = command(&["reload"]);
    by_environment.env("TOLLGATE_ADMIN", format!("http://{admin}")).env("TOLLGATE_ADMIN_TOKEN", TOKEN);
    assert_eq!(ended(&mut by_environment).0, 0);
}

#[test]
fn a_proxy_that_cannot_be_reached_ends_with_3() {
    let address = free().to_string();

    let (code, out, error) = ended(command(&["filters"]).env("TOLLGATE_ADMIN", &address));

    assert_eq!((code, out.as_str()), (3, ""));
    assert!(error.starts_with(&format!("error[TG0403]: no proxy answers at {address}: ")), "{error}");
}

#[test]
fn what_is_no_proxy_ends_with_3() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    // The first connection is closed without a word.
    let peer = std::thread::spawn(move || drop(socket.accept().unwrap()));

    let (code, _, error) = tollgate(address, &["filters"]);

    assert_eq!(code, 3);
    assert!(error.starts_with("error[TG0403]: "), "{error}");
    peer.join().unwrap();
}

#[test]
fn a_file_that_cannot_be_a_module_is_not_sent() {
    let (proxy, _guest) = open_proxy();
    let large = Guest::from_bytes(&vec![0; tollgate_abi::ModuleLimits::default().bytes + 1]);

    let (code, _, error) = tollgate(proxy.admin(), &["swap", "f", &large.path()]);
    assert_eq!(code, 1);
    assert!(error.starts_with("error[TG0202]: ") && error.contains(" is larger than the limit of "), "{error}");

    let (code, _, error) = tollgate(proxy.admin(), &["swap", "f", "nowhere.wasm"]);
    assert_eq!(code, 1);
    assert!(error.starts_with("error[TG0201]: cannot read nowhere.wasm: "), "{error}");
    assert_eq!(proxy.plugin("f").history.len(), 1);
}

#[test]
fn a_share_that_is_none_is_a_bad_command_line() {
    let (proxy, guest) = open_proxy();
    assert_eq!(upload(proxy.admin(), &speaker("two")).status(), 200);

    let (code, _, error) = tollgate(proxy.admin(), &["swap", "f", &guest.path(), "--canary", "much"]);

    assert_eq!(code, 2);
    assert!(error.contains("is not a share"), "{error}");
}
