//! How errors are shown: in plain text, one place a line for editors and logs, or as a
//! picture of the text for people.

use std::fmt;

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, MietteError, MietteSpanContents,
    SourceCode, SpanContents,
};

use crate::{ConfigError, Span};

/// Everything that is wrong with one configuration, together with its text.
///
/// `Display` is the plain form: `file.kdl:12:5: message`, and below it what is said at each
/// place and the remedy. [`Errors::fancy`] draws the text with the places underlined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Errors {
    /// The name of the file, or what stands for it.
    pub name: String,
    /// The text that the spans point into.
    pub text: String,
    /// What is wrong, in the order of the text.
    pub errors: Vec<ConfigError>,
}

impl Errors {
    /// Puts errors and the text they point into together, in the order of the text. Spans
    /// that reach past the text are cut off at its end.
    #[must_use]
    pub fn new(name: &str, text: &str, mut errors: Vec<ConfigError>) -> Self {
        for error in &mut errors {
            error.span = error.span.map(|span| within(span, text));
            for (span, _) in &mut error.also {
                *span = within(*span, text);
            }
        }
        errors.sort_by_key(|error| error.span.map_or(0, |span| span.offset()));
        Self { name: name.to_owned(), text: text.to_owned(), errors }
    }

    /// The form for a terminal `width` columns wide: each error with the lines it is about.
    #[must_use]
    pub fn fancy(&self, color: bool, width: usize) -> String {
        let theme =
            if color { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
        let printer = GraphicalReportHandler::new_themed(theme).with_width(width);
        let mut out = String::new();
        for error in &self.errors {
            let placed = Placed { errors: self, error };
            // Writing into a string fails only where the source cannot be read; the plain
            // form needs no source.
            if printer.render_report(&mut out, &placed).is_err() {
                out.push_str(&self.plain(error));
            }
            out.push('\n');
        }
        out.push_str(&self.summary());
        out.push('\n');
        out
    }

    /// `3 errors in bifrons.kdl`.
    #[must_use]
    pub fn summary(&self) -> String {
        let count = self.errors.len();
        format!("{count} error{} in {}", if count == 1 { "" } else { "s" }, self.name)
    }

    fn plain(&self, error: &ConfigError) -> String {
        let mut out = match error.span {
            Some(span) => format!("{}:{}: {}\n", self.name, self.place(span), error.message),
            None => format!("{}: {}\n", self.name, error.message),
        };
        if !error.label.is_empty() {
            out.push_str(&format!("    here: {}\n", error.label));
        }
        for (span, label) in &error.also {
            out.push_str(&format!("    {}: {label}\n", self.place(*span)));
        }
        if let Some(help) = &error.help {
            out.push_str(&format!("    help: {}\n", help.replace('\n', "\n          ")));
        }
        out
    }

    /// `line:column`, both from 1, columns in characters.
    fn place(&self, span: Span) -> String {
        let before = self.text.get(..span.offset()).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        format!("{line}:{}", before[line_start..].chars().count() + 1)
    }
}

/// Cuts a span at the end of the text and moves it to the boundaries of characters.
fn within(span: Span, text: &str) -> Span {
    let floor = |mut at: usize| {
        at = at.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let start = floor(span.offset());
    let end = floor(span.offset().saturating_add(span.len())).max(start);
    (start, end - start).into()
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for error in &self.errors {
            f.write_str(&self.plain(error))?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {}

impl Diagnostic for Errors {
    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(self)
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(self.errors.iter().map(|error| error as &dyn Diagnostic)))
    }
}

impl SourceCode for Errors {
    fn read_span<'a>(
        &'a self,
        span: &Span,
        lines_before: usize,
        lines_after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let inner = self.text.read_span(span, lines_before, lines_after)?;
        Ok(Box::new(MietteSpanContents::new_named(
            self.name.clone(),
            inner.data(),
            *inner.span(),
            inner.line(),
            inner.column(),
            inner.line_count(),
        )))
    }
}

/// One error with its text, as [`Errors::fancy`] draws it.
#[derive(Debug)]
struct Placed<'a> {
    errors: &'a Errors,
    error: &'a ConfigError,
}

impl fmt::Display for Placed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.error, f)
    }
}

impl std::error::Error for Placed<'_> {}

impl Diagnostic for Placed<'_> {
    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(self.errors)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.error.help()
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = miette::LabeledSpan> + '_>> {
        self.error.labels()
    }
}
