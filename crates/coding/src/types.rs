//! Which types of bodies are worth packing.

use crate::trim;

/// What is packed where the configuration says nothing: text, JSON, XML, JavaScript, SVG,
/// WebAssembly, and fonts that are not compressed in themselves.
pub const DEFAULT_TYPES: &[&str] = &[
    "text/*",
    "application/json",
    "application/x-ndjson",
    "*/*+json",
    "application/xml",
    "*/*+xml",
    "application/javascript",
    "application/x-javascript",
    "application/ecmascript",
    "application/wasm",
    "font/ttf",
    "font/otf",
    "font/collection",
    "application/x-font-ttf",
    "application/x-font-otf",
    "application/vnd.ms-fontobject",
];

/// Patterns of media types: `text/html`, `text/*`, `*/*+json`, `*/*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeSet {
    patterns: Box<[Pattern]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    /// `None`: any.
    major: Option<Box<str>>,
    minor: Minor,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Minor {
    Any,
    /// With the `+` in front.
    Suffix(Box<str>),
    Exactly(Box<str>),
}

impl TypeSet {
    /// A set of these patterns, in any case. What is no pattern matches nothing.
    #[must_use]
    pub fn new<P: AsRef<str>>(patterns: impl IntoIterator<Item = P>) -> Self {
        Self {
            patterns: patterns.into_iter().filter_map(|text| Pattern::of(text.as_ref())).collect(),
        }
    }

    /// Whether one of the patterns fits the value of a `Content-Type` field. Its parameters do not
    /// matter, and what is no media type fits none, not even `*/*`.
    #[must_use]
    pub fn matches(&self, content_type: &[u8]) -> bool {
        let essence = content_type.split(|byte| *byte == b';').next().map_or(&[][..], trim);
        let Some((major, minor)) = halves(essence) else { return false };
        self.patterns.iter().any(|pattern| pattern.fits(major, minor))
    }
}

impl Default for TypeSet {
    fn default() -> Self {
        Self::new(DEFAULT_TYPES)
    }
}

impl Pattern {
    fn of(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        let (major, minor) = text.split_once('/')?;
        if major.is_empty() || minor.is_empty() || minor.contains('/') {
            return None;
        }
        let minor = match minor.strip_prefix('*') {
            Some("") => Minor::Any,
            Some(suffix) => Minor::Suffix(suffix.into()),
            None => Minor::Exactly(minor.into()),
        };
        Some(Self { major: (major != "*").then(|| major.into()), minor })
    }

    fn fits(&self, major: &[u8], minor: &[u8]) -> bool {
        let same = |ours: &str, theirs: &[u8]| ours.as_bytes().eq_ignore_ascii_case(theirs);
        self.major.as_deref().is_none_or(|ours| same(ours, major))
            && match &self.minor {
                Minor::Any => true,
                Minor::Exactly(ours) => same(ours, minor),
                // Something has to stand before the suffix.
                Minor::Suffix(ours) => {
                    minor.len() > ours.len() && same(ours, &minor[minor.len() - ours.len()..])
                }
            }
    }
}

/// The two halves of a type, neither of them empty.
fn halves(essence: &[u8]) -> Option<(&[u8], &[u8])> {
    let slash = essence.iter().position(|byte| *byte == b'/')?;
    let (major, minor) = (&essence[..slash], &essence[slash + 1..]);
    let whole = |half: &[u8]| {
        !half.is_empty() && half.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'/')
    };
    (whole(major) && whole(minor)).then_some((major, minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_types_in_any_case_and_with_parameters() {
        let set = TypeSet::new(["text/HTML", "image/*", "*/*+json"]);
        for fits in
            ["text/html", "Text/Html;charset=utf-8", " text/html ; a=b", "image/png", "a/b+JSON"]
        {
            assert!(set.matches(fits.as_bytes()), "{fits}");
        }
        for differs in [
            "",
            "text",
            "text/plain",
            "text/html2",
            "image/",
            "/html",
            "a/json",
            "a/+json",
            "text/html/x",
        ] {
            assert!(!set.matches(differs.as_bytes()), "{differs}");
        }
    }

    #[test]
    fn all_is_all_types_but_not_what_is_none() {
        let set = TypeSet::new(["*/*"]);
        assert!(set.matches(b"a/b"));
        assert!(!set.matches(b"garbage"));
        assert!(!set.matches(b"a /b"));
    }

    #[test]
    fn what_is_no_pattern_fits_nothing() {
        let set = TypeSet::new(["", "text", "/", "text/", "/html", "*", "a/b/c"]);
        for one in ["text/html", "a/b", "a/b/c", "text"] {
            assert!(!set.matches(one.as_bytes()), "{one}");
        }
    }

    #[test]
    fn the_default_leaves_out_what_is_packed_in_itself() {
        let set = TypeSet::default();
        for packed in [
            "text/html",
            "text/event-stream",
            "application/json",
            "image/svg+xml",
            "application/wasm",
            "font/ttf",
        ] {
            assert!(set.matches(packed.as_bytes()), "{packed}");
        }
        for spared in
            ["image/png", "video/mp4", "font/woff2", "application/zip", "application/octet-stream"]
        {
            assert!(!set.matches(spared.as_bytes()), "{spared}");
        }
    }
}
