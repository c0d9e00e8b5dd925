//! Black-box tests of the proxy: the proxy in process, and both of its neighbours played by the
//! test.
//!
//! A test reads from top to bottom like a script: it starts an [`Origin`] and a [`Proxy`], then
//! takes turns at both ends of the exchange through [`Peer`]s. Everything blocks, with a deadline
//! that ends the test and shows what had been received; nothing sleeps, and every port is one
//! that the system chose.
//!
//! What the proxy sends is read by the reader of [`message`](mod@message), which shares no code
//! with the proxy.

#![forbid(unsafe_code)]

mod caller;
pub mod geo;
pub mod h2;
pub mod message;
mod origin;
pub mod parent;
mod peer;
mod proxy;
mod tls;

pub use caller::Caller;
pub use message::Message;
pub use origin::{Origin, Served};
pub use peer::{DEADLINE, Peer};
pub use proxy::{Proxy, Scratch, reserve};
pub use tls::{Authority, Identity, tls_client};
