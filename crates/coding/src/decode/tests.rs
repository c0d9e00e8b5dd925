use std::io::Write;
use std::process::{Command, Stdio};

use proptest::prelude::*;

use super::*;
use crate::{Encoder, encode_all};

const FREE: Limits = Limits { max_size: u64::MAX, max_ratio: u32::MAX };

fn zeros(coding: Coding, size: usize) -> Vec<u8> {
    encode_all(coding, 9, &vec![0; size]).unwrap()
}

#[test]
fn sizes_are_held_to_the_byte() {
    for coding in Coding::ALL {
        let packed = zeros(coding, 100_000);
        let within = Limits { max_size: 100_000, ..FREE };
        let beyond = Limits { max_size: 99_999, ..FREE };
        assert_eq!(decode_all(coding, within, &packed).unwrap().len(), 100_000);
        assert_eq!(decode_all(coding, beyond, &packed), Err(DecodeError::TooLarge));
        assert_eq!(
            decode_all(coding, Limits { max_size: 0, ..FREE }, &packed),
            Err(DecodeError::TooLarge)
        );
    }
}

/// A gibibyte of zeros is refused long before it is there, and stays so.
#[test]
fn bombs_are_small_when_they_are_found() {
    for coding in Coding::ALL {
        let mut encoder = Encoder::new(coding, 5, None).unwrap();
        let mut packed = Vec::new();
        for _ in 0..64 {
            encoder.push(&vec![0; 1 << 20], &mut packed).unwrap();
        }
        encoder.finish(&mut packed).unwrap();
        let mut decoder =
            Decoder::new(coding, Limits { max_size: u64::MAX, max_ratio: 100 }).unwrap();
        let mut out = Vec::new();
        let mut left = &packed[..];
        let error = loop {
            match decoder.push(left, &mut out, 16 * 1024) {
                Ok(progress) => left = &left[progress.taken..],
                Err(error) => break error,
            }
        };
        assert_eq!(error, DecodeError::Bomb, "{coding:?}");
        let most = RATIO_FREE.max(100 * packed.len() as u64) + 16 * 1024;
        assert!(out.len() as u64 <= most, "{coding:?}: {}", out.len());
        assert_eq!(decoder.push(&[], &mut out, 1), Err(DecodeError::Bomb));
        assert_eq!(decoder.finish(), Err(DecodeError::Bomb));
    }
}

#[test]
fn a_small_body_may_be_all_zeros() {
    for coding in Coding::ALL {
        let packed = zeros(coding, 60_000);
        assert!(decode_all(coding, Limits { max_size: 60_000, max_ratio: 2 }, &packed).is_ok());
    }
}

#[test]
fn an_end_that_is_missing_is_missed() {
    for coding in Coding::ALL {
        let packed = encode_all(coding, 5, b"some text, and some text more").unwrap();
        for cut in 1..packed.len() {
            assert_eq!(
                decode_all(coding, FREE, &packed[..cut]),
                Err(DecodeError::Truncated),
                "{coding:?} {cut}"
            );
        }
        assert_eq!(decode_all(coding, FREE, b"").unwrap(), b"");
    }
}

#[test]
fn what_follows_the_end_is_no_part_of_it() {
    for coding in Coding::ALL {
        let mut packed = encode_all(coding, 5, b"some text").unwrap();
        packed.extend_from_slice(b"\0garbage");
        assert_eq!(decode_all(coding, FREE, &packed), Err(DecodeError::Corrupt), "{coding:?}");
    }
}

#[test]
fn members_and_frames_are_one_body() {
    for coding in [Coding::Gzip, Coding::Zstd] {
        let mut packed = encode_all(coding, 5, b"one ").unwrap();
        packed.extend(encode_all(coding, 5, b"").unwrap());
        packed.extend(encode_all(coding, 5, b"two").unwrap());
        assert_eq!(decode_all(coding, FREE, &packed).unwrap(), b"one two");
    }
}

#[test]
fn a_wrong_checksum_is_seen() {
    let mut packed = encode_all(Coding::Gzip, 5, b"some text").unwrap();
    let at = packed.len() - 8;
    packed[at] ^= 1;
    assert_eq!(decode_all(Coding::Gzip, FREE, &packed), Err(DecodeError::Corrupt));
}

/// A window of 16 MiB, in a frame of zstd and in a stream of "large window" brotli of 32 MiB.
#[test]
fn windows_are_those_of_the_web() {
    // Magic number, a descriptor without anything, a window of 2^24, a last raw block of one byte.
    let frame =
        |window: u8| [0x28, 0xb5, 0x2f, 0xfd, 0x00, (window - 10) << 3, 0x09, 0x00, 0x00, b'x'];
    assert_eq!(decode_all(Coding::Zstd, FREE, &frame(23)).unwrap(), b"x");
    assert_eq!(decode_all(Coding::Zstd, FREE, &frame(24)), Err(DecodeError::Corrupt));
    // RFC 7932 §9.1: this value is reserved.
    assert_eq!(decode_all(Coding::Brotli, FREE, &[0x11, 25, 0x03]), Err(DecodeError::Corrupt));
}

#[test]
fn no_room_is_no_progress() {
    for coding in Coding::ALL {
        let packed = encode_all(coding, 5, b"some text").unwrap();
        let mut decoder = Decoder::new(coding, FREE).unwrap();
        let mut out = Vec::new();
        assert_eq!(decoder.push(&packed, &mut out, 0), Ok(Progress { taken: 0, more: true }));
        assert!(out.is_empty());
    }
}

/// Runs a program with this input; `None`, where it is not installed.
fn run(program: &str, arguments: &[&str], input: &[u8]) -> Option<Vec<u8>> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut stdin = child.stdin.take()?;
    let input = input.to_vec();
    // Beside us: a pipe is full before a program has read everything.
    let writing = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().ok()?;
    // A program that knows nothing of the coding ends early, so that this fails.
    let _ = writing.join();
    output.status.success().then_some(output.stdout)
}

/// What others have packed is unpacked, and the other way round.
#[test]
fn other_programs_agree() {
    let body: Vec<u8> =
        (0..40_000u32).flat_map(|n| (n * n % 1000).to_string().into_bytes()).collect();
    let python = |module: &str, function: &str| {
        format!(
            "import sys,{module}; sys.stdout.buffer.write({module}.{function}(sys.stdin.buffer.read()))"
        )
    };
    let programs: [(Coding, &str, Vec<String>, Vec<String>); 5] = [
        (Coding::Gzip, "gzip", vec!["-c".into()], vec!["-dc".into()]),
        (Coding::Brotli, "brotli", vec!["-c".into()], vec!["-dc".into()]),
        (Coding::Zstd, "zstd", vec!["-qc".into()], vec!["-dqc".into()]),
        (
            Coding::Gzip,
            "python3",
            vec!["-c".into(), python("gzip", "compress")],
            vec!["-c".into(), python("gzip", "decompress")],
        ),
        (
            Coding::Brotli,
            "python3",
            vec!["-c".into(), python("brotli", "compress")],
            vec!["-c".into(), python("brotli", "decompress")],
        ),
    ];
    for (coding, program, pack, unpack) in &programs {
        let pack: Vec<&str> = pack.iter().map(String::as_str).collect();
        let unpack: Vec<&str> = unpack.iter().map(String::as_str).collect();
        // Who cannot pack is not there.
        let Some(theirs) = run(program, &pack, &body) else { continue };
        assert!(decode_all(*coding, FREE, &theirs).unwrap() == body, "{program}");
        for level in [1, 5, 9] {
            let ours = encode_all(*coding, level, &body).unwrap();
            assert!(
                run(program, &unpack, &ours).as_deref() == Some(&body[..]),
                "{program} {level}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn garbage_is_only_refused(
        coding in prop::sample::select(&Coding::ALL[..]),
        garbage in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let limits = Limits { max_size: 1 << 20, max_ratio: 100 };
        if let Ok(out) = decode_all(coding, limits, &garbage) {
            prop_assert!(out.len() <= 1 << 20);
        }
    }

    /// What was whole and is damaged comes deeper into the libraries than garbage.
    #[test]
    fn damage_is_survived(
        coding in prop::sample::select(&Coding::ALL[..]),
        level in 1u8..=9,
        piece in prop::collection::vec(any::<u8>(), 1..60),
        times in 1usize..200,
        hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        most in 1usize..10_000,
    ) {
        let body = piece.repeat(times);
        let mut packed = encode_all(coding, level, &body).unwrap();
        for (at, value) in hits {
            let at = at.index(packed.len());
            packed[at] = value;
        }
        let limits = Limits { max_size: 50_000, max_ratio: 10 };
        let mut decoder = Decoder::new(coding, limits).unwrap();
        let (mut out, mut left) = (Vec::new(), &packed[..]);
        while let Ok(progress) = decoder.push(left, &mut out, most) {
            left = &left[progress.taken..];
            if left.is_empty() && !progress.more {
                break;
            }
        }
        prop_assert!(out.len() <= 50_001);
    }
}
