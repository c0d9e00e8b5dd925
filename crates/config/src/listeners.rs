//! Who listens where: no two things may claim one socket, and no two sites one host on it.

use std::collections::HashMap;
use std::net::SocketAddr;

use crate::forward::PlacedForward;
use crate::model::{Admin, HostPattern, Scheme};
use crate::site::PlacedSite;
use crate::tunnel::PlacedTunnel;
use crate::{ConfigError, Span};

/// What a socket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Admin,
    Site(Scheme),
    Forward,
    Tunnel,
}

impl Use {
    fn describe(self) -> &'static str {
        match self {
            Self::Admin => "the admin listener",
            Self::Site(Scheme::Http) => "a plain site",
            Self::Site(Scheme::Https) => "a TLS site",
            Self::Forward => "a forward listener",
            Self::Tunnel => "a tunnel",
        }
    }
}

/// Everything that listens.
pub(crate) struct Listeners<'a> {
    /// With where its address was written.
    pub admin: Option<(&'a Admin, Span)>,
    pub sites: &'a [PlacedSite],
    pub forwards: &'a [PlacedForward],
    pub tunnels: &'a [PlacedTunnel],
}

impl Listeners<'_> {
    /// Reports collisions. Port 0 never collides: each use of it is a socket of its own.
    pub(crate) fn check(&self, errors: &mut Vec<ConfigError>) {
        let mut uses: HashMap<SocketAddr, (Use, Span)> = HashMap::new();
        let mut claim = |socket: SocketAddr, what: Use, span: Span| {
            if socket.port() == 0 {
                return;
            }
            let (first, first_span) = *uses.entry(socket).or_insert((what, span));
            let shared = first == what && matches!(what, Use::Site(_));
            if span != first_span && !shared {
                errors.push(collision(socket, (first, first_span), (what, span)));
            }
        };
        if let Some((admin, span)) = self.admin {
            claim(admin.listen, Use::Admin, span);
        }
        for site in self.sites {
            for socket in &site.listen {
                claim(socket.value, Use::Site(site.site.scheme), socket.span);
            }
        }
        for forward in self.forwards {
            claim(forward.forward.listen, Use::Forward, forward.listen_span);
        }
        for tunnel in self.tunnels {
            claim(tunnel.tunnel.listen, Use::Tunnel, tunnel.listen_span);
        }
        check_sticky(self.forwards, &uses, errors);
        check_hosts(self.sites, errors);
        check_agreement(self.sites, errors);
    }
}

/// Ports that are sessions are sockets as well. A range is told once, however many of its ports are
/// taken.
fn check_sticky(
    forwards: &[PlacedForward],
    uses: &HashMap<SocketAddr, (Use, Span)>,
    errors: &mut Vec<ConfigError>,
) {
    let ranges = forwards.iter().filter_map(|placed| {
        let (low, high) = placed.forward.sticky_ports?;
        Some((placed.forward.listen.ip(), low, high, placed.sticky_span?))
    });
    let ranges: Vec<_> = ranges.collect();
    for (at, (ip, low, high, span)) in ranges.iter().enumerate() {
        let mut taken: Vec<_> = uses
            .iter()
            .filter(|(socket, _)| socket.ip() == *ip && (*low..=*high).contains(&socket.port()))
            .collect();
        taken.sort_by_key(|(socket, _)| socket.port());
        if let Some((socket, (what, first))) = taken.first() {
            errors.push(
                ConfigError::at(
                    *span,
                    format!("sticky ports around {socket}, where {} is", what.describe()),
                    "listens on all of these",
                )
                .also(*first, what.describe())
                .help("give one of the two other ports"),
            );
        }
        let before = ranges[..at].iter();
        let overlap =
            |other: &&(_, u16, u16, _)| other.0 == *ip && other.1 <= *high && *low <= other.2;
        if let Some((_, _, _, first)) = before.into_iter().find(overlap) {
            errors.push(
                ConfigError::at(*span, "two ranges of sticky ports overlap", "the second")
                    .also(*first, "the first")
                    .help("give one of the two other ports"),
            );
        }
    }
}

fn collision(socket: SocketAddr, first: (Use, Span), second: (Use, Span)) -> ConfigError {
    let (what, first_what) = (second.0.describe(), first.0.describe());
    let message = if what == first_what {
        format!("{socket} is taken twice")
    } else {
        format!("{what} on {socket}, where {first_what} is")
    };
    ConfigError::at(second.1, message, what)
        .also(first.1, first_what)
        .help("give one of the two another port or another address")
}

fn check_hosts(sites: &[PlacedSite], errors: &mut Vec<ConfigError>) {
    let mut claims: HashMap<(SocketAddr, Scheme, &HostPattern), Span> = HashMap::new();
    let mut reported = Vec::new();
    for site in sites {
        for name in &site.names {
            for socket in site.listen.iter().filter(|socket| socket.value.port() != 0) {
                let key = (socket.value, site.site.scheme, &name.value.host);
                let first = *claims.entry(key).or_insert(name.span);
                if first == name.span
                    || reported.contains(&name.span)
                    || sits_in(site, first, name.value.port)
                {
                    continue;
                }
                reported.push(name.span);
                errors.push(
                    ConfigError::at(
                        name.span,
                        format!("two names answer to the same host on {}", socket.value),
                        "the second",
                    )
                    .also(first, "the first")
                    .help("put the routes of both into one site, or give one another name or port"),
                );
            }
        }
    }
}

/// Whether the first claim is by another name of this very site with another port, which is
/// one host on two sockets and not a collision.
fn sits_in(site: &PlacedSite, first: Span, port: u16) -> bool {
    site.names.iter().any(|name| name.span == first && name.value.port != port)
}

/// What is settled before the name of the site is known holds for all sites of a socket.
fn check_agreement(sites: &[PlacedSite], errors: &mut Vec<ConfigError>) {
    let mut firsts: HashMap<SocketAddr, usize> = HashMap::new();
    let mut compared = Vec::new();
    for (at, site) in sites.iter().enumerate() {
        for socket in site.listen.iter().filter(|socket| socket.value.port() != 0) {
            let first = *firsts.entry(socket.value).or_insert(at);
            if first == at || compared.contains(&(first, at)) {
                continue;
            }
            compared.push((first, at));
            errors.extend(disagreements(&sites[first], site, socket.value));
        }
    }
}

fn disagreements(first: &PlacedSite, second: &PlacedSite, socket: SocketAddr) -> Vec<ConfigError> {
    let error = |name: &str, first_span: Option<Span>, second_span: Option<Span>| {
        ConfigError::at(
            second_span.unwrap_or(second.site.span),
            format!("two sites on {socket} differ in `{name}`"),
            "the second",
        )
        .also(first_span.unwrap_or(first.site.span), "the first")
        .help(format!(
            "a connection shows its site only later: write the same `{name}` in both, or give one \
             another socket"
        ))
    };
    let mut errors = Vec::new();
    // With TLS, the ClientHello has the name of the site beside the protocols.
    if first.site.scheme == Scheme::Http && first.site.http2 != second.site.http2 {
        errors.push(error("http2", first.http2, second.http2));
    }
    if first.site.proxy_protocol != second.site.proxy_protocol {
        errors.push(error("proxy-protocol", first.proxy_protocol, second.proxy_protocol));
    }
    errors
}
