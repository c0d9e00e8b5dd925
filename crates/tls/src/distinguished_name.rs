//! Distinguished names as text (RFC 4514), from the DER of a certificate's subject.
//!
//! The bytes come from a peer, and the text goes into logs and fields: whatever does not
//! parse is shown as hexadecimal, and control characters never come out as themselves.

use std::fmt::Write as _;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const PRINTABLE_STRING: u8 = 0x13;
const IA5_STRING: u8 = 0x16;

/// Formats the contents of a `Name` (the sequence's contents, or the sequence itself).
///
/// The order is that of RFC 4514 §2.1: the last relative name comes first.
pub(crate) fn format(der: &[u8]) -> String {
    let contents = match element(der) {
        Some((SEQUENCE, contents, [])) => contents,
        _ => der,
    };
    let mut names = Vec::new();
    let mut rest = contents;
    while !rest.is_empty() {
        let Some((SET, set, after)) = element(rest) else {
            return hexadecimal(der);
        };
        let Some(name) = relative_name(set) else { return hexadecimal(der) };
        names.push(name);
        rest = after;
    }
    names.reverse();
    names.join(",")
}

/// One `RelativeDistinguishedName`: a set of attributes, joined by `+`.
fn relative_name(mut set: &[u8]) -> Option<String> {
    let mut text = String::new();
    while !set.is_empty() {
        let (SEQUENCE, attribute, after) = element(set)? else { return None };
        let (OBJECT_IDENTIFIER, kind, value) = element(attribute)? else { return None };
        let (tag, contents, []) = element(value)? else { return None };
        if !text.is_empty() {
            text.push('+');
        }
        text.push_str(&attribute_type(kind));
        text.push('=');
        match (tag, std::str::from_utf8(contents)) {
            (UTF8_STRING | PRINTABLE_STRING | IA5_STRING, Ok(value)) => escape(value, &mut text),
            _ => text.push_str(&hexadecimal(value)),
        }
        set = after;
    }
    Some(text)
}

/// The short names of RFC 4514 §3 and the e-mail address of PKCS#9; others in dotted form.
fn attribute_type(oid: &[u8]) -> String {
    let short = match oid {
        [0x55, 0x04, 0x03] => "CN",
        [0x55, 0x04, 0x07] => "L",
        [0x55, 0x04, 0x08] => "ST",
        [0x55, 0x04, 0x0a] => "O",
        [0x55, 0x04, 0x0b] => "OU",
        [0x55, 0x04, 0x06] => "C",
        [0x55, 0x04, 0x09] => "STREET",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x19] => "DC",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x01] => "UID",
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x01] => "emailAddress",
        _ => return dotted(oid),
    };
    short.to_owned()
}

/// An object identifier in dotted form (X.690 §8.19).
fn dotted(oid: &[u8]) -> String {
    let mut text = String::new();
    let mut arc: u64 = 0;
    for &byte in oid {
        arc = arc.saturating_mul(128).saturating_add(u64::from(byte & 0x7f));
        if byte & 0x80 != 0 {
            continue;
        }
        // Writing to a String cannot fail.
        let _ = if text.is_empty() {
            let first = (arc / 40).min(2);
            write!(text, "{first}.{}", arc - first * 40)
        } else {
            write!(text, ".{arc}")
        };
        arc = 0;
    }
    text
}

/// RFC 4514 §2.4, and every control character as `\XX`.
fn escape(value: &str, text: &mut String) {
    let last = value.chars().count().saturating_sub(1);
    for (at, c) in value.chars().enumerate() {
        match c {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => text.extend(['\\', c]),
            ' ' if at == 0 || at == last => text.push_str("\\ "),
            '#' if at == 0 => text.push_str("\\#"),
            c if c.is_control() => {
                let mut utf8 = [0; 4];
                for byte in c.encode_utf8(&mut utf8).bytes() {
                    let _ = write!(text, "\\{byte:02x}");
                }
            }
            c => text.push(c),
        }
    }
}

/// `#` and the bytes (RFC 4514 §2.4).
fn hexadecimal(der: &[u8]) -> String {
    let mut text = String::from("#");
    for byte in der {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The first DER element: tag, contents, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81 => (usize::from(*rest.first()?), rest.get(1..)?),
        0x82 => (usize::from(u16::from_be_bytes(*rest.first_chunk::<2>()?)), rest.get(2..)?),
        _ => return None,
    };
    Some((tag, rest.get(..length)?, rest.get(length..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(attributes: &[(&[u8], &str)]) -> Vec<u8> {
        let mut contents = Vec::new();
        for (oid, value) in attributes {
            let mut inner = vec![OBJECT_IDENTIFIER, oid.len() as u8];
            inner.extend_from_slice(oid);
            inner.extend_from_slice(&[UTF8_STRING, value.len() as u8]);
            inner.extend_from_slice(value.as_bytes());
            contents.extend_from_slice(&[SET, inner.len() as u8 + 2, SEQUENCE, inner.len() as u8]);
            contents.extend_from_slice(&inner);
        }
        contents
    }

    #[test]
    fn last_name_comes_first_and_specials_are_escaped() {
        let der = name(&[(&[0x55, 4, 10], "Doe, Inc."), (&[0x55, 4, 3], " a\r\nb")]);
        assert_eq!(format(&der), "CN=\\ a\\0d\\0ab,O=Doe\\, Inc.");
    }

    #[test]
    fn unknown_types_are_dotted() {
        let der = name(&[(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 2], "x")]);
        assert_eq!(format(&der), "1.2.840.113549.1.9.2=x");
        assert_eq!(format(&name(&[(&[0x55, 4, 99], "x")])), "2.5.4.99=x");
    }

    #[test]
    fn what_does_not_parse_is_hexadecimal() {
        assert_eq!(format(&[0x31, 0x80]), "#3180");
        assert_eq!(format(&[]), "");
        let mut cut = name(&[(&[0x55, 4, 3], "abc")]);
        cut.pop();
        assert!(format(&cut).starts_with("#31"));
    }
}
