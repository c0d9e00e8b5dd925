//! One end of an HTTP/2 connection, frame by frame.

use std::collections::{HashMap, VecDeque};
use std::io::{self, ErrorKind};

use fluke_hpack::Decoder;

use super::frame::{Frame, flag, kind, setting};
use super::hpack::{Block, fields};
use crate::{DEADLINE, Peer};

/// How large a window or a table is when nobody says otherwise (RFC 9113, section 6.5.2).
const DEFAULT_WINDOW: i64 = 65_535;
const DEFAULT_TABLE: usize = 4096;
/// So many frames are shown when a test fails.
const SHOWN: usize = 40;

/// Name and value of a field; octets beyond ASCII are replaced.
pub type Field = (String, String);

/// What an end does by itself when it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Habits {
    /// It acknowledges SETTINGS.
    pub ack_settings: bool,
    /// It answers PING.
    pub answer_pings: bool,
    /// It gives the window back for all DATA.
    pub open_windows: bool,
}

impl Default for Habits {
    fn default() -> Self {
        Self { ack_settings: true, answer_pings: true, open_windows: true }
    }
}

/// What the other side said. Header blocks are put together and decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The fields of a message, or its trailers.
    Headers {
        /// The stream.
        stream: u32,
        /// The fields in order, pseudo-fields included.
        fields: Vec<Field>,
        /// Nothing follows.
        end: bool,
    },
    /// A part of a body, without padding.
    Data {
        /// The stream.
        stream: u32,
        /// The octets.
        bytes: Vec<u8>,
        /// Nothing follows.
        end: bool,
    },
    /// RST_STREAM.
    Reset {
        /// The stream.
        stream: u32,
        /// Why.
        code: u32,
    },
    /// GOAWAY.
    Goaway {
        /// The last stream that was or might be dealt with.
        last: u32,
        /// Why.
        code: u32,
        /// More words about it.
        debug: String,
    },
    /// WINDOW_UPDATE.
    Window {
        /// The stream; 0: the connection.
        stream: u32,
        /// By how much.
        increment: u32,
    },
    /// SETTINGS.
    Settings(Vec<(u16, u32)>),
    /// The acknowledgement of ours.
    SettingsAck,
    /// PING.
    Ping([u8; 8]),
    /// The answer to ours.
    Pong([u8; 8]),
    /// Anything else.
    Other(Frame),
}

impl Event {
    /// The stream that it is about; 0: the connection.
    #[must_use]
    pub fn stream(&self) -> u32 {
        match self {
            Self::Headers { stream, .. }
            | Self::Data { stream, .. }
            | Self::Reset { stream, .. }
            | Self::Window { stream, .. } => *stream,
            Self::Other(frame) => frame.stream,
            Self::Goaway { .. }
            | Self::Settings(_)
            | Self::SettingsAck
            | Self::Ping(_)
            | Self::Pong(_) => 0,
        }
    }
}

/// One end of a connection. Steps that wait end the test when nothing comes for the
/// [`DEADLINE`], and show the last frames that came.
pub struct Frames {
    /// What it does by itself.
    pub habits: Habits,
    peer: Peer,
    decoder: Decoder<'static>,
    /// A header block that is not whole yet, and its HEADERS frame.
    partial: Option<Frame>,
    /// Read on the way to something else.
    kept: VecDeque<Event>,
    log: VecDeque<String>,
    peer_settings: HashMap<u16, u32>,
    /// How much DATA the other side still takes: the connection, and streams that differ from
    /// their initial window by so much.
    window: i64,
    spent: HashMap<u32, i64>,
    pings: u64,
}

impl Frames {
    /// An end of a connection on which nothing was said yet.
    #[must_use]
    pub fn over(peer: Peer) -> Self {
        let mut decoder = Decoder::new();
        decoder.set_max_allowed_table_size(DEFAULT_TABLE);
        Self {
            habits: Habits::default(),
            peer,
            decoder,
            partial: None,
            kept: VecDeque::new(),
            log: VecDeque::new(),
            peer_settings: HashMap::new(),
            window: DEFAULT_WINDOW,
            spent: HashMap::new(),
            pings: 0,
        }
    }

    /// The connection below.
    pub fn peer(&mut self) -> &mut Peer {
        &mut self.peer
    }

    /// The setting that the other side sent last, if it did.
    #[must_use]
    pub fn peer_setting(&self, id: u16) -> Option<u32> {
        self.peer_settings.get(&id).copied()
    }

    /// Takes no larger dynamic table from now on than we said in our SETTINGS.
    pub fn limit_table(&mut self, size: usize) {
        self.decoder.set_max_allowed_table_size(size);
    }

    // Sending.

    /// Sends any octets.
    pub fn send_raw(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        if let Err(error) = self.peer.try_send(bytes) {
            panic!("cannot send: {error}; {}", self.history());
        }
        self
    }

    /// Sends a frame.
    pub fn send(&mut self, frame: &Frame) -> &mut Self {
        self.account(frame);
        self.send_raw(frame.bytes())
    }

    /// Sends frames in one write.
    pub fn send_all(&mut self, frames: &[Frame]) -> &mut Self {
        frames.iter().for_each(|frame| self.account(frame));
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::bytes).collect();
        self.send_raw(bytes)
    }

    /// Sends a frame to a peer that may be gone already.
    ///
    /// # Errors
    /// What the socket said.
    pub fn try_send(&mut self, frame: &Frame) -> io::Result<()> {
        self.account(frame);
        self.peer.try_send(frame.bytes())
    }

    /// HEADERS.
    pub fn headers<N: AsRef<[u8]>, V: AsRef<[u8]>>(
        &mut self,
        stream: u32,
        list: &[(N, V)],
        end: bool,
    ) -> &mut Self {
        self.block(stream, &fields(list), end)
    }

    /// HEADERS with this block.
    pub fn block(&mut self, stream: u32, block: &Block, end: bool) -> &mut Self {
        self.send(&Frame::headers(stream, block, end))
    }

    /// DATA, in one frame, whatever the windows are.
    pub fn data(&mut self, stream: u32, bytes: impl AsRef<[u8]>, end: bool) -> &mut Self {
        self.send(&Frame::data(stream, bytes, end))
    }

    /// A body as the other side can take it: in frames of at most 16 KiB, and waiting for its
    /// windows to open. `false`: the stream or the connection ended before all was sent.
    pub fn body(&mut self, stream: u32, bytes: &[u8], end: bool) -> bool {
        let mut rest = bytes;
        loop {
            let size = rest.len().min(16_384).min(self.window(stream));
            if size == rest.len() {
                return self.try_send(&Frame::data(stream, rest, end)).is_ok();
            }
            if size > 0 {
                if self.try_send(&Frame::data(stream, &rest[..size], false)).is_err() {
                    return false;
                }
                rest = &rest[size..];
            } else if !self.wait_for_window(stream) {
                return false;
            }
        }
    }

    /// Reads on until the window of this stream has opened; `false`: that will never be.
    fn wait_for_window(&mut self, stream: u32) -> bool {
        while self.window(stream) == 0 {
            let Some(event) = self.read() else { return false };
            let over = matches!(event, Event::Reset { stream: ended, .. } if ended == stream);
            self.kept.push_back(event);
            if over {
                return false;
            }
        }
        true
    }

    /// How much DATA the other side takes on this stream just now.
    #[must_use]
    pub fn window(&self, stream: u32) -> usize {
        let initial =
            self.peer_setting(setting::INITIAL_WINDOW_SIZE).map_or(DEFAULT_WINDOW, i64::from);
        let stream = initial - self.spent.get(&stream).copied().unwrap_or_default();
        usize::try_from(stream.min(self.window)).unwrap_or(0)
    }

    fn account(&mut self, frame: &Frame) {
        if frame.kind == kind::DATA {
            let size = i64::try_from(frame.payload.len()).expect("length");
            self.window -= size;
            *self.spent.entry(frame.stream).or_default() += size;
        }
    }

    // Receiving.

    /// The next frame as it came, to which nothing is answered; `None`: the connection ended,
    /// be it with a reset. Header blocks read in this way are missing in the decoder.
    pub fn recv_frame(&mut self) -> Option<Frame> {
        loop {
            if let Some((frame, length)) = Frame::parse(self.peer.at_hand()) {
                self.peer.take(length);
                self.log.push_back(format!("{frame:?}"));
                if self.log.len() > SHOWN {
                    self.log.pop_front();
                }
                return Some(frame);
            }
            match self.peer.receive() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    panic!("nothing came for {DEADLINE:?}; {}", self.history())
                }
                Err(_) => return None,
            }
        }
    }

    /// What the other side said next; `None`: the connection ended, be it with a reset.
    pub fn recv(&mut self) -> Option<Event> {
        self.kept.pop_front().or_else(|| self.read())
    }

    /// Waits for an event; all others are kept for later steps. `None`: the connection ended
    /// before.
    pub fn wait(&mut self, wanted: impl Fn(&Event) -> bool) -> Option<Event> {
        if let Some(at) = self.kept.iter().position(&wanted) {
            return self.kept.remove(at);
        }
        loop {
            let event = self.read()?;
            if wanted(&event) {
                return Some(event);
            }
            self.kept.push_back(event);
        }
    }

    /// What was received on the way to something else and not taken yet.
    #[must_use]
    pub fn kept(&self) -> &VecDeque<Event> {
        &self.kept
    }

    /// Forgets what was received on the way to something else.
    pub fn forget(&mut self) {
        self.kept.clear();
    }

    /// Sends PING and waits for the answer: the other side has read all that was sent before.
    /// `false`: the connection ended instead.
    pub fn sync(&mut self) -> bool {
        self.pings += 1;
        let opaque = self.pings.to_be_bytes();
        if self.try_send(&Frame::ping(opaque)).is_err() {
            // What came before the end is still to be read.
            while let Some(event) = self.read() {
                self.kept.push_back(event);
            }
            return false;
        }
        self.wait(|event| *event == Event::Pong(opaque)).is_some()
    }

    /// The last frames received, for the message of a test that fails.
    #[must_use]
    pub fn history(&self) -> String {
        let frames: Vec<&str> = self.log.iter().map(String::as_str).collect();
        format!("the last frames received: {frames:#?}")
    }

    fn read(&mut self) -> Option<Event> {
        loop {
            let frame = self.recv_frame()?;
            if let Some(event) = self.understand(frame) {
                self.answer(&event);
                return Some(event);
            }
        }
    }

    /// `None`: a header block that is not whole yet.
    fn understand(&mut self, frame: Frame) -> Option<Event> {
        let stream = frame.stream;
        if self.partial.is_some() {
            assert_eq!(frame.kind, kind::CONTINUATION, "inside a header block; {}", self.history());
        }
        Some(match frame.kind {
            kind::HEADERS => {
                let flags = frame.flags;
                let payload = unpad(&frame, if frame.has(flag::PRIORITY) { 5 } else { 0 });
                return self.fragment(Frame::new(kind::HEADERS, flags, stream, payload));
            }
            kind::CONTINUATION => {
                let mut whole = self.partial.take().expect("CONTINUATION without HEADERS");
                assert_eq!(whole.stream, stream, "{}", self.history());
                whole.payload.extend(&frame.payload);
                return self.fragment(whole.with(frame.flags & flag::END_HEADERS));
            }
            kind::DATA => {
                let bytes = unpad(&frame, 0);
                if self.habits.open_windows && !frame.payload.is_empty() {
                    self.give_back(&frame);
                }
                Event::Data { stream, bytes, end: frame.has(flag::END_STREAM) }
            }
            kind::RST_STREAM => Event::Reset { stream, code: frame.u32_at(0) },
            kind::GOAWAY => {
                let debug = String::from_utf8_lossy(&frame.payload[8..]).into_owned();
                Event::Goaway { last: frame.u32_at(0), code: frame.u32_at(4), debug }
            }
            kind::WINDOW_UPDATE => Event::Window { stream, increment: frame.u32_at(0) },
            kind::SETTINGS if frame.has(flag::ACK) => Event::SettingsAck,
            kind::SETTINGS => Event::Settings(settings(&frame)),
            kind::PING => {
                let opaque = frame.payload[..].try_into().expect("PING has eight octets");
                if frame.has(flag::ACK) { Event::Pong(opaque) } else { Event::Ping(opaque) }
            }
            _ => Event::Other(frame),
        })
    }

    fn fragment(&mut self, headers: Frame) -> Option<Event> {
        if !headers.has(flag::END_HEADERS) {
            self.partial = Some(headers);
            return None;
        }
        let fields = match self.decoder.decode(&headers.payload) {
            Ok(fields) => fields,
            Err(error) => panic!("cannot decode a block: {error:?}; {}", self.history()),
        };
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let fields = fields.into_iter().map(|(name, value)| (text(name), text(value))).collect();
        let end = headers.has(flag::END_STREAM);
        Some(Event::Headers { stream: headers.stream, fields, end })
    }

    /// Notes what an event changes, and answers what our habits say. Whether that can still be
    /// sent does not matter: the other side may have gone.
    fn answer(&mut self, event: &Event) {
        match event {
            Event::Settings(settings) => {
                self.peer_settings.extend(settings.iter().copied());
                if self.habits.ack_settings {
                    let _ = self.try_send(&Frame::settings_ack());
                }
            }
            Event::Ping(opaque) if self.habits.answer_pings => {
                let _ = self.try_send(&Frame::ping(*opaque).with(flag::ACK));
            }
            Event::Window { stream: 0, increment } => self.window += i64::from(*increment),
            Event::Window { stream, increment } => {
                *self.spent.entry(*stream).or_default() -= i64::from(*increment);
            }
            _ => {}
        }
    }

    fn give_back(&mut self, frame: &Frame) {
        let size = u32::try_from(frame.payload.len()).expect("length");
        let _ = self.try_send(&Frame::window_update(0, size));
        if !frame.has(flag::END_STREAM) {
            let _ = self.try_send(&Frame::window_update(frame.stream, size));
        }
    }
}

/// The payload without padding and the octets before it.
fn unpad(frame: &Frame, skipped: usize) -> Vec<u8> {
    let mut payload = &frame.payload[..];
    if frame.has(flag::PADDED) {
        let (&length, rest) = payload.split_first().expect("length of the padding");
        payload = &rest[..rest.len() - usize::from(length)];
    }
    payload[skipped..].to_vec()
}

fn settings(frame: &Frame) -> Vec<(u16, u32)> {
    assert_eq!(frame.payload.len() % 6, 0, "{frame:?}");
    let pair = |octets: &[u8]| {
        let id = u16::from_be_bytes([octets[0], octets[1]]);
        (id, u32::from_be_bytes([octets[2], octets[3], octets[4], octets[5]]))
    };
    frame.payload.chunks(6).map(pair).collect()
}
