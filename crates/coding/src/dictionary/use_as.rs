//! `Use-As-Dictionary` and `Dictionary-ID` (RFC 9842 §2.1, §2.3).

use sfv::{BareItem, Dictionary as Fields, Item, ListEntry, Parser};

use super::Pattern;

/// Characters of an identifier, at most (RFC 9842 §2.1.3).
const MOST_OF_ID: usize = 1024;
/// Destinations that are kept. There are some thirty in all.
const MOST_DESTINATIONS: usize = 64;

/// For what an answer may serve as a dictionary, by its `Use-As-Dictionary`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UseAs {
    /// For which targets.
    pub pattern: Pattern,
    /// For which destinations of requests (`Sec-Fetch-Dest`); none: for all.
    pub destinations: Box<[Box<str>]>,
    /// What the client has to say of it in `Dictionary-ID`; empty: nothing.
    pub id: Box<str>,
}

impl UseAs {
    /// From the values of all `Use-As-Dictionary` fields of an answer, its origin and its path
    /// ([`Pattern::parse`]). `None`: the answer is not to be kept as a dictionary.
    #[must_use]
    pub fn of<'a>(
        values: impl IntoIterator<Item = &'a [u8]>,
        origin: &str,
        base: &str,
    ) -> Option<Self> {
        // RFC 9651 §4.2: several fields are one list.
        let value = values.into_iter().collect::<Vec<_>>().join(&b", "[..]);
        let fields = Parser::new(&value).parse::<Fields>().ok()?;
        let pattern = Pattern::parse(&text(fields.get("match"))??, origin, base)?;
        match fields.get("type") {
            None => {}
            Some(ListEntry::Item(Item { bare_item: BareItem::Token(token), .. }))
                if token.as_str() == "raw" => {}
            Some(_) => return None,
        }
        let id = text(fields.get("id"))?.unwrap_or_default();
        (id.len() <= MOST_OF_ID).then_some(())?;
        Some(Self { pattern, destinations: destinations(fields.get("match-dest"))?, id })
    }

    /// Whether it is meant for this request: its target and the value of its `Sec-Fetch-Dest`. A
    /// client that does not say where the answer goes is not asked.
    #[must_use]
    pub fn fits(&self, target: &[u8], destination: Option<&[u8]>) -> bool {
        self.pattern.fits(target)
            && (self.destinations.is_empty()
                || destination
                    .is_none_or(|one| self.destinations.iter().any(|name| name.as_bytes() == one)))
    }
}

/// The identifier in `Dictionary-ID`. `None`: it is something else.
#[must_use]
pub fn id_of_field(value: &[u8]) -> Option<Box<str>> {
    let item = Parser::new(value).parse::<Item>().ok()?;
    text(Some(&ListEntry::Item(item)))?.filter(|id| id.len() <= MOST_OF_ID)
}

/// A member that is a string, if it is there; `None` if it is something else.
fn text(member: Option<&ListEntry>) -> Option<Option<Box<str>>> {
    match member {
        None => Some(None),
        Some(ListEntry::Item(Item { bare_item: BareItem::String(text), .. })) => {
            Some(Some(text.as_str().into()))
        }
        Some(_) => None,
    }
}

/// A list of strings; `None` if it is something else.
fn destinations(member: Option<&ListEntry>) -> Option<Box<[Box<str>]>> {
    match member {
        None => Some(Box::default()),
        Some(ListEntry::InnerList(list)) if list.items.len() <= MOST_DESTINATIONS => list
            .items
            .iter()
            .map(|item| match &item.bare_item {
                BareItem::String(text) => Some(text.as_str().into()),
                _ => None,
            })
            .collect(),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(value: &str) -> Option<UseAs> {
        UseAs::of([value.as_bytes()], "https://example.test", "/app/main.js")
    }

    #[test]
    fn the_pattern_is_all_that_is_needed() {
        let plain = of("match=\"/app/*/main.js\"").unwrap();
        assert!(plain.fits(b"/app/v2/main.js", Some(b"script")));
        assert!(plain.fits(b"/app/v2/main.js", None));
        assert!(!plain.fits(b"/main.js", None));
        assert_eq!(&*plain.id, "");
    }

    #[test]
    fn everything_else_is_read() {
        let full = of("id=\"a \\\"b\\\"\", match=\"/p/*\", match-dest=(\"document\" \"frame\"), type=raw, new=?1")
            .unwrap();
        assert_eq!(&*full.id, "a \"b\"");
        assert!(full.fits(b"/p/1", Some(b"document")) && full.fits(b"/p/1", None));
        assert!(!full.fits(b"/p/1", Some(b"script")));
        assert!(of("match=\"/p\", match-dest=()").unwrap().fits(b"/p", Some(b"image")));
        let several =
            UseAs::of([&b"match=\"/x\""[..], b"id=\"y\""], "https://a.test", "/").unwrap();
        assert_eq!(&*several.id, "y");
    }

    #[test]
    fn what_is_not_valid_is_no_dictionary() {
        for value in [
            "",
            "match",
            "match=/app",
            "match=app",
            "id=\"x\"",
            "match=\"/x\", type=zip",
            "match=\"/x\", type=\"raw\"",
            "match=\"/x\", id=1",
            "match=\"/x\", match-dest=\"document\"",
            "match=\"/x\", match-dest=(document)",
            "match=\"/x\" garbage",
            "match=\"/([a-z])\"",
            "match=\"https://other.test/x\"",
        ] {
            assert_eq!(of(value), None, "{value}");
        }
        assert_eq!(of(&format!("match=\"/x\", id=\"{}\"", "i".repeat(1025))), None);
        assert!(of(&format!("match=\"/x\", id=\"{}\"", "i".repeat(1024))).is_some());
    }

    #[test]
    fn identifiers_are_strings() {
        assert_eq!(id_of_field(b"\"dictionary-12345\"").as_deref(), Some("dictionary-12345"));
        assert_eq!(id_of_field(b"dictionary"), None);
        assert_eq!(id_of_field(format!("\"{}\"", "x".repeat(1025)).as_bytes()), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(value in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = UseAs::of([&value[..]], "https://a.test", "/");
            let _ = id_of_field(&value);
            let _ = super::super::Hash::of_field(&value);
        }
    }
}
