use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;
use std::time::Duration;

use config::{BanRule, BanScope, BanSign, ChooseExit, Exit, ExitKind, Pacing, Rotate};
use proptest::prelude::*;

use super::{NoExit, Refusal};
use crate::fixture::{Ask, T0, World, exit, exits, name, pool, span};
use crate::{ConnectionMark, Sign};

fn counts(world: &World, ask: &Ask, times: usize) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for _ in 0..times {
        *counts.entry(name(&world.choose(ask))).or_default() += 1;
    }
    counts
}

#[test]
fn round_robin_gives_each_its_turn() {
    let world = World::new(&[pool(exits(5, "CA"))]);
    let ask = Ask::default();
    let first: Vec<_> = (0..5).map(|_| name(&world.choose(&ask))).collect();
    assert_eq!(first.iter().collect::<HashSet<_>>().len(), 5);
    let second: Vec<_> = (0..5).map(|_| name(&world.choose(&ask))).collect();
    assert_eq!(first, second);
}

#[test]
fn round_robin_spreads_by_weight() {
    let mut all = exits(3, "CA");
    all[0].weight = 6;
    all[1].weight = 2;
    all[2].weight = 4;
    let world = World::new(&[pool(all)]);
    let order: Vec<_> = (0..6).map(|_| name(&world.choose(&Ask::default()))).collect();
    let count = |wanted: &str| order.iter().filter(|name| *name == wanted).count();
    assert_eq!((count("e1"), count("e2"), count("e3")), (3, 1, 2));
    // Well spread: the heavy one never comes three times in a row.
    assert!(!order.windows(3).any(|three| three.iter().all(|name| name == "e1")), "{order:?}");
}

#[test]
fn those_who_stand_behind_a_banned_one_do_not_get_its_turns() {
    let world = World::new(&[pool(exits(40, "CA"))]);
    for number in 2..=39 {
        world.choose(&Ask::default()).unwrap();
        world.registry.ban(&format!("e{number}"), None, Duration::from_secs(60)).unwrap();
    }
    let counts = counts(&world, &Ask::default(), 100);
    assert_eq!(counts, BTreeMap::from([("e1".into(), 50), ("e40".into(), 50)]));
}

#[test]
fn random_follows_the_weights() {
    let mut all = exits(2, "CA");
    all[0].weight = 9;
    let mut config = pool(all);
    config.choose = ChooseExit::Random;
    let counts = counts(&World::new(&[config]), &Ask::default(), 2000);
    assert!((1650..1950).contains(&counts["e1"]), "{counts:?}");
}

#[test]
fn least_used_takes_the_least_under_way_for_its_weight() {
    let mut all = exits(3, "CA");
    all[0].weight = 2;
    let mut config = pool(all);
    config.choose = ChooseExit::LeastUsed;
    let world = World::new(&[config]);
    let leases: Vec<_> = (0..8).map(|_| world.choose(&Ask::default()).unwrap()).collect();
    let count = |name: &str| leases.iter().filter(|lease| lease.exit().name() == name).count();
    assert_eq!((count("e1"), count("e2"), count("e3")), (4, 2, 2));
}

#[test]
fn a_wish_is_fitted_or_refused_by_its_key() {
    let mut toronto = exit(1, "CA");
    toronto.labels.city = Some("toronto".into());
    toronto.labels.state = Some("ontario".into());
    toronto.labels.asn = Some(64500);
    toronto.labels.tags = vec!["mobile".into()];
    let world = World::new(&[pool(vec![toronto, exit(2, "CA"), exit(3, "US")])]);
    assert_eq!(counts(&world, &Ask::country("CA"), 4).len(), 2);
    assert_eq!(counts(&world, &Ask::country("us"), 4).len(), 1);

    let no_match = |change: fn(&mut Ask)| {
        let mut ask = Ask::country("CA");
        change(&mut ask);
        match world.choose(&ask) {
            Ok(lease) => format!("took {}", lease.exit().name()),
            Err(NoExit::NoMatch { key }) => key.to_owned(),
            Err(other) => other.to_string(),
        }
    };
    assert_eq!(no_match(|ask| ask.wish.country = config::Country::parse("FR")), "country");
    assert_eq!(no_match(|ask| ask.wish.city = Some("paris".into())), "city");
    assert_eq!(no_match(|ask| ask.wish.city = Some("toronto".into())), "took e1");
    assert_eq!(no_match(|ask| ask.wish.state = Some("quebec".into())), "state");
    assert_eq!(no_match(|ask| ask.wish.zip = Some("m5v".into())), "zip");
    assert_eq!(no_match(|ask| ask.wish.asn = Some(1)), "asn");
    assert_eq!(no_match(|ask| ask.wish.asn = Some(64500)), "took e1");
    assert_eq!(no_match(|ask| ask.wish.tags = vec!["mobile".into()]), "took e1");
    assert_eq!(no_match(|ask| ask.wish.tags = vec!["fast".into(), "mobile".into()]), "tag");
    assert_eq!(no_match(|ask| ask.wish.exit = Some("e9".into())), "exit");
    assert_eq!(no_match(|ask| ask.wish.exit = Some("e3".into())), "country");
    assert_eq!(no_match(|ask| ask.wish.continent = Some("eu".into())), "continent");
    // The name of the pool is a tag of all its exits.
    let mut ask = Ask::default();
    ask.wish.tags = vec!["world".into()];
    assert_eq!(counts(&world, &ask, 6).len(), 3);
    ask.wish.tags = Vec::new();
    ask.wish.continent = Some("na".into());
    assert_eq!(counts(&world, &ask, 6).len(), 3);
}

#[test]
fn a_waterfall_never_ignores_the_wish() {
    let own = vec![exit(1, "CA"), Exit::new("next", ExitKind::Pool(1), span())];
    let mut second = pool(vec![exit(2, "CA"), exit(3, "US")]);
    second.name = "expensive".into();
    second.max_per_exit = Some(1);
    let world = World::new(&[pool(own), second]);
    let ask = Ask::country("CA");
    assert_eq!(counts(&world, &ask, 5), BTreeMap::from([("e1".into(), 5)]));
    world.registry.ban("e1", None, Duration::from_secs(60)).unwrap();
    let lease = world.choose(&ask).unwrap();
    assert_eq!((lease.exit().name(), lease.exit().pool()), ("e2", "expensive"));
    // What the second pool says of its exits holds on this way too.
    assert_eq!(world.choose(&ask).err(), Some(NoExit::AllBusy));
    assert_eq!(name(&world.choose(&Ask::country("US"))), "e3");
    drop(lease);
    world.registry.ban("e2", None, Duration::from_secs(60)).unwrap();
    assert_eq!(world.choose(&ask).err(), Some(NoExit::AllBanned));
    // Called by the name of the pool that it stands in.
    assert!(world.registry.unban("expensive/e2", None));
    assert_eq!(name(&world.choose(&ask)), "e2");
}

#[test]
fn reasons_are_told_apart() {
    let mut config = pool(exits(2, "CA"));
    config.max_per_exit = Some(1);
    let world = World::new(&[config]);
    let held = [world.choose(&Ask::default()).unwrap(), world.choose(&Ask::default()).unwrap()];
    assert_eq!(world.choose(&Ask::default()).err(), Some(NoExit::AllBusy));
    let tried = Ask { tried: held.iter().map(|lease| lease.key()).collect(), ..Ask::default() };
    drop(held);
    assert_eq!(world.choose(&tried).err(), Some(NoExit::AllTried));
    let barred = Ask { allowed: |_| false, ..Ask::default() };
    assert_eq!(world.choose(&barred).err(), Some(NoExit::NotAllowed));
    let only = Ask { allowed: |exit| exit.name() == "e2", ..Ask::default() };
    assert_eq!(counts(&world, &only, 3), BTreeMap::from([("e2".into(), 3)]));
    let v6 = Ask::default().host("2001:db8::1");
    assert_eq!(world.choose(&v6).err(), Some(NoExit::WrongFamily));
}

#[test]
fn limits_per_host_are_of_one_exit_and_one_host() {
    let mut config = pool(exits(1, "CA"));
    config.max_per_host = Some(2);
    let world = World::new(&[config]);
    let first = world.choose(&Ask::default()).unwrap();
    let _second = world.choose(&Ask::default()).unwrap();
    assert_eq!(world.choose(&Ask::default()).err(), Some(NoExit::AllBusy));
    assert!(world.choose(&Ask::default().host("other.example")).is_ok());
    drop(first);
    assert!(world.choose(&Ask::default()).is_ok());
}

fn pacing(per_host: bool) -> Pacing {
    let (gap, wait) = (Duration::from_secs(1), Duration::from_secs(10));
    Pacing { gap, per_host, wait, retry_after: true }
}

#[test]
fn an_exit_rests_between_two_requests() {
    let mut config = pool(exits(2, "CA"));
    config.pacing = Some(pacing(false));
    let world = World::new(&[config]);
    let ask = Ask::default();
    assert_eq!(counts(&world, &ask, 2).len(), 2);
    let paced = NoExit::Paced { wait_ms: 1000, patience_ms: 10_000 };
    assert_eq!(world.choose(&ask).err(), Some(paced));
    let paced = NoExit::Paced { wait_ms: 1, patience_ms: 10_000 };
    assert_eq!(world.choose(&Ask::default().at(T0 + 999)).err(), Some(paced));
    assert!(world.choose(&Ask::default().at(T0 + 1000)).is_ok());
}

#[test]
fn retry_after_closes_an_exit_for_the_host() {
    let mut config = pool(exits(1, "CA"));
    config.pacing = Some(pacing(true));
    let world = World::new(&[config]);
    let lease = world.choose(&Ask::default()).unwrap();
    let retry_after = Some(Duration::from_secs(30));
    let (first_byte, marks) = (Duration::ZERO, crate::Marks::default());
    lease.report(&Sign::Answer { status: 429, first_byte, retry_after, marks }, T0 + 100);
    drop(lease);
    let paced = NoExit::Paced { wait_ms: 100, patience_ms: 10_000 };
    assert_eq!(world.choose(&Ask::default().at(T0 + 30_000)).err(), Some(paced));
    assert!(world.choose(&Ask::default().host("b.example").at(T0 + 30_000)).is_ok());
    assert!(world.choose(&Ask::default().at(T0 + 30_100)).is_ok());
}

#[test]
fn an_exclusive_exit_serves_one_user_and_session() {
    let mut config = pool(exits(1, "CA"));
    config.exclusive = true;
    let world = World::new(&[config]);
    let first = world.choose(&Ask::session("a")).unwrap();
    let again = world.choose(&Ask::session("a")).unwrap();
    assert_eq!(world.choose(&Ask::session("b")).err(), Some(NoExit::AllBusy));
    assert_eq!(world.choose(&Ask::default()).err(), Some(NoExit::AllBusy));
    assert_eq!(world.choose(&Ask::session("a").user("bob")).err(), Some(NoExit::AllBusy));
    assert_eq!(world.choose(&Ask::session("a").set("guests")).err(), Some(NoExit::AllBusy));
    drop(first);
    assert_eq!(world.choose(&Ask::default()).err(), Some(NoExit::AllBusy));
    drop(again);
    // Who has no name is told from others by the connection, or not at all.
    let mut nobody = Ask::default().user("");
    let _one = world.choose(&nobody).unwrap();
    assert_eq!(world.choose(&nobody).err(), Some(NoExit::AllBusy));
    drop(_one);
    nobody.mark = Some(Rc::new(ConnectionMark::new()));
    let _one = world.choose(&nobody).unwrap();
    assert!(world.choose(&nobody).is_ok());
    nobody.mark = Some(Rc::new(ConnectionMark::new()));
    assert_eq!(world.choose(&nobody).err(), Some(NoExit::AllBusy));
}

#[test]
fn a_connection_keeps_its_exit_for_each_user() {
    let mut config = pool(exits(5, "CA"));
    config.rotate = Rotate::PerConnection;
    let world = World::new(&[config]);
    let mark = Some(Rc::new(ConnectionMark::new()));
    let alice = Ask { mark: mark.clone(), ..Ask::default() };
    let bob = Ask { mark, ..Ask::default() }.user("bob");
    let first = name(&world.choose(&alice));
    let other = name(&world.choose(&bob));
    assert_ne!(first, other);
    for _ in 0..10 {
        assert_eq!(name(&world.choose(&alice)), first);
        assert_eq!(name(&world.choose(&bob)), other);
    }
    world.registry.ban(&first, None, Duration::from_secs(60)).unwrap();
    let next = name(&world.choose(&alice));
    assert_ne!(next, first);
    assert_eq!(name(&world.choose(&alice)), next);
    let elsewhere = Ask { mark: Some(Rc::new(ConnectionMark::new())), ..Ask::default() };
    assert_ne!(name(&world.choose(&elsewhere)), next);
}

#[test]
fn rotation_by_number_and_by_time() {
    let mut config = pool(exits(3, "CA"));
    config.rotate = Rotate::Every(3);
    for choose in [ChooseExit::RoundRobin, ChooseExit::Random, ChooseExit::LeastUsed] {
        config.choose = choose;
        let world = World::new(&[config.clone()]);
        let names: Vec<_> = (0..30).map(|_| name(&world.choose(&Ask::default()))).collect();
        for (one, two) in names.chunks(3).zip(names.chunks(3).skip(1)) {
            assert!(one.iter().all(|name| *name == one[0]), "{names:?}");
            assert_ne!(one[0], two[0], "{choose:?}");
        }
    }
    config.rotate = Rotate::After(Duration::from_secs(10));
    let world = World::new(&[config]);
    let first = name(&world.choose(&Ask::default()));
    assert_eq!(name(&world.choose(&Ask::default().at(T0 + 9_999))), first);
    let second = name(&world.choose(&Ask::default().at(T0 + 10_000)));
    assert_ne!(second, first);
    assert_eq!(name(&world.choose(&Ask::default().at(T0 + 19_999))), second);
    // Another user and another wish rotate by themselves, and none of it is a session to see.
    world.choose(&Ask::default().user("bob")).unwrap();
    assert!(world.registry.sessions().is_empty());
}

#[test]
fn candidates_say_what_choose_does() {
    let mut config = pool(vec![exit(1, "US"), exit(2, "CA"), exit(3, "CA"), exit(4, "CA")]);
    config.max_per_exit = Some(1);
    let world = World::new(&[config]);
    world.registry.note_time(T0);
    world.registry.ban("e2", Some("shop.example"), Duration::from_secs(60)).unwrap();
    let mut e3 = Ask::default();
    e3.wish.exit = Some("e3".into());
    let _busy = world.choose(&e3).unwrap();
    let ask = Ask::country("CA");
    let all = ask.with(|asking| world.pool().candidates(asking));
    let why: Vec<_> = all.iter().map(|candidate| candidate.refusal).collect();
    assert_eq!(why[0], Some(Refusal::Unfit { key: "country" }));
    assert!(matches!(why[1], Some(Refusal::Banned { host: true, .. })), "{:?}", why[1]);
    assert_eq!(why[2], Some(Refusal::Busy { host: false }));
    assert_eq!(why[3], None);
    let next = all.iter().find(|candidate| candidate.next).map(|next| next.exit().name());
    assert_eq!(next, Some("e4"));
    assert_eq!(name(&world.choose(&ask)), "e4");
}

#[test]
fn threads_never_get_more_than_there_is() {
    let mut config = pool(exits(4, "CA"));
    config.exclusive = true;
    config.max_per_exit = Some(2);
    let world = World::new(&[config]);
    let pool = world.pool();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            scope.spawn(move || {
                let user = format!("user{thread}");
                for turn in 0..2000 {
                    let Ok(lease) = Ask::default().user(&user).of(pool) else { continue };
                    let load = &lease.taken.member.state.load;
                    assert!(load.load(std::sync::atomic::Ordering::Relaxed) <= 2);
                    // Whoever asks under another name meanwhile does not get this exit.
                    let mut other = Ask::default().user(&format!("{user}-{turn}"));
                    other.wish.exit = Some(lease.exit().name().into());
                    assert_eq!(other.of(pool).err(), Some(NoExit::AllBusy));
                }
            });
        }
    });
    assert!(world.registry.exits().iter().all(|exit| exit.under_way == 0));
}

#[test]
fn cores_share_the_turns() {
    let world = World::new(&[pool(exits(50, "CA"))]);
    let pool = world.pool();
    std::thread::scope(|scope| {
        for _ in 0..5 {
            scope.spawn(|| (0..1000).for_each(|_| drop(Ask::default().of(pool).unwrap())));
        }
    });
    assert!(world.registry.exits().iter().all(|exit| exit.taken == 100));
}

#[test]
fn a_country_is_left_by_its_own_exits_even_when_one_of_them_dies() {
    let mut config = pool(vec![exit(1, "CA"), exit(2, "US"), exit(3, "CA"), exit(4, "DE")]);
    config.bans = vec![BanRule {
        signs: vec![BanSign::Unreachable],
        count: 1,
        within: Duration::from_secs(60),
        time: Duration::from_secs(60),
        scope: BanScope::Exit,
        span: span(),
    }];
    let world = World::new(&[config]);
    let ask = Ask::country("CA");
    let mut counts = BTreeMap::new();
    for turn in 0..10_000_u64 {
        let ask = ask.clone().at(T0 + turn);
        let lease = world.choose(&ask).unwrap();
        let is_dead = turn >= 5000 && lease.exit().name() == "e1";
        lease.report(if is_dead { &Sign::Unreachable } else { &Sign::Connected }, ask.now);
        let lease = if is_dead {
            world.choose(&Ask { tried: vec![lease.key()], ..ask }).unwrap()
        } else {
            lease
        };
        *counts.entry(lease.exit().name().to_owned()).or_insert(0) += 1;
    }
    assert_eq!(counts, BTreeMap::from([("e1".into(), 2500), ("e3".into(), 7500)]));
}

/// A step of a random history.
#[derive(Debug, Clone)]
enum Step {
    Ask { country: u8, city: Option<u8>, session: Option<u8>, strict: bool, user: u8, hold: bool },
    Drop,
    Ban { exit: u8, host: bool },
    Unban { exit: u8 },
    Wait { ms: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let ask = (0..3_u8, proptest::option::of(0..2_u8), proptest::option::of(0..3_u8))
        .prop_flat_map(|(country, city, session)| {
            (any::<bool>(), 0..2_u8, any::<bool>()).prop_map(move |(strict, user, hold)| {
                Step::Ask { country, city, session, strict, user, hold }
            })
        });
    prop_oneof![
        6 => ask,
        2 => Just(Step::Drop),
        2 => (1..=12_u8, any::<bool>()).prop_map(|(exit, host)| Step::Ban { exit, host }),
        1 => (1..=12_u8).prop_map(|exit| Step::Unban { exit }),
        1 => (1..5000_u64).prop_map(|ms| Step::Wait { ms }),
    ]
}

const COUNTRIES: [&str; 3] = ["CA", "US", "DE"];
const CITIES: [&str; 2] = ["one", "two"];

fn labelled(number: u8) -> Exit {
    let mut exit = exit(number, COUNTRIES[usize::from(number % 3)]);
    exit.labels.city = Some(CITIES[usize::from(number % 2)].into());
    exit
}

proptest! {
    /// Whatever happens: the exit fits the wish, no limit is passed, a strict session has one
    /// exit, and a soft one leaves its exit only if that cannot be used.
    #[test]
    fn promises_are_kept(steps in proptest::collection::vec(step(), 1..200)) {
        let mut config = pool((1..=12).map(labelled).collect());
        config.max_per_exit = Some(3);
        config.bans = vec![BanRule {
            signs: vec![BanSign::Unreachable],
            count: 1,
            within: Duration::from_secs(60),
            time: Duration::from_secs(2),
            scope: BanScope::Exit,
            span: span(),
        }];
        let world = World::new(&[config]);
        let mut now = T0;
        let mut held = Vec::new();
        let mut sessions: BTreeMap<(u8, u8), String> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Wait { ms } => now += ms,
                Step::Drop => drop(held.pop()),
                Step::Ban { exit, host } => {
                    let host = host.then_some("shop.example");
                    let time = Duration::from_millis(1500);
                    world.registry.note_time(now);
                    world.registry.ban(&format!("e{exit}"), host, time).unwrap();
                }
                Step::Unban { exit } => drop(world.registry.unban(&format!("e{exit}"), None)),
                Step::Ask { country, city, session, strict, user, hold } => {
                    let mut ask = Ask::country(COUNTRIES[usize::from(country)]).at(now);
                    ask.user = format!("u{user}");
                    ask.wish.city = city.map(|city| CITIES[usize::from(city)].into());
                    if let Some(id) = session {
                        let id = format!("s{id}").into();
                        ask.wish.session = Some(crate::SessionWish { id, ttl: None, strict });
                    }
                    let before = session.and_then(|id| sessions.get(&(user, id)).cloned());
                    let was_usable = before.as_ref().map(|before| {
                        ask.with(|asking| world.pool().candidates(asking))
                            .into_iter()
                            .find(|candidate| candidate.exit().name() == before)
                            .is_some_and(|candidate| candidate.refusal.is_none())
                    });
                    match world.choose(&ask) {
                        Ok(lease) => {
                            let labels = lease.exit().labels();
                            prop_assert_eq!(labels.country, ask.wish.country);
                            if let Some(city) = &ask.wish.city {
                                prop_assert_eq!(labels.city.as_deref(), Some(&**city));
                            }
                            let under_way = |name: &str| {
                                let exits = world.registry.exits();
                                exits.into_iter().find(|exit| &*exit.exit == name).unwrap().under_way
                            };
                            prop_assert!(under_way(lease.exit().name()) <= 3);
                            if let Some(id) = session {
                                let info = lease.session().unwrap();
                                let moved = before.is_some_and(|before| before != lease.exit().name());
                                prop_assert!(!(moved && (strict || info.strict) && !info.began));
                                prop_assert!(!(moved && was_usable == Some(true) && !info.began));
                                prop_assert_eq!(info.moved, moved && !info.began);
                                sessions.insert((user, id), lease.exit().name().to_owned());
                            }
                            if hold {
                                held.push(lease);
                            } else {
                                lease.report(&Sign::Unreachable, now);
                            }
                        }
                        Err(NoExit::SessionLost) => prop_assert_eq!(was_usable, Some(false)),
                        Err(_) => {}
                    }
                }
            }
        }
        drop(held);
        prop_assert!(world.registry.exits().iter().all(|exit| exit.under_way == 0));
    }
}
