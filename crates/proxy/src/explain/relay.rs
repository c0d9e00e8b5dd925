//! A request that goes to a server.

use config::{FieldRule, Server, ServerHost, Upstream, show};
use message::framing::BodyLength;
use message::{Block, RequestHead, hop};

use super::fields::{change, lines, told as in_words};
use super::reverse::Asked;
use super::{Outcome, Step, Told, refused, text};
use crate::failure::{Failure, Kind};
use crate::reverse::{Forwarding, asks_for_upgrade, put_connection_fields};
use crate::rules::FieldRules;

/// A request that a route relays.
pub(super) struct Relay<'a, 'b> {
    pub(super) asked: &'b Asked<'a>,
    pub(super) forwarding: Forwarding<'b, 'b>,
    pub(super) upstream: usize,
}

impl Relay<'_, '_> {
    pub(super) fn explain(
        &self,
        told: &mut Told,
        mut head: RequestHead,
        mut body: BodyLength,
        said: hop::Connection,
    ) -> Step<Outcome> {
        let max_body = self.forwarding.route.max_body;
        if let BodyLength::Known(length) = body
            && length > max_body
        {
            told.part("limits", format!("body {}", show::bytes(max_body)));
            return Err(refused(&Failure::new(Kind::RequestBodyTooLarge)));
        }
        self.tell_unpacking(told, &mut head.fields, &mut body)?;
        let upgrade = asks_for_upgrade(&head, said, body);
        let before = lines(&head.fields);
        self.forwarding.introduce(&mut head, &self.asked.client);
        let after = lines(&head.fields);
        told.part("client", "what the server is told of the client");
        let (gone, come) = change(&before, &after);
        gone.iter().for_each(|line| told.note(format!("- {line}")));
        come.iter().for_each(|line| told.note(format!("+ {line}")));
        self.tell_rules(told, &mut head.fields);
        put_connection_fields(&mut head.fields, said, upgrade, false);
        self.tell_upstream(told, &head, body)
    }

    /// What is undone of the body's codings; whatever comes out has no length that is known.
    fn tell_unpacking(
        &self,
        told: &mut Told,
        fields: &mut Block,
        body: &mut BodyLength,
    ) -> Step<()> {
        let route = self.forwarding.route;
        let (Some(unpacking), Some(decompress)) = (route.unpacking, &route.config.decompress)
        else {
            return Ok(());
        };
        let before = lines(fields);
        let unwrapped = unpacking.unwrap(fields, *body);
        let says = match &unwrapped {
            Ok(Some(_)) => "the body goes to the server unpacked",
            Ok(None) => "there is nothing to unpack",
            Err(_) => "the body cannot be unpacked",
        };
        told.part("decompress", says);
        told.note(show::decompress(decompress));
        let (gone, _) = change(&before, &lines(fields));
        gone.iter().for_each(|line| told.note(format!("- {line}")));
        if unwrapped.map_err(|failure| refused(&failure))?.is_some() {
            *body = BodyLength::Chunked;
        }
        Ok(())
    }

    /// Rules of the site, then those of the route; each with what it finds and what it leaves.
    fn tell_rules(&self, told: &mut Told, fields: &mut Block) {
        let (site, route) = (&self.forwarding.site.config, &self.forwarding.route.config);
        let places = [("site", &site.request_fields), ("route", &route.request_fields)];
        let count: usize = places.iter().map(|(_, rules)| rules.len()).sum();
        if count == 0 {
            return;
        }
        told.part("rules", "for the fields of the request, in this order");
        let mut before = lines(fields);
        for (place, rule) in
            places.iter().flat_map(|(place, rules)| rules.iter().map(move |r| (place, r)))
        {
            let rule: &FieldRule = rule;
            FieldRules::build(std::slice::from_ref(rule), &[]).apply(fields);
            let after = lines(fields);
            let (gone, come) = change(&before, &after);
            told.note(format!("{place}: {} ({})", show::field_rule(rule), in_words(&gone, &come)));
            before = after;
        }
    }

    fn tell_upstream(
        &self,
        told: &mut Told,
        head: &RequestHead,
        body: BodyLength,
    ) -> Step<Outcome> {
        let Some(plan) = self.asked.snapshot.clusters.get(self.upstream) else {
            return Err(refused(&Failure::internal("no such upstream")));
        };
        let config = plan.config();
        let known = plan.members();
        let first = known
            .list
            .first()
            .map(|member| (member.server.base_path.clone(), member.authority.clone()));
        let first = first.or_else(|| config.servers.first().map(written));
        if let Some((base_path, authority)) = first {
            self.tell_request(told, head, body, &base_path, &authority);
        }
        tell_servers(told, config, self.asked.live);
        Ok(Outcome::Relayed { upstream: config.name.clone() })
    }

    /// The head that goes out to the first server.
    fn tell_request(
        &self,
        told: &mut Told,
        head: &RequestHead,
        body: BodyLength,
        base_path: &str,
        authority: &str,
    ) {
        let target = self.forwarding.target_out(head, base_path).concat();
        told.part("request", format!("{} {}", text(head.method_text()), text(&target)));
        let host = self.forwarding.host_out(head, authority);
        if let Some(host) = host {
            told.note(format!("Host: {}", text(host)));
        }
        for line in lines(&head.fields) {
            let is_host =
                line.split(':').next().is_some_and(|name| name.eq_ignore_ascii_case("host"));
            if host.is_none() || !is_host {
                told.note(line);
            }
        }
        if body == BodyLength::Chunked {
            told.note("Transfer-Encoding: chunked");
        }
    }

    pub(super) fn tell_limits(&self, told: &mut Told) {
        let (site, route) = (&self.forwarding.site.config, self.forwarding.route);
        let (limits, times) = (&site.limits, &site.timeouts);
        let body = match route.max_body {
            u64::MAX => "unlimited".to_owned(),
            bytes => show::bytes(bytes),
        };
        told.part("limits", format!("body {body}"));
        told.note(format!(
            "head {}, {} fields, {} requests on a connection, {} at once over HTTP/2",
            show::bytes(limits.head_bytes as u64),
            limits.fields,
            limits.requests_per_connection,
            limits.streams
        ));
        if let Some(connections) = limits.connections_per_client {
            told.note(format!("{connections} connections for each client address"));
        }
        if let Some(rate) = limits.min_rate {
            let grace = show::duration(limits.min_rate_grace);
            told.note(format!("slower than {}/s for {grace}: cut", show::bytes(rate)));
        }
        let shown = [
            ("header", times.header),
            ("connect", times.connect),
            ("response", times.response),
            ("idle", times.idle),
            ("tunnel-idle", times.tunnel_idle),
        ]
        .map(|(name, time)| format!("{name} {}", show::duration(time)));
        told.note(format!("timeouts: {}", shown.join(", ")));
    }
}

/// Base path and authority of a server that is not resolved yet.
fn written(server: &Server) -> (String, String) {
    let text = upstream::server_text(server);
    let authority = text.split_once("://").map_or("", |(_, rest)| rest);
    let authority = authority.strip_suffix(server.base_path.as_str()).unwrap_or(authority);
    (server.base_path.clone(), authority.to_owned())
}

/// Tells of a group and of its servers; as they are now, if that is known.
pub(super) fn tell_servers(told: &mut Told, config: &Upstream, live: Option<&upstream::Registry>) {
    told.part("upstream", format!("{}, {}", config.name, show::balance(&config.balance)));
    let status = live.map(upstream::Registry::status).unwrap_or_default();
    match status.into_iter().find(|group| group.name == config.name) {
        Some(group) => {
            group.servers.iter().for_each(|server| told.note(now(server)));
            if group.circuit_open {
                told.note("the circuit breaker is open");
            }
            if group.queued > 0 {
                told.note(format!("{} requests wait for a place", group.queued));
            }
        }
        None => config.servers.iter().for_each(|server| told.note(as_written(server))),
    }
    told.note(format!("retry: {}", show::retry(&config.retry)));
    let more = [
        ("health", config.health.as_ref().map(show::health)),
        ("sticky", config.sticky.as_ref().map(show::sticky)),
        ("max-connections", config.max_connections.as_ref().map(show::max_connections)),
        ("outlier", config.outlier.as_ref().map(show::outlier)),
        ("circuit-breaker", config.circuit_breaker.as_ref().map(show::circuit_breaker)),
    ];
    for (name, value) in more {
        if let Some(value) = value {
            told.note(format!("{name}: {value}"));
        }
    }
}

fn as_written(server: &Server) -> String {
    let mut line = format!("server {}", show::server(server));
    if server.weight != 1 {
        line += &format!(", weight {}", server.weight);
    }
    if server.weight == 0 {
        line += " (only clients that it has already)";
    }
    if server.backup {
        line += ", backup (only when no other is well)";
    }
    if !matches!(server.host, ServerHost::Address(_)) {
        line += ", resolved while it runs";
    }
    line
}

fn now(server: &upstream::ServerStatus) -> String {
    let mut line = format!("server {}", server.server);
    if let Some(address) = server.address {
        line += &format!(" at {address}");
    }
    line += &format!(": {}", server.state.as_str());
    if let Some(why) = &server.why {
        line += &format!(" ({why})");
    }
    line += &format!(", weight {}, {} requests under way", server.weight, server.in_flight);
    if server.backup {
        line += ", backup";
    }
    line
}
