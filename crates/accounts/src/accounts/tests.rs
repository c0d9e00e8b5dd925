use std::time::Duration;

use config::{Budget, Quota, UserLimits};

use super::*;
use crate::{By, Denied, Direction, Granted, Meter, Zone};

/// 2026-07-31T12:00:00Z.
const NOON: i64 = 1_785_499_200;

fn at(start: Instant, seconds: f64) -> Moment {
    Moment {
        instant: start + Duration::from_secs_f64(seconds),
        unix: NOON + seconds.floor() as i64,
    }
}

fn memory() -> Arc<Accounts> {
    Accounts::open(None).expect("threads can be started")
}

fn limits(change: impl FnOnce(&mut UserLimits)) -> Arc<Limits> {
    let mut limits = UserLimits::default();
    change(&mut limits);
    Arc::new(Limits::build(&limits, &Zone::utc()))
}

fn quota(bytes: u64) -> Arc<Limits> {
    limits(|limits| limits.quotas = vec![Quota { bytes, per: Period::Day }])
}

fn day_of(unix: i64) -> Duration {
    Duration::from_secs((unix - NOON) as u64)
}

/// Moves bytes until it has to stop.
fn exhaust(meter: &Meter, mut now: Moment, piece: u64) -> (u64, Denied) {
    let mut moved = 0;
    loop {
        match meter.grant(now, piece) {
            Granted::Now(bytes) => {
                meter.used(Direction::Down, bytes);
                moved += bytes;
            }
            Granted::Later(after) => now.instant += after,
            Granted::Stop(denied) => return (moved, denied),
        }
    }
}

#[test]
fn a_quota_ends_at_the_byte() {
    let (accounts, now) = (memory(), at(Instant::now(), 0.0));
    let account = accounts.account("staff", "alice", &quota(1_000_003), now);
    let meter = account.meter(now, "home", None, "a.example");
    let (moved, denied) = exhaust(&meter, now, 1000);
    assert_eq!(moved, 1_000_003);
    let resets_in = day_of(NOON + 12 * 3600);
    assert_eq!(denied, Denied::Quota { period: Period::Day, resets_in });
    assert_eq!(denied.to_string(), "the quota of the day is used up");
    assert_eq!(account.admit(now), Err(denied));
}

#[test]
fn the_day_after_there_is_more() {
    let (accounts, start) = (memory(), Instant::now());
    let both = limits(|limits| {
        limits.quotas = vec![
            Quota { bytes: 1000, per: Period::Day },
            Quota { bytes: 1500, per: Period::Month },
        ];
    });
    let now = at(start, 0.0);
    let account = accounts.account("staff", "alice", &both, now);
    let meter = account.meter(now, "home", None, "a.example");
    assert_eq!(exhaust(&meter, now, 4096).0, 1000);
    // 2026-08-01: another day and another month.
    let tomorrow = at(start, 12.0 * 3600.0);
    assert_eq!(account.admit(tomorrow), Ok(()));
    assert_eq!(exhaust(&meter, tomorrow, 4096).0, 1000);
    let next = at(start, 36.0 * 3600.0);
    let (moved, denied) = exhaust(&meter, next, 4096);
    assert_eq!(moved, 500);
    assert!(matches!(denied, Denied::Quota { period: Period::Month, .. }), "{denied:?}");
    let query = UsageQuery { by: vec![By::Day], ..UsageQuery::default() };
    let rows = accounts.usage(&query).expect("it is in memory");
    let days: Vec<_> =
        rows.iter().map(|row| (row.day.unwrap().to_string(), row.down, row.requests)).collect();
    let expected = [("2026-07-31", 1000, 1), ("2026-08-01", 1000, 0), ("2026-08-02", 500, 0)];
    assert_eq!(days, expected.map(|(day, down, requests)| (day.to_owned(), down, requests)));
}

#[test]
fn what_is_held_at_midnight_counts_for_the_day_before() {
    let (accounts, start) = (memory(), Instant::now());
    let now = at(start, 0.0);
    let account = accounts.account("staff", "alice", &quota(10_000), now);
    let meter = account.meter(now, "home", None, "a.example");
    assert_eq!(meter.grant(now, 3000), Granted::Now(3000));
    let tomorrow = at(start, 13.0 * 3600.0);
    assert_eq!(meter.grant(tomorrow, 2000), Granted::Now(2000));
    assert_eq!(meter.held(), 5000);
    meter.used(Direction::Up, 4000);
    meter.give_back(500);
    assert_eq!(meter.held(), 500);
    drop(meter);
    let query = UsageQuery { by: vec![By::Day], ..UsageQuery::default() };
    let up: Vec<_> = accounts.usage(&query).unwrap().iter().map(|row| row.up).collect();
    assert_eq!(up, [3000, 1000]);
    assert_eq!(account.standing(tomorrow).day.bytes_left, Some(9000));
}

#[test]
fn threads_use_a_quota_to_the_last_byte_and_no_more() {
    const QUOTA: u64 = 50_000_017;
    let (accounts, now) = (memory(), at(Instant::now(), 0.0));
    let account = accounts.account("staff", "alice", &quota(QUOTA), now);
    let moved: u64 = std::thread::scope(|scope| {
        let hammer = |number: u64| {
            let mut seed = number * 7919 + 1;
            let mut moved = 0;
            // Streams come and go.
            'streams: loop {
                let meter = account.meter(Moment::now_at(now.unix), "home", None, "a.example");
                for _ in 0..100 {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let want = 1 + (seed >> 33) % 70_000;
                    match meter.grant(Moment::now_at(now.unix), want) {
                        Granted::Now(bytes) => {
                            let used = if seed & 4096 == 0 { bytes } else { bytes.div_ceil(2) };
                            meter.used(Direction::Down, used);
                            moved += used;
                            if seed & 8192 == 0 {
                                meter.give_back(bytes - used);
                            }
                        }
                        Granted::Later(_) => {
                            meter.give_back(u64::MAX);
                            std::thread::yield_now();
                        }
                        Granted::Stop(_) => break 'streams,
                    }
                }
            }
            moved
        };
        let threads: Vec<_> = (0..8).map(|number| scope.spawn(move || hammer(number))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
    });
    assert_eq!(moved, QUOTA);
    accounts.flush();
    let standing = account.standing(now);
    assert_eq!((standing.day.bytes, standing.day.bytes_left), (QUOTA, Some(0)));
}

#[test]
fn the_last_bytes_are_waited_for_and_come_back() {
    let (accounts, now) = (memory(), at(Instant::now(), 0.0));
    let account = accounts.account("staff", "alice", &quota(1000), now);
    let holder = account.meter(now, "home", None, "a.example");
    let other = account.meter(now, "home", None, "b.example");
    assert_eq!(holder.grant(now, 4096), Granted::Now(1000));
    assert!(matches!(other.grant(now, 100), Granted::Later(_)));
    assert_eq!(account.admit(now), Ok(()), "they may come back");
    drop(holder);
    assert_eq!(other.grant(now, 100), Granted::Now(100));
}

#[test]
fn who_holds_the_last_bytes_for_long_is_not_waited_for() {
    let (accounts, start) = (memory(), Instant::now());
    let now = at(start, 0.0);
    let account = accounts.account("staff", "alice", &quota(1000), now);
    let holder = account.meter(now, "home", None, "a.example");
    let other = account.meter(now, "home", None, "b.example");
    assert_eq!(holder.grant(now, 4096), Granted::Now(1000));
    assert!(matches!(other.grant(now, 100), Granted::Later(_)));
    assert!(matches!(other.grant(at(start, 0.9), 100), Granted::Later(_)));
    assert!(matches!(other.grant(at(start, 1.0), 100), Granted::Stop(Denied::Quota { .. })));
}

#[test]
fn a_budget_ends_at_the_byte_that_can_be_paid() {
    let (accounts, now) = (memory(), at(Instant::now(), 0.0));
    // 0.05 at 3.00 for 10⁹ bytes: 16 666 666 bytes and two thirds.
    let budget = limits(|limits| {
        limits.budgets = vec![Budget { amount: 50_000, per: Period::Month }];
    });
    let account = accounts.account("staff", "alice", &budget, now);
    let paid = account.meter(now, "far", Some(3_000_000), "a.example");
    let (moved, denied) = exhaust(&paid, now, 1337);
    assert_eq!(moved, 16_666_666);
    assert!(matches!(denied, Denied::Budget { period: Period::Month, .. }), "{denied:?}");
    assert_eq!(account.affords(now, Some(3_000_000)), Err(denied));
    assert_eq!(account.affords(now, None), Ok(()));
    assert_eq!(account.admit(now), Ok(()), "exits that cost nothing are still open");
    let free = account.meter(now, "home", None, "a.example");
    assert_eq!(free.grant(now, 10), Granted::Now(10));
    accounts.flush();
    assert_eq!(account.standing(now).month.cost, 49_999);
    let totals = accounts.totals();
    assert_eq!((totals[0].exit.as_ref(), totals[0].cost, totals[0].down), ("far", 49_999, moved));
}

/// Whoever began to log in before a reload may get here behind it.
#[test]
fn limits_of_an_older_configuration_replace_none_of_a_newer_one() {
    let (accounts, now) = (memory(), at(Instant::now(), 0.0));
    let of = |bytes, generation| Arc::new(Limits::clone(&quota(bytes)).of_generation(generation));
    let (old, new) = (of(2000, 1), of(1000, 2));
    let account = accounts.account("staff", "alice", &old, now);
    let _ = accounts.account("staff", "alice", &new, now);
    let late = accounts.account("staff", "alice", &old, now);
    assert!(Arc::ptr_eq(&account, &late));
    assert_eq!(account.standing(now).day.quota, Some(1000));
    // What is used and what is left are told of one moment, before anything is written down.
    let meter = account.meter(now, "home", None, "a.example");
    meter.used(Direction::Down, 300);
    let standing = account.standing(now).day;
    assert_eq!((standing.bytes, standing.bytes_left), (300, Some(700)));
    // Two listeners of one configuration have limits each, and they say the same.
    let _ = accounts.account("staff", "alice", &of(1000, 2), now);
    let _ = accounts.account("staff", "alice", &of(3000, 3), now);
    assert_eq!(account.standing(now).day.quota, Some(3000));
}

#[test]
fn limits_that_become_others_take_what_was_used_along() {
    let (accounts, now) = (memory(), at(Instant::now(), 0.0));
    let account = accounts.account("staff", "alice", &quota(1000), now);
    let meter = account.meter(now, "home", None, "a.example");
    assert_eq!(exhaust(&meter, now, 4096).0, 1000);
    let again = accounts.account("staff", "alice", &quota(1600), now);
    assert!(Arc::ptr_eq(&account, &again));
    assert_eq!(exhaust(&meter, now, 4096).0, 600);
    let _ = accounts.account("staff", "alice", &Arc::new(Limits::none()), now);
    assert_eq!(meter.grant(now, 100), Granted::Now(100));
    let other = accounts.account("guests", "alice", &quota(1000), now);
    assert!(!Arc::ptr_eq(&account, &other), "of another set");
    assert_eq!(accounts.all().len(), 2);
}

#[test]
fn connections_are_counted_while_they_are_there() {
    let (accounts, now) = (memory(), at(Instant::now(), 0.0));
    let two = limits(|limits| limits.connections = Some(2));
    let account = accounts.account("staff", "alice", &two, now);
    let first = account.connect().expect("the first");
    let _second = account.connect().expect("the second");
    assert_eq!(account.connect().err(), Some(Denied::Connections));
    assert_eq!(account.standing(now).connections, 2);
    drop(first);
    assert!(account.connect().is_ok());
}

#[test]
fn requests_and_bandwidth_have_their_rates() {
    let (accounts, start) = (memory(), Instant::now());
    let rates = limits(|limits| {
        limits.requests = Some((2, Duration::from_secs(1)));
        limits.bandwidth = Some(1 << 20);
    });
    let now = at(start, 0.0);
    let account = accounts.account("staff", "alice", &rates, now);
    assert_eq!((account.admit(now), account.admit(now)), (Ok(()), Ok(())));
    let retry_after = Duration::from_millis(500);
    assert_eq!(account.admit(now), Err(Denied::Rate { retry_after }));
    assert_eq!(account.admit(at(start, 0.5)), Ok(()));

    // Both directions of two streams in ten seconds: the rate, and the burst.
    let meters = [0, 1].map(|_| account.meter(now, "home", None, "a.example"));
    let mut moved = 0;
    for tick in 0..=10_000 {
        let now = at(start, f64::from(tick) / 1000.0);
        for (meter, direction) in meters.iter().zip([Direction::Up, Direction::Down]) {
            if let Granted::Now(bytes) = meter.grant(now, 1 << 20) {
                meter.used(direction, bytes);
                moved += bytes;
            }
        }
    }
    let all = 10 * (1 << 20) + (1 << 18);
    assert!((all - 8192..=all).contains(&moved), "{moved} of {all}");
}

#[test]
fn hours_and_the_end_of_an_account() {
    let (accounts, start) = (memory(), Instant::now());
    let mut config = UserLimits::default();
    let days = config::Weekdays(0b111_1111);
    config.hours = vec![config::Hours { days, from: 12 * 60, until: 13 * 60 }];
    let until_two = Limits::build(&config, &Zone::utc()).expiring(Some(NOON as u64 + 1800));
    let account = accounts.account("staff", "alice", &Arc::new(until_two), at(start, 0.0));
    assert_eq!(account.admit(at(start, 0.0)), Ok(()));
    let meter = account.meter(at(start, 0.0), "home", None, "a.example");
    assert_eq!(meter.grant(at(start, 1799.0), 1), Granted::Now(1));
    assert_eq!(meter.grant(at(start, 1800.0), 1), Granted::Stop(Denied::Expired));
    assert_eq!(account.admit(at(start, 1800.0)), Err(Denied::Expired));
    let hours = Arc::new(Limits::build(&config, &Zone::utc()));
    let account = accounts.account("staff", "bob", &hours, at(start, 0.0));
    assert_eq!(account.admit(at(start, 3599.0)), Ok(()));
    // What has begun ends with them too.
    let meter = account.meter(at(start, 0.0), "home", None, "a.example");
    assert_eq!(meter.grant(at(start, 3599.0), 1), Granted::Now(1));
    assert_eq!(meter.grant(at(start, 3600.0), 1), Granted::Stop(Denied::Hours));
    assert_eq!(account.admit(at(start, 3600.0)), Err(Denied::Hours));
}

#[test]
fn a_reset_gives_the_day_back() {
    let (accounts, now) = (memory(), at(Instant::now(), 0.0));
    let account = accounts.account("staff", "alice", &quota(1000), now);
    let meter = account.meter(now, "home", None, "a.example");
    assert_eq!(exhaust(&meter, now, 4096).0, 1000);
    assert_eq!(accounts.reset("staff", "alice", now), Ok(true));
    assert_eq!(accounts.reset("staff", "nobody", now), Ok(false));
    assert_eq!(exhaust(&meter, now, 4096).0, 1000);
    let all = accounts.usage(&UsageQuery::default()).unwrap();
    assert_eq!(all[0].down, 2000, "what was, was");
}

#[test]
fn a_clock_that_is_set_back_gives_nothing_twice() {
    let (accounts, start) = (memory(), Instant::now());
    let now = at(start, 13.0 * 3600.0);
    let account = accounts.account("staff", "alice", &quota(1000), now);
    let meter = account.meter(now, "home", None, "a.example");
    assert_eq!(exhaust(&meter, now, 4096).0, 1000);
    let before = Moment { unix: NOON, ..now };
    assert!(matches!(meter.grant(before, 1), Granted::Stop(Denied::Quota { .. })));
    // One that was wrong by years does not lock anybody out.
    let long_before = Moment { unix: NOON - 10_000_000, ..now };
    assert_eq!(meter.grant(long_before, 1), Granted::Now(1));
}

#[test]
fn targets_beyond_so_many_count_together() {
    let (accounts, now) = (memory(), at(Instant::now(), 0.0));
    let account = accounts.account("staff", "alice", &Arc::new(Limits::none()), now);
    for number in 0..crate::MOST_TARGETS + 10 {
        let meter = account.meter(now, "home", None, &format!("{number}.example"));
        meter.used(Direction::Up, 1);
    }
    account.cells.forget_unused();
    accounts.flush();
    account.cells.forget_unused();
    // Known ones are known again, new ones are not.
    account.meter(now, "home", None, "0.example").used(Direction::Up, 5);
    account.meter(now, "home", None, "new.example").used(Direction::Up, 7);
    let query = UsageQuery { by: vec![By::Target], ..UsageQuery::default() };
    let rows = accounts.usage(&query).unwrap();
    assert_eq!(rows.len(), crate::MOST_TARGETS + 1);
    let of = |target: &str| rows.iter().find(|row| row.target.as_deref() == Some(target));
    assert_eq!(of(crate::OTHER).map(|row| row.up), Some(17));
    assert_eq!(of("0.example").map(|row| (row.up, row.requests)), Some((6, 2)));
    let by_exit = UsageQuery { by: vec![By::User, By::Exit], ..UsageQuery::default() };
    let rows = accounts.usage(&by_exit).unwrap();
    assert_eq!(rows[0].up, crate::MOST_TARGETS as u64 + 10 + 12);
}

#[test]
fn what_passed_without_a_grant_is_charged() {
    let (accounts, now) = (memory(), at(Instant::now(), 0.0));
    let account = accounts.account("staff", "alice", &quota(1000), now);
    let meter = account.meter(now, "home", Some(1_000_000_000), "a.example");
    meter.used(Direction::Up, 1500);
    assert!(matches!(meter.grant(now, 1), Granted::Stop(Denied::Quota { .. })));
    accounts.flush();
    assert_eq!(account.standing(now).day.bytes, 1500);
    assert_eq!(account.standing(now).day.cost, 1500);
}

#[test]
fn accounts_that_nobody_has_are_put_aside_with_what_they_used() {
    let (accounts, now) = (memory(), at(Instant::now(), 0.0));
    let kept = accounts.account("staff", "kept", &quota(1000), now);
    let alice = accounts.account("staff", "alice", &quota(1000), now);
    alice.meter(now, "home", None, "a.example").used(Direction::Up, 300);
    drop(alice);
    for _ in 0..RESTS {
        accounts.directory.sweep(None);
        assert!(accounts.find("staff", "alice").is_some(), "too early");
    }
    accounts.flush();
    accounts.directory.sweep(Some(Day(0)));
    assert!(accounts.find("staff", "alice").is_none());
    assert!(accounts.find("staff", "kept").is_some());
    drop(kept);
    let alice = accounts.account("staff", "alice", &quota(1000), now);
    assert_eq!(alice.standing(now).day.bytes_left, Some(700));
    drop(alice);
    for _ in 0..=RESTS + 1 {
        accounts.directory.sweep(None);
    }
    assert!(accounts.all().is_empty());
    // Two months later nothing of it is worth knowing.
    accounts.directory.sweep(Some(Day(25_000)));
    assert!(lock(&accounts.directory.saved).is_empty());
}

impl Moment {
    fn now_at(unix: i64) -> Self {
        Self { instant: Instant::now(), unix }
    }
}
