use super::*;

fn limit(key: LimitKey, amount: u64, per: Duration) -> RateLimit {
    RateLimit { unit: RateUnit::Requests, amount, per, burst: 5, key, span: (0, 0).into() }
}

fn gate(rates: Vec<RateLimit>) -> Gate {
    let config = config::Gate { rates, ..config::Gate::default() };
    *Gate::build(&config, "site", || "here".to_owned()).unwrap()
}

#[test]
fn where_nothing_is_said_there_is_no_gate() {
    assert!(Gate::build(&config::Gate::default(), "site", String::new).is_none());
}

#[test]
fn limits_have_names_and_count_once() {
    let second = Duration::from_secs(1);
    let header = LimitKey::Header("x-api-key".to_owned());
    let gate = gate(vec![
        limit(LimitKey::ClientIp, 10, second),
        limit(LimitKey::ClientIp, 10, second),
        limit(LimitKey::ClientIp, 100, 60 * second),
        limit(header, 1, second),
        limit(LimitKey::Place, 1, second),
        RateLimit { unit: RateUnit::Bytes, ..limit(LimitKey::ClientIp, 10, second) },
    ]);
    let names: Vec<_> = gate.requests.iter().map(|limit| &*limit.name).collect();
    assert_eq!(names, ["\"site-client\"", "\"site-client-2\"", "\"site-x-api-key\"", "\"site\""]);
    assert_eq!(gate.bytes.len(), 1);
}

#[test]
fn what_is_told_of_limits_is_in_whole_seconds() {
    let millis = Duration::from_millis;
    let gate = gate(vec![
        limit(LimitKey::ClientIp, 600, Duration::from_secs(60)),
        limit(LimitKey::Place, 3, millis(1500)),
        limit(LimitKey::Place, u64::MAX, millis(1)),
    ]);
    let standing = |remaining, full, retry| Standing {
        admitted: true,
        remaining,
        full_in: millis(full),
        retry_after: millis(retry),
    };
    let standings = [standing(9, 100, 0), standing(0, 1500, 500), standing(u64::MAX, 0, 0)];
    let mut noted = Noted::default();
    tell_limits(&mut noted, gate.requests.iter().zip(standings));
    assert_eq!(
        noted.take_fields(),
        [
            (
                "RateLimit-Policy",
                "\"site-client\";q=600;w=60, \"site\";q=4;w=2, \"site-2\";q=999999999999999;w=1"
                    .to_owned()
            ),
            (
                "RateLimit",
                "\"site-client\";r=9;t=1, \"site\";r=0;t=1, \"site-2\";r=999999999999999;t=0"
                    .to_owned()
            ),
        ]
    );
    assert!(noted.take_fields().is_empty());
}

#[test]
fn a_realm_is_quoted() {
    let config = config::BasicAuth {
        users: 0,
        realm: "the \"inner\" c\\ircle\n".to_owned(),
        span: (0, 0).into(),
    };
    let gate = config::Gate { basic: Some(config), ..config::Gate::default() };
    let gate = Gate::build(&gate, "site", String::new).unwrap();
    let challenge = &gate.basic.unwrap().challenge;
    assert_eq!(challenge, r#"Basic realm="the \"inner\" c\\ircle", charset="UTF-8""#);
}
