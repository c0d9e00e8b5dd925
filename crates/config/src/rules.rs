//! Rules for fields, and error pages.

use std::path::PathBuf;

use crate::build::Context;
use crate::model::{ErrorPage, FieldRule, PageBody};
use crate::suggest::listed;
use crate::walk::Item;
use crate::{ConfigError, fields};

/// Which message a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Request,
    Response,
}

/// Names that no rule may touch, and why.
const FRAMING: [(&str, &str); 2] = [
    ("Content-Length", "tells where the body ends, and is made by the proxy"),
    ("Transfer-Encoding", "tells where the body ends, and is made by the proxy"),
];
const HOP_BY_HOP: [&str; 6] =
    ["Connection", "Keep-Alive", "Proxy-Connection", "TE", "Trailer", "Upgrade"];

/// The rules of all `header` or `request-header` of a block, in the order of the file.
pub(crate) fn fields(item: &Item, side: Side, context: &mut Context<'_>) -> Vec<FieldRule> {
    let name = match side {
        Side::Request => "request-header",
        Side::Response => "header",
    };
    let mut rules = Vec::new();
    for block in item.children(name) {
        for rule in &block.block {
            match rule.directive.name {
                "remove" => rules.extend(removals(rule, side, context)),
                _ => rules.extend(addition(rule, side, context)),
            }
        }
    }
    rules
}

fn removals(rule: &Item, side: Side, context: &mut Context<'_>) -> Vec<FieldRule> {
    let mut rules = Vec::new();
    for name in rule.all::<String>("name") {
        let hit: Vec<_> =
            forbidden(side).filter(|(forbidden, _)| matches(&name.value, forbidden)).collect();
        match hit.as_slice() {
            [] => rules.push(FieldRule::Remove { name: name.value }),
            [(forbidden, why)] if forbidden.eq_ignore_ascii_case(&name.value) => context.error(
                ConfigError::at(name.span, format!("`{forbidden}` cannot be removed"), *why)
                    .help("leave it out"),
            ),
            several => {
                let names: Vec<_> = several.iter().map(|(name, _)| format!("`{name}`")).collect();
                context.error(
                    ConfigError::at(
                        name.span,
                        format!("`{}` would also remove {}", name.value, listed(&names, "and")),
                        "too wide",
                    )
                    .help("name the fields, or write a longer prefix"),
                );
            }
        }
    }
    rules
}

fn addition(rule: &Item, side: Side, context: &mut Context<'_>) -> Option<FieldRule> {
    let name = rule.one::<String>("name")?;
    let set = rule.directive.name == "set";
    // A request may get another host: that is what virtual hosts behind us need.
    let host = set && side == Side::Request && name.value.eq_ignore_ascii_case("Host");
    let hit = forbidden(side).find(|(forbidden, _)| forbidden.eq_ignore_ascii_case(&name.value));
    if let (Some((forbidden, why)), false) = (hit, host) {
        let verb = if set { "set" } else { "added" };
        context.error(
            ConfigError::at(name.span, format!("`{forbidden}` cannot be {verb}"), why)
                .help("leave it out"),
        );
        return None;
    }
    let value = rule.get::<String>("value")?;
    if host && fields::authority(&value).is_err() {
        let span = rule.written("value").unwrap_or(rule.span);
        context.error(
            ConfigError::at(span, format!("`{value}` is not a host"), "goes into `Host`")
                .help("write a name or an address, perhaps with `:PORT`"),
        );
        return None;
    }
    let name = name.value;
    Some(if set { FieldRule::Set { name, value } } else { FieldRule::Add { name, value } })
}

/// Names that no rule for this side may touch, and why.
pub(crate) fn forbidden(side: Side) -> impl Iterator<Item = (&'static str, &'static str)> {
    let host = match side {
        Side::Request => "every request has one, and only one (RFC 9112 §3.2)",
        Side::Response => "belongs into requests only",
    };
    let hop = "holds for one connection only, and is made by the proxy (RFC 9110 §7.6.1)";
    FRAMING.into_iter().chain(HOP_BY_HOP.map(|name| (name, hop))).chain([("Host", host)])
}

/// Whether a removal hits a name.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => {
            name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        }
        None => name.eq_ignore_ascii_case(pattern),
    }
}

/// The error pages of a block, in the order of the file.
pub(crate) fn error_pages(item: &Item, context: &mut Context<'_>) -> Vec<ErrorPage> {
    item.children("error-page").filter_map(|page| error_page(page, context)).collect()
}

fn error_page(item: &Item, context: &mut Context<'_>) -> Option<ErrorPage> {
    let statuses: Vec<u16> =
        item.all::<u64>("status").into_iter().map(|status| status.value as u16).collect();
    match (item.written("text"), item.written("file")) {
        (Some(text), Some(file)) => context.error(
            ConfigError::at(file, "an error page with a text and a file", "and a file")
                .also(text, "a text")
                .help("keep one of the two"),
        ),
        (None, None) => context.error(
            ConfigError::at(item.span, "an error page without a page", "neither text nor file")
                .help("write the text behind the status, or add file=\"…\""),
        ),
        _ => {}
    }
    let html = |path: &PathBuf| {
        let extension = path.extension().unwrap_or_default();
        extension.eq_ignore_ascii_case("html") || extension.eq_ignore_ascii_case("htm")
    };
    let (body, default) = match item.one::<PathBuf>("file") {
        Some(file) if html(&file.value) => (PageBody::File(file), "text/html; charset=utf-8"),
        Some(file) => (PageBody::File(file), "text/plain; charset=utf-8"),
        None => {
            let text = item.get::<String>("text")?;
            (PageBody::Text(text.into_bytes()), "text/plain; charset=utf-8")
        }
    };
    Some(ErrorPage {
        statuses,
        origin: item.get("origin").unwrap_or(false),
        body,
        content_type: item.get("content-type").unwrap_or_else(|| default.to_owned()),
    })
}
