//! The forward face as a gateway: exits in two countries, and real clients that say in their user
//! name which of them they want.
//!
//! The origins tell which exit a request came from. A client that has been misunderstood anywhere
//! on the way is seen to leave by the wrong one.

use std::collections::HashSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use testkit::{Authority, Proxy, Scratch};

use crate::web::{Request, Response, Web};

mod chains;
mod chromium;
mod country;
mod curl;
mod node;
mod packages;
mod python;
mod spaces;
mod ssh;

/// A user, the country that is wished for, and a session that keeps its exit.
pub const NAME: &str = "alice-country-ca-session-a1";
/// What command lines, URLs and fields have a meaning of their own for.
pub const PASSWORD: &str = "p:@%/+ \u{fc}";
/// The password of `bob`, for clients that can say no other.
pub const SIMPLE: &str = "plain-secret";
/// The exits in Canada.
pub const CANADA: [&str; 2] = ["127.0.0.3", "127.0.0.4"];

/// A gateway, and two origins behind it.
pub struct Gateway {
    pub proxy: Proxy,
    /// The file of the authority of the origins, and of the listener with TLS.
    pub ca: PathBuf,
    pub plain: Web,
    pub secret: Web,
}

impl Gateway {
    pub fn new() -> Self {
        Self::with(|_, _| Response::not_found())
    }

    /// With origins that have more to give.
    pub fn with(
        answer: impl Fn(&Request, Vec<u8>) -> Response + Clone + Send + Sync + 'static,
    ) -> Self {
        let authority = Authority::new("test");
        let tls = authority.issue(&["127.0.0.1", "origin.localhost"]).server(None);
        let scratch = Scratch::new();
        let identity = authority.issue(&["127.0.0.9"]);
        scratch.write("cert.pem", &identity.cert);
        scratch.write("key.pem", &identity.key);
        let ca = scratch.write("ca.pem", &authority.pem);
        let rules = "allow \"127.0.0.0/8\"; exit \"world\"";
        let proxy = Proxy::start_in(
            scratch,
            &format!(
                "users \"staff\" {{
                    user \"alice\" password=\"{PASSWORD}\"
                    user \"bob\" password=\"{SIMPLE}\"
                }}
                exits \"world\" {{
                    address \"127.0.0.2\" name=\"us-1\" country=\"US\"
                    address \"127.0.0.3\" name=\"ca-1\" country=\"CA\" city=\"toronto\"
                    address \"127.0.0.4\" name=\"ca-2\" country=\"CA\" city=\"montreal\"
                }}
                forward \"127.0.0.1:0\" {{ auth users=\"staff\"; {rules} }}
                forward \"127.0.0.9:0\" {{
                    tls cert=\"cert.pem\" key=\"key.pem\"
                    auth users=\"staff\"; {rules}
                }}
                forward \"127.0.0.8:0\" {{ auth users=\"staff\" digest=#true; {rules} }}
                forward \"127.0.0.7:0\" {{ {rules} }}"
            ),
        );
        let plain = Web::with("127.0.0.1:0", None, answer.clone());
        Self { proxy, ca, plain, secret: Web::with("127.0.0.1:0", Some(tls), answer) }
    }

    /// `SCHEME://host:port` of the listener that speaks it.
    pub fn bare(&self, scheme: &str) -> String {
        let listener = if scheme == "https" { "127.0.0.9:" } else { "127.0.0.1:" };
        format!("{scheme}://{}", self.proxy.address(listener))
    }

    /// The same with [`NAME`] and [`PASSWORD`] before the host.
    pub fn at(&self, scheme: &str) -> String {
        let encoded: String = PASSWORD.bytes().map(|byte| format!("%{byte:02X}")).collect();
        self.bare(scheme).replace("://", &format!("://{NAME}:{encoded}@"))
    }

    /// All requests so far came from the one exit of the session. Tells how many they were.
    #[track_caller]
    pub fn check_exit(&self) -> usize {
        let callers = [self.plain.callers(), self.secret.callers()].concat();
        let homes: HashSet<String> = callers.iter().map(IpAddr::to_string).collect();
        assert_eq!(homes.len(), 1, "a session has one exit: {callers:?}");
        assert!(homes.iter().all(|home| CANADA.contains(&&**home)), "{homes:?}");
        callers.len()
    }

    /// The same; and nothing about the proxy came with them.
    #[track_caller]
    pub fn check_origins(&self) -> usize {
        for head in self.plain.heads().into_iter().chain(self.secret.heads()) {
            let lower = head.to_lowercase();
            assert!(!lower.contains("proxy-") && !lower.contains("alice"), "{head}");
        }
        self.check_exit()
    }

    /// The log, once all is over: everything was Alice's that was not refused.
    #[track_caller]
    pub fn log(&self) -> Vec<serde_json::Value> {
        let log = self.proxy.stop_and_read();
        for line in &log {
            assert!(line["user"] == "alice" || line["status"] == 407, "{line}");
            assert!(!line.to_string().contains(PASSWORD), "{line}");
        }
        log
    }
}

/// A file as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}
