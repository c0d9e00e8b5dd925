//! What is wrong with one value, before it is known where the value stands.

use crate::{ConfigError, Span, syntax};

/// A refusal of one value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    message: String,
    label: Option<String>,
    help: Option<String>,
    /// The word of a later version that the value is.
    planned: Option<String>,
}

impl Fault {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), label: None, help: None, planned: None }
    }

    /// A word of a later version; [`Fault::of`] completes the message.
    pub(crate) fn planned(word: &str) -> Self {
        let fault = Self::new(word).label("not available yet");
        Self { planned: Some(syntax::quote(word)), ..fault }
    }

    /// Names what the value belongs to (`balance `, `limit per=`), for a message that would
    /// not be clear without it.
    pub(crate) fn of(self, owner: &str) -> Self {
        match &self.planned {
            Some(word) => {
                let message = format!("`{owner}{word}` is not available in this version");
                Self { message, ..self }
            }
            None => self,
        }
    }

    pub(crate) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds a remedy where there is none yet.
    pub(crate) fn or_help(self, help: impl FnOnce() -> String) -> Self {
        match self.help {
            Some(_) => self,
            None => self.help(help()),
        }
    }

    pub(crate) fn at(self, span: Span) -> ConfigError {
        let label = self.label.unwrap_or_else(|| "this value".to_owned());
        let error = ConfigError::at(span, self.message, label);
        match self.help {
            Some(help) => error.help(help),
            None => error,
        }
    }
}
