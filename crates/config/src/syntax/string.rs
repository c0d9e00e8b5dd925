//! Strings in quotes: on one line or on several, with escapes or raw.

use super::cursor::{Cursor, is_newline, is_space};
use crate::{ConfigError, Span};

const UNCLOSED: &str = "a string is never closed";
const MULTI_LINE: &str = "a string over several lines begins and ends with `\"\"\"`, each at the end or the start of its line";

impl Cursor<'_> {
    /// `"…"` or `"""…"""`; the cursor stands on the first quote.
    pub(super) fn quoted_string(&mut self) -> Option<String> {
        let start = self.at();
        if self.rest().starts_with("\"\"\"") {
            return self.multi_line(start, 0);
        }
        let mut out = String::new();
        let mut good = true;
        self.bump();
        loop {
            match self.peek() {
                Some('"') => {
                    self.bump();
                    return good.then_some(out);
                }
                Some('\\') => match self.escape() {
                    Some(char) => out.extend(char),
                    None => good = false,
                },
                Some(char) if !is_newline(char) => {
                    out.push(char);
                    self.bump();
                }
                _ => return self.unclosed(start, "add the closing `\"`", MULTI_LINE),
            }
        }
    }

    /// `#"…"#` with any number of `#`; the cursor stands on the first.
    pub(super) fn raw_string(&mut self) -> Option<String> {
        let start = self.at();
        let hashes = self.rest().len() - self.rest().trim_start_matches('#').len();
        self.go_to(start + hashes);
        if self.rest().starts_with("\"\"\"") {
            return self.multi_line(start, hashes);
        }
        self.bump();
        let close = format!("\"{}", "#".repeat(hashes));
        let line = self.rest().find(is_newline).unwrap_or(self.rest().len());
        match self.rest()[..line].find(&close) {
            Some(end) => {
                let body = self.rest()[..end].to_owned();
                self.go_to(self.at() + end + close.len());
                Some(body)
            }
            None => {
                self.go_to(self.at() + line);
                self.unclosed(start, &format!("add the closing `{close}`"), MULTI_LINE)
            }
        }
    }

    fn unclosed(&mut self, start: usize, remedy: &str, more: &str) -> Option<String> {
        let span = self.span_since(start);
        self.error(
            ConfigError::at(span, UNCLOSED, "opened here").help(format!("{remedy}; {more}")),
        );
        None
    }

    /// What an escape stands for; space escapes (`\` and white space) stand for nothing.
    fn escape(&mut self) -> Option<Option<char>> {
        let start = self.at();
        let (length, char) = match unescape(self.rest()) {
            Ok(found) => found,
            Err(length) => {
                self.go_to(start + length);
                let span = self.span_since(start);
                self.bad_escape(span);
                return None;
            }
        };
        self.go_to(start + length);
        Some(char)
    }

    fn bad_escape(&mut self, span: Span) {
        self.error(
            ConfigError::at(span, "an escape that KDL does not have", "not an escape").help(
                "there are \\n \\r \\t \\s \\b \\f \\\\ \\\" and \\u{1F600}; \
                 a raw string, #\"…\"#, needs none",
            ),
        );
    }

    /// `"""`, a newline, lines, and `"""` on a line of its own, whose indentation is taken
    /// off each line.
    fn multi_line(&mut self, start: usize, hashes: usize) -> Option<String> {
        let close = format!("\"\"\"{}", "#".repeat(hashes));
        let body_start = self.at() + 3;
        let raw = hashes > 0;
        let rest = &self.text[body_start..];
        let Some(end) = find_close(rest, &close, raw) else {
            self.go_to(body_start);
            let error = self.unclosed(start, &format!("add the closing `{close}`"), MULTI_LINE);
            self.stop();
            return error;
        };
        self.go_to(body_start + end + close.len());
        let span = self.span_since(start);
        let normal = rest[..end].replace("\r\n", "\n").replace(is_newline, "\n");
        let body = if raw { normal } else { without_space_escapes(&normal) };
        let error =
            |message: &str, label: &str| ConfigError::at(span, message, label).help(MULTI_LINE);
        let Some(lines) = body.strip_prefix('\n') else {
            self.error(error("text behind an opening `\"\"\"`", "a new line must follow it"));
            return None;
        };
        let (lines, indent) = lines.rsplit_once('\n').unwrap_or(("", lines));
        let one_line = body.matches('\n').count() == 1;
        if !indent.chars().all(is_space) {
            self.error(error("text before a closing `\"\"\"`", "must stand on a line of its own"));
            return None;
        }
        if one_line {
            return Some(String::new());
        }
        let mut out = Vec::new();
        for line in lines.split('\n') {
            if line.chars().all(is_space) {
                out.push("");
            } else if let Some(line) = line.strip_prefix(indent) {
                out.push(line);
            } else {
                self.error(
                    ConfigError::at(span, "a line with less indentation than its string", "here")
                        .help("indent every line at least as far as the closing `\"\"\"`"),
                );
                return None;
            }
        }
        let text = out.join("\n");
        if raw { Some(text) } else { self.unescape_all(&text, span) }
    }

    fn unescape_all(&mut self, text: &str, span: Span) -> Option<String> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('\\') {
            out.push_str(&rest[..at]);
            let Ok((length, char)) = unescape(&rest[at..]) else {
                self.bad_escape(span);
                return None;
            };
            out.extend(char);
            rest = &rest[at + length..];
        }
        out.push_str(rest);
        Some(out)
    }
}

/// Where the closing quotes begin; behind a `\` they do not count.
fn find_close(rest: &str, close: &str, raw: bool) -> Option<usize> {
    if raw {
        return rest.find(close);
    }
    let mut at = 0;
    loop {
        at += rest[at..].find(['\\', '"'])?;
        if rest[at..].starts_with(close) {
            return Some(at);
        }
        let escaped = rest[at..].starts_with('\\');
        at += 1;
        if escaped {
            at += rest[at..].chars().next()?.len_utf8();
        }
    }
}

/// Takes off each `\` that white space follows, together with it.
fn without_space_escapes(text: &str) -> String {
    let blank = |char| is_space(char) || is_newline(char);
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let behind = &rest[at + 1..];
        let trimmed = behind.trim_start_matches(blank);
        if trimmed.len() < behind.len() {
            out.push_str(&rest[..at]);
            rest = trimmed;
        } else {
            let next = behind.chars().next().map_or(0, char::len_utf8);
            out.push_str(&rest[..at + 1 + next]);
            rest = &behind[next..];
        }
    }
    out.push_str(rest);
    out
}

/// The length of an escape and what it stands for, or the length of what is none.
fn unescape(text: &str) -> Result<(usize, Option<char>), usize> {
    let behind = &text[1..];
    let Some(next) = behind.chars().next() else { return Err(1) };
    let char = match next {
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        's' => ' ',
        'b' => '\u{8}',
        'f' => '\u{c}',
        '\\' | '"' => next,
        'u' => return unicode(text),
        _ if is_space(next) || is_newline(next) => {
            let blank = |char| is_space(char) || is_newline(char);
            let trimmed = behind.trim_start_matches(blank);
            return Ok((text.len() - trimmed.len(), None));
        }
        _ => return Err(1 + if next == '\n' { 0 } else { next.len_utf8() }),
    };
    Ok((2, Some(char)))
}

/// `\u{1F600}`.
fn unicode(text: &str) -> Result<(usize, Option<char>), usize> {
    let Some(digits) = text.strip_prefix("\\u{") else { return Err(2) };
    let length = digits.find(|char: char| !char.is_ascii_hexdigit()).unwrap_or(digits.len());
    let whole = 3 + length;
    if !(1..=6).contains(&length) || !digits[length..].starts_with('}') {
        return Err(whole);
    }
    let value = u32::from_str_radix(&digits[..length], 16).ok().and_then(char::from_u32);
    value.map(|char| (whole + 1, Some(char))).ok_or(whole + 1)
}
