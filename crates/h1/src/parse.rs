//! Heads: from bytes to ranges.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use message::{Block, Method, RequestHead, ResponseHead, Version};

use crate::fields::{line_end, parse_fields};
use crate::scan::token_end;
use crate::{ParseError, Part};

/// How large a head may be.
#[derive(Debug, Clone, Copy)]
pub struct HeadLimits {
    /// In bytes, the empty line included.
    pub bytes: usize,
    /// In fields.
    pub fields: usize,
}

/// Whether a buffer holds a whole head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completeness {
    /// It does; so many bytes from the beginning of the buffer, with the empty line.
    Complete(usize),
    /// More bytes are needed; so many need not be looked at again.
    Partial {
        /// Pass it to the next call.
        scanned: usize,
    },
}

/// What a head ends with. Made once: for a search of its own it would take longer than the search.
static END: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\r\n\r\n"));

/// Looks for the end of a head in what has been received. `scanned` is what an earlier call
/// returned (0 at first), so that a slow peer does not make it look at the same bytes again.
///
/// # Errors
/// A head that is too large, and one that is wrong whatever follows: a bare LF or a NUL byte
/// must not leave the peer waiting for an answer.
pub fn completeness(
    received: &[u8],
    scanned: usize,
    limits: HeadLimits,
) -> Result<Completeness, ParseError> {
    let within = &received[..received.len().min(limits.bytes)];
    let from = scanned.saturating_sub(3).min(within.len());
    if let Some(at) = END.find(&within[from..]) {
        return Ok(Completeness::Complete(from + at + 4));
    }
    for at in memchr::memchr2_iter(b'\n', 0, &within[from..]).map(|at| from + at) {
        if within[at] == 0 {
            return Err(ParseError::Malformed(Part::StartLine));
        }
        if at == 0 || within[at - 1] != b'\r' {
            return Err(ParseError::BareLineEnd);
        }
    }
    if received.len() >= limits.bytes {
        return Err(match memchr::memchr(b'\n', within) {
            Some(_) => ParseError::HeadTooLarge,
            None => ParseError::TargetTooLong,
        });
    }
    Ok(Completeness::Partial { scanned: within.len() })
}

/// Parses the head of a request that fills the block's buffer.
///
/// # Errors
/// See [`ParseError`].
pub fn parse_request(mut block: Block, limits: HeadLimits) -> Result<RequestHead, ParseError> {
    const BAD: ParseError = ParseError::Malformed(Part::StartLine);
    let bytes = block.bytes();
    let method_end = token_end(bytes, 0);
    if method_end == 0 || bytes.get(method_end) != Some(&b' ') {
        return Err(match bytes.get(method_end) {
            Some(b'\r' | b'\n') => ParseError::BareLineEnd,
            _ => BAD,
        });
    }
    let target = method_end + 1;
    let target_end = target + target_length(&bytes[target..]);
    if target_end == target || bytes.get(target_end) != Some(&b' ') {
        return Err(BAD);
    }
    let version = parse_version(bytes, target_end + 1)?;
    let end = target_end + 9;
    line_end(bytes, end).map_err(|error| match error {
        ParseError::Malformed(_) => BAD,
        other => other,
    })?;
    let method = Method::of(&bytes[..method_end]);
    parse_fields(&mut block, end + 2, limits.fields)?;
    let (method_at, target_at) = (0..method_end, target..target_end);
    Ok(RequestHead { fields: block, method, version, method_at, target_at })
}

/// Up to the first byte that cannot stand in a request target.
fn target_length(bytes: &[u8]) -> usize {
    bytes.iter().position(|&byte| byte <= b' ' || byte == 0x7f).unwrap_or(bytes.len())
}

/// Parses the head of a response that fills the block's buffer.
///
/// # Errors
/// See [`ParseError`].
pub fn parse_response(mut block: Block, limits: HeadLimits) -> Result<ResponseHead, ParseError> {
    const BAD: ParseError = ParseError::Malformed(Part::StartLine);
    let bytes = block.bytes();
    let version = parse_version(bytes, 0)?;
    let (b' ', digits) = (*bytes.get(8).ok_or(BAD)?, bytes.get(9..12).ok_or(BAD)?) else {
        return Err(BAD);
    };
    if !digits.iter().all(u8::is_ascii_digit) || digits[0] == b'0' {
        return Err(BAD);
    }
    let status = digits.iter().fold(0, |number, digit| number * 10 + u16::from(digit - b'0'));
    // Many servers leave the space out when there is no reason phrase.
    let reason = match bytes.get(12) {
        Some(b' ') => 13,
        Some(b'\r') => 12,
        _ => return Err(BAD),
    };
    let end = crate::scan::value_end(bytes, reason);
    line_end(bytes, end).map_err(|error| match error {
        ParseError::Malformed(_) => BAD,
        other => other,
    })?;
    parse_fields(&mut block, end + 2, limits.fields)?;
    Ok(ResponseHead { fields: block, status, version, reason_at: reason..end })
}

fn parse_version(bytes: &[u8], at: usize) -> Result<Version, ParseError> {
    match bytes.get(at..at + 8) {
        Some(b"HTTP/1.1") => Ok(Version::Http11),
        Some(b"HTTP/1.0") => Ok(Version::Http10),
        Some([b'H', b'T', b'T', b'P', b'/', major, b'.', minor])
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Err(ParseError::Version)
        }
        _ => Err(ParseError::Malformed(Part::StartLine)),
    }
}

#[cfg(test)]
mod tests;
