//! Looking for the end of a run of allowed bytes, eight bytes at a time.

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// The position of the first byte that may not stand in a field value: a control character
/// other than the tab (RFC 9110 §5.5).
pub(crate) fn value_end(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(eight) = bytes.get(at..at + 8) {
        let word = u64::from_le_bytes(eight.try_into().unwrap_or_default());
        // Bit 7 of each byte below 0x20, and of each byte that is 0x7f. A borrow can only set
        // bits above a true one, so the lowest is right.
        let low = word.wrapping_sub(ONES * 0x20) & !word;
        let delete = (word ^ (ONES * 0x7f)).wrapping_sub(ONES) & !(word ^ (ONES * 0x7f));
        let found = (low | delete) & HIGHS;
        if found == 0 {
            at += 8;
            continue;
        }
        at += found.trailing_zeros() as usize / 8;
        if bytes[at] != b'\t' {
            return at;
        }
        at += 1;
    }
    while let Some(&byte) = bytes.get(at) {
        if (byte < b' ' && byte != b'\t') || byte == 0x7f {
            break;
        }
        at += 1;
    }
    at
}

/// The position of the first byte that may not stand in a token (RFC 9110 §5.6.2).
pub(crate) fn token_end(bytes: &[u8], from: usize) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    rest.iter().position(|&byte| !TOKEN[byte as usize]).map_or(bytes.len(), |length| from + length)
}

pub(crate) static TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = matches!(byte as u8,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_'
            | b'`' | b'|' | b'~' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z');
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_at_every_place() {
        for place in 0..20 {
            for byte in 0..=255u8 {
                let mut text = [b'x'; 24];
                text[place] = byte;
                let stops = (byte < 0x20 && byte != b'\t') || byte == 0x7f;
                let expected = if stops { place } else { 24 };
                assert_eq!(value_end(&text, 0), expected, "{byte:#x} at {place}");
            }
        }
    }

    #[test]
    fn tabs_and_high_bytes_beside_a_stop() {
        assert_eq!(value_end(b"\t\t\t\t\t\t\t\t\t\r", 0), 9);
        assert_eq!(value_end(b"\x80\xff\x80\xff\t\xa0\xfe\xff\x7f", 0), 8);
        assert_eq!(value_end(b"abc", 1), 3);
    }
}
