//! `examples/sidecar/intercept.sh` with commands that only write down what they are told. What the kernel makes of its rules
//! is tested by `make test-netns`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

/// Where the script sees whether there is IPv6.
const IPV6: &str = "/proc/net/if_inet6";
/// Writes down what it is told; has every chain that it is asked for, and no rule.
const WRITES: &str = "#!/bin/sh\necho \"$0 $*\" >>\"${0%/*}/said\"\ncase \"$*\" in *' -C '*) exit 1 ;; esac\n";

/// What there is at that place.
const ADDRESS: &str = "00000000000000000000000000000001 01 80 10 80       lo\n";

/// A copy of the script on a machine with IPv6 or without, and its commands.
struct Machine {
    folder: TempDir,
}

impl Machine {
    /// With these addresses of IPv6; `None` where the kernel has none.
    fn new(addresses: Option<&str>) -> Machine {
        let machine = Machine { folder: tempfile::tempdir().unwrap() };
        let script =
            fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/sidecar/intercept.sh")).unwrap();
        assert!(script.contains(IPV6));
        let there = machine.path("addresses");
        fs::write(machine.path("intercept.sh"), script.replace(IPV6, there.to_str().unwrap())).unwrap();
        if let Some(addresses) = addresses {
            fs::write(there, addresses).unwrap();
        }
        machine.has("four", WRITES);
        machine.has("six", WRITES);
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn has(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Its code, and what it says.
    fn run(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let mut command = Command::new("bash");
        command.arg(self.path("intercept.sh")).args(arguments).env("IP", "false");
        let ran = command.env("IPTABLES", self.path("four")).env("IP6TABLES", self.path("six")).output().unwrap();
        (ran.status.code(), String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned())
    }

    /// What its commands were told.
    fn said(&self) -> String {
        fs::read_to_string(self.path("said")).unwrap_or_default()
    }
}

#[test]
fn rules_of_a_family_that_is_not_there_or_switched_off_are_an_error() {
    for addresses in [None, Some("")] {
        let machine = Machine::new(addresses);

        let (code, said) = machine.run(&["up", "--uid", "1", "--family", "6"]);

        assert_eq!((code, machine.said()), (Some(2), String::new()), "{said}");
        assert!(said.contains("there is no IPv6 here, or it is switched off"), "{said}");
        assert_eq!(machine.run(&["up", "--uid", "1"]).0, Some(0), "of both there is one");
        assert!(machine.said().contains("/four -w 5 -t nat -A OUTPUT -p tcp -j TOLLGATE_OUT\n"), "{}", machine.said());
        assert!(!machine.said().contains("/six -w 5 -t nat -A"), "{}", machine.said());
    }
}

#[test]
fn rules_of_one_family_are_removed_where_the_other_cannot_be_read() {
    let machine = Machine::new(Some(ADDRESS));
    machine.has("six", "#!/bin/sh\nexit 3\n");

    let (code, said) = machine.run(&["down"]);

    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("the rules of IPv6 cannot be read, and are passed over"), "{said}");
    assert!(machine.said().contains("/four -w 5 -t nat -X TOLLGATE_OUT\n"), "{}", machine.said());
    assert_eq!(machine.run(&["status"]).0, Some(0));
    // Who is to set rules of both needs both.
    assert_eq!(machine.run(&["up", "--uid", "1"]).0, Some(2));
}

#[test]
fn where_no_rules_can_be_read_nothing_passes_for_none() {
    let machine = Machine::new(Some(ADDRESS));
    machine.has("four", "#!/bin/sh\nexit 3\n");
    machine.has("six", "#!/bin/sh\nexit 3\n");

    for verb in ["down", "status"] {
        let (code, said) = machine.run(&[verb]);

        assert_eq!(code, Some(2), "{verb}: {said}");
        assert!(said.contains("no rules can be read; that needs iptables"), "{verb}: {said}");
    }
}
