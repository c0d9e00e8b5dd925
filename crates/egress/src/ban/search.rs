//! Texts in the bodies of answers, searched for as the bytes pass.

use memchr::memmem::Finder;

use super::{BanPlan, Marks};

/// So many bytes at the beginning of a body are searched.
pub const BODY_LIMIT: usize = 64 * 1024;

/// A text that is searched for.
#[derive(Debug)]
pub(crate) struct Text {
    finder: Finder<'static>,
    mark: Marks,
}

impl Text {
    pub(super) fn new(text: &[u8], mark: Marks) -> Self {
        Self { finder: Finder::new(text).into_owned(), mark }
    }
}

/// A search through one body. It keeps what may be the beginning of a text, and nothing else.
#[derive(Debug)]
pub struct BodySearch {
    seen: usize,
    /// One byte less than the longest text.
    overlap: usize,
    tail: Vec<u8>,
}

impl BodySearch {
    pub(super) fn new(texts: &[Text]) -> Option<Self> {
        let longest = texts.iter().map(|text| text.finder.needle().len()).max()?;
        Some(Self { seen: 0, overlap: longest.saturating_sub(1), tail: Vec::new() })
    }

    /// Looks at the next bytes of the body, with the plan that the search is from. What was
    /// found before may be found again.
    pub fn feed(&mut self, plan: &BanPlan, bytes: &[u8]) -> Marks {
        let bytes = &bytes[..bytes.len().min(BODY_LIMIT - self.seen)];
        self.seen += bytes.len();
        let mut found = find(plan, bytes);
        if self.overlap > 0 {
            // What lies across the border between these bytes and those before.
            if !self.tail.is_empty() {
                self.tail.extend_from_slice(&bytes[..bytes.len().min(self.overlap)]);
                found = found.with(find(plan, &self.tail));
            }
            if bytes.len() >= self.overlap || self.tail.is_empty() {
                self.tail.clear();
                self.tail.extend_from_slice(&bytes[bytes.len().saturating_sub(self.overlap)..]);
            } else {
                let surplus = self.tail.len().saturating_sub(self.overlap);
                self.tail.drain(..surplus);
            }
        }
        found
    }

    /// Whether all that is to be searched has been.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.seen >= BODY_LIMIT
    }
}

fn find(plan: &BanPlan, bytes: &[u8]) -> Marks {
    plan.texts()
        .iter()
        .filter(|text| text.finder.find(bytes).is_some())
        .fold(Marks::default(), |found, text| found.with(text.mark))
}
