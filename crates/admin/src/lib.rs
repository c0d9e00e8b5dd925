//! The admin listener: metrics, health and status of a running proxy, over HTTP.
//!
//! It has a thread and a runtime of its own, so that a scrape costs the data plane nothing.
//! What it tells comes through [`Control`]; nothing of the data plane is reached past it.
//! A GET changes nothing. A POST changes what it names, and has to say that it is JSON, which a
//! page of a foreign site cannot do without asking first; PATCH and DELETE likewise.
//!
//! What there is stands in one table (`routes.rs`), and `/api/v1/openapi.json` says it to programs.
//! Whatever changes something or has to be waited for is an [`Action`].

#![forbid(unsafe_code)]

mod action;
mod control;
mod guard;
mod openapi;
mod page;
mod query;
mod respond;
mod routes;
mod server;

pub use control::{
    Action, ByFace, CachePurge, Control, ListenerStatus, Problem, ProblemKind, Reply, ServerChange,
    ServerStatus, SiteStatus, Status, UpstreamStatus, UsageAsked,
};
pub use server::AdminServer;

#[cfg(test)]
mod tests;
