//! KDL 2 (<https://kdl.dev>): text to a tree of nodes, with every syntax error and its place.
//!
//! A reader of our own, because errors are the product here: each names its remedy, reading
//! goes on behind each, and no text is deep or long enough to exhaust the stack.
//! One word more than KDL 2 has is read: `8000-9999` (digits, a dash, digits) is the string
//! `"8000-9999"`, so that ranges of ports need no quotes.

mod cursor;
mod quote;
mod string;
mod word;

pub use quote::quote;

use crate::{ConfigError, Span, Spanned};
use cursor::Cursor;

/// A node: a name, values, and a block of further nodes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    /// The type annotation, parentheses included.
    pub annotation: Option<Span>,
    pub name: Spanned<String>,
    pub entries: Vec<Entry>,
    pub block: Option<Block>,
}

/// What stands in braces.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Block {
    pub nodes: Vec<Node>,
    /// The opening brace.
    pub span: Span,
}

/// An argument (no key) or a property.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    /// The type annotation, parentheses included.
    pub annotation: Option<Span>,
    pub key: Option<Spanned<String>>,
    pub value: Value,
    /// The value alone, without key and annotation.
    pub span: Span,
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    String(String),
    Integer(i128),
    Float(f64),
    Bool(bool),
    Null,
}

impl std::fmt::Display for Value {
    /// As an error message names what was found.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::String(text) => write!(f, "the string {}", quote(text)),
            Self::Integer(number) => write!(f, "the number {number}"),
            Self::Float(number) => write!(f, "the number {number}"),
            Self::Bool(value) => write!(f, "#{value}"),
            Self::Null => f.write_str("#null"),
        }
    }
}

/// Blocks within blocks; no directive needs more than four.
const MAX_DEPTH: usize = 32;

/// More than these are not worth reading, and a binary file has thousands.
const MAX_ERRORS: usize = 50;

/// Reads a document. Where there are errors, the nodes are what could be made of the rest.
pub(crate) fn read(text: &str) -> (Vec<Node>, Vec<ConfigError>) {
    let mut reader = Reader { cursor: Cursor::new(text), depth: 0 };
    reader.cursor.refuse_disallowed();
    let nodes = reader.nodes(None);
    (nodes, reader.cursor.errors)
}

struct Reader<'a> {
    cursor: Cursor<'a>,
    depth: usize,
}

impl Reader<'_> {
    /// Nodes up to the brace that closes the block opened at `open`, or to the end.
    fn nodes(&mut self, open: Option<Span>) -> Vec<Node> {
        let mut nodes = Vec::new();
        loop {
            self.cursor.skip_lines();
            match self.cursor.peek() {
                None => {
                    if let (Some(open), false) = (open, self.cursor.stopped()) {
                        self.cursor.error(
                            ConfigError::at(open, "a block is never closed", "opened here")
                                .help("add the closing `}`"),
                        );
                    }
                    return nodes;
                }
                Some('}') => {
                    let span = self.cursor.bump();
                    if open.is_some() {
                        return nodes;
                    }
                    self.cursor.error(
                        ConfigError::at(span, "there is no block to close", "one `}` too many")
                            .help("remove it, or look for a block that was closed too early"),
                    );
                }
                Some(_) => nodes.extend(self.node()),
            }
        }
    }

    /// One node, consuming at least one character; `None` if it is left out by `/-` or
    /// cannot be used.
    fn node(&mut self) -> Option<Node> {
        let dashed = self.cursor.slashdash();
        let annotation = self.annotation();
        if self.cursor.peek() == Some('{') {
            let span = self.cursor.span_of_next();
            self.cursor.error(
                ConfigError::at(span, "a block without a directive", "belongs to nothing")
                    .help("a block opens on the line of its directive: `site \"http://…\" {`"),
            );
            self.block();
            return None;
        }
        if self.cursor.at_end_of_node() {
            if let (Some(span), false) = (annotation, dashed) {
                self.cursor.error(
                    ConfigError::at(
                        span,
                        "a type annotation without a directive",
                        "belongs to nothing",
                    )
                    .help("no directive takes a type annotation: remove it"),
                );
            }
            return None;
        }
        let name = self.name();
        let mut entries = Vec::new();
        let mut block: Option<Block> = None;
        loop {
            let spaced = self.cursor.skip_space();
            if self.cursor.end_node() {
                break;
            }
            let left_out = self.cursor.slashdash();
            if left_out && self.cursor.at_end_of_node() {
                continue;
            }
            if self.cursor.peek() == Some('{') {
                let read = self.block();
                if left_out {
                    continue;
                }
                match &block {
                    None => block = Some(read),
                    Some(first) => {
                        let error = ConfigError::at(
                            read.span,
                            "a directive has two blocks",
                            "the second block",
                        )
                        .also(first.span, "the first block")
                        .help("put everything into one block");
                        self.cursor.error(error);
                    }
                }
                continue;
            }
            let start = self.cursor.at();
            let entry = self.entry();
            let span = self.cursor.span_since(start);
            if !spaced && !left_out {
                self.cursor.error(
                    ConfigError::at(
                        span,
                        "two values without a space",
                        "a space is missing before this",
                    )
                    .help("separate values by a space; inside quotes, write `\"` as `\\\"`"),
                );
            }
            if let (Some(first), false) = (&block, left_out) {
                let first = first.span;
                self.cursor.error(
                    ConfigError::at(span, "a value behind a block", "belongs before the block")
                        .also(first, "the block")
                        .help("a directive ends with its block; begin the next one on a new line"),
                );
            } else if !left_out {
                entries.extend(entry);
            }
        }
        if dashed {
            return None;
        }
        Some(Node { annotation, name: name?, entries, block })
    }

    /// The name of a node. An error leaves the cursor behind the word that is none.
    fn name(&mut self) -> Option<Spanned<String>> {
        let start = self.cursor.at();
        let value = self.cursor.value()?;
        let span = self.cursor.span_since(start);
        if let Value::String(value) = value {
            return Some(Spanned { value, span });
        }
        self.cursor.error(
            ConfigError::at(span, format!("a directive cannot begin with {value}"), "not a name")
                .help("a line begins with the name of a directive, such as `site` or `forward`"),
        );
        None
    }

    fn entry(&mut self) -> Option<Entry> {
        let annotation = self.annotation();
        let start = self.cursor.at();
        if let (Some(span), true) = (annotation, self.cursor.at_end_of_node()) {
            self.cursor.error(
                ConfigError::at(span, "a type annotation without a value", "belongs to nothing")
                    .help("no directive takes a type annotation: remove it"),
            );
            return None;
        }
        let value = self.cursor.value();
        let span = self.cursor.span_since(start);
        if !self.cursor.equals_sign() {
            return Some(Entry { annotation, key: None, value: value?, span });
        }
        self.cursor.skip_space();
        let annotation = self.annotation().or(annotation);
        let value_start = self.cursor.at();
        if self.cursor.at_end_of_node() {
            self.cursor.error(
                ConfigError::at(span, "a property without a value", "`=` is the last of it")
                    .help("write the value directly behind the `=`"),
            );
            return None;
        }
        let property = self.cursor.value();
        let value_span = self.cursor.span_since(value_start);
        match value? {
            Value::String(key) => Some(Entry {
                annotation,
                key: Some(Spanned { value: key, span }),
                value: property?,
                span: value_span,
            }),
            other => {
                self.cursor.error(
                    ConfigError::at(
                        span,
                        format!("a property cannot be named {other}"),
                        "not a name",
                    )
                    .help("write `name=value`"),
                );
                None
            }
        }
    }

    /// `(name)`, parentheses included.
    fn annotation(&mut self) -> Option<Span> {
        if self.cursor.peek() != Some('(') {
            return None;
        }
        let start = self.cursor.at();
        self.cursor.bump();
        self.cursor.skip_space();
        if !matches!(self.cursor.peek(), Some(')')) && !self.cursor.at_end_of_node() {
            self.cursor.value();
        }
        self.cursor.skip_space();
        if self.cursor.peek() == Some(')') {
            self.cursor.bump();
        } else {
            let span = self.cursor.span_since(start);
            self.cursor.error(
                ConfigError::at(span, "a `(` is never closed", "opened here")
                    .help("no directive takes a type annotation: remove it"),
            );
        }
        let span = self.cursor.span_since(start);
        self.cursor.skip_space();
        Some(span)
    }

    fn block(&mut self) -> Block {
        let span = self.cursor.bump();
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            self.cursor.error(
                ConfigError::at(
                    span,
                    format!("blocks are nested more than {MAX_DEPTH} deep"),
                    "reading ends here",
                )
                .help("no directive needs that: look for a `}` that is missing further up"),
            );
            self.cursor.stop();
        }
        let nodes = self.nodes(Some(span));
        self.depth -= 1;
        Block { nodes, span }
    }
}

#[cfg(test)]
mod tests;
