//! The admin listener: metrics, health and status of a running proxy, over HTTP.
//!
//! It has a thread and a runtime of its own, so that a scrape costs the data plane nothing.
//! What it tells comes through [`Control`]; nothing of the data plane is reached past it.
//! Everything here only reads: no request changes anything.
//!
//! | path | answer |
//! |---|---|
//! | `/` | a page for people |
//! | `/healthz` | 200 while it serves, 503 while it drains |
//! | `/metrics` | the text format of Prometheus |
//! | `/api/v1/status` | [`Status`] as JSON |

#![forbid(unsafe_code)]

mod control;
mod guard;
mod page;
mod respond;
mod server;

pub use control::{
    ByFace, Control, ListenerStatus, ServerStatus, SiteStatus, Status, UpstreamStatus,
};
pub use server::AdminServer;

#[cfg(test)]
mod tests;
