//! Who and how much is let in.

use std::net::IpAddr;

use config::{LimitKey, RateLimit, show};
use message::{Block, FieldId};
use policy::ClientRules;

use super::{Told, text};
use crate::auth;
use crate::failure::{Failure, Kind};
use crate::gate::take_credentials;
use crate::site::{Route, Site};
use crate::snapshot::Snapshot;

/// Tells what the gates of a site and a route say of a request, and takes the fields away that
/// they take.
pub(super) fn tell(
    told: &mut Told,
    snapshot: &Snapshot,
    site: &Site,
    route: Option<&Route>,
    client: IpAddr,
    fields: &mut Block,
) {
    let of_route = route.map(|route| &route.config.gate);
    told.part("gate", "open");
    let mut places = vec![("site", &site.config.gate)];
    places.extend(of_route.map(|gate| ("route", gate)));
    let closed = places.iter().any(|(place, gate)| !tell_clients(told, place, gate, client));
    if closed {
        told.stop(&Failure::with(Kind::Denied, "client_not_allowed"));
    }
    for (place, gate) in &places {
        for limit in &gate.rates {
            told.note(format!(
                "{place}: limit {}; {}",
                show::rate(limit),
                key(limit, client, fields)
            ));
        }
    }
    // What a route says of these takes the place of what its site says.
    let inner = || of_route.into_iter().chain([&site.config.gate]);
    let mut says = Vec::new();
    if let Some(basic) = inner().find_map(|gate| gate.basic.as_ref()) {
        let users = snapshot.config.users.get(basic.users).map_or("", |set| &set.name);
        says.push(format!("basic-auth of `{users}`"));
        match take_credentials(fields, FieldId::Authorization, b"authorization") {
            Ok(shown) => told.note(format!(
                "basic-auth: the password of `{}` is checked against `{users}` (not here)",
                text(shown.user())
            )),
            Err(words) => {
                told.note(format!("basic-auth of `{users}`, realm {:?}: {words}", basic.realm));
                told.stop(&Failure::with(Kind::SiteUnauthenticated, words));
            }
        }
    }
    if let (Some(asked), Some(_)) = (inner().find_map(|gate| gate.forward_auth.as_ref()), route) {
        says.push("forward-auth".to_owned());
        let upstream = snapshot.clusters.get(asked.upstream).map(|plan| plan.config());
        told.note(format!("forward-auth asks {}", show::forward_auth(asked, upstream)));
        auth::Question::build(asked).drop_claims(fields);
        for name in &asked.copy {
            told.note(format!("{name} is what that server answers, and never what a client sends"));
        }
    }
    if let Some(part) = told.parts.last_mut() {
        part.says = match (closed, says.is_empty(), part.notes.is_empty()) {
            (true, ..) => "closed to this client".to_owned(),
            (_, false, _) => says.join(", then "),
            (_, _, true) => "open: nothing is said of clients".to_owned(),
            _ => "open".to_owned(),
        };
    }
}

/// Whether the rules about clients let this one in.
fn tell_clients(told: &mut Told, place: &str, gate: &config::Gate, client: IpAddr) -> bool {
    let admitted = ClientRules::build(&gate.clients).admits(client);
    if gate.clients.is_empty() {
        return admitted;
    }
    let verdict = if admitted { "let in" } else { "refused" };
    let first = gate.clients.iter().find(|rule| {
        // Rules are about canonical addresses, as the client's is.
        rule.net.contains(&client)
    });
    told.note(match first {
        Some(rule) => {
            format!(
                "{place}: `{}` is the first that fits {client}: {verdict}",
                show::client_rule(rule)
            )
        }
        None if admitted => format!("{place}: no rule fits {client}: {verdict}"),
        None => format!("{place}: no `allow` fits {client}: {verdict}"),
    });
    admitted
}

/// For whom a request counts.
fn key(limit: &RateLimit, client: IpAddr, fields: &Block) -> String {
    match &limit.key {
        LimitKey::ClientIp => format!("counts for {client}"),
        LimitKey::Place => "counts for all".to_owned(),
        LimitKey::Header(name) => match fields.values_named(name.as_bytes()).next() {
            Some(_) => format!("counts for its {name}"),
            None => format!("counts for all without {name}"),
        },
    }
}
