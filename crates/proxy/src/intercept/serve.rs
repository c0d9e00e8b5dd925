//! Requests inside a tunnel whose TLS was opened.

use std::net::SocketAddr;

use message::target::{PathAndQuery, Target};
use message::{FieldId, forwarding};
use policy::Entry;

use super::Inside;
use crate::exchange::{Aim, Exchange};
use crate::failure::{Failure, Kind};
use crate::forward::{Plain, Who, check, login};
use crate::guest::Guest;
use crate::snapshot::Forward;

/// Serves a request that came inside: as one in absolute form for `https://` the tunnel's target,
/// by the user of the tunnel.
pub(crate) async fn serve<'a>(
    x: &mut Exchange<'a>,
    face: &'a Forward,
    aim: Aim,
    inside: &'a Inside,
) -> Result<(), Failure> {
    // Whoever is asked inside for credentials of ours is asked by somebody else.
    x.request.fields.remove(FieldId::ProxyAuthorization);
    x.request.fields.remove_aliases(&[b"proxy-authorization"]);
    x.record.user.clone_from(&inside.user);
    if let Some(guest) = &inside.guest {
        x.guest = Some(Box::new(Guest::of_tunnel(guest)));
        login::admit_again(x)?;
    }
    if forwarding::via_names(&x.request.fields, &x.view.snapshot.pseudonym) {
        return Err(Failure::new(Kind::Loop));
    }
    let path = path_of(x, &aim.target)?;
    if !aim.authority.as_ref().is_some_and(|authority| inside.is_for(authority)) {
        return Err(Failure::with(Kind::Misdirected, "the tunnel leads to another host"));
    }
    if !face.intercept.as_ref().is_some_and(|one| one.covers(inside, None)) {
        // A new configuration: on another connection it passes unchanged (RFC 9110 §15.5.20).
        x.keep_alive = false;
        return Err(Failure::with(Kind::Misdirected, "TLS to this host is no longer opened"));
    }
    if let Some(address) = inside.address {
        // By its address it was let through, which says nothing about the name.
        let who = Who::of(x);
        let asked = who.asks(&inside.host, inside.port, Entry::Plain);
        check(face, &asked, SocketAddr::new(address, inside.port))?;
    }
    if let Some(failure) = inside.failure.take() {
        return Err(failure);
    }
    Plain { face, aim: &aim, path, inside: Some(inside), led: None }.serve(x).await
}

fn path_of(x: &mut Exchange<'_>, target: &Target) -> Result<PathAndQuery, Failure> {
    match target {
        Target::Origin(path) | Target::Absolute { secure: true, path, .. } => Ok(path.clone()),
        Target::Absolute { secure: false, .. } => {
            Err(Failure::with(Kind::Misdirected, "a request without TLS, inside it"))
        }
        // The way in which `OPTIONS *` is written in absolute form (RFC 9112 §3.2.4).
        Target::Asterisk => {
            let end = x.request.target().len();
            Ok(PathAndQuery { path: end..end, query: end..end })
        }
        Target::Authority => {
            x.record.allow = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE".into();
            Err(Failure::with(Kind::MethodNotAllowed, "a tunnel inside a tunnel"))
        }
    }
}
