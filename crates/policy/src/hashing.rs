//! Making the hash of a password, for whoever keeps users.

use argon2::{Argon2, PasswordHasher as _};

/// The Argon2id hash of a password as a PHC string, at the cost that OWASP recommends (19 MiB, two
/// passes, one lane). The salt has to be random, and another one for every password.
///
/// Takes milliseconds.
///
/// # Errors
/// The password is too long to be one (4 GiB), or there is no memory.
pub fn hash_password(password: &[u8], salt: &[u8; 16]) -> Result<String, String> {
    let hash = Argon2::default().hash_password_with_salt(password, salt);
    hash.map(|hash| hash.to_string()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::passwords::Stored;

    #[test]
    fn hashes_are_those_that_are_accepted() {
        let hash = hash_password(b"correct-horse", b"0123456789abcdef").expect("it is short");
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        let Ok(Stored::Slow(stored)) = Stored::hash(&hash) else { panic!("not accepted: {hash}") };
        assert!(stored.verify(b"correct-horse"));
        assert!(!stored.verify(b"correct-horsf"));
        let other = hash_password(b"correct-horse", b"0123456789abcdeg").expect("it is short");
        assert_ne!(hash, other);
    }
}
