//! Heads of requests and responses: what is accepted means one thing, and is written as it
//! was read.

use h1::{Completeness, HeadLimits, ParseError};
use message::framing::{self, BodyLength};
use message::{Block, Field, FieldId, Method, ResponseHead, Version, hop};

const LIMITS: HeadLimits = HeadLimits { bytes: 4096, fields: 64 };

/// Reads the head of a request.
pub fn request(data: &[u8]) {
    let Some(head) = complete(data) else { return };
    let Ok(mut head) = h1::parse_request(Block::over(head.to_vec()), LIMITS) else { return };
    assert!(!head.method_text().is_empty() && head.method_text().iter().all(is_token));
    assert!(!head.target().is_empty() && head.target().iter().all(|byte| *byte > b' '));
    assert_eq!(head.method, Method::of(head.method_text()));
    check_fields(&head.fields);

    let written = write_request(&head);
    let again = h1::parse_request(Block::over(written.clone()), LIMITS_OF_WRITTEN);
    let again = again.expect("what was written is read");
    assert_eq!(again.method_text(), head.method_text());
    assert_eq!(again.target(), head.target());
    assert_eq!(lines(&again.fields), lines(&head.fields));
    assert_eq!(write_request(&again), written, "writing is stable");

    let framing = framing::request_body(&head);
    if let Ok(length) = framing {
        assert_ne!(length, BodyLength::UntilClose, "a request ends before its connection does");
        agrees_with(length, &head.fields, head.version);
    }
    strip(&mut head.fields);
    let forwarded = write_request(&head);
    h1::parse_request(Block::over(forwarded), LIMITS_OF_WRITTEN).expect("what is left is read");
}

/// Reads the head of a response.
pub fn response(data: &[u8]) {
    let Some(head) = complete(data) else { return };
    let Ok(mut head) = h1::parse_response(Block::over(head.to_vec()), LIMITS) else { return };
    assert!((100..=999).contains(&head.status));
    assert!(!head.reason().iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
    check_fields(&head.fields);

    let written = write_response(&head);
    let again = h1::parse_response(Block::over(written.clone()), LIMITS_OF_WRITTEN);
    let again = again.expect("what was written is read");
    assert_eq!(again.status, head.status);
    assert_eq!(lines(&again.fields), lines(&head.fields));
    assert_eq!(write_response(&again), written, "writing is stable");

    for method in [Method::Get, Method::Head, Method::Connect] {
        let Ok(length) = framing::response_body(&head, method) else { continue };
        if method == Method::Head || matches!(head.status, 100..200 | 204 | 304) {
            assert_eq!(length, BodyLength::None);
        } else if method == Method::Get && length != BodyLength::UntilClose {
            agrees_with(length, &head.fields, head.version);
        }
    }
    strip(&mut head.fields);
    let forwarded = write_response(&head);
    h1::parse_response(Block::over(forwarded), LIMITS_OF_WRITTEN).expect("what is left is read");
}

/// Room for the white space that writing adds.
const LIMITS_OF_WRITTEN: HeadLimits = HeadLimits { bytes: 2 * LIMITS.bytes, ..LIMITS };

/// The head that the bytes begin with. Whether they come at once or one by one makes no
/// difference, except that a mistake may be seen earlier.
fn complete(data: &[u8]) -> Option<&[u8]> {
    let at_once = h1::completeness(data, 0, LIMITS);
    let mut scanned = 0;
    let mut outcome = Ok(Completeness::Partial { scanned });
    for end in 0..=data.len().min(LIMITS.bytes + 1) {
        outcome = h1::completeness(&data[..end], scanned, LIMITS);
        match outcome {
            Ok(Completeness::Partial { scanned: so_far }) => scanned = so_far,
            _ => break,
        }
    }
    match (at_once, outcome) {
        (Ok(Completeness::Complete(one)), Ok(Completeness::Complete(other))) => {
            assert_eq!(one, other);
            assert!(data[..one].ends_with(b"\r\n\r\n") && one <= LIMITS.bytes);
            Some(&data[..one])
        }
        (Ok(Completeness::Complete(length)), Err(early)) => {
            // Byte by byte, a bare LF is seen before the end of the head is.
            assert!(!matches!(early, ParseError::HeadTooLarge | ParseError::TargetTooLong));
            let head = || Block::over(data[..length].to_vec());
            assert!(h1::parse_request(head(), LIMITS).is_err(), "{early:?} is no mistake");
            assert!(h1::parse_response(head(), LIMITS).is_err(), "{early:?} is no mistake");
            None
        }
        (Ok(Completeness::Partial { .. }), Ok(Completeness::Partial { .. })) => None,
        (Err(_), Err(_)) => None,
        (one, other) => panic!("{one:?} at once, {other:?} byte by byte"),
    }
}

fn is_token(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)
}

fn check_fields(fields: &Block) {
    assert!(fields.len() <= LIMITS.fields);
    for field in fields.iter() {
        assert!(!fields.name(field).is_empty() && fields.name(field).iter().all(is_token));
        let value = fields.value(field);
        let stops = |byte: &u8| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f;
        assert!(!value.iter().any(stops), "a control character in {value:?}");
        let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
        assert!(!is_space(value.first()) && !is_space(value.last()), "space around {value:?}");
        assert_eq!(field.id, FieldId::of(fields.name(field)));
        assert!(field.id == FieldId::Other || fields.has(field.id));
    }
}

/// The fields as another parser would list them.
fn lines(fields: &Block) -> Vec<(&[u8], &[u8])> {
    fields.iter().map(|field| (fields.name(field), fields.value(field))).collect()
}

/// A length that was accepted is the only one that anybody can find in the head.
fn agrees_with(length: BodyLength, fields: &Block, version: Version) {
    let values = |name: &[u8]| -> Vec<String> {
        let named = |field: &&Field| fields.name(field).eq_ignore_ascii_case(name);
        let text = |field| String::from_utf8_lossy(fields.value(field)).into_owned();
        fields.iter().filter(named).map(text).collect()
    };
    let (lengths, codings) = (values(b"content-length"), values(b"transfer-encoding"));
    match length {
        BodyLength::Chunked => {
            assert_eq!(version, Version::Http11);
            assert!(lengths.is_empty());
            assert_eq!(codings.len(), 1);
            assert!(codings[0].eq_ignore_ascii_case("chunked"));
        }
        BodyLength::None if lengths.is_empty() => assert!(codings.is_empty()),
        BodyLength::None | BodyLength::Known(_) => {
            assert!(codings.is_empty());
            assert_eq!(lengths.len(), 1);
            assert!(lengths[0].bytes().all(|byte| byte.is_ascii_digit()));
            let known = if let BodyLength::Known(known) = length { known } else { 0 };
            assert_eq!(lengths[0].parse(), Ok(known));
        }
        BodyLength::UntilClose => panic!("nothing declares this"),
    }
}

/// Removes what belongs to the connection, and checks that it went.
fn strip(fields: &mut Block) {
    let named: Vec<Vec<u8>> = fields
        .values(FieldId::Connection)
        .flat_map(message::list::elements)
        .map(<[u8]>::to_ascii_lowercase)
        .filter(|name| !matches!(&name[..], b"host" | b"content-length"))
        .collect();
    hop::strip(fields);
    for field in fields.iter() {
        let name = fields.name(field).to_ascii_lowercase();
        assert!(!named.contains(&name), "{field:?} was named by Connection");
        assert!(
            !matches!(
                &name[..],
                b"connection"
                    | b"keep-alive"
                    | b"proxy-connection"
                    | b"te"
                    | b"upgrade"
                    | b"transfer-encoding"
                    | b"http2-settings"
            ),
            "{field:?} is hop-by-hop"
        );
    }
    assert_eq!(hop::strip(fields), hop::Connection::default());
}

fn write_request(head: &message::RequestHead) -> Vec<u8> {
    let mut out = Vec::new();
    h1::write_request_line(&mut out, head.method_text(), &[head.target()]);
    head.fields.write_lines(&mut out, |_| false);
    out.extend_from_slice(b"\r\n");
    out
}

fn write_response(head: &ResponseHead) -> Vec<u8> {
    let mut out = Vec::new();
    h1::write_status_line(&mut out, head.status, head.reason());
    head.fields.write_lines(&mut out, |_| false);
    out.extend_from_slice(b"\r\n");
    out
}
