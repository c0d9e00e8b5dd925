use proptest::prelude::*;

use super::*;

fn key(number: u8) -> DecisionKey {
    [number; 32]
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_decision_holds_for_its_time_and_no_longer() {
    let (cache, now) = (DecisionCache::new(8, 10_000), Instant::now());
    cache.keep(key(1), "yes", 10, now, 5 * SECOND);
    assert_eq!(cache.get(&key(1), now + 4 * SECOND), Some("yes"));
    assert_eq!(cache.get(&key(1), now + 5 * SECOND), None);
    assert_eq!(cache.get(&key(2), now), None);
}

#[test]
fn a_decision_that_is_not_fresh_takes_the_earlier_one_away() {
    let (cache, now) = (DecisionCache::new(8, 10_000), Instant::now());
    cache.keep(key(1), "yes", 10, now, 5 * SECOND);
    cache.keep(key(1), "no", 10, now, Duration::ZERO);
    assert_eq!(cache.get(&key(1), now), None);
    assert!(cache.is_empty());
}

#[test]
fn the_first_to_come_goes_when_there_is_no_room() {
    let (cache, now) = (DecisionCache::new(2, 10_000), Instant::now());
    for number in 1..=3 {
        cache.keep(key(number), number, 10, now, SECOND);
    }
    assert_eq!([1, 2, 3].map(|n| cache.get(&key(n), now)), [None, Some(2), Some(3)]);
    let cache = DecisionCache::new(100, 3 * (1000 + OVERHEAD));
    for number in 1..=4 {
        cache.keep(key(number), number, 1000, now, SECOND);
    }
    cache.keep(key(9), 9, 10_000, now, SECOND);
    let there = [1, 2, 3, 4, 9].map(|n| cache.get(&key(n), now));
    assert_eq!(there, [None, Some(2), Some(3), Some(4), None]);
}

#[test]
fn the_least_that_is_granted_counts() {
    let fresh = |fields: &[&str], age: &[&str]| {
        let bytes = |list: &[&str]| list.iter().map(|v| v.as_bytes().to_vec()).collect::<Vec<_>>();
        let (fields, age) = (bytes(fields), bytes(age));
        freshness(fields.iter().map(|v| &v[..]), age.iter().map(|v| &v[..])).as_secs()
    };
    for (fields, seconds) in [
        (&["max-age=60"][..], 60),
        (&["Private , MAX-AGE = 60"], 60),
        (&["max-age=60, s-maxage=10"], 10),
        (&["s-maxage=90", "max-age=60"], 90),
        (&["max-age=60", "max-age=30"], 30),
        (&["max-age=60, no-store"], 0),
        (&["max-age=60, no-cache"], 0),
        (&["no-cache=\"set-cookie\", max-age=60"], 0),
        (&["public"], 0),
        (&["must-revalidate, max-age=5"], 5),
        (&["max-age"], 0),
        (&["max-age=-1"], 0),
        (&["max-age=\"60\""], 0),
        (&["max-age=60, max-age=x"], 0),
        (&["max-age=99999999999999999999999"], 1 << 31),
        (&["x-max-age=60"], 0),
        (&[], 0),
    ] {
        assert_eq!(fresh(fields, &[]), seconds, "{fields:?}");
    }
    assert_eq!(fresh(&["max-age=60"], &["20"]), 40);
    assert_eq!(fresh(&["max-age=60"], &["61"]), 0);
    assert_eq!(fresh(&["max-age=60"], &["?"]), 0);
}

proptest! {
    #[test]
    fn it_stays_within_its_bounds_and_forgets_nothing_else(
        steps in prop::collection::vec((0u8..12, 0usize..400, 0u64..5, 0u64..3), 1..200),
    ) {
        let (entries, bytes) = (6, 2000);
        let cache = DecisionCache::new(entries, bytes);
        let mut now = Instant::now();
        for (step, (number, size, fresh, passed)) in steps.into_iter().enumerate() {
            now += Duration::from_secs(passed);
            cache.keep(key(number), step, size, now, Duration::from_secs(fresh));
            prop_assert_eq!(cache.get(&key(number), now), (fresh > 0).then_some(step));
            let inside = cache.entries.borrow();
            prop_assert!(inside.by_key.len() <= entries && inside.bytes <= bytes);
            prop_assert_eq!(inside.bytes, inside.by_key.values().map(|e| e.bytes).sum::<usize>());
            prop_assert!(inside.order.len() <= 2 * inside.by_key.len() + 16);
            for (key, entry) in &inside.by_key {
                prop_assert!(inside.order.contains(&(*key, entry.number)));
            }
        }
    }
}
