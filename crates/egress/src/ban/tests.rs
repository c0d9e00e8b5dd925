use std::sync::Arc;
use std::time::Duration;

use config::{BanRule, BanScope, BanSign};
use proptest::prelude::*;

use super::{BODY_LIMIT, BanPlan, BanRecord, Marks, Sign, Threshold};
use crate::NoExit;
use crate::fixture::{Ask, T0, World, exits, name, pool, span};

fn rule(signs: Vec<BanSign>) -> BanRule {
    BanRule {
        signs,
        count: 1,
        within: Duration::from_secs(60),
        time: Duration::from_secs(10),
        scope: BanScope::Exit,
        span: span(),
    }
}

fn answer(status: u16, marks: Marks) -> Sign {
    Sign::Answer { status, first_byte: Duration::from_millis(5), retry_after: None, marks }
}

fn fits(plan: &BanPlan, sign: &Sign) -> Vec<usize> {
    plan.fitting(sign).map(|(number, _)| number).collect()
}

#[test]
fn signs_fit_their_rules() {
    let header = |name: &str, contains: Option<&str>| BanSign::Header {
        name: name.into(),
        contains: contains.map(Into::into),
    };
    let plan = BanPlan::build(&[
        rule(vec![BanSign::Status(403), BanSign::Status(429)]),
        rule(vec![header("cf-mitigated", None), header("x-block", Some("Captcha"))]),
        rule(vec![BanSign::Reset, BanSign::Unreachable]),
        rule(vec![BanSign::Slower(Duration::from_secs(2))]),
    ])
    .unwrap();
    assert_eq!(fits(&plan, &answer(403, Marks::default())), [0]);
    assert!(fits(&plan, &answer(200, Marks::default())).is_empty());
    let look =
        |name: &str, value: &str| plan.fields([(name.as_bytes(), value.as_bytes())].into_iter());
    assert!(plan.wants_fields());
    assert_eq!(fits(&plan, &answer(200, look("CF-Mitigated", "challenge"))), [1]);
    assert_eq!(fits(&plan, &answer(429, look("X-Block", "a CAPTCHA page"))), [0, 1]);
    assert!(look("X-Block", "none").is_empty());
    assert_eq!(fits(&plan, &Sign::Reset), [2]);
    assert_eq!(fits(&plan, &Sign::Unreachable), [2]);
    assert_eq!(fits(&plan, &Sign::FirstByte(Duration::from_millis(2001))), [3]);
    assert!(fits(&plan, &Sign::FirstByte(Duration::from_secs(2))).is_empty());
    assert!(fits(&plan, &Sign::Done).is_empty() && fits(&plan, &Sign::Connected).is_empty());
}

#[test]
fn a_pool_has_no_more_rules_than_can_be_counted() {
    let statuses = |count: u16| (0..count).map(|at| rule(vec![BanSign::Status(400 + at)]));
    assert!(BanPlan::build(&statuses(64).collect::<Vec<_>>()).is_ok());
    assert!(BanPlan::build(&statuses(65).collect::<Vec<_>>()).is_err());
    let texts = |count: usize| vec![rule(vec![BanSign::Body("x".into()); count])];
    assert!(BanPlan::build(&texts(64)).is_ok());
    assert!(BanPlan::build(&texts(65)).is_err());
}

proptest! {
    /// A text is found wherever the body is cut, and only in the part that is searched.
    #[test]
    fn a_text_is_found_across_any_cuts(
        before in 0..200_usize,
        after in 0..200_usize,
        cuts in proptest::collection::vec(1..40_usize, 1..20),
        is_there: bool,
    ) {
        let plan = BanPlan::build(&[rule(vec![
            BanSign::Body("access denied".into()),
            BanSign::Body("#".into()),
        ])]).unwrap();
        let mut body = vec![b'a'; before];
        if is_there {
            body.extend(b"access denied");
        }
        body.extend(vec![b' '; after]);
        let mut search = plan.body().unwrap();
        let mut found = Marks::default();
        let mut rest = &body[..];
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (now, later) = rest.split_at((*cut).min(rest.len()));
            found = found.with(search.feed(&plan, now));
            rest = later;
        }
        prop_assert_eq!(!found.is_empty(), is_there);
    }
}

#[test]
fn only_the_beginning_of_a_body_is_searched() {
    let plan = BanPlan::build(&[rule(vec![BanSign::Body("blocked".into())])]).unwrap();
    let mut search = plan.body().unwrap();
    assert!(search.feed(&plan, &vec![b' '; BODY_LIMIT - 7]).is_empty());
    assert!(!search.feed(&plan, b"blocked").is_empty());
    assert!(search.is_over());
    let mut search = plan.body().unwrap();
    assert!(search.feed(&plan, &vec![b' '; BODY_LIMIT - 6]).is_empty());
    assert!(search.feed(&plan, b"blocked").is_empty());
}

#[test]
fn signs_are_counted_within_a_time() {
    let mut three = rule(vec![BanSign::Reset]);
    three.count = 3;
    let threshold = Threshold::of(&three);
    let why: Arc<str> = "reset".into();
    let mut record = BanRecord::default();
    let mut sign = |now: u64| record.sign(1, &threshold, &why, now);
    assert_eq!((sign(0), sign(1000), sign(60_001)), (None, None, None));
    assert_eq!(sign(60_002), Some(10_000));
    // What comes while it lasts is not counted.
    assert_eq!((sign(60_003), sign(60_004), sign(60_005)), (None, None, None));
    assert_eq!((sign(70_002), sign(70_003)), (None, None));
    assert_eq!(sign(70_004), Some(20_000));
}

#[test]
fn bans_double_and_halve() {
    let threshold = Threshold::of(&rule(vec![BanSign::Reset]));
    let why: Arc<str> = "reset".into();
    let mut record = BanRecord::default();
    let mut now = 0;
    let mut lengths = Vec::new();
    for _ in 0..7 {
        let length = record.sign(1, &threshold, &why, now).unwrap();
        lengths.push(length / 10_000);
        now += length;
    }
    assert_eq!(lengths, [1, 2, 4, 8, 16, 16, 16]);
    // A time as long as the last without one halves it, the next half as long again, …
    assert_eq!(record.sign(1, &threshold, &why, now + 160_000), Some(80_000));
    now += 160_000 + 80_000;
    assert_eq!(record.sign(1, &threshold, &why, now + 80_000 + 40_000), Some(40_000));
    now += 120_000 + 40_000;
    assert_eq!(record.sign(1, &threshold, &why, now + 3_600_000), Some(10_000));
    assert!(record.is_active(now + 3_600_000));
    assert!(!record.is_spent(now + 3_610_000));
    assert!(record.is_spent(now + 3_640_000));
}

#[test]
fn an_exit_is_banned_by_what_is_reported() {
    let mut status = rule(vec![BanSign::Status(403)]);
    status.scope = BanScope::Host;
    let mut config = pool(exits(2, "CA"));
    config.bans = vec![status, rule(vec![BanSign::Unreachable])];
    let world = World::new(&[config]);
    let lease = world.choose(&Ask::default()).unwrap();
    let exit = lease.exit().name().to_owned();
    assert!(!lease.report(&answer(200, Marks::default()), T0));
    assert!(lease.report(&answer(403, Marks::default()), T0));
    let others: Vec<_> = (0..4).map(|_| name(&world.choose(&Ask::default()))).collect();
    assert!(!others.contains(&exit));
    let elsewhere: Vec<_> =
        (0..2).map(|_| name(&world.choose(&Ask::default().host("b.example")))).collect();
    assert!(elsewhere.contains(&exit));
    // Seen, and ended by hand.
    world.registry.note_time(T0 + 4000);
    let bans = world.registry.bans();
    assert_eq!(bans.len(), 1);
    assert_eq!((&*bans[0].exit, bans[0].host.as_deref()), (&*exit, Some("shop.example")));
    assert_eq!((bans[0].left_ms, &*bans[0].why), (6000, "status 403"));
    assert!(world.registry.unban(&exit, Some("SHOP.example")));
    assert!(world.registry.bans().is_empty());
    let again: Vec<_> = (0..2).map(|_| name(&world.choose(&Ask::default()))).collect();
    assert!(again.contains(&exit));
}

#[test]
fn one_request_counts_once_for_each_rule() {
    let mut two = rule(vec![BanSign::Status(403), BanSign::Body("denied".into())]);
    two.count = 2;
    let mut config = pool(exits(1, "CA"));
    config.bans = vec![two];
    let world = World::new(&[config]);
    let lease = world.choose(&Ask::default()).unwrap();
    let found = lease.bans_on().body().unwrap().feed(lease.bans_on(), b"denied");
    assert!(!lease.report(&answer(403, Marks::default()), T0));
    assert!(!lease.report(&Sign::Body(found), T0));
    let other = world.choose(&Ask::default()).unwrap();
    assert!(other.report(&Sign::Body(found), T0));
    assert_eq!(world.choose(&Ask::default()).err(), Some(NoExit::AllBanned));
    assert!(world.choose(&Ask::default().at(T0 + 10_000)).is_ok());
}
