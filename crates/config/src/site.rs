//! `site`: names, sockets, certificates, and what holds for all of its routes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;

use crate::build::{Context, values};
use crate::model::{CertificateFiles, ClientAuth, HostPattern, Scheme, Site, SiteTls, TlsVersion};
use crate::names::SiteName;
use crate::rules::{self, Side};
use crate::walk::Item;
use crate::{ConfigError, Span, Spanned, gate, route};

/// A site, and where what can collide with other sites was written.
pub(crate) struct PlacedSite {
    pub site: Site,
    pub names: Vec<Spanned<SiteName>>,
    pub listen: Vec<Spanned<SocketAddr>>,
    /// Where the directives stand that sites on one socket must agree on.
    pub http2: Option<Span>,
    pub proxy_protocol: Option<Span>,
}

/// Builds a site.
pub(crate) fn site(item: &Item, context: &mut Context<'_>) -> Option<PlacedSite> {
    let names = item.all::<SiteName>("name");
    let written = names.first().map_or_else(String::new, |first| first.value.text.clone());
    let routes = route::routes(item, &written, context);
    let response_fields = rules::fields(item, Side::Response, context);
    let request_fields = rules::fields(item, Side::Request, context);
    let error_pages = rules::error_pages(item, context);
    let tls = tls(item, context);
    let gate = gate::gate(item, &written, context);
    let first = names.first()?;
    check_scheme(item, &names, tls.as_ref(), context);
    let listen = sockets(item, &names);
    let settings = context.defaults.changed_by(&item.block);
    let site = Site {
        name: written,
        scheme: first.value.scheme,
        hosts: hosts(&names),
        listen: listen.iter().map(|listen| listen.value).collect(),
        tls: tls.filter(|_| first.value.scheme == Scheme::Https),
        routes,
        response_fields,
        request_fields,
        error_pages,
        forwarded: settings.forwarded,
        limits: settings.limits,
        timeouts: settings.timeouts,
        gate,
        proxy_protocol: proxy_protocol(item),
        http2: http2(item),
        span: item.span,
    };
    let span = |name| item.child(name).map(|child| child.span);
    let (http2, proxy_protocol) = (span("http2"), span("proxy-protocol"));
    Some(PlacedSite { site, names, listen, http2, proxy_protocol })
}

/// Peers that must begin with a PROXY protocol header, each once.
pub(crate) fn proxy_protocol(item: &Item) -> Vec<IpNet> {
    let mut peers: Vec<IpNet> =
        item.children("proxy-protocol").flat_map(|item| values(item, "peer")).collect();
    peers.sort_unstable();
    peers.dedup();
    peers
}

/// Whether HTTP/2 is spoken.
pub(crate) fn http2(item: &Item) -> bool {
    item.child("http2").and_then(|item| item.get("flag")).unwrap_or(true)
}

fn hosts(names: &[Spanned<SiteName>]) -> Vec<HostPattern> {
    let mut hosts = Vec::new();
    for name in names {
        if !hosts.contains(&name.value.host) {
            hosts.push(name.value.host.clone());
        }
    }
    hosts
}

/// What was written, or else what the names say.
fn sockets(item: &Item, names: &[Spanned<SiteName>]) -> Vec<Spanned<SocketAddr>> {
    let mut written = item.all::<SocketAddr>("listen");
    written.extend(item.children("listen").flat_map(|listen| listen.all("address")));
    if written.is_empty() {
        for name in names {
            let addresses = default_addresses(&name.value.host);
            written.extend(addresses.into_iter().map(|address| Spanned {
                value: SocketAddr::new(address, name.value.port),
                span: name.span,
            }));
        }
    }
    let mut sockets: Vec<Spanned<SocketAddr>> = Vec::new();
    for socket in written {
        if !sockets.iter().any(|known| known.value == socket.value) {
            sockets.push(socket);
        }
    }
    sockets
}

fn default_addresses(host: &HostPattern) -> Vec<IpAddr> {
    match host {
        HostPattern::Address(address) => vec![*address],
        HostPattern::Exact(name) if name == "localhost" => {
            vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
        }
        _ => vec![Ipv6Addr::UNSPECIFIED.into()],
    }
}

fn check_scheme(
    item: &Item,
    names: &[Spanned<SiteName>],
    tls: Option<&SiteTls>,
    context: &mut Context<'_>,
) {
    let Some((first, others)) = names.split_first() else { return };
    for other in others {
        if other.value.scheme != first.value.scheme {
            context.error(
                ConfigError::at(
                    other.span,
                    "the names of a site have different schemes",
                    "another scheme",
                )
                .also(first.span, "than this")
                .help("make two sites of it; one can `redirect` to the other"),
            );
        }
    }
    match (first.value.scheme, tls, item.child("tls")) {
        (Scheme::Https, None, None) if !item.flawed => context.error(
            ConfigError::at(first.span, "an `https` site without a certificate", "needs `tls`")
                .help("add `tls cert=\"cert.pem\" key=\"key.pem\"` to its block"),
        ),
        (Scheme::Http, _, Some(tls)) => context.error(
            ConfigError::at(tls.span, "`tls` in a site that is not `https`", "has no effect")
                .also(first.span, "the scheme is `http`")
                .help("write `https://` in the name of the site, or leave `tls` out"),
        ),
        _ => {}
    }
}

/// All `tls` of a site or a forward listener in one.
pub(crate) fn tls(item: &Item, context: &mut Context<'_>) -> Option<SiteTls> {
    let span = item.child("tls")?.span;
    let mut certificates = Vec::new();
    let mut min_version: Option<Spanned<String>> = None;
    let mut client_auth: Option<(ClientAuth, Span)> = None;
    for tls in item.children("tls") {
        if let (Some(cert), Some(key)) = (tls.one::<PathBuf>("cert"), tls.one("key")) {
            certificates.push(CertificateFiles { cert, key });
        }
        if let Some(version) = tls.one::<String>("min-version") {
            match &min_version {
                Some(first) if first.value != version.value => context.error(
                    ConfigError::at(version.span, "two lowest versions of TLS", "another version")
                        .also(first.span, "than this")
                        .help("a connection has its version before it has a name: write it once"),
                ),
                _ => min_version = Some(version),
            }
        }
        if let Some(auth) = tls.child("client-auth") {
            if let Some((_, first)) = &client_auth {
                let first = *first;
                context.error(
                    ConfigError::at(auth.span, "`client-auth` stands twice", "the second")
                        .also(first, "the first")
                        .help("it holds for the whole site: keep one of the two"),
                );
            } else if let Some(mode) = auth_mode(auth) {
                client_auth = Some((mode, auth.span));
            }
        }
    }
    Some(SiteTls {
        certificates,
        client_auth: client_auth.map_or(ClientAuth::Off, |(mode, _)| mode),
        min_version: match min_version {
            Some(version) if version.value == "1.3" => TlsVersion::Tls13,
            _ => TlsVersion::Tls12,
        },
        span,
    })
}

fn auth_mode(item: &Item) -> Option<ClientAuth> {
    let ca = item.one("ca")?;
    match item.get::<String>("mode")?.as_str() {
        "required" => Some(ClientAuth::Required { ca }),
        _ => Some(ClientAuth::Optional { ca }),
    }
}
