//! User names and passwords that carry wishes: whatever is understood can be said again, and no
//! error quotes a value.

use config::Dialect;
use egress::dialect::{MAX_BYTES, compose, parse};

const DIALECTS: [Dialect; 5] =
    [Dialect::Native, Dialect::Decodo, Dialect::BrightData, Dialect::Oxylabs, Dialect::IpRoyal];

/// Reads a name, and behind a NUL a password, in every dialect.
pub fn read(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let name = String::from_utf8_lossy(parts.next().unwrap_or_default());
    let password = parts.next().unwrap_or_default();
    let short = |user: &str| (1..=5).contains(&user.len());
    for dialect in DIALECTS {
        for port in [None, Some(10_001)] {
            for users in [None, Some(&short as &dyn Fn(&str) -> bool)] {
                one(dialect, &name, password, users, port);
            }
        }
    }
}

fn one(
    dialect: Dialect,
    name: &str,
    password: &[u8],
    users: Option<&dyn Fn(&str) -> bool>,
    port: Option<u16>,
) {
    let login = parse(dialect, name, password, users, port);
    assert!(name.contains(&login.user), "a user who was not named");
    assert!(password.starts_with(&login.password), "a password that was not shown");
    let wish = match login.wish {
        Ok(wish) => wish,
        Err(error) => {
            let fit = |byte: u8| byte.is_ascii_alphanumeric() || b"_.?".contains(&byte);
            assert!(error.key.len() <= 32 && error.key.bytes().all(fit), "{error}");
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    if let Some(session) = &wish.session {
        assert!((1..=64).contains(&session.id.len()), "{session:?}");
        assert!(session.ttl.is_none_or(|ttl| !ttl.is_zero()), "{session:?}");
    }
    // The session of a port has a name with `_`, which a password cannot carry.
    let sayable = port.is_none() || dialect != Dialect::IpRoyal;
    if sayable && let Ok((again, secret)) = compose(dialect, "al", "pw", &wish) {
        assert!(again.len() <= MAX_BYTES && secret.len() <= MAX_BYTES);
        let users: &dyn Fn(&str) -> bool = &|name| name == "al";
        let login = parse(dialect, &again, secret.as_bytes(), Some(users), None);
        let understood = login.wish.expect("what was written is read");
        assert_eq!(understood.difference(&wish), None, "{again}");
    }
}
