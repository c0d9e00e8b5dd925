//! Content codings: what is unpacked stays within its limits, and what was packed is what comes
//! out again.

use coding::dictionary::{Pattern, UseAs};
use coding::{Accepts, Coding, DecodeError, Decoder, Limits};

const LIMITS: Limits = Limits { max_size: 1 << 20, max_ratio: 200 };

/// Unpacks the bytes; the first says by which coding, and in pieces of which length.
pub fn unpack(data: &[u8]) {
    let Some((&first, body)) = data.split_first() else { return };
    let coding = [Coding::Gzip, Coding::Brotli, Coding::Zstd][usize::from(first % 3)];
    let at_once = decode(coding, body, body.len().max(1));
    let in_pieces = decode(coding, body, usize::from(first / 3) + 1);
    match (&at_once, &in_pieces) {
        (Ok(one), Ok(other)) => assert_eq!(one, other, "the pieces make a difference"),
        (Err(_), Err(_)) => {}
        // How much came out for what went in is looked at after each piece.
        (Ok(_), Err(DecodeError::Bomb)) | (Err(DecodeError::Bomb), Ok(_)) => {}
        (one, other) => panic!("{:?} at once, {:?} in pieces", one.is_ok(), other.is_ok()),
    }

    let packed = coding::encode_all(coding, first % 7, body).expect("there is memory");
    let limits = Limits { max_size: body.len() as u64, max_ratio: u32::MAX };
    let decoder = Decoder::new(coding, limits).expect("there is memory");
    let again = drive(decoder, &packed, packed.len().max(1));
    assert_eq!(again.as_deref(), Ok(body), "what was packed is not what came out");
}

/// Reads the fields that say which codings and dictionaries may be used.
pub fn fields(data: &[u8]) {
    let accepts = Accepts::of([data]);
    if let Some(best) = accepts.best(&[Coding::Zstd, Coding::Brotli, Coding::Gzip]) {
        assert!(accepts.allows(best));
    }
    const ORIGIN: &str = "https://shop.example";
    if let Some(used) = UseAs::of([data], ORIGIN, "/js/app.1.js") {
        assert!(used.id.len() <= 1024);
        let _ = used.fits(b"/js/app.2.js", Some(b"script"));
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(pattern) = Pattern::parse(text, ORIGIN, "/js/") {
        let _ = pattern.fits(data);
    }
    let Some(pattern) = coding::dictionary::pattern_for(text) else { return };
    let pattern = Pattern::parse(&pattern, ORIGIN, "/").expect("what we make can be read");
    assert!(pattern.fits(data), "a pattern is for what it was made of");
}

fn decode(coding: Coding, body: &[u8], piece: usize) -> Result<Vec<u8>, DecodeError> {
    let decoder = Decoder::new(coding, LIMITS).expect("there is memory");
    drive(decoder, body, piece)
}

fn drive(mut decoder: Decoder, body: &[u8], piece: usize) -> Result<Vec<u8>, DecodeError> {
    const MOST: usize = 4096;
    let (mut out, mut all) = (Vec::new(), Vec::new());
    for mut input in body.chunks(piece) {
        loop {
            let progress = decoder.push(input, &mut out, MOST)?;
            assert!(out.len() <= MOST, "{} bytes in a piece of {MOST}", out.len());
            assert!(progress.taken <= input.len());
            assert!(progress.taken > 0 || !out.is_empty() || !progress.more, "it makes no way");
            input = &input[progress.taken..];
            all.append(&mut out);
            if input.is_empty() && !progress.more {
                break;
            }
        }
    }
    decoder.finish()?;
    Ok(all)
}
