//! What a request says that concerns the cache.

use message::{Block, FieldId, Method};

use super::directives::Wishes;

/// What a request says that concerns the cache, read once. All spans are seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// The method.
    pub method: Method,
    /// RFC 9111 §5.2.1.5.
    pub no_store: bool,
    /// RFC 9111 §5.2.1.4, or `Pragma: no-cache`.
    pub no_cache: bool,
    /// RFC 9111 §5.2.1.7.
    pub only_if_cached: bool,
    /// RFC 9111 §5.2.1.1; what is no number is 0.
    pub max_age: Option<u64>,
    /// RFC 9111 §5.2.1.2.
    pub max_stale: Option<u64>,
    /// RFC 9111 §5.2.1.3.
    pub min_fresh: Option<u64>,
    /// `stale-if-error`, RFC 5861 §4.
    pub if_error: Option<u64>,
    /// It has an `Authorization` field.
    pub authorization: bool,
    /// It has a `Cookie` field.
    pub cookie: bool,
    /// It has one of the fields of RFC 9110 §13.1.1 to §13.1.4.
    pub conditional: bool,
    /// It has a `Range` field.
    pub range: bool,
    /// It has a body, as far as its fields tell: whoever knows the framing adds what it knows. No
    /// answer to it is stored, for the body is not in the key.
    pub body: bool,
}

const CONCERNING: [FieldId; 11] = [
    FieldId::CacheControl,
    FieldId::Pragma,
    FieldId::Authorization,
    FieldId::Cookie,
    FieldId::IfMatch,
    FieldId::IfNoneMatch,
    FieldId::IfModifiedSince,
    FieldId::IfUnmodifiedSince,
    FieldId::Range,
    FieldId::ContentLength,
    FieldId::TransferEncoding,
];

impl Asked {
    /// What these fields say.
    #[must_use]
    pub fn of(method: Method, fields: &Block) -> Self {
        if !fields.has_any(&CONCERNING) {
            return Self::nothing(method);
        }
        let wishes = if fields.has_any(&[FieldId::CacheControl, FieldId::Pragma]) {
            Wishes::of(fields)
        } else {
            Wishes::default()
        };
        let there = |id: FieldId| fields.get(id).is_some();
        Self {
            method,
            no_store: wishes.no_store,
            no_cache: wishes.no_cache,
            only_if_cached: wishes.only_if_cached,
            max_age: wishes.max_age,
            max_stale: wishes.max_stale,
            min_fresh: wishes.min_fresh,
            if_error: wishes.if_error,
            authorization: there(FieldId::Authorization),
            cookie: there(FieldId::Cookie),
            conditional: there(FieldId::IfNoneMatch)
                || there(FieldId::IfModifiedSince)
                || there(FieldId::IfMatch)
                || there(FieldId::IfUnmodifiedSince),
            range: there(FieldId::Range),
            body: fields.get(FieldId::ContentLength).is_some_and(|length| length != b"0")
                || there(FieldId::TransferEncoding),
        }
    }

    /// A request that says nothing.
    #[must_use]
    pub fn nothing(method: Method) -> Self {
        Self {
            method,
            no_store: false,
            no_cache: false,
            only_if_cached: false,
            max_age: None,
            max_stale: None,
            min_fresh: None,
            if_error: None,
            authorization: false,
            cookie: false,
            conditional: false,
            range: false,
            body: false,
        }
    }
}
