//! The HTTP message, one shape for every version of the protocol.
//!
//! A head is one byte buffer and ranges into it ([`Block`]): nothing is copied to be looked at,
//! and the order and the case of the fields stay as received. On top of it stand the rules that
//! need no I/O: how long a body is ([`framing`]), which fields end here ([`hop`]), where a
//! request is aimed ([`target`], [`authority`]) and what the next hop is told about the client
//! ([`forwarding`]).
//!
//! Not here: sockets, time, configuration, and the bytes of any protocol version (crate `h1`).
#![forbid(unsafe_code)]

pub mod authority;
mod block;
mod field;
pub mod forwarding;
pub mod framing;
mod head;
pub mod hop;
pub mod list;
mod method;
mod pool;
pub mod target;
pub mod trailer;

pub use authority::{Authority, AuthorityError, Host};
pub use block::{Block, Field, is_alias};
pub use field::FieldId;
pub use head::{RequestHead, ResponseHead, Version};
pub use method::Method;
pub use pool::{BlockPool, FreeList};
