//! HTTP/1.0 and HTTP/1.1 on the wire (RFC 9112), without I/O: bytes in, heads and pieces of
//! bodies out, and back.
//!
//! The grammar is read as written. What the RFC lets a lenient parser accept (bare LF, folded
//! lines, white space before a colon) is refused, because two parsers that are lenient in
//! different ways are how requests are smuggled.
#![forbid(unsafe_code)]

mod body;
mod chunked;
mod error;
mod fields;
mod parse;
mod scan;
mod write;

pub use body::{BodyDecoder, BodyEncoder};
pub use chunked::{ChunkHeader, ChunkedDecoder, LAST_CHUNK, Piece};
pub use error::{ParseError, Part};
pub use parse::{Completeness, HeadLimits, completeness, parse_request, parse_response};
pub use write::{write_request_line, write_status_line, write_trailers};
