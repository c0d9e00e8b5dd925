//! Purges as they are written down, to be known after a restart.
//!
//! A letter says which kind, a byte whether it is soft; a hash has its lowest byte first.

use super::{Purge, What};

impl Purge {
    /// As it is written.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![0, u8::from(self.soft)];
        out[0] = match &self.what {
            What::Url(hash) => write(&mut out, b'u', &hash.to_le_bytes()),
            What::Key(hash) => write(&mut out, b'k', &hash.to_le_bytes()),
            What::Tag(hash) => write(&mut out, b't', &hash.to_le_bytes()),
            What::TagAt(hash, face) => {
                out.extend_from_slice(&hash.to_le_bytes());
                write(&mut out, b's', face)
            }
            What::Prefix(prefix) => write(&mut out, b'p', prefix),
            What::Host(host) => write(&mut out, b'h', host),
            What::All => b'a',
        };
        out
    }

    /// The purge that was written so; `None`: it was not written by [`Purge::to_bytes`].
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (&[kind, soft], rest) = bytes.split_first_chunk()?;
        let hash = || rest.try_into().ok().map(u128::from_le_bytes);
        let what = match kind {
            b'u' => What::Url(hash()?),
            b'k' => What::Key(hash()?),
            b't' => What::Tag(hash()?),
            b's' => {
                let (hash, face) = rest.split_first_chunk()?;
                What::TagAt(u128::from_le_bytes(*hash), face.into())
            }
            b'p' => What::Prefix(rest.into()),
            b'h' => What::Host(rest.into()),
            b'a' if rest.is_empty() => What::All,
            _ => return None,
        };
        (soft < 2).then_some(Self { what, soft: soft == 1 })
    }
}

fn write(out: &mut Vec<u8>, kind: u8, bytes: &[u8]) -> u8 {
    out.extend_from_slice(bytes);
    kind
}
