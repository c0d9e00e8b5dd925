//! TLS for both faces: certificates and sites towards clients, verification towards servers,
//! and [`Io`], the one connection type all proxy code reads and writes.
//!
//! rustls does the protocol, aws-lc-rs the cryptography; X25519MLKEM768 is preferred where both
//! sides have it. What is ours is who holds which bytes (an idle connection holds none), which
//! configuration answers, and the words for what went wrong. Not here: HTTP, routes, timeouts.
//!
//! Sockets need `TCP_NODELAY`: handshakes are short flights back and forth, and Nagle's
//! algorithm holds the second one of a side for 40 ms.

#![forbid(unsafe_code)]

pub mod authority;
mod certificates;
mod client;
mod client_hello;
mod distinguished_name;
mod engine;
mod error;
mod files;
mod greeting;
mod handshake;
mod info;
mod insecure;
mod io;
mod names;
mod pinned;
mod roots;
mod scratch;
mod server;
mod stream;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

pub use authority::Authority;
pub use client::ClientTls;
pub use error::{ConnectError, HandshakeError};
pub use greeting::{Greeting, UNRECOGNIZED_NAME, greeting};
pub use info::{PeerCertificate, TlsInfo};
pub use io::Io;
pub use roots::Roots;
pub use server::{RefreshOutcome, ServerSite, ServerTls};
pub use stream::TlsStream;

/// The cryptography of all our configurations. There is no process-wide default to install.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
