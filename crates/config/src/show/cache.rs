//! What is kept of answers, and their codings.

use std::fmt::Write as _;

use super::{bytes, duration, list};
use crate::model::*;

/// `path, query:v`.
#[must_use]
pub fn cache_key(parts: &[KeyPart]) -> String {
    list(parts.iter().map(|part| match part {
        KeyPart::Path => "path".to_owned(),
        KeyPart::Query => "query".to_owned(),
        KeyPart::QueryParameter(name) => format!("query:{name}"),
        KeyPart::Header(name) => format!("header:{name}"),
        KeyPart::Cookie(name) => format!("cookie:{name}"),
    }))
}

/// Everything about it but the token.
#[must_use]
pub fn cache(rules: &CacheRules) -> String {
    let mut text = format!("key {}", cache_key(&rules.key));
    for (name, time) in [
        ("stale while-revalidate", rules.while_revalidate),
        ("stale if-error", rules.if_error),
        ("ttl default", rules.default_ttl),
        ("ttl max", rules.max_ttl),
    ] {
        if let Some(time) = time {
            let _ = write!(text, ", {name} {}", duration(time));
        }
    }
    if let Some(slice) = rules.slice {
        let _ = write!(text, ", slices of {}", bytes(slice));
    }
    text.push_str(if rules.purge_token.is_some() { ", PURGE with a token" } else { "" });
    text.push_str(if rules.status_field { "" } else { ", no Cache-Status" });
    text
}

/// The folder and its size.
#[must_use]
pub fn cache_disk(disk: &CacheDisk) -> String {
    format!("{}, {}", disk.path.value.display(), bytes(disk.size))
}

/// `zstd 3, br 5, gzip 6; from 1KiB; types text/*, …`.
#[must_use]
pub fn compress(compress: &Compress) -> String {
    let level = |it: &CodingLevel| format!("{} {}", it.coding.as_str(), it.level);
    let codings = list(compress.codings.iter().map(level));
    let mut text = format!("{codings}; from {}", bytes(compress.min));
    let types = &compress.types;
    match types.iter().eq(Compress::DEFAULT_TYPES.iter()) {
        true => text.push_str("; usual types"),
        false => {
            let _ = write!(text, "; types {}", list(types));
        }
    }
    text.push_str(if compress.spare_credentials { "; spare-credentials" } else { "" });
    text.push_str(if compress.dictionaries { "; dictionaries" } else { "" });
    text
}

/// What may come out.
#[must_use]
pub fn decompress(decompress: &Decompress) -> String {
    let size = decompress.max_size.map_or_else(|| "the limit of bodies".to_owned(), bytes);
    format!("up to {size}, {} times what was sent", decompress.max_ratio)
}
