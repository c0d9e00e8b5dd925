use proptest::prelude::*;

use super::*;
use crate::{DecodeError, Decoder, Limits, decode_all};

const FREE: Limits = Limits { max_size: u64::MAX, max_ratio: u32::MAX };

/// Text that repeats itself, but not only.
fn text(size: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(size + 64);
    let mut seed = 1u32;
    while out.len() < size {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        out.extend_from_slice(
            format!("<li class=\"entry\">number {} of {}</li>\n", seed >> 20, seed >> 28)
                .as_bytes(),
        );
    }
    out.truncate(size);
    out
}

#[test]
fn every_level_comes_back() {
    let body = text(70_000);
    for coding in Coding::ALL {
        // Those beyond the ends become the ends.
        for level in 0..=20 {
            let packed = encode_all(coding, level, &body).unwrap();
            assert!(packed.len() < body.len() / 3, "{coding:?} {level}: {}", packed.len());
            assert!(decode_all(coding, FREE, &packed).unwrap() == body, "{coding:?} {level}");
        }
    }
}

#[test]
fn nothing_is_a_body_too() {
    for coding in Coding::ALL {
        let packed = encode_all(coding, 5, b"").unwrap();
        assert!(!packed.is_empty());
        assert_eq!(decode_all(coding, FREE, &packed).unwrap(), b"");
    }
}

#[test]
fn a_wrong_size_does_no_harm() {
    let body = text(300_000);
    for coding in Coding::ALL {
        for size in [None, Some(0), Some(1), Some(299_999), Some(u64::MAX)] {
            let mut out = Vec::new();
            let mut encoder = Encoder::new(coding, 4, size).unwrap();
            encoder.push(&body, &mut out).unwrap();
            encoder.finish(&mut out).unwrap();
            assert!(decode_all(coding, FREE, &out).unwrap() == body, "{coding:?} {size:?}");
        }
    }
}

/// As a client of server-sent events: what was flushed must be there, before anything follows.
#[test]
fn what_was_flushed_can_be_read() {
    for coding in Coding::ALL {
        for level in [1, 5, 9, 11] {
            let mut encoder = Encoder::new(coding, level, None).unwrap();
            let mut decoder = Decoder::new(coding, FREE).unwrap();
            for event in 0..50 {
                let line = format!("data: {event} {}\n\n", "x".repeat(event * 97));
                let mut wire = Vec::new();
                encoder.push(line.as_bytes(), &mut wire).unwrap();
                encoder.flush(&mut wire).unwrap();
                let mut seen = Vec::new();
                let progress = decoder.push(&wire, &mut seen, usize::MAX).unwrap();
                assert_eq!(progress.taken, wire.len());
                assert_eq!(seen, line.as_bytes(), "{coding:?} {level}");
                // Nothing new: little is said about it.
                wire.clear();
                encoder.flush(&mut wire).unwrap();
                assert!(wire.len() <= 8, "{coding:?} {level}: {}", wire.len());
                decoder.push(&wire, &mut seen, usize::MAX).unwrap();
            }
            let mut wire = Vec::new();
            encoder.finish(&mut wire).unwrap();
            decoder.push(&wire, &mut Vec::new(), usize::MAX).unwrap();
            decoder.finish().unwrap();
        }
    }
}

/// A context that was left in the middle of a body must not show it in the next one.
#[test]
fn contexts_are_clean_when_they_are_used_again() {
    let body = text(5_000);
    for coding in Coding::ALL {
        let first = encode_all(coding, 3, &body).unwrap();
        for _ in 0..8 {
            let mut left = Encoder::new(coding, 3, None).unwrap();
            left.push(&text(100_000), &mut Vec::new()).unwrap();
            drop(left);
            let mut broken = Decoder::new(coding, FREE).unwrap();
            broken.push(&first[..first.len() / 2], &mut Vec::new(), usize::MAX).unwrap();
            assert_eq!(broken.finish(), Err(DecodeError::Truncated));
            assert_eq!(encode_all(coding, 3, &body).unwrap(), first);
            assert_eq!(decode_all(coding, FREE, &first).unwrap(), body);
        }
    }
}

#[test]
fn windows_hold_the_body() {
    assert_eq!(window_bits(None, 10, 19), 19);
    assert_eq!(window_bits(Some(0), 10, 19), 10);
    assert_eq!(window_bits(Some(1007), 10, 19), 10);
    assert_eq!(window_bits(Some(1008), 10, 19), 11);
    assert_eq!(window_bits(Some(u64::MAX), 10, 19), 19);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the pieces are, and wherever it is flushed.
    #[test]
    fn round_trips_in_pieces(
        coding in prop::sample::select(&Coding::ALL[..]),
        level in 0u8..=9,
        bodies in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..40), 0usize..400, any::<bool>()), 0..20),
        chunk in 1usize..700,
        most in 1usize..5000,
    ) {
        let mut body = Vec::new();
        let mut packed = Vec::new();
        let mut encoder = Encoder::new(coding, level, None).unwrap();
        for (piece, times, flush) in bodies {
            let piece = piece.repeat(times);
            encoder.push(&piece, &mut packed).unwrap();
            if flush {
                encoder.flush(&mut packed).unwrap();
            }
            body.extend_from_slice(&piece);
        }
        encoder.finish(&mut packed).unwrap();

        let mut decoder = Decoder::new(coding, FREE).unwrap();
        let mut seen = Vec::new();
        for input in packed.chunks(chunk) {
            let mut left = input;
            loop {
                let before = seen.len();
                let progress = decoder.push(left, &mut seen, most).unwrap();
                prop_assert!(seen.len() - before <= most);
                left = &left[progress.taken..];
                if left.is_empty() && !progress.more {
                    break;
                }
                // It must come to an end.
                prop_assert!(progress.taken > 0 || seen.len() > before || most == 0);
            }
        }
        prop_assert_eq!(decoder.made(), body.len() as u64);
        prop_assert!(decoder.finish().is_ok());
        prop_assert_eq!(seen, body);
    }
}
