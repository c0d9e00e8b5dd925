use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;

use proptest::prelude::*;

use super::*;

fn limit(unit: RateUnit, amount: u64, per: Duration, burst: u64, key: LimitKey) -> RateLimit {
    RateLimit { unit, amount, per, burst, key, span: (0, 0).into() }
}

const SECOND: Duration = Duration::from_secs(1);

fn requests(amount: u64, burst: u64) -> RateLimit {
    limit(RateUnit::Requests, amount, SECOND, burst, LimitKey::ClientIp)
}

/// A limit that knows only so many keys.
fn small(limit: &RateLimit, epoch: Instant, slots: usize) -> Limiter {
    Limiter::new(limit, epoch, Slots::with_size(1, slots))
}

fn ip(number: u32) -> IpAddr {
    IpAddr::V4(number.into())
}

fn nothing() -> std::iter::Empty<&'static [u8]> {
    std::iter::empty()
}

#[test]
fn a_burst_comes_at_once_and_the_rate_afterwards() {
    let now = Instant::now();
    let table = RateTable::new(now);
    let limiter = table.limiter("here", &requests(10, 3), now);
    let key = limiter.key(ip(1), nothing());
    let standing: Vec<_> = (0..4).map(|_| limiter.admit(key, now)).collect();
    assert_eq!(standing.iter().map(|s| s.admitted).collect::<Vec<_>>(), [true, true, true, false]);
    assert_eq!(standing.iter().map(|s| s.remaining).collect::<Vec<_>>(), [2, 1, 0, 0]);
    assert_eq!(standing[2].full_in, Duration::from_millis(300));
    assert_eq!(standing[3].retry_after, Duration::from_millis(100));
    // Being refused costs nothing.
    let later = now + Duration::from_millis(100);
    assert!(!limiter.peek(key, later - Duration::from_nanos(1)).admitted);
    assert!(limiter.peek(key, later).admitted);
    assert!(limiter.admit(key, later).admitted);
    assert!(!limiter.admit(key, later).admitted);
    // Others are others.
    assert!(limiter.admit(limiter.key(ip(2), nothing()), later).admitted);
}

#[test]
fn keys_are_clients_by_their_64_or_values_or_the_place() {
    let now = Instant::now();
    let by = |key: LimitKey| {
        let limit = limit(RateUnit::Requests, 1, SECOND, 1, key);
        Limiter::new(&limit, now, Slots::new())
    };
    let v6 = |text: &str| text.parse::<IpAddr>().unwrap();
    let limiter = by(LimitKey::ClientIp);
    let key = |client| limiter.key(client, nothing());
    assert_eq!(key(v6("2001:db8::1")), key(v6("2001:db8::ffff:1")));
    assert_ne!(key(v6("2001:db8::1")), key(v6("2001:db8:0:1::1")));
    assert_eq!(key(v6("::ffff:192.0.2.1")), key(v6("192.0.2.1")));
    assert_ne!(key(v6("192.0.2.1")), key(v6("192.0.2.2")));
    let limiter = by(LimitKey::Header("x-key".to_owned()));
    let key = |client, values: &[&'static str]| {
        limiter.key(ip(client), values.iter().map(|value| value.as_bytes()))
    };
    assert_eq!(limiter.header(), Some("x-key"));
    assert_eq!(key(1, &["a"]), key(2, &["a"]));
    assert_ne!(key(1, &["a"]), key(1, &["b"]));
    assert_ne!(key(1, &["ab"]), key(1, &["a", "b"]));
    assert_ne!(key(1, &[""]), key(1, &[]));
    let limiter = by(LimitKey::Place);
    assert_eq!(limiter.key(ip(1), nothing()), limiter.key(ip(2), nothing()));
}

#[test]
fn a_limit_is_found_again_unless_it_has_changed() {
    let now = Instant::now();
    let table = RateTable::new(now);
    let first = table.limiter("here", &requests(10, 3), now);
    let moved = RateLimit { span: (7, 7).into(), ..requests(10, 3) };
    assert!(Arc::ptr_eq(&first, &table.limiter("here", &moved, now)));
    let others = [
        table.limiter("there", &requests(10, 3), now),
        table.limiter("here", &requests(11, 3), now),
        table.limiter("here", &requests(10, 4), now),
        table.limiter("here", &RateLimit { unit: RateUnit::Bytes, ..requests(10, 3) }, now),
        table.limiter("here", &RateLimit { key: LimitKey::Place, ..requests(10, 3) }, now),
    ];
    assert!(others.iter().all(|other| !Arc::ptr_eq(&first, other)));
    assert_eq!(table.len(), 6);
}

#[test]
fn a_limit_that_nobody_has_is_forgotten_once_nobody_owes_anything() {
    let now = Instant::now();
    let table = RateTable::new(now);
    let limiter = table.limiter("here", &requests(1, 10), now);
    let key = limiter.key(ip(1), nothing());
    assert_eq!((0..4).filter(|_| limiter.admit(key, now).admitted).count(), 4);
    drop(limiter);
    // Configurations without it in between, and another one with it.
    let fill = |prefix: &str, at: Instant| {
        for number in 0..2 * LOOK_FROM {
            let _ = table.limiter(&format!("{prefix}{number}"), &requests(1, 1), at);
        }
    };
    fill("a", now + 3 * SECOND);
    assert!(table.len() <= LOOK_FROM + 1, "{}", table.len());
    let limiter = table.limiter("here", &requests(1, 10), now + 3 * SECOND);
    assert_eq!(limiter.peek(key, now + 3 * SECOND).remaining, 9);
    fill("b", now + 3 * SECOND);
    assert!(Arc::ptr_eq(&limiter, &table.limiter("here", &requests(1, 10), now)));
    drop(limiter);
    fill("c", now + 5 * SECOND);
    let limiter = table.limiter("here", &requests(1, 10), now + 3 * SECOND);
    assert_ne!(limiter.key(ip(1), nothing()), key, "the same limit, though nobody needs it");
}

#[test]
fn limits_that_nobody_has_are_not_kept_for_ever_whatever_is_owed() {
    let now = Instant::now();
    let table = RateTable::new(now);
    let place = RateLimit { key: LimitKey::Place, ..requests(1, 10) };
    for number in 0..5 * KEPT_UNUSED {
        let limiter = table.limiter(&number.to_string(), &place, now);
        assert!(limiter.admit(RateKey(0), now).admitted);
    }
    assert!(table.len() <= 2 * KEPT_UNUSED + 1, "{}", table.len());
}

#[test]
fn a_flood_of_keys_gets_no_fresh_allowance_and_takes_nothing_from_the_known() {
    let now = Instant::now();
    let limiter = small(&requests(1, 2), now, 64);
    let known = limiter.key(ip(0), nothing());
    assert!(limiter.admit(known, now).admitted);
    let admitted: usize = (1..10_000)
        .map(|number| {
            let key = limiter.key(ip(number), nothing());
            (0..3).filter(|_| limiter.admit(key, now).admitted).count()
        })
        .sum();
    // Each that has a slot, and once more all those without one.
    assert!(admitted <= 2 * 63 + 2 + 16, "{admitted}");
    assert_eq!(limiter.peek(known, now).remaining, 1);
    assert!(limiter.admit(known, now).admitted);
    assert!(!limiter.admit(known, now).admitted);
    // Once its neighbours have got all back, there is room again for anybody.
    let later = now + 5 * SECOND;
    let key = limiter.key(ip(77_777), nothing());
    assert_eq!((0..3).filter(|_| limiter.admit(key, later).admitted).count(), 2);
}

#[test]
fn odd_numbers_do_no_harm() {
    let now = Instant::now();
    for (amount, per, burst) in [
        (0, SECOND, 0),
        (u64::MAX, Duration::from_nanos(0), u64::MAX),
        (1, Duration::MAX, u64::MAX),
        (u64::MAX, SECOND, 1),
    ] {
        for unit in [RateUnit::Requests, RateUnit::Bytes] {
            let limiter =
                Limiter::new(&limit(unit, amount, per, burst, LimitKey::Place), now, Slots::new());
            assert!(limiter.admit(RateKey(0), now).admitted, "{amount} {per:?} {burst}");
            let _ = limiter.admit(RateKey(0), now + Duration::from_secs(1 << 40));
            let _ = limiter.available(RateKey(0), now, u64::MAX);
            let _ = limiter.take(RateKey(0), now, u64::MAX);
        }
    }
}

proptest! {
    /// The one promise: in any time, no key gets more than its burst and what the rate gives.
    #[test]
    fn never_more_than_the_burst_and_the_rate(
        amount in 1u64..2000,
        per_ms in 1u64..5000,
        burst in 1u64..8,
        slots in 1usize..24,
        steps in prop::collection::vec((0u64..2_000_000_000, 0u32..20), 1..300),
    ) {
        let epoch = Instant::now();
        let per = Duration::from_millis(per_ms);
        let spec = limit(RateUnit::Requests, amount, per, burst, LimitKey::ClientIp);
        let limiter = small(&spec, epoch, slots);
        let mut now = 0u64;
        let mut admitted: HashMap<u32, Vec<u64>> = HashMap::new();
        for (gap, client) in steps {
            // Gaps of all sizes, most of them small against the rate.
            now += gap >> (gap % 24);
            let key = limiter.key(ip(client), nothing());
            let at = epoch + Duration::from_nanos(now);
            let before = limiter.peek(key, at);
            let standing = limiter.admit(key, at);
            prop_assert!(before.admitted == standing.admitted || !before.admitted);
            if standing.admitted {
                admitted.entry(client).or_default().push(now);
            } else {
                prop_assert!(standing.retry_after > Duration::ZERO);
            }
        }
        for times in admitted.values() {
            for (from, start) in times.iter().enumerate() {
                for (to, end) in times.iter().enumerate().skip(from) {
                    let count = (to - from + 1) as u128;
                    let by_rate = u128::from(end - start) * u128::from(amount)
                        / u128::from(per_ms * 1_000_000);
                    prop_assert!(count <= u128::from(burst) + by_rate);
                }
            }
        }
    }

    /// Whoever keeps to the rate is never refused, where there is room for all keys.
    #[test]
    fn who_keeps_to_the_rate_is_admitted(amount in 1u64..1000, clients in 1u32..30) {
        let epoch = Instant::now();
        let limiter = Limiter::new(&requests(amount, 1), epoch, Slots::new());
        for round in 0..50 {
            let at = epoch + Duration::from_nanos(round * 1_000_000_000u64.div_ceil(amount));
            for client in 0..clients {
                prop_assert!(limiter.admit(limiter.key(ip(client), nothing()), at).admitted);
            }
        }
    }

    #[test]
    fn bytes_never_go_faster_than_the_rate(
        amount in 1u64..1_000_000_000,
        burst in 1u64..1_000_000,
        steps in prop::collection::vec((0u64..50_000_000, 1usize..200_000), 1..100),
    ) {
        let epoch = Instant::now();
        let spec = limit(RateUnit::Bytes, amount, SECOND, burst, LimitKey::Place);
        let limiter = Arc::new(Limiter::new(&spec, epoch, Slots::new()));
        let pacer = Pacer::new(vec![(limiter, RateKey(0))]).unwrap();
        let mut now = 0;
        let mut gone: Vec<(u64, u64)> = Vec::new();
        for (gap, want) in steps {
            now += gap;
            let at = epoch + Duration::from_nanos(now);
            let mut grant = pacer.grant(at, want);
            if let Grant::Later(wait) = grant {
                prop_assert!(wait > Duration::ZERO);
                now += wait.as_nanos() as u64;
                // That is when there is something.
                grant = pacer.grant(at + wait, want);
            }
            let Grant::Now(count) = grant else { panic!("{grant:?} after having waited") };
            prop_assert!(count >= 1 && count <= want);
            gone.push((now, count as u64));
        }
        for (from, (start, _)) in gone.iter().enumerate() {
            let mut sum = 0u128;
            for (end, count) in &gone[from..] {
                sum += u128::from(*count);
                let by_rate = u128::from(end - start) * u128::from(amount) / 1_000_000_000;
                prop_assert!(sum <= u128::from(burst) + by_rate + 1, "{sum}");
            }
        }
    }
}

#[test]
fn a_body_goes_as_fast_as_the_slower_of_two_limits() {
    let now = Instant::now();
    let bytes = |amount, burst| {
        let spec = limit(RateUnit::Bytes, amount, SECOND, burst, LimitKey::Place);
        Arc::new(Limiter::new(&spec, now, Slots::new()))
    };
    let (fast, slow) = (bytes(1_000_000, 500_000), bytes(10_000, 20_000));
    let pacer = Pacer::new(vec![(Arc::clone(&fast), RateKey(0)), (slow, RateKey(0))]).unwrap();
    assert_eq!(pacer.grant(now, 0), Grant::Now(0));
    assert_eq!(pacer.grant(now, 64_000), Grant::Now(20_000));
    // So little is not worth it: 4096 bytes take 409.6 ms.
    assert_eq!(pacer.grant(now, 64_000), Grant::Later(Duration::from_micros(409_600)));
    assert_eq!(pacer.grant(now, 100), Grant::Later(Duration::from_millis(10)));
    // What did not go is there for the next one.
    pacer.unused(300);
    assert_eq!(pacer.grant(now, 100), Grant::Now(100));
    assert_eq!(pacer.grant(now, 1000), Grant::Now(200));
    assert_eq!(pacer.grant(now + SECOND, 64_000), Grant::Now(10_000));
    // The other one has not given more than went.
    let (left, _) = fast.available(RateKey(0), now + SECOND, 1);
    assert_eq!(left, 490_000);
    assert!(Pacer::new(Vec::new()).is_none());
}

/// Asks from several threads at once; how many were admitted for each key.
fn hammer(
    limiter: &Limiter,
    keys: u32,
    each: usize,
    now: impl Fn() -> Instant + Sync,
) -> Vec<usize> {
    let counts: Vec<_> = (0..keys).map(|_| AtomicUsize::new(0)).collect();
    let gate = std::sync::Barrier::new(4);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (gate, counts, now) = (&gate, &counts, &now);
            scope.spawn(move || {
                gate.wait();
                for step in 0..each {
                    let client = (step as u32 * 7 + thread) % keys;
                    let key = limiter.key(ip(client), nothing());
                    if limiter.admit(key, now()).admitted {
                        counts[client as usize].fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    counts.into_iter().map(AtomicUsize::into_inner).collect()
}

#[test]
fn together_threads_get_what_one_would() {
    let epoch = Instant::now();
    let now = epoch + SECOND;
    // The place itself.
    let one = limit(RateUnit::Requests, 10, SECOND, 500, LimitKey::Place);
    let limiter = Limiter::new(&one, epoch, Slots::new());
    assert_eq!(hammer(&limiter, 1, 2000, || now), [500]);
    // Many keys, each new to all threads at the same moment.
    let limiter = Limiter::new(&requests(10, 5), epoch, Slots::new());
    let counts = hammer(&limiter, 200, 20_000, || now);
    assert!(counts.iter().all(|count| *count == 5), "{counts:?}");
}

#[test]
fn threads_that_take_over_slots_from_each_other_give_nothing_away() {
    let epoch = Instant::now();
    for slots in [1, 4, 40] {
        let limiter = small(&requests(1_000_000, 3), epoch, slots);
        // Time goes on with every question, so that slots change hands all the time.
        let clock = AtomicU64::new(1000);
        let now = || epoch + Duration::from_nanos(clock.fetch_add(200, Ordering::Relaxed));
        let counts = hammer(&limiter, 50, 20_000, now);
        let passed = clock.load(Ordering::Relaxed);
        // A thread may have read the clock long before it asks: one more for each of them.
        let most = 3 + passed as usize / 1000 + 4;
        assert!(counts.iter().all(|count| *count <= most), "{slots}: {counts:?} {most}");
        assert!(counts.iter().sum::<usize>() > 0);
    }
}
