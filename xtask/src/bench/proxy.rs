//! The proxies under test: how each is configured and started.

use std::cell::Cell;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::objects;
use super::origin::Origins;
use super::process::Server;
use super::scenario::{Face, ROUTES};
use crate::Result;

mod bifrons;
mod dante;
mod haproxy;
mod nginx;
mod squid;
mod tinyproxy;
mod varnish;

pub use bifrons::CONFIGURATION;
use haproxy::Splice;
pub use nginx::BROTLI_MODULE;

/// The levels with [`Face::Compressed`].
const GZIP_LEVEL: u32 = 6;
const BROTLI_LEVEL: u32 = 5;
const ZSTD_LEVEL: u32 = 3;

/// A proxy that can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Ours.
    Bifrons,
    /// Ours with one route where the scenario has many.
    BifronsOneRoute,
    /// Ours without the attack of the scenario.
    BifronsUnharmed,
    /// Ours, offering zstd.
    BifronsZstd,
    /// Ours, offering Brotli.
    BifronsBrotli,
    /// nginx.
    Nginx,
    /// nginx with the module for Brotli, offering that.
    NginxBrotli,
    /// HAProxy.
    Haproxy,
    /// HAProxy, told to splice whatever the origin sends.
    HaproxySplicing,
    /// Varnish.
    Varnish,
    /// Squid.
    Squid,
    /// tinyproxy.
    Tinyproxy,
    /// Dante.
    Dante,
}

impl Kind {
    /// Its name, as its own people write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bifrons => "Bifrons",
            Self::BifronsOneRoute => "Bifrons (one route)",
            Self::BifronsUnharmed => "Bifrons (no attack)",
            Self::BifronsZstd => "Bifrons (zstd)",
            Self::BifronsBrotli => "Bifrons (br)",
            Self::Nginx => "nginx",
            Self::NginxBrotli => "nginx (br)",
            Self::Haproxy => "HAProxy",
            Self::HaproxySplicing => "HAProxy (splice-response)",
            Self::Varnish => "Varnish",
            Self::Squid => "Squid",
            Self::Tinyproxy => "tinyproxy",
            Self::Dante => "Dante",
        }
    }

    /// Whether it is our binary.
    pub fn is_ours(self) -> bool {
        matches!(
            self,
            Self::Bifrons
                | Self::BifronsOneRoute
                | Self::BifronsUnharmed
                | Self::BifronsZstd
                | Self::BifronsBrotli
        )
    }

    /// The coding that it offers with [`Face::Compressed`].
    pub fn coding(self) -> &'static str {
        match self {
            Self::BifronsZstd => "zstd",
            Self::BifronsBrotli | Self::NginxBrotli => "br",
            _ => "gzip",
        }
    }
}

/// What stays the same for every proxy of a run.
#[derive(Debug)]
pub struct Bed {
    /// Removed at the end.
    pub dir: PathBuf,
    /// The core of the proxies.
    pub core: usize,
    /// What stands behind them.
    pub origins: Origins,
    /// Our own binary.
    pub bifrons: Option<PathBuf>,
    /// P-256 certificate for 127.0.0.1 (PEM).
    pub certificate: PathBuf,
    /// Its key (PEM).
    pub key: PathBuf,
    /// How many connections each must be able to hold.
    pub connections: u32,
}

/// Where one proxy stands.
#[derive(Debug)]
pub struct Place<'a> {
    bed: &'a Bed,
    kind: Kind,
    face: Face,
    dir: PathBuf,
    listen: SocketAddr,
    admin: SocketAddr,
}

/// A running proxy.
#[derive(Debug)]
pub struct Proxy {
    /// Which one.
    pub kind: Kind,
    /// Where it listens.
    pub address: SocketAddr,
    /// Where its admin listener or page of metrics is, if it has one.
    pub admin: SocketAddr,
    /// Its configuration and what it writes.
    pub dir: PathBuf,
    /// Its processes.
    pub server: Server,
    command: Command,
    /// How many requests of a trace it has got.
    pub asked: Cell<u64>,
}

impl Proxy {
    /// Configures and starts a proxy for a face, in a directory of its own.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(kind: Kind, face: Face, bed: &Bed) -> Result<Self> {
        let (listen, admin) = (free_address()?, free_address()?);
        let dir = bed.dir.join(format!("{kind:?}-{}", listen.port()));
        fs::create_dir_all(&dir)?;
        let place = Place { bed, kind, face, dir, listen, admin };
        let command = match kind {
            Kind::Bifrons | Kind::BifronsUnharmed | Kind::BifronsZstd | Kind::BifronsBrotli => {
                bifrons::command(&place, ROUTES)
            }
            Kind::BifronsOneRoute => bifrons::command(&place, 1),
            Kind::Nginx | Kind::NginxBrotli => nginx::command(&place),
            Kind::Haproxy => haproxy::command(&place, Splice::Auto),
            Kind::HaproxySplicing => haproxy::command(&place, Splice::Response),
            Kind::Varnish => varnish::command(&place),
            Kind::Squid => squid::command(&place),
            Kind::Tinyproxy => tinyproxy::command(&place),
            Kind::Dante => dante::command(&place),
        }?;
        let server = Server::start(kind.name(), &command, bed.core, listen, &place.dir)?;
        let asked = Cell::new(0);
        Ok(Self { kind, address: listen, admin, dir: place.dir, server, command, asked })
    }

    /// Ends it, and starts it again where it was.
    ///
    /// # Errors
    /// It does not start.
    pub fn restart(&mut self, bed: &Bed) -> Result {
        self.server.stop();
        let name = self.kind.name();
        self.server = Server::start(name, &self.command, bed.core, self.address, &self.dir)?;
        Ok(())
    }
}

impl Place<'_> {
    /// The servers behind the proxy.
    fn servers(&self) -> &[SocketAddr] {
        let origins = &self.bed.origins;
        match self.face {
            Face::LeastRequests => &origins.group,
            Face::WebSockets => std::slice::from_ref(&origins.websocket),
            Face::Expiring => std::slice::from_ref(&origins.expiring),
            _ => std::slice::from_ref(&origins.h1),
        }
    }

    /// Idle connections kept to each server: no fewer than requests come at once.
    fn keep_idle(&self) -> u32 {
        if self.face.is_http2() { 256 } else { 64 }
    }

    /// Memory for what is kept, MiB.
    fn kept_mib(&self) -> u64 {
        match self.face {
            Face::CachedQuarter => (objects::total() / 4) >> 20,
            _ => 256,
        }
    }

    /// Writes a configuration file and gives its path.
    fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.dir.join(name);
        fs::write(&path, text)?;
        Ok(path)
    }
}

/// A port of loopback that nobody listens on.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// Makes the certificate of the TLS scenarios: P-256, self-signed.
///
/// # Errors
/// `openssl` is missing or refuses.
pub fn make_certificate(dir: &Path) -> Result<(PathBuf, PathBuf)> {
    let (certificate, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
        .args(["-nodes", "-days", "30", "-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
        .arg("-out")
        .arg(&certificate)
        .arg("-keyout")
        .arg(&key)
        .output()?;
    if !made.status.success() {
        return Err(format!(
            "openssl made no certificate: {}",
            String::from_utf8_lossy(&made.stderr)
        )
        .into());
    }
    Ok((certificate, key))
}

/// The versions of the rivals and of the load generators, one line each.
pub fn versions() -> Vec<String> {
    [
        ("nginx", "-v", "nginx version: "),
        ("haproxy", "-v", ""),
        ("varnishd", "-V", ""),
        ("squid", "-v", ""),
        ("tinyproxy", "-v", ""),
        ("danted", "-v", ""),
        ("wrk", "-v", ""),
        ("h2load", "--version", ""),
        ("openssl", "version", ""),
    ]
    .into_iter()
    .filter_map(|(program, option, prefix)| {
        let output = Command::new(program).arg(option).output().ok()?;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        let line = text.lines().next()?.trim_start_matches(prefix);
        // The project's address and the copyright say nothing about the version.
        Some(
            line.split(" - http")
                .next()?
                .split(" Copyright")
                .next()?
                .trim_end_matches([' ', '.'])
                .to_owned(),
        )
    })
    .collect()
}
