//! Strings as KDL 2 writes them.

use super::cursor::{is_disallowed, is_newline};

/// Quotes any string, so that KDL 2 reads the same string back.
///
/// ```
/// assert_eq!(config::quote("a \"b\"\n"), r#""a \"b\"\n""#);
/// ```
#[must_use]
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            char if is_newline(char) || is_disallowed(char) => {
                out.push_str(&format!("\\u{{{:x}}}", u32::from(char)));
            }
            char => out.push(char),
        }
    }
    out.push('"');
    out
}
