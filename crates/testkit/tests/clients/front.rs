//! One site without TLS and with it, for clients that reach the same server both ways.

use std::net::SocketAddr;
use std::path::PathBuf;

use testkit::{Authority, Proxy, Scratch};

/// A proxy with the same site on two listeners.
pub struct Front {
    pub proxy: Proxy,
    /// The authority that clients have to trust.
    pub ca: PathBuf,
}

impl Front {
    /// With these directives in the site.
    pub fn new(site: &str) -> Self {
        Self::with(&Authority::new("test"), site, site)
    }

    /// With one site without TLS and another with it. `authority` has signed the certificate of
    /// the latter, and may have signed those of servers: its file is called `ca.pem`.
    pub fn with(authority: &Authority, plain: &str, secure: &str) -> Self {
        let scratch = Scratch::new();
        let identity = authority.issue(&["127.0.0.1", "localhost"]);
        scratch.write("cert.pem", &identity.cert);
        scratch.write("key.pem", &identity.key);
        let ca = scratch.write("ca.pem", &authority.pem);
        let proxy = Proxy::start_in(
            scratch,
            &format!(
                "site \"http://127.0.0.1:0\" {{\n{plain}\n}}
                site \"https://127.0.0.1:0\" {{\ntls cert=\"cert.pem\" key=\"key.pem\"\n{secure}\n}}"
            ),
        );
        Self { proxy, ca }
    }

    /// Where the site listens, without TLS or with it.
    pub fn address(&self, secure: bool) -> SocketAddr {
        self.proxy.address(if secure { "https://" } else { "http://" })
    }

    /// A URL of the site without TLS.
    pub fn http(&self, path: &str) -> String {
        format!("http://{}{path}", self.address(false))
    }

    /// A URL of the site with TLS.
    pub fn https(&self, path: &str) -> String {
        format!("https://{}{path}", self.address(true))
    }

    /// Stops, and tells the version of every request in the access log.
    pub fn versions(&self) -> Vec<String> {
        let lines = self.proxy.stop_and_read();
        lines.iter().map(|line| line["version"].as_str().expect("version").to_owned()).collect()
    }
}
