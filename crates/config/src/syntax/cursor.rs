//! The place in the text, and what separates nodes and values: space, lines, comments.

use crate::{ConfigError, Span};

/// A place in the text and the errors found on the way to it.
pub(super) struct Cursor<'a> {
    pub(super) text: &'a str,
    at: usize,
    stopped: bool,
    pub(super) errors: Vec<ConfigError>,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let at = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        Self { text, at, stopped: false, errors: Vec::new() }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// Goes to a place; it lies on the boundary of a character.
    pub(super) fn go_to(&mut self, at: usize) {
        debug_assert!(self.text.is_char_boundary(at));
        self.at = at;
    }

    /// Takes one character and tells where it stood.
    pub(super) fn bump(&mut self) -> Span {
        let span = self.span_of_next();
        self.at += span.len();
        span
    }

    pub(super) fn span_of_next(&self) -> Span {
        (self.at, self.peek().map_or(0, char::len_utf8)).into()
    }

    pub(super) fn span_since(&self, start: usize) -> Span {
        (start, self.at - start).into()
    }

    /// Adds an error; after too many of them nothing more is read.
    pub(super) fn error(&mut self, error: ConfigError) {
        if self.errors.len() < super::MAX_ERRORS {
            self.errors.push(error);
        } else {
            self.stop();
        }
    }

    /// Reads nothing more.
    pub(super) fn stop(&mut self) {
        self.at = self.text.len();
        self.stopped = true;
    }

    pub(super) fn stopped(&self) -> bool {
        self.stopped
    }

    /// Code points that may stand nowhere in a document, not even in a comment.
    pub(super) fn refuse_disallowed(&mut self) {
        for (at, found) in self.text[self.at..].char_indices() {
            if is_disallowed(found) && self.errors.len() < super::MAX_ERRORS {
                let code = u32::from(found);
                let span = (self.at + at, found.len_utf8()).into();
                self.errors.push(
                    ConfigError::at(
                        span,
                        format!("the character U+{code:04X} may not stand in a configuration"),
                        "invisible, and not allowed in KDL",
                    )
                    .help(format!("remove it, or write it as `\\u{{{code:x}}}` inside quotes")),
                );
            }
        }
    }

    /// Skips lines, space, comments and stray semicolons.
    pub(super) fn skip_lines(&mut self) {
        loop {
            self.skip_space();
            match self.peek() {
                Some(';') => {
                    self.bump();
                }
                Some(next) if is_newline(next) => {
                    self.bump();
                }
                _ if self.rest().starts_with("//") => self.skip_line_comment(),
                _ => return,
            }
        }
    }

    /// Skips space, `/* */` and escaped ends of lines within a node; tells whether there
    /// was any.
    pub(super) fn skip_space(&mut self) -> bool {
        let start = self.at;
        loop {
            match self.peek() {
                Some(next) if is_space(next) => {
                    self.bump();
                }
                Some('/') if self.rest().starts_with("/*") => self.skip_block_comment(),
                Some('\\') => {
                    if !self.skip_escaped_line() {
                        break;
                    }
                }
                _ => break,
            }
        }
        self.at > start
    }

    /// `\` followed by the end of the line, perhaps with a comment before it.
    fn skip_escaped_line(&mut self) -> bool {
        let start = self.at;
        self.bump();
        loop {
            match self.peek() {
                Some(next) if is_space(next) => {
                    self.bump();
                }
                Some('/') if self.rest().starts_with("/*") => self.skip_block_comment(),
                _ => break,
            }
        }
        match self.peek() {
            None => {}
            Some('\r') if self.rest().starts_with("\r\n") => {
                self.at += 2;
            }
            Some(next) if is_newline(next) => {
                self.bump();
            }
            _ if self.rest().starts_with("//") => {
                self.skip_line_comment();
                self.take_newline();
            }
            Some(_) => {
                self.at = start;
                return false;
            }
        }
        true
    }

    /// Up to the end of the line, which stays.
    fn skip_line_comment(&mut self) {
        let end = self.rest().find(is_newline).unwrap_or(self.rest().len());
        self.at += end;
    }

    fn take_newline(&mut self) {
        if self.rest().starts_with("\r\n") {
            self.at += 2;
        } else if self.peek().is_some_and(is_newline) {
            self.bump();
        }
    }

    /// `/* … */`, which may hold others of its kind.
    fn skip_block_comment(&mut self) {
        let start = self.at;
        let mut depth = 0usize;
        while let Some(mark) = self.rest().find(['/', '*']) {
            self.at += mark;
            if self.rest().starts_with("/*") {
                depth += 1;
                self.at += 2;
            } else if self.rest().starts_with("*/") {
                depth -= 1;
                self.at += 2;
                if depth == 0 {
                    return;
                }
            } else {
                self.at += 1;
            }
        }
        self.error(
            ConfigError::at((start, 2).into(), "a comment is never closed", "opened here")
                .help("add the closing `*/`; comments within comments are closed one by one"),
        );
        self.stop();
    }

    /// `/-`, which leaves out what follows.
    pub(super) fn slashdash(&mut self) -> bool {
        if !self.rest().starts_with("/-") {
            return false;
        }
        let start = self.at;
        self.at += 2;
        loop {
            self.skip_space();
            match self.peek() {
                Some(next) if is_newline(next) => {
                    self.bump();
                }
                _ if self.rest().starts_with("//") => self.skip_line_comment(),
                _ => break,
            }
        }
        if self.peek().is_none_or(|next| next == '}' || next == ';') {
            self.error(
                ConfigError::at(
                    (start, 2).into(),
                    "`/-` leaves out what follows, and nothing does",
                    "nothing to leave out",
                )
                .help("remove it"),
            );
        }
        true
    }

    /// Whether the node ends here; its terminator is taken, a closing brace is not.
    pub(super) fn end_node(&mut self) -> bool {
        if !self.at_end_of_node() {
            return false;
        }
        match self.peek() {
            Some(';') => {
                self.bump();
            }
            Some(next) if is_newline(next) => self.take_newline(),
            Some('/') => self.skip_line_comment(),
            _ => {}
        }
        true
    }

    pub(super) fn at_end_of_node(&self) -> bool {
        self.rest().starts_with("//")
            || self.peek().is_none_or(|next| next == ';' || next == '}' || is_newline(next))
    }

    /// `=`, perhaps with space before it.
    pub(super) fn equals_sign(&mut self) -> bool {
        let (start, errors, stopped) = (self.at, self.errors.len(), self.stopped);
        self.skip_space();
        if self.peek() == Some('=') {
            self.bump();
            return true;
        }
        // The space is read again by whoever comes next, and its errors with it.
        self.errors.truncate(errors);
        (self.at, self.stopped) = (start, stopped);
        false
    }
}

pub(super) fn is_newline(char: char) -> bool {
    matches!(char, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

pub(super) fn is_space(char: char) -> bool {
    matches!(
        char,
        '\t' | ' ' | '\u{a0}' | '\u{1680}' | '\u{2000}'
            ..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}'
    )
}

/// The table "Disallowed Literal Code Points" of KDL 2.
pub(super) fn is_disallowed(char: char) -> bool {
    matches!(
        char,
        '\0'..='\u{8}'
            | '\u{e}'..='\u{1f}'
            | '\u{7f}'
            | '\u{200e}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
            | '\u{feff}'
    )
}
