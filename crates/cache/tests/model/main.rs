//! Simulation under a virtual clock: clients, an origin that says anything, purges, crashes, and
//! time that passes. What the cache gives is checked by a model of RFC 9111 that shares no code
//! with it: slow, and written to be believed.

mod driver;
mod naive;
mod world;

use proptest::prelude::*;

use world::{Step, World, steps};

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    /// Whatever is given is what the model allows, and what the model says is fresh is given.
    #[test]
    fn only_what_the_model_allows_is_given(steps in steps()) {
        let mut world = World::new();
        for (at, step) in steps.iter().enumerate() {
            if let Err(why) = world.take(step) {
                let told: Vec<String> =
                    steps[..=at].iter().map(|step| format!("  {step:?}")).collect();
                prop_assert!(false, "{why}\nafter\n{}", told.join("\n"));
            }
        }
    }
}

/// The property above would be true of a cache that stores nothing, or of a world in which
/// nothing happens.
#[test]
fn the_world_is_one_in_which_caches_are_of_use() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut seen = driver::Seen::default();
    for _ in 0..3000 {
        let steps: Vec<Step> = steps().new_tree(&mut runner).expect("steps can be made").current();
        let mut world = World::new();
        for step in &steps {
            world.take(step).expect("only what the model allows is given");
        }
        seen.add(&world.seen());
    }
    let driver::Seen { hits, stale, stand_ins, renewed, fetched, refused } = seen;
    for (count, what) in [
        (hits, "hits"),
        (stale, "stale answers"),
        (stand_ins, "answers in place of an error"),
        (renewed, "answers that were validated"),
        (fetched, "fetches"),
        (refused, "answers that were not stored"),
    ] {
        assert!(count >= 20, "{count} {what}");
    }
}
