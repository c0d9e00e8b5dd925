//! Cookies that keep a client at one server.
//!
//! The value is a message authentication code over the identity of the server: nobody without
//! the secret can make one, or learn from it which server it means. All values are worked out
//! when the servers of a group change, so a request costs a comparison.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use config::Sticky;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// Bytes of a value.
const LENGTH: usize = 16;

/// The value for a server of a group. `secret` is that of the process, unless the configuration
/// has one.
pub(crate) fn value(sticky: &Sticky, secret: &[u8; 32], upstream: &str, server: &str) -> String {
    let key = sticky.secret.as_ref().map_or(&secret[..], |secret| secret.as_bytes());
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length is good for HMAC");
    for part in ["bifrons sticky", upstream, server] {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part.as_bytes());
    }
    URL_SAFE_NO_PAD.encode(&mac.finalize().into_bytes()[..LENGTH])
}

/// Whether a cookie has this value. Takes as long whether it has or not.
pub(crate) fn is_value(value: &str, cookie: &[u8]) -> bool {
    !value.is_empty() && value.as_bytes().ct_eq(cookie).into()
}

/// The `Set-Cookie` field for a value.
pub(crate) fn set_cookie(sticky: &Sticky, value: &str, secure: bool) -> String {
    let mut text = format!("{}={value}; Path=/; HttpOnly; SameSite=Lax", sticky.cookie);
    if let Some(ttl) = sticky.ttl {
        // Writing into a string does not fail.
        let _ = write!(text, "; Max-Age={}", ttl.as_secs());
    }
    if secure {
        text.push_str("; Secure");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn sticky(secret: Option<&str>) -> Sticky {
        Sticky { cookie: "b".to_owned(), ttl: None, secret: secret.map(str::to_owned) }
    }

    #[test]
    fn a_value_is_of_one_server_group_and_secret() {
        let of = |secret, process: u8, upstream, server| {
            value(&sticky(secret), &[process; 32], upstream, server)
        };
        let first = of(None, 1, "app", "http://10.0.0.1");
        assert_eq!(first.len(), 22);
        assert!(!first.contains("10.0"));
        assert_eq!(first, of(None, 1, "app", "http://10.0.0.1"));
        for other in [
            of(None, 2, "app", "http://10.0.0.1"),
            of(None, 1, "apphttp", "://10.0.0.1"),
            of(None, 1, "app", "http://10.0.0.2"),
            of(Some("a secret of 16 b"), 1, "app", "http://10.0.0.1"),
        ] {
            assert_ne!(first, other);
        }
        let configured = of(Some("a secret of 16 b"), 1, "app", "x");
        assert_eq!(configured, of(Some("a secret of 16 b"), 2, "app", "x"));
    }

    #[test]
    fn only_the_whole_value_is_good() {
        assert!(is_value("abc", b"abc"));
        for wrong in [&b"abd"[..], b"ab", b"abcd", b""] {
            assert!(!is_value("abc", wrong));
        }
        assert!(!is_value("", b""), "no value is nobody's");
    }

    #[test]
    fn scripts_and_other_sites_do_not_get_it() {
        let plain = set_cookie(&sticky(None), "v", false);
        assert_eq!(plain, "b=v; Path=/; HttpOnly; SameSite=Lax");
        let ttl = Sticky { ttl: Some(Duration::from_secs(60)), ..sticky(None) };
        assert_eq!(
            set_cookie(&ttl, "v", true),
            "b=v; Path=/; HttpOnly; SameSite=Lax; Max-Age=60; Secure"
        );
    }
}
