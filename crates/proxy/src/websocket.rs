//! The handshake of WebSocket, where the two sides of an exchange make it differently: in HTTP/1
//! (RFC 6455 §4) a key proves that the other end means it, in HTTP/2 (RFC 8441) there is none.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use message::{Block, FieldId};
use sha1::{Digest, Sha1};

/// RFC 6455 §1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The field that has the key.
pub(crate) const KEY: &[u8] = b"sec-websocket-key";

/// A WebSocket handshake on its way.
#[derive(Debug)]
pub(crate) struct Handshake {
    key: Vec<u8>,
}

impl Handshake {
    /// That of a request with a key.
    pub(crate) fn of(fields: &Block) -> Option<Self> {
        // Few requests are: the usual one is told by what cannot be missing.
        let upgrade = fields.get(FieldId::Upgrade)?;
        if !upgrade.eq_ignore_ascii_case(b"websocket") {
            return None;
        }
        fields.values_named(KEY).next().map(|key| Self { key: key.to_vec() })
    }

    /// Gives a request that has none a key.
    pub(crate) fn complete(fields: &mut Block) {
        if fields.values_named(KEY).next().is_some() {
            return;
        }
        let mut nonce = [0; 16];
        // A key that can be guessed proves less to us, and nothing else depends on it.
        let _ = getrandom::fill(&mut nonce);
        fields.push(b"Sec-WebSocket-Key", &[STANDARD.encode(nonce).as_bytes()]);
    }

    /// What the other end says to show that it understood (RFC 6455 §4.2.2).
    pub(crate) fn accept(&self) -> String {
        let mut hash = Sha1::new();
        hash.update(&self.key);
        hash.update(GUID);
        STANDARD.encode(hash.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_standard() {
        let handshake = Handshake { key: b"dGhlIHNhbXBsZSBub25jZQ==".to_vec() };
        assert_eq!(handshake.accept(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn a_key_is_made_once() {
        let mut fields = Block::default();
        fields.push(b"Upgrade", &[b"WebSocket"]);
        assert!(Handshake::of(&fields).is_none());
        Handshake::complete(&mut fields);
        let first = Handshake::of(&fields).unwrap().key;
        Handshake::complete(&mut fields);
        assert_eq!(Handshake::of(&fields).unwrap().key, first);
        assert_eq!(STANDARD.decode(first).unwrap().len(), 16);
    }
}
