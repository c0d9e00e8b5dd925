//! What the forward face has: rules, users' limits, PAC files, interception, name servers.

use std::fmt::Write as _;

use super::{bytes, list, net, ports, verdict};
use crate::model::*;

/// The path or the URL, without a query, which may be secret.
#[must_use]
pub fn list_source(source: &ListSource) -> String {
    match source {
        ListSource::File(path) => path.display().to_string(),
        ListSource::Url { url, .. } => bare_url(url),
    }
}

/// A URL without what may be secret in it.
pub(super) fn bare_url(url: &str) -> String {
    match url.split_once('?') {
        Some((url, _)) => format!("{url}?…"),
        None => url.to_owned(),
    }
}

/// `deny ads.example list=… port=80,443 user=bob`, nearly as it was written, without its exit.
#[must_use]
pub fn target_rule(rule: &TargetRule) -> String {
    let mut text = verdict(rule.verdict).to_owned();
    for pattern in &rule.targets {
        let _ = write!(text, " {}", target(pattern));
    }
    if !rule.ports.is_empty() {
        let _ = write!(text, " port={}", ports(&rule.ports));
    }
    let RuleContext { methods, users, agents, countries, hours, types } = &rule.context;
    let agents: Vec<_> = agents.iter().map(|agent| agent.value.clone()).collect();
    for (name, values) in [
        ("method", methods.clone()),
        ("user", users.clone()),
        ("agent", agents),
        ("country", countries.iter().map(Country::to_string).collect()),
        ("hours", hours.iter().map(self::hours).collect()),
        ("type", types.clone()),
    ] {
        for value in values {
            let _ = match value.contains(' ') {
                true => write!(text, " {name}={}", crate::quote(&value)),
                false => write!(text, " {name}={value}"),
            };
        }
    }
    text
}

/// One thing that a rule is about.
#[must_use]
pub fn target(pattern: &TargetPattern) -> String {
    match pattern {
        TargetPattern::Any => "*".to_owned(),
        TargetPattern::Net(network) => net(network),
        TargetPattern::Domain(name) => name.clone(),
        TargetPattern::Subdomains(suffix) => format!("*{suffix}"),
        TargetPattern::Regex(regex) => format!("regex={}", regex.value),
        TargetPattern::List(list) => format!("list={}", list_source(&list.value)),
    }
}

/// `direct`, or the name of the pool.
#[must_use]
pub fn way_out(way: WayOut, config: &Config) -> String {
    match way {
        WayOut::Direct => "direct".to_owned(),
        WayOut::Pool(at) => config.exits.get(at).map_or_else(String::new, |pool| pool.name.clone()),
    }
}

/// `Mon-Fri 08:00-18:00`.
#[must_use]
pub fn hours(hours: &Hours) -> String {
    const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    let is = |day: usize| hours.days.0 & (1 << day) != 0;
    let mut days: Vec<String> = Vec::new();
    let mut day = 0;
    while day < DAYS.len() {
        let last = (day..DAYS.len()).take_while(|day| is(*day)).last();
        match last {
            Some(last) if last > day + 1 => days.push(format!("{}-{}", DAYS[day], DAYS[last])),
            Some(last) => days.extend(DAYS[day..=last].iter().map(|day| (*day).to_owned())),
            None => {}
        }
        day = last.unwrap_or(day) + 1;
    }
    let clock = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
    let times = format!("{}-{}", clock(hours.from), clock(hours.until));
    match (hours.days.0 & 0x7f, hours.from, hours.until) {
        (0x7f, ..) => times,
        (_, 0, 1440) => days.join(","),
        _ => format!("{} {times}", days.join(",")),
    }
}

/// Seconds since 1970 as `2027-01-31T00:00:00Z`.
#[must_use]
pub fn moment(seconds: u64) -> String {
    let moment = i64::try_from(seconds).ok().and_then(|it| jiff::Timestamp::from_second(it).ok());
    moment.map_or_else(|| "never".to_owned(), |moment| moment.to_string())
}

/// `day` or `month`.
#[must_use]
pub fn period(period: Period) -> &'static str {
    match period {
        Period::Day => "day",
        Period::Month => "month",
    }
}

/// `10GiB/month`.
#[must_use]
pub fn quota(quota: &Quota) -> String {
    format!("{}/{}", bytes(quota.bytes), period(quota.per))
}

/// `5.00/month`.
#[must_use]
pub fn budget(budget: &Budget) -> String {
    format!("{}/{}", money(budget.amount), period(budget.per))
}

/// Millionths as `0.50`: at least two digits behind the point, and no zeros behind those.
#[must_use]
pub fn money(millionths: u64) -> String {
    let part = format!("{:06}", millionths % 1_000_000);
    let shown = part.trim_end_matches('0').len().max(2);
    format!("{}.{}", millionths / 1_000_000, &part[..shown])
}

/// How errors are told, as it is written.
#[must_use]
pub fn skin(skin: Skin) -> &'static str {
    match skin {
        Skin::Native => "native",
        Skin::BrightData => "brightdata",
        Skin::Oxylabs => "oxylabs",
        Skin::Apify => "apify",
    }
}

/// Which family of addresses is tried first, as it is written.
#[must_use]
pub fn preference(preference: FamilyPreference) -> &'static str {
    match preference {
        FamilyPreference::Any => "any",
        FamilyPreference::Ipv4First => "ipv4",
        FamilyPreference::Ipv6First => "ipv6",
        FamilyPreference::Ipv4Only => "ipv4-only",
        FamilyPreference::Ipv6Only => "ipv6-only",
    }
}

/// A name server as one would write it, and the name in its certificate.
#[must_use]
pub fn name_server(server: &NameServer) -> String {
    match &server.protocol {
        NameServerProtocol::Plain => server.address.to_string(),
        NameServerProtocol::Tls { name } => format!("tls://{} name={name}", server.address),
        NameServerProtocol::Https { name, path } => {
            format!("https://{}{} name={name}", server.address, bare_url(path))
        }
    }
}

/// What is served as a PAC file.
#[must_use]
pub fn pac(pac: &Pac) -> String {
    let mut text = match &pac.proxy {
        Some(proxy) => format!("proxy {proxy}"),
        None => "proxy as asked".to_owned(),
    };
    if pac.secure {
        text.push_str(", secure");
    }
    if !pac.direct.is_empty() {
        let _ = write!(text, ", direct {}", list(pac.direct.iter().map(target)));
    }
    if pac.fallback_direct {
        text.push_str(", fallback-direct");
    }
    text
}

/// Whose TLS is opened, and by which authority.
#[must_use]
pub fn intercept(intercept: &Intercept) -> String {
    let mut text = match &intercept.authority {
        Some(files) => {
            format!("ca {} with {}", files.cert.value.display(), files.key.value.display())
        }
        None => "ca of the state folder".to_owned(),
    };
    for (name, targets) in [("host", &intercept.hosts), ("except", &intercept.except)] {
        if !targets.is_empty() {
            let _ = write!(text, ", {name} {}", list(targets.iter().map(target)));
        }
    }
    if !intercept.trust.is_empty() {
        let files = intercept.trust.iter().map(|file| file.value.display());
        let _ = write!(text, ", trust {}", list(files));
    }
    let _ = write!(text, ", certificates {}", intercept.certificates);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calendar;

    #[test]
    fn what_is_shown_can_be_read() {
        for text in ["Mon-Fri 08:00-18:00", "Mon,Wed-Fri,Sun", "22:00-06:00", "Sat,Sun 00:30-24:00"]
        {
            assert_eq!(hours(&calendar::hours(text).unwrap()), text);
        }
        for text in ["5.00/month", "0.000001/day", "12.345/day"] {
            assert_eq!(budget(&calendar::budget(text).unwrap()), text);
        }
        assert_eq!(quota(&calendar::quota("10GiB/month").unwrap()), "10GiB/month");
        assert_eq!(moment(calendar::moment("2027-01-31").unwrap()), "2027-01-31T00:00:00Z");
    }
}
