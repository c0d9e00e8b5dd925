//! To which listener a request comes.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use message::target::Target;
use message::{Authority, Host, Method};

use super::{Other, Question, Step, Told, closed, other};
use crate::snapshot::{Face, Listener, Snapshot};

/// Where a request comes to, and how it is written there.
pub(super) struct Place<'a> {
    pub(super) listener: &'a Arc<Listener>,
    /// Whether the client speaks TLS with us.
    pub(super) secure: bool,
    /// The host that a client of the URL asks TLS for.
    pub(super) name: Option<Host<'static>>,
    /// `Host`, unless the question has one.
    pub(super) host: Option<String>,
    /// The request target.
    pub(super) target: String,
}

/// What a URL says of the connection.
struct Way {
    secure: bool,
    host: Host<'static>,
    port: u16,
    /// As `Host` has it: without the port that the scheme implies.
    authority: String,
    /// Path and query, as a client writes them.
    target: String,
}

/// Finds the listener, and says why it is none of the others.
pub(super) fn choose<'a>(
    told: &mut Told,
    snapshot: &'a Snapshot,
    question: &Question,
) -> Step<Place<'a>> {
    if question.method == "CONNECT" {
        let listener = forward_listener(told, snapshot, question)?;
        let (host, target) = (Some(question.url.clone()), question.url.clone());
        return Ok(Place { listener, secure: false, name: None, host, target });
    }
    if question.url.starts_with('/') || question.url == "*" {
        let listener = match question.listener {
            Some(address) => at(snapshot, address)?,
            None => snapshot.listeners.first().ok_or_else(|| closed("nothing listens"))?,
        };
        told.part("listener", describe(listener));
        let secure = listener.tls.is_some();
        let target = question.url.clone();
        return Ok(Place { listener, secure, name: None, host: None, target });
    }
    let way = Way::of(&question.url)?;
    let listener = match question.listener {
        Some(address) => at(snapshot, address)?,
        None => by_url(told, snapshot, &way)?,
    };
    told.part("listener", describe(listener));
    told.others(others(snapshot, listener, &way));
    if let Face::Forward(_) = listener.face {
        let (host, target) = (Some(way.authority), without_fragment(&question.url).to_owned());
        return Ok(Place { listener, secure: false, name: None, host, target });
    }
    let speaks = listener.tls.is_some();
    if matches!(listener.face, Face::Reverse(_)) && speaks != way.secure {
        let why = match speaks {
            true => "the listener speaks TLS, and the URL does not say https",
            false => "the URL says https, and the listener speaks no TLS",
        };
        return Err(closed(why));
    }
    let Way { secure, host, authority, target, .. } = way;
    Ok(Place { listener, secure, name: Some(host), host: Some(authority), target })
}

impl Way {
    fn of(url: &str) -> Step<Self> {
        let url = without_fragment(url);
        let bad = || {
            closed("the URL must be an absolute one of http or https, without spaces; or a path")
        };
        let Ok(Target::Absolute { secure, authority, path }) =
            Target::parse(Method::Get, url.as_bytes())
        else {
            return Err(bad());
        };
        let written = &url[authority];
        let parsed = Authority::parse(written.as_bytes()).map_err(|_| {
            closed(format!("`{written}` is no host and port (credentials go into a field)"))
        })?;
        let implied = if secure { 443 } else { 80 };
        let port = parsed.port.unwrap_or(implied);
        // A client leaves out what the scheme says.
        let authority = match parsed.port {
            Some(port) if port == implied => {
                written.rsplit_once(':').map_or(written, |(host, _)| host).to_owned()
            }
            _ => written.to_owned(),
        };
        let path = &url[path.path.start..];
        let slash = if path.starts_with('/') { "" } else { "/" };
        let target = format!("{slash}{path}");
        Ok(Self { secure, host: parsed.host.into_owned(), port, authority, target })
    }

    /// How well a listener fits; `None`: a connection of this URL does not come to it.
    fn fits(&self, listener: &Listener) -> Option<i64> {
        if matches!(listener.face, Face::Forward(_)) || listener.address.port() != self.port {
            return None;
        }
        let own = listener.address.ip().to_canonical();
        let (exact, any) = match &self.host {
            Host::Address(address) => (*address == own, takes(own, *address)),
            Host::Name(_) => (false, true),
        };
        let knows = match &listener.face {
            Face::Reverse(face) => face.table.find(Some(&self.host)).is_some(),
            Face::Forward(_) | Face::Tunnel(_) => true,
        };
        let speaks = listener.tls.is_some() == self.secure;
        let score = 4 * i64::from(speaks) + 2 * i64::from(exact) + i64::from(knows);
        (exact || any).then_some(score)
    }
}

/// Whether a socket for `own` takes connections to `address`.
fn takes(own: IpAddr, address: IpAddr) -> bool {
    own.is_unspecified() && (own.is_ipv6() || address.is_ipv4())
}

fn without_fragment(url: &str) -> &str {
    url.split('#').next().unwrap_or(url)
}

fn by_url<'a>(told: &mut Told, snapshot: &'a Snapshot, way: &Way) -> Step<&'a Arc<Listener>> {
    let mut best: Option<(i64, &Arc<Listener>)> = None;
    for listener in &snapshot.listeners {
        if let Some(score) = way.fits(listener)
            && best.is_none_or(|(known, _)| score > known)
        {
            best = Some((score, listener));
        }
    }
    if let Some((_, listener)) = best {
        return Ok(listener);
    }
    // Where there is nothing but proxies for clients, the URL is meant for one of them.
    let forward = |listener: &&Arc<Listener>| matches!(listener.face, Face::Forward(_));
    if snapshot.listeners.iter().all(|listener| forward(&listener))
        && let Some(first) = snapshot.listeners.first()
    {
        return Ok(first);
    }
    told.part("listener", "none");
    let nearest = |listener: &Arc<Listener>| (0, other(describe(listener), why_not(listener, way)));
    told.others(snapshot.listeners.iter().map(nearest).collect());
    Err(closed(format!("nothing listens for {} on port {}", way.host, way.port)))
}

/// The listener of an address, or the one that takes connections to it.
fn at(snapshot: &Snapshot, address: SocketAddr) -> Step<&Arc<Listener>> {
    let mut all = snapshot.listeners.iter();
    let exact = all.find(|listener| listener.address == address);
    let wide = || {
        snapshot.listeners.iter().find(|listener| {
            listener.address.port() == address.port() && takes(listener.address.ip(), address.ip())
        })
    };
    exact.or_else(wide).ok_or_else(|| closed(format!("nothing listens on {address}")))
}

fn forward_listener<'a>(
    told: &mut Told,
    snapshot: &'a Snapshot,
    question: &Question,
) -> Step<&'a Arc<Listener>> {
    let forward = |listener: &&Arc<Listener>| matches!(listener.face, Face::Forward(_));
    let chosen = match question.listener {
        Some(address) => at(snapshot, address)?,
        None => snapshot.listeners.iter().find(forward).ok_or_else(|| {
            closed("CONNECT needs a listener of the forward face, and there is none")
        })?,
    };
    told.part("listener", describe(chosen));
    let others = snapshot.listeners.iter().filter(forward);
    // Sticky ports are the same listener once more.
    let others = others.filter(|listener| !Arc::ptr_eq(listener, chosen) && !listener.sticky);
    let why = match question.listener {
        Some(_) => "another one was named",
        None => "not the first of its kind",
    };
    told.others(others.map(|listener| (0, other(describe(listener), why))).collect());
    Ok(chosen)
}

fn others(snapshot: &Snapshot, chosen: &Arc<Listener>, way: &Way) -> Vec<(i64, Other)> {
    let rest = snapshot.listeners.iter();
    let rest = rest.filter(|listener| !Arc::ptr_eq(listener, chosen) && !listener.sticky);
    rest.map(|listener| (0, other(describe(listener), why_not(listener, way)))).collect()
}

fn why_not(listener: &Listener, way: &Way) -> &'static str {
    let own = listener.address.ip().to_canonical();
    match (&listener.face, &way.host) {
        (Face::Forward(_), _) => "a proxy for clients: it must be named",
        _ if listener.address.port() != way.port => "another port",
        (_, Host::Address(address)) if *address != own && !takes(own, *address) => {
            "another address"
        }
        _ if listener.tls.is_some() != way.secure => match way.secure {
            true => "it speaks no TLS",
            false => "it speaks TLS",
        },
        _ => "it may be this one as well: that depends on what the name resolves to",
    }
}

fn describe(listener: &Listener) -> String {
    let face = match listener.face {
        Face::Reverse(_) => "sites",
        Face::Forward(_) => "forward",
        Face::Tunnel(_) => "tunnel",
    };
    let tls = if listener.tls.is_some() { ", TLS" } else { "" };
    format!("{} ({face}{tls})", listener.address)
}
