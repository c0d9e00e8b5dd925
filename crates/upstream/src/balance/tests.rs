use proptest::prelude::*;

use super::*;

fn one(id: u64, weight: u32) -> Candidate {
    Candidate {
        id: stable_hash(&id.to_be_bytes()),
        weight: weight * UNIT,
        tier: 0,
        in_flight: 0,
        limit: u32::MAX,
        condition: Condition::Well,
        tried: false,
        listed: true,
    }
}

fn group(weights: &[u32]) -> Vec<Candidate> {
    weights.iter().enumerate().map(|(id, weight)| one(id as u64, *weight)).collect()
}

fn names(candidates: &[Candidate]) -> Vec<usize> {
    listed(candidates).map(|(index, _)| index).collect()
}

#[test]
fn turns_are_spread_evenly() {
    let candidates = group(&[5, 1, 1]);
    let mut waited = vec![0; 3];
    let turns: Vec<_> = (0..7).filter_map(|_| round_robin(&candidates, &mut waited)).collect();
    assert_eq!(turns, [0, 0, 1, 0, 2, 0, 0]);
    assert_eq!(waited, [0, 0, 0], "a cycle ends where it began");
}

#[test]
fn the_least_loaded_for_its_weight() {
    let mut candidates = group(&[1, 2, 1]);
    candidates[0].in_flight = 2;
    candidates[1].in_flight = 4;
    candidates[2].in_flight = 3;
    assert_eq!(least_requests(&candidates, 0), Some(1), "5 for 2 is less than 3 for 1");
    candidates[1].in_flight = 5;
    assert_eq!(least_requests(&candidates, 0), Some(0), "equal: the first");
    assert_eq!(least_requests(&candidates, 1), Some(1), "equal: the first from the turn on");
    candidates[0].listed = false;
    candidates[1].listed = false;
    assert_eq!(least_requests(&candidates, 0), Some(2));
    assert_eq!(least_requests(&[], 0), None);
}

#[test]
fn of_two_the_sooner() {
    let mut candidates = group(&[1, 1]);
    let latency = |index: usize| [1000, 3000][index];
    for random in 0..50 {
        assert_eq!(peak_ewma(&candidates, mix(random), latency), Some(0));
    }
    candidates[0].in_flight = 4;
    for random in 0..50 {
        assert_eq!(
            peak_ewma(&candidates, mix(random), latency),
            Some(1),
            "five times 1 ms against 3 ms"
        );
    }
    let unknown = |index: usize| [1000, 0][index];
    candidates[1].in_flight = 5;
    for random in 0..50 {
        assert_eq!(peak_ewma(&candidates, mix(random), unknown), Some(0), "nobody knows how soon");
    }
    candidates[0].listed = false;
    assert_eq!(peak_ewma(&candidates, 7, unknown), Some(1));
}

#[test]
fn backups_only_when_no_primary_is_left() {
    let mut candidates = group(&[1, 1, 1]);
    candidates[2].tier = 9;
    assert_eq!(shortlist(&mut candidates, 0), Ok(()));
    assert_eq!(names(&candidates), [0, 1]);
    candidates[0].condition = Condition::Ill;
    candidates[1].condition = Condition::Ejected;
    shortlist(&mut candidates, 0).unwrap();
    assert_eq!(names(&candidates), [2], "a well backup before primaries that are not");
    candidates[2].condition = Condition::Ill;
    shortlist(&mut candidates, 0).unwrap();
    assert_eq!(names(&candidates), [1], "nobody is well: those that are not ill");
    candidates[1].tried = true;
    shortlist(&mut candidates, 0).unwrap();
    assert_eq!(names(&candidates), [0]);
    candidates[0].tried = true;
    shortlist(&mut candidates, 0).unwrap();
    assert_eq!(names(&candidates), [2]);
    candidates[2].tried = true;
    assert_eq!(shortlist(&mut candidates, 0), Err(Refused::AllTried));
}

#[test]
fn a_retry_goes_to_a_backup_but_not_to_the_ill() {
    let mut candidates = group(&[1, 1, 1]);
    candidates[0].tried = true;
    candidates[1].condition = Condition::Ill;
    candidates[2].tier = 1;
    shortlist(&mut candidates, 0).unwrap();
    assert_eq!(names(&candidates), [2]);
    candidates[2].tried = true;
    assert_eq!(shortlist(&mut candidates, 0), Err(Refused::AllTried));
}

#[test]
fn the_full_wait_unless_there_is_a_backup() {
    let mut candidates = group(&[1, 1]);
    for one in &mut candidates {
        (one.limit, one.in_flight) = (3, 3);
    }
    assert_eq!(shortlist(&mut candidates, 0), Err(Refused::Full));
    candidates[1].tier = 1;
    candidates[1].in_flight = 2;
    assert_eq!(shortlist(&mut candidates, 0), Ok(()));
    assert_eq!(names(&candidates), [1]);
}

#[test]
fn nobody_with_a_share() {
    let mut candidates = group(&[0, 0]);
    assert_eq!(shortlist(&mut candidates, 0), Err(Refused::NoServer));
    assert_eq!(shortlist(&mut [], 0), Err(Refused::NoServer));
}

#[test]
fn in_panic_all_of_the_tier_are_used() {
    let mut candidates = group(&[1; 10]);
    for one in &mut candidates[..7] {
        one.condition = Condition::Ill;
    }
    shortlist(&mut candidates, 30).unwrap();
    assert_eq!(names(&candidates), [7, 8, 9], "30 percent are well, not fewer");
    candidates[7].condition = Condition::Ejected;
    shortlist(&mut candidates, 30).unwrap();
    assert_eq!(names(&candidates).len(), 10);
}

#[test]
fn the_same_key_finds_the_same_server_for_ever() {
    // Written down, so that a later version does not move everybody's keys.
    let candidates = group(&[1, 2, 3]);
    let found: Vec<_> = (0u64..12)
        .filter_map(|key| consistent(&candidates, stable_hash(&key.to_be_bytes()), u16::MAX))
        .collect();
    let again: Vec<_> = (0u64..12)
        .filter_map(|key| consistent(&candidates, stable_hash(&key.to_be_bytes()), u16::MAX))
        .collect();
    assert_eq!(found, again);
    assert_eq!(stable_hash(b"client"), stable_hash(b"client"));
    assert_ne!(stable_hash(b"client"), stable_hash(b"clienu"));
}

fn weights() -> impl Strategy<Value = Vec<u32>> {
    proptest::collection::vec(1u32..20, 1..8)
}

proptest! {
    #[test]
    fn a_cycle_honours_the_weights(weights in weights(), skipped in 0usize..50) {
        let candidates = group(&weights);
        let mut waited = vec![0; weights.len()];
        for _ in 0..skipped {
            round_robin(&candidates, &mut waited);
        }
        let mut counts = vec![0i64; weights.len()];
        for _ in 0..weights.iter().sum::<u32>() {
            counts[round_robin(&candidates, &mut waited).unwrap()] += 1;
        }
        for (count, weight) in counts.iter().zip(&weights) {
            prop_assert!((count - i64::from(*weight)).abs() <= 1, "{counts:?} for {weights:?}");
        }
    }

    #[test]
    fn chance_honours_the_weights(weights in weights()) {
        let candidates = group(&weights);
        let total: u64 = weights.iter().map(|weight| u64::from(weight * UNIT)).sum();
        let mut counts = vec![0u64; weights.len()];
        // Every value once: exactly the weights.
        for value in (0..total).step_by(UNIT as usize) {
            counts[random(&candidates, value).unwrap()] += 1;
        }
        let expected: Vec<_> = weights.iter().map(|weight| u64::from(*weight)).collect();
        prop_assert_eq!(counts, expected);
    }

    #[test]
    fn whoever_leaves_moves_only_its_own_keys(weights in weights(), gone in any::<usize>()) {
        let mut candidates = group(&weights);
        let gone = gone % weights.len();
        let before: Vec<_> = (0..500).map(|key| consistent(&candidates, mix(key), u16::MAX)).collect();
        candidates[gone].listed = false;
        for (key, before) in (0..500).zip(before) {
            let after = consistent(&candidates, mix(key), u16::MAX);
            if before != Some(gone) {
                prop_assert_eq!(after, before);
            }
        }
    }

    #[test]
    fn keys_are_shared_by_weight(weights in weights()) {
        let candidates = group(&weights);
        let total: u32 = weights.iter().sum();
        let mut counts = vec![0f64; weights.len()];
        for key in 0..4000 {
            counts[consistent(&candidates, mix(key), u16::MAX).unwrap()] += 1.0;
        }
        for (count, weight) in counts.iter().zip(&weights) {
            let share = 4000.0 * f64::from(*weight) / f64::from(total);
            // Six standard deviations: a failure is a fault.
            let slack = 6.0 * share.sqrt() + 1.0;
            prop_assert!((count - share).abs() <= slack, "{count} of {share}");
        }
    }

    #[test]
    fn the_bound_holds_while_others_have_room(
        weights in weights(),
        keys in proptest::collection::vec(0u64..5, 1..200),
        bound in 100u16..300,
    ) {
        let mut candidates = group(&weights);
        let all: u64 = candidates.iter().map(|one| u64::from(one.weight)).sum();
        for (done, key) in keys.iter().enumerate() {
            let index = consistent(&candidates, mix(*key), bound);
            let index = index.expect("somebody always has room");
            candidates[index].in_flight += 1;
            let most = bounded(done as u64 + 1, all, candidates[index].weight, bound);
            prop_assert!(u64::from(candidates[index].in_flight) <= most);
        }
    }

    #[test]
    fn a_backup_is_listed_only_without_primaries(
        facts in proptest::collection::vec((0u32..3, 0u8..4, any::<bool>(), 0u32..3, 0u32..3), 1..8),
        panic in 0u8..=100,
    ) {
        let mut candidates: Vec<_> = facts
            .iter()
            .enumerate()
            .map(|(id, (tier, condition, tried, in_flight, weight))| Candidate {
                tier: *tier,
                tried: *tried,
                in_flight: *in_flight,
                limit: 2,
                condition: match condition {
                    0 => Condition::Well,
                    1 => Condition::BackingOff,
                    2 => Condition::Ejected,
                    _ => Condition::Ill,
                },
                listed: false,
                ..one(id as u64, *weight)
            })
            .collect();
        let outcome = shortlist(&mut candidates, panic);
        let open = |one: &Candidate| one.weight > 0 && !one.tried && one.in_flight < one.limit;
        let listed: Vec<_> = candidates.iter().filter(|one| one.listed).copied().collect();
        prop_assert_eq!(outcome.is_ok(), !listed.is_empty());
        prop_assert!(listed.iter().all(open));
        if let Some(first) = listed.first() {
            prop_assert!(listed.iter().all(|one| one.tier == first.tier));
            let better = |one: &&Candidate| {
                one.tier < first.tier && open(one) && one.condition == Condition::Well
            };
            prop_assert!(candidates.iter().find(better).is_none());
        }
        let well = candidates.iter().any(|one| open(one) && one.condition == Condition::Well);
        prop_assert!(!well || outcome.is_ok());
    }
}
