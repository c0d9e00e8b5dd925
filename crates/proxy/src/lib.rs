//! The life of a request and of a tunnel: the one place where listening, policy, routing,
//! upstreams and exits meet.
//!
//! Begin reading at `exchange.rs`. Not here: processes, threads, signals, files.
#![forbid(unsafe_code)]

mod attempt;
mod auth;
mod cache;
mod client;
mod core;
mod crowd;
mod downstream;
mod exchange;
mod explain;
mod failure;
mod fare;
mod forward;
mod gate;
mod guest;
mod intercept;
mod mapping;
mod measure;
mod pacing;
mod packing;
mod patience;
mod peer;
mod preface;
mod pump;
mod record;
mod relay;
mod respond;
mod reverse;
mod rules;
mod site;
mod slot;
mod snapshot;
mod standing;
mod tunnel;
mod turns;
mod unpacking;
mod websocket;

pub use coding::Dictionaries;

pub use crate::core::{Core, CoreParts, View};
pub use downstream::{serve_connection, socks_wire};
pub use explain::{Explanation, Other, Outcome, Part, Question, explain};
pub use failure::{Failure, Kind, Side};
pub use site::{Site, TlsIdentity};
pub use slot::ListenerSlot;
pub use snapshot::{Change, Changes, Face, FileStates, Listener, Registries, Snapshot};
pub use turns::Turns;

/// What is known of servers, for those who ask and who change it.
pub mod servers {
    pub use upstream::{Change, ChangeError, Registry, ServerState, ServerStatus, UpstreamStatus};
}
