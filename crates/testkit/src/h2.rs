//! HTTP/2 peers that can misbehave.
//!
//! [`Client`] plays a client of the proxy and [`Origin`] a server behind it. Both stand on
//! [`Frames`], one end of a connection whose every frame a test can write and read: nothing is
//! checked before it is sent, so what RFC 9113 forbids is as easy to say as what it demands.
//! [`Block`] writes header blocks in any representation of RFC 7541, wrong ones included.
//!
//! By default an end acknowledges SETTINGS, answers PING and gives back the flow control window
//! for all DATA that it reads ([`Habits`]).
//!
//! [`flood`] has the attacks: peers that keep to the letter of the protocol and ask for too much.

mod client;
pub mod flood;
mod frame;
mod frames;
mod hpack;
mod origin;

pub use client::{Client, Outcome, Response};
pub use frame::{Frame, code, flag, kind, setting};
pub use frames::{Event, Field, Frames, Habits};
pub use hpack::{Block, fields, huffman, integer, string};
pub use origin::{Answer, Origin, Request, Served, Server};

/// What a client begins with (RFC 9113, section 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
