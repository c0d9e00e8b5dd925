//! The cache: what may be kept of answers and given again (RFC 9111), and where it is kept.
//!
//! - [`rules`] are pure: [`Time`] is a parameter, and nothing is looked up. They say what may be
//!   stored, whether it may be used for a request, and what becomes of it.
//! - [`Stored`] is an answer as it is kept: immutable, shared by all cores.
//! - [`Cache`] is where it is kept: found by its [`Key`] and what its `Vary` selects, purged by
//!   what is known of it, given up when there is no room.
//! - [`disk`] is where it outlives the process.
//! - A *flight* is an answer that is still coming: one request leads it, others follow.

#![forbid(unsafe_code)]

mod coded;
pub mod disk;
mod flight;
mod image;
mod key;
mod purge;
pub mod rules;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod simulation;
mod store;
mod stored;
mod time;
mod url;

pub use coded::Coded;
pub use flight::{Broken, Draft, FlightReader, Followed, Follower, Lead, Pace, Refused, Role};
pub use image::Image;
pub use key::{Key, hash, is_secret};
pub use purge::{Purge, PurgeReport, What};
pub use store::{Cache, Found, Held, Settings, Stats, Top};
pub use stored::{Body, DiskBody, Facts, Part, Stored, StoredHead, Vary};
pub use time::Time;
pub use url::{Extent, canonical_host, canonical_prefix, canonical_url, filed_under};
