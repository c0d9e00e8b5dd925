//! Sockets, dialing, names, address classes, tunnels and splice.
//!
//! The floor of the house: it moves bytes and opens connections, and knows
//! neither HTTP nor TLS. Everything runs on one current-thread runtime per core
//! ([`runtime`]); futures hold `Rc` and `Cell` and are not `Send`.

#![deny(unsafe_code)]

pub mod address;
pub mod buffer;
pub mod dial;
pub mod file;
pub mod listener;
mod option;
mod patience;
pub mod pipe;
pub mod proxy_protocol;
pub mod resolver;
pub mod runtime;
pub mod splice;
pub mod stream;
pub mod toll;
pub mod transparent;
pub mod tunnel;
pub mod udp;
pub mod watchdog;

pub use address::{AddressClass, AddressFilter, AllowAll, Refusal, canonical, class};
pub use buffer::{Buffer, BufferPool};
pub use dial::{DialError, DialOptions, dial};
pub use option::unacknowledged;
pub use pipe::PipePool;
pub use resolver::{Addresses, DnsError, Resolver, Service};
pub use runtime::run_local;
pub use splice::{SpliceError, splice_body, splice_body_under};
pub use stream::Stream;
pub use toll::{Stopped, Toll};
pub use tunnel::{Direction, Side, TunnelCounters, TunnelEnd, tunnel, tunnel_under};
