//! The frames of a connection, followed by their headers alone (RFC 9113 §4.1).

/// Types of frames (RFC 9113 §6).
pub(super) mod kind {
    pub(in super::super) const DATA: u8 = 0;
    pub(in super::super) const HEADERS: u8 = 1;
    pub(in super::super) const PRIORITY: u8 = 2;
    pub(in super::super) const RST_STREAM: u8 = 3;
    pub(in super::super) const SETTINGS: u8 = 4;
    pub(in super::super) const PING: u8 = 6;
    pub(in super::super) const WINDOW_UPDATE: u8 = 8;
    pub(in super::super) const CONTINUATION: u8 = 9;
}

/// Flags of frames.
pub(super) mod flag {
    pub(in super::super) const ACK: u8 = 0x1;
    pub(in super::super) const END_STREAM: u8 = 0x1;
    pub(in super::super) const END_HEADERS: u8 = 0x4;
    pub(in super::super) const PADDED: u8 = 0x8;
}

/// Bytes of a header.
pub(super) const HEADER: usize = 9;

/// One header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameHeader {
    pub(super) length: u32,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

/// Follows the frames in one direction.
#[derive(Debug, Default)]
pub(super) struct Frames {
    header: [u8; HEADER],
    /// How much of the header was seen.
    seen: usize,
    /// How much of the payload is still to come.
    payload: u32,
    /// How much of what comes before the first frame is still to come (RFC 9113 §3.4).
    preface: u32,
    /// A frame was seen.
    begun: bool,
}

/// Why what comes next is held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// The header of a frame is not whole.
    HalfHeader,
    /// A field block begins that is not whole in its first frame.
    Fragment,
    /// Whoever was told about a frame wants no more of them.
    Enough,
}

impl FrameHeader {
    pub(super) fn parse(bytes: &[u8; HEADER]) -> Self {
        let [a, b, c, kind, flags, s, t, u, v] = *bytes;
        let stream = u32::from_be_bytes([s, t, u, v]) & 0x7fff_ffff;
        Self { length: u32::from_be_bytes([0, a, b, c]), kind, flags, stream }
    }

    pub(super) fn is_settings(self) -> bool {
        self.kind == kind::SETTINGS && self.flags & flag::ACK == 0
    }

    fn is_fragment(self) -> bool {
        self.kind == kind::HEADERS && self.flags & flag::END_HEADERS == 0
    }
}

impl Frames {
    /// Those of a client, whose first bytes are no frame.
    pub(super) fn after_preface() -> Self {
        Self { preface: 24, ..Self::default() }
    }

    /// Whether a frame was seen.
    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    /// Looks at the next bytes of one who sends, and tells about each frame, and whether it is
    /// the first; `tell` says whether to go on. Gives where they have to be held back from, and
    /// why; what was held back for what is still to come is looked at again.
    pub(super) fn follow(
        &mut self,
        bytes: &[u8],
        mut tell: impl FnMut(FrameHeader, bool) -> bool,
    ) -> Option<(usize, Stop)> {
        let mut at = 0;
        while at < bytes.len() {
            let pass = (self.preface + self.payload).min(as_u32(bytes.len() - at));
            if pass > 0 {
                self.skip(pass);
                at += pass as usize;
                continue;
            }
            let Some(header) = bytes[at..].first_chunk() else {
                return Some((at, Stop::HalfHeader));
            };
            let frame = FrameHeader::parse(header);
            if frame.is_fragment() {
                return Some((at, Stop::Fragment));
            }
            if !tell(frame, !std::mem::replace(&mut self.begun, true)) {
                return Some((at, Stop::Enough));
            }
            self.payload = frame.length;
            at += HEADER;
        }
        None
    }

    /// Looks at bytes that have passed already, and tells about each frame whose header they
    /// complete.
    pub(super) fn pass(&mut self, mut bytes: &[u8], mut tell: impl FnMut(FrameHeader)) {
        while !bytes.is_empty() {
            let pass = self.payload.min(as_u32(bytes.len()));
            if pass > 0 {
                self.skip(pass);
                bytes = &bytes[pass as usize..];
                continue;
            }
            let take = (HEADER - self.seen).min(bytes.len());
            self.header[self.seen..self.seen + take].copy_from_slice(&bytes[..take]);
            self.seen += take;
            bytes = &bytes[take..];
            if self.seen == HEADER {
                self.seen = 0;
                let frame = FrameHeader::parse(&self.header);
                self.payload = frame.length;
                tell(frame);
            }
        }
    }

    fn skip(&mut self, count: u32) {
        let of_preface = count.min(self.preface);
        self.preface -= of_preface;
        self.payload -= count - of_preface;
    }
}

fn as_u32(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(list: &[(u32, u8, u8)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (length, kind, flags) in list {
            bytes.extend_from_slice(&length.to_be_bytes()[1..]);
            bytes.extend_from_slice(&[*kind, *flags, 0, 0, 0, 1]);
            bytes.resize(bytes.len() + *length as usize, 9);
        }
        bytes
    }

    #[test]
    fn frames_are_seen_however_they_are_cut() {
        let expected = [(0, 4, 0), (3, 0, 1), (300, 1, 4)];
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend(frames(&expected));
        for size in 1..bytes.len() {
            let mut follower = Frames::after_preface();
            let (mut seen, mut held) = (Vec::new(), Vec::new());
            for piece in bytes.chunks(size) {
                held.extend_from_slice(piece);
                let stop = follower.follow(&held, |frame, first| {
                    seen.push((frame.length, frame.kind, frame.flags, first));
                    true
                });
                match stop {
                    None => held.clear(),
                    Some((at, Stop::HalfHeader)) => drop(held.drain(..at)),
                    Some((_, stop)) => panic!("{stop:?}"),
                }
            }
            assert_eq!(seen, [(0, 4, 0, true), (3, 0, 1, false), (300, 1, 4, false)], "{size}");
        }
        for size in 1..bytes.len() {
            let mut follower = Frames::default();
            let mut seen = Vec::new();
            for piece in bytes[24..].chunks(size) {
                follower.pass(piece, |frame| seen.push((frame.length, frame.kind, frame.flags)));
            }
            assert_eq!(seen, expected, "{size}");
        }
    }

    #[test]
    fn a_field_block_in_several_frames_is_held_back() {
        let bytes = frames(&[(0, 4, 0), (5, 1, 1), (2, 9, 4)]);
        let mut follower = Frames::default();
        let stop = follower.follow(&bytes, |_, _| true);
        assert_eq!(stop, Some((HEADER, Stop::Fragment)));
    }

    #[test]
    fn nothing_passes_once_it_is_enough() {
        let bytes = frames(&[(0, 4, 0), (5, 2, 0), (8, 6, 0)]);
        let mut follower = Frames::default();
        let stop = follower.follow(&bytes, |frame, _| frame.kind != kind::PRIORITY);
        assert_eq!(stop, Some((HEADER, Stop::Enough)));
    }
}
