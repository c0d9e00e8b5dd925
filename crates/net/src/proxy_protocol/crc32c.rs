//! CRC-32C (Castagnoli; RFC 9260 Appendix A): a checksum over a few hundred bytes at most, for
//! which a table of sixteen is fast enough.

/// The polynomial, its bits in reverse.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// For each value of four bits, what they change.
const TABLE: [u32; 16] = {
    let mut table = [0; 16];
    let mut value = 0;
    while value < 16 {
        let mut crc = value as u32;
        let mut bit = 0;
        while bit < 4 {
            crc = if crc & 1 == 1 { crc >> 1 ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        table[value] = crc;
        value += 1;
    }
    table
};

/// The checksum of these pieces, one behind the other.
pub(super) fn of(pieces: &[&[u8]]) -> u32 {
    let mut crc = u32::MAX;
    for byte in pieces.iter().copied().flatten() {
        crc ^= u32::from(*byte);
        crc = crc >> 4 ^ TABLE[(crc & 15) as usize];
        crc = crc >> 4 ^ TABLE[(crc & 15) as usize];
    }
    !crc
}

#[cfg(test)]
mod tests {
    /// The check value of the catalogue, and the examples of RFC 3720 Appendix B.4.
    #[test]
    fn known_answers() {
        assert_eq!(super::of(&[b"123456789"]), 0xe306_9283);
        assert_eq!(super::of(&[b"1234", b"", b"56789"]), 0xe306_9283);
        assert_eq!(super::of(&[&[0; 32]]), 0x8a91_36aa);
        assert_eq!(super::of(&[&[0xff; 32]]), 0x62a8_ab43);
    }
}
