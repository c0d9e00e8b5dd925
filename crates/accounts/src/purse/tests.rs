use proptest::prelude::*;

use super::*;

fn all(left: u64) -> u64 {
    left
}

#[test]
fn small_pieces_cost_what_the_whole_costs() {
    // 1.00 for 10⁹ bytes: a byte is a thousandth of a millionth.
    let (price, budget) = (1_000_000, 3);
    let purse = Purse::default();
    let mut bytes = 0;
    while purse.reserve(1, price, budget, all) == 1 {
        bytes += 1;
    }
    assert_eq!(bytes, 3000);
    assert_eq!(purse.left(budget), 0);
    assert_eq!(purse.left(budget + 1), u128::from(GRAINS));
}

#[test]
fn what_is_given_back_can_be_had_again() {
    let purse = Purse::default();
    assert_eq!(purse.reserve(10_000, 1_000_000, 5, all), 5000);
    purse.give_back(cost(1, 1_000_000));
    assert_eq!(purse.reserve(10, 1_000_000, 5, all), 1);
    purse.give_back(cost(5000, 1_000_000));
    assert_eq!(purse.left(5), 5 * u128::from(GRAINS));
}

#[test]
fn nothing_is_had_below_the_price_of_one_byte() {
    let purse = Purse::default();
    assert_eq!(purse.reserve(1, 2 * GRAINS, 1, all), 0);
    assert_eq!(purse.reserve(1, u64::MAX, 10, all), 0);
    assert_eq!(purse.left(1), u128::from(GRAINS));
}

#[test]
fn charges_go_beyond_the_budget() {
    let purse = Purse::spent(1);
    purse.charge(u128::from(GRAINS) * 7);
    assert_eq!(purse.left(5), u128::from(GRAINS) - 1, "only the change is left");
    assert_eq!(purse.left(8), u128::from(GRAINS) - 1);
    assert_eq!(purse.left(9), 2 * u128::from(GRAINS) - 1);
    purse.charge(u128::MAX);
    assert!(purse.left(u64::MAX) < u128::from(GRAINS));
}

#[test]
fn threads_never_spend_more_than_there_is() {
    let purse = Purse::default();
    let (price, budget) = (777_777_777, 100_000);
    let bytes: u64 = std::thread::scope(|scope| {
        let spend = || {
            let mut spent = 0;
            let mut misses = 0;
            for round in 0_u64.. {
                let got = purse.reserve(1 + round % 300, price, budget, all);
                let back = if round % 3 == 0 { got / 2 } else { 0 };
                purse.give_back(cost(back, price));
                spent += got - back;
                misses = if got == 0 { misses + 1 } else { 0 };
                if misses > 1000 {
                    break;
                }
            }
            spent
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(spend)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
    });
    assert_eq!(
        bytes,
        u64::try_from(u128::from(budget) * u128::from(GRAINS) / u128::from(price)).unwrap()
    );
}

proptest! {
    #[test]
    fn nothing_is_lost_and_nothing_made(
        price in 1_u64..u64::MAX / 1024,
        budget in 0_u64..u64::MAX,
        steps in prop::collection::vec((1_u64..300_000, any::<bool>()), 0..50),
    ) {
        let purse = Purse::default();
        let mut spent = 0_u128;
        for (want, back) in steps {
            let before = purse.left(budget);
            let got = purse.reserve(want, price, budget, all);
            prop_assert_eq!(u128::from(got), u128::from(want).min(before / u128::from(price)));
            if back {
                purse.give_back(cost(got, price));
            } else {
                spent += cost(got, price);
            }
            prop_assert_eq!(purse.left(budget), u128::from(budget) * u128::from(GRAINS) - spent);
        }
        prop_assert_eq!(Purse::spent(spent).left(budget), purse.left(budget));
    }

    #[test]
    fn a_till_gives_what_was_put_in(sums in prop::collection::vec(any::<u128>().prop_map(|sum| sum >> 8), 0..50)) {
        let till = Till::default();
        sums.iter().for_each(|sum| till.add(*sum));
        prop_assert_eq!(till.take(), sums.iter().sum::<u128>());
        prop_assert_eq!(till.take(), 0);
    }

    #[test]
    fn a_till_of_many_small_sums(sums in prop::collection::vec(0_u64..MUCH, 0..100)) {
        let till = Till::default();
        sums.iter().for_each(|sum| till.add(u128::from(*sum)));
        prop_assert_eq!(till.take(), sums.iter().map(|sum| u128::from(*sum)).sum::<u128>());
    }
}
