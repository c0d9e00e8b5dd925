use std::collections::HashSet;
use std::sync::Mutex;
use std::time::Duration;

use config::{ExitSessions, Rotate};

use crate::fixture::{Ask, T0, World, exit, exits, name, pool};
use crate::{NoExit, SessionWish, Sign};

const MINUTE: u64 = 60_000;

fn world(count: u8, change: impl FnOnce(&mut ExitSessions)) -> World {
    let mut config = pool(exits(count, "CA"));
    change(&mut config.sessions);
    World::new(&[config])
}

#[test]
fn a_session_keeps_its_exit_until_its_time_is_over() {
    let world = world(5, |_| {});
    let first = world.choose(&Ask::session("a")).unwrap();
    let info = first.session().unwrap();
    assert_eq!((&*info.id, info.left_ms, info.began, info.strict), ("a", 10 * MINUTE, true, false));
    let exit = first.exit().name().to_owned();
    let mut others = HashSet::new();
    for minute in 0..10 {
        let lease = world.choose(&Ask::session("a").at(T0 + minute * MINUTE)).unwrap();
        assert_eq!(lease.exit().name(), exit);
        let info = lease.session().unwrap();
        assert_eq!((info.left_ms, info.began), ((10 - minute) * MINUTE, false));
        others.insert(name(&world.choose(&Ask::session(&format!("b{minute}")))));
    }
    assert_eq!(others.len(), 5);
    // What was under way all the time does not make it longer.
    let lease = world.choose(&Ask::session("a").at(T0 + 10 * MINUTE)).unwrap();
    assert!(lease.session().unwrap().began);
}

#[test]
fn users_and_pools_do_not_share_sessions() {
    let mut second = pool(exits(9, "US"));
    second.name = "other".into();
    let world = World::new(&[pool(exits(9, "CA")), second]);
    let alice = name(&world.choose(&Ask::session("a")));
    let bob = world.choose(&Ask::session("a").user("bob")).unwrap();
    assert_ne!(bob.exit().name(), alice);
    assert!(bob.session().unwrap().began);
    let other = Ask::session("a").of(world.pools.get(1).unwrap()).unwrap();
    assert!(other.session().unwrap().began);
    assert_eq!(world.registry.sessions().len(), 3);
    // The same name in another set is another user.
    let namesake = world.choose(&Ask::session("a").set("guests")).unwrap();
    assert_ne!(namesake.exit().name(), alice);
    assert!(namesake.session().unwrap().began);
    let sets: Vec<_> = world.registry.sessions().into_iter().map(|it| it.set).collect();
    assert_eq!(sets.iter().filter(|set| &***set == "guests").count(), 1);
    assert!(world.registry.end_session("world", "alice", "a"));
    assert_eq!(world.registry.sessions().len(), 2);
}

#[test]
fn the_wished_time_is_clamped_and_counts_only_at_the_beginning() {
    let world = world(2, |sessions| sessions.max_ttl = Duration::from_secs(120));
    let mut ask = Ask::session("a");
    ask.wish.session =
        Some(SessionWish { id: "a".into(), ttl: Some(Duration::from_secs(9999)), strict: false });
    assert_eq!(world.choose(&ask).unwrap().session().unwrap().left_ms, 2 * MINUTE);
    let later = world.choose(&ask.clone().at(T0 + MINUTE)).unwrap();
    assert_eq!(later.session().unwrap().left_ms, MINUTE);
}

#[test]
fn an_idle_session_ends_but_not_while_something_is_under_way() {
    let world = world(3, |sessions| sessions.idle = Some(Duration::from_secs(60)));
    let began = |now: u64| {
        let lease = world.choose(&Ask::session("a").at(now)).unwrap();
        (lease.session().unwrap().began, lease)
    };
    let (is_new, tunnel) = began(T0);
    assert!(is_new);
    assert!(!began(T0 + 5 * MINUTE).0);
    // It was left at the time that was told last.
    drop(tunnel);
    assert!(!began(T0 + 6 * MINUTE - 1).0);
    assert!(began(T0 + 7 * MINUTE - 1).0);
}

#[test]
fn a_soft_session_moves_and_says_so() {
    let world = world(3, |_| {});
    let first = name(&world.choose(&Ask::session("a")));
    world.registry.note_time(T0);
    world.registry.ban(&first, None, Duration::from_secs(60)).unwrap();
    let moved = world.choose(&Ask::session("a").at(T0 + 1)).unwrap();
    let info = moved.session().unwrap();
    assert!(info.moved && !info.began);
    assert_eq!(info.left_ms, 10 * MINUTE - 1);
    let second = moved.exit().name().to_owned();
    assert_ne!(second, first);
    // It does not go back.
    let later = world.choose(&Ask::session("a").at(T0 + 2 * MINUTE)).unwrap();
    assert_eq!(later.exit().name(), second);
    assert_eq!((later.session().unwrap().moved, later.session().unwrap().moves), (false, 1));
    // A request that has tried it in vain leaves it as well.
    let mut ask = Ask::session("a").at(T0 + 2 * MINUTE);
    ask.tried = vec![later.key()];
    assert_ne!(name(&world.choose(&ask)), second);
}

#[test]
fn a_strict_session_never_moves() {
    let mut world = world(3, |_| {});
    let ask = Ask::session("a").strict();
    let first = name(&world.choose(&ask));
    world.registry.note_time(T0);
    world.registry.ban(&first, None, Duration::from_secs(60)).unwrap();
    assert_eq!(world.choose(&ask).err(), Some(NoExit::SessionLost));
    // Whoever asks for less than was agreed gets what was agreed.
    assert_eq!(world.choose(&Ask::session("a")).err(), Some(NoExit::SessionLost));
    // It is back with its exit.
    assert_eq!(name(&world.choose(&ask.clone().at(T0 + MINUTE))), first);
    let gone: Vec<_> = exits(3, "CA").into_iter().filter(|exit| exit.name != first).collect();
    world.reload(&[pool(gone)]);
    assert_eq!(world.choose(&ask).err(), Some(NoExit::SessionLost));
    // Once its time is over the name begins another.
    let next = world.choose(&ask.clone().at(T0 + 10 * MINUTE)).unwrap();
    assert!(next.session().unwrap().began);
}

#[test]
fn a_session_waits_for_a_busy_exit() {
    let mut config = pool(exits(3, "CA"));
    config.max_per_exit = Some(1);
    let world = World::new(&[config]);
    let first = world.choose(&Ask::session("a")).unwrap();
    assert_eq!(
        world.choose(&Ask::session("a")).err(),
        Some(NoExit::PinnedBusy { patience_ms: 10_000 })
    );
    let exit = first.exit().name().to_owned();
    drop(first);
    assert_eq!(name(&world.choose(&Ask::session("a"))), exit);
}

#[test]
fn another_wish_for_the_same_session_is_refused_by_its_key() {
    let world = World::new(&[pool(vec![exit(1, "CA"), exit(2, "US")])]);
    let mut ask = Ask::country("CA");
    ask.wish.session = Ask::session("a").wish.session;
    assert_eq!(name(&world.choose(&ask)), "e1");
    ask.wish.country = config::Country::parse("US");
    assert_eq!(world.choose(&ask).err(), Some(NoExit::NoMatch { key: "country" }));
    ask.wish.country = None;
    assert_eq!(name(&world.choose(&ask)), "e1");
}

#[test]
fn a_user_has_so_many_sessions_and_an_end_makes_room() {
    let world = world(3, |sessions| sessions.max_per_user = 2);
    world.choose(&Ask::session("a")).unwrap();
    world.choose(&Ask::session("b")).unwrap();
    assert_eq!(world.choose(&Ask::session("c")).err(), Some(NoExit::TooManySessions));
    assert!(world.choose(&Ask::session("a")).is_ok());
    assert!(world.choose(&Ask::session("c").user("bob")).is_ok());
    assert!(world.registry.end_session("world", "alice", "a"));
    assert!(!world.registry.end_session("world", "alice", "a"));
    assert!(world.choose(&Ask::session("c")).is_ok());
    assert_eq!(
        world.choose(&Ask::session("d").at(T0 + 9 * MINUTE)).err(),
        Some(NoExit::TooManySessions)
    );
    assert!(world.choose(&Ask::session("d").at(T0 + 10 * MINUTE)).is_ok());
}

#[test]
fn sessions_are_seen() {
    let world = world(3, |_| {});
    let lease = world.choose(&Ask::session("a").strict()).unwrap();
    world.choose(&Ask::session("a").at(T0 + 1000)).unwrap();
    let all = world.registry.sessions();
    assert_eq!(all.len(), 1);
    let session = &all[0];
    assert_eq!((&*session.pool, &*session.user, &*session.id), ("world", "alice", "a"));
    assert_eq!(session.exit.as_deref(), Some(lease.exit().name()));
    assert_eq!((session.requests, session.under_way, session.strict), (2, 1, true));
    assert_eq!((session.age_ms, session.left_ms), (1000, 10 * MINUTE - 1000));
}

#[test]
fn sessions_survive_a_reload() {
    let mut world = world(5, |_| {});
    let first = name(&world.choose(&Ask::session("a")));
    let mut more = exits(9, "CA");
    more.rotate_right(3);
    world.reload(&[pool(more)]);
    assert_eq!(name(&world.choose(&Ask::session("a"))), first);
}

#[test]
fn every_core_sees_the_same_exit() {
    let world = world(200, |_| {});
    let pool = world.pool();
    let seen = Mutex::new(HashSet::new());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for id in 0..300 {
                    let lease = Ask::session(&format!("s{id}")).of(pool).unwrap();
                    seen.lock().unwrap().insert((id, lease.exit().name().to_owned()));
                }
            });
        }
    });
    assert_eq!(seen.into_inner().unwrap().len(), 300);
    assert_eq!(world.registry.sessions().len(), 300);
}

#[test]
fn cores_that_move_one_session_agree() {
    let world = world(100, |_| {});
    let pool = world.pool();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..200 {
                    let first = Ask::session("a").of(pool).unwrap();
                    let mut again = Ask::session("a");
                    again.tried = vec![first.key()];
                    let second = again.of(pool).unwrap();
                    assert_ne!(first.key(), second.key());
                    second.report(&Sign::Done, T0);
                }
            });
        }
    });
    let sessions = world.registry.sessions();
    assert_eq!((sessions.len(), sessions[0].under_way), (1, 0));
}

#[test]
fn what_has_ended_takes_no_room() {
    let world = world(3, |sessions| sessions.idle = Some(Duration::from_secs(1)));
    for id in 0..2000 {
        world.choose(&Ask::session(&format!("s{id}"))).unwrap();
    }
    assert_eq!(world.registry.sessions.len(), 2000);
    assert!(world.registry.sessions.list(T0 + 1000, &Default::default()).is_empty());
    assert_eq!(world.registry.sessions.len(), 0);
}

#[test]
fn a_rotation_is_forgotten_some_time_after_its_turn() {
    let mut config = pool(exits(3, "CA"));
    config.rotate = Rotate::After(Duration::from_secs(60));
    let world = World::new(&[config]);
    world.choose(&Ask::default()).unwrap();
    world.registry.sessions.list(T0 + 2 * MINUTE - 1, &Default::default());
    assert_eq!(world.registry.sessions.len(), 1);
    world.registry.sessions.list(T0 + 2 * MINUTE, &Default::default());
    assert_eq!(world.registry.sessions.len(), 0);
}
