//! Values of the model in the words of the language, for reports. Secrets are never shown.

mod cache;
mod exits;
mod gateway;

use std::fmt::Write as _;
use std::time::Duration;

use crate::model::*;
pub use cache::*;
pub use exits::*;
pub use gateway::*;

/// `75s`, `500ms`, `1h`.
#[must_use]
pub fn duration(value: Duration) -> String {
    match value.as_millis() {
        0 => "0s".to_owned(),
        millis if millis % 3_600_000 == 0 => format!("{}h", millis / 3_600_000),
        // One minute is better said in seconds.
        millis if millis % 60_000 == 0 && millis > 60_000 => format!("{}m", millis / 60_000),
        millis if millis % 1_000 == 0 => format!("{}s", millis / 1_000),
        millis => format!("{millis}ms"),
    }
}

/// `10MiB`, `1500B`.
#[must_use]
pub fn bytes(value: u64) -> String {
    for (unit, name) in [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
        if value >= unit && value.is_multiple_of(unit) {
            return format!("{}{name}", value / unit);
        }
    }
    format!("{value}B")
}

/// A number of bytes, or `unlimited`.
#[must_use]
pub fn byte_limit(limit: ByteLimit) -> String {
    match limit {
        ByteLimit::Bytes(value) => bytes(value),
        ByteLimit::Unlimited => "unlimited".to_owned(),
    }
}

/// `shop.example`, `*.example.com`, `*`, an address.
#[must_use]
pub fn host(pattern: &HostPattern) -> String {
    match pattern {
        HostPattern::Any => "*".to_owned(),
        HostPattern::Address(address) => address.to_string(),
        HostPattern::Exact(name) => name.clone(),
        HostPattern::Wildcard(suffix) => format!("*{suffix}"),
    }
}

/// `/api/*`, `/status`.
#[must_use]
pub fn path(pattern: &PathPattern) -> String {
    match pattern {
        PathPattern::Exact(path) => path.clone(),
        PathPattern::Prefix(prefix) => format!("{prefix}/*"),
    }
}

/// `/v2/*`.
#[must_use]
pub fn template(template: &PathTemplate) -> String {
    if template.rest { format!("{}*", template.text) } else { template.text.clone() }
}

/// What becomes of a path; `None` where nothing does.
#[must_use]
pub fn path_rule(rule: &PathRule) -> Option<String> {
    match rule {
        PathRule::Keep => None,
        PathRule::StripPrefix(prefix) => Some(format!("strip-prefix {prefix}")),
        PathRule::Rewrite(to) => Some(format!("rewrite {}", template(to))),
    }
}

/// `set X-A: b`, `add X-A: b`, `remove X-A`.
#[must_use]
pub fn field_rule(rule: &FieldRule) -> String {
    match rule {
        FieldRule::Set { name, value } => format!("set {name}: {value}"),
        FieldRule::Add { name, value } => format!("add {name}: {value}"),
        FieldRule::Remove { name } => format!("remove {name}"),
    }
}

/// A network; of one address, the address.
#[must_use]
pub fn net(net: &ipnet::IpNet) -> String {
    match net.prefix_len() == net.max_prefix_len() {
        true => net.addr().to_string(),
        false => net.to_string(),
    }
}

/// `allow 10.0.0.0/8`.
#[must_use]
pub fn client_rule(rule: &ClientRule) -> String {
    format!("{} {}", verdict(rule.verdict), net(&rule.net))
}

/// `allow` or `deny`.
#[must_use]
pub fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Allow => "allow",
        Verdict::Deny => "deny",
    }
}

/// `80,443,1024-65535`.
#[must_use]
pub fn ports(ranges: &[(u16, u16)]) -> String {
    let range = |(low, high): &(u16, u16)| match low == high {
        true => low.to_string(),
        false => format!("{low}-{high}"),
    };
    ranges.iter().map(range).collect::<Vec<_>>().join(",")
}

/// Texts in one, with commas.
#[must_use]
pub fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

/// `100 requests in 1s, 200 at once, for each client-ip`.
#[must_use]
pub fn rate(limit: &RateLimit) -> String {
    let number = |value| match limit.unit {
        RateUnit::Requests => format!("{value} requests"),
        RateUnit::Bytes => bytes(value),
    };
    let key = match &limit.key {
        LimitKey::ClientIp => "for each client address".to_owned(),
        LimitKey::Header(name) => format!("for each value of {name}"),
        LimitKey::Place => "for all together".to_owned(),
    };
    let burst = match limit.unit {
        RateUnit::Requests => limit.burst.to_string(),
        RateUnit::Bytes => bytes(limit.burst),
    };
    format!("{} in {}, {burst} at once, {key}", number(limit.amount), duration(limit.per))
}

/// The URL of a server as one would write it.
#[must_use]
pub fn server(server: &Server) -> String {
    let scheme = match (server.protocol, server.scheme) {
        (ServerProtocol::Http1, Scheme::Http) => "http",
        (ServerProtocol::Http1 | ServerProtocol::Alpn, _) => "https",
        (ServerProtocol::Http2, Scheme::Http) => "h2c",
        (ServerProtocol::Http2, Scheme::Https) => "h2",
        (ServerProtocol::Tcp, Scheme::Http) => "tcp",
        (ServerProtocol::Tcp, Scheme::Https) => "tls",
    };
    let host = match &server.host {
        ServerHost::Address(std::net::IpAddr::V6(address)) => format!("[{address}]"),
        ServerHost::Address(address) => address.to_string(),
        ServerHost::Name(name) => name.clone(),
        ServerHost::Srv(name) => return format!("{scheme}+srv://{name}{}", server.base_path),
    };
    format!("{scheme}://{host}:{}{}", server.port, server.base_path)
}

/// `least-requests`, `hash of the path, bounded at 125%`.
#[must_use]
pub fn balance(balance: &Balance) -> String {
    match balance {
        Balance::RoundRobin => "round-robin".to_owned(),
        Balance::LeastRequests => "least-requests".to_owned(),
        Balance::PeakEwma => "peak-ewma".to_owned(),
        Balance::Random => "random".to_owned(),
        Balance::Hash { key, bound } => {
            let key = match key {
                HashKey::ClientIp => "client-ip".to_owned(),
                HashKey::Header(name) => format!("header:{name}"),
                HashKey::Cookie(name) => format!("cookie:{name}"),
                HashKey::Path => "path".to_owned(),
            };
            format!("hash of {key}, bounded-load {bound}%")
        }
    }
}

/// What is asked, how often, and what comes of it.
#[must_use]
pub fn health(check: &HealthCheck) -> String {
    let mut text = match &check.probe {
        Probe::Tcp => "tcp".to_owned(),
        Probe::Grpc { service } if service.is_empty() => "grpc".to_owned(),
        Probe::Grpc { service } => format!("grpc {service}"),
        Probe::Http { target, host, statuses, body } => {
            let mut text = format!("{target} status {}", ports(statuses));
            if let Some(host) = host {
                let _ = write!(text, ", host {host}");
            }
            if let Some(body) = body {
                let _ = write!(text, ", body with {body:?}");
            }
            text
        }
    };
    let _ = write!(text, ", every {}", duration(check.every));
    let _ = write!(
        text,
        ", timeout {}, fall {}, rise {}",
        duration(check.timeout),
        check.fall,
        check.rise
    );
    if let Some(port) = check.port {
        let _ = write!(text, ", port {port}");
    }
    text
}

/// When a request is made again.
#[must_use]
pub fn retry(retry: &Retry) -> String {
    let mut when = vec!["connect failure".to_owned()];
    when.extend(retry.statuses.iter().map(u16::to_string));
    if retry.on_timeout {
        when.push("timeout".to_owned());
    }
    let mut text = format!("up to {} more, on {}", retry.attempts, list(when));
    if let Some(timeout) = retry.attempt_timeout {
        let _ = write!(text, ", attempt-timeout {}", duration(timeout));
    }
    let _ = write!(text, ", budget {}%", retry.budget);
    text
}

/// When a server that fails is left out.
#[must_use]
pub fn outlier(outlier: &Outlier) -> String {
    let mut text = format!(
        "{} failures in {}, out for {}",
        outlier.failures,
        duration(outlier.within),
        duration(outlier.eject)
    );
    if let Some(latency) = outlier.latency {
        let _ = write!(text, ", latency {latency}%");
    }
    let _ = write!(text, ", at most {}% out", outlier.max_ejected);
    text
}

/// When a whole group is given a rest.
#[must_use]
pub fn circuit_breaker(breaker: &CircuitBreaker) -> String {
    format!(
        "{}% errors of at least {} requests in {}, open for {}",
        breaker.errors,
        breaker.min_requests,
        duration(breaker.within),
        duration(breaker.open)
    )
}

/// Requests that one server has at once.
#[must_use]
pub fn max_connections(max: &MaxConnections) -> String {
    match max.queue {
        0 => format!("{}, no queue", max.limit),
        queue => format!("{}, queue {queue} for up to {}", max.limit, duration(max.queue_timeout)),
    }
}

/// A cookie that keeps a client at one server, without its secret.
#[must_use]
pub fn sticky(sticky: &Sticky) -> String {
    let ttl = sticky.ttl.map_or("until the browser is closed".to_owned(), duration);
    format!("cookie {}, {ttl}", sticky.cookie)
}

/// A server that is asked about each request.
#[must_use]
pub fn forward_auth(auth: &ForwardAuth, upstream: Option<&Upstream>) -> String {
    let asked =
        upstream.and_then(|upstream| upstream.servers.first()).map_or_else(String::new, server);
    let mut text = format!("{asked}{}, send {}", auth.target, list(&auth.send));
    if !auth.copy.is_empty() {
        let _ = write!(text, ", copy {}", list(&auth.copy));
    }
    let _ = write!(text, ", timeout {}", duration(auth.timeout));
    text.push_str(if auth.cache { "" } else { ", never cached" });
    text
}

/// What a route does.
#[must_use]
pub fn action(action: &Action, config: &Config) -> String {
    match action {
        Action::Relay { upstream } => {
            let upstream = config.upstreams.get(*upstream);
            upstream.map_or_else(String::new, |upstream| format!("to `{}`", upstream.name))
        }
        Action::Redirect { to, status } => format!("redirect {status} to {}", template(to)),
        Action::Respond { status, body, content_type } => {
            format!("respond {status}, {} of {content_type}", bytes(body.len() as u64))
        }
    }
}

/// How one family of forwarding fields is made.
#[must_use]
pub fn forwarded_mode(mode: ForwardedMode) -> &'static str {
    match mode {
        ForwardedMode::Off => "off",
        ForwardedMode::Set => "set",
        ForwardedMode::Append => "append",
        ForwardedMode::Replace => "replace",
    }
}

/// What the far end learns.
#[must_use]
pub fn anonymity(anonymity: Anonymity) -> &'static str {
    match anonymity {
        Anonymity::Transparent => "transparent",
        Anonymity::Anonymous => "anonymous",
        Anonymity::Elite => "elite",
    }
}

/// An answer in place of another.
#[must_use]
pub fn error_page(page: &ErrorPage) -> String {
    let body = match &page.body {
        PageBody::Text(text) => format!("a text of {}", bytes(text.len() as u64)),
        PageBody::File(file) => file.value.display().to_string(),
    };
    let origin = if page.origin { ", also in place of the server's" } else { "" };
    format!("{} {body} ({}){origin}", list(&page.statuses), page.content_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts() {
        let shown = |millis| duration(Duration::from_millis(millis));
        assert_eq!([shown(0), shown(500), shown(75_000)], ["0s", "500ms", "75s"]);
        assert_eq!([shown(90_000), shown(120_000), shown(3_600_000)], ["90s", "2m", "1h"]);
        assert_eq!([bytes(0), bytes(1500), bytes(10 << 20)], ["0B", "1500B", "10MiB"]);
        assert_eq!(ports(&[(80, 80), (1024, 65535)]), "80,1024-65535");
    }

    #[test]
    fn a_secret_is_not_shown() {
        let shown = sticky(&Sticky { cookie: "c".into(), ttl: None, secret: Some("hush".into()) });
        assert!(!shown.contains("hush"), "{shown}");
    }
}
