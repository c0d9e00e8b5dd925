//! API keys and passwords.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

/// What every key begins with: so that whoever finds one knows what it is.
const PREFIX: &str = "bfk_";

/// An API key. Shown once, and then known by its digest only.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

impl ApiKey {
    /// A new one: `bfk_` and 32 characters, of 192 random bits.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn generate() -> Result<Self, String> {
        Ok(Self(format!("{PREFIX}{}", random::<24>()?)))
    }

    /// The key itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `sha256:` and the digest in hexadecimal digits. A key has so many random bits that a slow
    /// hash would add nothing.
    #[must_use]
    pub fn digest(&self) -> String {
        Sha256::digest(&self.0).iter().fold("sha256:".to_owned(), |mut text, byte| {
            text.push_str(&format!("{byte:02x}"));
            text
        })
    }

    /// How it begins.
    #[must_use]
    pub fn hint(&self) -> &str {
        &self.0[..PREFIX.len() + 4]
    }
}

impl fmt::Debug for ApiKey {
    /// Never shows the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({}…)", self.hint())
    }
}

/// A password of 24 characters, of 144 random bits. Safe in URLs.
///
/// # Errors
/// The system has no randomness.
pub fn generate_password() -> Result<String, String> {
    random::<18>()
}

/// The Argon2id hash of a password, with a new salt. Takes milliseconds.
///
/// # Errors
/// The system has no randomness, or no memory.
pub fn hash_password(password: &str) -> Result<String, String> {
    policy::hash_password(password.as_bytes(), &bytes::<16>()?)
}

fn random<const N: usize>() -> Result<String, String> {
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes::<N>()?))
}

fn bytes<const N: usize>() -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| format!("no randomness: {error}"))?;
    Ok(bytes)
}
