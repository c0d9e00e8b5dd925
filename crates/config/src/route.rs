//! Routes: which requests they take, and the one thing they do with them.

use std::collections::HashMap;

use crate::build::Context;
use crate::content::Content;
use crate::model::{Action, Gate, PathPattern, PathRule, PathTemplate, Route};
use crate::rules::{self, Side};
use crate::servers::Traffic;
use crate::walk::Item;
use crate::{ConfigError, Span, gate, quote, upstream};

const ACTIONS: [&str; 3] = ["to", "redirect", "respond"];

/// The routes of a site. An action directly in its block is the route `/*`.
pub(crate) fn routes(site: &Item, site_name: &str, context: &mut Context<'_>) -> Vec<Route> {
    let content = Content::of(site, &Content::default(), context);
    let mut routes: Vec<Route> = site
        .children("route")
        .filter_map(|item| route(item, site_name, &content, context))
        .collect();
    match one_action(site, context) {
        Some(item) => {
            let path = PathPattern::Prefix(String::new());
            let name = route_name(&path);
            let action = action(item, &path, &format!("{site_name} {name}"), context);
            if let Some(route) = routes.iter().find(|route| route.path == path) {
                context.error(bare_beside(item, route));
            } else if let Some(action) = action {
                routes.push(bare_route(name, path, action, content, item.span));
            }
        }
        None if site.child("route").is_none() && !site.flawed => context.error(
            ConfigError::at(site.span, "a site that leads nowhere", "no route in its block")
                .help("add `to \"http://127.0.0.1:9000\"`, a `route`, a `redirect` or a `respond`"),
        ),
        None => {}
    }
    check_duplicates(&routes, context);
    routes
}

fn bare_beside(item: &Item, route: &Route) -> ConfigError {
    ConfigError::at(
        item.span,
        format!("`{}` of the site beside a route for every path", item.directive.name),
        "is itself the route `/*`",
    )
    .also(route.span, "the route")
    .help("keep one of the two")
}

fn bare_route(
    name: String,
    path: PathPattern,
    action: Action,
    content: Content,
    span: Span,
) -> Route {
    let content = content.of_action(&action);
    Route {
        name,
        path,
        methods: Vec::new(),
        path_rule: PathRule::Keep,
        action,
        response_fields: Vec::new(),
        request_fields: Vec::new(),
        error_pages: Vec::new(),
        max_body: None,
        gate: Gate::default(),
        cache: content.cache,
        compress: content.compress,
        decompress: content.decompress,
        span,
    }
}

/// As written.
fn route_name(path: &PathPattern) -> String {
    match path {
        PathPattern::Exact(path) => path.clone(),
        PathPattern::Prefix(path) => format!("{path}/*"),
    }
}

fn route(
    item: &Item,
    site_name: &str,
    around: &Content,
    context: &mut Context<'_>,
) -> Option<Route> {
    let path = item.one::<PathPattern>("path");
    let pattern = path.as_ref().map_or(PathPattern::Prefix(String::new()), |p| p.value.clone());
    let name = route_name(&pattern);
    let chosen = one_action(item, context);
    let action =
        chosen.and_then(|chosen| action(chosen, &pattern, &format!("{site_name} {name}"), context));
    if chosen.is_none() && !item.flawed {
        context.error(
            ConfigError::at(item.span, "a route that does nothing", "no action in its block")
                .help("add `to`, `redirect` or `respond`"),
        );
    }
    let path_rule = path_rule(item, path.is_some().then_some(&pattern), context);
    check_relayed(item, context);
    let response_fields = rules::fields(item, Side::Response, context);
    let request_fields = rules::fields(item, Side::Request, context);
    let error_pages = rules::error_pages(item, context);
    let gate = gate::gate(item, &format!("{site_name} {name}"), context);
    let content = Content::of(item, around, context);
    let action = action?;
    let content = content.of_action(&action);
    let body = item.child("limits").and_then(|limits| limits.child("body"));
    Some(Route {
        name,
        path: path?.value,
        methods: methods(item),
        path_rule,
        action,
        response_fields,
        request_fields,
        error_pages,
        max_body: body.and_then(|body| body.get("size")),
        gate,
        cache: content.cache,
        compress: content.compress,
        decompress: content.decompress,
        span: item.span,
    })
}

fn methods(item: &Item) -> Vec<String> {
    let mut methods: Vec<String> = Vec::new();
    for method in item.children("method").flat_map(|item| item.all::<String>("method")) {
        if !methods.contains(&method.value) {
            methods.push(method.value);
        }
    }
    methods
}

/// The action of a block; more than one is an error.
fn one_action<'a>(item: &'a Item, context: &mut Context<'_>) -> Option<&'a Item> {
    let mut actions = item.block.iter().filter(|item| ACTIONS.contains(&item.directive.name));
    let first = actions.next()?;
    for other in actions {
        context.error(
            ConfigError::at(
                other.span,
                format!("`{}` beside `{}`", other.directive.name, first.directive.name),
                "a second thing to do",
            )
            .also(first.span, "the first")
            .help("a request has one answer: keep one of the two, or make two routes"),
        );
    }
    Some(first)
}

fn action(
    item: &Item,
    path: &PathPattern,
    name: &str,
    context: &mut Context<'_>,
) -> Option<Action> {
    match item.directive.name {
        "to" => upstream::of_to(item, name, Traffic::Requests, context)
            .map(|upstream| Action::Relay { upstream }),
        "redirect" => redirect(item, path, context),
        _ => respond(item, context),
    }
}

fn redirect(item: &Item, path: &PathPattern, context: &mut Context<'_>) -> Option<Action> {
    let to = item.one::<PathTemplate>("location");
    if let Some(to) = &to {
        check_rest(&to.value, to.span, path, context);
    }
    let status = item.one::<u64>("status");
    if let Some(wrong) =
        status.as_ref().filter(|status| !matches!(status.value, 301 | 302 | 303 | 307 | 308))
    {
        context.error(
            ConfigError::at(
                wrong.span,
                format!("{} is not a redirect", wrong.value),
                "this status",
            )
            .help(
                "308 (permanent) and 307 (temporary) keep the method; 301, 302 and 303 may \
                     turn it into GET",
            ),
        );
    }
    let status = status.map_or(308, |status| status.value as u16);
    Some(Action::Redirect { to: to?.value, status })
}

fn respond(item: &Item, context: &mut Context<'_>) -> Option<Action> {
    let status = item.get::<u64>("status")? as u16;
    if let (204 | 205 | 304, Some(span)) = (status, item.written("body")) {
        context.error(
            ConfigError::at(span, format!("a response with {status} has no body"), "this body")
                .help("leave the body out, or answer with 200"),
        );
    }
    let content_type = item.get::<String>("content-type");
    Some(Action::Respond {
        status,
        body: item.get::<String>("body").unwrap_or_default().into_bytes(),
        content_type: content_type.unwrap_or_else(|| "text/plain; charset=utf-8".to_owned()),
    })
}

/// `pattern` is `None` where it could not be read.
fn path_rule(item: &Item, pattern: Option<&PathPattern>, context: &mut Context<'_>) -> PathRule {
    let (strip, rewrite) = (item.child("strip-prefix"), item.child("rewrite"));
    if let (Some(strip), Some(rewrite)) = (strip, rewrite) {
        context.error(
            ConfigError::at(
                rewrite.span,
                "`rewrite` beside `strip-prefix`",
                "changes the path again",
            )
            .also(strip.span, "changes the path")
            .help("`rewrite` alone can do both: it replaces the whole path"),
        );
    }
    let Some(pattern) = pattern else { return PathRule::Keep };
    if let Some(prefix) = strip.and_then(|strip| strip.one::<String>("prefix")) {
        if !is_prefix(&prefix.value, pattern) {
            context.error(
                ConfigError::at(
                    prefix.span,
                    format!("`{}` is not in front of `{}`", prefix.value, route_name(pattern)),
                    "not every path of the route begins with it",
                )
                .help(format!("write whole segments of the route's path{}", front(pattern))),
            );
        }
        return PathRule::StripPrefix(prefix.value);
    }
    if let Some(template) = rewrite.and_then(|rewrite| rewrite.one::<PathTemplate>("path")) {
        check_rest(&template.value, template.span, pattern, context);
        return PathRule::Rewrite(template.value);
    }
    PathRule::Keep
}

fn front(pattern: &PathPattern) -> String {
    let (PathPattern::Exact(path) | PathPattern::Prefix(path)) = pattern;
    match path.trim_end_matches('/') {
        "" => ": this one has none to take off".to_owned(),
        path => format!(", such as {}", quote(path)),
    }
}

/// Whether every path of the pattern begins with these whole segments.
fn is_prefix(prefix: &str, pattern: &PathPattern) -> bool {
    let (PathPattern::Exact(path) | PathPattern::Prefix(path)) = pattern;
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A `*` in a template needs one in the pattern.
fn check_rest(template: &PathTemplate, span: Span, path: &PathPattern, context: &mut Context<'_>) {
    if let (true, PathPattern::Exact(path)) = (template.rest, path) {
        context.error(
            ConfigError::at(span, "a `*` that stands for nothing", "the route has none").help(
                format!(
                    "write the route as {}",
                    quote(&format!("{}/*", path.trim_end_matches('/')))
                ),
            ),
        );
    }
}

/// What changes the request on its way to a server needs a server.
fn check_relayed(item: &Item, context: &mut Context<'_>) {
    let Some(action) = item.block.iter().find(|item| ACTIONS.contains(&item.directive.name)) else {
        return;
    };
    if item.child("to").is_some() {
        return;
    }
    for name in ["strip-prefix", "rewrite", "request-header", "cache", "decompress"] {
        if let Some(idle) = item.child(name) {
            context.error(
                ConfigError::at(
                    idle.span,
                    format!("`{name}` beside `{}`", action.directive.name),
                    "has no effect",
                )
                .also(action.span, "no server is asked")
                .help("leave it out"),
            );
        }
    }
}

/// Routes with the same pattern must have different methods.
fn check_duplicates(routes: &[Route], context: &mut Context<'_>) {
    let mut seen: HashMap<&PathPattern, Vec<&Route>> = HashMap::new();
    for route in routes {
        let others = seen.entry(&route.path).or_default();
        let overlaps = |other: &&&Route| {
            other.methods.is_empty()
                || route.methods.is_empty()
                || route.methods.iter().any(|method| other.methods.contains(method))
        };
        if let Some(other) = others.iter().find(overlaps) {
            context.error(
                ConfigError::at(
                    route.span,
                    format!("two routes for `{}`", route.name),
                    "the second",
                )
                .also(other.span, "the first")
                .help("put both together, or give them different methods: `method \"GET\"`"),
            );
        }
        others.push(route);
    }
}
