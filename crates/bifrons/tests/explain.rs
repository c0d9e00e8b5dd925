//! `bifrons explain` and `bifrons diff`: the exact text of interesting cases, and whether what is
//! explained is what happens. `UPDATE_GOLDEN=1` writes the texts anew: read the diff.

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};

use serde_json::Value;
use support::{Outcome, Running, bifrons, http, write};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/explain")
}

fn explain(arguments: &[&str]) -> Outcome {
    let config = folder().join("sites.kdl");
    let mut all = vec!["explain", "--config", config.to_str().unwrap()];
    all.extend(arguments);
    bifrons(&all)
}

#[test]
fn goldens() {
    let shop = "http://shop.example:8080";
    let at = |path: &str| format!("{shop}{path}");
    let (api, dots, slash) = (at("/api/a%62c?x=1"), at("/api/../etc"), at("/api%2Fadmin"));
    let (old, status, admin, private) =
        (at("/old/x?y"), at("/status"), at("/admin/"), at("/private/x"));
    let cases: &[(&str, &[&str])] = &[
        (
            "route-and-rules",
            &[
                "GET",
                &api,
                "-H",
                "X-Debug-A: 1",
                "-H",
                "X-Site: mine",
                "-H",
                "X-Forwarded-For: 6.6.6.6",
                "-H",
                "Connection: close",
            ],
        ),
        ("route-by-method", &["POST", &at("/api/x"), "-H", "Content-Length: 5"]),
        ("method-not-allowed", &["DELETE", &status]),
        ("two-readings", &["GET", &slash]),
        ("dot-segment", &["GET", &dots]),
        ("redirect", &["GET", &old]),
        ("wildcard", &["GET", "http://www.shop.example:8080/nothing"]),
        (
            "trusted",
            &[
                "GET",
                "http://blog.example:8080/a",
                "--client",
                "10.0.0.1",
                "-H",
                "X-Forwarded-For: 203.0.113.9",
            ],
        ),
        ("unknown-host", &["GET", "http://shop.exampel:8080/"]),
        ("no-listener", &["GET", "http://shop.example/"]),
        ("gate-client", &["GET", &admin, "--client", "192.0.2.66"]),
        ("gate-credentials", &["GET", &admin]),
        ("gate-forward-auth", &["GET", &private, "-H", "Remote-User: root"]),
        ("connect-denied", &["CONNECT", "www.ads.example:443"]),
        ("connect-port", &["CONNECT", "mail.example:25"]),
        (
            "forward",
            &[
                "GET",
                "http://10.0.0.7:443/x",
                "--listener",
                "127.0.0.1:3128",
                "-H",
                "X-Forwarded-For: 6.6.6.6",
            ],
        ),
        ("tunnel", &["GET", "http://127.0.0.1:5432/"]),
        (
            "gateway-country",
            &[
                "--user",
                "alice-country-ca",
                "CONNECT",
                "shop.example:443",
                "--listener",
                "127.0.0.1:3130",
            ],
        ),
        (
            "gateway-no-country",
            &[
                "--user",
                "alice-country-de",
                "CONNECT",
                "shop.example:443",
                "--listener",
                "127.0.0.1:3130",
            ],
        ),
        (
            "gateway-user-rule",
            &["--user", "bob", "CONNECT", "www.social.example:443", "--listener", "127.0.0.1:3130"],
        ),
        (
            "gateway-unknown-key",
            &[
                "--user",
                "alice-contry-ca",
                "GET",
                "http://shop.example/",
                "--listener",
                "127.0.0.1:3130",
            ],
        ),
    ];
    let mut wrong = Vec::new();
    for (name, arguments) in cases {
        let outcome = explain(arguments);
        assert_eq!(outcome.code, Some(0), "{name}: {}", outcome.stderr);
        let golden = folder().join(format!("{name}.txt"));
        let there = fs::read_to_string(&golden).unwrap_or_default();
        if there != outcome.stdout && std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, &outcome.stdout).unwrap();
        } else if there != outcome.stdout {
            wrong.push(format!("{name}\n--- there\n{there}--- made\n{}", outcome.stdout));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A client asks TLS for the host of the URL, and then for another one.
#[test]
fn a_tls_connection_is_for_one_site() {
    let made =
        rcgen::generate_simple_self_signed(["a.example".into(), "b.example".into()]).unwrap();
    let cert = write("cert.pem", &made.cert.pem());
    let key = write("key.pem", &made.signing_key.serialize_pem());
    let tls = format!("tls cert=\"{}\" key=\"{}\"", cert.path(), key.path());
    let site = |host: &str| format!("site \"https://{host}:8443\" {{ {tls}; respond 200 }}\n");
    let file = write("tls.kdl", &(site("a.example") + &site("b.example")));
    let ask = |url: &str, fields: &[&str]| {
        let mut all = vec!["explain", "--config", file.path(), "GET", url];
        fields.iter().for_each(|field| all.extend(["-H", field]));
        let outcome = bifrons(&all);
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        outcome.stdout
    };
    let own = ask("https://a.example:8443/", &[]);
    assert!(own.contains("is answered with 200") && own.contains("sites, TLS"), "{own}");
    let other = ask("https://a.example:8443/", &["Host: b.example:8443"]);
    assert!(other.contains("is refused with 421 misdirected_request"), "{other}");
    let plain = ask("http://a.example:8443/", &[]);
    assert!(plain.contains("the listener speaks TLS"), "{plain}");
}

#[test]
fn what_cannot_be_asked_is_said() {
    for (arguments, words) in [
        (&["GET", "http://shop.example:8080/", "-H", "no colon"][..], "Name: value"),
        (&["GET"], "URL"),
    ] {
        let outcome = explain(arguments);
        assert_eq!(outcome.code, Some(2), "{}", outcome.stdout);
        assert!(outcome.stderr.contains(words), "{}", outcome.stderr);
    }
    let outcome = bifrons(&["explain", "--config", "/nonexistent.kdl", "GET", "http://a/"]);
    assert_eq!(outcome.code, Some(1));
    let outcome = explain(&["GET", "http://shop.example:8080/", "-H", "X: a\r\nHost: b"]);
    assert!(outcome.stdout.contains("is refused with 400"), "{}", outcome.stdout);
}

#[test]
fn help_says_how_to_ask() {
    for (command, words) in [
        ("explain", &["--listener", "--client", "-H", "--live", "bifrons explain --config"][..]),
        ("diff", &["<OLD>", "<NEW>", "exit status is 0", "--json"]),
    ] {
        let outcome = bifrons(&[command, "--help"]);
        for word in words {
            assert!(outcome.stdout.contains(word), "{word:?}: {}", outcome.stdout);
        }
        let longest = outcome.stdout.lines().map(|line| line.chars().count()).max();
        assert!(longest <= Some(106), "{command}: {longest:?} columns");
    }
}

#[test]
fn what_the_cache_would_do_is_told() {
    let file = write(
        "kept.kdl",
        r#"
        site "http://kept.example:8080" {
            cache { key "path" "query:v" "header:x-tenant" "cookie:sid"; stale if-error="1h"; }
            compress "br" "gzip" { spare-credentials; }
            route "/live/*" { cache "off"; to "http://127.0.0.1:9001"; }
            to "http://127.0.0.1:9001"
        }
        exits "world" { address "127.0.0.2" name="one"; }
        forward "127.0.0.1:3128" { cache; allow "*.far.example" exit="world"; }
        "#,
    );
    let url = "http://kept.example:8080/a?v=1&w=2";
    let far = ["--listener", "127.0.0.1:3128"];
    let cases: &[(&[&str], &[&str])] = &[
        (
            &[
                "GET",
                url,
                "-H",
                "X-Tenant: t",
                "-H",
                "Cookie: sid=hush",
                "-H",
                "Accept-Encoding: br",
            ],
            &[
                "the request is looked for before a server is asked",
                "key path, query:v, header:x-tenant, cookie:sid, stale if-error 1h",
                "its key: http://kept.example:8080/a query:v=1 header:x-tenant=t cookie:sid=…",
                "compress br 5, gzip 6",
                "this client would get it as it is: it has credentials",
            ],
        ),
        (&["GET", url, "-H", "Accept-Encoding: gzip"], &["this client would get it as gzip"]),
        (&["GET", url], &["as it is: it takes none of these codings"]),
        (&["POST", url, "-H", "Content-Length: 0"], &["not looked for: its method"]),
        (&["GET", url, "-H", "Content-Length: 3"], &["not looked for: it has content"]),
        (
            &["GET", "http://near.example/x?y", far[0], far[1]],
            &["its key: http://near.example/x?y", "key path, query"],
        ),
        (
            &["GET", "http://a.far.example/x", far[0], far[1]],
            &["the request passes it by: it leaves by an exit"],
        ),
    ];
    for (arguments, words) in cases {
        let mut all = vec!["explain", "--config", file.path()];
        all.extend(*arguments);
        let told = bifrons(&all);
        assert_eq!(told.code, Some(0), "{}", told.stderr);
        for word in *words {
            assert!(told.stdout.contains(word), "{word}\n{}", told.stdout);
        }
    }
    let live =
        bifrons(&["explain", "--config", file.path(), "GET", "http://kept.example:8080/live/"]);
    assert!(!live.stdout.contains("its key"), "{}", live.stdout);
}

#[test]
fn credentials_are_not_shown() {
    let outcome = explain(&[
        "GET",
        "http://shop.example:8080/api/",
        "-H",
        "Authorization: Bearer hush",
        "--json",
    ]);
    assert!(outcome.stdout.contains("Authorization: …"), "{}", outcome.stdout);
    assert!(!outcome.stdout.contains("hush"), "{}", outcome.stdout);
}

/// An origin that tells the heads it gets.
fn origin() -> (SocketAddr, Receiver<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (told, heads) = channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let head = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
            let _ = told.send(head);
            let answer = "HTTP/1.1 299 Seen\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    (address, heads)
}

/// Asks the running server, and makes the same request of it.
#[test]
fn what_is_explained_is_what_happens() {
    let (origin, heads) = origin();
    let file = write(
        "truth.kdl",
        &format!(
            r#"
            admin "127.0.0.1:0"
            users "staff" {{ user "alice" password="correct-horse" }}
            site "http://shop.example:0" listen="127.0.0.1:0" {{
                deny "192.0.2.0/24"
                request-header {{ set "X-Site" "shop"; remove "X-Debug-*" }}
                forwarded {{ rfc7239 "append"; via "edge"; }}
                route "/api/*" {{
                    method "GET"
                    strip-prefix "/api"
                    request-header {{ set "x-site" "api"; add "X-More" "1"; remove "Cookie" }}
                    to "http://{origin}/base"
                }}
                route "/api/*" {{ method "PUT"; respond 204; }}
                route "/v1/*" {{ rewrite "/v2/*"; to "http://{origin}" }}
                route "/admin/*" {{ basic-auth users="staff"; to "http://{origin}" }}
                route "/old/*" {{ redirect "/new/*" status=307 }}
                route "/status" {{ method "GET"; respond 200 "fine" }}
                route "/kept/*" {{
                    cache {{ key "path" "query:v"; purge token="let-me-purge"; }}
                    compress "gzip"
                    to "http://{origin}"
                }}
                route "/packed" {{ decompress; to "http://{origin}" }}
                route "/small" {{ limits {{ body "2B" }}; to "http://{origin}" }}
            }}
            "#
        ),
    );
    let (mut server, address) = Running::server(&["run", file.path(), "--threads", "1"]);
    let admin: SocketAddr = server.wait_for(|line| line.rsplit_once("admin on ")?.1.parse().ok());
    let (admin, listener) = (admin.to_string(), address.to_string());
    let mut relayed = 0;
    for (method, target, host, fields) in [
        ("GET", "/api/users?x=1", "shop.example", "X-Debug-A: 1|Cookie: a=b|x_site: 6"),
        ("GET", "/api", "Shop.Example.:99", "X-Forwarded-For: 6.6.6.6|Forwarded: for=6.6.6.6"),
        ("PUT", "/api/x", "shop.example", ""),
        ("GET", "/v1/%61?b", "shop.example", "Via: 1.0 fred|X-Site: mine|X-Site: yours"),
        ("GET", "/v1", "shop.example", "TE: trailers|Connection: X-Odd|X-Odd: 1"),
        ("GET", "/api%2Fx", "shop.example", ""),
        ("GET", "/api/..;/x", "shop.example", ""),
        ("GET", "//api//x", "shop.example", ""),
        ("GET", "/admin/", "shop.example", ""),
        ("GET", "/admin/", "shop.example", "Authorization: Basic YWxpY2U6Y29ycmVjdC1ob3JzZQ=="),
        ("GET", "/old//evil.example/?q", "shop.example", ""),
        ("POST", "/status", "shop.example", "Content-Length: 0"),
        ("HEAD", "/status", "shop.example", ""),
        ("GET", "/nothing", "shop.example", ""),
        ("GET", "/", "other.example", ""),
        ("GET", "/", "bad host", ""),
        ("POST", "/small", "shop.example", "Content-Length: 3"),
        ("CONNECT", "shop.example:443", "shop.example:443", ""),
        ("OPTIONS", "*", "shop.example", ""),
        ("OPTIONS", "/api/x", "shop.example", "Max-Forwards: 0"),
        ("OPTIONS", "/v1/x", "shop.example", "Max-Forwards: 3"),
        ("GET", "/v1/x", "shop.example", "Expect: 100-continue"),
        ("GET", "/v1/x", "shop.example", "Expect: the worst"),
        ("GET", "/v1/x", "shop.example", "Connection: upgrade|Upgrade: websocket"),
        ("GET", "/v1/x", "shop.example", "Connection: upgrade|Upgrade: h2c"),
        ("GET", "/kept/a?v=1", "shop.example", "If-None-Match: \"x\"|Accept-Encoding: gzip"),
        ("GET", "/kept/a?v=2", "shop.example", "Range: bytes=0-1|If-Range: \"x\""),
        ("GET", "/kept/a?v=3", "shop.example", "Connection: upgrade|Upgrade: websocket"),
        ("HEAD", "/kept/a?v=4", "shop.example", "If-None-Match: \"x\""),
        ("POST", "/kept/a", "shop.example", "Content-Length: 0"),
        ("PURGE", "/kept/a", "shop.example", "Authorization: Bearer let-me-purge"),
        ("PURGE", "/kept/a", "shop.example", "Authorization: Bearer something"),
        ("PURGE", "/v1/a", "shop.example", ""),
        ("POST", "/packed", "shop.example", "Content-Encoding: gzip|Transfer-Encoding: chunked"),
        ("POST", "/packed", "shop.example", "Content-Encoding: odd|Content-Length: 3"),
        ("GET", "/packed", "shop.example", "Content-Encoding: gzip"),
    ] {
        let fields: Vec<String> = fields
            .split('|')
            .filter(|field| !field.is_empty())
            .map(str::to_owned)
            .chain([format!("Host: {host}"), "Connection: close".into()])
            .collect();
        let mut ask = vec![
            "explain",
            method,
            target,
            "--listener",
            &listener,
            "--config",
            file.path(),
            "--admin",
            &admin,
            "--json",
        ];
        fields.iter().for_each(|field| ask.extend(["-H", field]));
        let told = bifrons(&ask);
        assert_eq!(told.code, Some(0), "{}", told.stderr);
        let told: Value = serde_json::from_str(&told.stdout).unwrap();
        let sent = fields[..fields.len() - 1].join("\r\n");
        let answer = http(address, &format!("{method} {target} HTTP/1.1\r\n{sent}"));
        let status: u64 = answer[9..12].parse().unwrap();
        let outcome = &told["outcome"];
        if outcome["what"] == "relayed" {
            relayed += 1;
            assert_eq!(status, 299, "{method} {target}: {told:#}");
            let part = |name: &str| {
                let parts = told["parts"].as_array().unwrap();
                parts.iter().find(|part| part["name"] == name).unwrap().clone()
            };
            let request = part("request");
            let mut head = vec![format!("{} HTTP/1.1", request["says"].as_str().unwrap())];
            head.extend(
                request["notes"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|line| line.as_str().unwrap().to_owned()),
            );
            assert_eq!(head, heads.recv().unwrap(), "{method} {target}");
            let servers = part("upstream")["notes"].to_string();
            assert!(servers.contains(": well, weight 1, 0 requests under way"), "{servers}");
        } else {
            assert_eq!(outcome["status"], status, "{method} {target}: {told:#}\n{answer}");
            if let Some(location) =
                outcome["why"].as_str().and_then(|why| why.strip_prefix("redirect to "))
            {
                assert!(answer.contains(&format!("Location: {location}\r\n")), "{answer}");
            }
        }
    }
    assert!(relayed >= 4, "{relayed}");
}

#[test]
fn diff_says_with_its_status_whether_there_is_one() {
    let one = write("one.kdl", "site \"http://a.example:8080\" { to \"http://127.0.0.1:1\" }\n");
    let same = write(
        "same.kdl",
        "// Said.\nsite \"http://a.example:8080\" {\n  to \"http://127.0.0.1:1\"\n}\n",
    );
    let other = write(
        "other.kdl",
        "threads 2\nsite \"http://a.example:8081\" { to \"http://127.0.0.1:2\" }\n",
    );
    let wrong = write("wrong.kdl", "sight \"http://a.example:8080\"\n");
    let outcome = bifrons(&["diff", one.path(), same.path()]);
    assert_eq!((outcome.code, &*outcome.stdout), (Some(0), ""), "{}", outcome.stderr);
    let outcome = bifrons(&["diff", one.path(), other.path()]);
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    for words in [
        "+ threads: 2",
        "- listener [::]:8080 (sites)",
        "a reload ends:",
        "a reload does not change:",
    ] {
        assert!(outcome.stdout.contains(words), "{words}: {}", outcome.stdout);
    }
    // Files beside them are the same files, wherever the new one stands now.
    let log = |name| write(name, "access-log \"access.log\"\nforward \"127.0.0.1:3128\"\n");
    let (here, there) = (log("here.kdl"), log("there.kdl"));
    let outcome = bifrons(&["diff", here.path(), there.path()]);
    assert_eq!((outcome.code, &*outcome.stdout), (Some(0), ""), "{}", outcome.stderr);
    let outcome = bifrons(&["diff", one.path(), other.path(), "--json"]);
    let told: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(told["changes"][0]["change"], "added");
    assert_eq!(bifrons(&["diff", one.path(), wrong.path()]).code, Some(2));
    assert_eq!(bifrons(&["diff", one.path(), "/nonexistent.kdl"]).code, Some(2));
}
