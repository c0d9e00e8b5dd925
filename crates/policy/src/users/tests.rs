use std::io::Write as _;
use std::time::Duration;

use config::{Spanned, User};

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
        Check::Refused => (None, false),
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
