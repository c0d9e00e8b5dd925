use super::*;

const LIMITS: HeadLimits = HeadLimits { bytes: 4096, fields: 16 };

fn request(text: &[u8]) -> Result<RequestHead, ParseError> {
    parse_request(Block::over(text.to_vec()), LIMITS)
}

fn response(text: &[u8]) -> Result<ResponseHead, ParseError> {
    parse_response(Block::over(text.to_vec()), LIMITS)
}

#[test]
fn a_request_is_ranges_into_its_buffer() {
    let head =
        request(b"GET /a?b HTTP/1.1\r\nHost: h\r\nX-Empty:\r\nx-tab:\t a\tb \t\r\n\r\n").unwrap();
    assert_eq!(head.method, Method::Get);
    assert_eq!(head.target(), b"/a?b");
    assert_eq!(head.version, Version::Http11);
    let fields: Vec<_> =
        head.fields.iter().map(|f| (head.fields.name(f), head.fields.value(f))).collect();
    assert_eq!(fields, [(&b"Host"[..], &b"h"[..]), (b"X-Empty", b""), (b"x-tab", b"a\tb")]);
}

#[test]
fn requests_that_are_refused() {
    use ParseError::*;
    let bad = Malformed(Part::StartLine);
    let name = Malformed(Part::FieldName);
    let value = Malformed(Part::FieldValue);
    for (text, error) in [
        (&b"GET / HTTP/1.1\nHost: h\r\n\r\n"[..], BareLineEnd),
        (b"GET / HTTP/1.1\r\nHost: h\n\r\n", BareLineEnd),
        (b"GET / HTTP/1.1\r\nHost: h\rx\r\n\r\n", BareLineEnd),
        (b"GET / HTTP/1.1\r\n\nHost: h\r\n\r\n", BareLineEnd),
        (b"GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n", value),
        (b"GET / HTTP/1.1\r\nHost: a\x7fb\r\n\r\n", value),
        (b"GET / HTTP/1.1\r\nHost : h\r\n\r\n", name),
        (b"GET / HTTP/1.1\r\nHost\t: h\r\n\r\n", name),
        (b"GET / HTTP/1.1\r\n: h\r\n\r\n", name),
        (b"GET / HTTP/1.1\r\nHo st: h\r\n\r\n", name),
        (b"GET / HTTP/1.1\r\nHost\r\n\r\n", name),
        (b"GET / HTTP/1.1\r\nH\xc3\xb6st: h\r\n\r\n", name),
        (b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", FoldedLine),
        (b"GET / HTTP/1.1\r\n Host: h\r\n\r\n", FoldedLine),
        (b"GET / HTTP/2.0\r\n\r\n", Version),
        (b"GET / HTTP/1.2\r\n\r\n", Version),
        (b"GET / HTTP/0.9\r\n\r\n", Version),
        (b"GET / http/1.1\r\n\r\n", bad),
        (b"GET / HTTP/1.1 \r\n\r\n", bad),
        (b"GET / HTTP/11\r\n\r\n", bad),
        (b"GET /\r\n\r\n", bad),
        (b"GET  / HTTP/1.1\r\n\r\n", bad),
        (b"GET /  HTTP/1.1\r\n\r\n", bad),
        (b"GET\t/ HTTP/1.1\r\n\r\n", bad),
        (b"GET /a\tb HTTP/1.1\r\n\r\n", bad),
        (b" GET / HTTP/1.1\r\n\r\n", bad),
        (b"GE(T / HTTP/1.1\r\n\r\n", bad),
        (b"GET / HTTP/1.1\r\r\n\r\n", BareLineEnd),
    ] {
        assert_eq!(request(text).map(|_| ()), Err(error), "{}", text.escape_ascii());
    }
}

#[test]
fn responses() {
    let head = response(b"HTTP/1.1 200 OK fine\r\nA: b\r\n\r\n").unwrap();
    assert_eq!((head.status, head.reason()), (200, &b"OK fine"[..]));
    assert_eq!(response(b"HTTP/1.0 404 \r\n\r\n").unwrap().reason(), b"");
    assert_eq!(response(b"HTTP/1.1 204\r\n\r\n").unwrap().status, 204);
    for text in [
        &b"HTTP/1.1 20 OK\r\n\r\n"[..],
        b"HTTP/1.1 099 x\r\n\r\n",
        b"HTTP/1.1  200 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 +20 OK\r\n\r\n",
        b"ICY 200 OK\r\n\r\n",
        b"HTTP/1.1 200 O\0K\r\n\r\n",
    ] {
        assert!(response(text).is_err(), "{}", text.escape_ascii());
    }
}

#[test]
fn fields_are_counted() {
    let mut text = b"GET / HTTP/1.1\r\n".to_vec();
    for _ in 0..17 {
        text.extend_from_slice(b"A: b\r\n");
    }
    text.extend_from_slice(b"\r\n");
    assert_eq!(request(&text).map(|_| ()), Err(ParseError::TooManyFields));
}

#[test]
fn a_head_is_found_wherever_the_input_is_cut() {
    let text = b"GET / HTTP/1.1\r\nHost: h\r\n\r\nbody";
    let mut scanned = 0;
    for length in 0..text.len() {
        match completeness(&text[..length], scanned, LIMITS).unwrap() {
            Completeness::Partial { scanned: next } => {
                assert!(length < 27);
                scanned = next;
            }
            Completeness::Complete(end) => assert_eq!((end, length >= 27), (27, true)),
        }
    }
}

#[test]
fn what_can_never_become_right_is_told_at_once() {
    let told = |text: &[u8]| completeness(text, 0, LIMITS);
    assert_eq!(told(b"GET / HTTP/1.1\nHost: h\n\n"), Err(ParseError::BareLineEnd));
    assert_eq!(told(b"GET /\0"), Err(ParseError::Malformed(Part::StartLine)));
    assert_eq!(told(&[b'a'; 4096]), Err(ParseError::TargetTooLong));
    let mut large = b"GET / HTTP/1.1\r\nA: ".to_vec();
    large.resize(5000, b'a');
    assert_eq!(told(&large), Err(ParseError::HeadTooLarge));
    large.extend_from_slice(b"\r\n\r\n");
    assert_eq!(told(&large), Err(ParseError::HeadTooLarge));
}

proptest::proptest! {
    #[test]
    fn never_panics(text: Vec<u8>) {
        let _ = request(&text);
        let _ = response(&text);
        let _ = completeness(&text, 0, LIMITS);
    }

    /// What is written is what was parsed: parse and write are each other's inverse.
    #[test]
    fn parse_and_write_agree(
        method in "[A-Z]{1,8}", target in "/[a-z0-9/?=%&]{0,30}",
        fields in proptest::collection::vec(("[A-Za-z][A-Za-z0-9_-]{0,12}", "[!-~]([ -~\t]{0,20}[!-~])?|"), 0..10),
    ) {
        let mut text = format!("{method} {target} HTTP/1.1\r\n");
        for (name, value) in &fields {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        let head = request(text.as_bytes()).unwrap();
        let mut out = Vec::new();
        crate::write_request_line(&mut out, head.method_text(), &[head.target()]);
        head.fields.write_lines(&mut out, |_| false);
        out.extend_from_slice(b"\r\n");
        proptest::prop_assert_eq!(String::from_utf8(out).unwrap(), text);
    }
}
