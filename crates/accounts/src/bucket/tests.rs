use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000_000_000;

#[test]
fn a_burst_and_then_the_rate() {
    let rate = Rate::new(1000, Duration::from_secs(1), 100);
    let bucket = Bucket::default();
    assert_eq!(bucket.take(&rate, 0, 500, 1), Ok(100));
    assert_eq!(bucket.take(&rate, 0, 500, 1), Err(Duration::from_millis(1)));
    assert_eq!(bucket.take(&rate, 0, 500, 50), Err(Duration::from_millis(50)));
    assert_eq!(bucket.take(&rate, SECOND / 20, 500, 50), Ok(50));
    assert_eq!(bucket.take(&rate, 10 * SECOND, 500, 1), Ok(100));
}

#[test]
fn who_wants_more_than_the_bucket_holds_gets_what_it_holds() {
    let rate = Rate::new(10, Duration::from_secs(1), 5);
    let bucket = Bucket::default();
    assert_eq!(bucket.take(&rate, 0, 100, 100), Ok(5));
    assert_eq!(bucket.take(&rate, SECOND / 4, 100, 100), Err(Duration::from_millis(250)));
    assert_eq!(bucket.take(&rate, SECOND / 2, 100, 100), Ok(5));
}

#[test]
fn what_is_given_back_can_be_had_at_once() {
    let rate = Rate::new(1000, Duration::from_secs(1), 100);
    let bucket = Bucket::default();
    assert_eq!(bucket.take(&rate, 0, 100, 1), Ok(100));
    bucket.give_back(&rate, 30);
    assert_eq!(bucket.take(&rate, 0, 100, 1), Ok(30));
}

#[test]
fn a_lower_rate_forgives_the_debt_of_a_higher_one() {
    let (high, low) =
        (Rate::new(1, Duration::from_secs(3600), 10), Rate::new(1000, Duration::from_secs(1), 1));
    let bucket = Bucket::default();
    assert_eq!(bucket.take(&high, 0, 10, 1), Ok(10));
    let wait = bucket.take(&low, 0, 1, 1).expect_err("there is debt");
    assert!(wait <= Duration::from_millis(2), "{wait:?}");
}

proptest! {
    #[test]
    fn never_more_than_burst_and_rate(
        amount in 1_u64..1 << 40,
        per in 1_u64..100_000,
        burst in 1_u64..1 << 30,
        asks in prop::collection::vec((0_u64..SECOND, 1_u64..1 << 20), 1..100),
    ) {
        let per = Duration::from_millis(per);
        let (rate, bucket) = (Rate::new(amount, per, burst), Bucket::default());
        let (mut now, mut total) = (0, 0_u128);
        for (step, want) in asks {
            now += step;
            match bucket.take(&rate, now, want, 1) {
                Ok(got) => {
                    prop_assert!(got >= 1 && got <= want);
                    total += u128::from(got);
                }
                Err(wait) => prop_assert!(!wait.is_zero()),
            }
            let earned = u128::from(now) * u128::from(amount) / per.as_nanos();
            // What one nanosecond brings is the grain of it all.
            let grain = u128::from(amount) / per.as_nanos() + 1;
            prop_assert!(total <= u128::from(burst) + earned + grain);
        }
    }
}
