//! What clients say about who they are, and the files that say who they may be.

use std::cell::RefCell;
use std::path::PathBuf;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use config::{Span, Spanned, UserSet};
use policy::{Users, basic};

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
        let set = UserSet {
            name: "fuzz".to_owned(),
            users: Vec::new(),
            files: vec![Spanned { value: path.clone(), span }],
            span,
        };
        match Users::build(&set) {
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
