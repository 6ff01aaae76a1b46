//! Files that are not what they should be when they are read again, and more signals than anybody needs.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::common::modules::Guest;
use crate::common::process::{Tollgate, ask};
use crate::common::swaps::speaker;
use crate::common::until;
use crate::{Asking, config, put, until_it_says, until_logged};

/// What may stand in place of a file, and what is said about it where it is a module and where it is the configuration.
type Stand = (fn(&Path), &'static str, &'static str);

const STANDS: [Stand; 7] = [
    (|path| fs::create_dir(path).unwrap(), "Is a directory", "Is a directory"),
    (|path| symlink("/nowhere/at/all", path).unwrap(), "No such file", "No such file"),
    (pipe, "it is no regular file", "it is no regular file"),
    (|path| symlink("/dev/zero", path).unwrap(), "it is no regular file", "it is no regular file"),
    (large, "larger than the limit", "32 MiB of text"),
    (|path| fs::write(path, "").unwrap(), "not a wasm module", "expected a mapping"),
    (|path| fs::write(path, b"listen: \xff").unwrap(), "not a wasm module", "the text is not UTF-8"),
];

fn pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

fn large(path: &Path) {
    fs::File::create(path).unwrap().set_len(100_000_000).unwrap();
}

fn remove(path: &Path) {
    if path.symlink_metadata().unwrap().is_dir() { fs::remove_dir(path) } else { fs::remove_file(path) }.unwrap();
}

/// KiB of memory that a process has had at most.
fn peak(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn a_module_that_cannot_be_read_leaves_the_one_before_and_is_told() {
    let guest = Guest::from_bytes(&speaker("good-0"));
    let tollgate = Tollgate::run(&config(&guest, ""));
    let address = tollgate.address_after("listening on http://");
    until_it_says(address, "good-0");
    let (path, before) = (guest.path(), peak(tollgate.id()));
    for (place, (stand, said, _)) in STANDS.into_iter().enumerate() {
        let (asking, from) = (Asking::of(address), tollgate.log().len());

        remove(path.as_ref());
        stand(path.as_ref());
        tollgate.signal("HUP");
        until_logged(&tollgate, from, &["mine", said]);

        let (before, after) = (format!("good-{place}"), format!("good-{}", place + 1));
        assert_eq!(asking.heard(), [before], "{said}");
        remove(path.as_ref());
        guest.replace(&speaker(&after));
        until_it_says(address, &after);
    }
    let growth = peak(tollgate.id()) - before;
    assert!(growth < 64 << 10, "{growth} KiB");
}

#[test]
fn a_configuration_that_cannot_be_read_leaves_the_one_before_and_is_told() {
    let guests = ["good-0", "good-1"].map(|word| Guest::from_bytes(&speaker(word)));
    let tollgate = Tollgate::run(&config(&guests[0], ""));
    let address = tollgate.address_after("listening on http://");
    until_it_says(address, "good-0");
    let (path, before) = (tollgate.folder().join("tollgate.yaml"), peak(tollgate.id()));
    for (place, (stand, _, said)) in STANDS.into_iter().enumerate() {
        let (asking, from) = (Asking::of(address), tollgate.log().len());

        remove(&path);
        stand(&path);
        tollgate.signal("HUP");
        until_logged(&tollgate, from, &[said]);

        let (before, after) = (format!("good-{}", place % 2), format!("good-{}", (place + 1) % 2));
        assert_eq!(asking.heard(), [before], "{said}");
        remove(&path);
        put(&path, &config(&guests[(place + 1) % 2], ""));
        until_it_says(address, &after);
    }
    let growth = peak(tollgate.id()) - before;
    assert!(growth < 64 << 10, "{growth} KiB");
}

#[test]
fn what_was_refused_is_looked_at_once() {
    let guest = Guest::from_bytes(&speaker("one"));
    let tollgate = Tollgate::run(&config(&guest, ""));
    let address = tollgate.address_after("listening on http://");
    until_it_says(address, "one");

    guest.replace(b"no module");
    until_logged(&tollgate, 0, &["mine", "not a wasm module"]);
    // Time enough for another look, and for many.
    (0..100).for_each(|_| until_it_says(address, "one"));
    guest.replace(&speaker("two"));
    until_it_says(address, "two");

    assert_eq!(tollgate.log().matches("not a wasm module").count(), 1, "{}", tollgate.log());
}

#[test]
fn a_hang_up_as_soon_as_the_address_is_told_ends_nothing() {
    for _ in 0..20 {
        let guest = Guest::from_bytes(&speaker("one"));
        let tollgate = Tollgate::run(&config(&guest, ""));
        let address = tollgate.address_after("listening on http://");

        tollgate.signal("HUP");

        until_it_says(address, "one");
    }
}

#[test]
fn after_thousands_of_hang_ups_the_last_configuration_is_in_force() {
    const SIGNALS: u32 = 5000;
    let guests = ["one", "two", "last"].map(|word| Guest::from_bytes(&speaker(word)));
    let tollgate = Tollgate::run(&config(&guests[0], "watch: off"));
    let address = tollgate.address_after("listening on http://");
    let admin = tollgate.address_after("admin on http://");
    until_it_says(address, "one");
    let path = tollgate.folder().join("tollgate.yaml");
    let asking = Asking::of(address);
    let storm = format!("i=0; while [ $i -lt {SIGNALS} ]; do kill -HUP {}; i=$((i + 1)); done", tollgate.id());
    let mut storm = Command::new("sh").args(["-c", &storm]).spawn().unwrap();

    let (mut round, mut over) = (0, None);
    until("the storm is over", || {
        round += 1;
        let text = if round % 3 == 0 { "routes: no".to_owned() } else { config(&guests[round % 3 - 1], "watch: off") };
        put(&path, &text);
        over = storm.try_wait().unwrap();
        over.is_some()
    });
    assert!(over.unwrap().success());
    put(&path, &config(&guests[2], "watch: off"));
    tollgate.signal("HUP");
    until_it_says(address, "last");

    let heard = asking.heard();
    assert_eq!(heard.last().unwrap(), "last");
    let metrics = ask(admin, "/metrics").text().to_owned();
    let reloads = metrics.lines().filter(|line| line.starts_with("tollgate_config_reloads_total{"));
    let reloads: f64 = reloads.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum();
    eprintln!("{SIGNALS} signals led to {reloads} reloads");
    assert!(reloads >= 1.0 && reloads < f64::from(SIGNALS), "{reloads} reloads");
}
