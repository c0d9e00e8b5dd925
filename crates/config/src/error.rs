//! What is wrong with a configuration: one error is one place, one reason and one remedy.

use crate::Span;

/// One thing that is wrong. Errors are collected, never returned one by one; whoever prints
/// them adds the text they point into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// What is wrong, one sentence without a full stop.
    pub message: String,
    /// What is said at the underlined place.
    pub label: String,
    /// What to do about it.
    pub help: Option<String>,
    /// The place, where there is one.
    pub span: Option<Span>,
}

impl ConfigError {
    /// An error at a place.
    pub fn at(span: Span, message: impl Into<String>, label: impl Into<String>) -> Self {
        Self { message: message.into(), label: label.into(), help: None, span: Some(span) }
    }

    /// Adds the remedy.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl std::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ConfigError {}
