//! A request of HTTP/2 as the rest of the proxy sees requests.

use http::request::Parts;
use message::{BlockPool, Method, RequestHead, Version};

use crate::peer::add_fields;

/// The head of a request, and whether bytes of a tunnel follow it in place of a body.
///
/// Of what RFC 9113 §8 forbids the library has refused what it knows of; the rest is refused
/// here: what no request of HTTP/1 could say must not get near a server.
///
/// # Errors
/// What is malformed: an error of the stream (RFC 9113 §8.1.1).
pub(super) fn head(
    parts: &Parts,
    forward: bool,
    blocks: &BlockPool,
) -> Result<(RequestHead, bool), &'static str> {
    let protocol = parts.extensions.get::<h2::ext::Protocol>().map(h2::ext::Protocol::as_str);
    let connect = parts.method == http::Method::CONNECT;
    // It is going to be the value of a field.
    if !protocol.is_none_or(is_protocol) {
        return Err("malformed :protocol");
    }
    // What follows are bytes of a tunnel, and no body of a length (RFC 9113 §8.5).
    if connect && parts.headers.contains_key(http::header::CONTENT_LENGTH) {
        return Err("CONNECT with a length");
    }
    let authority = parts.uri.authority().map(http::uri::Authority::as_str);
    if authority.is_some_and(|authority| authority.is_empty() || authority.contains('@')) {
        return Err("malformed :authority");
    }
    // Without an authority the library lets go of the scheme as well.
    let scheme = parts.uri.scheme_str().unwrap_or_default();
    let wants_scheme = authority.is_some() && (!connect || protocol.is_some());
    if wants_scheme && !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return Err("malformed :scheme");
    }
    let mut block = blocks.block();
    let bytes = block.bytes_mut();
    // An extended CONNECT is what HTTP/1 calls an upgrade (RFC 8441 §5).
    let (method, text) = match protocol {
        Some(_) => (Method::Get, "GET"),
        None => (Method::of(parts.method.as_str().as_bytes()), parts.method.as_str()),
    };
    bytes.extend_from_slice(text.as_bytes());
    let method_at = 0..bytes.len();
    bytes.push(b' ');
    let start = bytes.len();
    match (connect && protocol.is_none(), authority) {
        (true, Some(authority)) => bytes.extend_from_slice(authority.as_bytes()),
        (true, None) => return Err("CONNECT without :authority"),
        (false, authority) => {
            let path = parts.uri.path_and_query().ok_or("no :path")?.as_str();
            let of_server = path == "*" && parts.method == http::Method::OPTIONS;
            if !path.starts_with('/') && !of_server {
                return Err("malformed :path");
            }
            if let (true, Some(authority)) = (forward, authority) {
                let scheme = parts.uri.scheme_str().unwrap_or("http");
                for part in [scheme, "://", authority] {
                    bytes.extend_from_slice(part.as_bytes());
                }
            }
            bytes.extend_from_slice(path.as_bytes());
        }
    }
    let target_at = start..bytes.len();
    bytes.extend_from_slice(b"\r\n");
    let mut hosts = parts.headers.get_all(http::header::HOST).iter();
    match (authority, hosts.next()) {
        (Some(authority), Some(host))
            if !host.as_bytes().eq_ignore_ascii_case(authority.as_bytes()) =>
        {
            return Err("Host differs from :authority");
        }
        // It stands first, and once.
        (Some(authority), _) => block.push(b"host", &[authority.as_bytes()]),
        (None, Some(host)) if !host.is_empty() => block.push(b"host", &[host.as_bytes()]),
        (None, _) => return Err("neither :authority nor Host"),
    }
    if hosts.next().is_some() {
        return Err("more than one Host");
    }
    add_fields(&mut block, &parts.headers)?;
    if let Some(protocol) = protocol {
        block.push(b"connection", &[b"upgrade"]);
        block.push(b"upgrade", &[protocol.as_bytes()]);
    }
    let head = RequestHead { fields: block, method, version: Version::Http2, method_at, target_at };
    Ok((head, connect))
}

/// A name of RFC 9110 §7.8: a token, and perhaps a version.
fn is_protocol(text: &str) -> bool {
    let is_token = |part: &str| {
        let of_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        !part.is_empty() && part.bytes().all(of_token)
    };
    match text.split_once('/') {
        None => is_token(text),
        Some((name, version)) => is_token(name) && is_token(version),
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn of(
        request: http::request::Builder,
        forward: bool,
    ) -> Result<(String, String, bool), &'static str> {
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let blocks = BlockPool::new(1);
        let (head, connect) = head(&parts, forward, &blocks)?;
        let mut fields = Vec::new();
        head.fields.write_lines(&mut fields, |_| false);
        let line = [head.method_text(), b" ", head.target()].concat();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ok((text(line), text(fields), connect))
    }

    #[test]
    fn the_authority_is_the_host() {
        let request = Request::get("http://a.example/x?y=1").header("accept", "*/*");
        let (line, fields, connect) = of(request, false).unwrap();
        assert_eq!(line, "GET /x?y=1");
        assert_eq!(fields, "host: a.example\r\naccept: */*\r\n");
        assert!(!connect);
    }

    #[test]
    fn a_forward_listener_gets_the_absolute_form() {
        let request = Request::get("http://a.example:81/x");
        assert_eq!(of(request, true).unwrap().0, "GET http://a.example:81/x");
        let request = Request::connect("a.example:443");
        let (line, _, connect) = of(request, true).unwrap();
        assert_eq!(line, "CONNECT a.example:443");
        assert!(connect);
    }

    #[test]
    fn the_protocol_of_a_tunnel_is_a_name_and_nothing_more() {
        let ask = |protocol: &str, length: Option<&str>| {
            let mut request = Request::connect("http://a.example/chat")
                .extension(h2::ext::Protocol::from(protocol));
            if let Some(length) = length {
                request = request.header("content-length", length);
            }
            of(request, false)
        };
        let (line, fields, connect) = ask("websocket", None).unwrap();
        assert_eq!(line, "GET /chat");
        assert!(fields.ends_with("connection: upgrade\r\nupgrade: websocket\r\n"), "{fields}");
        assert!(connect && ask("a/1.1", None).is_ok());
        for protocol in
            ["", "a b", "a\r\nX: y", "a\r\n\r\nGET / HTTP/1.1", "a,b", "a/", "/", "a/b/c"]
        {
            assert_eq!(ask(protocol, None), Err("malformed :protocol"), "{protocol:?}");
        }
        assert_eq!(ask("websocket", Some("50")), Err("CONNECT with a length"));
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_malformed() {
        let get = || Request::get("http://a.example/");
        assert!(of(get().header("host", "A.example"), false).is_ok());
        assert_eq!(
            of(get().header("host", "b.example"), false),
            Err("Host differs from :authority")
        );
        let twice = get().header("host", "a.example").header("host", "a.example");
        assert_eq!(of(twice, false), Err("more than one Host"));
        assert_eq!(of(Request::get("/x"), false), Err("neither :authority nor Host"));
        assert!(of(get().header("x", " a"), false).is_err());
        assert!(of(get().header("x", "a\t"), false).is_err());
    }
}
