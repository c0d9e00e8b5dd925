//! The chunked coding, beside a decoder that looks at everything at once and keeps no state.

use h1::{BodyEncoder, ChunkedDecoder, HeadLimits, Piece};
use message::Block;

const LIMITS: HeadLimits = HeadLimits { bytes: 1024, fields: 16 };

/// Longer inputs might meet the limit of extensions, which the other decoder does not have.
const LONGEST: usize = 12 << 10;

/// Names and values.
type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// What a body turned out to be.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// All of it, with the trailer fields (`None`: malformed) and the length in the coding.
    Whole { body: Vec<u8>, trailers: Option<Fields>, length: usize },
    /// So much of it; more would have to come.
    Part { body: Vec<u8> },
    /// It is malformed.
    Bad,
}

/// Decodes a body; the first byte says how it is cut.
pub fn decode(data: &[u8]) {
    let Some((&cut, input)) = data.split_first() else { return };
    if input.len() > LONGEST {
        return;
    }
    let expected = Naive { input, at: 0 }.decode();
    assert_eq!(in_pieces(input, input.len().max(1)), expected, "at once");
    assert_eq!(in_pieces(input, usize::from(cut).max(1)), expected, "in pieces of {cut}");
    if let Outcome::Whole { body, .. } = expected {
        encode(&body, usize::from(cut).max(1));
    }
}

fn in_pieces(input: &[u8], size: usize) -> Outcome {
    let mut decoder = ChunkedDecoder::new(LIMITS);
    let (mut body, mut at) = (Vec::new(), 0);
    for piece in input.chunks(size) {
        let mut rest = piece;
        loop {
            let Ok(piece) = decoder.decode(rest) else { return Outcome::Bad };
            match piece {
                Piece::Data { skip, length } => {
                    assert!(skip + length > 0 || rest.is_empty(), "no progress");
                    body.extend_from_slice(&rest[skip..skip + length]);
                    rest = &rest[skip + length..];
                    at += skip + length;
                    assert!(!decoder.is_done());
                }
                Piece::End { skip } => {
                    assert!(decoder.is_done());
                    if skip < rest.len() {
                        assert_eq!(decoder.decode(&rest[skip..]), Ok(Piece::End { skip: 0 }));
                    }
                    let trailers = decoder.trailers().ok().map(|block| {
                        let block = block.unwrap_or_default();
                        let fields = block.iter();
                        fields.map(|f| (block.name(f).to_vec(), block.value(f).to_vec())).collect()
                    });
                    return Outcome::Whole { body, trailers, length: at + skip };
                }
            }
            if rest.is_empty() {
                break;
            }
        }
    }
    Outcome::Part { body }
}

/// What is encoded is decoded to the same.
fn encode(body: &[u8], size: usize) {
    let mut out = Vec::new();
    for piece in body.chunks(size) {
        BodyEncoder::Chunked.encode(piece, &mut out);
    }
    let mut trailers = Block::default();
    trailers.push(b"Checksum", &[b"1", b"2"]);
    BodyEncoder::Chunked.finish(Some(&trailers), &mut out);
    let length = out.len();
    let trailers = Some(vec![(b"Checksum".to_vec(), b"12".to_vec())]);
    assert_eq!(in_pieces(&out, 7), Outcome::Whole { body: body.to_vec(), trailers, length });
}

/// RFC 9112 §7.1 by recursive descent. `Err(true)`: the input ends too early.
struct Naive<'a> {
    input: &'a [u8],
    at: usize,
}

impl Naive<'_> {
    fn decode(mut self) -> Outcome {
        let mut body = Vec::new();
        match self.body(&mut body) {
            Ok(trailers) => Outcome::Whole { body, trailers, length: self.at },
            Err(true) => Outcome::Part { body },
            Err(false) => Outcome::Bad,
        }
    }

    fn body(&mut self, body: &mut Vec<u8>) -> Result<Option<Fields>, bool> {
        loop {
            let size = self.size_line()?;
            if size == 0 {
                return self.trailers();
            }
            for _ in 0..size {
                body.push(self.next()?);
            }
            self.expect(b'\r')?;
            self.expect(b'\n')?;
        }
    }

    fn size_line(&mut self) -> Result<u64, bool> {
        let mut digits = String::new();
        while let Ok(digit @ (b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F')) = self.peek() {
            digits.push(char::from(digit));
            self.at += 1;
            if digits.len() > 16 {
                return Err(false);
            }
        }
        if digits.is_empty() {
            return Err(self.peek().is_err());
        }
        let size = u64::from_str_radix(&digits, 16).expect("digits");
        loop {
            let spaced = self.space();
            match self.peek()? {
                b';' => {
                    self.at += 1;
                    self.extension()?;
                }
                b'\r' if !spaced => {
                    self.at += 1;
                    return self.expect(b'\n').map(|()| size);
                }
                _ => return Err(false),
            }
        }
    }

    /// `name [ "=" ( token / quoted-string ) ]`, behind the semicolon.
    fn extension(&mut self) -> Result<(), bool> {
        self.space();
        self.token()?;
        if self.peek()? != b'=' {
            return Ok(());
        }
        self.at += 1;
        if self.peek()? != b'"' {
            return self.token();
        }
        self.at += 1;
        loop {
            match self.next()? {
                b'"' => return Ok(()),
                b'\\' => drop(Self::text(self.next()?)?),
                byte => drop(Self::text(byte)?),
            }
        }
    }

    fn token(&mut self) -> Result<(), bool> {
        let start = self.at;
        let is_token =
            |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        while self.peek().is_ok_and(is_token) {
            self.at += 1;
        }
        if self.at > start { Ok(()) } else { Err(self.peek().is_err()) }
    }

    fn text(byte: u8) -> Result<u8, bool> {
        match byte {
            b'\t' | b' '..=0x7e | 0x80.. => Ok(byte),
            _ => Err(false),
        }
    }

    fn trailers(&mut self) -> Result<Option<Fields>, bool> {
        let start = self.at;
        let mut lines: Vec<&[u8]> = Vec::new();
        let complete = loop {
            let rest = &self.input[self.at..];
            let Some(end) = rest.iter().position(|byte| *byte == b'\n') else { break false };
            if end == 0 || rest[end - 1] != b'\r' {
                return Err(false);
            }
            self.at += end + 1;
            if end == 1 {
                break true;
            }
            lines.push(&rest[..end - 1]);
        };
        let seen = if complete { self.at } else { self.input.len() };
        if seen - start > LIMITS.bytes {
            return Err(false);
        }
        if !complete {
            return Err(true);
        }
        let fields: Option<Vec<_>> = lines.into_iter().map(Self::field).collect();
        Ok(fields.filter(|fields| fields.len() <= LIMITS.fields))
    }

    fn field(line: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let mut name = Naive { input: &line[..colon], at: 0 };
        name.token().ok()?;
        let value = &line[colon + 1..];
        let fits = value.iter().all(|byte| Self::text(*byte).is_ok());
        let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
        let from = value.iter().position(|byte| !is_space(byte)).unwrap_or(value.len());
        let to = value.iter().rposition(|byte| !is_space(byte)).map_or(from, |at| at + 1);
        (name.at == colon && fits).then(|| (line[..colon].to_vec(), value[from..to].to_vec()))
    }

    fn peek(&self) -> Result<u8, bool> {
        self.input.get(self.at).copied().ok_or(true)
    }

    fn next(&mut self) -> Result<u8, bool> {
        let byte = self.peek()?;
        self.at += 1;
        Ok(byte)
    }

    fn expect(&mut self, expected: u8) -> Result<(), bool> {
        if self.next()? == expected { Ok(()) } else { Err(false) }
    }

    /// Skips white space; whether there was some.
    fn space(&mut self) -> bool {
        let start = self.at;
        while let Ok(b' ' | b'\t') = self.peek() {
            self.at += 1;
        }
        self.at > start
    }
}
