use std::collections::HashSet;
use std::path::Path;

use super::*;

/// A configuration in which something stands in a place.
fn around(place: Place, inner: &str) -> String {
    let text = placed(place, inner);
    let there = text.contains("exits \"world\" {");
    match text.contains("\"world\"") && !there {
        true => format!("{}\n{text}", pool("direct")),
        false => text,
    }
}

fn pool(inner: &str) -> String {
    format!("exits \"world\" {{\n{inner}\n}}\nexits \"expensive\" {{\ndirect\n}}")
}

fn placed(place: Place, inner: &str) -> String {
    let site = |inner: &str| format!("site \"http://localhost:8080\" {{\n{inner}\n}}");
    let route = |inner: &str| site(&format!("route \"/api/*\" {{\n{inner}\n}}"));
    let to = "to \"https://127.0.0.1:9\"";
    let acts = |inner: &str| {
        ["to ", "redirect ", "respond "].iter().any(|action| inner.trim_start().starts_with(action))
    };
    let with_action =
        |inner: &str| if acts(inner) { inner.to_owned() } else { format!("{inner}\n{to}") };
    match place {
        Place::Top => format!("{inner}\nforward \"127.0.0.1:3129\"\n"),
        Place::Exits => {
            let ways = ["direct", "address", "prefix", "proxy", "list", "pool"];
            let is_way = ways.iter().any(|name| inner.starts_with(&format!("{name} ")));
            let way = if is_way { "" } else { "direct" };
            placed(Place::Top, &pool(&format!("{way}\n{inner}")))
        }
        Place::Site | Place::Route if inner.starts_with("basic-auth") => {
            let users = "users \"staff\" file=\"f\"";
            format!("{users}\n{}", placed(place, &format!("\n{inner}")))
        }
        Place::Site => {
            let routed = inner.starts_with("route");
            let inner = if routed { inner.to_owned() } else { with_action(inner) };
            if inner.contains("tls ") {
                site(&inner).replace("http://localhost", "https://localhost")
            } else {
                site(&inner)
            }
        }
        Place::SiteTls => placed(Place::Site, &format!("tls cert=\"c\" key=\"k\" {{\n{inner}\n}}")),
        Place::Route => route(&with_action(inner)),
        Place::To => route(&format!("{to} {{\n{inner}\n}}")),
        Place::Upstream => {
            let server = if inner.starts_with("server") { "" } else { "server \"https://a\"" };
            placed(Place::Top, &format!("upstream \"u\" {{\n{server}\n{inner}\n}}"))
        }
        Place::ForwardAuth => {
            placed(Place::Route, &format!("forward-auth \"https://a/\" {{\n{inner}\n}}"))
        }
        Place::User => placed(Place::Users, &format!("user \"u\" password=\"p\" {{\n{inner}\n}}")),
        Place::UserDefaults => {
            placed(Place::Users, &format!("file \"f\"\ndefault {{\n{inner}\n}}"))
        }
        Place::Callout => placed(Place::Users, &format!("callout \"https://a/\" {{\n{inner}\n}}")),
        Place::Pac => placed(Place::Forward, &format!("pac {{\n{inner}\n}}")),
        Place::Intercept => {
            let ca = if inner.starts_with("ca ") { "" } else { "ca cert=\"c\" key=\"k\"" };
            placed(Place::Forward, &format!("intercept {{\n{ca}\n{inner}\n}}"))
        }
        Place::Tunnel => {
            let to = if inner.starts_with("to ") { "" } else { "to \"tcp://127.0.0.1:1\"" };
            format!("tunnel \"127.0.0.1:1\" {{\n{inner}\n{to}\n}}")
        }
        Place::CacheStore => placed(Place::Top, &format!("cache {{\n{inner}\n}}")),
        Place::Cache => placed(Place::Route, &format!("cache {{\n{inner}\n}}")),
        Place::Compress => placed(Place::Site, &format!("compress {{\n{inner}\n}}")),
        Place::TunnelName => placed(Place::Tunnel, &format!("name \"a\" {{\n{inner}\n}}")),
        Place::FieldRules => placed(Place::Site, &format!("header {{\n{inner}\n}}")),
        Place::Forwarded => placed(Place::Site, &format!("forwarded {{\n{inner}\n}}")),
        Place::Limits => placed(Place::Site, &format!("limits {{\n{inner}\n}}")),
        Place::RouteLimits => placed(Place::Route, &format!("limits {{\n{inner}\n}}")),
        Place::Timeouts => placed(Place::Forward, &format!("timeouts {{\n{inner}\n}}")),
        Place::Users => {
            let user = if inner.starts_with("user ") { "" } else { "user \"z\" password=\"p\"" };
            placed(Place::Top, &format!("users \"u\" {{\n{user}\n{inner}\n}}"))
        }
        Place::Forward => {
            let auth = if inner.contains("user=") { "auth users=\"staff\"" } else { "" };
            let users = "users \"staff\" file=\"f\"";
            format!("{users}\nforward \"127.0.0.1:3128\" {{\n{auth}\n{inner}\n}}")
        }
    }
}

#[test]
fn every_example_is_a_configuration() {
    for directive in DIRECTIVES.iter().filter(|entry| entry.since != Since::Planned) {
        for place in directive.places {
            let text = around(*place, directive.example);
            if let Err(errors) = crate::parse("example", &text, Path::new("")) {
                panic!("{}\n{text}\n{errors}", directive.name);
            }
        }
    }
}

#[test]
fn every_planned_property_says_so_by_name() {
    let mut count = 0;
    for directive in DIRECTIVES {
        let later = directive.properties.iter().filter(|it| it.since == Since::Planned);
        for property in later {
            let line = directive.example.lines().next().unwrap();
            let text = around(directive.places[0], &format!("{line} {}=1", property.name));
            let errors = crate::parse("planned", &text, Path::new("")).unwrap_err();
            let plain = errors.to_string();
            let wanted = format!("`{}=` of `{}` is not available", property.name, directive.name);
            assert!(plain.contains(&wanted), "{text}\n{plain}");
            count += 1;
        }
    }
    assert!(count >= 3, "{count}");
}

#[test]
fn names_are_unique_where_they_stand() {
    let mut seen = HashSet::new();
    for directive in DIRECTIVES {
        assert!(!directive.places.is_empty(), "{}", directive.name);
        assert!(!directive.prose.is_empty(), "{}", directive.name);
        for place in directive.places {
            assert!(seen.insert((directive.name, format!("{place:?}"))), "{}", directive.name);
        }
        let mut parameters = HashSet::new();
        for parameter in directive.arguments.iter().chain(directive.properties) {
            assert!(parameters.insert(parameter.name), "{} {}", directive.name, parameter.name);
        }
    }
}

#[test]
fn only_the_last_arguments_may_be_missing() {
    for directive in DIRECTIVES {
        let optional = |it: &Parameter| matches!(it.count, Count::Optional | Count::Any);
        let first = directive.arguments.iter().position(optional);
        let behind = &directive.arguments[first.unwrap_or(directive.arguments.len())..];
        assert!(behind.iter().all(optional), "{}", directive.name);
    }
}

/// What the manual says holds where nothing is written is what is there.
#[test]
fn written_defaults_change_nothing() {
    for directive in DIRECTIVES.iter().filter(|entry| entry.since != Since::Planned) {
        let Some(default) = directive.arguments.first().and_then(|it| it.default) else {
            continue;
        };
        // A route's own limit is there or not, whatever it says.
        for place in directive.places.iter().filter(|place| **place != Place::RouteLimits) {
            let with = around(*place, &format!("{} {default}", directive.name));
            let without = around(*place, "");
            let read = |text: &str| {
                let config = crate::parse("default", text, Path::new("")).unwrap();
                without_spans(&format!("{config:?}"))
            };
            assert_eq!(read(&with), read(&without), "{}", directive.name);
        }
    }
}

/// The same for values with a name: taken out of the example, and written as the manual has it.
#[test]
fn written_defaults_of_properties_change_nothing() {
    let mut count = 0;
    for directive in DIRECTIVES.iter().filter(|entry| entry.since != Since::Planned) {
        let (line, rest) = directive.example.split_once('\n').unwrap_or((directive.example, ""));
        let (line, block) = line.strip_suffix(" {").map_or((line, ""), |line| (line, " {"));
        for property in directive.properties {
            let Some(default) = property.default else { continue };
            let line = without(line, property.name);
            let read = |line: &str| {
                let text = around(directive.places[0], &format!("{line}{block}\n{rest}"));
                let config = crate::parse("default", &text, Path::new("")).ok()?;
                Some(without_spans(&format!("{config:?}")))
            };
            // Some values cannot stand without the other.
            let Some(bare) = read(&line) else { continue };
            let with = read(&format!("{line} {}={default}", property.name));
            assert_eq!(with.as_ref(), Some(&bare), "{} {}", directive.name, property.name);
            count += 1;
        }
    }
    assert!(count >= 25, "{count}");
}

fn without(line: &str, property: &str) -> String {
    let Some((before, value)) = line.split_once(&format!(" {property}=")) else {
        return line.to_owned();
    };
    format!("{before}{}", value.find(' ').map_or("", |end| &value[end..]))
}

fn without_spans(debug: &str) -> String {
    let mut out = String::new();
    let mut rest = debug;
    while let Some(at) = rest.find("SourceSpan {") {
        out.push_str(&rest[..at]);
        let end = rest[at..].find(" length: ").map_or(rest.len(), |length| at + length);
        rest = rest[end..].split_once('}').map_or("", |(_, behind)| behind);
    }
    // Whether the access log was written at all is told by its span.
    (out + rest).replace("Some()", "None")
}
