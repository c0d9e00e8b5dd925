//! Tags by which answers are purged.

use message::{Block, list};

/// More tags than these of one answer are left out.
const MOST: usize = 512;
/// What is longer is no tag.
const LONGEST: usize = 1024;

/// The hashes ([`crate::hash`]) of the tags of an answer, sorted: `Surrogate-Key` (between
/// spaces) and `Cache-Tag` (between commas). Case counts.
#[must_use]
pub fn tags_of(fields: &Block) -> Box<[u128]> {
    let mut tags: Vec<u128> = tag_texts(fields).map(crate::key::hash).collect();
    tags.sort_unstable();
    tags.dedup();
    tags.into()
}

/// The tags themselves, in their order.
pub fn tag_texts(fields: &Block) -> impl Iterator<Item = &[u8]> {
    let spaced = fields
        .values_named(b"surrogate-key")
        .flat_map(|value| value.split(u8::is_ascii_whitespace).filter(|tag| !tag.is_empty()));
    let listed = fields.values_named(b"cache-tag").flat_map(list::elements);
    spaced.chain(listed).filter(|tag| tag.len() <= LONGEST).take(MOST)
}
