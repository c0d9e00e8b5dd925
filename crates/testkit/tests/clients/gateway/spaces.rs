//! Network namespaces: the gateway in one, each exit in its own, and the world in another, which
//! only the exits reach.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::process::Command;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The namespaces of a test. They go with it.
pub struct Spaces {
    prefix: String,
}

impl Spaces {
    /// What the namespaces of the exits are called.
    pub const EXITS: [&str; 3] = ["us", "ca1", "ca2"];

    /// Where the gateway reaches an exit.
    pub fn near(exit: usize) -> String {
        format!("10.78.{exit}.2")
    }

    /// Where the world sees it.
    pub fn far(exit: usize) -> String {
        format!("203.0.113.{}", 4 * exit + 1)
    }

    /// Runs a test on a thread in the namespace of the gateway. Says what is skipped where the
    /// machine has no such thing.
    pub fn run(test: impl FnOnce(&Self) + Send) {
        if !rustix::process::geteuid().is_root() {
            return println!("skipped: only root makes network namespaces");
        }
        if crate::program::find("BIFRONS_TEST_IP", &["ip"]).is_none() {
            return println!("skipped: ip is not installed");
        }
        let spaces = Self { prefix: format!("bifrons-{}-", std::process::id()) };
        if !spaces.ip("netns add %gateway") {
            return println!("skipped: network namespaces are not allowed here");
        }
        spaces.wire();
        spaces.within("gateway", || test(&spaces));
    }

    fn wire(&self) {
        let mut lines = vec![
            "-n %gateway link set lo up".to_owned(),
            "netns add %world".to_owned(),
            "-n %world link set lo up".to_owned(),
            "-n %world address add 198.51.100.10/32 dev lo".to_owned(),
        ];
        for (number, exit) in Self::EXITS.iter().enumerate() {
            let (near, far, there) = (Self::near(number), Self::far(number), 4 * number + 2);
            lines.extend([
                format!("netns add %{exit}"),
                format!("-n %{exit} link set lo up"),
                format!("-n %gateway link add to-{exit} type veth peer name near netns %{exit}"),
                format!("-n %gateway address add 10.78.{number}.1/24 dev to-{exit}"),
                format!("-n %gateway link set to-{exit} up"),
                format!("-n %{exit} address add {near}/24 dev near"),
                format!("-n %{exit} link set near up"),
                format!("-n %world link add to-{exit} type veth peer name far netns %{exit}"),
                format!("-n %world address add 203.0.113.{there}/30 dev to-{exit}"),
                format!("-n %world link set to-{exit} up"),
                format!("-n %{exit} address add {far}/30 dev far"),
                format!("-n %{exit} link set far up"),
                format!("-n %{exit} route add 198.51.100.10 via 203.0.113.{there}"),
            ]);
        }
        for line in lines {
            assert!(self.ip(&line), "ip {line}");
        }
    }

    /// Does this in a namespace; threads and programs that it starts stay there.
    pub fn within<T: Send>(&self, space: &str, what: impl FnOnce() -> T + Send) -> T {
        let path = format!("/run/netns/{}{space}", self.prefix);
        let outcome = std::thread::scope(|scope| {
            let inside = scope.spawn(move || {
                let file = File::open(path).expect("a namespace");
                let kind = Some(LinkNameSpaceType::Network);
                move_into_link_name_space(file.as_fd(), kind).expect("setns");
                what()
            });
            inside.join()
        });
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Runs `ip`; a `%` stands before names of namespaces.
    fn ip(&self, line: &str) -> bool {
        let line = line.replace('%', &self.prefix);
        let run = Command::new("ip").args(line.split(' ')).output().expect("ip");
        if !run.status.success() {
            eprintln!("ip {line}: {}", String::from_utf8_lossy(&run.stderr));
        }
        run.status.success()
    }
}

impl Drop for Spaces {
    fn drop(&mut self) {
        for space in ["gateway", "world"].iter().chain(&Self::EXITS) {
            self.ip(&format!("netns delete %{space}"));
        }
    }
}
