//! Values without quotes: words, numbers, `#true` and its like.

use super::cursor::{Cursor, is_newline, is_space};
use super::{Value, quote};
use crate::ConfigError;

impl Cursor<'_> {
    /// Any value. Takes at least one character; an error leaves the cursor behind the word
    /// that is none.
    pub(super) fn value(&mut self) -> Option<Value> {
        let rest = self.rest();
        if rest.starts_with('"') {
            return self.quoted_string().map(Value::String);
        }
        if rest.starts_with('#') {
            let behind = rest.trim_start_matches('#');
            return if behind.starts_with('"') {
                self.raw_string().map(Value::String)
            } else {
                self.keyword()
            };
        }
        self.bare_word()
    }

    fn keyword(&mut self) -> Option<Value> {
        let start = self.at();
        self.bump();
        let length = self.rest().find(|char| !is_word(char)).unwrap_or(self.rest().len());
        let word = &self.rest()[..length];
        self.go_to(self.at() + length);
        match word {
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            "null" => Some(Value::Null),
            "inf" => Some(Value::Float(f64::INFINITY)),
            "-inf" => Some(Value::Float(f64::NEG_INFINITY)),
            "nan" => Some(Value::Float(f64::NAN)),
            _ => {
                let span = self.span_since(start);
                self.error(
                    ConfigError::at(span, format!("`#{word}` is not a value"), "not known").help(
                        "behind `#` stand `true`, `false` or `null`; comments begin with `//`",
                    ),
                );
                None
            }
        }
    }

    fn bare_word(&mut self) -> Option<Value> {
        let start = self.at();
        let length = self.rest().find(|char| !is_word(char)).unwrap_or(self.rest().len());
        let word = &self.rest()[..length];
        let behind = &self.rest()[length..];
        // `http://…` would be the word `http:` and a comment.
        let cut_off = word.ends_with(':') && behind.starts_with("//");
        let continues = match behind.chars().next() {
            Some('/') => !["/*", "//", "/-"].iter().any(|start| behind.starts_with(start)),
            Some('[' | ']' | '(') => true,
            Some('\\') => !is_escaped_line(behind),
            _ => false,
        };
        if word.is_empty() || cut_off || continues {
            return self.unquoted(start);
        }
        self.go_to(start + length);
        let span = self.span_since(start);
        match classify(word) {
            Ok(value) => Some(value),
            Err(help) => {
                self.error(
                    ConfigError::at(
                        span,
                        format!("`{word}` is neither a number nor a word"),
                        "cannot stand without quotes",
                    )
                    .help(help),
                );
                None
            }
        }
    }

    /// A run of characters of which some may not stand without quotes.
    fn unquoted(&mut self, start: usize) -> Option<Value> {
        let ends =
            |char| is_space(char) || is_newline(char) || matches!(char, ';' | '{' | '}' | '"');
        let length = self.rest().find(ends).unwrap_or(self.rest().len());
        if length == 0 {
            self.bump();
        } else {
            self.go_to(start + length);
        }
        let run = &self.text[start..self.at()];
        let span = self.span_since(start);
        let error = if run.starts_with('=') {
            ConfigError::at(span, "a `=` without a name before it", "nothing to the left")
                .help("write `name=value`")
        } else {
            ConfigError::at(
                span,
                format!("`{run}` cannot stand without quotes"),
                "has characters that mean something in KDL",
            )
            .help(format!("write {}", quote(run)))
        };
        self.error(error);
        None
    }
}

/// `identifier-char` of KDL 2.
fn is_word(char: char) -> bool {
    !is_space(char)
        && !is_newline(char)
        && !matches!(char, '\\' | '/' | '(' | ')' | '{' | '}' | '[' | ']' | ';' | '"' | '#' | '=')
}

fn is_escaped_line(behind: &str) -> bool {
    let line = behind[1..].trim_start_matches(is_space);
    line.is_empty() || line.starts_with(is_newline) || line.starts_with('/')
}

/// What a word is: a number, a string, or (with the remedy) nothing.
fn classify(word: &str) -> Result<Value, String> {
    if let "true" | "false" | "null" | "inf" | "-inf" | "nan" = word {
        return Err(format!("write `#{word}`, or {} for the string", quote(word)));
    }
    let unsigned = word.strip_prefix(['+', '-']).unwrap_or(word);
    let fraction = unsigned.strip_prefix('.').unwrap_or(unsigned);
    if !fraction.starts_with(|char: char| char.is_ascii_digit()) {
        return Ok(Value::String(word.to_owned()));
    }
    if is_range(word) {
        return Ok(Value::String(word.to_owned()));
    }
    number(word, unsigned).ok_or_else(|| format!("write {}", quote(word)))
}

/// `8000-9999`: see the top of [`super`].
fn is_range(word: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    word.split_once('-').is_some_and(|(low, high)| digits(low) && digits(high))
}

fn number(word: &str, unsigned: &str) -> Option<Value> {
    let negative = word.starts_with('-');
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let Some(digits) = unsigned.strip_prefix(prefix) {
            let plain = !digits.starts_with(['_', '+', '-']);
            let value = i128::from_str_radix(&digits.replace('_', ""), radix).ok()?;
            return plain.then_some(Value::Integer(if negative { -value } else { value }));
        }
    }
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let digits = |part: &str| {
        part.starts_with(|char: char| char.is_ascii_digit())
            && part.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_')
    };
    let exponent_digits = exponent.map(|part| part.strip_prefix(['+', '-']).unwrap_or(part));
    if !digits(whole) || !fraction.is_none_or(digits) || !exponent_digits.is_none_or(digits) {
        return None;
    }
    let plain = word.replace('_', "");
    if fraction.is_none() && exponent.is_none() {
        return plain.parse().ok().map(Value::Integer);
    }
    plain.parse().ok().map(Value::Float)
}
