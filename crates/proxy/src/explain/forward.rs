//! A request to the forward face, and a connection to a tunnel.

use accounts::Accounts;
use config::{WayOut, show};
use message::framing::BodyLength;
use message::target::Target;
use message::{Block, FieldId, Host, RequestHead, forwarding};
use policy::{Admission, Asked, Entry, Reason};

use super::cache::Kept;
use super::fields::{change, lines};
use super::gateway::{self, Asker};
use super::listener::Place;
use super::relay::tell_servers;
use super::reverse::{last_recipient, understand};
use super::{Outcome, Step, Told, closed, refused, text};
use crate::cache::{Effective, Side};
use crate::client::Client;
use crate::failure::{Failure, Kind};
use crate::forward::{Plain, admit, leave::asked};
use crate::reverse::{asks_for_upgrade, put_connection_fields};
use crate::snapshot::{Forward, Snapshot, Tunnel};

/// The steps of the data plane, in its order.
pub(super) fn explain(
    told: &mut Told,
    snapshot: &Snapshot,
    face: &Forward,
    client: &Client,
    mut head: RequestHead,
    (user, accounts): (Option<&str>, Option<&Accounts>),
) -> Step<Outcome> {
    if !face.clients.admits(client.address) {
        told.note(format!("`clients` does not name {}", client.address));
        return Err(closed("the client may not connect"));
    }
    let (aim, body, said) = understand(&mut head)?;
    let mut asker = gateway::identify(told, face, client, &mut head, user);
    asker.account_of(accounts);
    if forwarding::via_names(&head.fields, &snapshot.pseudonym) {
        return Err(refused(&Failure::new(Kind::Loop)));
    }
    let bad = |words: &'static str| refused(&Failure::with(Kind::RequestError, words));
    let authority = aim.authority.as_ref();
    match &aim.target {
        Target::Authority => {
            let authority = authority.ok_or_else(|| bad("no target"))?;
            let port = authority.port.ok_or_else(|| bad("CONNECT needs a port"))?;
            if body != BodyLength::None {
                return Err(bad("CONNECT with a body"));
            }
            let target = (&authority.host, port, Entry::Connect);
            reach(told, face, &asker, &head, target)?;
            told.part("tunnel", "bytes pass as they are, in both directions");
            tell_times(told, face);
            Ok(Outcome::Forwarded { target: format!("{}:{port}", authority.host) })
        }
        Target::Absolute { secure: false, path, .. } => {
            if let BodyLength::Known(length) = body
                && length > face.max_body
            {
                return Err(refused(&Failure::new(Kind::RequestBodyTooLarge)));
            }
            if let Some(answer) = last_recipient(&mut head)? {
                return Ok(answer);
            }
            let authority = authority.ok_or_else(|| bad("no host"))?;
            let port = authority.port.unwrap_or(80);
            let reached = reach(told, face, &asker, &head, (&authority.host, port, Entry::Plain))?;
            let upgrade = asks_for_upgrade(&head, said, body);
            if let (Some(plan), Some(rules)) = (&face.cache, &face.config.cache) {
                let target = head.target().to_vec();
                let effective = Effective {
                    side: Side::Forward,
                    scheme: "http",
                    authority: Some(authority),
                    site: "",
                    target: &target,
                    at: path,
                    fields: &Block::default(),
                };
                match passed_by(&reached, &asker, upgrade) {
                    Some(why) => told.part("cache", format!("the request passes it by: {why}")),
                    None => {
                        let kept = Kept { plan, rules, effective };
                        if let Some(outcome) = kept.tell(told, &mut head, body, upgrade)? {
                            return Ok(outcome);
                        }
                    }
                }
            }
            let plain = Plain { face, aim: &aim, path: path.clone(), inside: None, led: None };
            let before = lines(&head.fields);
            plain.introduce(&mut head, client, &snapshot.pseudonym);
            let (gone, come) = change(&before, &lines(&head.fields));
            told.part("client", format!("anonymity {}", show::anonymity(face.config.anonymity)));
            gone.iter().for_each(|line| told.note(format!("- {line}")));
            come.iter().for_each(|line| told.note(format!("+ {line}")));
            put_connection_fields(&mut head.fields, said, upgrade, false);
            let target = plain.target_out(&head).concat();
            told.part("request", format!("{} {}", text(head.method_text()), text(&target)));
            let host = plain.host_out(&head).map(|host| format!("Host: {}", text(host)));
            host.iter().for_each(|host| told.note(host.clone()));
            let fields = lines(&head.fields);
            let kept = fields.iter().filter(|line| host.is_none() || !is_host(line));
            kept.for_each(|line| told.note(line.clone()));
            tell_times(told, face);
            Ok(Outcome::Forwarded { target: format!("{}:{port}", authority.host) })
        }
        Target::Absolute { secure: true, .. } => Err(bad("https through a proxy needs CONNECT")),
        Target::Origin(_) => {
            Err(bad("this is a forward proxy; the request target must be an absolute URL"))
        }
        Target::Asterisk => {
            let why = "OPTIONS * asks about the proxy".to_owned();
            Ok(Outcome::Answered { status: 204, why })
        }
    }
}

/// Why the cache has no part in a request.
fn passed_by(reached: &Reached, asker: &Asker, upgrade: bool) -> Option<&'static str> {
    if !reached.straight {
        Some("it leaves by an exit, and what an exit shows is its own")
    } else if asker.rules.is_some() || reached.by_types {
        Some("rules have to see the answer")
    } else if upgrade {
        Some("it asks for another protocol")
    } else {
        None
    }
}

/// How a target is reached.
struct Reached {
    /// From this machine, by no exit.
    straight: bool,
    /// Rules are about the type of what comes.
    by_types: bool,
}

fn is_host(line: &str) -> bool {
    line.split(':').next().is_some_and(|name| name.eq_ignore_ascii_case("host"))
}

/// Whether a target may be reached, what decided, and by which way.
fn reach(
    told: &mut Told,
    face: &Forward,
    asker: &Asker,
    head: &RequestHead,
    (host, port, entry): (&Host<'_>, u16, Entry),
) -> Step<Reached> {
    let method = text(head.method_text());
    let asked = Asked {
        method: &method,
        user: asker.name.as_deref(),
        agent: head.fields.received(FieldId::UserAgent),
        rules: asker.rules.as_deref(),
        ..asked(host, port, entry)
    };
    told.part("target", format!("{host}:{port}"));
    match face.targets.admit(&asked) {
        Admission::Allowed => told.note("may be reached"),
        Admission::AfterResolution => {
            told.note("the name may be resolved; each of its addresses is then asked about");
        }
        Admission::Refused(Reason::DeniedByRule(rule)) => {
            told.note(format!("refused by `{}`", face.targets.rule_text(rule)));
        }
        Admission::Refused(Reason::DeniedByUserRule(rule)) => {
            let text = asker.rules.as_ref().map_or("", |rules| rules.text(rule));
            told.note(format!("refused by `{text}`, a rule of the user"));
        }
        Admission::Refused(Reason::PortNotAllowed) => {
            told.note(format!("the port is not among `ports {}`", show::ports(&face.config.ports)));
        }
        Admission::Refused(Reason::AddressClosed) => {
            told.note("the address is closed by default, and no `allow` with a network opens it");
        }
        Admission::Refused(Reason::OwnListener) => told.note("it is a listener of this proxy"),
        Admission::Refused(Reason::AdminListener) => told.note("it is the admin listener"),
    }
    for (number, rule) in (1..).zip(face.targets.consider(&asked, None)) {
        let whose = if rule.of_user { "rule of the user" } else { "rule" };
        let fit = if rule.decides { "decides".to_owned() } else { rule.fit.to_string() };
        told.note(format!("{whose} {number}: {} ({fit})", rule.text));
    }
    admit(face, &asked).map_err(|failure| refused(&failure))?;
    let by_name = face.targets.pass_by_name(&asked).ok();
    let way = by_name.and_then(|by_name| face.targets.way_out(&by_name.passed));
    let way = way.unwrap_or(face.config.exit);
    gateway::leave(told, face, asker, (host, port), way)?;
    let straight = matches!(way, WayOut::Direct);
    Ok(Reached { straight, by_types: face.targets.cares_for_types(&asked) })
}

fn tell_times(told: &mut Told, face: &Forward) {
    let times = &face.config.timeouts;
    told.part("limits", format!("body {}", show::byte_limit(face.config.limits.body)));
    told.note(format!(
        "timeouts: connect {}, response {}, tunnel-idle {}",
        show::duration(times.connect),
        show::duration(times.response),
        show::duration(times.tunnel_idle)
    ));
}

/// Where a connection to a tunnel goes.
pub(super) fn tunnel(
    told: &mut Told,
    snapshot: &Snapshot,
    face: &Tunnel,
    client: &Client,
    place: &Place<'_>,
    live: Option<&upstream::Registry>,
) -> Step<Outcome> {
    if !face.clients.admits(client.address) {
        told.note(format!("the rules about clients refuse {}", client.address));
        return Err(closed("the client may not connect"));
    }
    let name = match (&place.name, place.secure) {
        (Some(Host::Name(name)), true) => Some(&**name),
        _ => None,
    };
    let chosen = match place.secure && face.routes.need_name() {
        true => face.routes.choose(name),
        false => face.routes.default(),
    };
    told.part("name", name.unwrap_or("none is asked for"));
    for route in &face.config.names {
        let hosts = show::list(route.hosts.iter().map(show::host));
        let to = snapshot.clusters.get(route.upstream).map_or("", |group| group.name());
        told.note(format!("{hosts}: to `{to}`"));
    }
    let plan = chosen.and_then(|index| snapshot.clusters.get(index));
    let plan = plan.ok_or_else(|| closed("the tunnel leads nowhere for this name"))?;
    tell_servers(told, plan.config(), live);
    Ok(Outcome::Relayed { upstream: plan.config().name.clone() })
}
