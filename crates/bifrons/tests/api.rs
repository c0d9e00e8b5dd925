//! The admin API of a gateway that runs, as programs and operators meet it.

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use support::schema::check;
use support::{Origin, Outcome, Running, bifrons};

/// Longer than anything here takes, on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(60);

const CONFIG: &str = r#"
admin "127.0.0.1:0"
state "state"
users "staff" {
    database "users.db"
    user "root" password="toor" { quota "1GiB/day"; budget "5.00/month"; }
}
users "written" { user "w" password="w"; }
exits "world" {
    address "127.0.0.2" name="us-1" country="US" city="new_york" price="2.00"
    address "127.0.0.3" name="ca-1" country="CA" price="2.00" tag="fast"
}
forward "127.0.0.1:0" {
    auth users="staff"
    allow "127.0.0.0/8"
    exit "world"
}
"#;

/// A gateway that runs, and an origin behind it.
struct Gateway {
    /// Kept for its end.
    server: Running,
    folder: tempfile::TempDir,
    proxy: SocketAddr,
    admin: SocketAddr,
    origin: SocketAddr,
}

impl Gateway {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.kdl");
        std::fs::write(&path, CONFIG).unwrap();
        let (mut server, proxy) =
            Running::server(&["run", path.to_str().unwrap(), "--threads", "2"]);
        let admin = server.wait_for(|line| line.rsplit_once("admin on ")?.1.parse().ok());
        Self { server, folder, proxy, admin, origin: Origin::start("hello").address }
    }

    /// Asks the API; the status and the answer.
    fn ask(&self, method: &str, target: &str, content: &Value) -> (u16, Value) {
        let (status, answer) = self.raw(method, target, content);
        let value = serde_json::from_str(&answer);
        (status, value.unwrap_or_else(|error| panic!("{method} {target}: {error}: {answer}")))
    }

    fn raw(&self, method: &str, target: &str, content: &Value) -> (u16, String) {
        let content = if content.is_null() { String::new() } else { content.to_string() };
        let length = content.len();
        exchange(
            self.admin,
            &format!(
                "{method} {target} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
                 Content-Length: {length}\r\nConnection: close\r\n\r\n{content}",
                self.admin
            ),
        )
    }

    fn get(&self, target: &str) -> Value {
        let (status, answer) = self.ask("GET", target, &Value::Null);
        assert_eq!(status, 200, "{target}: {answer}");
        answer
    }

    /// What must be refused: the error's name and remedy.
    fn refused(&self, method: &str, target: &str, content: &Value) -> (u16, String, String) {
        let (status, answer) = self.ask(method, target, content);
        assert!(status >= 400, "{method} {target}: {answer}");
        let word = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
        assert!(!word("remedy").is_empty(), "no remedy: {answer}");
        (status, word("error"), word("message"))
    }

    /// A request through the proxy; its status.
    fn fetch(&self, user: &str, password: &str) -> u16 {
        let shown = STANDARD.encode(format!("{user}:{password}"));
        let origin = self.origin;
        let head = format!(
            "GET http://{origin}/ HTTP/1.1\r\nHost: {origin}\r\nProxy-Authorization: Basic {shown}\r\n\
             Connection: close\r\n\r\n"
        );
        exchange(self.proxy, &head).0
    }

    /// Runs a command for this server.
    fn command(&self, arguments: &[&str]) -> Outcome {
        let config = self.folder.path().join("gateway.kdl");
        let admin = self.admin.to_string();
        let mut all = vec![arguments[0], "--config", config.to_str().unwrap(), "--admin", &admin];
        all.extend(&arguments[1..]);
        bifrons(&all)
    }

    /// The same, with what says which server is meant behind the rest.
    fn command_behind(&self, arguments: &[&str]) -> Outcome {
        let config = self.folder.path().join("gateway.kdl");
        let admin = self.admin.to_string();
        let which = ["--config", config.to_str().unwrap(), "--admin", &admin];
        bifrons(&[arguments, &which[..]].concat())
    }
}

fn exchange(to: SocketAddr, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[test]
fn everything_is_as_the_description_says() {
    let gateway = Gateway::start();
    let document = gateway.get("/api/v1/openapi.json");
    assert_eq!(document["openapi"], "3.1.0");
    let judge = |method: &str, path: &str, target: &str, content: &Value| {
        let operation = &document["paths"][path][method.to_ascii_lowercase()];
        let schema = &operation["responses"]["200"]["content"]["application/json"]["schema"];
        assert!(schema.is_object(), "{method} {path}");
        if let Some(body) = operation.get("requestBody") {
            let schema = &body["content"]["application/json"]["schema"];
            check(&document, schema, content, &format!("content of {method} {path}"));
        }
        let (status, answer) = gateway.ask(method, target, content);
        assert_eq!(status, 200, "{method} {target}: {answer}");
        check(&document, schema, &answer, &format!("{method} {path}"));
        answer
    };
    let nothing = &Value::Null;
    let alice = json!({
        "name": "alice", "password": "secret", "api_key": true, "from": ["203.0.113.0/24"],
        "expires": "2099-01-31", "bandwidth": "500MiB/s", "quota": ["10GiB/month"],
        "budget": ["5.00/month"], "connections": 64, "requests": "500/s", "exits": ["world"],
        "countries": ["CA", "US"], "hours": ["Mon-Sun 00:00-24:00"],
    });
    judge("POST", "/api/v1/users/{set}", "/api/v1/users/staff", &alice);
    assert_eq!(gateway.fetch("alice-session-s1", "secret"), 200);
    let ban = json!({ "exit": "world/us-1", "host": "shop.example", "seconds": 600 });
    judge("POST", "/api/v1/bans", "/api/v1/bans", &ban);
    for path in ["status", "exits", "sessions", "bans", "users", "usage", "attempts"] {
        let path = format!("/api/v1/{path}");
        let answer = judge("GET", &path, &path, nothing);
        if let Some(all) = answer.as_array() {
            assert!(!all.is_empty(), "{path} shows nothing");
        }
    }
    let everything = "/api/v1/usage?by=day,set,user,exit,target";
    judge("GET", "/api/v1/usage", everything, nothing);
    let change = json!({ "quota": [], "expires": null, "generate_password": true });
    judge("PATCH", "/api/v1/users/{set}/{user}", "/api/v1/users/staff/alice", &change);
    judge("GET", "/api/v1/users", "/api/v1/users?set=staff&user=alice", nothing);
    let reset = "/api/v1/users/staff/alice/reset";
    judge("POST", "/api/v1/users/{set}/{user}/reset", reset, nothing);
    judge("DELETE", "/api/v1/users/{set}/{user}", "/api/v1/users/staff/alice", nothing);
    let session = "/api/v1/sessions?pool=world&user=alice&id=s1";
    judge("DELETE", "/api/v1/sessions", session, nothing);
    judge("DELETE", "/api/v1/bans", "/api/v1/bans?exit=us-1", nothing);
    judge("POST", "/api/v1/refresh", "/api/v1/refresh", nothing);
    judge("POST", "/api/v1/reload", "/api/v1/reload", nothing);
    let question = json!({ "method": "GET", "url": "http://shop.example/" });
    judge("POST", "/api/v1/explain", "/api/v1/explain", &question);
    let (_, error) = gateway.ask("GET", "/api/v1/nothing", nothing);
    check(&document, &document["components"]["schemas"]["Error"], &error, "error");
    assert_eq!(gateway.server.terminate(), Some(0));
}

#[test]
fn users_are_used_as_soon_as_they_are_changed() {
    let gateway = Gateway::start();
    let users = "/api/v1/users/staff";
    assert_eq!(gateway.fetch("bob", "secret"), 407);
    let bob = json!({ "name": "bob", "password": "secret", "quota": ["1MiB/day"] });
    let (status, added) = gateway.ask("POST", users, &bob);
    assert_eq!(status, 200, "{added}");
    assert_eq!((&added["user"]["name"], &added["user"]["password"]), (&json!("bob"), &json!(true)));
    assert!(!added.to_string().contains("secret") && !added.to_string().contains("$argon2"));
    assert_eq!(gateway.fetch("bob", "secret"), 200);

    let one = || gateway.get("/api/v1/users?user=bob")[0].clone();
    let bob_now = one();
    assert_eq!(bob_now["source"], "database");
    assert_eq!(bob_now["day"]["quota"], 1 << 20);
    assert!(bob_now["day"]["bytes_left"].as_u64().unwrap() < 1 << 20, "{bob_now}");
    let root = gateway.get("/api/v1/users?set=staff&user=root")[0].clone();
    assert_eq!(root["source"], "configuration");
    assert_eq!(
        (&root["day"]["quota"], &root["month"]["budget"]),
        (&json!(1 << 30), &json!("5.00"))
    );
    assert_eq!(root["month"]["money_left"], "5.00");

    gateway.ask("POST", "/api/v1/users/staff/bob/reset", &Value::Null);
    assert_eq!(one()["day"]["bytes_left"], 1 << 20);

    let path = "/api/v1/users/staff/bob";
    let (status, changed) = gateway.ask("PATCH", path, &json!({ "generate_password": true }));
    assert_eq!(status, 200, "{changed}");
    assert_eq!(gateway.fetch("bob", "secret"), 407);
    let password = changed["password"].as_str().unwrap();
    assert_eq!(gateway.fetch("bob", password), 200);
    gateway.ask("PATCH", path, &json!({ "disabled": true }));
    assert_eq!(gateway.fetch("bob", password), 407);
    assert_eq!(one()["stored"]["disabled"], true);
    gateway.ask("PATCH", path, &json!({ "disabled": false }));
    assert_eq!(gateway.fetch("bob", password), 200);
    assert_eq!(gateway.ask("DELETE", path, &Value::Null), (200, json!({ "done": true })));
    assert_eq!(gateway.fetch("bob", password), 407);

    // By command as well: the server is told where the configuration says that it is.
    let config = gateway.folder.path().join("gateway.kdl");
    let text = CONFIG.replace("admin \"127.0.0.1:0\"", &format!("admin \"{}\"", gateway.admin));
    std::fs::write(&config, text).unwrap();
    let config = config.to_str().unwrap();
    let added = bifrons(&["user", "add", "carol", "--config", config, "--password", "tell me"]);
    assert_eq!(added.code, Some(0), "{}", added.stderr);
    assert_eq!(gateway.fetch("carol", "tell me"), 200);
    let removed = bifrons(&["user", "remove", "carol", "--config", config]);
    assert_eq!(removed.code, Some(0), "{}", removed.stderr);
    assert_eq!(gateway.fetch("carol", "tell me"), 407);
}

#[test]
fn what_cannot_be_done_is_refused_with_a_remedy() {
    let gateway = Gateway::start();
    let bob = json!({ "name": "bob", "password": "secret" });
    for (method, target, content, status, error, words) in [
        ("POST", "/api/v1/users/none", &bob, 404, "unknown", "no such set"),
        ("POST", "/api/v1/users/written", &bob, 409, "unavailable", "no database"),
        ("POST", "/api/v1/users/staff", &json!({}), 422, "invalid", "`name`"),
        ("POST", "/api/v1/users/staff", &json!({ "name": "x" }), 422, "invalid", "let it in"),
        (
            "POST",
            "/api/v1/users/staff",
            &json!({ "name": "x", "password": "x", "hours": ["never"] }),
            422,
            "invalid",
            "never",
        ),
        (
            // He stands in the configuration: the server could not load both.
            "POST",
            "/api/v1/users/staff",
            &json!({ "name": "root", "password": "x" }),
            422,
            "invalid",
            "nothing was changed",
        ),
        ("PATCH", "/api/v1/users/staff/root", &json!({}), 404, "unknown", "`root`"),
        ("DELETE", "/api/v1/users/staff/bob", &Value::Null, 404, "unknown", "`bob`"),
        ("POST", "/api/v1/users/staff/bob/reset", &Value::Null, 404, "unknown", "`bob`"),
        ("POST", "/api/v1/bans", &json!({ "exit": "x", "seconds": 1 }), 404, "unknown", "no pool"),
        (
            "POST",
            "/api/v1/bans",
            &json!({ "exit": "ca-1", "seconds": 0 }),
            422,
            "invalid",
            "no time",
        ),
        ("POST", "/api/v1/bans", &json!({ "exit": "ca-1" }), 400, "bad_content", "seconds"),
        ("DELETE", "/api/v1/bans?exit=ca-1", &Value::Null, 404, "unknown", "no such ban"),
        (
            "DELETE",
            "/api/v1/sessions?pool=world&user=a&id=b",
            &Value::Null,
            404,
            "unknown",
            "no such session",
        ),
        ("GET", "/api/v1/usage?from=yesterday", &Value::Null, 422, "invalid", "day"),
        ("GET", "/api/v1/usage?by=week", &Value::Null, 422, "invalid", "week"),
    ] {
        let (got, word, message) = gateway.refused(method, target, content);
        assert_eq!((got, &*word), (status, error), "{method} {target}: {message}");
        assert!(message.contains(words), "{method} {target}: {message}");
    }
    // All goes on as it was, and the next change is taken.
    assert_eq!(gateway.fetch("root", "toor"), 200);
    assert_eq!(gateway.ask("POST", "/api/v1/users/staff", &bob).0, 200);
    let (status, word, _) = gateway.refused("POST", "/api/v1/users/staff", &bob);
    assert_eq!((status, &*word), (409, "unavailable"));
    assert_eq!(gateway.fetch("bob", "secret"), 200);
}

#[test]
fn exits_sessions_and_bans_are_shown_and_changed() {
    let gateway = Gateway::start();
    let exits = gateway.command(&["exits"]);
    assert_eq!(exits.code, Some(0), "{}", exits.stderr);
    for words in ["world/us-1 (", "up, country US, city new_york, price 2.00", "world/ca-1 ("] {
        assert!(exits.stdout.contains(words), "{}", exits.stdout);
    }
    assert_eq!(gateway.fetch("root-country-us-session-s1", "toor"), 200);
    let sessions = gateway.command(&["sessions"]);
    assert!(
        sessions.stdout.contains("world root s1: us-1 from 127.0.0.2, for 10m yet, "),
        "{}",
        sessions.stdout
    );
    let json = gateway.command(&["sessions", "--json", "list"]);
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((&json[0]["user"], &json[0]["requests"]), (&json!("root"), &json!(1)));

    assert_eq!(gateway.command(&["bans"]).stdout, "");
    let banned = gateway.command(&["bans", "add", "us-1", "--for", "10m"]);
    assert_eq!((banned.code, &*banned.stdout), (Some(0), "banned us-1 for 10m\n"));
    assert_eq!(gateway.fetch("root-country-us", "toor"), 503, "the only exit of the country");
    assert_eq!(gateway.fetch("root-country-ca", "toor"), 200);
    gateway.command(&["bans", "add", "world/ca-1", "--host", "shop.example", "--for", "1h"]);
    let bans = gateway.command(&["bans", "list"]).stdout;
    // Options stand where they come to mind.
    assert_eq!(gateway.command_behind(&["bans", "list"]).stdout, bans);
    assert!(gateway.command_behind(&["sessions", "list", "--json"]).stdout.starts_with('['));
    for words in ["world/us-1: ", "world/ca-1 for shop.example: ", "by hand"] {
        assert!(bans.contains(words), "{bans}");
    }
    assert!(gateway.command(&["exits"]).stdout.contains("banned for "));
    let metrics = gateway.raw("GET", "/metrics", &Value::Null).1;
    for line in [
        "bifrons_exits{pool=\"world\",state=\"banned\"} 1",
        "bifrons_exits{pool=\"world\",state=\"up\"} 1",
        "bifrons_exits{pool=\"world\",state=\"ill\"} 0",
        "bifrons_sessions 1",
        "bifrons_bans 2",
        "bifrons_auth_failures_total 0",
    ] {
        assert!(metrics.lines().any(|one| one == line), "{line}\n{metrics}");
    }
    let removed = gateway.command(&["bans", "remove", "us-1"]);
    assert_eq!(removed.code, Some(0), "{}", removed.stderr);
    assert_eq!(gateway.fetch("root-country-us", "toor"), 200);
    let again = gateway.command(&["bans", "remove", "us-1"]);
    assert_eq!(again.code, Some(1));
    assert!(
        again.stderr.contains("no such ban") && again.stderr.contains("help: "),
        "{}",
        again.stderr
    );

    assert_eq!(gateway.command(&["sessions", "end", "world", "root", "s1"]).code, Some(0));
    assert_eq!(gateway.command(&["sessions"]).stdout, "");
    assert_eq!(gateway.command(&["sessions", "end", "world", "root", "s1"]).code, Some(1));
}

#[test]
fn usage_is_told_by_api_and_in_metrics() {
    let gateway = Gateway::start();
    assert_eq!(gateway.fetch("root-country-ca", "toor"), 200);
    assert_eq!(gateway.fetch("root-country-us", "toor"), 200);
    assert_eq!(gateway.fetch("root", "wrong"), 407);
    let usage = gateway.get("/api/v1/usage");
    assert_eq!(usage.as_array().unwrap().len(), 2, "{usage}");
    assert_eq!((&usage[0]["user"], &usage[0]["exit"]), (&json!("root"), &json!("ca-1")));
    assert_eq!(usage[0]["requests"], 1);
    let all = gateway.get("/api/v1/usage?by=&user=root");
    let sum = usage[0]["bytes_down"].as_u64().unwrap() + usage[1]["bytes_down"].as_u64().unwrap();
    assert!(sum > 0 && all[0]["bytes_down"] == sum, "{all} {usage}");
    assert_eq!(gateway.get("/api/v1/usage?target=other.example&by=target"), json!([]));
    let (_, csv) = gateway.raw("GET", "/api/v1/usage?by=set,exit&format=csv", &Value::Null);
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines[0], "set,exit,bytes_up,bytes_down,requests,cost");
    assert!(lines.len() == 3 && lines[1].starts_with("staff,ca-1,"), "{csv}");
    // By command as well, from the server and from the file: the same, in every form.
    let state = gateway.folder.path().join("state");
    for form in [&["--csv"][..], &["--json"], &["--by", "day,user"]] {
        let asked = gateway.command(&[&["usage"], form].concat());
        let read = bifrons(&[&["usage", "--state", state.to_str().unwrap()], form].concat());
        assert_eq!((asked.code, &asked.stdout), (Some(0), &read.stdout), "{}", asked.stderr);
        assert!(asked.stdout.contains("root"), "{}", asked.stdout);
    }
    assert_eq!(gateway.get("/api/v1/attempts")["failures"], 1);
    // What was asked for above has been written down, and with it counted.
    let metrics = gateway.raw("GET", "/metrics", &Value::Null).1;
    for start in [
        "bifrons_user_requests_total{set=\"staff\",user=\"root\"} 2",
        "bifrons_exit_requests_total{exit=\"ca-1\"} 1",
        "bifrons_user_cost_total{set=\"staff\",user=\"root\"} 0.00000",
        &format!("bifrons_user_sent_bytes_total{{set=\"staff\",user=\"root\"}} {sum}"),
        "bifrons_auth_failures_total 1",
    ] {
        assert!(metrics.lines().any(|line| line.starts_with(start)), "{start}\n{metrics}");
    }
}
