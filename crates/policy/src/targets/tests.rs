use std::io::Write as _;
use std::time::Duration;

use config::{
    ByteLimit, Limits, ListSource, Spanned, TargetPattern, TargetRule, Timeouts, Verdict,
};
use jiff::Timestamp;
use proptest::prelude::*;

use super::*;

const DEFAULT_PORTS: [(u16, u16); 3] = [(80, 80), (443, 443), (1024, 65535)];

pub(super) fn span() -> Span {
    Span::from((7, 3))
}

/// A stand-in for the real classification: enough of it for the rules to be asked.
fn closed(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_unspecified(),
        IpAddr::V6(v6) => {
            v6.is_loopback() || v6.is_unspecified() || v6.segments()[..2] == [0x64, 0xff9b]
        }
    }
}

pub(super) fn forward(rules: Vec<TargetRule>, ports: &[(u16, u16)]) -> Forward {
    let second = Duration::from_secs(1);
    let limits = Limits {
        head_bytes: 1,
        fields: 1,
        body: ByteLimit::Unlimited,
        min_rate: None,
        min_rate_grace: second,
        connections_per_client: None,
        requests_per_connection: 1,
        streams: 1,
    };
    let timeouts = Timeouts {
        header: second,
        idle: second,
        tunnel_idle: second,
        connect: second,
        response: second,
    };
    let listen = "127.0.0.1:3128".parse().unwrap();
    Forward { ports: ports.to_vec(), rules, ..Forward::new(listen, limits, timeouts, span()) }
}

pub(super) fn pattern(text: &str) -> TargetPattern {
    if text == "*" {
        TargetPattern::Any
    } else if let Some(path) = text.strip_prefix("list=") {
        TargetPattern::List(Spanned { value: ListSource::File(path.into()), span: span() })
    } else if let Ok(net) = text.parse() {
        TargetPattern::Net(net)
    } else if let Some(suffix) = text.strip_prefix('*') {
        TargetPattern::Subdomains(suffix.into())
    } else {
        TargetPattern::Domain(text.into())
    }
}

/// `deny a.example 10.0.0.0/8 port=25`
fn rule(text: &str) -> TargetRule {
    let mut words = text.split(' ');
    let verdict = match words.next().unwrap() {
        "allow" => Verdict::Allow,
        "deny" => Verdict::Deny,
        other => panic!("{other}"),
    };
    let (mut targets, mut ports) = (Vec::new(), Vec::new());
    for word in words {
        match word.strip_prefix("port=") {
            Some(port) => ports.push((port.parse().unwrap(), port.parse().unwrap())),
            None => targets.push(pattern(word)),
        }
    }
    TargetRule { ports, ..TargetRule::new(verdict, targets, span()) }
}

pub(super) fn own() -> OwnAddresses {
    OwnAddresses {
        admin: vec!["127.0.0.1:9901".parse().unwrap()],
        forwards: vec!["127.0.0.1:3128".parse().unwrap()],
        sites: vec!["[::]:8443".parse().unwrap()],
        local: vec!["203.0.113.7".parse().unwrap()],
    }
}

fn targets(rules: &[&str]) -> Targets {
    let rules = rules.iter().map(|text| rule(text)).collect();
    Targets::build(&forward(rules, &DEFAULT_PORTS), &own(), closed, &mut RuleSources::default())
        .unwrap_or_else(|errors| panic!("{errors:?}"))
}

pub(super) fn asked(name: &str, port: u16, entry: Entry) -> Asked<'_> {
    Asked::new(HostRef::Name(name), port, entry, Timestamp::UNIX_EPOCH)
}

/// The word for what becomes of `name=address:port` or of a bare `address:port`, through
/// both questions, as the data plane asks them.
fn outcome(targets: &Targets, target: &str) -> &'static str {
    let (host, address) = match target.split_once('=') {
        Some((name, address)) => (HostRef::Name(name), address.parse::<SocketAddr>().unwrap()),
        None => {
            let address: SocketAddr = target.parse().unwrap();
            (HostRef::Address(address.ip()), address)
        }
    };
    let asked = Asked::new(host, address.port(), Entry::Connect, Timestamp::UNIX_EPOCH);
    let checked = targets.check(&asked, address);
    match targets.admit(&asked) {
        Admission::Refused(reason) => {
            assert!(
                checked.is_err() || reason == Reason::PortNotAllowed,
                "{target}: refused at once, but not when checked"
            );
            reason.as_str()
        }
        Admission::Allowed => {
            assert!(matches!(host, HostRef::Address(_)));
            assert!(checked.is_ok(), "{target}");
            "ok"
        }
        Admission::AfterResolution => checked.map_or_else(Reason::as_str, |_| "ok"),
    }
}

#[track_caller]
fn expect(rules: &[&str], cases: &[(&str, &str)]) {
    let targets = targets(rules);
    for (target, expected) in cases {
        assert_eq!(outcome(&targets, target), *expected, "{target} under {rules:?}");
    }
}

#[test]
fn without_rules_the_public_is_open_and_the_private_closed() {
    expect(
        &[],
        &[
            ("a.example=192.0.2.1:443", "ok"),
            ("192.0.2.1:443", "ok"),
            ("a.example=10.0.0.1:443", "address_closed"),
            ("10.0.0.1:443", "address_closed"),
            ("localhost=127.0.0.1:8080", "address_closed"),
            ("[::ffff:10.0.0.1]:443", "address_closed"),
            ("a.example=[::ffff:127.0.0.1]:443", "address_closed"),
            ("a.example=192.0.2.1:22", "port_not_allowed"),
        ],
    );
}

#[test]
fn the_first_rule_that_matches_decides() {
    expect(
        &["deny 10.9.0.0/16", "allow 10.0.0.0/8", "deny *.ads.example", "allow ads.example"],
        &[
            ("10.9.1.1:443", "denied_by_rule"),
            ("x.example=10.9.1.1:443", "denied_by_rule"),
            ("10.8.1.1:443", "ok"),
            ("x.example=10.8.1.1:443", "ok"),
            ("x.ads.example=192.0.2.1:443", "denied_by_rule"),
            ("ads.example=192.0.2.1:443", "ok"),
            // An earlier rule about the address wins over a later one about the name.
            ("x.ads.example=10.8.1.1:443", "ok"),
        ],
    );
    expect(
        &["deny ads.example", "allow 10.0.0.0/8"],
        &[("ads.example=10.8.1.1:443", "denied_by_rule"), ("10.8.1.1:443", "ok")],
    );
}

#[test]
fn only_a_network_opens_what_is_closed() {
    let rebound = ["rebound.example=10.0.0.5:443", "www.rebound.example=127.0.0.1:443"];
    for rules in [
        &["allow rebound.example"][..],
        &["allow *.rebound.example rebound.example"],
        &["allow *"],
        // The first that matches decides, though a later one would open it.
        &["allow rebound.example", "allow 10.0.0.0/8 127.0.0.0/8"],
        &["allow * 192.168.0.0/16"],
    ] {
        expect(rules, &rebound.map(|target| (target, "address_closed")));
        expect(rules, &[("rebound.example=192.0.2.1:443", "ok")]);
    }
    expect(&["allow *"], &[("10.0.0.5:443", "address_closed")]);
    for rules in [
        &["allow rebound.example 10.0.0.0/8 127.0.0.0/8"][..],
        &["allow * 10.0.0.5/32 127.0.0.1/32"],
        &["allow 10.0.0.0/8 127.0.0.0/8", "allow rebound.example"],
        &["allow 0.0.0.0/0"],
    ] {
        expect(rules, &rebound.map(|target| (target, "ok")));
        expect(rules, &[("10.0.0.5:443", "ok")]);
    }
}

#[test]
fn everything_but_what_is_allowed_can_be_closed() {
    expect(
        &["allow good.example", "allow 192.0.2.0/24", "deny *"],
        &[
            ("good.example=198.51.100.1:443", "ok"),
            ("bad.example=198.51.100.1:443", "denied_by_rule"),
            ("bad.example=192.0.2.1:443", "ok"),
            ("198.51.100.1:443", "denied_by_rule"),
            ("[2001:db8::1]:443", "denied_by_rule"),
        ],
    );
}

#[test]
fn a_rule_with_ports_is_about_those_ports() {
    expect(
        &["deny a.example port=443", "allow 10.0.0.0/8 port=8080"],
        &[
            ("a.example=192.0.2.1:443", "denied_by_rule"),
            ("a.example=192.0.2.1:80", "ok"),
            ("10.0.0.1:8080", "ok"),
            ("10.0.0.1:8081", "address_closed"),
        ],
    );
}

#[test]
fn no_rule_opens_the_admin_or_a_forward_listener() {
    let mut cases = Vec::new();
    let addresses = [
        "127.0.0.1",
        "0.0.0.0",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:0.0.0.0]",
        "[::127.0.0.1]",
        "[64:ff9b::127.0.0.1]",
        "[2002:7f00:1::]",
    ];
    for address in addresses {
        for (port, reason) in [(9901, "admin_listener"), (3128, "own_listener")] {
            cases.push((format!("{address}:{port}"), reason));
            cases.push((format!("rebound.example={address}:{port}"), reason));
        }
    }
    let cases: Vec<(&str, &str)> =
        cases.iter().map(|(target, reason)| (target.as_str(), *reason)).collect();
    for rules in [
        &["allow *"][..],
        &["allow 0.0.0.0/0 ::/0"],
        &["allow 127.0.0.1/32"],
        &["allow rebound.example", "allow 127.0.0.0/8"],
    ] {
        expect(rules, &cases);
    }
}

#[test]
fn a_site_of_ours_is_opened_by_a_rule_that_names_its_address() {
    let cases = ["127.0.0.1:8443", "203.0.113.7:8443", "[::1]:8443", "x.example=127.0.0.1:8443"];
    for rules in [&[][..], &["allow *"], &["allow 0.0.0.0/0 ::/0"], &["allow x.example"]] {
        let refused: Vec<_> = cases.iter().map(|case| (*case, "own_listener")).collect();
        expect(rules, &refused);
    }
    expect(
        &["allow x.example 203.0.113.7/32", "allow 127.0.0.0/8"],
        &[
            ("127.0.0.1:8443", "ok"),
            ("[::ffff:127.0.0.1]:8443", "ok"),
            ("203.0.113.7:8443", "ok"),
            ("[::1]:8443", "own_listener"),
            ("x.example=203.0.113.7:8443", "ok"),
        ],
    );
    expect(&["deny 127.0.0.1/32", "allow 127.0.0.0/8"], &[("127.0.0.1:8443", "denied_by_rule")]);
}

#[test]
fn a_refused_network_is_refused_in_every_form_and_an_opened_one_only_in_its_own() {
    expect(
        &["deny 198.51.100.0/24", "allow 64:ff9b::/96", "allow 10.0.0.0/8"],
        &[
            ("198.51.100.1:443", "denied_by_rule"),
            ("[::ffff:198.51.100.1]:443", "denied_by_rule"),
            ("[64:ff9b::198.51.100.1]:443", "denied_by_rule"),
            ("[2002:c633:6401::1]:443", "denied_by_rule"),
            ("[64:ff9b::192.0.2.1]:443", "ok"),
        ],
    );
    expect(&["allow 10.0.0.0/8"], &[("[64:ff9b::10.0.0.1]:443", "address_closed")]);
}

#[test]
fn a_name_is_refused_before_it_is_resolved_where_no_address_could_save_it() {
    let admit = |rules: &[&str]| targets(rules).admit(&asked("a.example", 443, Entry::Connect));
    let refused_by = |id| Admission::Refused(Reason::DeniedByRule(RuleId(id)));
    assert_eq!(admit(&[]), Admission::AfterResolution);
    assert_eq!(admit(&["deny a.example"]), refused_by(0));
    assert_eq!(admit(&["deny *"]), refused_by(0));
    assert_eq!(admit(&["deny 10.0.0.0/8", "deny a.example"]), refused_by(1));
    assert_eq!(admit(&["allow 10.0.0.0/8", "deny a.example"]), Admission::AfterResolution);
    assert_eq!(admit(&["allow a.example", "deny *"]), Admission::AfterResolution);
    assert_eq!(admit(&["deny a.example port=80"]), Admission::AfterResolution);
    assert_eq!(admit(&["deny b.example 10.0.0.0/8"]), Admission::AfterResolution);
}

#[test]
fn ports_are_those_of_the_listener_and_mail_is_closed_unless_named() {
    let open = |ports: &[(u16, u16)], port, entry| {
        let built = Targets::build(
            &forward(Vec::new(), ports),
            &own(),
            closed,
            &mut RuleSources::default(),
        );
        let Ok(targets) = built else { panic!("no rules, no errors") };
        targets.admit(&asked("a.example", port, entry)) == Admission::AfterResolution
    };
    for entry in [Entry::Connect, Entry::Socks] {
        for (port, expected) in
            [(0, false), (22, false), (25, false), (80, true), (443, true), (1024, true)]
        {
            assert_eq!(open(&DEFAULT_PORTS, port, entry), expected, "{port} {entry:?}");
        }
        assert!(!open(&[(0, 65535)], 0, entry));
        assert!(!open(&[(1, 65535)], 25, entry));
        assert!(open(&[(1, 65535), (25, 25)], 25, entry));
        assert!(open(&[(1, 65535)], 587, entry));
        assert!(!open(&[], 443, entry));
    }
    for (port, expected) in [(0, false), (25, false), (465, false), (587, false), (81, true)] {
        assert_eq!(open(&[(1, 65535)], port, Entry::Plain), expected, "{port}");
    }
    assert!(open(&[(25, 25), (587, 587)], 25, Entry::Plain));
    assert!(open(&[(25, 25), (587, 587)], 587, Entry::Plain));
}

#[test]
fn a_list_closes_its_domains_and_opens_nothing_that_is_closed() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"listed.example\n0.0.0.0 host.example\nnonsense/\n").unwrap();
    let list = format!("list={}", file.path().display());
    let deny = targets(&[&format!("deny {list}")]);
    assert_eq!(outcome(&deny, "www.listed.example=192.0.2.1:443"), "denied_by_rule");
    assert_eq!(outcome(&deny, "host.example=192.0.2.1:443"), "denied_by_rule");
    assert_eq!(outcome(&deny, "www.host.example=192.0.2.1:443"), "ok");
    assert_eq!(outcome(&deny, "192.0.2.1:443"), "ok");
    assert_eq!(deny.sources(), [file.path()]);
    assert_eq!(deny.lists().next().unwrap().skipped(), 1);

    let allow = targets(&[&format!("allow {list} 10.1.0.0/16"), "deny *"]);
    assert_eq!(outcome(&allow, "listed.example=192.0.2.1:443"), "ok");
    assert_eq!(outcome(&allow, "listed.example=10.0.0.1:443"), "address_closed");
    assert_eq!(outcome(&allow, "listed.example=10.1.0.1:443"), "ok");
    assert_eq!(outcome(&allow, "other.example=192.0.2.1:443"), "denied_by_rule");
    assert_eq!(outcome(&allow, "listed.example=127.0.0.1:8443"), "own_listener");
}

#[test]
fn a_rule_can_be_told_in_a_log() {
    let targets = targets(&["deny *.ads.example 10.0.0.0/8 port=80 port=443"]);
    let asked = asked("x.ads.example", 443, Entry::Socks);
    let Admission::Refused(Reason::DeniedByRule(rule)) = targets.admit(&asked) else {
        panic!("refused by the rule");
    };
    assert_eq!(targets.rule_text(rule), "deny \"*.ads.example\" \"10.0.0.0/8\" ports 80,443");
    assert_eq!(targets.rule_span(rule), Some(span()));
}

#[test]
fn every_list_that_is_missing_is_an_error_at_its_place() {
    let rules = vec![rule("deny list=/nonexistent/a"), rule("allow list=/nonexistent/b")];
    let built = Targets::build(
        &forward(rules, &DEFAULT_PORTS),
        &own(),
        closed,
        &mut RuleSources::default(),
    );
    let Err(errors) = built else { panic!("two files are missing") };
    assert_eq!(errors.len(), 2);
    assert!(errors[0].message.contains("/nonexistent/a"), "{}", errors[0].message);
    assert_eq!(errors[1].span, Some(span()));
}

#[test]
fn targets_are_shared_by_all_cores() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<Targets>();
}

/// The documented order of decisions, written as directly as possible. No lists, and no
/// embedded addresses among the probes.
fn model(rules: &[String], host: HostRef<'_>, address: SocketAddr) -> &'static str {
    let ip = address.ip();
    match address.to_string().as_str() {
        "127.0.0.1:9901" => return "admin_listener",
        "127.0.0.1:3128" => return "own_listener",
        _ => {}
    }
    let is_site = address.port() == 8443 && (ip.is_loopback() || ip.to_string() == "203.0.113.7");
    for text in rules {
        let rule = rule(text);
        let in_net = |net: &ipnet::IpNet| net.contains(&ip);
        let port_fits =
            rule.ports.is_empty() || rule.ports.contains(&(address.port(), address.port()));
        let matches = |target: &TargetPattern| match (target, host) {
            (TargetPattern::Any, _) => true,
            (TargetPattern::Net(net), _) => in_net(net),
            (TargetPattern::Domain(domain), HostRef::Name(name)) => {
                name == domain || name.ends_with(&format!(".{domain}"))
            }
            (TargetPattern::Subdomains(suffix), HostRef::Name(name)) => name.ends_with(suffix),
            _ => false,
        };
        if !port_fits || !rule.targets.iter().any(matches) {
            continue;
        }
        let opens_it = rule
            .targets
            .iter()
            .any(|target| matches!(target, TargetPattern::Net(net) if in_net(net)));
        let names_it = rule.targets.iter().any(|target| match target {
            TargetPattern::Net(net) => net.prefix_len() > 0 && in_net(net),
            _ => false,
        });
        return match rule.verdict {
            Verdict::Deny => "denied_by_rule",
            Verdict::Allow if is_site && !names_it => "own_listener",
            Verdict::Allow if !is_site && closed(ip) && !opens_it => "address_closed",
            Verdict::Allow => "ok",
        };
    }
    match (is_site, closed(ip)) {
        (true, _) => "own_listener",
        (false, true) => "address_closed",
        (false, false) => "ok",
    }
}

fn any_rule() -> impl Strategy<Value = String> {
    let target = prop::sample::select(vec![
        "*",
        "0.0.0.0/0",
        "10.0.0.0/8",
        "127.0.0.0/8",
        "192.0.2.0/24",
        "203.0.113.7/32",
        "2001:db8::/32",
        "a.example",
        "*.a.example",
        "b.a.example",
        "example",
    ]);
    let verdict = prop::sample::select(vec!["allow", "deny"]);
    let port = prop::option::weighted(0.2, prop::sample::select(vec![443, 8443, 9901]));
    (verdict, prop::collection::vec(target, 1..3), port).prop_map(|(verdict, targets, port)| {
        let mut text = format!("{verdict} {}", targets.join(" "));
        if let Some(port) = port {
            text += &format!(" port={port}");
        }
        text
    })
}

proptest! {
    #[test]
    fn equals_the_naive_model_for_every_host_and_address(
        rules in prop::collection::vec(any_rule(), 0..5),
    ) {
        let texts: Vec<&str> = rules.iter().map(String::as_str).collect();
        let targets = targets(&texts);
        for ip in ["10.1.1.1", "127.0.0.1", "192.0.2.1", "203.0.113.7", "[2001:db8::1]", "[::1]"] {
            for port in [443, 3128, 8443, 9901] {
                let literal = format!("{ip}:{port}");
                let address: SocketAddr = literal.parse().unwrap();
                prop_assert_eq!(
                    outcome(&targets, &literal),
                    model(&rules, HostRef::Address(address.ip()), address),
                    "{} under {:?}", literal, rules
                );
                for name in ["a.example", "b.a.example", "c.example", "other.test"] {
                    let expected = model(&rules, HostRef::Name(name), address);
                    let got = outcome(&targets, &format!("{name}={literal}"));
                    // A name that no address could save is refused without asking whether
                    // the address is one of ours.
                    let early = got == "denied_by_rule" && expected.ends_with("_listener");
                    prop_assert!(
                        got == expected || early,
                        "{} at {} is {}, not {} under {:?}", name, literal, got, expected, rules
                    );
                }
            }
        }
    }
}
