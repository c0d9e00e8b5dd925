//! Two network namespaces with a cable between them.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use testkit::Peer;

/// The client's address.
pub const CLIENT: &str = "10.77.0.2";
/// The address at the router's end of the cable.
pub const ROUTER: &str = "10.77.0.1";
/// Addresses that origins listen on, in the router's namespace.
pub const ORIGINS: [&str; 2] = ["198.51.100.10", "2001:db8:77::10"];

/// The same, of no network that is closed by default.
pub const OPEN: [&str; 2] = ["11.77.0.1", "11.77.0.2"];

/// The namespaces of one test. They go with it.
pub struct Net {
    client: String,
    router: String,
    nft: PathBuf,
}

impl Net {
    /// Runs a test on a thread in the namespace of the router, which what it starts is then in
    /// too. Says what is skipped where the machine has no such thing.
    pub fn run(test: impl FnOnce(&Self) + Send) {
        let Some(net) = Self::build() else { return };
        let outcome = std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                enter(&net.router);
                test(&net);
            });
            inside.join()
        });
        if let Err(panic) = outcome {
            std::panic::resume_unwind(panic);
        }
    }

    fn build() -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let skipped = |why: &str| {
            println!("skipped: {why}");
            None
        };
        if !rustix::process::geteuid().is_root() {
            return skipped("only root makes network namespaces");
        }
        if program("ip").is_none() {
            return skipped("ip is not installed");
        }
        let Some(nft) =
            std::env::var_os("BIFRONS_TEST_NFT").map(PathBuf::from).or_else(|| program("nft"))
        else {
            return skipped("nft is not installed");
        };
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = |what: &str| format!("bifrons-{}-{number}-{what}", std::process::id());
        let net = Self { client: name("client"), router: name("router"), nft };
        if !ip(&format!("netns add {}", net.client)) {
            return skipped("network namespaces are not allowed here");
        }
        net.wire();
        Some(net)
    }

    fn wire(&self) {
        let Self { client, router, .. } = self;
        for line in [
            format!("netns add {router}"),
            format!("-n {router} link set lo up"),
            format!("-n {client} link set lo up"),
            format!("-n {router} link add inside type veth peer name cable netns {client}"),
            format!("-n {router} address add {ROUTER}/24 dev inside"),
            format!("-n {router} address add fd77::1/64 dev inside nodad"),
            format!("-n {client} address add {CLIENT}/24 dev cable"),
            format!("-n {client} address add fd77::2/64 dev cable nodad"),
            format!("-n {router} link set inside up"),
            format!("-n {client} link set cable up"),
            format!("-n {client} route add default via {ROUTER}"),
            format!("-n {client} -6 route add default via fd77::1"),
            format!("-n {router} address add {}/32 dev lo", ORIGINS[0]),
            format!("-n {router} address add 198.51.100.66/32 dev lo"),
            format!("-n {router} address add 192.0.2.80/32 dev lo"),
            format!("-n {router} address add {}/32 dev lo", OPEN[0]),
            format!("-n {router} address add {}/32 dev lo", OPEN[1]),
            format!("-n {router} -6 address add {}/128 dev lo nodad", ORIGINS[1]),
            // What TPROXY has marked is delivered here, whatever its destination.
            format!("-n {router} rule add fwmark 1 lookup 100"),
            format!("-n {router} route add local default dev lo table 100"),
            format!("-n {router} -6 rule add fwmark 1 lookup 100"),
            format!("-n {router} -6 route add local default dev lo table 100"),
        ] {
            assert!(ip(&line), "ip {line}");
        }
    }

    /// Leads the client's connections to a port of the router's, but for those to the router.
    pub fn lead_to(&self, mode: &str, port: u16) {
        let (kind, priority, verdict) = match mode {
            "redirect" => ("nat", "dstnat", format!("redirect to :{port}")),
            _ => ("filter", "mangle", format!("meta mark set 1 tproxy to :{port} accept")),
        };
        let rules = format!(
            "table inet bifrons {{
                chain lead {{
                    type {kind} hook prerouting priority {priority}; policy accept;
                    ip daddr {ROUTER} accept
                    ip6 daddr fd77::1 accept
                    iifname \"inside\" meta l4proto tcp {verdict}
                }}
            }}\n"
        );
        let mut nft = Command::new("ip")
            .args(["netns", "exec", &self.router])
            .arg(&self.nft)
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .expect("nft");
        nft.stdin.take().expect("a pipe").write_all(rules.as_bytes()).expect("write");
        assert!(nft.wait().expect("nft").success(), "{rules}");
    }

    /// A connection from the namespace of the client.
    pub fn connect(&self, to: SocketAddr) -> Peer {
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                enter(&self.client);
                TcpStream::connect(to).unwrap_or_else(|error| panic!("{to}: {error}"))
            });
            Peer::over(inside.join().expect("client"))
        })
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for name in [&self.client, &self.router] {
            ip(&format!("netns delete {name}"));
        }
    }
}

/// Moves this thread, and what it will start, into a namespace.
fn enter(name: &str) {
    let file = std::fs::File::open(format!("/run/netns/{name}")).expect("namespace");
    let kind = LinkNameSpaceType::Network;
    move_into_link_name_space(std::os::fd::AsFd::as_fd(&file), Some(kind)).expect("setns");
}

fn ip(line: &str) -> bool {
    let run = Command::new("ip").args(line.split(' ')).output();
    let run = run.expect("ip");
    if !run.status.success() {
        eprintln!("ip {line}: {}", String::from_utf8_lossy(&run.stderr));
    }
    run.status.success()
}

fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders.map(|folder| folder.join(name)).find(|program| program.is_file())
}
