//! What clients say about who they are, and the files that say who they may be.

use std::cell::RefCell;
use std::path::PathBuf;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use config::{Span, Spanned, UserSet};
use policy::digest::{self, DigestCheck, DigestRealm, Nonces, Shown};
use policy::{RuleSources, Secret, Timestamp, Users, basic};

/// Reads the value of `Proxy-Authorization`.
pub fn basic(data: &[u8]) {
    match basic::parse(data) {
        Ok(credentials) => {
            let (user, password) = (credentials.user(), credentials.password());
            assert!(!user.contains(&b':'));
            assert!(!user.iter().chain(password).any(u8::is_ascii_control));
            assert!(user.len() + 1 + password.len() <= basic::MAX_CREDENTIALS);
            assert!(!format!("{credentials:?}").contains(':'), "Debug tells the secret");
            let encoded = BASE64_STANDARD.encode([user, b":", password].concat());
            let again = basic::parse(format!("Basic {encoded}").as_bytes());
            let again = again.expect("what was written is read");
            assert_eq!((again.user(), again.password()), (user, password));
        }
        Err(error) => assert!(!error.as_str().is_empty()),
    }
}

/// Reads the value of `Proxy-Authorization`, and judges it.
pub fn digest(data: &[u8]) {
    let shown = match digest::parse(data) {
        Ok(shown) => shown,
        Err(error) => {
            assert!(!error.as_str().is_empty());
            return;
        }
    };
    assert!(digest::is_digest(data));
    assert!(data.len() <= digest::MAX_VALUE + 100, "too long to be read");
    assert!(!shown.user().chars().any(char::is_control));
    assert_eq!(format!("{shown:?}"), "Credentials(…)");
    let span = Span::from(0..0);
    let password = Some(config::Password::Plain("secret".to_owned()));
    let user = config::User { password, ..config::User::new("alice", span) };
    let set = UserSet { users: vec![user], ..UserSet::new("fuzz", span) };
    let users = Users::build(&set, Vec::new(), &mut RuleSources::default()).expect("one user");
    let realm = DigestRealm::build("proxy", &set, &users);
    let nonces = Nonces::new(Secret::new([1; 32]));
    let request = Shown { method: b"CONNECT", target: b"a.example:443" };
    let now = Timestamp::UNIX_EPOCH;
    for user in [None, users.find("alice")] {
        let judged = realm.check(&shown, user, &request, &nonces, now);
        // Nobody was given a nonce.
        assert!(!matches!(judged, DigestCheck::Granted(_)), "{judged:?}");
    }
    assert!(nonces.is_empty(), "memory for nothing");
}

/// Reads an htpasswd file.
pub fn htpasswd(data: &[u8]) {
    thread_local! {
        /// A file of this thread, which is written anew each time.
        static FILE: RefCell<Option<PathBuf>> = const { RefCell::new(None) };
    }
    FILE.with_borrow_mut(|file| {
        let path = file.get_or_insert_with(|| {
            let id = (std::process::id(), std::thread::current().id());
            std::env::temp_dir().join(format!("bifrons-fuzz-htpasswd-{id:?}"))
        });
        std::fs::write(&path, data).expect("write");
        let span = Span::from(0..0);
        let files = vec![Spanned { value: path.clone(), span }];
        let set = UserSet { files, ..UserSet::new("fuzz", span) };
        match Users::build(&set, Vec::new(), &mut RuleSources::default()) {
            Ok(_) => {}
            Err(errors) => {
                assert!(!errors.is_empty(), "refused without a reason");
                for error in errors {
                    assert!(!error.message.is_empty());
                    tells_no_secret(data, &error.message);
                }
            }
        }
        let _ = std::fs::remove_file(&path);
    });
}

/// No error quotes what stands behind a colon: a hash is a secret too, although a weaker one.
fn tells_no_secret(file: &[u8], message: &str) {
    let text = String::from_utf8_lossy(file);
    let pairs: Vec<(&str, &str)> = text.lines().filter_map(|line| line.split_once(':')).collect();
    for (_, secret) in &pairs {
        // Words of our own hold no `$`.
        let telling = secret.len() >= 12 && secret.contains('$');
        if telling && !pairs.iter().any(|(name, _)| name.contains(secret.trim())) {
            assert!(!message.contains(secret.trim()), "{message}");
        }
    }
}
