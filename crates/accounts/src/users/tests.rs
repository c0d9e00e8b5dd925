use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use config::{Budget, Country, Hours, Password, Period, Quota, Weekdays};

use super::*;

fn span() -> Span {
    Span::from((3, 4))
}

fn alice() -> StoredUser {
    StoredUser {
        name: "alice".to_owned(),
        password: Some("$argon2id$…".to_owned()),
        from: vec!["203.0.113.0/24".parse().unwrap(), "2001:db8::1/128".parse().unwrap()],
        expires: Some(1_801_353_600),
        limits: UserLimits {
            bandwidth: Some(5 << 20),
            quotas: vec![
                Quota { bytes: 1 << 30, per: Period::Day },
                Quota { bytes: 10 << 30, per: Period::Month },
            ],
            budgets: vec![Budget { amount: 5_000_000, per: Period::Month }],
            connections: Some(64),
            requests: Some((50, Duration::from_millis(1500))),
            exits: vec!["world".to_owned(), "de-1".to_owned()],
            countries: vec![Country::parse("ca").unwrap(), Country::parse("US").unwrap()],
            hours: vec![
                Hours { days: Weekdays(31), from: 480, until: 1080 },
                Hours { days: Weekdays(127), from: 0, until: 1440 },
            ],
            rules: Vec::new(),
        },
        created: 1_785_499_200,
        ..StoredUser::default()
    }
}

#[test]
fn what_is_written_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("users.db");
    assert_eq!(users_of(&path, span()), Ok(Vec::new()), "not there yet");
    let mut store = UserStore::open(&path).expect("it can be made");
    let key = ApiKey::generate().expect("randomness");
    let mut alice = alice();
    alice.add_key(&key, 7);
    store.add(&alice).expect("she is new");
    let bob = StoredUser { name: "bob".to_owned(), disabled: true, ..StoredUser::default() };
    store.add(&bob).expect("he is new");
    drop(store);
    let store = UserStore::open_to_read(&path).expect("it is there");
    assert_eq!(store.list(), Ok(vec![alice.clone(), bob]));
    assert_eq!(store.get("alice"), Ok(Some(alice.clone())));
    assert_eq!(store.get("Alice"), Ok(None));

    // As a configuration has them: without those who are disabled.
    let users = users_of(&path, span()).expect("it is there");
    assert_eq!(users.len(), 1);
    assert_eq!((users[0].name.as_str(), users[0].span), ("alice", span()));
    assert_eq!(users[0].password, Some(Password::Hash("$argon2id$…".to_owned())));
    assert_eq!(users[0].keys, [key.digest()]);
    assert_eq!((&users[0].from, &users[0].limits), (&alice.from, &alice.limits));
    assert_eq!(users[0].expires, alice.expires);
}

#[test]
fn users_change_and_go() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("users.db");
    let mut store = UserStore::open(&path).expect("it can be made");
    let unknown = UserStoreError::Unknown("alice".to_owned());
    assert_eq!(store.set(&alice()), Err(unknown.clone()));
    assert_eq!(store.remove("alice"), Err(unknown));
    let mut user = alice();
    user.add_key(&ApiKey::generate().expect("randomness"), 1);
    store.add(&user).expect("she is new");
    assert_eq!(store.add(&user), Err(UserStoreError::Exists("alice".to_owned())));
    let thief = StoredUser { name: "bob".to_owned(), keys: user.keys.clone(), ..alice() };
    assert_eq!(store.add(&thief), Err(UserStoreError::KeyTaken));
    assert_eq!(store.get("bob"), Ok(None), "all or nothing");
    user.limits = UserLimits::default();
    user.password = None;
    store.set(&user).expect("she is there");
    assert_eq!(store.get("alice"), Ok(Some(user.clone())));
    store.remove("alice").expect("she is there");
    assert_eq!(store.list(), Ok(Vec::new()));
    store.add(&thief).expect("the key is nobody's any more");
}

#[test]
fn a_change_is_a_change_of_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("users.db");
    let mut store = UserStore::open(&path).expect("it can be made");
    let before = std::fs::read(&path).expect("it is there");
    store.add(&alice()).expect("she is new");
    assert_ne!(std::fs::read(&path).expect("it is there"), before);
    let mode = std::fs::metadata(&path).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(folder.path()).expect("it is there").count(), 1, "no other files");
}

#[test]
fn names_that_none_can_have() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = UserStore::open(&folder.path().join("users.db")).expect("it can be made");
    for name in ["", "a:b", "a\nb", &"x".repeat(256)] {
        let user = StoredUser { name: name.to_owned(), ..StoredUser::default() };
        assert!(matches!(store.add(&user), Err(UserStoreError::Name(_))), "{name}");
    }
    let strange = StoredUser { name: "Ünï '; DROP".to_owned(), ..StoredUser::default() };
    store.add(&strange).expect("a name like another");
    assert_eq!(store.list(), Ok(vec![strange]));
}

#[test]
fn files_of_others_are_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("usage.db");
    drop(crate::Accounts::open(Some(folder.path())).expect("a thread"));
    let error = UserStore::open(&path).expect_err("usage");
    assert!(error.to_string().ends_with("usage.db: not a file of users"), "{error}");
    assert!(users_of(&path, span()).is_err());
    assert!(UserStore::open_to_read(&folder.path().join("none.db")).is_err());
}

#[test]
fn a_damaged_limit_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("users.db");
    let mut store = UserStore::open(&path).expect("it can be made");
    store.add(&alice()).expect("she is new");
    for (column, value) in [("hours", "31:480"), ("countries", "Canada"), ("source", "10.0.0.0/99")]
    {
        let sql = format!("UPDATE user SET {column} = '{value}'");
        store.connection.execute(&sql, []).expect("a change");
        let error = users_of(&path, span()).expect_err("damaged");
        assert!(error.contains(column), "{error}");
        store.connection.execute(&format!("UPDATE user SET {column} = ''"), []).expect("a change");
    }
}

#[test]
fn keys_are_known_by_their_digests() {
    let (one, other) = (ApiKey::generate().unwrap(), ApiKey::generate().unwrap());
    assert_ne!(one, other);
    assert_eq!(one.as_str().len(), 36);
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    assert!(one.as_str().starts_with("bfk_") && one.as_str().bytes().all(safe));
    assert_eq!(one.digest().len(), "sha256:".len() + 64);
    assert!(!format!("{one:?}").contains(one.as_str()));
    assert_eq!(generate_password().unwrap().len(), 24);
    let hash = hash_password("secret").unwrap();
    assert_ne!(hash, hash_password("secret").unwrap(), "another salt");
}
