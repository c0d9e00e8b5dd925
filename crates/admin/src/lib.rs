//! The admin listener: metrics, health and status of a running proxy, over HTTP.
//!
//! It has a thread and a runtime of its own, so that a scrape costs the data plane nothing.
//! What it tells comes through [`Control`]; nothing of the data plane is reached past it.
//! A GET changes nothing. A POST changes what it names, and has to say that it is JSON, which a
//! page of a foreign site cannot do without asking first.
//!
//! | path | answer |
//! |---|---|
//! | `/` | a page for people |
//! | `/healthz` | 200 while it serves, 503 while it drains |
//! | `/metrics` | the text format of Prometheus |
//! | `/api/v1/status` | [`Status`] as JSON |
//! | POST `/api/v1/explain` | [`Action::Explain`]: what would become of a request; nothing changes |
//! | POST `/api/v1/reload` | [`Action::Reload`] |
//! | POST `/api/v1/upgrade` | [`Action::Upgrade`] |
//! | POST `/api/v1/upstreams/NAME/servers` | [`Action::ChangeServer`]; the body is `{"server": "http://…", "change": "drain"}`, with `"weight": 3` where that is the change |
//!
//! Paths under `/api/` are the same without `v1/`. `NAME` is percent-encoded.

#![forbid(unsafe_code)]

mod action;
mod control;
mod guard;
mod page;
mod respond;
mod server;

pub use control::{
    Action, ByFace, Control, ListenerStatus, Problem, ProblemKind, ServerChange, ServerStatus,
    SiteStatus, Status, UpstreamStatus,
};
pub use server::AdminServer;

#[cfg(test)]
mod tests;
