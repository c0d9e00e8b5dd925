//! HTTP/2 by prior knowledge (RFC 9113): 1 KiB whatever is asked for.
//!
//! As the answer is always the same, nothing needs to be known of a request but that it has
//! ended: field blocks are not decoded. Answers are as short as HPACK makes them: the first
//! one of a connection puts its fields into the table, the others name them there.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use super::{FIELDS, SMALL, Serve, Turn, small_body};
use crate::bench::poller::Interest;

/// RFC 9113 §3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Length, type, flags and stream (RFC 9113 §4.1).
const FRAME_HEAD: usize = 9;
/// Our limit for a frame: the initial one.
const FRAME_LIMIT: usize = 16 << 10;
/// Streams that a proxy may have open on one connection.
const STREAMS: u32 = 256;
/// Bytes that may be sent on a connection at first.
const WINDOW: i64 = 65_535;
/// Read at once.
const READ: usize = 64 << 10;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
/// `END_STREAM`, and `ACK` of SETTINGS and PING.
const END: u8 = 1;
const END_HEADERS: u8 = 4;

const HEADER_TABLE_SIZE: u16 = 1;
const MAX_CONCURRENT_STREAMS: u16 = 3;
const INITIAL_WINDOW_SIZE: u16 = 4;

/// The field block of each answer and its body.
pub struct Answers {
    first: Vec<u8>,
    later: Vec<u8>,
    body: Vec<u8>,
}

/// One connection.
pub struct Connection {
    input: Vec<u8>,
    output: Vec<u8>,
    sent: usize,
    greeted: bool,
    /// The peer's table has our fields.
    indexed: bool,
    /// The stream whose field block goes on in CONTINUATION and that ends with it.
    unfinished: Option<u32>,
    window: i64,
    /// Streams that wait for room in `window`.
    waiting: VecDeque<u32>,
}

/// What the peer did that ends the connection.
struct Refused;

impl Default for Connection {
    fn default() -> Self {
        let mut output = Vec::new();
        frame(&mut output, SETTINGS, 0, 0, 6);
        output.extend(MAX_CONCURRENT_STREAMS.to_be_bytes());
        output.extend(STREAMS.to_be_bytes());
        Self {
            input: Vec::new(),
            output,
            sent: 0,
            greeted: false,
            indexed: false,
            unfinished: None,
            window: WINDOW,
            waiting: VecDeque::new(),
        }
    }
}

impl Serve for Connection {
    type Shared = Answers;

    fn turn(&mut self, stream: &mut TcpStream, answers: &Answers) -> Turn {
        // Nothing is read while something is to be sent: the peer then waits as well.
        if self.sent == self.output.len() || !self.greeted {
            let start = self.input.len();
            self.input.resize(start + READ, 0);
            let read = stream.read(&mut self.input[start..]);
            self.input.truncate(start + read.as_ref().map_or(0, |&read| read));
            match read {
                Ok(0) => return Turn::Close,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return Turn::Close,
            }
            if self.understand(answers).is_err() {
                return Turn::Close;
            }
        }
        while self.sent < self.output.len() {
            match stream.write(&self.output[self.sent..]) {
                Ok(written) => self.sent += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return Turn::Wait(Interest::Write);
                }
                Err(_) => return Turn::Close,
            }
        }
        self.output.clear();
        self.sent = 0;
        Turn::Wait(Interest::Read)
    }
}

impl Connection {
    /// Takes all whole frames from the input and puts the answers into the output.
    fn understand(&mut self, answers: &Answers) -> Result<(), Refused> {
        let input = std::mem::take(&mut self.input);
        let mut rest = input.as_slice();
        if !self.greeted && rest.len() >= PREFACE.len() {
            rest = rest.strip_prefix(PREFACE).ok_or(Refused)?;
            self.greeted = true;
        }
        while self.greeted
            && let Some((head, after)) = rest.split_at_checked(FRAME_HEAD)
        {
            let length =
                usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
            if length > FRAME_LIMIT {
                return Err(Refused);
            }
            let Some((payload, after)) = after.split_at_checked(length) else { break };
            let stream = number(&head[5..]) & (u32::MAX >> 1);
            self.take(head[3], head[4], stream, payload, answers)?;
            rest = after;
        }
        let used = input.len() - rest.len();
        self.input = input;
        self.input.drain(..used);
        Ok(())
    }

    fn take(
        &mut self,
        kind: u8,
        flags: u8,
        stream: u32,
        payload: &[u8],
        answers: &Answers,
    ) -> Result<(), Refused> {
        match kind {
            HEADERS if flags & (END | END_HEADERS) == END => self.unfinished = Some(stream),
            HEADERS | DATA if flags & END != 0 => self.ask(stream, answers),
            CONTINUATION if flags & END_HEADERS != 0 && self.unfinished == Some(stream) => {
                self.unfinished = None;
                self.ask(stream, answers);
            }
            RST_STREAM => self.waiting.retain(|&waiting| waiting != stream),
            SETTINGS if flags & END == 0 => self.settings(payload)?,
            PING if flags & END == 0 => {
                frame(&mut self.output, PING, END, 0, payload.len());
                self.output.extend_from_slice(payload);
            }
            GOAWAY => {}
            // No stream needs more than its initial window.
            WINDOW_UPDATE if stream == 0 && payload.len() == 4 => {
                self.window += i64::from(number(payload) & (u32::MAX >> 1));
                self.answer(answers);
            }
            _ => {}
        }
        Ok(())
    }

    /// Refuses what would make answers less simple than they are.
    fn settings(&mut self, payload: &[u8]) -> Result<(), Refused> {
        for setting in payload.chunks_exact(6) {
            let value = number(&setting[2..]);
            match u16::from_be_bytes([setting[0], setting[1]]) {
                HEADER_TABLE_SIZE if value < 4096 => {
                    eprintln!("the h2c origin needs a header table of 4096 bytes, not {value}");
                    return Err(Refused);
                }
                INITIAL_WINDOW_SIZE if (value as usize) < SMALL => {
                    eprintln!("the h2c origin needs a window of {SMALL} bytes, not {value}");
                    return Err(Refused);
                }
                _ => {}
            }
        }
        frame(&mut self.output, SETTINGS, END, 0, 0);
        Ok(())
    }

    /// A request has ended.
    fn ask(&mut self, stream: u32, answers: &Answers) {
        self.waiting.push_back(stream);
        self.answer(answers);
    }

    /// Answers as many requests as the window of the connection lets.
    fn answer(&mut self, answers: &Answers) {
        while self.window >= answers.body.len() as i64
            && let Some(stream) = self.waiting.pop_front()
        {
            self.window -= answers.body.len() as i64;
            let fields = if self.indexed { &answers.later } else { &answers.first };
            self.indexed = true;
            frame(&mut self.output, HEADERS, END_HEADERS, stream, fields.len());
            self.output.extend_from_slice(fields);
            frame(&mut self.output, DATA, END, stream, answers.body.len());
            self.output.extend_from_slice(&answers.body);
        }
    }
}

impl Answers {
    /// Makes them.
    pub fn new() -> Self {
        let length = SMALL.to_string();
        let fields: Vec<(&str, &str)> =
            FIELDS.into_iter().chain([("Content-Length", length.as_str())]).collect();
        // `:status: 200` (RFC 7541, appendix A).
        let (mut first, mut later) = (vec![0x88], vec![0x88]);
        for (index, (name, value)) in fields.iter().enumerate() {
            // Literal with incremental indexing, a new name, no Huffman coding (§6.2.1). Each
            // string is shorter than 127 bytes, so its length is one byte.
            first.push(0x40);
            for string in [name.to_ascii_lowercase().as_str(), value] {
                debug_assert!(string.len() < 127);
                first.push(string.len() as u8);
                first.extend_from_slice(string.as_bytes());
            }
            // The one that was added last is 62, the first of the dynamic table (§2.3.3).
            later.push(0x80 | (62 + fields.len() - 1 - index) as u8);
        }
        Self { first, later, body: small_body().collect() }
    }
}

/// Four bytes in network order.
fn number(bytes: &[u8]) -> u32 {
    bytes.iter().take(4).fold(0, |sum, &byte| sum << 8 | u32::from(byte))
}

/// Appends the head of a frame.
fn frame(output: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, length: usize) {
    output.extend_from_slice(&[(length >> 16) as u8, (length >> 8) as u8, length as u8]);
    output.extend_from_slice(&[kind, flags]);
    output.extend(stream.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a peer sends at first, and `requests` requests.
    fn input(requests: u32) -> Vec<u8> {
        let mut input = PREFACE.to_vec();
        frame(&mut input, SETTINGS, 0, 0, 0);
        for index in 0..requests {
            frame(&mut input, HEADERS, END | END_HEADERS, 2 * index + 1, 1);
            input.push(0x82);
        }
        input
    }

    /// Kinds and streams of the frames that were answered.
    fn frames(mut output: &[u8]) -> Vec<(u8, u32)> {
        let mut frames = Vec::new();
        while let Some(head) = output.get(..FRAME_HEAD) {
            frames.push((head[3], number(&head[5..])));
            let length = number(&[0, head[0], head[1], head[2]]) as usize;
            output = &output[FRAME_HEAD + length..];
        }
        frames
    }

    #[test]
    fn requests_are_answered_however_they_are_cut() {
        let (answers, input) = (Answers::new(), input(2));
        let whole =
            vec![(SETTINGS, 0), (SETTINGS, 0), (HEADERS, 1), (DATA, 1), (HEADERS, 3), (DATA, 3)];
        for cut in 0..input.len() {
            let mut connection = Connection::default();
            for part in [&input[..cut], &input[cut..]] {
                connection.input.extend_from_slice(part);
                assert!(connection.understand(&answers).is_ok());
            }
            assert_eq!(frames(&connection.output), whole, "{cut}");
        }
    }

    #[test]
    fn the_window_of_the_connection_is_kept() {
        let answers = Answers::new();
        let mut connection = Connection { input: input(70), ..Connection::default() };
        assert!(connection.understand(&answers).is_ok());
        // 65,535 bytes are 63 bodies and not quite another one.
        assert_eq!(frames(&connection.output).last(), Some(&(DATA, 125)));
        frame(&mut connection.input, WINDOW_UPDATE, 0, 0, 4);
        connection.input.extend(1u32.to_be_bytes());
        assert!(connection.understand(&answers).is_ok());
        assert_eq!(frames(&connection.output).last(), Some(&(DATA, 127)));
    }

    #[test]
    fn later_answers_name_the_fields_of_the_first() {
        let answers = Answers::new();
        assert_eq!(answers.later, [0x88, 0xc4, 0xc3, 0xc2, 0xc1, 0xc0, 0xbf, 0xbe]);
        assert!(answers.first.windows(21).any(|part| part == b"\x40\x0econtent-length\x041024"));
    }
}
