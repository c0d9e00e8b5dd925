use proptest::prelude::*;

use super::*;
use crate::{
    DecodeError, Decoder, Encoder, Limits, decode_by_dictionary, encode_all, encode_by_dictionary,
};

const FREE: Limits = Limits { max_size: u64::MAX, max_ratio: u32::MAX };
const BOTH: [DictionaryCoding; 2] = [DictionaryCoding::Dcb, DictionaryCoding::Dcz];

/// Text that nothing but itself helps to make smaller.
fn noise(size: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2) + 1;
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"[(state >> 58) as usize]
    };
    (0..size).map(|_| next()).collect()
}

fn dictionary(bytes: &[u8]) -> Dictionary {
    Dictionary::new(Bytes::copy_from_slice(bytes)).unwrap()
}

#[test]
fn hashes_are_written_and_read() {
    let hash = Hash::of(b"abc");
    let field = ":ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=:";
    assert_eq!(hash.to_field(), field);
    assert_eq!(Hash::of_field(field.as_bytes()), Some(hash));
    assert_eq!(Hash::of_field(format!(" {field};a=1 ").as_bytes()), Some(hash));
    for wrong in
        ["", "::", ":YWJj:", "abc", "\"abc\"", ":ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=", "1"]
    {
        assert_eq!(Hash::of_field(wrong.as_bytes()), None, "{wrong}");
    }
}

#[test]
fn what_is_no_dictionary() {
    assert!(Dictionary::new(Bytes::from(vec![b'x'; 255])).is_none());
    assert!(Dictionary::new(Bytes::from(vec![b'x'; MOST + 1])).is_none());
    let mut disguised = vec![b'x'; 1000];
    disguised[..4].copy_from_slice(&MAGIC_OF_ZSTD);
    assert!(Dictionary::new(Bytes::from(disguised)).is_none());
}

#[test]
fn the_client_says_what_it_takes() {
    let of = |value: &str| Accepts::of([value.as_bytes()]);
    let (small, large) = (dictionary(&noise(1000, 1)), dictionary(&noise(3 << 20, 1)));
    assert_eq!(small.best(&of("gzip, br, zstd, dcb, dcz"), None), Some(DictionaryCoding::Dcz));
    assert_eq!(small.best(&of("br, dcb"), Some(5000)), Some(DictionaryCoding::Dcb));
    assert_eq!(small.best(&of("br, dcb"), None), None);
    assert_eq!(small.best(&of("*"), Some(5000)), None);
    // It would not be within the window.
    assert_eq!(large.best(&of("dcb"), Some(2 << 20)), None);
    assert_eq!(large.best(&of("dcb, dcz"), Some(2 << 20)), Some(DictionaryCoding::Dcz));
    let body = vec![b'x'; 2 << 20];
    assert!(encode_by_dictionary(DictionaryCoding::Dcb, 5, &large, &body).is_err());
    assert!(encode_by_dictionary(DictionaryCoding::Dcz, 1, &large, &body).is_ok());
}

/// There is no byte that would keep copies from the end of the dictionary.
#[test]
fn a_body_with_all_bytes_has_no_brotli() {
    let old = dictionary(&noise(1000, 1));
    let all: Vec<u8> = (0..=255).collect();
    assert!(encode_by_dictionary(DictionaryCoding::Dcb, 5, &old, &all).is_err());
    assert!(encode_by_dictionary(DictionaryCoding::Dcb, 5, &old, &all[1..]).is_ok());
    assert!(encode_by_dictionary(DictionaryCoding::Dcz, 5, &old, &all).is_ok());
}

/// RFC 9842 §4, §5.
#[test]
fn bodies_begin_with_the_hash() {
    let old = dictionary(&noise(1000, 1));
    let dcb = encode_by_dictionary(DictionaryCoding::Dcb, 5, &old, b"x").unwrap();
    assert_eq!(&dcb[..4], b"\xffDCB");
    assert_eq!(&dcb[4..36], old.hash().bytes());
    let dcz = encode_by_dictionary(DictionaryCoding::Dcz, 3, &old, b"x").unwrap();
    assert_eq!(&dcz[..8], b"\x5e\x2a\x4d\x18\x20\0\0\0");
    assert_eq!(&dcz[8..40], old.hash().bytes());
    assert_eq!(&dcz[40..44], b"\x28\xb5\x2f\xfd");
}

#[test]
fn the_next_version_is_small() {
    for size in [2_000, 60_000, 65_536, 131_072, 700_000] {
        let old = noise(size, 1);
        let mut new = old[..size / 3].to_vec();
        new.extend_from_slice(&noise(100, 2));
        new.extend_from_slice(&old[size / 3 + 50..]);
        let old = dictionary(&old);
        for coding in BOTH {
            for level in [1, 3, 5, 9] {
                let packed = encode_by_dictionary(coding, level, &old, &new).unwrap();
                assert!(packed.len() < 600, "{coding:?} {level} {size}: {}", packed.len());
                assert!(
                    decode_by_dictionary(coding, FREE, &old, &packed).unwrap() == new,
                    "{coding:?} {level} {size}"
                );
            }
        }
    }
}

/// All levels, the slow ones too.
#[test]
fn every_level_knows_dictionaries() {
    let old = noise(3000, 1);
    let new = [&old[500..], b"something new", &old[..700]].concat();
    let old = dictionary(&old);
    for coding in BOTH {
        for level in 0..=20 {
            let packed = encode_by_dictionary(coding, level, &old, &new).unwrap();
            assert!(packed.len() < 120, "{coding:?} {level}: {}", packed.len());
            assert!(
                decode_by_dictionary(coding, FREE, &old, &packed).unwrap() == new,
                "{coding:?} {level}"
            );
        }
    }
}

/// A copy that goes on from the dictionary into the body is no stream of brotli (RFC 9841 §9.2).
/// Here the beginning of the body follows the end of the dictionary at the ends of blocks, and
/// after every few bytes.
#[test]
fn no_copy_goes_beyond_the_dictionary() {
    for size in [1 << 14, 1 << 16, 1 << 17] {
        let old = noise(size, 3);
        let whole = [&old[..], &old, &old, &old[..size / 2], &old].concat();
        let mut ends = old[..100].to_vec();
        for length in 1..40 {
            ends.extend_from_slice(&old[size - length..]);
            ends.extend_from_slice(&old[..100 - length]);
            ends.push(b'!');
        }
        let old = dictionary(&old);
        for new in [whole, ends] {
            for level in 5..=9 {
                let packed =
                    encode_by_dictionary(DictionaryCoding::Dcb, level, &old, &new).unwrap();
                let unpacked = decode_by_dictionary(DictionaryCoding::Dcb, FREE, &old, &packed);
                assert!(unpacked.is_ok_and(|unpacked| unpacked == new), "{level} {size}");
            }
        }
    }
}

#[test]
fn another_dictionary_is_of_no_use() {
    let (old, other) = (dictionary(&noise(1000, 1)), dictionary(&noise(1000, 2)));
    for coding in BOTH {
        let packed = encode_by_dictionary(coding, 5, &old, &noise(1000, 1)).unwrap();
        assert_eq!(decode_by_dictionary(coding, FREE, &other, &packed), Err(DecodeError::Corrupt));
        assert_eq!(
            decode_by_dictionary(coding, FREE, &old, &packed[..20]),
            Err(DecodeError::Truncated)
        );
        assert_eq!(
            decode_by_dictionary(coding, FREE, &old, &packed[1..]),
            Err(DecodeError::Corrupt)
        );
        assert_eq!(
            decode_by_dictionary(coding, Limits { max_size: 999, ..FREE }, &old, &packed),
            Err(DecodeError::TooLarge)
        );
    }
}

/// A context that had a dictionary must not have it for the next body.
#[test]
fn contexts_forget_dictionaries() {
    let body = noise(1000, 1);
    let old = dictionary(&body);
    for (coding, plain) in BOTH.into_iter().zip([crate::Coding::Brotli, crate::Coding::Zstd]) {
        let first = encode_all(plain, 5, &body).unwrap();
        for _ in 0..3 {
            encode_by_dictionary(coding, 5, &old, &body).unwrap();
            let packed = encode_by_dictionary(coding, 5, &old, &body).unwrap();
            decode_by_dictionary(coding, FREE, &old, &packed).unwrap();
            assert_eq!(encode_all(plain, 5, &body).unwrap(), first);
            assert_eq!(crate::decode_all(plain, FREE, &first).unwrap(), body);
        }
    }
}

/// Bodies that the reference implementations of brotli (1.2.0) and zstd (1.5.4) have made.
#[test]
fn the_reference_agrees() {
    let old: String = (0..150u32).map(|number| (number * number).to_string()).collect();
    let new = format!("{}something new{}", &old[50..300], &old[..120]);
    let old = dictionary(old.as_bytes());
    for (coding, body) in [
        (DictionaryCoding::Dcb, "1b7e0100a441cadceee421838556de174d8b644bf266"),
        (
            DictionaryCoding::Dcz,
            "28b52ffd607f00d500007834736f6d657468696e67206e6577300200d4ac48d5de821257",
        ),
    ] {
        let mut packed = coding.header(&old);
        packed.extend(
            (0..body.len()).step_by(2).map(|at| u8::from_str_radix(&body[at..at + 2], 16).unwrap()),
        );
        assert_eq!(decode_by_dictionary(coding, FREE, &old, &packed).unwrap(), new.as_bytes());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Pieces of the dictionary and of itself, in any order and any pieces.
    #[test]
    fn round_trips(
        coding in prop::sample::select(&BOTH[..]),
        level in 1u8..=9,
        size in 256usize..40_000,
        parts in prop::collection::vec((any::<prop::sample::Index>(), 0usize..30_000, any::<bool>()), 0..12),
        flushed in prop::option::of(1usize..20_000),
        known in any::<bool>(),
    ) {
        let old = noise(size, size as u64);
        let mut new = Vec::new();
        for (from, length, own) in parts {
            let source = if own { &new } else { &old };
            if !source.is_empty() {
                let from = from.index(source.len());
                let part = source[from..(from + length).min(source.len())].to_vec();
                new.extend_from_slice(&part);
            }
        }
        let old = dictionary(&old);
        let packed = match (coding, flushed) {
            (DictionaryCoding::Dcz, Some(piece)) => {
                let mut packed = Vec::new();
                let mut encoder = Encoder::by_dictionary(level, known.then_some(new.len() as u64), &old).unwrap();
                for part in new.chunks(piece) {
                    encoder.push(part, &mut packed).unwrap();
                    encoder.flush(&mut packed).unwrap();
                }
                encoder.finish(&mut packed).unwrap();
                packed
            }
            _ => encode_by_dictionary(coding, level, &old, &new).unwrap(),
        };
        let mut decoder = Decoder::by_dictionary(coding, FREE, &old).unwrap();
        let (mut out, mut left) = (Vec::new(), &packed[..]);
        loop {
            let some = &left[..left.len().min(37)];
            let progress = decoder.push(some, &mut out, 1000).unwrap();
            left = &left[progress.taken..];
            if left.is_empty() && !progress.more {
                break;
            }
        }
        prop_assert!(decoder.finish().is_ok());
        prop_assert!(out == new);
    }
}
