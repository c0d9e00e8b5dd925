//! Flights: answers that are still coming. One request leads a flight, and what comes for it is
//! kept as it comes; the others follow and read it from there, each as fast as its client takes
//! it. They may be on any core.
//!
//! [`Cache::join`] says which of the two a request is. A flight ends when
//! - it is finished: what came is stored, and those who still read go on reading that;
//! - its answer turns out not to be storable ([`Lead::free`]): all who wait go on by themselves;
//! - its lead is dropped: before there is an answer, one of those who wait becomes the lead;
//!   behind that, those who read have a broken answer.
//!
//! What is coming takes half of the memory at most: an answer for which there is no room is in no
//! flight, and neither is one that is known to be too large. Where more comes than was said, or
//! than there is room for, the flight becomes a *window*: nobody enters it any more, and nothing
//! is stored. As much is kept for those who are slow as could be stored, while there is room; until
//! then each reads at its own pace. From then on the flight goes at the pace of the slowest who
//! reads, and who has read nothing for a while ([`Pace`]) is *left behind*: it is not waited for.
//!
//! A flight never waits for another. Each has room of its own, taken before it begins, that is
//! enough to go on once all have read what has come.
//!
//! A flight is locked to add a piece or to take one, and for no waker. Locks are taken in this
//! order: registry, flight; registry, part of the table.

mod follower;
mod lead;
mod reader;
mod registry;
mod state;
#[cfg(test)]
mod tests;

use message::Block;

use crate::{Facts, Key, StoredHead, Vary};

pub use follower::{Followed, Follower};
pub use lead::{Lead, Pace, Refused};
pub use reader::{Broken, FlightReader};
pub(crate) use registry::Flights;
pub use registry::Role;

/// An answer without its body: what a flight knows once the final head has come.
#[derive(Debug, Clone)]
pub struct Draft {
    /// What it will be found by: the key of the flight.
    pub key: Key,
    /// The hash of its canonical URL.
    pub url: u128,
    /// What selects it.
    pub vary: Vary,
    /// What it says.
    pub head: StoredHead,
    /// What the rules make of that.
    pub facts: Facts,
    /// Hashes of its tags, sorted.
    pub tags: Box<[u128]>,
    /// How long the body will be, if that is known.
    pub length: Option<u64>,
}

impl Draft {
    /// Its status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.head.status
    }

    /// Its fields.
    #[must_use]
    pub fn fields(&self) -> &Block {
        &self.head.fields
    }

    /// What the rules make of it.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// How long the body will be, if that is known.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.length
    }
}
