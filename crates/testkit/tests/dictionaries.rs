//! Earlier versions of an answer as dictionaries of the next one (RFC 9842).

mod site;

use coding::{Coding, Dictionary, DictionaryCoding};
use testkit::h2::Client;
use testkit::{Authority, Message, Origin, Peer, Proxy, Scratch, Served, tls_client};

const OLD: &str = "/app.3f9ac1d2.js";
const NEW: &str = "/app.77b0c4e1.js";
const ALL: &str = "gzip, br, zstd, dcb, dcz";

/// Text that does not pack well by itself, with one line of its own.
fn version(name: &str) -> String {
    let mut lines = String::new();
    let mut number = 1_u32;
    for _ in 0..1500 {
        number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        lines.push_str(&format!("let v{number:08x};\n"));
    }
    format!("// {name}\n{lines}")
}

fn body_of(target: &str) -> String {
    version(if target == OLD { "old" } else { "new" })
}

/// An origin of versions, with these fields more.
fn versions(fields: &'static str) -> Served {
    Origin::serve(move |request| {
        let body = body_of(&request.target());
        let length = body.len();
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/javascript\r\nContent-Length: {length}\r\n\
             Cache-Control: max-age=3600\r\nETag: \"v\"\r\n{fields}\r\n{body}"
        )
        .into()
    })
}

fn before(origin: &Served, rules: &str) -> Proxy {
    let url = origin.url();
    Proxy::start(&format!("site \"http://127.0.0.1:0\" {{ {rules}; to \"{url}\"; }}"))
}

fn ask(client: &mut Peer, host: &str, target: &str, fields: &str) -> Message {
    client.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n"));
    client.recv_response()
}

fn dictionary() -> Dictionary {
    Dictionary::new(version("old").into()).unwrap()
}

/// What a client says that has the old version.
fn having(accepts: &str) -> String {
    let hash = dictionary().hash().to_field();
    format!("Accept-Encoding: {accepts}\r\nAvailable-Dictionary: {hash}\r\n")
}

fn unpack(coding: DictionaryCoding, body: &[u8]) -> String {
    let limits = coding::Limits { max_size: 1 << 20, max_ratio: 1000 };
    let body = coding::decode_by_dictionary(coding, limits, &dictionary(), body).unwrap();
    String::from_utf8(body).unwrap()
}

fn coding_of(answer: &Message) -> Option<String> {
    answer.get("Content-Encoding")
}

/// Whether an answer was made by a dictionary.
fn is_small(answer: &Message) -> bool {
    matches!(coding_of(answer).as_deref(), Some("dcb" | "dcz"))
}

#[test]
fn the_next_version_is_made_by_the_one_before() {
    let origin = versions("");
    let proxy = before(&origin, "cache; compress { dictionaries; }");
    let mut client = proxy.client();
    let old = ask(&mut client, "localhost", OLD, "Accept-Encoding: gzip, br, zstd\r\n");
    assert_eq!(coding_of(&old).as_deref(), Some("zstd"));
    assert_eq!(old.get("Use-As-Dictionary").as_deref(), Some("match=\"/app.*.js\""));
    assert_eq!(old.all("Vary"), ["Accept-Encoding", "Available-Dictionary"]);
    // Once while it comes, and twice from what is kept.
    let mut bodies = Vec::new();
    for _ in 0..3 {
        let new = ask(&mut client, "localhost", NEW, &having(ALL));
        assert_eq!(coding_of(&new).as_deref(), Some("dcz"), "{}", new.text());
        assert_eq!(new.get("ETag").as_deref(), Some("W/\"v\""));
        assert_eq!(new.all("Vary"), ["Accept-Encoding", "Available-Dictionary"]);
        assert_eq!(new.get("Use-As-Dictionary").as_deref(), Some("match=\"/app.*.js\""));
        assert_eq!(unpack(DictionaryCoding::Dcz, &new.body), version("new"));
        assert!(new.body.len() < old.body.len() / 20, "{} bytes", new.body.len());
        bodies.push((new.has("Content-Length"), new.body));
    }
    assert!(!bodies[0].0, "the first goes out as it comes");
    assert!(bodies[1].0, "the others are kept, and their length is known");
    assert_eq!(bodies[1], bodies[2]);
    let new = ask(&mut client, "localhost", NEW, &having("br, dcb"));
    assert_eq!(coding_of(&new).as_deref(), Some("dcb"));
    assert_eq!(unpack(DictionaryCoding::Dcb, &new.body), version("new"));
    // A client that has it already need not get it, whatever coding it had it in.
    let same =
        ask(&mut client, "localhost", NEW, &format!("{}If-None-Match: W/\"v\"\r\n", having(ALL)));
    assert_eq!((same.status(), same.get("ETag").as_deref()), (304, Some("W/\"v\"")));
    // Whoever has no dictionary gets what it got before.
    let plain = ask(&mut client, "localhost", NEW, "");
    assert_eq!((coding_of(&plain), plain.body_text()), (None, version("new")));
    assert_eq!(origin.requests().len(), 2);
}

#[test]
fn clients_of_streams_have_dictionaries_too() {
    let origin = versions("");
    let proxy = before(&origin, "cache; compress { dictionaries; }");
    let mut client = Client::connect(proxy.first());
    let mut ask = |target: &str, more: &[(&str, String)]| {
        let mut fields = vec![
            (":method", "GET".to_owned()),
            (":scheme", "http".to_owned()),
            (":path", target.to_owned()),
            (":authority", "localhost".to_owned()),
        ];
        fields.extend(more.iter().cloned());
        let stream = client.open(&fields);
        client.response(stream)
    };
    let old = ask(OLD, &[]);
    assert_eq!(old.get("use-as-dictionary"), Some("match=\"/app.*.js\""));
    let more = [
        ("accept-encoding", ALL.to_owned()),
        ("available-dictionary", dictionary().hash().to_field()),
    ];
    for _ in 0..2 {
        let new = ask(NEW, &more);
        assert_eq!(new.get("content-encoding"), Some("dcz"));
        assert_eq!(unpack(DictionaryCoding::Dcz, &new.body), version("new"));
    }
}

#[test]
fn without_the_very_dictionary_nothing_changes() {
    let origin = versions("");
    let proxy = before(&origin, "cache; compress { dictionaries; }");
    let mut client = proxy.client();
    ask(&mut client, "localhost", OLD, "");
    let hash = dictionary().hash().to_field();
    let other = Dictionary::new(version("other").into()).unwrap().hash().to_field();
    for fields in [
        format!("Accept-Encoding: {ALL}\r\nAvailable-Dictionary: {other}\r\n"),
        format!("Accept-Encoding: {ALL}\r\nAvailable-Dictionary: {}\r\n", &hash[1..]),
        format!("Accept-Encoding: {ALL}\r\nAvailable-Dictionary: {hash}, {hash}\r\n"),
        format!("{}Available-Dictionary: {hash}\r\n", having(ALL)),
        format!("Accept-Encoding: {ALL}\r\n"),
        having("gzip, br, zstd"),
        having("gzip, br, zstd, dcb;q=0, dcz;q=0"),
        // Another site may not read it, and shall not learn how much is new in it.
        format!("{}Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n", having(ALL)),
    ] {
        let new = ask(&mut client, "localhost", NEW, &fields);
        assert_eq!(coding_of(&new).as_deref(), Some("zstd"), "{fields}");
        let limits = coding::Limits { max_size: 1 << 20, max_ratio: 1000 };
        let body = coding::decode_all(Coding::Zstd, limits, &new.body).unwrap();
        assert_eq!(body, version("new").as_bytes());
    }
    // Elsewhere it is no dictionary, although the hash is right.
    assert!(!is_small(&ask(&mut client, "localhost", "/other.77b0c4e1.js", &having(ALL))));
    assert!(!is_small(&ask(&mut client, "127.0.0.1", NEW, &having(ALL))), "another origin");
    assert!(is_small(&ask(&mut client, "localhost", NEW, &having(ALL))));
}

#[test]
fn they_are_for_secure_contexts_and_for_those_who_ask_for_them() {
    let origin = versions("");
    for (rules, host, works) in [
        ("cache; compress { dictionaries; }", "localhost", true),
        ("cache; compress { dictionaries; }", "[::1]:80", true),
        ("cache; compress { dictionaries; }", "a.example", false),
        ("cache; compress", "localhost", false),
        ("compress { dictionaries; }", "localhost", false),
        ("cache; compress \"gzip\" \"br\" { dictionaries; }", "localhost", true),
    ] {
        let proxy = before(&origin, rules);
        let mut client = proxy.client();
        let old = ask(&mut client, host, OLD, "");
        assert_eq!(old.has("Use-As-Dictionary"), works, "{rules} {host}");
        assert_eq!(old.all("Vary").len(), 1 + usize::from(works), "{rules} {host}");
        // What makes it a whole is there by the second time.
        ask(&mut client, host, NEW, &having(ALL));
        let new = ask(&mut client, host, NEW, &having(ALL));
        assert_eq!(is_small(&new), works, "{rules} {host}");
    }
}

#[test]
fn over_tls_they_are_for_any_host() {
    let origin = versions("");
    let authority = Authority::new("test");
    let identity = authority.issue(&["a.example"]);
    let scratch = Scratch::new();
    scratch.write("cert.pem", &identity.cert);
    scratch.write("key.pem", &identity.key);
    let proxy = Proxy::start_in(
        scratch,
        &format!(
            "site \"https://a.example\" {{ listen \"127.0.0.1:0\"; \
             tls cert=\"cert.pem\" key=\"key.pem\"; cache; compress {{ dictionaries; }}; to \"{}\"; }}",
            origin.url()
        ),
    );
    let mut client = proxy.client().into_tls(&tls_client(&authority, None), "a.example").unwrap();
    let old = ask(&mut client, "a.example", OLD, "");
    assert_eq!(old.get("Use-As-Dictionary").as_deref(), Some("match=\"/app.*.js\""));
    let new = ask(&mut client, "a.example", NEW, &having(ALL));
    assert_eq!(coding_of(&new).as_deref(), Some("dcz"));
    assert_eq!(unpack(DictionaryCoding::Dcz, &new.body), version("new"));
}

#[test]
fn what_credentials_may_be_in_is_spared() {
    let origin = versions("");
    let proxy = before(&origin, "cache; compress { dictionaries; spare-credentials; }");
    let mut client = proxy.client();
    ask(&mut client, "localhost", OLD, "");
    let spared = ask(&mut client, "localhost", NEW, &format!("{}Cookie: a=1\r\n", having(ALL)));
    assert_eq!((coding_of(&spared), spared.body_text()), (None, version("new")));
    let own = format!("{}Cookie: a=1\r\nSec-Fetch-Site: same-origin\r\n", having(ALL));
    assert!(is_small(&ask(&mut client, "localhost", NEW, &own)));
}

#[test]
fn what_is_for_some_clients_helps_no_others() {
    for (rules, fields, works) in [
        ("cache", "", true),
        ("cache", "Vary: Accept-Encoding, available-dictionary\r\n", true),
        ("cache", "Vary: Cookie\r\n", false),
        ("cache", "Vary: Accept-Encoding\r\nVary: X-Tenant\r\n", false),
        ("cache { key \"path\" \"query:v\"; }", "", true),
        ("cache { key \"path\" \"query\" \"cookie:sid\"; }", "", false),
        ("cache { key \"path\" \"query\" \"header:x-tenant\"; }", "", false),
    ] {
        let origin = versions(fields);
        let proxy = before(&origin, &format!("{rules}; compress {{ dictionaries; }}"));
        let mut client = proxy.client();
        let old = ask(&mut client, "localhost", OLD, "X-Tenant: a\r\n");
        assert_eq!(old.has("Use-As-Dictionary"), works, "{rules} {fields}");
        for _ in 0..2 {
            let new = ask(&mut client, "localhost", NEW, &having(ALL));
            assert_eq!(is_small(&new), works, "{rules} {fields}");
        }
    }
}

#[test]
fn what_is_of_one_site_helps_no_other() {
    let origin = versions("");
    let url = origin.url();
    let rules = "cache; compress { dictionaries; }";
    let (one, two) = (testkit::reserve(), testkit::reserve());
    let _proxy = Proxy::start(&format!(
        "site \"http://localhost\" {{ listen \"{one}\"; {rules}; to \"{url}\"; }}\n\
         site \"http://127.0.0.1\" \"http://*\" {{ listen \"{two}\"; {rules}; to \"{url}\"; }}"
    ));
    let (mut of_one, mut of_two) = (Peer::connect(one), Peer::connect(two));
    ask(&mut of_one, "localhost", OLD, "");
    assert!(!is_small(&ask(&mut of_two, "localhost", NEW, &having(ALL))));
    assert!(is_small(&ask(&mut of_one, "localhost", NEW, &having(ALL))));
    ask(&mut of_two, "localhost", OLD, "");
    ask(&mut of_two, "localhost", NEW, &having(ALL));
    assert!(is_small(&ask(&mut of_two, "localhost", NEW, &having(ALL))));
}

#[test]
fn what_was_purged_helps_nobody() {
    const TOKEN: &str = "Authorization: Bearer let-me-purge\r\n";
    let origin = versions("Surrogate-Key: app\r\n");
    let rules = "cache { purge token=\"let-me-purge\"; }; compress { dictionaries; }";
    for (method, target, fields, stays) in [
        ("PURGE", OLD, TOKEN, false),
        ("PURGE", "/app*", TOKEN, false),
        ("PURGE", "/", &*format!("{TOKEN}Surrogate-Key: app\r\n"), false),
        ("POST", OLD, "Content-Length: 0\r\n", false),
        ("PURGE", OLD, &*format!("{TOKEN}Soft-Purge: 1\r\n"), true),
        ("PURGE", "/else.js", TOKEN, true),
        ("POST", "/else.js", "Content-Length: 0\r\n", true),
    ] {
        let proxy = before(&origin, rules);
        let mut client = proxy.client();
        ask(&mut client, "localhost", OLD, "");
        client.send(format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n"));
        assert_eq!(client.recv_response().status(), 200);
        let new = ask(&mut client, "localhost", NEW, &having(ALL));
        assert_eq!(is_small(&new), stays, "{method} {target} {fields}");
    }
}

#[test]
fn the_word_of_the_origin_counts() {
    let origin = versions("Use-As-Dictionary: match=\"/n/*\", id=\"seven\"\r\n");
    let proxy = before(&origin, "cache; compress { dictionaries; }");
    let mut client = proxy.client();
    let old = ask(&mut client, "localhost", OLD, "");
    assert_eq!(old.all("Use-As-Dictionary"), ["match=\"/n/*\", id=\"seven\""]);
    let fields = format!("{}Dictionary-ID: \"seven\"\r\n", having(ALL));
    assert!(!is_small(&ask(&mut client, "localhost", NEW, &fields)));
    assert!(is_small(&ask(&mut client, "localhost", "/n/new", &fields)));
}

#[test]
fn what_an_origin_makes_by_a_dictionary_passes() {
    let packed = coding::encode_by_dictionary(
        DictionaryCoding::Dcz,
        3,
        &dictionary(),
        version("new").as_bytes(),
    )
    .unwrap();
    let (sent, vary) = (packed.clone(), ["Vary: Accept-Encoding, Available-Dictionary\r\n", ""]);
    let origin = Origin::serve(move |request| {
        let by_dictionary = request.has("Available-Dictionary");
        let (coding, body) = match by_dictionary {
            true => ("Content-Encoding: dcz\r\n", sent.clone()),
            false => ("", version("new").into_bytes()),
        };
        let vary = vary[usize::from(request.target() == "/unsaid.js")];
        let mut answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/javascript\r\nContent-Length: {}\r\n\
             Cache-Control: max-age=3600\r\n{vary}{coding}\r\n",
            body.len()
        )
        .into_bytes();
        answer.extend(body);
        answer
    });
    let proxy = before(&origin, "cache; compress { dictionaries; }");
    let mut client = proxy.client();
    let get = |client: &mut Peer, target: &str, fields: &str| {
        let answer = ask(client, "localhost", target, fields);
        (coding_of(&answer), answer.body)
    };
    let small = (Some("dcz".to_owned()), packed);
    let plain = (None, version("new").into_bytes());
    for _ in 0..2 {
        assert_eq!(get(&mut client, "/said.js", &having(ALL)), small);
        assert_eq!(get(&mut client, "/said.js", ""), plain);
    }
    assert_eq!(origin.requests().len(), 2);
    // What does not say for whom it is, is not kept.
    assert_eq!(get(&mut client, "/unsaid.js", &having(ALL)), small);
    assert_eq!(get(&mut client, "/unsaid.js", ""), plain);
    assert_eq!(origin.requests().len(), 4);
}
