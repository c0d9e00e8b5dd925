//! What HTTP/2 can say and HTTP/1.1 must not hear (RFC 9113, sections 8.1.1 to 8.3): a stream
//! error, and not an octet of it reaches the origin.

mod h2;

use std::panic::{AssertUnwindSafe, catch_unwind};

use h2::{Case, Front, check, get_with, request};
use testkit::h2::code::PROTOCOL_ERROR;
use testkit::h2::{Client, Frame, Outcome, fields, flag};

const PROTOCOL: &[u32] = &[PROTOCOL_ERROR];

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// What refuses a request that is malformed.
#[derive(Clone, Copy, PartialEq)]
enum By {
    /// RST_STREAM.
    Stream,
    /// GOAWAY, with which the h2 crate answers some, and ends all other requests with it. RFC
    /// 9113, section 5.4.1 lets it. The day it does not, the tests fail and say so.
    Connection,
}

/// Each of these lists of fields is refused, with `PROTOCOL_ERROR`.
fn refuse(by: By, lists: &[(String, Fields)]) {
    let front = Front::start();
    let mut wrong = Vec::new();
    for (what, list) in lists {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let mut client = front.client();
            let stream = client.open(list);
            (client.outcome(stream), client.sync())
        }));
        match outcome {
            Ok((Outcome::Reset(PROTOCOL_ERROR), true)) if by == By::Stream => {}
            Ok((Outcome::Goaway(PROTOCOL_ERROR), false)) if by == By::Connection => {}
            Ok((outcome, true)) => wrong.push(format!("- {what}: {outcome:?}")),
            Ok((outcome, false)) => wrong.push(format!("- {what}: {outcome:?}, and the end")),
            Err(_) => wrong.push(format!("- {what}: no outcome")),
        }
    }
    assert!(wrong.is_empty(), "{} not refused so:\n{}", wrong.len(), wrong.join("\n"));
    front.finish();
}

fn shown(octets: &[u8]) -> String {
    octets.escape_ascii().to_string()
}

/// The fields of a GET, with these behind them.
fn behind(more: &[(&[u8], &[u8])]) -> Fields {
    let pseudo = get_with("/never", &[]);
    let pseudo = pseudo.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    pseudo
        .chain(more.iter().copied())
        .map(|(name, value)| (name.to_vec(), value.to_vec()))
        .collect()
}

/// The fields of a GET, with this value in place of that of one of them.
fn instead(name: &str, value: &[u8]) -> Fields {
    let mut list = behind(&[]);
    let found = list.iter_mut().find(|(found, _)| found == name.as_bytes()).expect("a field");
    found.1 = value.to_vec();
    list
}

#[test]
fn section_8_2_2_fields_of_a_connection() {
    let forbidden: [(&str, &str); 14] = [
        ("connection", "close"),
        ("connection", "x-never"),
        ("connection", ""),
        ("transfer-encoding", "chunked"),
        ("transfer-encoding", "identity"),
        ("transfer-encoding", ""),
        ("upgrade", "websocket"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("te", "chunked"),
        ("te", "trailers, chunked"),
        ("te", "gzip"),
        ("te", "Trailers;q=0.5"),
        ("te", ""),
    ];
    let lists = forbidden.map(|(name, value)| {
        (format!("8.2.2 {name}: {value}"), behind(&[(name.as_bytes(), value.as_bytes())]))
    });
    refuse(By::Stream, &lists);
}

#[test]
fn section_8_2_1_names() {
    let mut lists = Vec::new();
    // All octets that no name may have, alone, first, inside and last.
    let forbidden = (0..=0x20_u8).chain(b'A'..=b'Z').chain(0x7f..=0xff).chain(*b":");
    for octet in forbidden {
        for name in [vec![b'x', octet, b'y'], vec![b'x', octet], vec![octet, b'x']] {
            // A colon in front would be a pseudo-field.
            let what = format!("8.2.1 the name {}", shown(&name));
            lists.push((what, behind(&[(&name, b"value")])));
        }
    }
    lists.push(("8.2.1 no name".to_owned(), behind(&[(b"", b"value")])));
    for name in
        ["x never", "content-length ", " content-length", "x\r\nhost", "x:y", "(x)", "x,y", "x/y"]
    {
        lists.push((format!("8.2.1 the name {name:?}"), behind(&[(name.as_bytes(), b"1")])));
    }
    refuse(By::Connection, &lists);
}

#[test]
fn section_8_2_1_values() {
    let mut lists = Vec::new();
    for octet in *b"\0\r\n" {
        for value in [vec![octet], vec![b'a', octet], vec![octet, b'a'], vec![b'a', octet, b'b']] {
            let what = format!("8.2.1 the value {}", shown(&value));
            lists.push((what, behind(&[(b"x", &value)])));
        }
    }
    for value in
        ["a\r\nx: y", "a\r\n\r\nGET /never HTTP/1.1\r\nHost: a\r\n\r\n", "a\nx: y", "a\rx: y"]
    {
        for name in ["x", "cookie", "user-agent", "content-type", "host"] {
            let list = behind(&[(name.as_bytes(), value.as_bytes())]);
            lists.push((format!("8.2.1 {name}: {value:?}"), list));
        }
    }
    refuse(By::Connection, &lists);
    let spaces = [" a", "a ", "\ta", "a\t", " ", "\t"]
        .map(|value| (format!("8.2.1 the value {value:?}"), behind(&[(b"x", value.as_bytes())])));
    refuse(By::Stream, &spaces);
}

#[test]
fn section_8_3_pseudo_fields() {
    let mut lists: Vec<(String, Fields)> = Vec::new();
    let mut add = |what: &str, list: Fields| lists.push((what.to_owned(), list));
    add("8.3 an undefined one", behind(&[(b":never", b"x")]));
    add("8.3 one of responses", behind(&[(b":status", b"200")]));
    add("8.3 an empty name", behind(&[(b":", b"x")]));
    add("8.3 :Method", behind(&[(b":Method", b"GET")]));
    add("RFC 8441: :protocol without CONNECT", behind(&[(b":protocol", b"websocket")]));
    for name in [":method", ":scheme", ":path", ":authority"] {
        let all = behind(&[]);
        let (mine, others): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|(found, _)| found == name.as_bytes());
        let twice = [&mine[..], &others, &mine].concat();
        add(&format!("8.3 {name} twice"), twice);
        let other = [&mine[..], &others, &[(name.into(), b"other".to_vec())]].concat();
        add(&format!("8.3 {name} twice with two values"), other);
        let late = [&others[..], &[(b"x".to_vec(), b"y".to_vec())], &mine].concat();
        add(&format!("8.3 {name} behind a field"), late);
        if name != ":authority" {
            add(&format!("8.3.1 no {name}"), others);
            add(&format!("8.3.1 {name} is empty"), instead(name, b""));
        }
    }
    add("8.3.1 no field at all", Vec::new());
    add("8.3.1 no pseudo-field", vec![(b"x".to_vec(), b"/never".to_vec())]);
    // What the h2 crate takes for a block that cannot be decoded.
    let undecodable = ["an undefined one", "an empty name", ":Method", ":method is empty"];
    let (ends, resets): (Vec<_>, Vec<_>) = lists
        .into_iter()
        .partition(|(what, _)| undecodable.iter().any(|&part| what.ends_with(part)));
    refuse(By::Connection, &ends);
    refuse(By::Stream, &resets);
}

#[test]
fn section_8_3_1_values_of_pseudo_fields() {
    let mut lists = Vec::new();
    for name in [":method", ":scheme", ":path", ":authority"] {
        let right = match name {
            ":method" => "GET",
            ":scheme" => "http",
            ":path" => "/never",
            _ => "a",
        };
        for octet in (0..=0x20_u8).chain([0x7f]) {
            for value in [
                [right.as_bytes(), &[octet]].concat(),
                [&[octet], right.as_bytes()].concat(),
                [right.as_bytes(), &[octet], right.as_bytes()].concat(),
            ] {
                let what = format!("8.3.1 {name} is {}", shown(&value));
                lists.push((what, instead(name, &value)));
            }
        }
        let split = [right.as_bytes(), b" HTTP/1.1\r\nHost: a\r\n\r\nGET /never"].concat();
        lists.push((format!("8.3.1 {name} is a request"), instead(name, &split)));
    }
    for path in ["never", "?never", "http://a/never", "//", "*", "\\never"] {
        // `//` is a path like any other.
        if path != "//" {
            lists.push((format!("8.3.1 :path is {path:?}"), instead(":path", path.as_bytes())));
        }
    }
    for authority in ["user@a", "user:pass@a", "a/b", "a?b", "a#b", "a:99999", "a:x", "a,b", ""] {
        let what = format!("8.3.1 :authority is {authority:?}");
        lists.push((what, instead(":authority", authority.as_bytes())));
    }
    for scheme in ["1http", "http:", "http://a", "ht/tp"] {
        lists.push((format!("8.3.1 :scheme is {scheme:?}"), instead(":scheme", scheme.as_bytes())));
    }
    for method in ["GE(T", "GET/", "G\u{e9}T", "GET,POST"] {
        lists.push((format!("8.3.1 :method is {method:?}"), instead(":method", method.as_bytes())));
    }
    // The h2 crate takes a wrong method for a block that cannot be decoded.
    let (ends, resets): (Vec<_>, Vec<_>) =
        lists.into_iter().partition(|(what, _)| what.starts_with("8.3.1 :method"));
    refuse(By::Connection, &ends);
    refuse(By::Stream, &resets);
}

#[test]
fn section_8_3_1_a_fragment_is_not_passed_on() {
    // It is no part of a target. The h2 crate drops it before it can be refused.
    let front = Front::start();
    let mut client = front.client();
    let stream = client.open(&get_with("/path#fragment", &[]));
    let outcome = client.outcome(stream);
    assert!(matches!(outcome, Outcome::Response(_) | Outcome::Reset(_)), "{outcome:?}");
    drop(client);
    assert!(front.finish().iter().all(|request| request.target() == "/path"));
}

#[test]
fn section_8_3_1_authority_and_host() {
    let mut lists = Vec::new();
    for host in ["b", "a:81", "a,b", "", "a b"] {
        lists.push((
            format!("8.3.1 :authority a, host {host:?}"),
            behind(&[(b"host", host.as_bytes())]),
        ));
    }
    lists.push(("two hosts".to_owned(), behind(&[(b"host", b"a"), (b"host", b"a")])));
    lists.push(("two hosts that differ".to_owned(), behind(&[(b"host", b"a"), (b"host", b"b")])));
    let without: Fields =
        behind(&[]).into_iter().filter(|(name, _)| name != b":authority").collect();
    lists.push(("neither".to_owned(), without.clone()));
    let two =
        [&without[..], &[(b"host".to_vec(), b"a".to_vec()), (b"host".to_vec(), b"b".to_vec())]];
    lists.push(("no :authority, two hosts".to_owned(), two.concat()));
    refuse(By::Stream, &lists);
}

#[test]
fn section_8_5_malformed_connect() {
    let connect = |more: &[(&str, &str)]| -> Fields {
        let method = [(":method", "CONNECT")];
        let all = method.iter().chain(more);
        all.map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
    };
    let authority = (":authority", "never.example:443");
    refuse(
        By::Stream,
        &[
            ("8.5 CONNECT without :authority".to_owned(), connect(&[])),
            ("8.5 CONNECT with :path".to_owned(), connect(&[authority, (":path", "/")])),
            ("8.5 CONNECT with :scheme".to_owned(), connect(&[authority, (":scheme", "http")])),
            (
                "RFC 8441: extended CONNECT without :path".to_owned(),
                connect(&[authority, (":protocol", "websocket"), (":scheme", "http")]),
            ),
            (
                "RFC 8441: extended CONNECT without :scheme".to_owned(),
                connect(&[authority, (":protocol", "websocket"), (":path", "/")]),
            ),
        ],
    );
}

#[test]
fn section_8_1_1_content_length_and_data() {
    check(
        Front::start(),
        &[
            Case::stream("8.1.1 less DATA", PROTOCOL, |client| {
                let stream = client.begin(&request("POST", "/held", &[("content-length", "4")]));
                client.data(stream, "abc", true);
                stream
            }),
            Case::stream("8.1.1 more DATA", PROTOCOL, |client| {
                let stream = client.begin(&request("POST", "/held", &[("content-length", "2")]));
                client.data(stream, "abc", true);
                stream
            }),
            Case::stream("8.1.1 more DATA, in a frame of its own", PROTOCOL, |client| {
                let stream = client.begin(&request("POST", "/held", &[("content-length", "2")]));
                client.data(stream, "ab", false).data(stream, "never", true);
                stream
            }),
            Case::stream("8.1.1 no DATA", PROTOCOL, |client| {
                client.open(&request("POST", "/never", &[("content-length", "4")]))
            }),
            Case::stream("8.1.1 no DATA but an end", PROTOCOL, |client| {
                let stream = client.begin(&request("POST", "/held", &[("content-length", "4")]));
                client.data(stream, "", true);
                stream
            }),
            Case::stream("8.1.1 trailers before all DATA", PROTOCOL, |client| {
                let stream = client.begin(&request("POST", "/held", &[("content-length", "4")]));
                client.data(stream, "abc", false).headers(stream, &[("x", "y")], true);
                stream
            }),
            Case::stream("8.1.1 DATA where there is to be none", PROTOCOL, |client| {
                let stream = client.begin(&request("POST", "/held", &[("content-length", "0")]));
                client.data(stream, "x", true);
                stream
            }),
            Case::stream("8.1.1 two lengths that differ", PROTOCOL, |client| {
                let lengths = [("content-length", "3"), ("content-length", "4")];
                let stream = client.begin(&request("POST", "/never", &lengths));
                client.data(stream, "abc", true);
                stream
            }),
            Case::stream("8.1.1 a list of lengths", PROTOCOL, |client| {
                let stream =
                    client.begin(&request("POST", "/never", &[("content-length", "3, 4")]));
                client.data(stream, "abc", true);
                stream
            }),
            Case::stream("8.1.1 +3", PROTOCOL, |client| length_of_3(client, "+3")),
            Case::stream("8.1.1 -3", PROTOCOL, |client| length_of_3(client, "-3")),
            Case::stream("8.1.1 0x3", PROTOCOL, |client| length_of_3(client, "0x3")),
            Case::stream("8.1.1 3.0", PROTOCOL, |client| length_of_3(client, "3.0")),
            Case::stream("8.1.1 nothing", PROTOCOL, |client| length_of_3(client, "")),
            Case::stream("8.1.1 3 to those who count to 2^64", PROTOCOL, |client| {
                length_of_3(client, "18446744073709551619")
            }),
            Case::served("8.1.1 as much DATA, with padding", |client| {
                let stream = client.begin(&request("POST", "/", &[("content-length", "3")]));
                client.send(&Frame::data(stream, "a", false).padded(9)).data(stream, "bc", true);
                stream
            }),
            Case::served("8.1.1 no DATA and no length", |client| {
                let stream = client.begin(&request("POST", "/", &[("content-length", "0")]));
                client.data(stream, "", true);
                stream
            }),
        ],
    );
}

fn length_of_3(client: &mut Client, value: &str) -> u32 {
    let stream = client.begin(&request("POST", "/never", &[("content-length", value)]));
    client.data(stream, "abc", true);
    stream
}

#[test]
fn section_8_1_trailers() {
    let mut wrong = Vec::new();
    let front = Front::start();
    let lists: &[&[(&str, &str)]] = &[
        &[("x", "y"), (":method", "GET")],
        &[("connection", "close")],
        &[("transfer-encoding", "chunked")],
        &[("Upper", "x")],
        &[("x", "a\r\nnever: b")],
        &[("x y", "b")],
        &[("x", "a\0")],
        &[("x", " a")],
        &[("", "a")],
    ];
    for list in lists {
        let mut client = front.client();
        let stream = client.begin(&request("POST", "/trailers", &[]));
        client.data(stream, "body", false).headers(stream, list, true);
        match client.outcome(stream) {
            // The h2 crate takes some for a block that cannot be decoded.
            Outcome::Reset(PROTOCOL_ERROR) | Outcome::Goaway(PROTOCOL_ERROR) => {}
            // Or a client is told before (section 8.1.1).
            Outcome::Response(response) if response.status == 400 => {}
            outcome => wrong.push(format!("- {list:?}: {outcome:?}")),
        }
    }
    assert!(wrong.is_empty(), "not refused:\n{}", wrong.join("\n"));
    // The head may have been passed on before the trailers came, but no whole request.
    let whole = front.finish();
    assert!(whole.is_empty(), "{whole:?}");
}

/// The h2 crate leaves pseudo-fields out that stand first in trailers, and does not say so: the
/// request is no error then, as it ought to be. What matters holds: they reach nobody.
#[test]
fn pseudo_fields_of_trailers_reach_nobody() {
    let front = Front::start();
    for list in [[(":status", "200")], [(":path", "/never")]] {
        let mut client = front.client();
        let stream = client.begin(&request("POST", "/trailers", &[]));
        client.data(stream, "body", false).headers(stream, &list, true);
        assert_eq!(client.response(stream).status, 200);
    }
    for request in front.finish() {
        assert!(!request.text().contains("status"), "{}", request.text());
    }
}

#[test]
fn fields_that_mean_framing_or_routing_are_no_trailers() {
    // RFC 9110, section 6.5.1: dropped, or refused; they are never passed on.
    let front = Front::start();
    let names = ["content-length", "host", "trailer", "authorization", "te", "content-encoding"];
    for name in names {
        let mut client = front.client();
        let stream = client.begin(&request("POST", "/trailers", &[]));
        client.data(stream, "body", false).headers(stream, &[(name, "trailers")], true);
        let _ = client.outcome(stream);
    }
    for request in front.finish() {
        for name in names {
            let line = format!("{name}: ");
            assert!(!request.trailers.to_lowercase().contains(&line), "{}", request.trailers);
        }
    }
}

#[test]
fn a_malformed_request_is_malformed_also_in_fragments() {
    // The library decodes fragments as they come: wherever a block is cut, what the first part
    // did wrong must not be forgotten by the time the last has come.
    let malformed = [
        ("connection", behind(&[(b"connection", b"close"), (b"x-last", b"value")])),
        ("te", behind(&[(b"te", b"gzip"), (b"x-last", b"value")])),
        (":method twice", {
            let mut list = behind(&[(b"x-last", b"value")]);
            list.insert(1, list[0].clone());
            list
        }),
        (":path behind a field", {
            let mut list = behind(&[(b"x-last", b"value")]);
            let path = list.remove(2);
            list.insert(4, path);
            list
        }),
        ("a name in upper case", behind(&[(b"Upper", b"x"), (b"x-last", b"value")])),
    ];
    let front = Front::start();
    for (what, list) in &malformed {
        let block = fields(list);
        let served: Vec<usize> = (1..block.len())
            .filter(|&at| {
                let mut client = front.client();
                let stream = client.take_stream();
                let (left, right) = block.as_ref().split_at(at);
                client.send_all(&[
                    Frame::headers(stream, left, true).without(flag::END_HEADERS),
                    Frame::continuation(stream, right, true),
                ]);
                matches!(client.outcome(stream), Outcome::Response(_))
            })
            .collect();
        assert!(served.is_empty(), "{what}: served when cut at {served:?}");
    }
    front.finish();
}

#[test]
fn section_8_2_3_cookie_crumbs_become_one_field() {
    let front = Front::start();
    let mut client = front.client();
    let crumbs = [("cookie", "a=1"), ("x", "y"), ("cookie", "b=2; c=3"), ("cookie", "d=4")];
    let stream = client.open(&get_with("/cookies", &crumbs));
    assert_eq!(client.response(stream).status, 200);
    drop(client);
    let request = &front.finish()[0];
    assert_eq!(request.all("Cookie"), ["a=1; b=2; c=3; d=4"]);
}

#[test]
fn host_is_made_of_the_authority() {
    let front = Front::start();
    let mut client = front.client();
    for authority in ["a.example", "A.Example:8080", "[::1]:81", "192.0.2.1"] {
        let fields =
            [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", authority)];
        let stream = client.open(&fields);
        assert_eq!(client.response(stream).status, 200, "{authority}");
    }
    drop(client);
    let requests = front.finish();
    let hosts: Vec<_> = requests.iter().map(|request| request.get("Host").unwrap()).collect();
    assert_eq!(hosts, ["a.example", "A.Example:8080", "[::1]:81", "192.0.2.1"]);
    assert!(requests.iter().all(|request| request.lines()[0].to_lowercase().starts_with("host:")));
}

#[test]
fn what_is_right_is_passed_on_unchanged() {
    let front = Front::start();
    let mut client = front.client();
    let all_names = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz";
    let list = get_with(
        "/a//b;c%41%7e?d=//./..%2f&e=%00",
        &[
            (all_names, "1"),
            ("te", "trailers"),
            ("x-inner", "a \t b"),
            ("x-empty", ""),
            ("x-text", "\u{e9}"),
        ],
    );
    let stream = client.open(&list);
    assert_eq!(client.response(stream).status, 200);
    let stream = client.open(&request("M-SEARCH!", "/", &[]));
    assert_eq!(client.response(stream).status, 200);
    drop(client);
    let requests = front.finish();
    assert_eq!(requests[0].target(), "/a//b;c%41%7e?d=//./..%2f&e=%00");
    assert_eq!(requests[0].get(all_names).as_deref(), Some("1"));
    assert_eq!(requests[0].get("x-inner").as_deref(), Some("a \t b"));
    assert_eq!(requests[0].get("x-empty").as_deref(), Some(""));
    assert_eq!(requests[0].get("x-text").as_deref(), Some("\u{e9}"));
    assert_eq!(requests[1].method(), "M-SEARCH!");
}

/// What stands in `:protocol` becomes the value of a field towards an origin of HTTP/1.
#[test]
fn a_protocol_that_is_no_name_is_refused() {
    let front = Front::start();
    for protocol in ["foo\r\nx-never: yes", "foo\r\n\r\nGET /never HTTP/1.1\r\nHost: a", "a b", ""]
    {
        let mut client = front.client();
        let stream = client.begin(&[
            (":method", "CONNECT"),
            (":protocol", protocol),
            (":scheme", "http"),
            (":path", "/never"),
            (":authority", "a"),
        ]);
        client.expect_reset(stream, PROTOCOL_ERROR);
    }
    // Bytes of a tunnel have no length: as a body they would be waited for in the next request.
    let mut client = front.client();
    let stream = client.begin(&[
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":path", "/never"),
        (":authority", "a"),
        ("content-length", "50"),
    ]);
    client.expect_reset(stream, PROTOCOL_ERROR);
    drop(client);
    assert!(front.finish().is_empty());
}
