//! Digest credentials (RFC 7616), as `Proxy-Authorization` carries them.
//!
//! The password never travels, so it has to be known here as it is: Digest is for users whose
//! password the configuration has in the clear. What is offered is SHA-256, then MD5 for those who
//! know nothing else, both with `qop=auth`.
//!
//! * [`parse`] reads what a client shows, strictly.
//! * [`DigestRealm`] has the users, makes challenges and judges what is shown.
//! * [`Nonces`] belongs to the process: it makes nonces that need no memory, and remembers which
//!   counts were used with those that were shown by somebody who knows a password.

use std::collections::HashMap;
use std::fmt;

use config::{Password, UserSet};
use jiff::Timestamp;
use md5::Md5;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::users::{UserId, Users};

mod nonces;
mod parse;

pub use nonces::Nonces;
pub use parse::{Algorithm, Credentials, DigestError, MAX_VALUE, is_digest, parse};

/// Users whose password is known as it is, under the name of a listener's realm.
pub struct DigestRealm {
    realm: Box<str>,
    /// H(A1) (RFC 7616 §3.4.2) is made of them for each request: names may come with wishes, and
    /// it then takes as long for everybody.
    passwords: HashMap<UserId, Zeroizing<Vec<u8>>, ahash::RandomState>,
}

/// What credentials are shown for.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// The method of the request.
    pub method: &'a [u8],
    /// Its target, as it was sent.
    pub target: &'a [u8],
}

/// What becomes of credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DigestCheck {
    /// They are those of this user.
    Granted(UserId),
    /// They are right, but the nonce is too old, or was used with this count before: the client is
    /// to be asked again, with `stale`.
    Stale(UserId),
    /// They are wrong.
    Refused,
}

impl DigestRealm {
    /// The users of a set whose password is written as it is. `users` is made of the same set.
    #[must_use]
    pub fn build(realm: &str, set: &UserSet, users: &Users) -> Self {
        let mut passwords = HashMap::default();
        for user in &set.users {
            if let (Some(Password::Plain(password)), Some(id)) =
                (&user.password, users.find(&user.name))
            {
                passwords.insert(id, Zeroizing::new(password.as_bytes().to_vec()));
            }
        }
        let realm: String = realm.chars().filter(|char| !char.is_control()).collect();
        Self { realm: realm.into(), passwords }
    }

    /// Whether there is no user whom it could know.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.passwords.is_empty()
    }

    /// The challenges, in the order of our preference (RFC 7616 §3.7), for a field each.
    #[must_use]
    pub fn challenges(&self, nonces: &Nonces, now: Timestamp, stale: bool) -> [String; 2] {
        let nonce = nonces.make(now);
        [Algorithm::Sha256, Algorithm::Md5].map(|algorithm| {
            let mut text = String::from("Digest realm=\"");
            // A quoted string (RFC 9110 §5.6.4).
            for char in self.realm.chars() {
                if matches!(char, '"' | '\\') {
                    text.push('\\');
                }
                text.push(char);
            }
            text.push_str("\", qop=\"auth\", algorithm=");
            text.push_str(algorithm.as_str());
            text.push_str(", nonce=\"");
            text.push_str(&nonce);
            text.push_str("\", charset=UTF-8");
            if stale {
                text.push_str(", stale=true");
            }
            text
        })
    }

    /// Whether what is shown is right, and for the first time. `user` is whose name it shows, with
    /// or without wishes in it; who is `None` is refused in the same time.
    ///
    /// A response is good for one request: its count must not have been used with its nonce.
    /// Counts may come out of order, within the last 64, since clients send several requests at
    /// once over connections of their own.
    #[must_use]
    pub fn check(
        &self,
        credentials: &Credentials,
        user: Option<UserId>,
        shown: &Shown<'_>,
        nonces: &Nonces,
        now: Timestamp,
    ) -> DigestCheck {
        let known = user.and_then(|id| Some((id, self.passwords.get(&id)?)));
        let password = known.map_or(&[][..], |(_, password)| password);
        let expected = self.response(password, credentials, shown.method);
        let right: bool = expected.as_bytes().ct_eq(credentials.response().as_bytes()).into();
        let fits = credentials.realm() == &*self.realm
            && is_same_target(credentials.uri().as_bytes(), shown.target);
        match known {
            Some((id, _)) if right & fits => {
                match nonces.take(credentials.nonce(), credentials.count(), now) {
                    true => DigestCheck::Granted(id),
                    false => DigestCheck::Stale(id),
                }
            }
            _ => DigestCheck::Refused,
        }
    }

    /// What the response has to be (RFC 7616 §3.4.1).
    fn response(&self, password: &[u8], shown: &Credentials, method: &[u8]) -> String {
        let algorithm = shown.algorithm();
        // The client has made it from the name that it shows, wishes included.
        let a1: [&[u8]; 5] = [shown.user().as_bytes(), b":", self.realm.as_bytes(), b":", password];
        let a1 = Zeroizing::new(algorithm.hash(&a1));
        let a2 = algorithm.hash(&[method, b":", shown.uri().as_bytes()]);
        let parts: [&[u8]; 9] = [
            a1.as_bytes(),
            b":",
            shown.nonce().as_bytes(),
            b":",
            shown.count_text().as_bytes(),
            b":",
            shown.client_nonce().as_bytes(),
            b":auth:",
            a2.as_bytes(),
        ];
        algorithm.hash(&parts)
    }
}

impl fmt::Debug for DigestRealm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let users = self.passwords.len();
        f.debug_struct("DigestRealm").field("users", &users).finish_non_exhaustive()
    }
}

impl Algorithm {
    /// In hexadecimal digits, lower case.
    fn hash(self, parts: &[&[u8]]) -> String {
        fn hex<D: sha2::Digest>(parts: &[&[u8]]) -> String {
            const DIGITS: &[u8; 16] = b"0123456789abcdef";
            let mut digest = D::new();
            parts.iter().for_each(|part| digest.update(part));
            let digest = digest.finalize();
            let digits = digest.iter().flat_map(|byte| [byte >> 4, byte & 15]);
            digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
        }
        match self {
            Self::Sha256 => hex::<Sha256>(parts),
            Self::Md5 => hex::<Md5>(parts),
        }
    }
}

/// Whether the `uri` of credentials is the target of the request (RFC 7616 §3.4.6). Of an absolute
/// target many a client shows the path and the query only.
fn is_same_target(uri: &[u8], target: &[u8]) -> bool {
    if uri == target {
        return true;
    }
    let scheme = target.windows(3).position(|bytes| bytes == b"://");
    let Some(authority) = scheme.and_then(|at| target.get(at + 3..)) else { return false };
    let path = authority.iter().position(|byte| matches!(byte, b'/' | b'?'));
    let path = path.and_then(|at| authority.get(at..)).unwrap_or_default();
    match path.first() {
        Some(b'/') => uri == path,
        // The path is empty, which is `/` (RFC 9110 §4.2.3).
        _ => uri.split_first().is_some_and(|(first, rest)| *first == b'/' && rest == path),
    }
}

#[cfg(test)]
mod tests;
