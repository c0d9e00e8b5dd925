//! Simulation under a virtual clock: clients, an origin that says anything, purges, crashes, and
//! time that passes. What the cache gives is checked by a model of RFC 9111 that shares no code
//! with it: slow, and written to be believed.
//!
//! It goes as far as this crate decides. What `proxy` decides (which request waits for which,
//! slices, codings, what is said to one client, several ranges in one body) is not here; the
//! driver does with the cache what an exchange does, one request after the other.
//!
//! All chance comes from one number. `BIFRONS_SIMULATION=N` takes N times as many stories, and
//! `BIFRONS_SIMULATION_SEED=N` others.

mod driver;
mod exchange;
mod naive;
mod origin;
mod said;
mod story;
mod world;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, RngSeed, TestCaseError, TestRunner};

use driver::Seen;
use story::{Size, Story, stories};
use world::World;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn runner(stories: u32) -> TestRunner {
    let times = number("BIFRONS_SIMULATION").unwrap_or(1);
    TestRunner::new(Config {
        cases: stories.saturating_mul(u32::try_from(times).unwrap_or(u32::MAX)),
        rng_algorithm: RngAlgorithm::ChaCha,
        rng_seed: RngSeed::Fixed(number("BIFRONS_SIMULATION_SEED").unwrap_or(0)),
        failure_persistence: None,
        ..Config::default()
    })
}

/// Whatever is given is what the model allows, and what it says is fresh is given.
fn only_what_the_model_allows_is_given(size: Size) {
    let tell = |story: Story| {
        let mut world = World::new(story.size);
        for (at, step) in story.steps.iter().enumerate() {
            if let Err(why) = world.take(step) {
                let told = story.steps[..=at].iter().map(|step| format!("  {step:?}\n"));
                return Err(TestCaseError::fail(format!(
                    "{why}\nafter\n{}",
                    told.collect::<String>()
                )));
            }
        }
        Ok(())
    };
    if let Err(why) = runner(150).run(&stories(size), tell) {
        panic!("{why}");
    }
}

#[test]
fn with_room_for_all() {
    only_what_the_model_allows_is_given(Size::Roomy);
}

#[test]
fn with_little_memory() {
    only_what_the_model_allows_is_given(Size::LittleMemory);
}

#[test]
fn with_little_room_at_all() {
    only_what_the_model_allows_is_given(Size::Little);
}

/// The property above would be true of a cache that stores nothing, or of a world in which
/// nothing happens.
#[test]
fn the_world_is_one_in_which_caches_are_of_use() {
    let mut runner = runner(0);
    let mut seen = Seen::default();
    for at in 0..210 {
        let size = [Size::Roomy, Size::LittleMemory, Size::Little][at % 3];
        let story = stories(size).new_tree(&mut runner).expect("stories can be made").current();
        let mut world = World::new(size);
        for step in &story.steps {
            world.take(step).expect("only what the model allows is given");
        }
        seen.add(&world.seen());
    }
    println!("{seen:?}");
    for (what, count) in seen.counts() {
        assert!(count >= 10, "{count} {what}");
    }
}
