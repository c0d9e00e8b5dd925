//! A step of the tour: what it shows, and how it is made.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use super::client::Wrong;
use super::world::World;

/// How long one step may take. It is far more than any needs; the longest one waits for two
/// seconds until a server that was away is asked again.
pub(super) const DEADLINE: Duration = Duration::from_secs(20);

/// A step while it runs.
pub(super) type Running<'w> = Pin<Box<dyn Future<Output = Result<Story, Wrong>> + 'w>>;

/// One step.
pub(super) struct Step {
    /// What it shows, in a few words.
    pub(super) title: &'static str,
    /// Makes the requests, and says what happened or what went wrong.
    pub(super) run: for<'w> fn(&'w mut World) -> Running<'w>,
}

/// What happened in a step, each in a few words.
#[derive(Debug, Default)]
pub(super) struct Story {
    /// What the client did.
    pub(super) request: String,
    /// Who answered.
    pub(super) answered_by: String,
    /// What the origin saw of the client.
    pub(super) origin_saw: String,
    /// What the client saw of the origin.
    pub(super) client_saw: String,
}

/// A part of the tour.
pub(super) struct Part {
    /// Its heading.
    pub(super) title: &'static str,
    /// Its steps, in order.
    pub(super) steps: &'static [Step],
}
