//! Network namespaces that end with the test: each is held by a process that waits for its standard input to close.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// One namespace.
pub(crate) struct Space {
    holder: Child,
}

impl Drop for Space {
    fn drop(&mut self) {
        // With its last process and socket the namespace ends, and with it every device, rule and route in it.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

impl Space {
    /// One with nothing in it but loopback.
    pub(crate) fn new() -> Space {
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", "echo ready && exec cat"]);
        let mut holder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut word = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut word).unwrap();
        assert_eq!(word, "ready\n", "a network namespace takes root, or a user namespace; run `make test-netns`");
        let space = Space { holder };
        space.run("ip link set lo up");
        space
    }

    /// Does something on a thread in the namespace; sockets and threads that are made there stay in it.
    pub(crate) fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(format!("/proc/{}/ns/net", self.holder.id())).unwrap();
        std::thread::scope(|scope| {
            let worker = scope.spawn(move || {
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                work()
            });
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Runs a line of `sh` there, which must succeed; its output.
    pub(crate) fn run(&self, line: &str) -> String {
        let (code, said) = self.try_run(line);
        assert_eq!(code, Some(0), "{line}\n{said}");
        said
    }

    /// Runs a line of `sh` there; its code and its output.
    pub(crate) fn try_run(&self, line: &str) -> (Option<i32>, String) {
        let output = self.within(|| Command::new("sh").args(["-c", &format!("exec 2>&1; {line}")]).output().unwrap());
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// A machine with an application and its proxy, and another machine, joined by one link.
pub(crate) struct Pair {
    /// 10.99.0.1 and fd99::1.
    pub(crate) here: Space,
    /// 10.99.0.2 and fd99::2.
    pub(crate) there: Space,
}

impl Pair {
    pub(crate) fn new() -> Pair {
        let (here, there) = (Space::new(), Space::new());
        here.run(&format!("ip link add tg-here type veth peer name tg-there netns {}", there.holder.id()));
        for (space, device, number) in [(&here, "tg-here", 1), (&there, "tg-there", 2)] {
            space.run(&format!("ip address add 10.99.0.{number}/24 dev {device}"));
            space.run(&format!("ip address add fd99::{number}/64 dev {device} nodad"));
            space.run(&format!("ip link set {device} up"));
        }
        Pair { here, there }
    }

    /// The script of `examples/sidecar` here: its code and its output.
    pub(crate) fn script(&self, arguments: &str) -> (Option<i32>, String) {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/sidecar/intercept.sh");
        self.here.try_run(&format!("{script} {arguments}"))
    }

    /// The same where it must succeed.
    pub(crate) fn intercept(&self, options: &str) {
        let (code, said) = self.script(&format!("up {options}"));
        assert_eq!(code, Some(0), "{said}");
    }
}
