use super::*;

const LIMITS: HeadLimits = HeadLimits { bytes: 256, fields: 4 };

/// The body, the lines of its trailers, and what is left over.
type Decoded = (Vec<u8>, Option<String>, Vec<u8>);

/// Decodes input that arrives in pieces of the given sizes.
fn decode_in(pieces: &[&[u8]]) -> Result<Decoded, ParseError> {
    let mut decoder = ChunkedDecoder::new(LIMITS);
    let (mut body, mut pending) = (Vec::new(), Vec::new());
    for piece in pieces {
        pending.extend_from_slice(piece);
        while !decoder.is_done() {
            match decoder.decode(&pending)? {
                Piece::Data { skip, length } => {
                    body.extend_from_slice(&pending[skip..skip + length]);
                    pending.drain(..skip + length);
                    if skip + length == 0 || pending.is_empty() {
                        break;
                    }
                }
                Piece::End { skip } => {
                    pending.drain(..skip);
                }
            }
        }
    }
    assert!(decoder.is_done(), "the body is not over");
    let trailers = decoder.trailers()?.map(|trailers| {
        let mut out = Vec::new();
        trailers.write_lines(&mut out, |_| false);
        String::from_utf8(out).unwrap()
    });
    Ok((body, trailers, pending))
}

fn decode(text: &[u8]) -> Result<Decoded, ParseError> {
    decode_in(&[text])
}

#[test]
fn bodies() {
    let ok = |body: &[u8], trailers: Option<&str>, rest: &[u8]| {
        Ok((body.to_vec(), trailers.map(String::from), rest.to_vec()))
    };
    assert_eq!(decode(b"0\r\n\r\nGET"), ok(b"", None, b"GET"));
    assert_eq!(
        decode(b"5\r\nhello\r\n00a;x=y\r\n0123456789\r\n0\r\n\r\n"),
        ok(b"hello0123456789", None, b"")
    );
    assert_eq!(decode(b"1 ; a;b=\"c\\\"d;\" ;e=f\r\nx\r\n0\r\n\r\n"), ok(b"x", None, b""));
    assert_eq!(decode(b"0\r\nA: b\r\nC:d\r\n\r\nX"), ok(b"", Some("A: b\r\nC: d\r\n"), b"X"));
}

#[test]
fn every_cut_gives_the_same() {
    let text =
        b"5;q=\"a\"\r\nhello\r\nA\r\n\r\n\r\n\r\n\r\n\r\n\r\n0;z\r\nTrailer: x\r\nB: \r\n\r\nrest";
    let whole = decode(text).unwrap();
    for cut in 0..text.len() {
        let (left, right) = text.split_at(cut);
        assert_eq!(decode_in(&[left, right]).unwrap(), whole, "cut at {cut}");
    }
    let bytes: Vec<&[u8]> = text.chunks(1).collect();
    assert_eq!(decode_in(&bytes).unwrap(), whole);
}

#[test]
fn chunks_that_are_refused() {
    use ParseError::*;
    let bad = Malformed(Part::Chunk);
    for (text, error) in [
        (&b"\r\n"[..], BareLineEnd),
        (b"5\nhello\r\n0\r\n\r\n", BareLineEnd),
        (b"5\r\nhello\n0\r\n\r\n", BareLineEnd),
        (b"5\r\nhello0\r\n\r\n", bad),
        (b"5\r\nhello!\r\n", bad),
        (b"5\r\nhello\rX", bad),
        (b"5\rX", BareLineEnd),
        (b"0x5\r\n", bad),
        (b"+5\r\n", bad),
        (b"-5\r\n", bad),
        (b"5_0\r\n", bad),
        (b" 5\r\n", bad),
        (b"5 \r\n", BareLineEnd),
        (b"5 5\r\n", bad),
        (b"5 junk\r\n", bad),
        (b"5junk\r\n", bad),
        (b"5;\r\n", BareLineEnd),
        (b"5;=x\r\n", bad),
        (b"5;a=\r\n", BareLineEnd),
        (b"5;a=\"\n\"\r\n", BareLineEnd),
        (b"5;a=\"\0\"\r\n", bad),
        (b"5;a b\r\n", bad),
        (b"g\r\n", bad),
        (b"00000000000000005\r\n", ChunkTooLarge),
        (b"10000000000000000\r\n", ChunkTooLarge),
        (b"0\r\nA: b\n\r\n", BareLineEnd),
        (b"0\r\n\n", BareLineEnd),
        (b"0\r\n A: b\r\n\r\n", FoldedLine),
        (b"0\r\nA : b\r\n\r\n", Malformed(Part::FieldName)),
        (b"0\r\nA: \0\r\n\r\n", Malformed(Part::FieldValue)),
        (b"0\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\n\r\n", TooManyFields),
    ] {
        assert_eq!(decode(text).map(|_| ()), Err(error), "{}", text.escape_ascii());
    }
    let mut long = b"0\r\nA: ".to_vec();
    long.resize(300, b'a');
    assert_eq!(decode(&long).map(|_| ()), Err(HeadTooLarge));
}

#[test]
fn extensions_are_bounded_over_the_whole_body() {
    let mut decoder = ChunkedDecoder::new(LIMITS);
    let error = (0..10_000).find_map(|_| {
        let mut input = &b"1;abc=d\r\nx\r\n"[..];
        while !input.is_empty() {
            match decoder.decode(input) {
                Ok(Piece::Data { skip, length }) => input = &input[skip + length..],
                Ok(Piece::End { .. }) => unreachable!("no last chunk was sent"),
                Err(error) => return Some(error),
            }
        }
        None
    });
    assert_eq!(error, Some(ParseError::Malformed(Part::Chunk)));
}

#[test]
fn headers() {
    assert_eq!(ChunkHeader::new(1).as_bytes(), b"1\r\n");
    assert_eq!(ChunkHeader::new(0x1234).as_bytes(), b"1234\r\n");
    assert_eq!(ChunkHeader::new(usize::MAX).as_bytes(), b"ffffffffffffffff\r\n");
}

proptest::proptest! {
    #[test]
    fn never_panics(text: Vec<u8>) {
        let mut decoder = ChunkedDecoder::new(LIMITS);
        let mut input = &text[..];
        while let Ok(Piece::Data { skip, length }) = decoder.decode(input) {
            if skip + length == 0 { break }
            input = &input[skip + length..];
        }
    }

    /// A body split into chunks of any size, cut anywhere, comes out whole.
    #[test]
    fn encode_and_decode_agree(
        body in proptest::collection::vec(proptest::collection::vec(proptest::num::u8::ANY, 1..40), 0..8),
        cut in 0usize..200,
    ) {
        let mut text = Vec::new();
        for chunk in &body {
            text.extend_from_slice(ChunkHeader::new(chunk.len()).as_bytes());
            text.extend_from_slice(chunk);
            text.extend_from_slice(b"\r\n");
        }
        text.extend_from_slice(LAST_CHUNK);
        let (left, right) = text.split_at(cut.min(text.len()));
        let (decoded, _, rest) = decode_in(&[left, right]).unwrap();
        proptest::prop_assert_eq!(decoded, body.concat());
        proptest::prop_assert!(rest.is_empty());
    }
}
