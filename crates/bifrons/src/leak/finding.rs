//! What something that was seen tells. Pure.

use std::net::IpAddr;

use super::is_telling;

/// How much something tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// Nothing.
    Fine,
    /// Nothing, but it is good to know.
    Note,
    /// That there is a proxy.
    Proxy,
    /// Who uses it.
    Client,
}

impl Level {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Fine => "fine",
            Self::Note => "note",
            Self::Proxy => "proxy",
            Self::Client => "client",
        }
    }

    pub(super) fn mark(self) -> &'static str {
        match self {
            Self::Fine => "ok",
            Self::Note => "note",
            Self::Proxy => "proxy",
            Self::Client => "LEAK",
        }
    }
}

/// Something that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) level: Level,
    pub(super) text: String,
}

impl Finding {
    pub(super) fn new(level: Level, text: String) -> Self {
        Self { level, text }
    }
}

/// What would give this machine away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ourselves {
    /// The address that the proxy sees.
    pub(super) address: IpAddr,
    /// All that this machine has.
    pub(super) all: Vec<IpAddr>,
    /// The proxy's.
    pub(super) proxy: IpAddr,
}

impl Ourselves {
    /// Whether the proxy is on this machine, and has its addresses.
    fn is_proxy(&self) -> bool {
        self.proxy.is_loopback() || self.all.contains(&self.proxy)
    }

    fn is_ours(&self, ip: IpAddr) -> bool {
        ip == self.address || self.all.contains(&ip)
    }
}

/// The fields that are sent besides `Host`: of many sorts, in an order and a case of their own.
pub(super) const SENT: &[(&str, &str)] = &[
    ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    ("Accept", "text/html,*/*;q=0.8"),
    ("aCCept-LanGuage", "en"),
    ("Accept-Encoding", "identity"),
    ("X-Later", "2"),
    ("DNT", "1"),
    ("x-Earlier", "1"),
    ("Cookie", "a=b; c=d"),
];

/// What the address of a connection tells.
pub(super) fn of_address(seen: IpAddr, ourselves: &Ourselves) -> Finding {
    let (level, told) = if !is_telling(seen) {
        (Level::Note, "the far end is on this machine too, so others may see another")
    } else if !ourselves.is_ours(seen) {
        (Level::Fine, "none of this machine's")
    } else if ourselves.is_proxy() {
        (Level::Note, "this machine's, which the proxy is on")
    } else {
        (Level::Client, "this machine's own")
    };
    Finding::new(level, format!("the far end sees {seen}: {told}"))
}

/// What a head tells, compared with the one that was sent.
pub(super) fn of_head(
    sent: &[(&str, &str)],
    head: &str,
    ourselves: &Ourselves,
    secrets: &[String],
) -> Vec<Finding> {
    let mut lines = head.split("\r\n");
    let start = lines.next().unwrap_or_default();
    let fields: Vec<(&str, &str)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name, value.trim()))
        .filter(|(name, _)| !name.eq_ignore_ascii_case("host"))
        .collect();
    let mut findings = Vec::new();
    if !start.ends_with(" HTTP/1.1") {
        let text = format!("the request comes in another version: {start}");
        findings.push(Finding::new(Level::Proxy, text));
    }
    let was_sent = |name: &str| sent.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    for (name, value) in &fields {
        match was_sent(name) {
            Some((_, before)) if before == value => {}
            Some(_) => findings.push(told(name, value, "was changed", ourselves, secrets)),
            None => findings.push(told(name, value, "was added", ourselves, secrets)),
        }
    }
    for (name, _) in sent {
        if !fields.iter().any(|(seen, _)| seen.eq_ignore_ascii_case(name)) {
            findings.push(Finding::new(Level::Proxy, format!("{name} was taken out")));
        }
    }
    findings.extend(of_order(sent, &fields));
    if findings.is_empty() {
        let text = "all fields came as they were sent, in their order and case".to_owned();
        findings.push(Finding::new(Level::Fine, text));
    }
    findings
}

/// What a field tells that we did not send so.
fn told(name: &str, value: &str, what: &str, ourselves: &Ourselves, secrets: &[String]) -> Finding {
    let holds_secret = secrets.iter().any(|secret| value.contains(secret.as_str()));
    if holds_secret || name.eq_ignore_ascii_case("proxy-authorization") {
        // The value is a secret, and this may end in a log.
        return Finding::new(
            Level::Client,
            format!("{name} {what}: the credentials for the proxy"),
        );
    }
    if addresses(value).any(|ip| ourselves.is_ours(ip)) {
        return Finding::new(Level::Client, format!("{name}: {value} {what}: our address"));
    }
    let level = match name.eq_ignore_ascii_case("connection") {
        true => Level::Note,
        false => Level::Proxy,
    };
    Finding::new(level, format!("{name}: {value} {what}"))
}

/// Whether what came of our fields has its order and case.
fn of_order(sent: &[(&str, &str)], fields: &[(&str, &str)]) -> Option<Finding> {
    let place = |name: &str| sent.iter().position(|(known, _)| known.eq_ignore_ascii_case(name));
    let places: Vec<usize> = fields.iter().filter_map(|(name, _)| place(name)).collect();
    if !places.is_sorted() {
        return Some(Finding::new(Level::Proxy, "fields came in another order".to_owned()));
    }
    let changed = fields.iter().any(|(name, _)| place(name).is_some_and(|at| sent[at].0 != *name));
    changed.then(|| Finding::new(Level::Proxy, "names of fields came in another case".to_owned()))
}

/// Names of fields that tell, as an echo shows them.
const TELLING: [&str; 12] = [
    "via",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
    "x-client-ip",
    "client-ip",
    "true-client-ip",
    "x-proxyuser-ip",
    "proxy-connection",
    "x-bluecoat-via",
];

/// What the answer of an echo tells. Whether a field is from our proxy or from one before the
/// echo cannot be told apart.
pub(super) fn of_echo(body: &str, ourselves: &Ourselves) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    let mut seen: Vec<IpAddr> = addresses(body).collect();
    seen.sort_unstable();
    seen.dedup();
    if seen.is_empty() {
        let text = "the echo names no address".to_owned();
        findings.push(Finding::new(Level::Note, text));
    }
    findings.extend(seen.into_iter().map(|ip| of_address(ip, ourselves)));
    let words = || {
        let part = |char: char| !(char.is_ascii_alphanumeric() || matches!(char, '-' | '_'));
        body.split(part).map(|word| word.to_ascii_lowercase().replace('_', "-"))
    };
    for name in TELLING {
        if words().any(|word| word == name || word.strip_prefix("http-") == Some(name)) {
            let text = format!("the echo speaks of {name} (it may be from a proxy before it)");
            findings.push(Finding::new(Level::Proxy, text));
        }
    }
    findings
}

/// The addresses that a text holds.
fn addresses(text: &str) -> impl Iterator<Item = IpAddr> {
    let part = |char: char| !(char.is_ascii_hexdigit() || matches!(char, '.' | ':'));
    text.split(part).filter_map(|word| {
        let bare = word.trim_end_matches('.');
        let port = |text: &str| text.rsplit_once(':').and_then(|(ip, _)| ip.parse().ok());
        bare.parse().ok().or_else(|| port(bare))
    })
}
