//! Who and how much is let in to a site or a route.

use std::time::Duration;

use crate::build::{Context, resolve, values};
use crate::model::{BasicAuth, ClientRule, ForwardAuth, Gate, Upstream, UpstreamTls, Verdict};
use crate::rules::{Side, forbidden};
use crate::servers::RequestUrl;
use crate::walk::Item;
use crate::{ConfigError, rates, upstream};

/// What the proxy tells the server itself; the client's would stand beside it.
const MADE: [&str; 5] = [
    "x-forwarded-method",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-uri",
    "x-forwarded-for",
];

/// Builds the gate of a site or a route; `name` is what logs call it.
pub(crate) fn gate(item: &Item, name: &str, context: &mut Context<'_>) -> Gate {
    Gate {
        clients: clients(item),
        rates: rates::rates(item, context),
        basic: item.child("basic-auth").and_then(|basic| basic_auth(basic, context)),
        forward_auth: item.child("forward-auth").and_then(|it| forward_auth(it, name, context)),
    }
}

/// The rules about client addresses, in the order of the file.
pub(crate) fn clients(item: &Item) -> Vec<ClientRule> {
    let mut rules = Vec::new();
    for rule in &item.block {
        let verdict = match rule.directive.name {
            "allow" => Verdict::Allow,
            "deny" => Verdict::Deny,
            _ => continue,
        };
        rules.extend(values(rule, "network").into_iter().map(|net| ClientRule { verdict, net }));
    }
    rules
}

fn basic_auth(item: &Item, context: &mut Context<'_>) -> Option<BasicAuth> {
    let reference = item.one::<String>("users")?;
    let users = resolve(&reference, &context.user_names, "users", context.errors)?;
    let realm = item.get("realm").unwrap_or_else(|| "restricted".to_owned());
    Some(BasicAuth { users, realm, span: item.span })
}

fn forward_auth(item: &Item, name: &str, context: &mut Context<'_>) -> Option<ForwardAuth> {
    let send = fields(item, "send", context);
    let copy = fields(item, "copy", context);
    for field in &send {
        if MADE.contains(&field.value.to_ascii_lowercase().as_str()) {
            context.error(
                ConfigError::at(
                    field.span,
                    format!("`{}` of a client is not shown", field.value),
                    "is made by the proxy",
                )
                .help("leave it out: the server gets ours in any case"),
            );
        }
    }
    let url = item.one::<RequestUrl>("url")?;
    let server = upstream::server(url.value.server, url.span);
    let servers = [server];
    let tls = item.child("tls").map(|tls| upstream::tls_of(tls, &servers, context));
    let upstream = upstream::plain(format!("forward-auth of {name}"), servers.into(), item.span);
    let upstream = asked(Upstream { tls: tls.unwrap_or_default(), ..upstream }, context);
    let lower = |name: &str| name.to_ascii_lowercase();
    Some(ForwardAuth {
        upstream,
        target: url.value.target,
        send: match item.child("send") {
            Some(_) => send.iter().map(|field| lower(&field.value)).collect(),
            None => vec!["authorization".to_owned(), "cookie".to_owned()],
        },
        copy: copy.into_iter().map(|field| field.value).collect(),
        timeout: item.get("timeout").unwrap_or(Duration::from_secs(5)),
        cache: item.get("cache").unwrap_or(true),
        span: item.span,
    })
}

/// The index of the server that is asked. Gates that ask the same one share its connections,
/// where nothing is said about TLS.
pub(crate) fn asked(upstream: Upstream, context: &mut Context<'_>) -> usize {
    let plain = UpstreamTls::default();
    let same = |known: &Upstream| {
        let (Some(a), Some(b)) = (known.servers.first(), upstream.servers.first()) else {
            return false;
        };
        known.tls == plain
            && (a.protocol, &a.host, a.port) == (b.protocol, &b.host, b.port)
            && a.scheme == b.scheme
    };
    if upstream.tls == plain
        && let Some(at) = context.asked.iter().find(|at| same(&context.upstreams[**at]))
    {
        return *at;
    }
    context.upstreams.push(upstream);
    let at = context.upstreams.len() - 1;
    context.asked.push(at);
    at
}

/// The names in all `send` or `copy`, each once. None may frame the message or belong to one
/// connection.
fn fields(item: &Item, name: &str, context: &mut Context<'_>) -> Vec<crate::Spanned<String>> {
    let mut fields: Vec<crate::Spanned<String>> = Vec::new();
    for field in item.children(name).flat_map(|item| item.all::<String>("name")) {
        let same = |known: &str| known.eq_ignore_ascii_case(&field.value);
        if let Some((forbidden, why)) = forbidden(Side::Request).find(|(known, _)| same(known)) {
            let verb = if name == "send" { "shown" } else { "copied" };
            context.error(
                ConfigError::at(field.span, format!("`{forbidden}` cannot be {verb}"), why)
                    .help("leave it out"),
            );
        } else if !fields.iter().any(|known| same(&known.value)) {
            fields.push(field);
        }
    }
    fields
}
