//! Text in the forms of others: URLs, and the string literals of languages and of files.

/// A name, a password or a value as a part of a URL (RFC 3986 §2.1): everything is encoded but
/// what is never special.
pub(crate) fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// How a language writes a character beyond ASCII.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Escapes {
    /// `\uXXXX`, of code units of UTF-16: JavaScript, Java.
    Utf16,
    /// `\UXXXXXXXX`: Go.
    Scalar,
}

/// A string literal in double quotes, of ASCII alone: what a file is encoded in does not matter.
pub(crate) fn literal(text: &str, escapes: Escapes) -> String {
    let mut out = String::from("\"");
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            ' '..='~' => out.push(char),
            _ if escapes == Escapes::Scalar => out.push_str(&format!("\\U{:08x}", u32::from(char))),
            _ => {
                let mut units = [0; 2];
                for unit in char.encode_utf16(&mut units) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    out.push('"');
    out
}

/// A value of curl's own configuration files, which know `\\` and `\"`.
pub(crate) fn curl_value(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NASTY: &str = ":@%/+\"'$ \\#é😀";

    #[test]
    fn in_a_url() {
        let shown = encoded(NASTY);
        assert_eq!(shown, "%3A%40%25%2F%2B%22%27%24%20%5C%23%C3%A9%F0%9F%98%80");
        assert_eq!(encoded("a-b_c.d~9"), "a-b_c.d~9");
    }

    #[test]
    fn in_literals() {
        let utf16 = literal(NASTY, Escapes::Utf16);
        assert_eq!(utf16, r#"":@%/+\"'$ \\#\u00e9\ud83d\ude00""#);
        // JSON writes strings so too.
        assert_eq!(serde_json::from_str::<String>(&utf16).expect("JSON"), NASTY);
        let scalar = literal(NASTY, Escapes::Scalar);
        assert_eq!(scalar, r#"":@%/+\"'$ \\#\U000000e9\U0001f600""#);
        assert_eq!(literal("\n", Escapes::Utf16), r#""\u000a""#);
    }

    #[test]
    fn for_curl() {
        assert_eq!(curl_value(NASTY), "\":@%/+\\\"'$ \\\\#é😀\"");
    }
}
