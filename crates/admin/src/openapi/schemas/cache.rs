//! What contents about the cache look like.

use serde_json::{Value, json};

use super::{boolean, integer, list, maybe, object, text, texts, to, typed};

pub(super) fn cache() -> Value {
    let flights = object(
        &[
            ("answers", integer("Answers that are coming.")),
            ("bytes", integer("Bytes of them that are kept for those who wait.")),
        ],
        &[],
    );
    let requests = object(
        &[
            ("hit", integer("Answered with what was fresh.")),
            ("stale", integer("Answered with what was stale, as its terms allow.")),
            ("stale_if_error", integer("Answered with what was stale, in place of an error.")),
            ("revalidated", integer("Answered after a server said that it is still right.")),
            ("collapsed", integer("Answered from what was being fetched for another one.")),
            ("miss", integer("Nothing that was kept could be used.")),
            ("bypass", integer("Answered by a server, and nothing was looked for.")),
        ],
        &[],
    );
    let compressed = object(
        &[
            ("read_bytes", integer("Bytes before they were compressed.")),
            ("written_bytes", integer("What became of them.")),
            ("saved_bytes", integer("Bytes that clients did not have to be sent.")),
        ],
        &[],
    );
    object(
        &[
            ("memory", to("CacheTier")),
            ("disk", json!({ "oneOf": [to("CacheTier"), { "type": "null" }] })),
            ("coming", flights),
            ("stored", integer("Answers that were stored, since the start.")),
            ("refused", integer("Answers there was no room for.")),
            ("purged", integer("Answers that purges removed or made stale.")),
            ("requests", requests),
            (
                "hit_ratio",
                typed(
                    json!(["number", "null"]),
                    "Requests that no server had to answer in full, of those that were looked for; null \
                     without any.",
                ),
            ),
            ("sent_bytes", integer("Bytes to clients that no server had to send for them.")),
            ("compressed", compressed),
        ],
        &[],
    )
}

pub(super) fn tier() -> Value {
    object(
        &[
            ("objects", integer("Answers that are kept.")),
            ("bytes", integer("Bytes that they cost.")),
            ("limit_bytes", integer("Bytes that they may cost.")),
            ("evicted", integer("Answers that had to make room, since the start.")),
        ],
        &[],
    )
}

pub(super) fn entry() -> Value {
    let vary = object(
        &[
            ("name", text("A field of requests, in lower case.")),
            (
                "value",
                maybe(
                    "string",
                    "Its value, as it is compared, but for secrets; null: there was none.",
                ),
            ),
        ],
        &[],
    );
    object(
        &[
            ("url", text("The URL, as its key has it. Long texts here are cut, and end in `…`.")),
            ("key", text("All of its key; of cookies and credentials only that they are there.")),
            ("vary", list(vary, "What selects it among the answers of its key.")),
            ("status", integer("Its status.")),
            ("state", json!({ "enum": ["fresh", "stale"] })),
            ("purged_softly", boolean("Whether it is stale since somebody purged it softly.")),
            ("age_seconds", integer("How old it is.")),
            ("ttl_seconds", integer("How long it is fresh yet; below zero: since when it is not.")),
            ("heuristic", boolean("Whether that is a guess, since the origin did not say it.")),
            ("content_type", maybe("string", "Its `Content-Type`.")),
            ("etag", maybe("string", "Its `ETag`.")),
            ("last_modified", maybe("string", "Its `Last-Modified`.")),
            ("tags", texts("Its tags, fifty at most.")),
            ("length", maybe("integer", "Bytes of the whole body; null: not known yet.")),
            ("whole", boolean("Whether all of the body is there.")),
            ("codings", texts("Codings in which it is kept besides.")),
            ("bytes", integer("What it costs.")),
            ("hits", integer("How often it was given.")),
            ("tier", json!({ "enum": ["memory", "disk"] })),
        ],
        &[],
    )
}

pub(super) fn top() -> Value {
    object(
        &[
            ("url", text("The URL; a long one is cut, and ends in `…`.")),
            ("hits", integer("How often it was given.")),
            ("bytes", integer("What it costs.")),
        ],
        &[],
    )
}

pub(super) fn purge() -> Value {
    object(
        &[
            ("url", text("Answers to this URL, with its scheme.")),
            ("prefix", text("Answers to URLs that begin like this, with the scheme.")),
            ("tag", text("Answers with this tag in `Surrogate-Key` or `Cache-Tag`.")),
            ("host", text("Answers of this host; without a port, at all ports.")),
            ("all", boolean("All answers.")),
            ("soft", boolean("They stay, but are stale.")),
        ],
        &["url", "prefix", "tag", "host", "all", "soft"],
    )
}

pub(super) fn purged() -> Value {
    object(
        &[
            ("objects", integer("Answers in memory that it was about.")),
            ("bytes", integer("What they cost.")),
        ],
        &[],
    )
}
