//! Heads of requests and responses.

use std::ops::Range;

use crate::{Block, Method};

/// The version of HTTP that a message came in: that of its start line (RFC 9112 §2.3), or of the
/// connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
    /// HTTP/2.
    Http2,
}

impl Version {
    /// As it is written in the log, and in a start line where there is one.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2.0",
        }
    }

    /// As `Via` writes it (RFC 9110 §7.6.3).
    #[must_use]
    pub fn number(self) -> &'static str {
        match self {
            Self::Http10 => "1.0",
            Self::Http11 => "1.1",
            Self::Http2 => "2.0",
        }
    }
}

/// The head of a request.
#[derive(Debug, Clone)]
pub struct RequestHead {
    /// Its fields, and the buffer that everything points into.
    pub fields: Block,
    /// The method.
    pub method: Method,
    /// The version of the request line.
    pub version: Version,
    /// Where the method stands in the buffer.
    pub method_at: Range<usize>,
    /// Where the request target stands in the buffer.
    pub target_at: Range<usize>,
}

impl RequestHead {
    /// The method's text.
    #[must_use]
    pub fn method_text(&self) -> &[u8] {
        &self.fields.bytes()[self.method_at.clone()]
    }

    /// The request target as received.
    #[must_use]
    pub fn target(&self) -> &[u8] {
        &self.fields.bytes()[self.target_at.clone()]
    }
}

/// The head of a response.
#[derive(Debug, Clone)]
pub struct ResponseHead {
    /// Its fields, and the buffer that everything points into.
    pub fields: Block,
    /// 100 to 999.
    pub status: u16,
    /// The version of the status line.
    pub version: Version,
    /// Where the reason phrase stands in the buffer.
    pub reason_at: Range<usize>,
}

impl ResponseHead {
    /// A response of ours, with the usual reason phrase.
    #[must_use]
    pub fn new(status: u16, fields: Block) -> Self {
        Self { fields, status, version: Version::Http11, reason_at: 0..0 }
    }

    /// The reason phrase as received; often empty.
    #[must_use]
    pub fn reason(&self) -> &[u8] {
        &self.fields.bytes()[self.reason_at.clone()]
    }

    /// Whether this is an interim response (1xx) that another one follows. 101 is not one:
    /// it ends HTTP on this connection.
    #[must_use]
    pub fn is_interim(&self) -> bool {
        (100..200).contains(&self.status) && self.status != 101
    }
}
