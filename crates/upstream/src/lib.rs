//! Servers behind the proxy: which of them takes a request, and connections to them that are
//! kept and used again.
//!
//! Everything here belongs to one core. Not here: what a request is, routes, the downstream.
#![forbid(unsafe_code)]

mod cluster;
mod connection;
mod multiplex;
mod origins;
pub mod wire;

pub use cluster::{Cluster, ClusterPlan, ConnectError, Endpoint, Tried};
pub use connection::Connection;
pub use multiplex::{Link, Multiplex, StreamSlot};
pub use origins::{OriginKey, OriginPool};
pub use wire::Wire;
