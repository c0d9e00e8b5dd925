//! Header blocks in every representation of RFC 7541, also in those that it forbids.

use std::sync::OnceLock;

/// A header block that is being written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Block(Vec<u8>);

impl Block {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A field as it is, not to be remembered (section 6.2.2).
    #[must_use]
    pub fn literal(self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.raw([0]).raw(string(name, false)).raw(string(value, false))
    }

    /// The same with both strings in the Huffman code.
    #[must_use]
    pub fn literal_huffman(self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.raw([0]).raw(string(name, true)).raw(string(value, true))
    }

    /// A field that no hop may remember (section 6.2.3).
    #[must_use]
    pub fn never(self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.raw([0x10]).raw(string(name, false)).raw(string(value, false))
    }

    /// A field that enters the dynamic table (section 6.2.1).
    #[must_use]
    pub fn keep(self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.raw([0x40]).raw(string(name, false)).raw(string(value, false))
    }

    /// The same with the name of entry `index`.
    #[must_use]
    pub fn keep_named(self, index: u64, value: impl AsRef<[u8]>) -> Self {
        self.raw(integer(index, 6, 0x40)).raw(string(value, false))
    }

    /// A field with the name of entry `index`, not to be remembered.
    #[must_use]
    pub fn named(self, index: u64, value: impl AsRef<[u8]>) -> Self {
        self.raw(integer(index, 4, 0)).raw(string(value, false))
    }

    /// The whole entry `index`: 1 to 61 of the static table, from 62 on of the dynamic one, the
    /// latest first (section 6.1).
    #[must_use]
    pub fn indexed(self, index: u64) -> Self {
        self.raw(integer(index, 7, 0x80))
    }

    /// A new size of the dynamic table (section 6.3).
    #[must_use]
    pub fn resize(self, size: u64) -> Self {
        self.raw(integer(size, 5, 0x20))
    }

    /// Any octets.
    #[must_use]
    pub fn raw(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.0.extend_from_slice(bytes.as_ref());
        self
    }

    /// Fields as they are.
    #[must_use]
    pub fn all<N: AsRef<[u8]>, V: AsRef<[u8]>>(self, fields: &[(N, V)]) -> Self {
        fields.iter().fold(self, |block, (name, value)| block.literal(name, value))
    }

    /// The pseudo-fields of a GET for this path, from an authority that nobody checks.
    #[must_use]
    pub fn get(path: &str) -> Self {
        Self::new().all(&[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", path),
            (":authority", "a"),
        ])
    }

    /// Its length in octets.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has no octets.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl AsRef<[u8]> for Block {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// A block of fields as they are.
#[must_use]
pub fn fields<N: AsRef<[u8]>, V: AsRef<[u8]>>(fields: &[(N, V)]) -> Block {
    Block::new().all(fields)
}

/// An integer with a prefix of so many bits below the bits of `first` (section 5.1).
#[must_use]
pub fn integer(value: u64, prefix: u8, first: u8) -> Vec<u8> {
    let most = (1_u64 << prefix) - 1;
    let low = |value: u64| value.to_le_bytes()[0];
    if value < most {
        return vec![first | low(value)];
    }
    let mut bytes = vec![first | low(most)];
    let mut rest = value - most;
    while rest >= 0x80 {
        bytes.push(low(rest) | 0x80);
        rest >>= 7;
    }
    bytes.push(low(rest));
    bytes
}

/// A string literal (section 5.2).
#[must_use]
pub fn string(bytes: impl AsRef<[u8]>, coded: bool) -> Vec<u8> {
    let coded_bytes = coded.then(|| huffman(bytes.as_ref()));
    let bytes = coded_bytes.as_deref().unwrap_or(bytes.as_ref());
    let mut all = integer(bytes.len() as u64, 7, if coded { 0x80 } else { 0 });
    all.extend(bytes);
    all
}

/// The octets in the Huffman code, padded as section 5.2 says.
#[must_use]
pub fn huffman(bytes: &[u8]) -> Vec<u8> {
    let (mut coded, mut pending, mut count) = (Vec::new(), 0_u64, 0_u32);
    let mut put = |code: u64, length: u32| {
        pending = pending << length | code;
        count += length;
        while count >= 8 {
            count -= 8;
            coded.push((pending >> count).to_le_bytes()[0]);
        }
        pending &= (1 << count) - 1;
        count
    };
    let mut left = 0;
    for &byte in bytes {
        let (code, length) = codes()[usize::from(byte)];
        left = put(u64::from(code), length);
    }
    if left > 0 {
        put((1 << (8 - left)) - 1, 8 - left);
    }
    coded
}

/// Code and length of each octet and, as the last one, of the end of a string. The code is a
/// canonical one: it follows from the lengths.
fn codes() -> &'static [(u32, u32); 257] {
    static CODES: OnceLock<[(u32, u32); 257]> = OnceLock::new();
    CODES.get_or_init(|| {
        let mut order: Vec<usize> = (0..LENGTHS.len()).collect();
        order.sort_by_key(|&symbol| (LENGTHS[symbol], symbol));
        let (mut codes, mut next, mut length) = ([(0, 0); 257], 0_u32, 0_u32);
        for symbol in order {
            next <<= u32::from(LENGTHS[symbol]) - length;
            length = u32::from(LENGTHS[symbol]);
            codes[symbol] = (next, length);
            next += 1;
        }
        codes
    })
}

/// How many bits the code of each symbol has (RFC 7541, appendix B).
#[rustfmt::skip]
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_rfc() {
        // RFC 7541, appendix C.1.
        assert_eq!(integer(10, 5, 0), [10]);
        assert_eq!(integer(1337, 5, 0), [31, 154, 10]);
        assert_eq!(integer(42, 8, 0), [42]);
        // Appendix C.4.1.
        let coded = [0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
        assert_eq!(huffman(b"www.example.com"), coded);
        assert!(huffman(b"").is_empty());
    }

    #[test]
    fn every_octet_is_understood_by_another_reader() {
        let value: Vec<u8> = (0..=255).collect();
        let block = Block::new()
            .literal_huffman("x", &value)
            .keep("kept", "one")
            .indexed(62)
            .keep_named(62, "two")
            .named(62, "three")
            .never("never", &value)
            .indexed(2);
        let read = fluke_hpack::Decoder::new().decode(block.as_ref()).unwrap();
        let expected: [(&[u8], &[u8]); 7] = [
            (b"x", &value),
            (b"kept", b"one"),
            (b"kept", b"one"),
            (b"kept", b"two"),
            (b"kept", b"three"),
            (b"never", &value),
            (b":method", b"GET"),
        ];
        let read: Vec<(&[u8], &[u8])> = read.iter().map(|(n, v)| (&n[..], &v[..])).collect();
        assert_eq!(read, expected);
    }
}
