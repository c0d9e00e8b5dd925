//! Earlier versions of an answer as the dictionary of the next one (RFC 9842), for one request.

use std::sync::Arc;

use cache::{Body, Cache, Key, Stored};
use coding::dictionary::{Context, Hash, UseAs, may_reveal, pattern_for};
use coding::{Accepts, Dictionaries, Dictionary, DictionaryCoding};
use message::Block;

/// Dictionaries up to this size are hashed, and made use of, on the spot; what is larger takes
/// longer than all else may wait.
const AT_ONCE: usize = 64 * 1024;

/// A body that is packed on its way is packed by no larger dictionary.
const MOST_ON_THE_WAY: usize = 1 << 20;

/// What a request has to do with dictionaries.
#[derive(Debug)]
pub(crate) struct Versions {
    /// `https://host[:port]`.
    origin: String,
    /// What dictionaries are kept under: the face and the site, and the origin. What one site says of
    /// an origin is not another's.
    kept_under: String,
    /// Path and query in their one spelling.
    filed: String,
    /// `/path[?query]`, as it was received.
    target: String,
    /// What the client says to have, and we have too.
    available: Option<Arc<Dictionary>>,
}

impl Versions {
    /// `key`: of the request, and `url`: its URL in its one spelling; `target`: its path and query.
    /// `None`: clients use no dictionaries there (RFC 9842 §8), and what is not text is no URL of
    /// theirs.
    pub(crate) fn of(
        known: &Dictionaries,
        key: &Key,
        url: &[u8],
        target: Vec<u8>,
        request: &Block,
    ) -> Option<Self> {
        let url = std::str::from_utf8(url).ok()?;
        let origin = secure_origin(url)?.to_owned();
        let filed = url[origin.len()..].to_owned();
        let kept_under = format!("{} {origin}", std::str::from_utf8(key.face()).ok()?);
        let target = String::from_utf8(target).ok().filter(|target| target.starts_with('/'))?;
        let mut versions = Self { origin, kept_under, filed, target, available: None };
        versions.available = versions.find(known, request);
        Some(versions)
    }

    fn find(&self, known: &Dictionaries, request: &Block) -> Option<Arc<Dictionary>> {
        let mut offered = request.values_named(b"available-dictionary");
        let (Some(hash), None) = (offered.next(), offered.next()) else { return None };
        let destination = request.values_named(b"sec-fetch-dest").next();
        known.find(&self.kept_under, self.target.as_bytes(), destination, &Hash::of_field(hash)?)
    }

    /// The dictionary that this answer may be made by.
    pub(crate) fn dictionary(&self, request: &Block, answer: &Block) -> Option<&Arc<Dictionary>> {
        let dictionary = self.available.as_ref()?;
        let said = |name: &[u8]| request.values_named(name).next();
        let context = Context {
            site: said(b"sec-fetch-site"),
            mode: said(b"sec-fetch-mode"),
            origin: said(b"origin"),
            allow_origin: answer.values_named(b"access-control-allow-origin").next(),
        };
        may_reveal(&context).then_some(dictionary)
    }

    /// Says of an answer for what it may serve later, if its origin says nothing.
    pub(crate) fn announce(&self, answer: &mut Block) {
        if answer.values_named(b"use-as-dictionary").next().is_none()
            && is_for_all(answer)
            && let Some(pattern) = pattern_for(&self.target)
        {
            answer.push(b"Use-As-Dictionary", &[b"match=\"", pattern.as_bytes(), b"\""]);
        }
    }

    /// For what an answer may serve later.
    fn use_as(&self, answer: &Block) -> Option<UseAs> {
        let path = self.target.split('?').next().unwrap_or_default();
        let mut said = answer.values_named(b"use-as-dictionary").peekable();
        if said.peek().is_some() {
            return UseAs::of(said, &self.origin, path);
        }
        let field = format!("match=\"{}\"", pattern_for(&self.target)?);
        UseAs::of([field.as_bytes()], &self.origin, path)
    }

    /// Keeps a stored answer as a dictionary, if it may serve as one.
    pub(crate) fn keep(&self, known: &Arc<Dictionaries>, cache: &Arc<Cache>, stored: &Arc<Stored>) {
        let fields = &stored.head.fields;
        let Some(length) = stored.length.and_then(|length| usize::try_from(length).ok()) else {
            return;
        };
        let plain = fields.values_named(b"content-encoding").next().is_none();
        if stored.head.status != 200 || !plain || !is_for_all(fields) || length > Dictionary::MOST {
            return;
        }
        let (Body::Memory(parts), Some(use_as)) = (&stored.body, self.use_as(fields)) else {
            return;
        };
        let parts = parts.clone();
        let (known, cache, stored) = (Arc::clone(known), Arc::clone(cache), Arc::clone(stored));
        let (origin, filed) = (self.kept_under.clone(), self.filed.clone());
        let keep = move || {
            let body = match &*parts {
                // Shared with the answer.
                [whole] => whole.bytes.clone(),
                parts => parts
                    .iter()
                    .fold(Vec::with_capacity(length), |mut body, part| {
                        body.extend_from_slice(&part.bytes);
                        body
                    })
                    .into(),
            };
            if let Some(dictionary) = Dictionary::new(body).filter(|it| it.bytes().len() == length)
            {
                let hash = *dictionary.hash();
                known.insert(&origin, &filed, use_as, Arc::new(dictionary));
                // Who purges looks at the cache first: one that came before this may have found no
                // dictionary yet.
                let there = cache.variants(&stored.key);
                if !there.iter().any(|one| Arc::ptr_eq(one, &stored)) {
                    known.remove(&origin, &hash);
                }
            }
        };
        if length <= AT_ONCE {
            keep();
        } else {
            // Nobody waits for it.
            drop(tokio::task::spawn_blocking(keep));
        }
    }
}

/// Whether all clients get the same answer, but for its coding: a dictionary serves all who ask for
/// its origin, and what it makes small tells what is in it.
fn is_for_all(answer: &Block) -> bool {
    answer.values_named(b"vary").flat_map(message::list::elements).all(|name| {
        name.eq_ignore_ascii_case(b"accept-encoding")
            || name.eq_ignore_ascii_case(b"available-dictionary")
    })
}

/// The coding by which a client gets a body that is made by its dictionary. `offered`: whether
/// brotli and zstd are.
pub(super) fn best(
    dictionary: &Dictionary,
    accepts: &Accepts,
    (brotli, zstd): (bool, bool),
    length: Option<u64>,
) -> Option<DictionaryCoding> {
    if zstd && accepts.allows_dcz() {
        return Some(DictionaryCoding::Dcz);
    }
    let serves = brotli && accepts.allows_dcb() && dictionary.serves(DictionaryCoding::Dcb, length);
    serves.then_some(DictionaryCoding::Dcb)
}

/// Whether a body is packed so on its way, or only as a whole and beside.
pub(crate) fn goes_on_the_way(coding: DictionaryCoding, dictionary: &Dictionary) -> bool {
    coding == DictionaryCoding::Dcz && dictionary.bytes().len() <= MOST_ON_THE_WAY
}

/// The origin of a URL that clients take for secure: TLS, or this machine.
fn secure_origin(url: &str) -> Option<&str> {
    let (scheme, rest) = url.split_once("://")?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let authority = &rest[..end];
    let host = match authority.strip_prefix('[').and_then(|v6| v6.split_once(']')) {
        Some((v6, _)) => v6,
        None => authority.split(':').next().unwrap_or_default(),
    };
    let secure = scheme == "https"
        || host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    secure.then(|| &url[..scheme.len() + "://".len() + end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_secure_or_none() {
        for (url, origin) in [
            ("https://a.test/x?y", Some("https://a.test")),
            ("https://a.test:8443/", Some("https://a.test:8443")),
            ("https://a.test?y", Some("https://a.test")),
            ("http://localhost:8080/x", Some("http://localhost:8080")),
            ("http://a.localhost/x", Some("http://a.localhost")),
            ("http://127.0.0.1:8080/x", Some("http://127.0.0.1:8080")),
            ("http://[::1]:8080/x", Some("http://[::1]:8080")),
            ("http://a.test/x", None),
            ("http://localhost.a.test/x", None),
            ("http://10.0.0.1/x", None),
            ("nothing", None),
        ] {
            assert_eq!(secure_origin(url), origin, "{url}");
        }
    }
}
