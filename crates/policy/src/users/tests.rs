use std::io::Write as _;
use std::time::Duration;

use config::{Password, Span, Spanned, TargetPattern, TargetRule, User, Verdict};

use super::*;
use crate::verified::Secret;

fn span() -> Span {
    Span::from((3, 4))
}

fn cache() -> VerifiedCache {
    VerifiedCache::new(Secret::new([9; 32]), Duration::from_secs(300), 4)
}

fn bcrypt(password: &str) -> String {
    bcrypt::hash_with_salt(password, 4, [7; 16]).unwrap().to_string()
}

fn user(name: &str, password: Password) -> User {
    User { password: Some(password), ..User::new(name, span()) }
}

fn plain(name: &str, password: &str) -> User {
    user(name, Password::Plain(password.into()))
}

fn hashed(name: &str, password: &str) -> User {
    user(name, Password::Hash(bcrypt(password)))
}

fn set(users: Vec<User>, files: &[&tempfile::NamedTempFile]) -> UserSet {
    let files =
        files.iter().map(|file| Spanned { value: file.path().to_owned(), span: span() }).collect();
    UserSet { users, files, ..UserSet::new("staff", span()) }
}

fn build(set: &UserSet) -> Result<Users, Vec<ConfigError>> {
    Users::build(set, Vec::new(), &mut RuleSources::default())
}

fn users(list: Vec<User>) -> Users {
    build(&set(list, &[])).unwrap()
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn errors(set: &UserSet) -> Vec<ConfigError> {
    build(set).err().unwrap()
}

/// Who it is in the end, and whether a job was needed.
fn ask<'a>(
    users: &'a Users,
    cache: &VerifiedCache,
    now: Instant,
    name: &str,
    password: &str,
) -> (Option<&'a str>, bool) {
    match users.check(name.as_bytes(), password.as_bytes(), cache, now) {
        Check::Granted(id) => (Some(users.name(id)), false),
        Check::Refused | Check::Unknown => (None, false),
        Check::Work(job) => {
            let outcome = job.run();
            cache.remember(&outcome, now);
            (outcome.granted().map(|id| users.name(id)), true)
        }
    }
}

#[test]
fn plain_passwords_are_decided_at_once() {
    let users = users(vec![plain("alice", "one"), plain("bob", "two")]);
    let (cache, now) = (cache(), Instant::now());
    assert_eq!(ask(&users, &cache, now, "alice", "one"), (Some("alice"), false));
    assert_eq!(ask(&users, &cache, now, "bob", "two"), (Some("bob"), false));
    for (name, password) in [("alice", "two"), ("alice", ""), ("Alice", "one"), ("", "one")] {
        assert_eq!(ask(&users, &cache, now, name, password), (None, false), "{name}");
    }
    assert!(cache.is_empty());
}

#[test]
fn a_slow_hash_is_computed_once_and_then_remembered_for_its_time() {
    let users = users(vec![hashed("alice", "one")]);
    let (cache, now) = (cache(), Instant::now());
    assert_eq!(ask(&users, &cache, now, "alice", "one"), (Some("alice"), true));
    assert_eq!(ask(&users, &cache, now, "alice", "one"), (Some("alice"), false));
    let last = now + Duration::from_millis(299_999);
    assert_eq!(ask(&users, &cache, last, "alice", "one"), (Some("alice"), false));
    let ended = now + Duration::from_secs(300);
    assert_eq!(ask(&users, &cache, ended, "alice", "one"), (Some("alice"), true));
    assert_eq!(cache.len(), 1);
}

#[test]
fn a_wrong_password_is_never_remembered() {
    let users = users(vec![hashed("alice", "one")]);
    let (cache, now) = (cache(), Instant::now());
    for _ in 0..2 {
        assert_eq!(ask(&users, &cache, now, "alice", "two"), (None, true));
    }
    assert!(cache.is_empty());
}

#[test]
fn an_unknown_user_costs_the_work_of_a_known_one_and_is_refused() {
    let users = users(vec![hashed("alice", "one"), hashed("bob", "two")]);
    let (cache, now) = (cache(), Instant::now());
    // Whoever stands in for the unknown user, no password of theirs lets it in.
    for name in ["mallory", "", "alicE", "carol"] {
        for password in ["one", "two", "three"] {
            assert_eq!(ask(&users, &cache, now, name, password), (None, true), "{name}");
        }
    }
    assert!(cache.is_empty());
}

#[test]
fn in_a_mixed_set_an_unknown_name_always_costs_the_same() {
    let users = users(vec![plain("alice", "one"), hashed("bob", "two")]);
    let (cache, now) = (cache(), Instant::now());
    let costs: Vec<bool> = (0..64)
        .map(|number| {
            let name = format!("unknown{number}");
            let (granted, work) = ask(&users, &cache, now, &name, "one");
            assert_eq!(granted, None);
            assert_eq!(ask(&users, &cache, now, &name, "two"), (None, work));
            work
        })
        .collect();
    assert!(costs.contains(&true) && costs.contains(&false));
}

#[test]
fn an_empty_set_refuses_everybody() {
    let users = users(Vec::new());
    assert!(users.is_empty());
    assert_eq!(ask(&users, &cache(), Instant::now(), "alice", "one"), (None, false));
}

#[test]
fn what_is_remembered_holds_for_that_user_with_that_hash_only() {
    let (cache, now) = (cache(), Instant::now());
    let before = users(vec![hashed("alice", "one"), hashed("bob", "one")]);
    assert_eq!(ask(&before, &cache, now, "alice", "one"), (Some("alice"), true));
    assert_eq!(ask(&before, &cache, now, "bob", "one"), (Some("bob"), true));
    // After a reload: the same hash is known, and found under the new identifier.
    let same = users(vec![hashed("carol", "one"), hashed("alice", "one")]);
    assert_eq!(ask(&same, &cache, now, "alice", "one"), (Some("alice"), false));
    let changed = users(vec![hashed("alice", "two")]);
    assert_eq!(ask(&changed, &cache, now, "alice", "one"), (None, true));
}

#[test]
fn the_cache_is_bounded_and_the_oldest_goes_first() {
    let names = ["a", "b", "c", "d", "e"];
    let users = users(names.iter().map(|name| hashed(name, "one")).collect());
    let (cache, now) = (cache(), Instant::now());
    for name in names {
        assert_eq!(ask(&users, &cache, now, name, "one"), (Some(name), true));
    }
    assert_eq!(cache.len(), 4);
    assert_eq!(ask(&users, &cache, now, "e", "one"), (Some("e"), false));
    assert_eq!(ask(&users, &cache, now, "a", "one"), (Some("a"), true));
    // Two jobs for the same password leave one entry.
    let jobs: Vec<_> = (0..2)
        .map(|_| match users.check(b"b", b"one", &cache, now) {
            Check::Work(job) => job.run(),
            other => panic!("{other:?}"),
        })
        .collect();
    for outcome in &jobs {
        cache.remember(outcome, now);
    }
    assert_eq!(cache.len(), 4);
}

#[test]
fn users_of_a_file_are_read() {
    let file = file(&format!(
        "# comment\n\n  \nalice:{}\r\nbücher:{}:a remark\n",
        bcrypt("one"),
        bcrypt("two")
    ));
    let users = build(&set(vec![plain("bob", "three")], &[&file])).unwrap();
    assert_eq!(users.len(), 3);
    assert_eq!(users.sources(), [file.path()]);
    let (cache, now) = (cache(), Instant::now());
    assert_eq!(ask(&users, &cache, now, "alice", "one"), (Some("alice"), true));
    assert_eq!(ask(&users, &cache, now, "bücher", "two"), (Some("bücher"), true));
    assert_eq!(ask(&users, &cache, now, "bob", "three"), (Some("bob"), false));
}

#[test]
fn every_bad_line_is_an_error_that_names_it_and_keeps_the_secret() {
    let file = file(
        "alice:$apr1$salt$hunter2hash\nbob:{SHA}hunter2hash\ncarol:hunter2\nno colon hunter2\n\
         :$2y$hunter2\ndave:$2y$10$hunter2\n",
    );
    let errors = errors(&set(Vec::new(), &[&file]));
    let messages: Vec<&str> = errors.iter().map(|error| error.message.as_str()).collect();
    assert_eq!(messages.len(), 6, "{messages:?}");
    for (index, words) in [
        "line 1: `alice` has an MD5 hash (apr1), which is not accepted",
        "line 2: `bob` has an unsalted SHA-1 hash, which is not accepted",
        "line 3: `carol` has a DES crypt hash or a password in the clear, which is not accepted",
        "line 4: no colon between name and hash",
        "line 5: no name before the colon",
        "line 6: `dave` has a damaged bcrypt hash",
    ]
    .iter()
    .enumerate()
    {
        assert!(messages[index].ends_with(words), "{}", messages[index]);
        assert!(!messages[index].contains("hunter2"), "{}", messages[index]);
        assert!(errors[index].help.as_ref().unwrap().contains("htpasswd -B"));
        assert_eq!(errors[index].span, Some(span()));
    }
}

#[test]
fn a_file_full_of_bad_lines_does_not_fill_the_screen() {
    let file = file(&"alice:hunter2\n".repeat(1000));
    let errors = errors(&set(Vec::new(), &[&file]));
    assert_eq!(errors.len(), 11);
    assert!(errors[10].message.contains("990 more lines"), "{}", errors[10].message);
}

#[test]
fn missing_files_doubled_names_and_bad_hashes_come_all_at_once() {
    let mut set = set(
        vec![
            plain("alice", "one"),
            hashed("alice", "two"),
            user("bob", Password::Hash("$apr1$x$y".into())),
        ],
        &[],
    );
    set.files.push(Spanned { value: "/nonexistent/users".into(), span: span() });
    let messages: Vec<String> = errors(&set).into_iter().map(|error| error.message).collect();
    assert_eq!(messages.len(), 3, "{messages:?}");
    assert_eq!(messages[0], "user `alice` is there twice");
    assert!(messages[1].contains("`bob` has an MD5 hash"), "{}", messages[1]);
    assert!(messages[2].contains("/nonexistent/users"), "{}", messages[2]);
}

#[test]
fn jobs_move_to_other_threads_and_show_nothing() {
    fn shared<T: Send + Sync + 'static>() {}
    fn sent<T: Send + 'static>() {}
    shared::<Users>();
    sent::<PasswordJob>();
    sent::<crate::verified::JobOutcome>();
    let users = users(vec![hashed("alice", "hunter2")]);
    let check = users.check(b"alice", b"hunter2", &cache(), Instant::now());
    let shown = format!("{users:?} {check:?} {:?} {:?}", cache(), Secret::new([104; 32]));
    assert!(!shown.contains("hunter2") && !shown.contains("104"), "{shown}");
}

#[test]
fn a_key_is_taken_for_a_password_and_by_itself() {
    let digest: [u8; 32] = Sha256::digest("second").into();
    let hex: String = digest.iter().map(|byte| format!("{byte:02X}")).collect();
    let keys = vec!["first".to_owned(), format!("sha256:{hex}")];
    let alice = User { keys, ..hashed("alice", "one") };
    let bob = User { keys: vec!["third".into()], ..User::new("bob", span()) };
    let users = users(vec![alice, bob]);
    let (cache, now) = (cache(), Instant::now());
    for key in ["first", "second"] {
        assert_eq!(ask(&users, &cache, now, "alice", key), (Some("alice"), false));
        assert_eq!(users.by_key(key.as_bytes()), users.find("alice"));
    }
    assert_eq!(ask(&users, &cache, now, "alice", "one"), (Some("alice"), true));
    assert_eq!(ask(&users, &cache, now, "bob", "third"), (Some("bob"), false));
    // Whose key it is counts, and a digest is no key.
    assert_eq!(ask(&users, &cache, now, "alice", "third"), (None, true));
    assert_eq!(users.by_key(format!("sha256:{hex}").as_bytes()), None);
    assert_eq!(users.by_key(b""), None);
}

#[test]
fn nobody_without_a_password_is_let_in_by_one() {
    let both = users(vec![hashed("alice", "one"), User::new("bob", span())]);
    let (cache, now) = (cache(), Instant::now());
    // It costs what a wrong password costs, also where it is the one of who stands in.
    for password in ["one", "", "two"] {
        assert_eq!(ask(&both, &cache, now, "bob", password), (None, true), "{password}");
    }
    let alone = users(vec![User::new("bob", span())]);
    assert_eq!(ask(&alone, &cache, now, "bob", ""), (None, false));
}

#[test]
fn the_smallest_network_tells_who_it_is() {
    let from = |name: &str, nets: &[&str]| User {
        from: nets.iter().map(|net| net.parse().unwrap()).collect(),
        ..User::new(name, span())
    };
    let office = from("office", &["203.0.113.0/24", "2001:db8::/32"]);
    let users = users(vec![office, from("desk", &["203.0.113.7/32"]), plain("alice", "one")]);
    assert!(users.knows_addresses());
    let who = |address: &str| users.by_address(address.parse().unwrap()).map(|id| users.name(id));
    assert_eq!(who("203.0.113.8"), Some("office"));
    assert_eq!(who("::ffff:203.0.113.7"), Some("desk"));
    assert_eq!(who("2001:db8::1"), Some("office"));
    assert_eq!(who("192.0.2.1"), None);
}

#[test]
fn a_time_that_is_over_is_told() {
    let users = users(vec![User { expires: Some(1000), ..plain("alice", "one") }, plain("b", "c")]);
    let at = |second| Timestamp::from_second(second).unwrap();
    let (alice, bob) = (users.find("alice").unwrap(), users.find("b").unwrap());
    assert!(!users.is_expired(alice, at(999)) && users.is_expired(alice, at(1000)));
    assert!(!users.is_expired(alice, at(-1)));
    assert!(!users.is_expired(bob, at(i64::from(u32::MAX))));
    assert_eq!(users.find("mallory"), None);
}

#[test]
fn what_is_not_said_of_one_is_as_for_all() {
    let mut set = set(vec![plain("alice", "one"), plain("bob", "two"), plain("carol", "x")], &[]);
    set.defaults.bandwidth = Some(10);
    set.defaults.connections = Some(5);
    set.defaults.rules = vec![TargetRule::new(
        Verdict::Deny,
        vec![TargetPattern::Domain("social.example".into())],
        span(),
    )];
    set.users[1].limits.bandwidth = Some(20);
    set.users[2].limits.rules =
        vec![TargetRule::new(Verdict::Deny, vec![TargetPattern::Any], span())];
    let users = build(&set).unwrap();
    let [alice, bob, carol] = [0, 1, 2].map(UserId);
    assert_eq!(users.ids().collect::<Vec<_>>(), [alice, bob, carol]);
    assert!(Arc::ptr_eq(users.limits(alice), users.default_limits()));
    assert_eq!(users.limits(bob).bandwidth, Some(20));
    assert_eq!(users.limits(bob).connections, Some(5));
    assert!(Arc::ptr_eq(users.rules(bob).unwrap(), users.default_rules().unwrap()));
    assert_eq!(users.rules(carol).unwrap().text(crate::RuleId(0)), "deny \"*\"");
    assert_eq!(users.limits(carol).bandwidth, Some(10));
}

#[test]
fn rows_of_a_database_are_users_and_unknown_names_may_be_known_elsewhere() {
    let mut set = set(vec![plain("alice", "one")], &[]);
    let rows = vec![hashed("bob", "two")];
    let users = Users::build(&set, rows.clone(), &mut RuleSources::default()).unwrap();
    let (cache, now) = (cache(), Instant::now());
    assert_eq!(ask(&users, &cache, now, "bob", "two"), (Some("bob"), true));
    set.callout = Some(config::Callout {
        upstream: 0,
        target: "/".into(),
        keep: Duration::ZERO,
        keep_refused: Duration::ZERO,
        span: span(),
    });
    let users = Users::build(&set, rows, &mut RuleSources::default()).unwrap();
    let check = |name: &str| users.check(name.as_bytes(), b"x", &cache, now);
    assert!(matches!(check("mallory"), Check::Unknown));
    assert!(matches!(check("alice"), Check::Refused));
    assert!(matches!(check("bob"), Check::Work(_)));
}

#[test]
fn what_two_users_cannot_both_have_is_an_error() {
    let twin = |name: &str| User {
        keys: vec!["same".into()],
        from: vec!["192.0.2.0/24".parse().unwrap()],
        ..User::new(name, span())
    };
    let mut odd = User { keys: vec!["sha256:12".into()], ..User::new("carol", span()) };
    odd.limits.rules = vec![TargetRule::new(
        Verdict::Deny,
        vec![TargetPattern::List(Spanned {
            value: config::ListSource::File("/nonexistent/list".into()),
            span: span(),
        })],
        span(),
    )];
    let errors = errors(&set(vec![twin("alice"), twin("bob"), odd], &[]));
    let messages: Vec<&str> = errors.iter().map(|error| error.message.as_str()).collect();
    assert_eq!(messages.len(), 4, "{messages:?}");
    assert!(messages.iter().all(|message| !message.contains("same")), "{messages:?}");
    assert!(messages[0].contains("`bob` is that of another user"), "{}", messages[0]);
    assert!(messages[1].contains("`192.0.2.0/24`"), "{}", messages[1]);
    assert!(messages[2].contains("no SHA-256"), "{}", messages[2]);
    assert!(messages[3].contains("/nonexistent/list"), "{}", messages[3]);
}
