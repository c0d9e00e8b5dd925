//! The proxy, in the process of the test.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use crate::{DEADLINE, Peer, Served};

/// A folder of one test, for the files that a configuration names. It is removed with it.
#[derive(Debug)]
pub struct Scratch(tempfile::TempDir);

impl Scratch {
    /// An empty folder.
    #[must_use]
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("folder"))
    }

    /// Writes a file; a configuration calls it by this name.
    pub fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, contents).expect("write");
        path
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

/// A proxy that runs. Dropping it stops it.
pub struct Proxy {
    server: server::Server,
    scratch: Scratch,
}

impl Proxy {
    /// Starts a proxy with this configuration. Unless it says otherwise, it has one core and
    /// writes an access log of JSON lines for [`Proxy::stop`].
    #[must_use]
    pub fn start(kdl: &str) -> Self {
        Self::start_in(Scratch::new(), kdl)
    }

    /// The same, with the files that the test put into the folder.
    #[must_use]
    pub fn start_in(scratch: Scratch, kdl: &str) -> Self {
        match Self::try_start_in(scratch, kdl) {
            Ok(proxy) => proxy,
            Err(error) => panic!("{error}"),
        }
    }

    /// The same, for what may be refused.
    ///
    /// # Errors
    /// What is wrong with the configuration, in words.
    pub fn try_start_in(scratch: Scratch, kdl: &str) -> Result<Self, String> {
        let config = parse(&scratch, kdl)?;
        let server = server::start(config).map_err(|error| format!("{error}: {error:?}"))?;
        Ok(Self { server, scratch })
    }

    /// Goes on with another configuration.
    pub fn reload(&self, kdl: &str) -> server::Reload {
        self.try_reload(kdl).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The same, for what may be refused.
    ///
    /// # Errors
    /// What is wrong with the configuration, in words.
    pub fn try_reload(&self, kdl: &str) -> Result<server::Reload, String> {
        let config = parse(&self.scratch, kdl)?;
        self.server.reload(config).map_err(|errors| {
            let shown: Vec<_> =
                errors.iter().map(|error| format!("{} ({})", error.message, error.label)).collect();
            shown.join("\n")
        })
    }

    /// A proxy with one site, for every host, before this origin.
    #[must_use]
    pub fn before(origin: &Served) -> Self {
        Self::start(&format!("site \"http://127.0.0.1:0\" {{ to \"{}\" }}", origin.url()))
    }

    /// Where the first site or forward listener listens.
    #[must_use]
    pub fn first(&self) -> SocketAddr {
        self.server.addresses().first().expect("a listener").address
    }

    /// Where the site or forward listener listens whose name begins so.
    #[must_use]
    pub fn address(&self, name: &str) -> SocketAddr {
        let found = self.server.addresses().into_iter().find(|bound| bound.name.starts_with(name));
        found.unwrap_or_else(|| panic!("no listener {name}")).address
    }

    /// Where the admin listener listens.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.server.snapshot().config.admin.as_ref().expect("an admin listener").listen
    }

    /// A client of the first site or forward listener.
    #[must_use]
    pub fn client(&self) -> Peer {
        Peer::connect(self.first())
    }

    /// What runs.
    #[must_use]
    pub fn server(&self) -> &server::Server {
        &self.server
    }

    /// The folder of its files.
    #[must_use]
    pub fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// Stops, after all that runs is finished; returns the lines of the access log. Clients and
    /// origins must have let go of their connections, or do so within the deadline.
    pub fn stop(&self) -> Vec<String> {
        assert!(self.server.stop(DEADLINE), "something still runs");
        let path = self.scratch.path().join("access.log");
        let log = std::fs::read(path).expect("access log");
        let log = String::from_utf8(log).expect("the access log is UTF-8");
        assert!(log.is_empty() || log.ends_with('\n'), "the last line is cut: {log:?}");
        log.lines().map(str::to_owned).collect()
    }

    /// Stops as [`Proxy::stop`] does; returns the access log as JSON.
    pub fn stop_and_read(&self) -> Vec<serde_json::Value> {
        let lines = self.stop();
        lines.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.server.stop(Duration::ZERO);
    }
}

fn parse(scratch: &Scratch, kdl: &str) -> Result<config::Config, String> {
    let mut text = kdl.to_owned();
    let says = |directive: &str| kdl.lines().any(|line| line.trim().starts_with(directive));
    if !says("threads ") {
        text.push_str("\nthreads 1\n");
    }
    if !says("access-log ") {
        text.push_str("\naccess-log \"access.log\" format=\"json\"\n");
    }
    config::parse("test.kdl", &text, scratch.path())
        .map_err(|errors| format!("{errors}\n{errors:?}"))
}

/// An address that several sites can listen on together: a loopback address that no other test
/// uses, and a port that was free on it.
#[must_use]
pub fn reserve() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    let ip = [127, 64 | high >> 1, low, NEXT.fetch_add(1, Ordering::Relaxed)];
    let listener = TcpListener::bind(SocketAddr::from((ip, 0))).expect("bind");
    listener.local_addr().expect("address")
}
