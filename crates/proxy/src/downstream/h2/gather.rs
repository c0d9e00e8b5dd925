//! A field block that comes in several frames (RFC 9113 §4.3), made one.

use super::frames::{FrameHeader, HEADER, flag, kind};

/// The largest frame that we take: it must hold a field block that was put together.
pub(super) const MAX_FRAME: u32 = 64 * 1024;

/// A field block of which more is to come.
#[derive(Debug, Default)]
pub(super) struct Gather {
    /// All frames of it so far, as they came.
    bytes: Vec<u8>,
    /// How much of it was told about.
    told: usize,
}

/// What has come of a field block.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Gathered {
    /// More is to come.
    More,
    /// All of it: one frame, and what came behind it.
    Whole {
        /// The frame.
        frame: Vec<u8>,
        /// What came behind.
        rest: Vec<u8>,
    },
    /// It is none, or is larger than may be.
    Broken,
}

impl Gather {
    /// Takes more bytes, and tells about each frame that they begin.
    pub(super) fn take(&mut self, bytes: &[u8], mut tell: impl FnMut(FrameHeader)) -> Gathered {
        self.bytes.extend_from_slice(bytes);
        let mut block = Vec::new();
        let mut first: Option<FrameHeader> = None;
        let mut at = 0;
        while let Some(header) = self.bytes[at..].first_chunk::<HEADER>() {
            let frame = FrameHeader::parse(header);
            if at >= self.told {
                tell(frame);
                self.told = at + HEADER;
            }
            let fits = match first {
                None => frame.kind == kind::HEADERS,
                Some(first) => frame.kind == kind::CONTINUATION && frame.stream == first.stream,
            };
            if !fits || block.len() + frame.length as usize > MAX_FRAME as usize {
                return Gathered::Broken;
            }
            let end = at + HEADER + frame.length as usize;
            let Some(payload) = self.bytes.get(at + HEADER..end) else { break };
            let payload = match first {
                None => unpadded(frame, payload),
                Some(_) => Some(payload),
            };
            let Some(payload) = payload else { return Gathered::Broken };
            block.extend_from_slice(payload);
            let head = *first.get_or_insert(frame);
            at = end;
            if frame.flags & flag::END_HEADERS != 0 {
                return Gathered::Whole {
                    frame: whole(head, &block),
                    rest: self.bytes.split_off(at),
                };
            }
        }
        Gathered::More
    }

    /// All that was taken, as it came.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// The payload without its padding (RFC 9113 §6.2).
fn unpadded(frame: FrameHeader, payload: &[u8]) -> Option<&[u8]> {
    if frame.flags & flag::PADDED == 0 {
        return Some(payload);
    }
    let (padding, rest) = payload.split_first()?;
    rest.get(..rest.len().checked_sub(usize::from(*padding))?)
}

fn whole(head: FrameHeader, block: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(HEADER + block.len());
    // What was taken is smaller than a frame can be.
    let length = u32::try_from(block.len()).unwrap_or(u32::MAX);
    frame.extend_from_slice(&length.to_be_bytes()[1..]);
    frame.push(kind::HEADERS);
    frame.push((head.flags & !flag::PADDED) | flag::END_HEADERS);
    frame.extend_from_slice(&head.stream.to_be_bytes());
    frame.extend_from_slice(block);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        bytes.extend_from_slice(&[kind, flags]);
        bytes.extend_from_slice(&stream.to_be_bytes());
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn fragments_become_one_frame_however_they_are_cut() {
        let padded = frame(kind::HEADERS, flag::PADDED | flag::END_STREAM, 3, b"\x02abXX");
        let all = [
            padded,
            frame(kind::CONTINUATION, 0, 3, b"cd"),
            frame(kind::CONTINUATION, flag::END_HEADERS, 3, b"e"),
            b"rest".to_vec(),
        ]
        .concat();
        let expected = frame(kind::HEADERS, flag::END_HEADERS | flag::END_STREAM, 3, b"abcde");
        for size in 1..=all.len() {
            let mut gather = Gather::default();
            let mut told = 0;
            let mut pieces = all.chunks(size);
            let (frame, rest) = loop {
                match gather.take(pieces.next().unwrap(), |_| told += 1) {
                    Gathered::Whole { frame, rest } => break (frame, rest),
                    other => assert_eq!(other, Gathered::More),
                }
            };
            assert_eq!(frame, expected, "{size}");
            assert_eq!([rest, pieces.flatten().copied().collect()].concat(), b"rest");
            assert_eq!(told, 3, "{size}");
        }
    }

    #[test]
    fn what_is_no_field_block_is_left_to_the_library() {
        let begin = frame(kind::HEADERS, 0, 3, b"a");
        for other in [
            frame(kind::DATA, 0, 3, b"x"),
            frame(kind::CONTINUATION, flag::END_HEADERS, 5, b"x"),
            frame(kind::CONTINUATION, 0, 3, &vec![0; MAX_FRAME as usize]),
        ] {
            let all = [begin.clone(), other].concat();
            let mut gather = Gather::default();
            assert_eq!(gather.take(&all, |_| ()), Gathered::Broken);
            assert_eq!(gather.into_bytes(), all);
        }
        let mut gather = Gather::default();
        let padding = frame(kind::HEADERS, flag::PADDED, 3, b"\x09ab");
        assert_eq!(gather.take(&padding, |_| ()), Gathered::Broken);
    }
}
