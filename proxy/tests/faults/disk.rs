//! The folder of compiled code: full, damaged, or no folder at all.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::common::modules::Guest;
use crate::common::process::Tollgate;
use crate::common::swaps::{module, speaker};
use crate::common::until;
use crate::{config, until_it_says};

/// A module whose code is larger than the whole disk.
fn large(word: &str) -> Vec<u8> {
    module(word, &format!("(data (i32.const 4096) {:?})", "x".repeat(100_000)))
}

/// What lies in a folder as the process sees it.
fn names(process: u32, folder: &Path) -> Vec<String> {
    let seen = PathBuf::from(format!("/proc/{process}/root{}", folder.display()));
    let names = fs::read_dir(seen).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// Runs with a disk of 64 KiB as its folder of compiled code, after what `fill` does in there.
fn on_a_small_disk(config: &str, fill: &str) -> Tollgate {
    let works =
        |flags: &str| Command::new("unshare").args([flags, "true"]).output().is_ok_and(|done| done.status.success());
    let flags = ["-m", "-rm"].into_iter().find(|flags| works(flags)).expect(
        "no mount of its own for the small disk: run this as root, or let users have namespaces, such as by \
         `sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`",
    );
    let mount = format!("mount -t tmpfs -o size=64k,mode=700 none code && {{ {fill}; }} && exec \"$0\" \"$@\"");
    Tollgate::run_under(&format!("mkdir code && exec unshare {flags} sh -c '{mount}' \"$0\" \"$@\""), config)
}

/// Starts and swaps on a small disk, and has what it says counted; tells what it leaves there.
fn swapped_on_a_small_disk(fill: &str, says: (&str, usize)) -> Vec<String> {
    let guest = Guest::from_bytes(&large("one"));
    let tollgate = on_a_small_disk(&config(&guest, "cache: { dir: code }"), fill);
    let address = tollgate.address_after("listening on http://");
    until_it_says(address, "one");

    guest.replace(&large("two"));
    until_it_says(address, "two");

    let (what, times) = says;
    until(&format!("{what:?} was said {times} times"), || tollgate.log().matches(what).count() == times);
    let log = tollgate.log();
    assert_eq!(log.matches("compiled code is not kept").count(), times, "{log}");
    assert_eq!(log.matches("No space left on device").count(), times, "{log}");
    names(tollgate.id(), &tollgate.folder().join("code"))
}

#[test]
fn on_a_full_disk_no_code_is_kept_and_modules_are_swapped_all_the_same() {
    // Once for each module.
    let left = swapped_on_a_small_disk("true", ("compiled code is not kept folder", 2));

    assert_eq!(left, ["key"]);
}

#[test]
fn a_disk_that_is_full_at_the_start_is_told_once() {
    let fill = "head -c 65536 /dev/zero > code/filler";

    let left = swapped_on_a_small_disk(fill, ("compiled code is not kept: the folder cannot be used", 1));

    assert_eq!(left, ["filler"]);
}

/// Entries of the modules `one` and `two`.
fn filled() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    swapped(&folder);
    assert_eq!(entries(folder.path()).len(), 2);
    folder
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|ending| ending == "cwasm")).collect()
}

/// Starts with the module `one`, swaps to `two`, and tells what it said.
fn swapped(folder: &TempDir) -> String {
    swapped_after(folder, || ())
}

fn swapped_after(folder: &TempDir, meanwhile: impl FnOnce()) -> String {
    let guest = Guest::from_bytes(&speaker("one"));
    let tollgate = Tollgate::run(&config(&guest, &format!("cache: {{ dir: {:?} }}", folder.path())));
    let address = tollgate.address_after("listening on http://");
    until_it_says(address, "one");
    meanwhile();
    guest.replace(&speaker("two"));
    until_it_says(address, "two");
    tollgate.log()
}

const BAD: &str = "an entry of the cache of compiled code is bad and removed";

#[test]
fn damaged_entries_are_compiled_anew_at_the_start_and_at_a_swap() {
    let damages: [fn(&Path); 4] = [
        |entry| {
            let whole = fs::read(entry).unwrap();
            fs::write(entry, &whole[..whole.len() / 2]).unwrap();
        },
        |entry| {
            let length = fs::metadata(entry).unwrap().len();
            fs::write(entry, vec![0; usize::try_from(length).unwrap()]).unwrap();
        },
        |entry| {
            fs::remove_file(entry).unwrap();
            assert!(Command::new("mkfifo").arg(entry).status().unwrap().success());
        },
        |entry| {
            fs::remove_file(entry).unwrap();
            std::os::unix::fs::symlink("/dev/zero", entry).unwrap();
        },
    ];
    for (place, damage) in damages.into_iter().enumerate() {
        let folder = filled();
        entries(folder.path()).iter().for_each(|entry| damage(entry));

        let log = swapped(&folder);
        let healed = swapped(&folder);

        assert_eq!((log.matches(BAD).count(), healed.matches(BAD).count()), (2, 0), "{place}: {log}\n{healed}");
    }
}

#[test]
fn an_entry_that_is_replaced_while_the_proxy_runs_is_compiled_anew() {
    let folder = filled();

    let log =
        swapped_after(&folder, || entries(folder.path()).iter().for_each(|entry| fs::write(entry, "no").unwrap()));

    assert_eq!(log.matches(BAD).count(), 1, "{log}");
}

#[test]
fn a_folder_that_cannot_be_used_is_told_once_and_not_missed() {
    let damages: [fn(&Path); 4] = [
        |folder| fs::write(folder.join("key"), [7; 31]).unwrap(),
        |folder| {
            fs::remove_file(folder.join("key")).unwrap();
            fs::create_dir(folder.join("key")).unwrap();
        },
        |folder| fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).unwrap(),
        |folder| {
            fs::remove_dir_all(folder).unwrap();
            fs::write(folder, "").unwrap();
        },
    ];
    for (place, damage) in damages.into_iter().enumerate() {
        let folder = filled();
        damage(folder.path());

        let log = swapped(&folder);

        assert_eq!(log.matches("compiled code is not kept: the folder cannot be used").count(), 1, "{place}: {log}");
        if folder.path().is_file() {
            fs::remove_file(folder.path()).unwrap();
        }
    }
}
