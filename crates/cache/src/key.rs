//! What makes two requests the same.

use std::hash::Hasher;

use siphasher::sip128::SipHasher13;

/// What an answer is found by, apart from `Vary`. Its text is told apart, the hash only finds it.
///
/// The text is that of the canonical effective request: the face, the scheme, the host with its
/// port, and what the configuration of the route adds. Whoever makes it makes sure that
/// nothing of it can be read in two ways.
#[derive(Debug, Clone)]
pub struct Key {
    text: Vec<u8>,
    hash: u128,
}

impl Key {
    /// The key of this text. Its hash is the same in every process: the disk is found by it.
    #[must_use]
    pub fn new(text: &[u8]) -> Self {
        Self::from(text.to_vec())
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

    /// What it says of a request, for people: the URL and what the configuration adds. Of cookies
    /// and credentials only that they are there.
    #[must_use]
    pub fn for_people(&self) -> String {
        let text = String::from_utf8_lossy(&self.text);
        let of_request = text.split_once(' ').map_or("", |(_, rest)| rest);
        let mut parts = of_request.split('\n');
        let mut shown = parts.next().unwrap_or_default().trim_end().replacen(" ?", "?", 1);
        for part in parts {
            // What has no value is not there.
            let Some((name, value)) = part.trim_end().split_once('=') else { continue };
            let field = name.strip_prefix("header:").unwrap_or(name);
            let value = if is_secret(field) { "…" } else { value };
            shown += &format!(" {name}={value}");
        }
        shown
    }

    /// Its first word: the face, and the site that it is an answer of.
    #[must_use]
    pub fn face(&self) -> &[u8] {
        self.text.split(|byte| *byte == b' ').next().unwrap_or_default()
    }

    /// Whether the URL in its text may be less than all of it: what else is in the key stands
    /// behind it.
    pub(crate) fn is_cut(&self) -> bool {
        self.text.iter().filter(|byte| **byte == b' ').count() > 1
    }

    /// What it is found by.
    #[must_use]
    pub fn hash(&self) -> u128 {
        self.hash
    }
}

impl From<Vec<u8>> for Key {
    fn from(text: Vec<u8>) -> Self {
        Self { hash: hash(&text), text }
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

/// Whether the values of a part of keys, or of a field, are between a client and its server.
#[must_use]
pub fn is_secret(name: &str) -> bool {
    name.starts_with("cookie") || matches!(name, "authorization" | "proxy-authorization")
}

/// A hash that is the same in every process.
#[must_use]
pub fn hash(text: &[u8]) -> u128 {
    SipHasher13::new().hash(text).as_u128()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever is on a disk is found by it.
    #[test]
    fn a_hash_is_for_ever() {
        assert_eq!(hash(b""), 0xb91c_5ed0_31fb_3303_2134_935d_61d9_b40d);
        assert_eq!(
            hash(b"r http://a.example/path?query"),
            0x4c69_980d_68bc_aee5_07a7_35a0_3c6c_e3bf
        );
    }

    #[test]
    fn secrets_are_not_shown() {
        for (text, shown) in [
            ("r http://a/x?v=1", "http://a/x?v=1"),
            ("rhttp://*:80 http://a/x ?v=1 \nheader:x-a=b c ", "http://a/x?v=1 header:x-a=b c"),
            (
                "f http://a/ \nquery:v=2\nquery:v= \ncookie:sid=abc ",
                "http://a/ query:v=2 query:v= cookie:sid=…",
            ),
            ("r http://a \nheader:authorization=Basic YWJj ", "http://a header:authorization=…"),
            ("r http://a \ncookie:sid \nheader:x-a=1 ", "http://a header:x-a=1"),
        ] {
            assert_eq!(Key::new(text.as_bytes()).for_people(), shown);
        }
    }
}
