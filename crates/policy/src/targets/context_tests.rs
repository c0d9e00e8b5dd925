//! Rules that say more than targets.

use config::{Country, Hours, RuleContext, Spanned, TargetRule, Verdict, WayOut, Weekdays};

use super::tests::{asked, forward, own, pattern, span};
use super::*;
use crate::geo::Geo;
use crate::geo::tests::database::{Database, Value};
use crate::rules::{Fit, Ground, Unfit};

const HTTPS: u16 = 443;

/// `deny a.example 10.0.0.0/8 method=GET country=KP …`
fn rule(text: &str) -> TargetRule {
    let mut words = text.split(' ');
    let verdict = match words.next() {
        Some("allow") => Verdict::Allow,
        _ => Verdict::Deny,
    };
    let mut rule = TargetRule::new(verdict, Vec::new(), span());
    let context = &mut rule.context;
    for word in words {
        let spanned = |value: &str| Spanned { value: value.to_owned(), span: span() };
        match word.split_once('=') {
            Some(("method", value)) => context.methods.push(value.into()),
            Some(("user", value)) => context.users.push(value.into()),
            Some(("agent", value)) => context.agents.push(spanned(value)),
            Some(("country", value)) => context.countries.extend(Country::parse(value)),
            Some(("type", value)) => context.types.push(value.into()),
            Some(("hours", value)) => {
                let (from, until) = value.split_once('-').unwrap();
                let days = Weekdays(0b111_1111);
                let minute = |hour: &str| hour.parse::<u16>().unwrap() * 60;
                context.hours.push(Hours { days, from: minute(from), until: minute(until) });
            }
            Some(("exit", value)) => rule.exit = Some(WayOut::Pool(value.parse().unwrap())),
            Some(("regex", value)) => {
                rule.targets.push(config::TargetPattern::Regex(spanned(value)));
            }
            _ => rule.targets.push(pattern(word)),
        }
    }
    rule
}

fn geo() -> Arc<Geo> {
    let database = Database::new("GeoLite2-Country")
        .with("192.0.2.0/24", &Value::place("KP", "", "", ""))
        .with("198.51.100.0/24", &Value::place("CA", "", "", ""));
    Arc::new(Geo::of(database.bytes()))
}

fn rule_set(rules: &[&str]) -> RuleSet {
    let rules: Vec<TargetRule> = rules.iter().map(|text| rule(text)).collect();
    let mut errors = Vec::new();
    let set =
        RuleSet::build(&rules, &TimeZone::UTC, &mut RuleSources::new(None, geo()), &mut errors);
    assert!(errors.is_empty(), "{errors:?}");
    set
}

fn build(rules: &[&str]) -> Targets {
    let rules = rules.iter().map(|text| rule(text)).collect();
    let closed = |ip: IpAddr| matches!(ip, IpAddr::V4(v4) if v4.is_private() || v4.is_loopback());
    let forward = forward(rules, &[(1, 65535)]);
    let mut sources = RuleSources::new(None, geo());
    let mut targets = Targets::build(&forward, &own(), closed, &mut sources).unwrap();
    // The time zone of the machine is not for a test to know.
    targets.rules = RuleSet::build(&forward.rules, &TimeZone::UTC, &mut sources, &mut Vec::new());
    targets
}

fn at(ip: &str) -> SocketAddr {
    SocketAddr::new(ip.parse().unwrap(), HTTPS)
}

/// In Canada.
const CANADA: &str = "198.51.100.1";
/// In North Korea.
const KOREA: &str = "192.0.2.1";
/// Nobody knows where.
const NOWHERE: &str = "203.0.113.99";

#[test]
fn everything_that_a_rule_says_has_to_be_true() {
    let rules = ["deny a.example method=POST method=PUT user=bob agent=(?i)bot hours=8-18"];
    let targets = build(&rules);
    let noon = "2026-03-02T12:00:00Z".parse().unwrap();
    let all = Asked {
        method: "PUT",
        user: Some("bob"),
        agent: Some(b"a \xff Robot/1.0"),
        now: noon,
        ..asked("www.a.example", HTTPS, Entry::Plain)
    };
    let refused = Admission::Refused(Reason::DeniedByRule(RuleId(0)));
    assert_eq!(targets.admit(&all), refused);
    assert!(targets.check(&all, at(CANADA)).is_err());
    for (other, why) in [
        (Asked { method: "GET", ..all }, Unfit::Method),
        (Asked { method: "put", ..all }, Unfit::Method),
        (Asked { user: Some("alice"), ..all }, Unfit::User),
        (Asked { user: None, ..all }, Unfit::User),
        (Asked { agent: Some(b"curl/8"), ..all }, Unfit::Agent),
        (Asked { agent: None, ..all }, Unfit::Agent),
        (Asked { now: "2026-03-02T18:00:00Z".parse().unwrap(), ..all }, Unfit::Hours),
        (Asked { host: HostRef::Name("b.example"), ..all }, Unfit::Target),
    ] {
        assert_eq!(targets.admit(&other), Admission::AfterResolution, "{other:?}");
        assert_eq!(targets.check(&other, at(CANADA)), Ok(Passed { rule: None }));
        assert_eq!(targets.consider(&other, None)[0].fit, Fit::No(why));
    }
    assert_eq!(
        targets.rule_text(RuleId(0)),
        "deny \"a.example\" method=\"POST\" method=\"PUT\" user=\"bob\" agent=\"(?i)bot\" \
         hours=\"Mon-Sun 08:00-18:00\""
    );
}

#[test]
fn a_rule_without_targets_is_about_all_of_them() {
    let targets = build(&["deny user=bob"]);
    for host in [HostRef::Name("a.example"), HostRef::Address(CANADA.parse().unwrap())] {
        let bob = Asked { host, user: Some("bob"), ..asked("", HTTPS, Entry::Connect) };
        assert!(matches!(targets.admit(&bob), Admission::Refused(_)), "{host:?}");
        assert!(!matches!(targets.admit(&Asked { user: None, ..bob }), Admission::Refused(_)));
    }
}

#[test]
fn a_country_is_that_of_the_address_and_nothing_is_said_before() {
    let targets = build(&["deny country=KP", "allow *.ca country=CA exit=7", "deny *.ca"]);
    let name = asked("shop.ca", HTTPS, Entry::Connect);
    assert_eq!(targets.admit(&name), Admission::AfterResolution);
    let denied = |id| Err(Reason::DeniedByRule(RuleId(id)));
    assert_eq!(targets.check(&name, at(KOREA)), denied(0));
    assert_eq!(targets.check(&name, at(NOWHERE)), denied(2));
    let passed = targets.check(&name, at(CANADA)).unwrap();
    assert_eq!((passed.rule, targets.way_out(&passed)), (Some(RuleId(1)), Some(WayOut::Pool(7))));
    let none = targets.check(&asked("b.example", HTTPS, Entry::Connect), at(CANADA)).unwrap();
    assert_eq!((none, targets.way_out(&none)), (Passed::default(), None));
    let literal = Asked { host: HostRef::Address(KOREA.parse().unwrap()), ..name };
    assert_eq!(targets.admit(&literal), Admission::Refused(Reason::DeniedByRule(RuleId(0))));
    // Where it leads to an address there, it is there too.
    for text in ["::ffff:192.0.2.1", "64:ff9b::192.0.2.1", "2002:c000:201::1"] {
        assert_eq!(targets.check(&name, at(text)), denied(0), "{text}");
    }
    // No address could save it.
    let refused = build(&["allow country=CA b.example", "deny *"]);
    assert!(matches!(refused.admit(&name), Admission::Refused(_)));
}

#[test]
fn a_country_opens_nothing_that_is_closed_and_needs_a_database() {
    let targets = build(&["allow country=CA", "allow 10.0.0.0/8 user=bob"]);
    let name = asked("a.example", HTTPS, Entry::Connect);
    assert_eq!(targets.check(&name, at("10.0.0.1")), Err(Reason::AddressClosed));
    let bob = Asked { user: Some("bob"), ..name };
    assert_eq!(targets.check(&bob, at("10.0.0.1")), Ok(Passed { rule: Some(RuleId(1)) }));
    let bare = forward(vec![rule("deny country=KP"), rule("deny regex=(")], &[]);
    let errors = Targets::build(&bare, &own(), |_| false, &mut RuleSources::default()).unwrap_err();
    assert_eq!(errors.len(), 2);
    assert!(errors[0].help.as_ref().unwrap().contains("geoip"));
    assert!(errors[1].message.contains("regular expression"), "{}", errors[1].message);
}

#[test]
fn names_are_searched_for_regular_expressions() {
    let targets = build(&["deny regex=^ads[0-9]+\\. regex=track"]);
    for (name, expected) in [
        ("ads12.example", Some(Ground::Pattern(0))),
        ("a.tracker.example", Some(Ground::Pattern(1))),
        ("ads.example", None),
        ("www.ads1.example", None),
    ] {
        let considered = targets.consider(&asked(name, HTTPS, Entry::Connect), None);
        let fit = expected.map_or(Fit::No(Unfit::Target), Fit::Yes);
        assert_eq!((considered[0].fit, considered[0].decides), (fit, expected.is_some()), "{name}");
    }
    // An address is not a name.
    let literal = HostRef::Address("127.0.0.1".parse().unwrap());
    let targets = build(&["deny regex=."]);
    let asked = Asked { host: literal, ..asked("", HTTPS, Entry::Connect) };
    assert_eq!(targets.consider(&asked, None)[0].fit, Fit::No(Unfit::Target));
}

#[test]
fn where_the_exit_resolves_rules_about_addresses_are_passed_over_and_that_is_told() {
    let by_name =
        |rules: &[&str], name: &str| build(rules).pass_by_name(&asked(name, HTTPS, Entry::Connect));
    let passed = |rule: Option<u32>, undecided| {
        Ok(PassedByName { passed: Passed { rule: rule.map(RuleId) }, undecided })
    };
    let rules = ["deny country=KP", "allow 10.0.0.0/8", "allow a.example", "deny b.example"];
    assert_eq!(by_name(&rules, "a.example"), passed(Some(2), true));
    assert_eq!(by_name(&rules, "c.example"), passed(None, true));
    assert_eq!(by_name(&rules, "b.example"), Err(Reason::DeniedByRule(RuleId(3))));
    assert_eq!(by_name(&rules[2..], "a.example"), passed(Some(0), false));
    // Nothing behind the rule that decides leaves anything open.
    assert_eq!(
        by_name(&["allow a.example", "deny country=KP"], "a.example"),
        passed(Some(0), false)
    );
    // Only what is let through by its name passes.
    let closed = ["allow 10.0.0.0/8", "deny *"];
    assert_eq!(by_name(&closed, "a.example"), Err(Reason::DeniedByRule(RuleId(1))));
}

#[test]
fn rules_of_a_user_come_first_and_open_nothing() {
    let user = rule_set(&["allow good.social.example", "deny *.social.example", "deny country=KP"]);
    let targets = build(&["deny bad.example", "allow good.social.example", "allow 10.0.0.0/8"]);
    let asked = |name| Asked { rules: Some(&user), ..asked(name, HTTPS, Entry::Connect) };
    let by_user = |id| Reason::DeniedByUserRule(RuleId(id));
    assert_eq!(targets.admit(&asked("a.social.example")), Admission::Refused(by_user(1)));
    assert_eq!(targets.admit(&asked("good.social.example")), Admission::AfterResolution);
    assert_eq!(targets.check(&asked("a.example"), at(KOREA)), Err(by_user(2)));
    assert_eq!(targets.check(&asked("a.example"), at(CANADA)), Ok(Passed { rule: None }));
    // An allow of the user is none of the listener.
    let generous = rule_set(&["allow *", "allow 127.0.0.0/8"]);
    let generous =
        |name| Asked { rules: Some(&generous), ..tests::asked(name, HTTPS, Entry::Connect) };
    let refused = Admission::Refused(Reason::DeniedByRule(RuleId(0)));
    assert_eq!(targets.admit(&generous("bad.example")), refused);
    let loopback = targets.check(&generous("a.example"), at("127.0.0.1"));
    assert_eq!(loopback, Err(Reason::AddressClosed));
    let passed = targets.check(&generous("a.example"), at("10.0.0.1"));
    assert_eq!(passed, Ok(Passed { rule: Some(RuleId(2)) }));
    let all = targets.consider(&asked("a.social.example"), None);
    let told: Vec<(bool, bool)> = all.iter().map(|one| (one.of_user, one.decides)).collect();
    assert_eq!(told[..3], [(true, false), (true, true), (true, false)]);
    assert_eq!(told[3..], [(false, false); 3]);
    assert_eq!(all[1].fit.to_string(), "it has the name");
    assert!(targets.pass_by_name(&asked("a.example")).unwrap().undecided);
}

#[test]
fn types_are_asked_about_when_the_answer_is_there() {
    let targets = build(&[
        "allow good.example",
        "deny a.example type=Video/* type=text/html",
        "allow a.example",
        "deny b.example country=KP type=*/*",
    ]);
    let a = asked("a.example", 80, Entry::Plain);
    assert_eq!(targets.admit(&a), Admission::AfterResolution);
    assert!(targets.check(&a, at(CANADA)).is_ok() && targets.cares_for_types(&a));
    let typed = |name, address: Option<&str>, shown: Option<&str>| {
        let asked = asked(name, 80, Entry::Plain);
        let address = address.map(|text| text.parse().unwrap());
        targets.admit_type(&asked, address, shown.map(str::as_bytes))
    };
    let refused = |id| Err(Reason::DeniedByRule(RuleId(id)));
    for (shown, expected) in [
        (Some("video/mp4"), refused(1)),
        (Some(" VIDEO/mp4 ; codecs=x"), refused(1)),
        (Some("text/html;charset=utf-8"), refused(1)),
        (Some("text/htmlx"), Ok(())),
        (Some("videos/mp4"), Ok(())),
        (Some("video"), Ok(())),
        (None, Ok(())),
    ] {
        assert_eq!(typed("a.example", None, shown), expected, "{shown:?}");
    }
    // The first rule that matches decides.
    assert_eq!(typed("good.example", None, Some("video/mp4")), Ok(()));
    assert_eq!(typed("b.example", Some(KOREA), None), refused(3));
    assert_eq!(typed("b.example", Some(CANADA), Some("text/plain")), Ok(()));
    assert_eq!(typed("b.example", None, Some("text/plain")), Ok(()));
    let user = rule_set(&["deny type=image/*"]);
    let of_user = Asked { rules: Some(&user), ..asked("c.example", 80, Entry::Plain) };
    let refused = targets.admit_type(&of_user, None, Some(b"image/png"));
    assert_eq!(refused, Err(Reason::DeniedByUserRule(RuleId(0))));
    assert_eq!(targets.admit(&of_user), Admission::AfterResolution);
    let plain = build(&["deny x.example"]);
    assert!(!plain.cares_for_types(&a) && RuleContext::default().is_empty());
}
