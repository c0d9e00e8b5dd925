//! What the cache makes of a request and an answer to it: whatever they say, what is sent of a
//! body is of that body, and not much more than it.

use cache::rules::vary;
use cache::rules::{self, Answer, Asked, ContentRange, Kept, Terms};
use cache::{Time, Vary};
use h1::{Completeness, HeadLimits};
use message::Block;

const LIMITS: HeadLimits = HeadLimits { bytes: 4096, fields: 64 };

/// How long the body is that ranges are asked of.
const LENGTH: u64 = 10_000;

/// Reads the head of a request, then that of its answer.
pub fn rules(data: &[u8]) {
    let Ok(Completeness::Complete(end)) = h1::completeness(data, 0, LIMITS) else { return };
    let (first, second) = data.split_at(end);
    let Ok(request) = h1::parse_request(Block::over(first.to_vec()), LIMITS) else { return };
    let asked = Asked::of(request.method, &request.fields);

    let Ok(Completeness::Complete(end)) = h1::completeness(second, 0, LIMITS) else { return };
    let Ok(head) = h1::parse_response(Block::over(second[..end].to_vec()), LIMITS) else { return };
    let (sent, received) = (Time(1_000_000_000_000), Time(1_000_000_000_250));

    if let Some(vary) = Vary::of_answer(&head.fields, &request.fields) {
        assert!(vary::matches(&vary, &request.fields), "an answer is for the request it was for");
    }
    if let Some(part) = ContentRange::of_part(&head.fields) {
        assert!(part.range.start < part.range.end);
        assert!(part.complete.is_none_or(|complete| part.range.end <= complete));
    }
    is_bounded(&rules::answer_to(
        &Kept {
            status: head.status,
            fields: &head.fields,
            date: received,
            length: Some(LENGTH),
            body: None,
        },
        &asked,
        &request.fields,
    ));

    let terms = Terms::default();
    let Ok(facts) = rules::storable(&terms, &request.fields, &asked, &head, sent, received) else {
        return;
    };
    // What was stored does not become younger, nor fresher.
    let (mut age, mut ttl) = (0, i64::MAX);
    for later in [0, 1, 1_000, 86_400_000, 1 << 40, u64::MAX / 2] {
        let now = received.after(later);
        let (old, left) = (rules::age(&facts, now), rules::ttl(&facts, now));
        assert!(old >= age && left <= ttl, "{old} s old, {left} s left after {later} ms");
        (age, ttl) = (old, left);
        let _ = rules::judge(&facts, &asked, now);
        let _ = rules::may_stand_in(&facts, &asked, now);
    }
    let kept = rules::kept(&terms, &head, received);
    assert!(kept.fields.len() <= head.fields.len() + 2, "fields that nobody sent");
}

/// Parts are inside the body, do not overlap, and are not more than the body.
fn is_bounded(answer: &Answer) {
    let Answer::Partial(ranges) = answer else { return };
    assert!(!ranges.parts.is_empty() && ranges.parts.len() <= rules::MAX_RANGES);
    assert!(ranges.parts.iter().all(|part| part.start < part.end && part.end <= LENGTH));
    let sum: u64 = ranges.parts.iter().map(|part| part.end - part.start).sum();
    assert!(sum <= LENGTH, "{sum} bytes of {LENGTH}");
}
