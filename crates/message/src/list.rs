//! Comma-separated lists in field values (RFC 9110 §5.6.1).

/// The elements of a list, without white space around them; empty ones are left out. Commas
/// inside quoted strings do not separate.
pub fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        loop {
            let text = rest?;
            let end = element_end(text);
            rest = text.get(end + 1..);
            let element = text[..end].trim_ascii();
            if !element.is_empty() {
                return Some(element);
            }
        }
    })
}

/// Whether a list of tokens holds this one, in any case.
#[must_use]
pub fn contains(value: &[u8], token: &[u8]) -> bool {
    elements(value).any(|element| element.eq_ignore_ascii_case(token))
}

fn element_end(text: &[u8]) -> usize {
    let (mut quoted, mut escaped) = (false, false);
    for (at, &byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => return at,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_trimmed_and_empty_ones_dropped() {
        let list: Vec<_> = elements(b" a ,,\tb, \"c, \\\" d\" ,").collect();
        assert_eq!(list, [&b"a"[..], b"b", b"\"c, \\\" d\""]);
        assert_eq!(elements(b"").count(), 0);
        assert!(contains(b"close, TE", b"te"));
        assert!(!contains(b"closed", b"close"));
    }
}
