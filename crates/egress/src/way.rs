//! How an exit is connected through: from an address of ours, or by parent proxies.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use config::{ConfigError, Exit, ExitKind, FamilyPreference, ResolveAt};
use message::Host;
use net::address::{AddressFilter, AllowAll};
use net::dial::{DialError, DialOptions, dial};
use net::resolver::Resolver;
use tls::{Io, Roots};
use tokio::net::TcpStream;

use crate::parent::{Hop, Link};
use crate::{ExitError, ParentProblem};

/// How an exit is connected through. Built once for each exit, shared by all cores.
#[derive(Debug, Clone)]
pub enum Way {
    /// From this machine.
    Direct {
        /// The address of ours that connections come from; `None`: the system's choice.
        source: Option<IpAddr>,
        /// The source address need not be one of this machine's (`IP_FREEBIND`).
        freebind: bool,
    },
    /// Through parent proxies.
    Chain {
        /// The nearest first. At least one.
        hops: Vec<Hop>,
        /// The address of ours that the first one is connected to from.
        source: Option<IpAddr>,
    },
}

/// What a connection is made with.
#[derive(Clone, Copy)]
pub struct Via<'a> {
    /// Resolves names, of targets and of parents.
    pub resolver: &'a Resolver,
    /// Asked about each address of the target that is connected to or given to a parent. Parents
    /// are named by the configuration: it is not asked about those.
    pub filter: &'a dyn AddressFilter,
    /// For the whole way, through all parents.
    pub timeout: Duration,
    /// Which addresses of the target are tried, where its name is resolved here.
    pub prefer: FamilyPreference,
    /// Who resolves its name. `None`: the last parent, if it is of a kind that does, else we.
    pub resolve: Option<ResolveAt>,
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Bytes.
    Tunnel,
    /// Requests in plain HTTP: a last parent that speaks HTTP takes them in absolute form.
    Http,
}

/// A connection to a target.
#[derive(Debug)]
pub struct Reached {
    /// The connection.
    pub io: Io,
    /// What the target sent already: it came together with the answer of the last parent.
    pub early: Vec<u8>,
    /// What we are connected to: an address of the target, or the first parent.
    pub address: SocketAddr,
    /// Requests have to be in absolute form (RFC 9112 §3.2.2): they end at a parent.
    pub absolute: Option<Absolute>,
}

/// How requests are to be written for a parent that takes them itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Absolute {
    /// The value of `Proxy-Authorization` in each of them.
    pub authorization: Option<Arc<str>>,
}

/// How far a chain has come, for the case that the time is up.
#[derive(Clone, Copy)]
enum Stage {
    /// The name of the target is looked up.
    Resolving,
    /// The first parent, or the target, is dialed.
    Dialing,
    /// This parent is prepared.
    Preparing(usize),
    /// This parent, the last one, was asked for the target.
    Asked(usize),
}

impl Way {
    /// The way of an exit that is one. The source address of a prefix is given to
    /// [`Way::reach`], each time.
    ///
    /// # Errors
    /// Parents that cannot be used (see [`Hop::build`]); an exit that stands for many.
    pub fn build(exit: &Exit, roots: &Roots) -> Result<Self, ConfigError> {
        match &exit.kind {
            ExitKind::Direct => Ok(Self::Direct { source: None, freebind: false }),
            ExitKind::Address(address) => {
                Ok(Self::Direct { source: Some(address.to_canonical()), freebind: false })
            }
            ExitKind::Prefix { .. } => Ok(Self::Direct { source: None, freebind: true }),
            ExitKind::Chain(hops) => {
                let hops = hops.iter().map(|hop| Hop::build(hop, roots, exit.span));
                Ok(Self::Chain { hops: hops.collect::<Result<_, _>>()?, source: None })
            }
            ExitKind::List { .. } | ExitKind::Pool(_) => Err(ConfigError::at(
                exit.span,
                "a list or a pool is not a way out by itself",
                "its members are",
            )),
        }
    }

    /// Whether targets are connected to from here, so that their addresses are seen.
    #[must_use]
    pub fn is_direct(&self) -> bool {
        matches!(self, Self::Direct { .. })
    }

    /// Whether the name of a target is resolved here.
    #[must_use]
    pub fn resolves_here(&self, resolve: Option<ResolveAt>) -> bool {
        match self {
            Self::Direct { .. } => true,
            Self::Chain { hops, .. } => match resolve {
                Some(at) => at == ResolveAt::Here,
                None => hops.last().is_none_or(|last| !last.resolves()),
            },
        }
    }

    /// Whether the parent that is asked for targets is at one of these addresses, so far as we can
    /// tell: where another parent is between, its name is not ours to resolve.
    pub async fn ends_at(&self, resolver: &Resolver, is_there: impl Fn(IpAddr) -> bool) -> bool {
        let Self::Chain { hops, .. } = self else { return false };
        match hops.as_slice() {
            [.., last] if let Host::Address(address) = last.host() => is_there(*address),
            [only] if let Host::Name(name) = only.host() => {
                let found = resolver.lookup(name).await;
                found.is_ok_and(|addresses| addresses.iter().any(|address| is_there(*address)))
            }
            _ => false,
        }
    }

    /// Connects to a target. `source` takes the place of the source address of the way.
    ///
    /// Where the name is resolved here, what is connected to (or given to the last parent) is what
    /// the filter saw: it is resolved once, so a name that changes its address between check and
    /// use gains nothing. Nothing that a client sent goes to a parent but the target.
    ///
    /// # Errors
    /// See [`ExitError`].
    pub async fn reach(
        &self,
        source: Option<IpAddr>,
        host: &Host<'_>,
        port: u16,
        purpose: Purpose,
        via: &Via<'_>,
    ) -> Result<Reached, ExitError> {
        let stage = Cell::new(Stage::Resolving);
        let reached = async {
            match self {
                Self::Direct { source: own, freebind } => {
                    let addresses = resolve(host, port, via).await?;
                    stage.set(Stage::Dialing);
                    let options = DialOptions {
                        timeout: via.timeout,
                        source: source.or(*own),
                        freebind: *freebind,
                        filter: via.filter,
                    };
                    let (tcp, address) =
                        dial(&addresses, &options).await.map_err(ExitError::Dial)?;
                    Ok(Reached { io: tcp.into(), early: Vec::new(), address, absolute: None })
                }
                Self::Chain { hops, source: own } => {
                    let chain = Chain { hops, source: source.or(*own), via, stage: &stage };
                    // Most connections are direct, and need no room for all of this.
                    Box::pin(chain.reach(host, port, purpose)).await
                }
            }
        };
        if self.is_direct() && matches!(host, Host::Address(_)) {
            // The dialer keeps the time by itself.
            return reached.await;
        }
        let outcome = tokio::time::timeout(via.timeout, reached).await;
        outcome.unwrap_or_else(|_| Err(self.too_late(stage.get())))
    }

    fn too_late(&self, stage: Stage) -> ExitError {
        let parent = |hop, problem| ExitError::Parent { hop, problem };
        match stage {
            Stage::Resolving => ExitError::Dns(net::DnsError::Timeout),
            Stage::Dialing if self.is_direct() => ExitError::Dial(DialError::Timeout),
            Stage::Dialing => parent(0, ParentProblem::Dial(DialError::Timeout)),
            Stage::Preparing(hop) => parent(hop, ParentProblem::Timeout),
            Stage::Asked(hop) => parent(hop, ParentProblem::Silent),
        }
    }
}

/// The addresses of a target, in the order in which they are tried.
async fn resolve(host: &Host<'_>, port: u16, via: &Via<'_>) -> Result<Vec<SocketAddr>, ExitError> {
    match host {
        Host::Address(address) => Ok(vec![SocketAddr::new(*address, port)]),
        Host::Name(name) => {
            let found = via.resolver.lookup_preferring(name, via.prefer).await;
            let found = found.map_err(ExitError::Dns)?;
            Ok(found.iter().map(|ip| SocketAddr::new(*ip, port)).collect())
        }
    }
}

/// One passage through a chain.
struct Chain<'a> {
    hops: &'a [Hop],
    source: Option<IpAddr>,
    via: &'a Via<'a>,
    stage: &'a Cell<Stage>,
}

impl Chain<'_> {
    async fn reach(
        &self,
        host: &Host<'_>,
        port: u16,
        purpose: Purpose,
    ) -> Result<Reached, ExitError> {
        let Some((last, between)) = self.hops.split_last() else {
            return Err(ExitError::Dial(DialError::NoAddress));
        };
        // The target is judged before anybody is connected to.
        let target = self.target(host, port, last).await?;
        let (tcp, address) = self.dial_first().await?;
        let mut link = Link::new(tcp.into());
        for (at, hop) in between.iter().enumerate() {
            let next = &self.hops[at + 1];
            link = self.forward(at, hop, next, link).await?;
        }
        let at = between.len();
        let problem = |problem| ExitError::Parent { hop: at, problem };
        link = self.secure(at, last, link).await.map_err(problem)?;
        let named = self.via.resolve != Some(ResolveAt::Here);
        let absolute = match purpose {
            Purpose::Http if named => last.absolute(),
            _ => None,
        };
        if absolute.is_none() {
            self.stage.set(Stage::Asked(at));
            last.ask(&mut link, &target, port).await.map_err(problem)?;
        }
        let absolute =
            absolute.map(|authorization| Absolute { authorization: authorization.cloned() });
        Ok(Reached { io: link.io, early: link.received, address, absolute })
    }

    /// What the last parent is asked for.
    async fn target<'h>(
        &self,
        host: &Host<'h>,
        port: u16,
        last: &Hop,
    ) -> Result<Host<'h>, ExitError> {
        self.stage.set(Stage::Resolving);
        let here = match self.via.resolve {
            Some(at) => at == ResolveAt::Here,
            None => !last.resolves(),
        };
        if let (Host::Name(_), false) = (host, here) {
            return Ok(host.clone());
        }
        let mut addresses = resolve(host, port, self.via).await?;
        if self.via.prefer == FamilyPreference::Any {
            // A parent is given one address and cannot race two. Nearly all of them have IPv4.
            addresses.sort_by_key(SocketAddr::is_ipv6);
        }
        let mut failure = None;
        for address in addresses {
            let address = SocketAddr::new(address.ip().to_canonical(), port);
            let problem = match self.via.filter.check(address) {
                Err(refusal) => ExitError::Dial(DialError::Prohibited(refusal)),
                Ok(()) if address.is_ipv6() && !last.knows_ipv6() => ExitError::Parent {
                    hop: self.hops.len() - 1,
                    problem: ParentProblem::Unsupported,
                },
                Ok(()) => return Ok(Host::Address(address.ip())),
            };
            failure.get_or_insert(problem);
        }
        Err(failure.unwrap_or(ExitError::Dial(DialError::NoAddress)))
    }

    async fn dial_first(&self) -> Result<(TcpStream, SocketAddr), ExitError> {
        let first = &self.hops[0];
        let problem = |problem| ExitError::Parent { hop: 0, problem };
        self.stage.set(Stage::Preparing(0));
        let addresses: Vec<SocketAddr> = match first.host() {
            Host::Address(address) => vec![SocketAddr::new(*address, first.port())],
            Host::Name(name) => {
                let found = self.via.resolver.lookup(name).await;
                let found = found.map_err(|error| problem(ParentProblem::Dns(error)))?;
                found.iter().map(|ip| SocketAddr::new(*ip, first.port())).collect()
            }
        };
        self.stage.set(Stage::Dialing);
        let options = DialOptions {
            timeout: self.via.timeout,
            source: self.source,
            freebind: false,
            filter: &AllowAll,
        };
        dial(&addresses, &options).await.map_err(|error| problem(ParentProblem::Dial(error)))
    }

    /// From one parent to the next.
    async fn forward(
        &self,
        at: usize,
        hop: &Hop,
        next: &Hop,
        link: Link,
    ) -> Result<Link, ExitError> {
        let problem = |problem| {
            let problem = match problem {
                ParentProblem::Refused(reply) => ParentProblem::Broken(reply),
                other => other,
            };
            ExitError::Parent { hop: at, problem }
        };
        let mut link = self.secure(at, hop, link).await.map_err(problem)?;
        let here = !hop.resolves();
        let resolved;
        let host = match next.host() {
            Host::Name(name) if here => {
                let found = self.via.resolver.lookup(name).await;
                let next_problem = |problem| ExitError::Parent { hop: at + 1, problem };
                let found = found.map_err(|error| next_problem(ParentProblem::Dns(error)))?;
                let v4 = found.iter().find(|address| address.is_ipv4());
                let chosen = v4.or(found.first()).copied();
                let none = || next_problem(ParentProblem::Dns(net::DnsError::NotFound));
                resolved = Host::Address(chosen.ok_or_else(none)?);
                &resolved
            }
            host => host,
        };
        hop.ask(&mut link, host, next.port()).await.map_err(problem)?;
        // No parent speaks before it is asked: this is nobody's answer.
        if !link.received.is_empty() {
            return Err(problem(ParentProblem::Malformed("bytes behind its answer")));
        }
        Ok(link)
    }

    /// TLS with a parent that speaks it.
    async fn secure(&self, at: usize, hop: &Hop, link: Link) -> Result<Link, ParentProblem> {
        self.stage.set(Stage::Preparing(at));
        let Some(tls) = hop.tls() else { return Ok(link) };
        let address;
        let name = match hop.host() {
            Host::Name(name) => &**name,
            Host::Address(ip) => {
                address = ip.to_string();
                &address
            }
        };
        let io = tls.connect(link.io, name).await.map_err(ParentProblem::Tls)?;
        Ok(Link::new(io))
    }
}
