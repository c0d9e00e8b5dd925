//! The little of WebSockets (RFC 6455) that the demo's origins and its client need: short
//! messages of text, each in one frame.

use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use h2::{RecvStream, SendStream};
use hyper::body::Bytes;
use sha1::{Digest, Sha1};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::client::{Connection, Wrong, ensure};

/// What the client asks with, and what a server that understood it answers (RFC 6455 §1.3).
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Both ends are in this process, so it need not be one that nobody can guess.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// The longest payload whose length fits into the second byte of a frame (RFC 6455 §5.2).
const MAX_PAYLOAD: usize = 125;

/// The answer to a client's `Sec-WebSocket-Key` (RFC 6455 §4.2.2).
pub(super) fn accept(key: &str) -> String {
    let hash = Sha1::new().chain_update(key).chain_update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(hash.finalize())
}

/// Greets the client, and says everything back until it has enough.
///
/// # Errors
/// The connection failed, or the client says what is not understood here.
pub(super) async fn echo(
    stream: &mut TcpStream,
    received: &mut Vec<u8>,
    greeting: &str,
) -> io::Result<()> {
    stream.write_all(&frame(&Frame::Text(greeting.to_owned()), None)?).await?;
    loop {
        match parse(received)? {
            Some(Frame::Close) => return stream.write_all(&frame(&Frame::Close, None)?).await,
            Some(said) => stream.write_all(&frame(&said, None)?).await?,
            None if stream.read_buf(received).await? == 0 => return Ok(()),
            None => {}
        }
    }
}

/// The client's end of a WebSocket.
pub(super) struct WebSocket {
    carrier: Carrier,
    received: Vec<u8>,
}

/// What it runs on.
enum Carrier {
    /// A connection that was HTTP/1.1 before.
    Connection(Connection),
    /// A stream of HTTP/2 (RFC 8441).
    Stream(SendStream<Bytes>, RecvStream),
}

impl WebSocket {
    /// Asks for one over HTTP/1.1.
    pub(super) async fn open(
        mut connection: Connection,
        host: &str,
        path: &str,
    ) -> Result<Self, Wrong> {
        let request = format!(
            "GET {path} HTTP/1.1\nHost: {host}\nConnection: Upgrade\nUpgrade: websocket\n\
             Sec-WebSocket-Version: 13\nSec-WebSocket-Key: {KEY}"
        );
        let response = connection.send(&request).await?;
        let accepted = response.expect(101)?.field("Sec-WebSocket-Accept")?;
        ensure(accepted == ACCEPT, || format!("Sec-WebSocket-Accept: {accepted}"))?;
        Ok(Self { carrier: Carrier::Connection(connection), received: Vec::new() })
    }

    /// One in a stream whose CONNECT was answered with 200.
    pub(super) fn within(send: SendStream<Bytes>, receive: RecvStream) -> Self {
        Self { carrier: Carrier::Stream(send, receive), received: Vec::new() }
    }

    /// Sends a message, and returns the next one that comes.
    pub(super) async fn say(&mut self, text: &str) -> Result<String, Wrong> {
        self.send(&Frame::Text(text.to_owned())).await?;
        self.hear().await
    }

    /// The next message.
    pub(super) async fn hear(&mut self) -> Result<String, Wrong> {
        match self.next().await? {
            Frame::Text(text) => Ok(text),
            Frame::Close => Err(Wrong("the WebSocket was closed".to_owned())),
        }
    }

    /// Closes it, and returns when the other end has agreed.
    pub(super) async fn close(mut self) -> Result<(), Wrong> {
        self.send(&Frame::Close).await?;
        let last = self.next().await?;
        ensure(last == Frame::Close, || format!("{last:?} instead of a close"))
    }

    async fn send(&mut self, message: &Frame) -> Result<(), Wrong> {
        let bytes = frame(message, Some(MASK))?;
        match &mut self.carrier {
            Carrier::Connection(connection) => connection.write(&bytes).await?,
            Carrier::Stream(send, _) => send.send_data(Bytes::from(bytes), false)?,
        }
        Ok(())
    }

    async fn next(&mut self) -> Result<Frame, Wrong> {
        loop {
            if let Some(frame) = parse(&mut self.received)? {
                return Ok(frame);
            }
            let more = match &mut self.carrier {
                Carrier::Connection(connection) => connection.read_more(&mut self.received).await?,
                Carrier::Stream(_, receive) => match receive.data().await.transpose()? {
                    Some(bytes) => {
                        receive.flow_control().release_capacity(bytes.len())?;
                        self.received.extend_from_slice(&bytes);
                        true
                    }
                    None => false,
                },
            };
            ensure(more, || "the WebSocket broke off".to_owned())?;
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Frame {
    Text(String),
    Close,
}

/// A frame on the wire; a client's has a mask (RFC 6455 §5.3).
fn frame(frame: &Frame, mask: Option<[u8; 4]>) -> io::Result<Vec<u8>> {
    let (opcode, payload) = match frame {
        Frame::Text(text) => (0x81, text.as_bytes()),
        Frame::Close => (0x88, &[][..]),
    };
    let length = u8::try_from(payload.len()).ok().filter(|length| *length <= MAX_PAYLOAD as u8);
    let length = length.ok_or_else(|| not_understood("a message this long"))?;
    let mut bytes = vec![opcode, length];
    match mask {
        Some(mask) => {
            bytes[1] |= 0x80;
            bytes.extend_from_slice(&mask);
            bytes.extend(masked(payload, mask));
        }
        None => bytes.extend_from_slice(payload),
    }
    Ok(bytes)
}

/// Takes the first frame off, if all of it is there.
fn parse(received: &mut Vec<u8>) -> io::Result<Option<Frame>> {
    let [opcode, length, ..] = received[..] else { return Ok(None) };
    let (is_masked, length) = (length & 0x80 != 0, usize::from(length & 0x7f));
    if length > MAX_PAYLOAD {
        return Err(not_understood("a message this long"));
    }
    let start = if is_masked { 6 } else { 2 };
    if received.len() < start + length {
        return Ok(None);
    }
    let bytes: Vec<u8> = received.drain(..start + length).collect();
    let payload = match bytes[2..start] {
        [a, b, c, d] => masked(&bytes[start..], [a, b, c, d]).collect(),
        _ => bytes[start..].to_vec(),
    };
    match opcode {
        0x81 => String::from_utf8(payload)
            .map(|text| Some(Frame::Text(text)))
            .map_err(|_| not_understood("a text that is not UTF-8")),
        0x88 => Ok(Some(Frame::Close)),
        _ => Err(not_understood("this kind of frame")),
    }
}

fn masked(payload: &[u8], mask: [u8; 4]) -> impl Iterator<Item = u8> {
    payload.iter().zip(mask.into_iter().cycle()).map(|(byte, mask)| byte ^ mask)
}

fn not_understood(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what} is not understood here"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_a_key_is_that_of_the_rfc() {
        assert_eq!(accept(KEY), ACCEPT);
    }

    /// The frames of RFC 6455 §5.7.
    #[test]
    fn frames_are_those_of_the_rfc() {
        let hello = Frame::Text("Hello".to_owned());
        let plain = [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f];
        let masked = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        assert_eq!(frame(&hello, None).unwrap(), plain);
        assert_eq!(frame(&hello, Some(MASK)).unwrap(), masked);
        let mut received = [&masked[..], &plain, &[0x88]].concat();
        assert_eq!(parse(&mut received).unwrap(), Some(Frame::Text("Hello".to_owned())));
        assert_eq!(parse(&mut received).unwrap(), Some(hello));
        assert_eq!(parse(&mut received).unwrap(), None);
        assert_eq!(received, [0x88]);
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        for frame in [&[0x81, 126, 0, 0][..], &[0x01, 0], &[0x81, 1, 0xff]] {
            parse(&mut frame.to_vec()).unwrap_err();
        }
        frame(&Frame::Text("x".repeat(126)), None).unwrap_err();
    }
}
