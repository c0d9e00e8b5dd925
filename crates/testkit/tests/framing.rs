//! Where a message ends, strictly: what two parsers could read in two ways is refused, and never
//! reaches the origin.

use testkit::{Origin, Proxy};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Each request is refused with a status and a close, and none of its bytes reaches the origin.
/// `{}` stands for the name of the case; a smuggled request would be for `/smuggled`.
fn refused(status: u16, cases: &[(&str, &[u8])]) {
    let origin = Origin::serve(|_| OK.to_vec());
    let proxy = Proxy::before(&origin);
    for (name, request) in cases {
        let mut client = proxy.client();
        client.send(request);
        let response = client.recv_response();
        assert_eq!(response.status(), status, "{name}: {}", response.text());
        assert!(response.closes(), "{name}: {}", response.text());
        let said = response.get("Proxy-Status").unwrap_or_default();
        assert!(said.starts_with("bifrons; error="), "{name}: {said}");
        client.expect_close();
    }
    // The proxy still serves, and the origin would have seen what was let through.
    let mut client = proxy.client();
    client.send("GET /good HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(client.recv_response().status(), 200);
    drop(client);
    proxy.stop();
    let seen = origin.all_bytes();
    assert!(seen.contains("GET /good "), "{seen}");
    for marker in ["/case", "smuggled", "CASE"] {
        assert!(!seen.contains(marker), "a refused request reached the origin: {seen}");
    }
    assert_eq!(origin.requests().len(), 1);
}

/// A request with these field lines beside `Host`.
macro_rules! fields {
    ($($line:literal),* ; $body:literal) => {
        concat!("POST /case HTTP/1.1\r\nHost: a\r\n", $($line, "\r\n",)* "\r\n", $body).as_bytes()
    };
}

/// A chunked request.
macro_rules! chunked {
    ($body:literal) => {
        fields!("Transfer-Encoding: chunked"; $body)
    };
}

const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn two_lengths_are_refused() {
    refused(
        400,
        &[
            (
                "length and coding",
                fields!("Content-Length: 5", "Transfer-Encoding: chunked"; "0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n"),
            ),
            (
                "coding and length",
                fields!("Transfer-Encoding: chunked", "Content-Length: 5"; "0\r\n\r\nx"),
            ),
            (
                "length 0 and coding",
                fields!("Content-Length: 0", "Transfer-Encoding: chunked"; "0\r\n\r\n"),
            ),
            ("unequal", fields!("Content-Length: 5", "Content-Length: 6"; "hello")),
            ("equal", fields!("Content-Length: 5", "Content-Length: 5"; "hello")),
            ("equal, other case", fields!("Content-Length: 5", "content-length: 5"; "hello")),
            ("list", fields!("Content-Length: 5, 5"; "hello")),
            ("unequal list", fields!("Content-Length: 5, 6"; "hello")),
            ("length twice, one empty", fields!("Content-Length: 5", "Content-Length:"; "hello")),
            (
                "nominated coding",
                fields!("Connection: transfer-encoding", "Transfer-Encoding: chunked", "Content-Length: 3"; "0\r\n\r\n"),
            ),
            (
                "nominated length",
                fields!("Connection: content-length", "Content-Length: 5", "Content-Length: 0"; "hello"),
            ),
        ],
    );
}

#[test]
fn lengths_that_are_no_plain_number_are_refused() {
    refused(
        400,
        &[
            ("empty", fields!("Content-Length:"; "")),
            ("plus", fields!("Content-Length: +5"; "hello")),
            ("minus", fields!("Content-Length: -5"; "hello")),
            ("minus nothing", fields!("Content-Length: -0"; "")),
            ("hexadecimal", fields!("Content-Length: 0x5"; "hello")),
            ("underscore", fields!("Content-Length: 1_0"; "hellohello")),
            ("space inside", fields!("Content-Length: 1 0"; "hellohello")),
            ("fraction", fields!("Content-Length: 5.0"; "hello")),
            ("exponent", fields!("Content-Length: 1e1"; "hellohello")),
            ("parameter", fields!("Content-Length: 5;a"; "hello")),
            ("quoted", fields!("Content-Length: \"5\""; "hello")),
            ("64 bits and one more", fields!("Content-Length: 18446744073709551616"; "hello")),
            ("wraps to 5", fields!("Content-Length: 18446744073709551621"; "hello")),
            (
                "63 bits and one more, negative",
                fields!("Content-Length: -9223372036854775803"; "hello"),
            ),
            ("very long", fields!("Content-Length: 00000000000000000000000000005"; "hello")),
            ("full-width digit", fields!("Content-Length: \u{ff15}"; "hello")),
        ],
    );
}

#[test]
fn codings_that_are_not_chunked_are_refused() {
    refused(
        400,
        &[
            ("other first", fields!("Transfer-Encoding: x, chunked"; "0\r\n\r\n")),
            ("gzip first", fields!("Transfer-Encoding: gzip, chunked"; "0\r\n\r\n")),
            ("chunked first", fields!("Transfer-Encoding: chunked, x"; "0\r\n\r\n")),
            ("twice in one", fields!("Transfer-Encoding: chunked, chunked"; "0\r\n\r\n")),
            (
                "twice",
                fields!("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"; "0\r\n\r\n"),
            ),
            (
                "identity beside",
                fields!("Transfer-Encoding: chunked", "Transfer-Encoding: identity"; "0\r\n\r\n"),
            ),
            ("identity", fields!("Transfer-Encoding: identity"; "")),
            ("empty", fields!("Transfer-Encoding:"; "0\r\n\r\n")),
            ("comma", fields!("Transfer-Encoding: ,chunked"; "0\r\n\r\n")),
            ("parameter", fields!("Transfer-Encoding: chunked;q=1"; "0\r\n\r\n")),
            ("quoted", fields!("Transfer-Encoding: \"chunked\""; "0\r\n\r\n")),
            ("prefix", fields!("Transfer-Encoding: xchunked"; "0\r\n\r\n")),
            ("vertical tab", fields!("Transfer-Encoding: \x0bchunked"; "0\r\n\r\n")),
            ("no-break space", fields!("Transfer-Encoding: \u{a0}chunked"; "0\r\n\r\n")),
            (
                "HTTP/1.0",
                b"POST /case HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            ),
            (
                "HTTP/1.0, kept",
                b"POST /case HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            ),
        ],
    );
}

#[test]
fn chunks_out_of_grammar_are_refused() {
    refused(
        400,
        &[
            ("no size", chunked!("\r\nhello\r\n0\r\n\r\n")),
            ("hexadecimal prefix", chunked!("0x5\r\nhello\r\n0\r\n\r\n")),
            ("plus", chunked!("+5\r\nhello\r\n0\r\n\r\n")),
            ("minus", chunked!("-5\r\nhello\r\n0\r\n\r\n")),
            ("underscore", chunked!("0_5\r\nhello\r\n0\r\n\r\n")),
            ("space before", chunked!(" 5\r\nhello\r\n0\r\n\r\n")),
            ("not a digit", chunked!("g\r\nhello\r\n0\r\n\r\n")),
            ("junk behind the size", chunked!("5 x\r\nhello\r\n0\r\n\r\n")),
            ("junk at the size", chunked!("5x\r\nhello\r\n0\r\n\r\n")),
            ("overflow", chunked!("10000000000000005\r\nhello\r\n0\r\n\r\n")),
            ("overflow by zeros", chunked!("00000000000000005\r\nhello\r\n0\r\n\r\n")),
            ("bare LF behind the size", chunked!("5\nhello\r\n0\r\n\r\n")),
            ("bare CR behind the size", chunked!("5\rhello\r\n0\r\n\r\n")),
            ("two CR", chunked!("5\r\r\nhello\r\n0\r\n\r\n")),
            ("bare LF behind the data", chunked!("5\r\nhello\n0\r\n\r\n")),
            ("nothing behind the data", chunked!("5\r\nhello0\r\n\r\n")),
            ("longer than its size", chunked!("4\r\nhello\r\n0\r\n\r\n")),
            ("two bytes behind the data", chunked!("5\r\nhelloXX0\r\n\r\n")),
            ("bare LF behind the last chunk", chunked!("5\r\nhello\r\n0\n\r\n")),
            ("bare LF in an extension", chunked!("5;a\nhello\r\n0\r\n\r\n")),
            ("LF in a quoted extension", chunked!("5;a=\"b\nc\"\r\nhello\r\n0\r\n\r\n")),
            ("CR in a quoted extension", chunked!("5;a=\"b\rc\"\r\nhello\r\n0\r\n\r\n")),
            ("NUL in an extension", chunked!("5;a\0\r\nhello\r\n0\r\n\r\n")),
            ("extension without a name", chunked!("5;=b\r\nhello\r\n0\r\n\r\n")),
        ],
    );
}

#[test]
fn trailers_out_of_grammar_are_refused() {
    // The body may have gone by then: the origin gets it without an end.
    let cases: [(&str, &str); 7] = [
        ("bare LF", "X: y\n\r\n"),
        ("space before the colon", "X : y\r\n\r\n"),
        ("folded", "X: y\r\n z\r\n\r\n"),
        ("NUL", "X: y\0\r\n\r\n"),
        ("bare CR", "X: y\rz\r\n\r\n"),
        ("no name", ": y\r\n\r\n"),
        ("no colon", "GET /smuggled HTTP/1.1\r\n\r\n"),
    ];
    let origin = Origin::serve(|_| OK.to_vec());
    let proxy = Proxy::before(&origin);
    for (name, trailers) in cases {
        let mut client = proxy.client();
        client.send(format!(
            "POST /case HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
             5\r\nhello\r\n0\r\n{trailers}"
        ));
        let response = client.recv_response();
        assert_eq!(response.status(), 400, "{name}: {}", response.text());
        assert!(response.closes(), "{name}: {}", response.text());
        client.expect_close();
    }
    proxy.stop();
    let seen = origin.all_bytes();
    assert!(!seen.contains("0\r\n\r\n") && !seen.contains("smuggled"), "{seen}");
    assert_eq!(origin.requests().len(), 0);
}

#[test]
fn lines_that_do_not_end_in_crlf_are_refused() {
    refused(
        400,
        &[
            ("bare LF", b"GET /case HTTP/1.1\nHost: a\n\n"),
            ("bare LF in the request line", b"GET /case HTTP/1.1\nHost: a\r\n\r\n"),
            ("bare LF behind a field", b"GET /case HTTP/1.1\r\nHost: a\nX: y\r\n\r\n"),
            ("bare LF ends the head", b"GET /case HTTP/1.1\r\nHost: a\r\n\n"),
            (
                "LF LF ends the head",
                b"GET /case HTTP/1.1\r\nHost: a\n\nGET /smuggled HTTP/1.1\r\n\r\n",
            ),
            ("bare CR in a value", b"GET /case HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n"),
            ("bare CR between fields", b"GET /case HTTP/1.1\r\nHost: a\rX: y\r\n\r\n"),
            ("bare CR in the request line", b"GET /case HTTP/1.1\rHost: a\r\n\r\n"),
            ("two CR", b"GET /case HTTP/1.1\r\nHost: a\r\r\n\r\n"),
            ("NUL in a value", b"GET /case HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n"),
            ("NUL in a name", b"GET /case HTTP/1.1\r\nHost: a\r\nX\0: a\r\n\r\n"),
            ("NUL in the target", b"GET /case\0 HTTP/1.1\r\nHost: a\r\n\r\n"),
            ("NUL in the method", b"G\0T /case HTTP/1.1\r\nHost: a\r\n\r\n"),
            ("folded", b"GET /case HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n"),
            ("folded with a tab", b"GET /case HTTP/1.1\r\nHost: a\r\nX: a\r\n\tb\r\n\r\n"),
            (
                "folded length",
                b"POST /case HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n 5\r\n\r\nhello",
            ),
            ("space before the first field", b"GET /case HTTP/1.1\r\n Host: a\r\n\r\n"),
            ("empty line with a space", b"GET /case HTTP/1.1\r\nHost: a\r\n \r\n\r\n"),
        ],
    );
}

#[test]
fn names_that_are_no_tokens_are_refused() {
    refused(
        400,
        &[
            ("space before the colon", fields!("Content-Length : 5"; "hello")),
            ("tab before the colon", fields!("Transfer-Encoding\t: chunked"; "0\r\n\r\n")),
            ("empty", fields!(": 5"; "")),
            ("only a colon", fields!(":"; "")),
            ("no colon", fields!("Content-Length"; "")),
            ("space inside", fields!("Content Length: 5"; "hello")),
            ("parenthesis", fields!("X(: 5"; "")),
            ("slash", fields!("X/Y: 5"; "")),
            ("at", fields!("X@: 5"; "")),
            ("bracket", fields!("X[]: 5"; "")),
            ("high byte", fields!("X\u{e9}: 5"; "")),
            ("delete", fields!("X\x7f: 5"; "")),
            ("control", fields!("X\x01: 5"; "")),
            ("control in a value", fields!("X: a\x01"; "")),
            ("delete in a value", fields!("X: a\x7f"; "")),
            ("escape in a value", fields!("X: \x1b[31m"; "")),
        ],
    );
}

#[test]
fn request_lines_out_of_grammar_are_refused() {
    refused(
        400,
        &[
            ("no version", b"GET /case\r\nHost: a\r\n\r\n"),
            ("two spaces", b"GET  /case HTTP/1.1\r\nHost: a\r\n\r\n"),
            ("two spaces before the version", b"GET /case  HTTP/1.1\r\nHost: a\r\n\r\n"),
            ("space in the target", b"GET /case b HTTP/1.1\r\nHost: a\r\n\r\n"),
            ("tab", b"GET\t/case\tHTTP/1.1\r\nHost: a\r\n\r\n"),
            ("space behind the version", b"GET /case HTTP/1.1 \r\nHost: a\r\n\r\n"),
            ("space before the method", b" GET /case HTTP/1.1\r\nHost: a\r\n\r\n"),
            ("no method", b"/case HTTP/1.1\r\nHost: a\r\n\r\n"),
            ("method is no token", b"GE[T] /case HTTP/1.1\r\nHost: a\r\n\r\n"),
            ("lower-case version", b"GET /case http/1.1\r\nHost: a\r\n\r\n"),
            ("version without a dot", b"GET /case HTTP/11\r\nHost: a\r\n\r\n"),
            ("long version", b"GET /case HTTP/1.10\r\nHost: a\r\n\r\n"),
            ("fragment", b"GET /case#x HTTP/1.1\r\nHost: a\r\n\r\n"),
            ("no slash", b"GET case HTTP/1.1\r\nHost: a\r\n\r\n"),
            ("asterisk for GET", b"GET * HTTP/1.1\r\nHost: CASE\r\n\r\n"),
            ("authority for GET", b"GET a:80 HTTP/1.1\r\nHost: CASE\r\n\r\n"),
            ("no scheme", b"GET ://a/case HTTP/1.1\r\nHost: a\r\n\r\n"),
            ("another scheme", b"GET ftp://a/case HTTP/1.1\r\nHost: a\r\n\r\n"),
            ("empty authority", b"GET http:///case HTTP/1.1\r\nHost: a\r\n\r\n"),
            ("not HTTP", b"\x80\x80\x01\x03\x01/case\r\n\r\n"),
        ],
    );
    refused(
        505,
        &[
            ("HTTP/2.0", b"GET /case HTTP/2.0\r\nHost: a\r\n\r\n"),
            ("HTTP/1.2", b"GET /case HTTP/1.2\r\nHost: a\r\n\r\n"),
            ("HTTP/0.9", b"GET /case HTTP/0.9\r\nHost: a\r\n\r\n"),
            ("half a preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nsm\r\n\r\n"),
        ],
    );
}

#[test]
fn a_request_has_one_host() {
    refused(
        400,
        &[
            ("none", b"GET /case HTTP/1.1\r\n\r\n"),
            ("two", b"GET /case HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
            ("the same twice", b"GET /case HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
            ("two for HTTP/1.0", b"GET /case HTTP/1.0\r\nHost: a\r\nhost: b\r\n\r\n"),
            ("a list", b"GET /case HTTP/1.1\r\nHost: a, b\r\n\r\n"),
            ("user information", b"GET /case HTTP/1.1\r\nHost: a@b\r\n\r\n"),
            ("a path", b"GET /case HTTP/1.1\r\nHost: a/b\r\n\r\n"),
            ("a scheme", b"GET /case HTTP/1.1\r\nHost: http://a\r\n\r\n"),
            ("a space", b"GET /case HTTP/1.1\r\nHost: a b\r\n\r\n"),
            ("port out of range", b"GET /case HTTP/1.1\r\nHost: a:65536\r\n\r\n"),
            ("port is no number", b"GET /case HTTP/1.1\r\nHost: a:b\r\n\r\n"),
            ("bracket left open", b"GET /case HTTP/1.1\r\nHost: [::1\r\n\r\n"),
            ("high byte", b"GET /case HTTP/1.1\r\nHost: a\xe9\r\n\r\n"),
            ("another in the target", b"GET http://b/case HTTP/1.1\r\nHost: a\r\n\r\n"),
            ("another port in the target", b"GET http://a:81/case HTTP/1.1\r\nHost: a\r\n\r\n"),
            ("user information in the target", b"GET http://u@a/case HTTP/1.1\r\nHost: a\r\n\r\n"),
            ("none beside the target", b"GET http://a/case HTTP/1.1\r\n\r\n"),
        ],
    );
}

#[test]
fn a_body_is_never_read_as_a_request() {
    let origin = Origin::serve(|request| {
        let target = request.target();
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{target}", target.len()).into()
    });
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    // With GET too, a declared body is a body.
    client.send(format!(
        "GET /a HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{SMUGGLED}",
        SMUGGLED.len()
    ));
    client.send(format!(
        "POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{SMUGGLED}\r\n0\r\n\r\n",
        SMUGGLED.len()
    ));
    client.send("GET /c HTTP/1.1\r\nHost: a\r\n\r\n");
    for target in ["/a", "/b", "/c"] {
        assert_eq!(client.recv_response().body_text(), target);
    }
    client.expect_nothing();
    let requests = origin.requests();
    assert_eq!(requests.len(), 3);
    assert_eq!(requests[0].body_text(), SMUGGLED);
    assert_eq!(requests[1].body_text(), SMUGGLED);
}

#[test]
fn framing_is_the_same_in_pieces_of_any_size() {
    let origin = Origin::serve(|_| OK.to_vec());
    let proxy = Proxy::before(&origin);
    let request = "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                   5;a=\"b\"\r\nhello\r\n6\r\n world\r\n0\r\nX-T: 1\r\n\r\n";
    for size in [1, 2, 3, 7, 50] {
        let mut client = proxy.client();
        for piece in request.as_bytes().chunks(size) {
            client.send(piece);
        }
        assert_eq!(client.recv_response().status(), 200, "pieces of {size}");
    }
    let requests = origin.requests();
    assert_eq!(requests.len(), 5);
    for request in requests {
        assert_eq!(request.body_text(), "hello world");
        assert_eq!(request.trailers, "X-T: 1\r\n");
    }
}

#[test]
fn one_empty_line_before_a_request_is_passed_over() {
    let origin = Origin::serve(|_| OK.to_vec());
    let proxy = Proxy::before(&origin);
    let mut client = proxy.client();
    client.send("\r\nGET /1 HTTP/1.1\r\nHost: a\r\n\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.recv_response().status(), 200);
    assert_eq!(client.recv_response().status(), 200);
}
