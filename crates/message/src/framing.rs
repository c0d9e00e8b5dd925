//! How long a body is (RFC 9112 §6.3), strictly: what two parsers could read in two ways is
//! refused.

use crate::{Block, FieldId, Method, RequestHead, ResponseHead, Version};

/// How the end of a body is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyLength {
    /// There is none.
    None,
    /// So many bytes, more than none.
    Known(u64),
    /// The chunked coding tells (RFC 9112 §7.1).
    Chunked,
    /// It ends with the connection; responses only.
    UntilClose,
}

/// What is wrong with the framing of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FramingError {
    /// `Content-Length` and `Transfer-Encoding` together.
    LengthAndCoding,
    /// More than one `Content-Length`, in one field or several, equal or not.
    ManyLengths,
    /// A `Content-Length` that is no plain decimal number of at most 19 digits.
    BadLength,
    /// A `Transfer-Encoding` that is not exactly `chunked`.
    BadCoding,
    /// `Transfer-Encoding` in an HTTP/1.0 message.
    CodingInOldVersion,
}

impl FramingError {
    /// In a few words, for the log and for `Proxy-Status`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LengthAndCoding => "Content-Length beside Transfer-Encoding",
            Self::ManyLengths => "more than one Content-Length",
            Self::BadLength => "Content-Length is not a number",
            Self::BadCoding => "Transfer-Encoding is not chunked",
            Self::CodingInOldVersion => "Transfer-Encoding in HTTP/1.0",
        }
    }
}

/// The body of a request. A request never ends with its connection.
///
/// # Errors
/// See [`FramingError`].
pub fn request_body(head: &RequestHead) -> Result<BodyLength, FramingError> {
    if !head.fields.has_any(&[FieldId::ContentLength, FieldId::TransferEncoding]) {
        return Ok(BodyLength::None);
    }
    Ok(declared(&head.fields, head.version)?.unwrap_or(BodyLength::None))
}

/// The body of a response to a request of this method.
///
/// # Errors
/// See [`FramingError`]; also where the response has no body.
pub fn response_body(head: &ResponseHead, method: Method) -> Result<BodyLength, FramingError> {
    let declared = declared(&head.fields, head.version)?;
    let tunnel = method == Method::Connect && (200..300).contains(&head.status);
    if method == Method::Head || tunnel || matches!(head.status, 100..200 | 204 | 304) {
        return Ok(BodyLength::None);
    }
    Ok(declared.unwrap_or(BodyLength::UntilClose))
}

fn declared(fields: &Block, version: Version) -> Result<Option<BodyLength>, FramingError> {
    let mut codings = fields.values(FieldId::TransferEncoding);
    let mut lengths = fields.values(FieldId::ContentLength);
    let length = lengths.next();
    if let Some(coding) = codings.next() {
        if version < Version::Http11 {
            return Err(FramingError::CodingInOldVersion);
        }
        if length.is_some() {
            return Err(FramingError::LengthAndCoding);
        }
        if codings.next().is_some() || !coding.eq_ignore_ascii_case(b"chunked") {
            return Err(FramingError::BadCoding);
        }
        return Ok(Some(BodyLength::Chunked));
    }
    let Some(length) = length else { return Ok(None) };
    if lengths.next().is_some() || length.contains(&b',') {
        return Err(FramingError::ManyLengths);
    }
    match decimal(length).ok_or(FramingError::BadLength)? {
        0 => Ok(Some(BodyLength::None)),
        length => Ok(Some(BodyLength::Known(length))),
    }
}

/// A plain decimal number of at most 19 digits, which a `u64` always holds.
fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 19 {
        return None;
    }
    text.iter().try_fold(0u64, |number, &byte| {
        byte.is_ascii_digit().then(|| number * 10 + u64::from(byte - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16, version: Version, fields: &[(&str, &str)]) -> ResponseHead {
        let mut block = Block::default();
        for (name, value) in fields {
            block.push(name.as_bytes(), &[value.as_bytes()]);
        }
        ResponseHead { fields: block, status, version, reason_at: 0..0 }
    }

    fn request(version: Version, fields: &[(&str, &str)]) -> Result<BodyLength, FramingError> {
        let fields = response(200, version, fields).fields;
        request_body(&RequestHead {
            fields,
            method: Method::Post,
            version,
            method_at: 0..0,
            target_at: 0..0,
        })
    }

    #[test]
    fn requests() {
        use FramingError::*;
        fn new(fields: &[(&str, &str)]) -> Result<BodyLength, FramingError> {
            request(Version::Http11, fields)
        }
        assert_eq!(new(&[]), Ok(BodyLength::None));
        assert_eq!(new(&[("content-length", "0")]), Ok(BodyLength::None));
        assert_eq!(new(&[("content-length", "007")]), Ok(BodyLength::Known(7)));
        assert_eq!(new(&[("Transfer-Encoding", "Chunked")]), Ok(BodyLength::Chunked));
        for length in ["", "+5", "-5", "5 5", "0x5", "5_0", "18446744073709551616", "5;"] {
            assert_eq!(new(&[("Content-Length", length)]), Err(BadLength), "{length}");
        }
        assert_eq!(new(&[("Content-Length", "5, 5")]), Err(ManyLengths));
        assert_eq!(new(&[("Content-Length", "5"), ("content-length", "5")]), Err(ManyLengths));
        for coding in ["x, chunked", "chunked, chunked", "chunked;a=b", "identity", "", "xchunked"]
        {
            assert_eq!(new(&[("Transfer-Encoding", coding)]), Err(BadCoding), "{coding}");
        }
        let twice = [("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "chunked")];
        assert_eq!(new(&twice), Err(BadCoding));
        let both = [("Transfer-Encoding", "chunked"), ("Content-Length", "5")];
        assert_eq!(new(&both), Err(LengthAndCoding));
        let old = request(Version::Http10, &[("Transfer-Encoding", "chunked")]);
        assert_eq!(old, Err(CodingInOldVersion));
    }

    #[test]
    fn responses() {
        let body = |status, method, fields: &[_]| {
            response_body(&response(status, Version::Http11, fields), method)
        };
        assert_eq!(body(200, Method::Get, &[]), Ok(BodyLength::UntilClose));
        assert_eq!(body(200, Method::Get, &[("Content-Length", "3")]), Ok(BodyLength::Known(3)));
        assert_eq!(body(200, Method::Head, &[("Content-Length", "3")]), Ok(BodyLength::None));
        assert_eq!(body(304, Method::Get, &[("Content-Length", "3")]), Ok(BodyLength::None));
        assert_eq!(body(204, Method::Get, &[]), Ok(BodyLength::None));
        assert_eq!(body(200, Method::Connect, &[]), Ok(BodyLength::None));
        assert!(body(304, Method::Get, &[("Content-Length", "x")]).is_err());
    }
}
