//! The loads: each drives one proxy for a while and tells what came back.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::origin::{KEPT, MEDIUM, Origins};
use super::proxy::{Kind, Proxy};
use super::scenario::{Face, Load, ROUTES, UPSTREAMS};
use crate::Result;

mod asker;
mod bulk;
mod example;
mod flood;
mod h2load;
mod handshakes;
mod idle;
mod open_loop;
mod reloads;
mod response;
mod stampede;
mod trace;
mod tunnels;
mod users;
mod websockets;
mod wrk;

pub use idle::measure as idle;
pub use tunnels::measure as tunnels;
pub use users::{PASSWORD, name as user};
pub use websockets::measure as websockets;

/// Connections of the keep-alive loads.
const CONNECTIONS: usize = 64;
/// Transfers at a time of the bulk loads.
const TRANSFERS: usize = 8;

/// Requests a second of the clients beside an attacker: few, so that what they wait for is he.
const QUIET_RATE: f64 = 2000.0;

/// What a browser sends besides `Host`.
const BROWSER_FIELDS: [(&str, &str); 10] = [
    (
        "User-Agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    ),
    (
        "Accept",
        "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    ),
    ("Accept-Language", "en-GB,en;q=0.9,de;q=0.7"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("Referer", "http://www.example.com/products/overview?page=2"),
    ("Cookie", "session=0123456789abcdef0123456789abcdef; theme=dark; consent=1"),
    ("Sec-Fetch-Dest", "document"),
    ("Sec-Fetch-Mode", "navigate"),
    ("Sec-Fetch-Site", "same-origin"),
    ("Upgrade-Insecure-Requests", "1"),
];

/// What came back during one measurement.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Requests answered, or bytes of body for the bulk loads.
    pub units: u64,
    /// How long it took.
    pub wall: Duration,
    /// Median latency.
    pub p50: Option<Duration>,
    /// 99th percentile of the latency.
    pub p99: Option<Duration>,
    /// The longest of the latencies.
    pub slowest: Option<Duration>,
    /// What crossed the wire, heads included, for each byte of body before it was compressed.
    pub packed: Option<f64>,
    /// The most that the origin was asked for what expired once.
    pub fetches: Option<u64>,
    /// Everything that makes the measurement worthless.
    pub faults: Vec<String>,
}

/// Drives `proxy` for `length`. `rate` is the schedule of [`Load::HalfOf`], requests a
/// second.
///
/// # Errors
/// The load generator itself cannot run.
pub fn drive(
    load: Load,
    face: Face,
    proxy: &Proxy,
    origins: &Origins,
    length: Duration,
    rate: f64,
    dir: &Path,
) -> Result<Outcome> {
    let (address, origin) = (proxy.address, origins.h1);
    match load {
        Load::KeepAlive | Load::NewConnections => {
            let mut wrk = wrk::Wrk::new(address, face.is_tls(), CONNECTIONS);
            if face == Face::Forward {
                wrk.absolute_form(origin);
            }
            if load == Load::NewConnections {
                wrk.field("Connection", "close");
            }
            wrk.run(length, dir)
        }
        Load::Routes => {
            let mut wrk = wrk::Wrk::new(address, face.is_tls(), CONNECTIONS);
            let paths = (0..ROUTES).step_by(UPSTREAMS);
            wrk.paths(paths.map(|index| format!("{}/1k", route(index))));
            wrk.run(length, dir)
        }
        Load::Http2 => h2load::run(address, length),
        Load::Handshakes => handshakes::run(address, length),
        Load::SmallHits => {
            wrk::Wrk::new(address, false, CONNECTIONS).path(KEPT[0].0).run(length, dir)
        }
        Load::Text => {
            let mut wrk = wrk::Wrk::new(address, false, CONNECTIONS).path("/text-100k");
            wrk.field("Accept-Encoding", proxy.kind.coding());
            Ok(wrk.run(length, dir)?.compressed())
        }
        Load::MediumHits => bulk::run(address, &kept(1), length),
        Load::LargeHits => bulk::run(address, &kept(2), length),
        Load::Trace => trace::run(proxy, length),
        Load::Stampede { clients } => stampede::run(address, clients, origins, length),
        Load::Bulk => bulk::run(address, &bulk::Way::Relayed, length),
        // HAProxy relays TCP to the one origin; the others are asked for it.
        Load::Tunnels if matches!(proxy.kind, Kind::Haproxy | Kind::HaproxySplicing) => {
            bulk::run(address, &bulk::Way::RelayedOnce, length)
        }
        Load::SocksTunnels => {
            let SocketAddr::V4(origin) = origin else { return Err("not an IPv4 address".into()) };
            bulk::run(address, &bulk::Way::Socks(origin), length)
        }
        Load::Users => users::run(address, origin, length),
        Load::NewTunnels => tunnels::run(address, origin, length),
        Load::Tunnels => bulk::run(address, &bulk::Way::Connect(origin), length),
        Load::Reloads => reloads::run(proxy, length),
        Load::Flood if proxy.kind == Kind::BifronsUnharmed => {
            open_loop::run(address, QUIET_RATE, length)
        }
        Load::Flood => flood::during(address, || open_loop::run(address, QUIET_RATE, length)),
        Load::HalfOf(_) => open_loop::run(address, rate, length),
        Load::Idle { .. }
        | Load::WebSockets { .. }
        | Load::IdleTunnels { .. }
        | Load::Example(_) => Err("this is measured, not driven".into()),
    }
}

impl Outcome {
    /// Counts bytes of the text before it was compressed instead of requests.
    fn compressed(mut self) -> Self {
        self.units *= MEDIUM as u64;
        // Text that did not even become a half was not compressed.
        if self.packed.is_none_or(|packed| packed > 0.5) {
            self.faults.push("the answers were not compressed".into());
        }
        self
    }
}

/// How to ask for one of what is kept.
fn kept(index: usize) -> bulk::Way {
    let (path, length) = KEPT[index];
    bulk::Way::Kept(path, length)
}

/// Base64 (RFC 4648 §4), for credentials.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0_usize, |bits, &byte| bits << 8 | usize::from(byte));
        let bits = bits << (8 * (3 - group.len()));
        for place in 0..4 {
            let letter = LETTERS[bits >> (18 - 6 * place) & 63];
            text.push(if place <= group.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

/// The path of a route of [`Face::ManyRoutes`]. Route `i` leads to upstream `i % UPSTREAMS`.
pub fn route(index: usize) -> String {
    format!("/team-{}/service-{}", index / UPSTREAMS, index % UPSTREAMS)
}

/// The highest rate of [`Load::KeepAlive`], requests a second, less is not asked of it.
///
/// # Errors
/// The load generator cannot run, or the proxy answered errors.
pub fn highest_rate(proxy: &Proxy, length: Duration, dir: &Path) -> Result<f64> {
    let outcome = wrk::Wrk::new(proxy.address, false, CONNECTIONS).run(length, dir)?;
    match outcome.faults.first() {
        Some(fault) => {
            let name = proxy.kind.name();
            Err(format!("the highest rate of {name} is not known: {fault}").into())
        }
        None => Ok(outcome.units as f64 / outcome.wall.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Outcome, base64};

    #[test]
    fn text_that_is_not_compressed_is_a_fault() {
        let outcome = |packed| Outcome { units: 2, packed, ..Outcome::default() }.compressed();
        assert_eq!(outcome(Some(0.3)).units, 204_800);
        assert!(outcome(Some(0.3)).faults.is_empty());
        assert_eq!(outcome(Some(1.01)).faults.len(), 1);
        assert_eq!(outcome(None).faults.len(), 1);
    }

    #[test]
    fn base64_is_that_of_the_rfc() {
        let vectors =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")];
        for (plain, coded) in vectors {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }
}
