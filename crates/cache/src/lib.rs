//! The cache: what may be kept of answers and given again (RFC 9111), and where it is kept.
//!
//! - [`rules`] are pure: [`Time`] is a parameter, and nothing is looked up. They say what may be
//!   stored, whether it may be used for a request, and what becomes of it.
//! - [`Stored`] is an answer as it is kept: immutable, shared by all cores.

mod key;
pub mod rules;
mod stored;
mod time;

pub use key::{Key, hash};
pub use stored::{Body, DiskBody, Facts, Part, Stored, StoredHead, Vary};
pub use time::Time;
