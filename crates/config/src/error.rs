//! What is wrong with a configuration: one error is one place, one reason and one remedy.

use std::fmt;

use miette::{Diagnostic, LabeledSpan};

use crate::Span;

/// One thing that is wrong. Errors are collected, never returned one by one; whoever prints
/// them adds the text they point into ([`crate::Errors`]).
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
    /// Other places that have to do with it, and what is said there: the first of two that
    /// may stand only once.
    pub also: Vec<(Span, String)>,
}

impl ConfigError {
    /// An error at a place.
    pub fn at(span: Span, message: impl Into<String>, label: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            label: label.into(),
            help: None,
            span: Some(span),
            also: Vec::new(),
        }
    }

    /// An error of the whole configuration.
    pub fn whole(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            label: String::new(),
            help: None,
            span: None,
            also: Vec::new(),
        }
    }

    /// Adds the remedy.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds another place that has to do with it.
    #[must_use]
    pub fn also(mut self, span: Span, label: impl Into<String>) -> Self {
        self.also.push((span, label.into()));
        self
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ConfigError {}

impl Diagnostic for ConfigError {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let span = self.span?;
        let first = LabeledSpan::new_primary_with_span(Some(self.label.clone()), span);
        let others = self
            .also
            .iter()
            .map(|(span, label)| LabeledSpan::new_with_span(Some(label.clone()), *span));
        Some(Box::new(std::iter::once(first).chain(others)))
    }
}
