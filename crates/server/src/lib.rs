//! The process: threads, sockets, start and stop.
//!
//! Each core is a thread with a runtime and a listening socket of its own for every address;
//! the kernel spreads connections over them. The cores share the snapshot of the configuration
//! and nothing else. Not here: what HTTP is.
#![forbid(unsafe_code)]

mod bind;
mod control;
mod handover;
mod lists;
mod reload;
mod worker;

pub use bind::{BoundAddress, StartError};
pub use control::{Hooks, Server, check, explain, start, start_after, start_with};
pub use handover::Inherited;
pub use proxy::servers;
pub use reload::Reload;
