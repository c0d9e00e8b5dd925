//! What holds whatever peers send.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// Names that the rules look at.
const NAMES: [&str; 30] = [
    "cache-control",
    "cdn-cache-control",
    "surrogate-control",
    "pragma",
    "expires",
    "date",
    "age",
    "vary",
    "etag",
    "last-modified",
    "content-length",
    "content-range",
    "content-type",
    "set-cookie",
    "location",
    "content-location",
    "surrogate-key",
    "cache-tag",
    "if-none-match",
    "if-match",
    "if-modified-since",
    "if-unmodified-since",
    "if-range",
    "range",
    "accept-encoding",
    "accept-language",
    "authorization",
    "cookie",
    "connection",
    "x-other",
];

/// Pieces of values that mean something.
const PIECES: [&str; 40] = [
    "max-age=",
    "s-maxage=",
    "no-store",
    "no-cache",
    "private",
    "public",
    "=\"",
    "\"",
    ",",
    ", ",
    ";",
    "=",
    "*",
    "-",
    "W/",
    "\\",
    "bytes=",
    "bytes ",
    "/",
    "0",
    "1",
    "9",
    "60",
    "18446744073709551615",
    "99999999999999999999999",
    "(",
    ")",
    "?1",
    ":",
    "Sun, 03 Jul 2022 10:00:00 GMT",
    " ",
    "q=0",
    "q=0.5",
    "gzip",
    "de",
    "must-revalidate",
    "stale-while-revalidate=",
    "stale-if-error=",
    "http://",
    "..",
];

fn value() -> impl Strategy<Value = Vec<u8>> {
    let piece = proptest::sample::select(&PIECES[..]).prop_map(|text| text.as_bytes().to_vec());
    let noise = vec(any::<u8>(), 0..4);
    vec(prop_oneof![9 => piece, 1 => noise], 0..8).prop_map(|pieces| pieces.concat())
}

fn fields() -> impl Strategy<Value = Block> {
    vec((proptest::sample::select(&NAMES[..]), value()), 0..10).prop_map(|fields| {
        let mut block = Block::default();
        for (name, value) in &fields {
            block.push(name.as_bytes(), &[value]);
        }
        block
    })
}

fn methods() -> impl Strategy<Value = Method> {
    proptest::sample::select(
        &[Method::Get, Method::Get, Method::Get, Method::Head, Method::Other][..],
    )
}

fn times() -> impl Strategy<Value = Time> {
    prop_oneof![any::<i64>().prop_map(Time), (-100_000i64..100_000).prop_map(|t| Time(NOW.0 + t))]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// All there is is asked about any heads at any times, and nothing panics.
    #[test]
    fn nothing_panics(
        (method, request, answer, renewal) in (methods(), fields(), fields(), fields()),
        status in prop_oneof![3 => Just(200), 1 => Just(206), 1 => 100u16..1000],
        moments in (times(), times(), times()),
        (default_ttl, max_ttl) in (any::<Option<u64>>(), any::<Option<u64>>()),
        body in vec(any::<u8>(), 0..20),
    ) {
        let asked = Asked::of(method, &request);
        let terms = Terms { default_ttl, max_ttl, while_revalidate: u64::MAX, ..Terms::default() };
        let head = ResponseHead { fields: answer, ..response(status, &[]) };
        let (requested, received, now) = moments;
        let _ = deceives(&body, 200, head.fields.get(message::FieldId::ContentType));
        let _ = tags_of(&head.fields);
        let url = Invalidated { secure: false, authority: b"h", path: &body };
        for target in invalidated_uris(&url, &head.fields) {
            prop_assert_eq!(target[0], b'/');
        }
        let Ok(facts) = storable(&terms, &request, &asked, &head, requested, received) else {
            return Ok(());
        };
        let _ = (judge(&facts, &asked, now), may_stand_in(&facts, &asked, now));
        let _ = (age(&facts, now), ttl(&facts, now));
        let stored = Stored {
            key: Key::new(b""),
            url: 0,
            vary: Vary::of_answer(&head.fields, &request).expect("storable ones are for others"),
            head: kept(&terms, &head, received),
            facts,
            tags: tags_of(&head.fields),
            length: Some(body.len() as u64),
            body: Body::whole(body.clone().into()),
            trailers: None,
            held: Default::default(),
            purged_by: 0.into(),
            hits: 0.into(),
            coded: Default::default(),
        };
        prop_assert!(vary::matches(&stored.vary, &request));
        if let Answer::Partial(ranges) = answer_to(&Kept::from(&stored), &asked, &request) {
            let multipart = Multipart::new(&ranges, None, 1);
            prop_assert!(multipart.length() <= 16 * 1024);
            for range in &ranges.parts {
                prop_assert!(range.start < range.end && range.end <= body.len() as u64);
            }
        }
        let renewal = ResponseHead { fields: renewal, ..response(304, &[]) };
        let _ = freshened(&stored, &terms, &request, &asked, &renewal, (requested, now));
        let _ = freshened_by_head(&stored, &terms, &request, &asked, &renewal, (requested, now));
        let mut validating = request.clone();
        validators([&stored], &mut validating);
        let part = ResponseHead { status: 206, ..renewal };
        let bytes = body.into();
        let _ = combine(&stored, &terms, &request, &asked, &part, (requested, now), &bytes);
        let mut reflections = Reflections::of(&request, &stored.vary, &[]);
        reflections.see_fields(&head.fields);
    }

    /// Parts that are put together hold each byte once, where it belongs, and the gap is what is
    /// missing.
    #[test]
    fn parts_fit(ranges in vec((0u64..40, 1u64..20), 1..8)) {
        let whole: Vec<u8> = (0..60).collect();
        let mut there = [false; 60];
        let mut stored: Option<Stored> = None;
        for (start, length) in ranges {
            let range = start..start + length;
            let bytes = bytes::Bytes::copy_from_slice(&whole[range.start as usize..range.end as usize]);
            there[range.start as usize..range.end as usize].fill(true);
            let text = ContentRange { range, complete: Some(60) }.to_string();
            let fields = [("Cache-Control", "max-age=60"), ("ETag", "\"a\""), ("Content-Range", &*text)];
            let head = response(206, &fields);
            let (request, asked) = get(&[("Range", "bytes=0-")]);
            let times = (NOW, NOW);
            stored = Some(match &stored {
                None => {
                    let mut first = kept_as(206, &fields, "");
                    first.body = Body::Memory(vec![Part { offset: start, bytes }].into());
                    first
                }
                Some(all) => {
                    combine(all, &Terms::default(), &request, &asked, &head, times, &bytes)
                        .expect("they have the same tag").0
                }
            });
        }
        let stored = stored.expect("there is one");
        let Body::Memory(parts) = &stored.body else { unreachable!() };
        let mut end = 0;
        for part in parts {
            prop_assert!(part.offset >= end && !part.bytes.is_empty());
            end = part.offset + part.bytes.len() as u64;
            prop_assert_eq!(&part.bytes[..], &whole[part.offset as usize..end as usize]);
        }
        for (at, &there) in there.iter().enumerate() {
            prop_assert_eq!(stored.body.piece(at as u64).is_some(), there);
        }
        let missing: Vec<u64> = (0..60).filter(|&at| !there[at as usize]).collect();
        let gap = gap(&stored.body, 0..60);
        prop_assert_eq!(gap, missing.first().map(|&first| first..missing[missing.len() - 1] + 1));
    }

    /// Dates are read as they are written.
    #[test]
    fn dates_come_back(seconds in 0i64..253_402_300_800) {
        let time = Time(seconds * 1000);
        prop_assert_eq!(parse_date(http_date(time).as_bytes()), Some(time));
    }
}
