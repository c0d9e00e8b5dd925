use std::time::Duration;

use super::{AtHost, BanError, HostKey, Hosts};
use crate::NoExit;
use crate::fixture::{Ask, T0, World, exits, name, pool};

#[test]
fn bans_and_what_is_under_way_survive_a_reload() {
    let mut config = pool(exits(2, "CA"));
    config.max_per_exit = Some(1);
    let mut world = World::new(&[config.clone()]);
    world.registry.note_time(T0);
    world.registry.ban("e1", None, Duration::from_secs(60)).unwrap();
    let lease = world.choose(&Ask::default()).unwrap();
    assert_eq!(lease.exit().name(), "e2");
    config.exits.reverse();
    world.reload(&[config.clone()]);
    assert_eq!(world.choose(&Ask::default()).err(), Some(NoExit::AllBusy));
    assert_eq!(world.registry.bans().len(), 1);
    let key = lease.key();
    drop(lease);
    let lease = world.choose(&Ask::default()).unwrap();
    assert_eq!(lease.key(), key);
    drop(lease);
    // Of the same name, but another: nothing of what was known is true of it.
    for exit in &mut config.exits {
        exit.kind = config::ExitKind::Direct;
    }
    world.reload(&[config]);
    let lease = world.choose(&Ask::default()).unwrap();
    assert_ne!(lease.key(), key);
    assert!(world.registry.bans().is_empty());
}

#[test]
fn bans_by_hand() {
    let world = World::new(&[pool(exits(2, "CA"))]);
    world.registry.note_time(T0);
    let minute = Duration::from_secs(60);
    assert_eq!(world.registry.ban("nobody", None, minute), Err(BanError::NoExit));
    world.registry.ban("world/e1", None, minute).unwrap();
    world.registry.ban("e2", Some("Shop.Example"), minute).unwrap();
    let bans = world.registry.bans();
    let told: Vec<_> =
        bans.iter().map(|ban| (&*ban.exit, ban.host.as_deref(), ban.left_ms)).collect();
    assert_eq!(told, [("e1", None, 60_000), ("e2", Some("shop.example"), 60_000)]);
    assert_eq!(world.choose(&Ask::default()).err(), Some(NoExit::AllBanned));
    assert_eq!(name(&world.choose(&Ask::default().host("b.example"))), "e2");
    assert!(!world.registry.unban("e1", Some("shop.example")));
    assert!(world.registry.unban("e2", None));
    assert!(!world.registry.unban("e2", None));
    assert_eq!(name(&world.choose(&Ask::default())), "e2");
    world.registry.ban("e1", None, Duration::MAX).unwrap();
    assert_eq!(world.registry.bans().len(), 1);
}

#[test]
fn the_newest_pool_is_shown() {
    let mut world = World::new(&[pool(exits(2, "CA"))]);
    assert_eq!(world.registry.exits().len(), 2);
    world.reload(&[pool(exits(3, "CA"))]);
    let all = world.registry.exits();
    assert_eq!(all.len(), 3);
    assert_eq!((&*all[0].pool, &*all[0].exit, all[0].kind), ("world", "e1", "address"));
}

/// A flood of hosts of one client neither grows the table without bound nor closes exits.
#[test]
fn hosts_are_bounded() {
    let world = World::new(&[pool(exits(1, "CA"))]);
    let lease = world.choose(&Ask::default()).unwrap();
    let state = &lease.taken.member.state;
    let hosts = Hosts::new();
    let enter = |at: &mut AtHost| at.load += 1;
    let kept = HostKey { name: "kept", hash: world.registry.hash("kept") };
    hosts.change(state, kept, T0, enter).unwrap();
    for number in 0..400_000_u64 {
        let host = HostKey { name: "x", hash: world.registry.hash(number) };
        let rest = |at: &mut AtHost| at.next_ms = T0 + 1_000_000 + number;
        assert!(hosts.change(state, host, T0, rest).is_some());
    }
    let mut count = 0;
    hosts.each(|_| count += 1);
    assert!((200_000..=262_144).contains(&count), "{count}");
    assert_eq!(hosts.look(state, kept, |at| at.load), Some(1));
    // Those whose time is over make room.
    for number in 0..64 * 600_u64 {
        let host = HostKey { name: "y", hash: world.registry.hash((number, 1)) };
        hosts.change(state, host, T0 + 9_000_000, enter).unwrap();
    }
    let mut count = 0;
    hosts.each(|entry| count += usize::from(&*entry.host == "x"));
    assert_eq!(count, 0);
}
