//! The text format of Prometheus, version 0.0.4.

use std::fmt::Write;

/// Collects families of samples. A family is everything of one name, announced once.
pub(super) struct Exposition {
    text: String,
    name: &'static str,
}

/// The type of a family.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Names and values of labels; those of a family differ in their values alone.
pub(super) type Labels<'a> = &'a [(&'static str, &'a str)];

impl Exposition {
    pub(super) fn new() -> Self {
        Self { text: String::with_capacity(16 * 1024), name: "" }
    }

    /// Begins a family. `help` has neither a backslash nor a line end.
    pub(super) fn family(&mut self, name: &'static str, kind: Kind, help: &str) -> &mut Self {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        self.name = name;
        for part in ["# HELP ", name, " ", help, "\n# TYPE ", name, " ", kind, "\n"] {
            self.text.push_str(part);
        }
        self
    }

    /// A sample of the family.
    pub(super) fn sample(&mut self, labels: Labels<'_>, value: u64) -> &mut Self {
        self.line("", labels, None, itoa::Buffer::new().format(value))
    }

    /// A sample in seconds, given in microseconds.
    pub(super) fn seconds(&mut self, labels: Labels<'_>, micros: u64) -> &mut Self {
        self.line("", labels, None, &seconds(micros))
    }

    /// The samples of a histogram: for each bucket its bound in microseconds and how many
    /// fell into it alone, then how many were beyond the last, and the sum in microseconds.
    pub(super) fn histogram(
        &mut self,
        labels: Labels<'_>,
        buckets: impl Iterator<Item = (u64, u64)>,
        beyond: u64,
        sum_micros: u64,
    ) -> &mut Self {
        let mut buffer = itoa::Buffer::new();
        let mut total = 0;
        for (bound, count) in buckets {
            total += count;
            self.line("_bucket", labels, Some(&seconds(bound)), buffer.format(total));
        }
        let total = buffer.format(total + beyond);
        self.line("_bucket", labels, Some("+Inf"), total);
        self.line("_sum", labels, None, &seconds(sum_micros));
        self.line("_count", labels, None, total)
    }

    pub(super) fn finish(self) -> String {
        self.text
    }

    fn line(
        &mut self,
        suffix: &str,
        labels: Labels<'_>,
        bound: Option<&str>,
        value: &str,
    ) -> &mut Self {
        self.text.push_str(self.name);
        self.text.push_str(suffix);
        let mut opening = '{';
        for (name, label) in labels.iter().copied().chain(bound.map(|bound| ("le", bound))) {
            self.text.push(opening);
            self.text.push_str(name);
            self.text.push_str("=\"");
            push_escaped(&mut self.text, label);
            self.text.push('"');
            opening = ',';
        }
        if opening == ',' {
            self.text.push('}');
        }
        self.text.push(' ');
        self.text.push_str(value);
        self.text.push('\n');
        self
    }
}

fn push_escaped(text: &mut String, label: &str) {
    for character in label.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
}

/// Without the error that a detour over floating point would bring in.
fn seconds(micros: u64) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write!(text, "{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    text
}
