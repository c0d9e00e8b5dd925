//! What is kept of answers, and in which codings they are sent.

use std::path::PathBuf;
use std::time::Duration;

use super::{Span, Spanned};

/// The cache of the process (`cache` at the top level): where answers are kept, and how much.
/// Sites, routes and forward listeners share it, and say by [`CacheRules`] whether they use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheStore {
    /// Bytes of memory for stored answers, all that they cost counted. Default: 128 MiB.
    pub memory: u64,
    /// The second tier, which outlives the process.
    pub disk: Option<CacheDisk>,
    /// Bodies larger than this are not stored whole. Default: 64 MiB, and a quarter of the disk
    /// or, where there is none, of `memory` at most.
    pub max_object: u64,
    /// Where the directive stands, if it was written.
    pub span: Option<Span>,
}

/// The disk tier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheDisk {
    /// Its folder, made where it is missing (mode 0700).
    pub path: Spanned<PathBuf>,
    /// Bytes that it may fill. Default: 1 GiB.
    pub size: u64,
}

/// How answers are kept (`cache` in a site, a route or a forward listener; RFC 9111).
#[derive(Clone, PartialEq, Eq)]
pub struct CacheRules {
    /// What makes two requests the same, beside what always does: the face, the scheme, the host
    /// and the method.
    pub key: Vec<KeyPart>,
    /// How long a stale answer serves while it is revalidated, where the origin does not say
    /// (RFC 5861 §3). Default: not at all.
    pub while_revalidate: Option<Duration>,
    /// How long a stale answer serves in place of an error, where the origin does not say
    /// (RFC 5861 §4). Default: not at all.
    pub if_error: Option<Duration>,
    /// How long an answer is fresh where the origin says nothing at all and a heuristic is
    /// allowed (RFC 9111 §4.2.2). Default: a tenth of its age by `Last-Modified`.
    pub default_ttl: Option<Duration>,
    /// No answer is fresh for longer.
    pub max_ttl: Option<Duration>,
    /// What a `PURGE` shows as `Authorization: Bearer TOKEN`, a `token68`; `None`: it is a method
    /// like any other.
    pub purge_token: Option<Spanned<String>>,
    /// Large answers are fetched and kept in slices of so many bytes, where the origin gives
    /// ranges of them. Default: not at all.
    pub slice: Option<u64>,
    /// Whether `Cache-Status` (RFC 9211) is sent. Default: yes.
    pub status_field: bool,
    /// Where the directive stands.
    pub span: Span,
}

/// A part of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyPart {
    /// The path. Left out, all paths of the route are one answer.
    Path,
    /// The whole query.
    Query,
    /// One parameter of the query, all its values in their order.
    QueryParameter(String),
    /// A field of the request, in lower case.
    Header(String),
    /// A cookie of the request.
    Cookie(String),
}

impl Default for CacheStore {
    fn default() -> Self {
        let memory = 128 << 20;
        Self { memory, disk: None, max_object: Self::largest(memory), span: None }
    }
}

impl CacheStore {
    /// The largest body that is kept where nothing is said, by the room of the largest tier.
    #[must_use]
    pub fn largest(room: u64) -> u64 {
        (room / 4).min(64 << 20)
    }
}

impl CacheDisk {
    /// How large it is where nothing is said.
    pub const DEFAULT_SIZE: u64 = 1 << 30;
}

impl CacheRules {
    /// The path and the whole query.
    #[must_use]
    pub fn default_key() -> Vec<KeyPart> {
        vec![KeyPart::Path, KeyPart::Query]
    }
}

impl std::fmt::Debug for CacheRules {
    /// Without the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CacheRules")
            .field("key", &self.key)
            .field("while_revalidate", &self.while_revalidate)
            .field("if_error", &self.if_error)
            .field("default_ttl", &self.default_ttl)
            .field("max_ttl", &self.max_ttl)
            .field("purge_token", &self.purge_token.as_ref().map(|_| "…"))
            .field("slice", &self.slice)
            .field("status_field", &self.status_field)
            .finish_non_exhaustive()
    }
}

/// Content codings of answers (`compress`, RFC 9110 §8.4) and of request bodies (`decompress`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compress {
    /// What is offered, the one that is liked best first; never empty.
    pub codings: Vec<CodingLevel>,
    /// Types that are compressed: `text/html`, `text/*`, `*/*+json`. Default: text, JSON, XML,
    /// JavaScript, SVG, WebAssembly, and fonts that are not compressed in themselves.
    pub types: Vec<String>,
    /// Bodies that are known to be smaller stay as they are. Default: 1 KiB.
    pub min: u64,
    /// Answers to requests with credentials (`Cookie`, `Authorization`) stay as they are, if
    /// they come from another site by `Sec-Fetch-Site` or `Referer`, or cannot be told: a length
    /// tells what is in them (BREACH). Default: no.
    pub spare_credentials: bool,
    /// Whether earlier versions of an answer serve as dictionaries for the next one (RFC 9842).
    /// Default: no.
    pub dictionaries: bool,
    /// Where the directive stands.
    pub span: Span,
}

impl Compress {
    /// What is offered where nothing is said.
    pub const DEFAULT_CODINGS: [ContentCoding; 3] =
        [ContentCoding::Zstd, ContentCoding::Brotli, ContentCoding::Gzip];

    /// What is compressed where nothing is said.
    pub const DEFAULT_TYPES: [&'static str; 10] = [
        "text/*",
        "application/json",
        "*/*+json",
        "application/xml",
        "*/*+xml",
        "application/javascript",
        "application/wasm",
        "font/ttf",
        "font/otf",
        "application/vnd.ms-fontobject",
    ];

    /// Smaller ones stay as they are where nothing is said.
    pub const DEFAULT_MIN: u64 = 1024;
}

impl CodingLevel {
    /// With the level that it has where nothing is said.
    #[must_use]
    pub fn default_of(coding: ContentCoding) -> Self {
        let level = match coding {
            ContentCoding::Gzip => 6,
            ContentCoding::Brotli => 5,
            ContentCoding::Zstd => 3,
        };
        Self { coding, level }
    }
}

impl ContentCoding {
    /// Its name in `Content-Encoding`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }
}

/// A content coding and how hard it tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodingLevel {
    /// Which.
    pub coding: ContentCoding,
    /// gzip 1–9 (default 6), brotli 0–11 (default 5), zstd 1–19 (default 3).
    pub level: u8,
}

/// A content coding that we can make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ContentCoding {
    /// RFC 1952.
    Gzip,
    /// RFC 7932.
    Brotli,
    /// RFC 8878.
    Zstd,
}

/// Request bodies are unpacked for origins that cannot (`decompress`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decompress {
    /// Largest body that may come out. Default: the route's `max-body`.
    pub max_size: Option<u64>,
    /// How many times larger than what was sent it may be, from 64 KiB on. Default: 100.
    pub max_ratio: u32,
    /// Where the directive stands.
    pub span: Span,
}
