//! The cache: what it has, what it did, and purges.

use std::sync::atomic::Ordering;

use admin::{CachePurge, Problem, ProblemKind};
use cache::{Body, Cache, Purge, PurgeReport, Stored, Time, What, is_secret, rules};
use serde_json::{Map, Value, json};
use server::Server;
use telemetry::CacheResult;

/// By the numbers of [`Stored::coded`].
const CODINGS: [&str; 3] = ["gzip", "br", "zstd"];

/// So many answers to one URL are told of.
const MOST_VARIANTS: usize = 100;

/// So many tags of an answer are told of, and so many fields that select it.
const MOST_NAMES: usize = 50;

/// Texts that came from outside are cut where they are longer than this many bytes: what is told
/// of many answers is not to be as large as they are.
const MOST_TEXT: usize = 1024;

const WHOLE_URL: &str = "write it with its scheme and host: http://shop.example/cart";

pub(super) fn stats(server: &Server) -> Value {
    let cache = figures(server);
    let stats = server.cache().stats();
    let counts = server.metrics().cache_counts();
    let tier = |tier: telemetry::CacheTier| {
        json!({
            "objects": tier.objects,
            "bytes": tier.bytes,
            "limit_bytes": tier.limit,
            "evicted": tier.evicted,
        })
    };
    let requests: Map<_, _> = CacheResult::ALL
        .map(|result| (result.as_str().to_owned(), counts.requests(result).into()))
        .into_iter()
        .collect();
    json!({
        "memory": tier(cache.memory),
        "disk": cache.disk.map(tier),
        "coming": { "answers": stats.flights, "bytes": stats.in_flight },
        "stored": stats.inserted,
        "refused": stats.refused,
        "purged": stats.purged,
        "requests": requests,
        "hit_ratio": counts.hit_ratio(),
        "sent_bytes": counts.bytes,
        "compressed": {
            "read_bytes": counts.compress_read,
            "written_bytes": counts.compress_written,
            "saved_bytes": counts.compress_saved,
        },
    })
}

/// What is kept for a URL.
pub(super) fn entry(server: &Server, url: &str) -> Result<Value, Problem> {
    let url = cache::canonical_url(url.as_bytes()).ok_or_else(|| not_a("URL", url, WHOLE_URL))?;
    let now = Time::now();
    let kept = server.cache().of_url(&url, MOST_VARIANTS);
    Ok(kept.iter().map(|stored| entry_json(stored, now)).collect())
}

fn entry_json(stored: &Stored, now: Time) -> Value {
    let fields = &stored.head.fields;
    let field = |name: &[u8]| fields.values_named(name).next().map(text);
    let ttl = rules::ttl(&stored.facts, now);
    let vary = stored.vary.fields.iter().take(MOST_NAMES);
    let vary: Vec<_> = vary
        .map(|(name, value)| {
            let shown = |value: &[u8]| if is_secret(name) { "…".to_owned() } else { text(value) };
            json!({ "name": text(name.as_bytes()), "value": value.as_deref().map(shown) })
        })
        .collect();
    let coded = CODINGS.iter().zip(stored.coded.iter()).filter(|(_, made)| made.get().is_some());
    json!({
        "url": text(stored.key.url_text()),
        "key": shortened(stored.key.for_people()),
        "vary": vary,
        "status": stored.head.status,
        "state": if ttl > 0 && !stored.facts.marked_stale { "fresh" } else { "stale" },
        "purged_softly": stored.facts.marked_stale,
        "age_seconds": rules::age(&stored.facts, now),
        "ttl_seconds": ttl,
        "heuristic": stored.facts.heuristic,
        "content_type": field(b"content-type"),
        "etag": field(b"etag"),
        "last_modified": field(b"last-modified"),
        "tags": rules::tag_texts(fields).take(MOST_NAMES).map(text).collect::<Vec<_>>(),
        "length": stored.length,
        "whole": stored.is_whole(),
        "codings": coded.map(|(name, _)| *name).collect::<Vec<_>>(),
        "bytes": stored.held.bytes(),
        "hits": stored.hits.load(Ordering::Relaxed),
        "tier": match stored.body {
            Body::Memory(_) => "memory",
            Body::Disk(_) => "disk",
        },
    })
}

pub(super) fn top(server: &Server, limit: usize) -> Value {
    let all = server.cache().top(limit);
    all.iter()
        .map(|top| json!({ "url": text(&top.url), "hits": top.hits, "bytes": top.bytes }))
        .collect()
}

pub(super) fn purge(server: &Server, what: &CachePurge, soft: bool) -> Result<Value, Problem> {
    let cache = server.cache();
    if cache.is_retired() {
        let problem = Problem::new(ProblemKind::Unavailable, "another process has the cache now");
        return Err(problem.with_remedy("ask again by another connection"));
    }
    let purge = |what| cache.purge(&Purge { what, soft });
    let known = server.dictionaries();
    // After the cache: what is kept as a dictionary meanwhile looks whether its answer is there.
    // What is purged softly may serve on.
    let forget = |forget: &dyn Fn()| (!soft).then(forget);
    let report = match what {
        CachePurge::Url(url) => {
            let canonical = cache::canonical_url(url.as_bytes());
            let canonical = canonical.ok_or_else(|| not_a("URL", url, WHOLE_URL))?;
            let report = cache.purge_url(&canonical, soft);
            forget(&|| known.forget(&canonical));
            report
        }
        CachePurge::Prefix(prefix) => {
            let canonical = cache::canonical_prefix(prefix.as_bytes());
            let canonical = canonical.ok_or_else(|| not_a("URL", prefix, WHOLE_URL))?;
            let report = purge(What::Prefix(canonical.clone().into()));
            forget(&|| known.forget_origin(&canonical));
            report
        }
        CachePurge::Tag(tag) if tag.is_empty() => {
            return Err(not_a("tag", tag, "write it as the server does in `Surrogate-Key`"));
        }
        CachePurge::Tag(tag) => {
            let report = purge(What::Tag(cache::hash(tag.as_bytes())));
            forget(&|| known.clear());
            report
        }
        CachePurge::Host(host) => {
            let canonical = cache::canonical_host(host.as_bytes());
            let remedy = "write a name or an address, perhaps with a port: shop.example";
            let canonical = canonical.ok_or_else(|| not_a("host", host, remedy))?;
            let report = purge_host(cache, &canonical, soft);
            forget(&|| known.forget_host(without_port(&canonical)));
            report
        }
        CachePurge::All => {
            let report = purge(What::All);
            forget(&|| known.clear());
            report
        }
    };
    Ok(json!({ "objects": report.objects, "bytes": report.bytes }))
}

/// A host as its URLs have it, without the port.
fn without_port(host: &[u8]) -> &[u8] {
    match host.iter().rposition(|byte| *byte == b':') {
        // Else the colon is within an address.
        Some(at) if !host.ends_with(b"]") => &host[..at],
        _ => host,
    }
}

/// Keys do not have the port that goes without saying: it is about all that has no other.
fn purge_host(cache: &Cache, host: &[u8], soft: bool) -> PurgeReport {
    let purge = |what| cache.purge(&Purge { what, soft });
    let mut report = purge(What::Host(host.into()));
    for (port, scheme) in [(&b":80"[..], &b"http://"[..]), (b":443", b"https://")] {
        if let Some(name) = host.strip_suffix(port) {
            let more = purge(What::Prefix([scheme, name, b"/"].concat().into()));
            report.objects += more.objects;
            report.bytes += more.bytes;
        }
    }
    report
}

fn not_a(what: &str, text: &str, remedy: &str) -> Problem {
    let message = format!("{text:?} is not a {what}");
    Problem::new(ProblemKind::Invalid, message).with_remedy(remedy)
}

/// Fields and keys are bytes; what is no text of them is shown as replaced, and not all of what
/// is long.
fn text(bytes: &[u8]) -> String {
    // No character takes more than four bytes: whatever is cut off here is cut off below.
    let bytes = &bytes[..bytes.len().min(MOST_TEXT + 4)];
    shortened(String::from_utf8_lossy(bytes).into_owned())
}

fn shortened(mut text: String) -> String {
    if text.len() > MOST_TEXT {
        text.truncate(text.floor_char_boundary(MOST_TEXT));
        text.push('…');
    }
    text
}

/// What `/metrics` says of it.
pub(super) fn figures(server: &Server) -> telemetry::Cache {
    let stats = server.cache().stats();
    telemetry::Cache {
        memory: telemetry::CacheTier {
            objects: stats.objects,
            bytes: stats.bytes,
            limit: stats.capacity,
            evicted: stats.evicted,
        },
        disk: stats.disk.map(|disk| telemetry::CacheTier {
            objects: disk.objects,
            bytes: disk.bytes,
            limit: disk.size,
            evicted: disk.evicted,
        }),
        in_flight_bytes: stats.in_flight,
        purged: stats.purged,
        disk_errors: stats.disk.map_or(0, |disk| disk.errors + disk.damaged),
        disk_skipped: stats.disk.map_or(0, |disk| disk.dropped),
    }
}
