//! What can be wrong with the bytes of a message.

/// The part of a message where parsing stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Request line or status line.
    StartLine,
    /// A field name, or what stands between it and the colon.
    FieldName,
    /// A field value.
    FieldValue,
    /// A chunk size, a chunk extension, or the line end after chunk data.
    Chunk,
}

/// Why a message is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParseError {
    /// Not the grammar of RFC 9112 in this part.
    Malformed(Part),
    /// A line feed without a carriage return, or the other way round.
    BareLineEnd,
    /// A field line that begins with white space (RFC 9112 §5.2).
    FoldedLine,
    /// A version that is neither 1.0 nor 1.1.
    Version,
    /// The request target alone is longer than a head may be.
    TargetTooLong,
    /// More bytes than a head, or trailers, may have.
    HeadTooLarge,
    /// More fields than a head, or trailers, may have.
    TooManyFields,
    /// A chunk size that no 64-bit number holds.
    ChunkTooLarge,
}

impl ParseError {
    /// In a few words, for the log and for `Proxy-Status`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed(Part::StartLine) => "malformed start line",
            Self::Malformed(Part::FieldName) => "malformed field name",
            Self::Malformed(Part::FieldValue) => "control character in a field value",
            Self::Malformed(Part::Chunk) => "malformed chunk",
            Self::BareLineEnd => "bare CR or LF",
            Self::FoldedLine => "folded field line",
            Self::Version => "unsupported HTTP version",
            Self::TargetTooLong => "request target too long",
            Self::HeadTooLarge => "head too large",
            Self::TooManyFields => "too many fields",
            Self::ChunkTooLarge => "chunk size too large",
        }
    }
}
