//! What makes two requests the same.

use std::hash::Hasher;
use std::sync::Arc;

use siphasher::sip128::{Hasher128, SipHasher13};

/// What an answer is found by, apart from `Vary`. Its text is told apart, the hash only finds it.
///
/// The text is that of the canonical effective request: the face, the scheme, the host with its
/// port, and what the configuration of the route adds. Whoever makes it makes sure that
/// nothing of it can be read in two ways.
#[derive(Debug, Clone)]
pub struct Key {
    text: Arc<[u8]>,
    hash: u128,
}

impl Key {
    /// The key of this text. Its hash is the same in every process: the disk is found by it.
    #[must_use]
    pub fn new(text: &[u8]) -> Self {
        Self { hash: hash(text), text: text.into() }
    }

    /// Its text.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// The part of its text that is a URL: it stands between the face and what the configuration
    /// adds, with a space on both sides. Purges by prefix and by host look at it.
    #[must_use]
    pub fn url_text(&self) -> &[u8] {
        let mut parts = self.text.split(|byte| *byte == b' ');
        let face = parts.next().unwrap_or_default();
        parts.next().unwrap_or(face)
    }

    /// What it is found by.
    #[must_use]
    pub fn hash(&self) -> u128 {
        self.hash
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.text == other.text
    }
}

impl Eq for Key {}

impl std::hash::Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(self.hash);
    }
}

/// A hash that is the same in every process.
#[must_use]
pub fn hash(text: &[u8]) -> u128 {
    let mut hasher = SipHasher13::new();
    hasher.write(text);
    hasher.finish128().as_u128()
}
