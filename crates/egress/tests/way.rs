//! Ways out, tried with parents that are played by the testkit.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use config::{Exit, ExitHop, ExitKind, FamilyPreference, HopProtocol, ResolveAt, ServerHost, Span};
use egress::{ExitError, Purpose, Reached, Via, Way};
use message::Host;
use net::address::{AddressFilter, AllowAll, Refusal};
use net::resolver::Resolver;
use tls::Roots;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[path = "way/chains.rs"]
mod chains;
#[path = "way/failures.rs"]
mod failures;
#[path = "way/http.rs"]
mod http;
#[path = "way/sources.rs"]
mod sources;
#[path = "way/wire.rs"]
mod wire;

/// Far more than anything takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a test asks of a way, and in which circumstances.
struct Trial<'a> {
    way: &'a Way,
    source: Option<IpAddr>,
    purpose: Purpose,
    resolve: Option<ResolveAt>,
    prefer: FamilyPreference,
    filter: &'a dyn AddressFilter,
    timeout: Duration,
}

impl<'a> Trial<'a> {
    fn of(way: &'a Way) -> Self {
        Self {
            way,
            source: None,
            purpose: Purpose::Tunnel,
            resolve: None,
            prefer: FamilyPreference::Any,
            filter: &AllowAll,
            timeout: PATIENCE,
        }
    }

    async fn reach(&self, host: &str, port: u16) -> Result<Reached, ExitError> {
        // Nobody listens there: no test asks a name server.
        let resolver =
            Resolver::new(&config::Dns::asking(&[SocketAddr::from(([127, 0, 0, 1], 9))])).unwrap();
        let via = Via {
            resolver: &resolver,
            filter: self.filter,
            timeout: self.timeout,
            prefer: self.prefer,
            resolve: self.resolve,
        };
        let host = match host.parse() {
            Ok(address) => Host::Address(address),
            Err(_) => Host::parse(host.as_bytes()).unwrap(),
        };
        self.way.reach(self.source, &host, port, self.purpose, &via).await
    }
}

/// A parent as the configuration has it.
fn hop(protocol: HopProtocol, address: SocketAddr, user: Option<(&str, &str)>) -> ExitHop {
    ExitHop {
        protocol,
        host: ServerHost::Address(address.ip()),
        port: address.port(),
        credentials: user.map(|(user, password)| (user.to_owned(), password.to_owned())),
    }
}

fn way(hops: Vec<ExitHop>) -> Way {
    way_with(hops, &Roots::default())
}

fn way_with(hops: Vec<ExitHop>, roots: &Roots) -> Way {
    let exit = Exit::new("test", ExitKind::Chain(hops), span());
    Way::build(&exit, roots).unwrap()
}

/// Bytes go both ways, and each side ends by itself.
async fn converse(reached: Reached, target: &mut testkit::Peer) {
    let mut io = reached.io;
    io.write_all(b"ping").await.unwrap();
    io.flush().await.unwrap();
    target.expect("ping");
    target.send("pong").finish();
    let mut received = reached.early;
    io.read_to_end(&mut received).await.unwrap();
    assert_eq!(received, b"pong");
}

/// Refuses all, and notes what it was asked.
#[derive(Default)]
struct Closed(RefCell<Vec<SocketAddr>>);

impl AddressFilter for Closed {
    fn check(&self, address: SocketAddr) -> Result<(), Refusal> {
        self.0.borrow_mut().push(address);
        Err(Refusal { reason: "for the test" })
    }
}

/// A place in a configuration that does not exist.
fn span() -> Span {
    (3, 4).into()
}
