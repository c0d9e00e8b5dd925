//! A request to a site.

use config::{Action, show};
use message::framing::{BodyLength, request_body};
use message::target::{PathAndQuery, Target};
use message::{Block, Host, Method, RequestHead, hop};

use super::cache::{Kept, tell_packing};
use super::listener::Place;
use super::relay::Relay;
use super::{Outcome, Step, Told, gate, refused, route, site, text};
use crate::cache::{Effective, Side};
use crate::client::Client;
use crate::exchange::{Aim, authority_of, count_forward, expectation};
use crate::failure::{Failure, Kind};
use crate::reverse::{Forwarding, asks_for_upgrade, canonical, choose_route, location};
use crate::site::{Route, Site};
use crate::snapshot::{Reverse, Snapshot};

/// Whom is asked, and by whom.
pub(super) struct Asked<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) face: &'a Reverse,
    pub(super) client: Client,
    pub(super) live: Option<&'a upstream::Registry>,
    pub(super) place: &'a Place<'a>,
}

impl<'a> Asked<'a> {
    /// The steps of the data plane, in its order.
    pub(super) fn explain(&self, told: &mut Told, mut head: RequestHead) -> Step<Outcome> {
        let (aim, body, said) = understand(&mut head)?;
        let site = self.site(told, &head, &aim)?;
        if head.method == Method::Connect {
            let words = "CONNECT is for forward proxies";
            return Err(refused(&Failure::with(Kind::MethodNotAllowed, words)));
        }
        if let Some(answer) = last_recipient(&mut head)? {
            return Ok(answer);
        }
        let (Target::Origin(path) | Target::Absolute { path, .. }) = &aim.target else {
            let why = "OPTIONS * asks about the proxy".to_owned();
            return Ok(Outcome::Answered { status: 204, why });
        };
        let found = self.route(told, site, &head, path);
        let route = found.as_ref().ok().map(|index| &*site.routes.routes[*index]);
        let (config, client) = (&self.snapshot.config, self.client.address);
        gate::tell(told, self.snapshot, site, route, client, &mut head.fields);
        let index = found.map_err(|failure| refused(&failure))?;
        let route = &site.routes.routes[index];
        match &route.config.action {
            Action::Redirect { to, status } => {
                let location = location(route, to, head.target(), path);
                told.part("answer", format!("{status}, Location: {location}"));
                tell_response(told, site, route, false);
                Ok(Outcome::Answered { status: *status, why: format!("redirect to {location}") })
            }
            action @ Action::Respond { status, .. } => {
                told.part("answer", show::action(action, config));
                tell_response(told, site, route, false);
                Ok(Outcome::Answered { status: *status, why: "as the route says".to_owned() })
            }
            Action::Relay { upstream } => {
                let aim = &aim;
                let target = head.target().to_vec();
                let effective = Effective {
                    side: Side::Reverse,
                    scheme: self.client.scheme(),
                    authority: aim.authority.as_ref(),
                    site: &site.config.name,
                    target: &target,
                    at: path,
                    fields: &Block::default(),
                };
                let asked_for = head.fields.clone();
                if let (Some(plan), Some(rules)) = (&route.cache, &route.config.cache) {
                    let upgrade = asks_for_upgrade(&head, said, body);
                    let kept = Kept { plan, rules, effective };
                    if let Some(outcome) = kept.tell(told, &mut head, body, upgrade)? {
                        return Ok(outcome);
                    }
                }
                let forwarding = Forwarding { site, route, aim, path: path.clone() };
                let relay = Relay { asked: self, forwarding, upstream: *upstream };
                let outcome = relay.explain(told, head, body, said)?;
                tell_response(told, site, route, true);
                if let (Some(packing), Some(compress)) = (&route.packing, &route.config.compress) {
                    told.note(format!("compress {}", show::compress(compress)));
                    tell_packing(told, packing, &asked_for);
                }
                relay.tell_limits(told);
                Ok(outcome)
            }
        }
    }

    fn site(&self, told: &mut Told, head: &RequestHead, aim: &Aim) -> Step<&'a Site> {
        let table = &self.face.table;
        let host = aim.authority.as_ref().map(|authority| &authority.host);
        let found = table.find(host);
        site::tell(told, table, found, host);
        let index = found.ok_or_else(|| refused(&Failure::new(Kind::Misdirected)))?;
        let site = &*table.sites[index];
        if let (Some(tls), true) = (&self.place.listener.tls, self.client.secure) {
            let name = match &self.place.name {
                Some(Host::Name(name)) => Some(&**name),
                // No client asks for an address (RFC 6066 §3), and `Host` alone tells no name.
                Some(Host::Address(_)) => None,
                None => match host {
                    Some(Host::Name(name)) => Some(&**name),
                    _ => None,
                },
            };
            let made_for = self.place.listener.tls_identity(tls.site_of(name));
            if made_for.is_some_and(|made_for| !site.is_for(&made_for)) {
                told.note("its TLS rules are not those that the connection was made under");
                let words = "the TLS connection is for another site";
                return Err(refused(&Failure::with(Kind::Misdirected, words)));
            }
        }
        if head.fields.bytes().len() > site.heads.bytes || head.fields.len() > site.heads.fields {
            return Err(refused(&Failure::new(Kind::RequestHeadTooLarge)));
        }
        Ok(site)
    }

    fn route(
        &self,
        told: &mut Told,
        site: &Site,
        head: &RequestHead,
        path: &PathAndQuery,
    ) -> Result<usize, Failure> {
        let received = &head.target()[path.path.clone()];
        let canonical = match canonical(received) {
            Ok(canonical) => canonical,
            Err(failure) => {
                told.part("path", text(received));
                told.note(format!("refused: {}", failure.detail));
                return Err(failure);
            }
        };
        route::tell_path(told, received, &canonical);
        let found = choose_route(site, &canonical, head.method_text());
        route::tell(told, site, &canonical, head.method_text(), &found);
        found
    }
}

/// What a request says, as far as it can be told without knowing what is served.
pub(super) fn understand(head: &mut RequestHead) -> Step<(Aim, BodyLength, hop::Connection)> {
    let bad = |words: &'static str| refused(&Failure::with(Kind::RequestError, words));
    let body = request_body(head).map_err(|error| bad(error.as_str()))?;
    let target =
        Target::parse(head.method, head.target()).map_err(|_| bad("malformed request target"))?;
    let authority = authority_of(head, &target).map_err(|failure| refused(&failure))?;
    let said = hop::strip(&mut head.fields);
    expectation(head, body).map_err(|failure| refused(&failure))?;
    Ok((Aim { target, authority }, body, said))
}

/// The answer to TRACE and OPTIONS that go no further (RFC 9110 §7.6.2).
pub(super) fn last_recipient(head: &mut RequestHead) -> Step<Option<Outcome>> {
    let last = count_forward(head).map_err(|failure| refused(&failure))?;
    let status = if head.method == Method::Options { 204 } else { 200 };
    let why = "Max-Forwards says that it goes no further".to_owned();
    Ok(last.then_some(Outcome::Answered { status, why }))
}

/// What becomes of the response.
fn tell_response(told: &mut Told, site: &Site, route: &Route, from_server: bool) {
    told.part("response", if from_server { "that of the server" } else { "ours" });
    if from_server {
        told.note("Server, X-Powered-By and Proxy-Status of the server are taken away");
        told.note("Location, Content-Location and cookies are mapped back to the site");
    }
    for (place, rules) in
        [("site", &site.config.response_fields), ("route", &route.config.response_fields)]
    {
        for rule in rules {
            told.note(format!("{place}: {}", show::field_rule(rule)));
        }
    }
    if from_server {
        for page in route.config.error_pages.iter().chain(&site.config.error_pages) {
            told.note(format!("error-page {}", show::error_page(page)));
        }
    }
}
