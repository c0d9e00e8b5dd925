//! `bifrons user` and `bifrons usage`, as an operator meets them.

mod support;

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use accounts::{Accounts, Direction, Limits, Moment, UserStore};
use support::{Outcome, bifrons};

/// In a folder that has a configuration with a set of users and a database.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = "state \"state\"\nforward \"127.0.0.1:0\" {\n    auth users=\"staff\"\n}\n\
             users \"staff\" {\n    database \"users.db\"\n}\n";
        std::fs::write(folder.path().join("bifrons.kdl"), text).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn user(&self, action: &[&str]) -> Outcome {
        let config = self.path("bifrons.kdl");
        bifrons(&[&["user"], action, &["--config", &config]].concat())
    }

    fn usage(&self, options: &[&str]) -> Outcome {
        let config = self.path("bifrons.kdl");
        bifrons(&[&["usage", "--config", &config], options].concat())
    }
}

fn value_of<'o>(outcome: &'o Outcome, name: &str) -> &'o str {
    let line = outcome.stdout.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    line.unwrap_or_else(|| panic!("no {name}: {}{}", outcome.stdout, outcome.stderr))
}

#[test]
fn a_user_is_added_changed_and_removed() {
    let place = Place::new();
    let added = place.user(&[
        "add",
        "alice",
        "--generate",
        "--api-key",
        "--quota",
        "10GiB/month",
        "--quota",
        "1GiB/day",
        "--bandwidth",
        "5MiB/s",
        "--budget",
        "5.00/month",
        "--connections",
        "64",
        "--requests",
        "50/s",
        "--exit",
        "world",
        "--country",
        "ca",
        "--hours",
        "Mon-Fri 08:00-18:00",
        "--from",
        "203.0.113.0/24",
        "--expires",
        "2027-01-31",
    ]);
    assert_eq!(added.code, Some(0), "{}", added.stderr);
    let (password, key) = (value_of(&added, "password"), value_of(&added, "api-key"));
    assert!(password.len() == 24 && key.starts_with("bfk_"), "{}", added.stdout);

    let database = place.path("users.db");
    let stored =
        UserStore::open_to_read(Path::new(&database)).unwrap().get("alice").unwrap().unwrap();
    assert!(stored.password.unwrap().starts_with("$argon2id$"));
    let raw = std::fs::read(&database).unwrap();
    for secret in [password, key] {
        assert!(
            !raw.windows(secret.len()).any(|part| part == secret.as_bytes()),
            "kept in the clear"
        );
    }

    let listed = place.user(&["list"]);
    for word in [
        "alice  password, api-key bfk_",
        "from 203.0.113.0/24",
        "expires 2027-01-31T00:00:00Z",
        "bandwidth 5MiB/s",
        "quota 1GiB/day",
        "quota 10GiB/month",
        "budget 5.00/month",
        "connections 64",
        "requests 50/1s",
        "exits world",
        "countries CA",
        "hours Mon-Fri 08:00-18:00",
    ] {
        assert!(listed.stdout.contains(word), "{word:?}\n{}", listed.stdout);
    }

    let changed = place.user(&[
        "set",
        "alice",
        "--quota",
        "2GiB/day",
        "--clear",
        "expires",
        "--clear",
        "api-keys",
        "--disable",
    ]);
    assert_eq!((changed.code, changed.stdout.as_str()), (Some(0), "changed alice\n"));
    let listed = place.user(&["list", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&listed.stdout).unwrap();
    let alice = &json[0];
    assert_eq!(alice["name"], "alice");
    assert_eq!(alice["disabled"], true);
    assert_eq!(alice["password"], true);
    assert_eq!(alice["expires"], serde_json::Value::Null);
    assert_eq!(alice["api_keys"], serde_json::json!([]));
    assert_eq!(alice["limits"]["quota"], serde_json::json!(["2GiB/day"]));
    assert_eq!(alice["limits"]["bandwidth"], 5 << 20);
    assert_eq!(alice["limits"]["requests"], serde_json::json!({ "amount": 50, "per_ms": 1000 }));

    assert_eq!(place.user(&["remove", "alice"]).code, Some(0));
    let gone = place.user(&["remove", "alice"]);
    assert_eq!(gone.code, Some(1));
    assert!(gone.stderr.contains("there is no user `alice`"), "{}", gone.stderr);
}

#[test]
fn a_password_comes_from_the_standard_input() {
    let place = Place::new();
    let database = place.path("users.db");
    let mut child = Command::new(env!("CARGO_BIN_EXE_bifrons"))
        .args(["user", "add", "bob", "--database", &database, "--password-stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"battery staple\r\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.stdout, b"added bob\n");
    let users = accounts::users_of(Path::new(&database), (0, 0).into()).unwrap();
    let set =
        config::UserSet { users: users.clone(), ..config::UserSet::new("staff", (0, 0).into()) };
    assert_eq!((set.users.len(), set.users[0].name.as_str()), (1, "bob"));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let place = Place::new();
    for (action, word) in [
        (&["add", "carol"][..], "nothing would let carol in"),
        (&["add", "a:b", "--generate"], "no colon"),
        (&["add", "carol", "--generate", "--quota", "10GiB/week"], "`day` nor `month`"),
        (&["add", "carol", "--generate", "--hours", "sometimes"], "not a day"),
        (&["add", "carol", "--generate", "--exit", "a b"], "not the name of an exit"),
        (&["add", "carol", "--password", ""], "empty"),
        (&["add", "carol", "--generate", "--set", "none"], "no such set"),
        (&["set", "carol", "--generate"], "users.db: no such file"),
        (&["remove", "carol"], "users.db: no such file"),
        (&["list"], "users.db: no such file"),
    ] {
        let outcome = place.user(action);
        assert_eq!(outcome.code, Some(1), "{action:?}: {}", outcome.stdout);
        assert!(outcome.stderr.contains(word), "{action:?} {word:?}\n{}", outcome.stderr);
    }
    assert!(!Path::new(&place.path("users.db")).exists(), "nothing was made");
    for wrong in [&["add", "carol", "--generate", "--password-stdin"][..], &["add", "--generate"]] {
        assert_eq!(place.user(wrong).code, Some(2), "{wrong:?}");
    }
    assert_eq!(bifrons(&["user", "list"]).code, Some(2), "no place");
    assert_eq!(place.user(&["add", "carol", "--generate"]).code, Some(0));
    let twice = place.user(&["add", "carol", "--generate"]);
    assert!(twice.stderr.contains("there is a user `carol` already"), "{}", twice.stderr);
}

#[test]
fn usage_is_shown_in_every_form() {
    let place = Place::new();
    let missing = place.usage(&[]);
    assert_eq!(missing.code, Some(1));
    assert!(missing.stderr.contains("no such file"), "{}", missing.stderr);

    // While a server has the file open.
    let accounts = Accounts::open(Some(Path::new(&place.path("state")))).unwrap();
    // 2026-07-31 and the day after.
    for (user, exit, host, unix, bytes) in [
        ("alice", "ca-1", "a.example", 1_785_499_200, 1_000_000),
        ("alice", "us-1", "b.example", 1_785_499_200 + 86_400, 20),
        ("bob", "ca-1", "a.example", 1_785_499_200, 300),
    ] {
        let now = Moment { unix, ..Moment::now() };
        let account = accounts.account("staff", user, &Arc::new(Limits::none()), now);
        account.meter(now, exit, Some(2_000_000), host).used(Direction::Down, bytes);
    }
    accounts.flush();

    let table = place.usage(&[]);
    assert_eq!(
        table.stdout,
        "user   exit  up     down  requests   cost\n\
         alice  ca-1   0  1000000         1  0.002\n\
         alice  us-1   0       20         1   0.00\n\
         bob    ca-1   0      300         1   0.00\n",
        "{}",
        table.stderr
    );
    let csv = place.usage(&["--by", "target,day", "--csv", "--user", "alice"]);
    assert_eq!(
        csv.stdout,
        "day,target,bytes_up,bytes_down,requests,cost\r\n\
         2026-07-31,a.example,0,1000000,1,0.002\r\n\
         2026-08-01,b.example,0,20,1,0.00\r\n"
    );
    let json = place.usage(&["--by", "user", "--json", "--to", "2026-07-31", "--exit", "ca-1"]);
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&json.stdout).unwrap(),
        serde_json::json!([
            { "user": "alice", "bytes_up": 0, "bytes_down": 1_000_000, "requests": 1, "cost": "0.002" },
            { "user": "bob", "bytes_up": 0, "bytes_down": 300, "requests": 1, "cost": "0.00" },
        ])
    );
    drop(accounts);
    let state = place.path("state");
    let later =
        bifrons(&["usage", "--state", &state, "--by", "day", "--from", "2026-08-01", "--csv"]);
    assert_eq!(later.stdout.lines().nth(1), Some("2026-08-01,0,20,1,0.00"));
    for wrong in [&["--by", "week"][..], &["--from", "yesterday"], &["--csv", "--json"]] {
        assert_eq!(place.usage(wrong).code, Some(2), "{wrong:?}");
    }
}
