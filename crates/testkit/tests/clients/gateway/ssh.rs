//! Tunnels that netcat makes, and ssh through them: the server speaks first.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use testkit::{Origin, Scratch, reserve};

use super::{CANADA, Gateway, NAME, PASSWORD, text};
use crate::introduced::start;
use crate::program::{Run, Running};
use crate::program_or_skip;
use crate::web::Pattern;

/// What is sent each way.
const SIZE: usize = 1_500_007;

/// A server with a key of its own, which one other key opens.
struct Server {
    _running: Running,
    address: std::net::SocketAddr,
    files: Scratch,
}

impl Server {
    fn start(sshd: &Path, keygen: &Path) -> Self {
        let files = Scratch::new();
        for name in ["host", "user"] {
            Run::new(keygen)
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(files.path().join(name))
                .finish()
                .ok();
        }
        if rustix::process::geteuid().is_root() {
            // Where it locks itself up; made by whatever starts it as a service.
            fs::create_dir_all("/run/sshd").expect("a folder");
        }
        let address = reserve();
        let config = files.write(
            "config",
            format!(
                "ListenAddress {address}\nHostKey {0}/host\nAuthorizedKeysFile {0}/user.pub\n\
                 PidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n\
                 PermitRootLogin prohibit-password\n",
                files.path().display()
            ),
        );
        let mut command = Command::new(sshd);
        command.args(["-D", "-e", "-f"]).arg(&config);
        let running = start(&mut command, address, &files.path().join("log"));
        Self { _running: running, address, files }
    }

    /// A client that reaches it by this command.
    fn client(&self, ssh: &Path, by: &str) -> Run {
        Run::new(ssh)
            .args(["-F", "none", "-T", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR"])
            .args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"])
            .args(["-o", "IdentitiesOnly=yes", "-i", text(&self.files.path().join("user"))])
            .args(["-o", &format!("ProxyCommand={by}"), "-p", &self.address.port().to_string()])
            .arg(self.address.ip().to_string())
    }
}

#[test]
fn ssh_by_every_netcat() {
    let ssh = program_or_skip!("BIFRONS_TEST_SSH", "ssh");
    let sshd = program_or_skip!("BIFRONS_TEST_SSHD", "sshd");
    let Some(keygen) = crate::program::find("BIFRONS_TEST_SSH_KEYGEN", &["ssh-keygen"]) else {
        return println!("skipped: ssh-keygen is not installed");
    };
    let server = Server::start(&sshd, &keygen);
    let gateway = Gateway::new();
    let (asked, open) = (gateway.proxy.address("127.0.0.1:"), gateway.proxy.address("127.0.0.7:"));
    // ssh has its own meaning for a percent sign.
    let pair = format!("'{NAME}:{}'", PASSWORD.replace('%', "%%"));
    let mut ways = Vec::new();
    if let Some(nc) = openbsd() {
        for kind in ["connect", "5", "4"] {
            ways.push((format!("{} -X {kind} -x {open} %h %p", nc.display()), false));
        }
    }
    if let Some(ncat) = crate::program::find("BIFRONS_TEST_NCAT", &["ncat"]) {
        for kind in ["http", "socks5"] {
            let options = format!("--proxy {asked} --proxy-type {kind} --proxy-auth {pair}");
            ways.push((format!("{} {options} %h %p", ncat.display()), true));
        }
    }
    if ways.is_empty() {
        return println!("skipped: neither nc of OpenBSD nor ncat is installed");
    }
    let files = Scratch::new();
    let body = files.path().join("body");
    Pattern::new().write_file(&body, SIZE);
    let expected = STANDARD.encode(fs::read(&body).expect("read"));
    for (by, wishes) in &ways {
        let said = server.client(&ssh, by).arg("echo $SSH_CONNECTION").finish();
        assert_eq!(said.code, Some(0), "{by}: {}", said.text());
        let from = said.out.split(' ').next().expect("an address").to_owned();
        assert!(CANADA.contains(&&*from) || !wishes && from == "127.0.0.2", "{by}: {from}");
        // Both ways at once, all of it.
        let echo = server.client(&ssh, by).arg("base64 -w0").stdin(&body).finish();
        assert_eq!(echo.code, Some(0), "{by}: {}", echo.err);
        assert!(echo.out == expected, "{by}: {} of {} bytes", echo.out.len(), expected.len());
    }
    let log = gateway.proxy.stop_and_read();
    let tunnels = log.iter().filter(|line| line["status"] == 200).count();
    assert_eq!(tunnels, 2 * ways.len(), "{log:?}");
}

/// One side ends, and the other goes on; also where nothing was said at all.
#[test]
fn half_of_a_connection_ends_by_itself() {
    let Some(nc) = openbsd() else {
        return println!("skipped: nc of OpenBSD is not installed");
    };
    let (gateway, origin) = (Gateway::new(), Origin::start());
    let open = gateway.proxy.address("127.0.0.7:").to_string();
    let (host, port) = (origin.address().ip().to_string(), origin.address().port().to_string());
    let files = Scratch::new();
    let body = files.path().join("body");
    for kind in ["connect", "5", "4"] {
        for size in [0, SIZE] {
            Pattern::new().write_file(&body, size);
            let run = Run::new(&nc).args(["-N", "-X", kind, "-x", &open, &host, &port]);
            let run = run.stdin(&body);
            let said = std::thread::scope(|scope| {
                let client = scope.spawn(|| run.finish());
                let mut peer = origin.accept();
                // All of it, and only then the answer.
                Pattern::new().check(&peer.recv_rest(), size);
                peer.send("whole").finish();
                client.join().expect("nc")
            });
            assert_eq!(said.out, "whole", "{kind} {size}: {}", said.text());
        }
    }
}

/// The netcat that knows of proxies: there is another of the same name.
fn openbsd() -> Option<PathBuf> {
    let nc = crate::program::find("BIFRONS_TEST_NC", &["nc.openbsd", "nc"])?;
    let help = Run::new(&nc).arg("-h").finish();
    help.text().contains("-X proxy_protocol").then_some(nc)
}
