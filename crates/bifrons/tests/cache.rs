//! The cache of a server that runs, as its operator sees it: by API, by command, in metrics.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use serde_json::{Value, json};
use support::schema::check;
use support::{Outcome, Running, bifrons, http};

const KEPT: &str = "Cache-Control: max-age=600, stale-if-error=60\r\nSurrogate-Key: red all\r\n\
    Content-Type: text/css\r\nETag: \"1\"\r\n";

/// Answers `/k…` with something to be kept and all else with something else, and says on each
/// connection how many there were before.
fn origin() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().map_while(Result::ok).enumerate() {
            answer(stream, number);
        }
    });
    address
}

fn answer(mut stream: TcpStream, number: usize) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
    let varies = if first.contains("/k/v") { "Vary: X-Color\r\n" } else { "" };
    let fields = if first.contains(" /k") { KEPT } else { "Cache-Control: no-store\r\n" };
    let body = format!("/* answer {number:04} */{}", " ".repeat(2000));
    let length = body.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\n{fields}{varies}Content-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    // The other end may have gone away.
    let _ = stream.write_all(format!("{head}{body}").as_bytes());
}

struct Site {
    /// Kept for its end.
    _server: Running,
    folder: tempfile::TempDir,
    address: SocketAddr,
    admin: SocketAddr,
}

impl Site {
    fn start() -> Self {
        Self::with("cache")
    }

    /// With this in the site.
    fn with(cache: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("site.kdl");
        let origin = origin();
        let text = format!(
            "admin \"127.0.0.1:0\"\ncache {{ memory \"8MiB\"; }}\n\
             site \"http://*:80\" listen=\"127.0.0.1:0\" {{\n    {cache}\n    compress \"gzip\"\n    \
             to \"http://{origin}\"\n}}\n"
        );
        std::fs::write(&path, text).unwrap();
        let (mut server, address) =
            Running::server(&["run", path.to_str().unwrap(), "--threads", "2"]);
        let admin = server.wait_for(|line| line.rsplit_once("admin on ")?.1.parse().ok());
        Self { _server: server, folder, address, admin }
    }

    /// Asks for something on the site; what `Cache-Status` says.
    fn fetch(&self, target: &str, more: &str) -> String {
        let answer = self.send("GET", target, more);
        let field = answer.lines().find_map(|line| line.strip_prefix("Cache-Status: bifrons; "));
        field.unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    fn send(&self, method: &str, target: &str, more: &str) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let head = format!("{method} {target} HTTP/1.1\r\nHost: shop.example{more}");
        stream.write_all(format!("{head}\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        answer
    }

    /// Asks the API; the status and the answer.
    fn ask(&self, method: &str, target: &str, content: &Value) -> (u16, Value) {
        let content = if content.is_null() { String::new() } else { content.to_string() };
        let answer = http(
            self.admin,
            &format!(
                "{method} {target} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
                 Content-Length: {}\r\nConnection: close\r\n\r\n{content}",
                self.admin,
                content.len()
            ),
        );
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let value = serde_json::from_str(body).unwrap_or_else(|_| Value::String(body.to_owned()));
        (head.split(' ').nth(1).unwrap().parse().unwrap(), value)
    }

    fn get(&self, target: &str) -> Value {
        let (status, answer) = self.ask("GET", target, &Value::Null);
        assert_eq!(status, 200, "{target}: {answer}");
        answer
    }

    fn purge(&self, content: Value) -> Value {
        let (status, answer) = self.ask("POST", "/api/v1/cache/purge", &content);
        assert_eq!(status, 200, "{content}: {answer}");
        answer["objects"].clone()
    }

    fn command(&self, arguments: &[&str]) -> Outcome {
        let config = self.folder.path().join("site.kdl");
        let admin = self.admin.to_string();
        let mut all = vec!["cache", "--config", config.to_str().unwrap(), "--admin", &admin];
        all.extend(arguments);
        bifrons(&all)
    }

    fn says(&self, arguments: &[&str]) -> String {
        let outcome = self.command(arguments);
        assert_eq!(outcome.code, Some(0), "{arguments:?}: {}", outcome.stderr);
        outcome.stdout
    }
}

#[test]
fn what_is_told_is_as_the_description_says() {
    let site = Site::start();
    for _ in 0..3 {
        site.fetch("/k.css?v=1", "\r\nAccept-Encoding: gzip");
    }
    site.fetch("/other", "");
    let document = site.get("/api/v1/openapi.json");
    let judge = |method: &str, path: &str, query: &str, content: &Value| {
        let operation = &document["paths"][path][method.to_ascii_lowercase()];
        let schema = &operation["responses"]["200"]["content"]["application/json"]["schema"];
        let (status, answer) = site.ask(method, &format!("{path}{query}"), content);
        assert_eq!(status, 200, "{answer}");
        check(&document, schema, &answer, path);
        answer
    };
    let nothing = &Value::Null;
    let stats = judge("GET", "/api/v1/cache", "", nothing);
    assert_eq!(stats["memory"]["objects"], 1, "{stats}");
    assert_eq!(stats["memory"]["limit_bytes"], 8 << 20);
    assert_eq!((&stats["requests"]["hit"], &stats["requests"]["miss"]), (&json!(2), &json!(2)));
    assert_eq!((&stats["hit_ratio"], &stats["disk"]), (&json!(0.5), &Value::Null));
    let entry = "?url=HTTP://Shop.Example:80/%6b.css%3Fv=1";
    let found = judge("GET", "/api/v1/cache/entry", entry, nothing);
    assert_eq!(found.as_array().unwrap().len(), 1, "{found}");
    let found = &found[0];
    assert_eq!(found["url"], "http://shop.example/k.css?v=1");
    assert_eq!((&found["state"], &found["tags"]), (&json!("fresh"), &json!(["red", "all"])));
    // An answer that is made ready in a coding is looked for twice.
    assert!(matches!(found["hits"].as_u64(), Some(2 | 3)), "{found}");
    assert_eq!(found["codings"], json!(["gzip"]));
    assert_eq!((&found["tier"], &found["whole"]), (&json!("memory"), &json!(true)));
    assert_eq!(found["length"], 2017);
    let none = judge("GET", "/api/v1/cache/entry", "?url=http://shop.example/k", nothing);
    assert_eq!(none, json!([]));
    let top = judge("GET", "/api/v1/cache/top", "?limit=1", nothing);
    assert_eq!((&top[0]["url"], &top[0]["hits"]), (&found["url"], &found["hits"]), "{top}");
    judge("POST", "/api/v1/cache/purge", "", &json!({ "all": true }));

    let Value::String(metrics) = site.get("/metrics") else { panic!() };
    for line in [
        r#"bifrons_cache_requests_total{result="hit"} 2"#,
        r#"bifrons_cache_requests_total{result="miss"} 2"#,
        r#"bifrons_cache_objects{tier="memory"} 0"#,
        // The first was packed on its way, and the second was kept in that form.
        "bifrons_compress_read_bytes_total 4034",
        r#"bifrons_cache_limit_bytes{tier="memory"} 8388608"#,
        "bifrons_cache_purged_total 1",
    ] {
        assert!(metrics.lines().any(|one| one == line), "{line}\n{metrics}");
    }
}

#[test]
fn every_purge_takes_what_it_names() {
    let site = Site::start();
    let there = |target: &str| site.fetch(target, "").starts_with("hit");
    for (purge, objects) in [
        (json!({ "url": "http://SHOP.example/k/1" }), 1),
        (json!({ "url": "http://shop.example/k/1?x" }), 0),
        (json!({ "url": "http://other.example/k/1" }), 0),
        (json!({ "prefix": "http://shop.example/k/" }), 1),
        (json!({ "prefix": "http://shop.example/k/2" }), 0),
        (json!({ "tag": "red" }), 1),
        (json!({ "tag": "re" }), 0),
        (json!({ "host": "Shop.Example" }), 1),
        (json!({ "host": "shop.example:80" }), 1),
        (json!({ "host": "shop.example:443" }), 0),
        (json!({ "host": "example" }), 0),
        (json!({ "all": true }), 1),
    ] {
        there("/k/1");
        assert!(there("/k/1"));
        assert_eq!(site.purge(purge.clone()), objects, "{purge}");
        assert_eq!(there("/k/1"), objects == 0, "{purge}");
    }
    // Softly: it is still there, and asked for again.
    assert!(there("/k/1"));
    assert_eq!(site.purge(json!({ "tag": "all", "soft": true })), 1);
    let entry = &site.get("/api/v1/cache/entry?url=http://shop.example/k/1")[0];
    assert_eq!(entry["state"], "stale", "{entry}");
    assert!(site.fetch("/k/1", "").starts_with("fwd=stale"));
    for (content, status, words) in [
        (json!({ "url": "/k/1" }), 422, "is not a URL"),
        (json!({ "prefix": "shop.example/" }), 422, "is not a URL"),
        (json!({ "host": "http://shop.example" }), 422, "is not a host"),
        (json!({ "tag": "" }), 422, "is not a tag"),
        (json!({}), 400, "name one"),
    ] {
        let (found, answer) = site.ask("POST", "/api/v1/cache/purge", &content);
        assert_eq!(found, status, "{content}: {answer}");
        assert!(answer["message"].as_str().unwrap().contains(words), "{answer}");
        assert!(!answer["remedy"].as_str().unwrap().is_empty(), "{answer}");
    }
    assert_eq!(site.ask("GET", "/api/v1/cache/entry?url=k", &Value::Null).0, 422);
}

#[test]
fn a_url_finds_all_that_is_kept_for_it_whatever_the_key() {
    for (key, other_query) in [
        ("\"path\" \"query\" \"header:x-tenant\"", false),
        ("\"path\" \"header:x-tenant\"", true),
        ("\"path\" \"query:v\" \"header:x-tenant\"", true),
        ("\"header:x-tenant\"", true),
    ] {
        let site = Site::with(&format!("cache {{ key {key}; purge token=\"let-me-purge\"; }}"));
        let fetch = || {
            let requests = [("a", "red"), ("a", "blue"), ("b", "red"), ("b", "blue")];
            let fetch = |(tenant, color)| {
                let fields = format!("\r\nX-Tenant: {tenant}\r\nX-Color: {color}");
                site.fetch("/k/v?v=1", &fields).starts_with("hit")
            };
            requests.map(fetch)
        };
        fetch();
        assert_eq!(fetch(), [true; 4], "{key}");
        for (target, all) in [("/k/v?v=1", true), ("/k/v?v=2", other_query)] {
            let (objects, url) = (if all { 4 } else { 0 }, format!("http://shop.example{target}"));
            let kept = site.get(&format!("/api/v1/cache/entry?url={url}"));
            assert_eq!(kept.as_array().unwrap().len(), objects, "{key} {target}: {kept}");
            assert_eq!(site.purge(json!({ "url": url })), objects, "{key} {target}");
            assert_eq!(fetch(), [!all; 4], "{key} {target}");
            // So do purges through the site, and what changes something.
            let token = "\r\nAuthorization: Bearer let-me-purge";
            for (method, fields) in [("PURGE", token), ("POST", "\r\nContent-Length: 0")] {
                site.send(method, target, fields);
                assert_eq!(fetch(), [!all; 4], "{key} {method} {target}");
            }
        }
    }
}

#[test]
fn what_is_told_of_many_long_answers_is_short() {
    let site = Site::with("cache { key \"path\" \"query\" \"header:x-tenant\"; }");
    let long = format!("/k/v/{}", "é".repeat(1000));
    for tenant in 0..110 {
        // Half of a letter where it is cut.
        let fields = format!("\r\nX-Tenant: {tenant}\r\nX-Color: r{}", "ß".repeat(4000));
        site.fetch(&long, &fields);
        assert!(site.fetch(&long, &fields).starts_with("hit"), "{tenant}");
    }
    let url = "http://shop.example/k/v/".to_owned() + &"%C3%A9".repeat(1000);
    let (status, entries) =
        site.ask("GET", &format!("/api/v1/cache/entry?url={url}"), &Value::Null);
    assert_eq!(status, 200, "{entries}");
    let entries = entries.as_array().unwrap();
    assert_eq!(entries.len(), 100);
    for entry in entries {
        for text in [&entry["url"], &entry["key"], &entry["vary"][0]["value"]] {
            let text = text.as_str().unwrap();
            assert!(text.ends_with('…') && text.len() <= 1027, "{text}");
            assert!(!text.contains('\u{fffd}'), "{text}");
        }
    }
    let top = site.get("/api/v1/cache/top?limit=1000");
    assert_eq!(top.as_array().unwrap().len(), 110);
    assert!(top.to_string().len() < 110 * 1200, "{} bytes", top.to_string().len());
    assert_eq!(site.ask("GET", "/api/v1/cache/top?limit=1001", &Value::Null).0, 400);
}

#[test]
fn secrets_of_clients_are_not_told() {
    let site = Site::with(r#"cache { key "path" "query" "cookie:sid" "header:authorization"; }"#);
    for color in ["red", "blue"] {
        let fields = format!("\r\nCookie: sid=hush\r\nX-Color: {color}");
        site.fetch("/k/v", &fields);
        assert!(site.fetch("/k/v", &fields).starts_with("hit"));
    }
    let entry = site.get("/api/v1/cache/entry?url=http://shop.example/k/v");
    assert_eq!(entry[0]["key"], "http://shop.example/k/v cookie:sid=…", "{entry}");
    assert_eq!(entry[0]["vary"][0]["name"], "x-color", "{entry}");
    let told = site.says(&["get", "http://shop.example/k/v"]);
    assert!(told.contains("key: cookie:sid=…"), "{told}");
    assert!(!told.contains("hush") && !entry.to_string().contains("hush"));
}

#[test]
fn commands_tell_and_purge() {
    let site = Site::start();
    site.fetch("/k.css", "");
    site.fetch("/k.css", "");
    let stats = site.says(&[]);
    assert!(stats.contains("memory: 1 answers, ") && stats.contains("of 8.0 MiB"), "{stats}");
    assert!(stats.contains(
        "requests: 1 hit, 0 stale, 0 stale-if-error, 0 revalidated, 0 collapsed, 1 miss"
    ));
    assert!(stats.contains("hit ratio: 50.0%"), "{stats}");
    let as_json: Value = serde_json::from_str(&site.says(&["stats", "--json"])).unwrap();
    assert_eq!(as_json["requests"]["hit"], 1);
    let top = site.says(&["top"]);
    assert!(top.trim_end().ends_with(" http://shop.example/k.css"), "{top}");
    let entry = site.says(&["get", "http://shop.example/k.css"]);
    assert!(entry.starts_with("200 http://shop.example/k.css, text/css\n  fresh for "), "{entry}");
    assert!(entry.contains("tags: red, all") && entry.contains("ETag: \"1\""), "{entry}");
    let none = site.says(&["get", "http://shop.example/none"]);
    assert_eq!(none, "nothing is kept in memory for this URL\n");

    let purged = site.says(&["purge", "--tag", "red", "--soft"]);
    assert!(purged.starts_with("purged 1 answers, "), "{purged}");
    assert!(site.says(&["get", "http://shop.example/k.css"]).contains("\n  stale since "));
    assert!(site.says(&["purge", "--url", "http://shop.example/k.css"]).starts_with("purged 1"));
    assert!(site.says(&["purge", "--all"]).starts_with("purged 0"));
    for wrong in [&["purge"][..], &["purge", "--all", "--tag", "x"], &["purge", "--url", "k"]] {
        assert_ne!(site.command(wrong).code, Some(0), "{wrong:?}");
    }
}
