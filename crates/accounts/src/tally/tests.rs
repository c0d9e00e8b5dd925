use proptest::prelude::*;

use super::*;

fn tally(bytes: u64) -> Tally {
    Tally::new(Period::Day, Day(0), Used { bytes, cost: 0 })
}

#[test]
fn shares_shrink_towards_the_end() {
    assert_eq!(share(u64::MAX), MOST);
    assert_eq!(share(MOST * SHARES), MOST);
    assert_eq!(share(1 << 20), 64 << 10);
    assert_eq!(share(LEAST + 1), LEAST);
    assert_eq!(share(LEAST), LEAST);
    assert_eq!(share(1), 1);
    assert_eq!(share(0), 0);
}

#[test]
fn a_lowered_limit_gives_nothing() {
    let tally = tally(100);
    assert_eq!(tally.reserve(1, 50), 0);
    assert_eq!(tally.left(50), 0);
    assert_eq!(tally.reserve(10, 105), 5);
}

#[test]
fn what_another_process_used_is_charged() {
    let tally = tally(100);
    tally.settle(20, 0);
    tally.charge(20);
    tally.written(Used { bytes: 150, cost: 7 });
    assert_eq!(tally.settled(), Used { bytes: 150, cost: 7 });
    assert_eq!(tally.left(200), 50);
    tally.written(Used { bytes: 90, cost: 0 });
    assert_eq!(tally.left(200), 50, "a file that was reset changes nothing here");
}

proptest! {
    #[test]
    fn a_share_is_never_more_than_what_is_left(left: u64) {
        prop_assert!(share(left) <= left.min(MOST));
        prop_assert_eq!(share(left) == 0, left == 0);
    }

    #[test]
    fn grants_come_to_the_limit_exactly(
        limit in 0_u64..3 << 20,
        wants in prop::collection::vec((1_u64..300_000, 0_u64..300_000), 1..20),
    ) {
        let tally = tally(0);
        let mut used = 0;
        for (want, back) in wants.iter().cycle().take(10_000) {
            let got = tally.reserve(*want, limit);
            prop_assert!(got <= *want && used + got <= limit);
            // Something is always kept, or it would never end.
            let back = (*back).min(got.saturating_sub(1));
            tally.give_back(back);
            used += got - back;
            prop_assert_eq!(tally.left(limit), limit - used);
            if used == limit {
                prop_assert_eq!(tally.reserve(1, limit), 0);
                return Ok(());
            }
        }
        prop_assert!(tally.left(limit) > 0);
    }
}
