//! Field lines (RFC 9112 §5), for heads and for trailers.

use message::Block;

use crate::scan::{token_end, value_end};
use crate::{ParseError, Part};

/// Takes note of the field lines that stand in the block's buffer from `at` on, up to and with
/// the empty line; returns where it ends. The buffer holds the empty line.
pub(crate) fn parse_fields(
    block: &mut Block,
    mut at: usize,
    max_fields: usize,
) -> Result<usize, ParseError> {
    let mut count = 0;
    loop {
        let bytes = block.bytes();
        match bytes.get(at..at + 2) {
            Some(b"\r\n") => return Ok(at + 2),
            Some([b' ' | b'\t', _]) => return Err(ParseError::FoldedLine),
            _ => {}
        }
        let colon = token_end(bytes, at);
        if colon == at || bytes.get(colon) != Some(&b':') || colon - at > usize::from(u16::MAX) {
            return Err(match bytes.get(colon) {
                Some(b'\r' | b'\n') if colon == at => ParseError::BareLineEnd,
                _ => ParseError::Malformed(Part::FieldName),
            });
        }
        let end = value_end(bytes, colon + 1);
        line_end(bytes, end)?;
        let (mut from, mut to) = (colon + 1, end);
        while from < to && matches!(bytes[from], b' ' | b'\t') {
            from += 1;
        }
        while from < to && matches!(bytes[to - 1], b' ' | b'\t') {
            to -= 1;
        }
        count += 1;
        if count > max_fields {
            return Err(ParseError::TooManyFields);
        }
        block.note(at..colon, from..to);
        at = end + 2;
    }
}

/// That a line which stopped at `at` stopped at CRLF.
pub(crate) fn line_end(bytes: &[u8], at: usize) -> Result<(), ParseError> {
    match (bytes.get(at), bytes.get(at + 1)) {
        (Some(b'\r'), Some(b'\n')) => Ok(()),
        (Some(b'\r' | b'\n'), _) => Err(ParseError::BareLineEnd),
        _ => Err(ParseError::Malformed(Part::FieldValue)),
    }
}
