//! Servers behind the proxy: which there are, how they are, which of them takes a request, and
//! connections to them that are kept and used again.
//!
//! A [`ClusterPlan`] is a group as the configuration has it, a [`Cluster`] the same group on one
//! core. What is known of a real server is an [`Endpoint`], one for all groups and cores, in the
//! [`Registry`] of the process; it is looked after by one thread beside the cores. Not here: what
//! a request is, routes, the downstream.
#![forbid(unsafe_code)]

mod balance;
mod breaker;
mod by_exit;
mod changes;
mod cluster;
mod connection;
mod endpoint;
mod health;
mod keeper;
mod lease;
mod member;
mod multiplex;
mod origins;
mod outlier;
mod plan;
mod queue;
mod registry;
mod status;
mod sticky;
mod window;
pub mod wire;

pub use balance::stable_hash;
pub use changes::{Change, ChangeError};
pub use cluster::{Ask, Cluster, ConnectError, Tried, Unavailable};
pub use connection::Connection;
pub use endpoint::Endpoint;
pub use health::Health;
pub use lease::{FailureClass, Lease, Opened, Outcome, Verdict, Wish};
pub use member::{Member, Members, server_text};
pub use multiplex::{Link, Multiplex, StreamSlot};
pub use origins::{OriginKey, OriginPool};
pub use plan::ClusterPlan;
pub use registry::Registry;
pub use status::{ServerState, ServerStatus, UpstreamStatus};
pub use wire::Wire;
