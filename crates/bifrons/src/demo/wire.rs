//! The little HTTP/1 that the demo's origins and its client need.
//!
//! Both ends are ours and honest, so this is not a codec to learn from: that is the crate `h1`.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// Bytes of a head, or of a body that is kept, beyond which the other end is not one of ours.
const MAX: usize = 1 << 20;

/// A head: its first line and its fields, in their order.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub(super) first_line: String,
    pub(super) fields: Vec<(String, String)>,
}

impl Head {
    fn parse(text: &str) -> Self {
        let mut lines = text.lines();
        let first_line = lines.next().unwrap_or_default().to_owned();
        let fields = lines.filter_map(|line| line.split_once(':'));
        let fields =
            fields.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect();
        Self { first_line, fields }
    }

    /// The first field of this name.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        let mut same = self.fields.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        same.next().map(|(_, value)| value.as_str())
    }

    /// What `Content-Length` says, or nothing.
    pub(super) fn content_length(&self) -> io::Result<u64> {
        let Some(text) = self.field("Content-Length") else { return Ok(0) };
        text.parse().map_err(|_| invalid("a length that is no number"))
    }
}

/// The next head, or `None` where the other end has closed. What was read beyond it is left in
/// `received`.
///
/// # Errors
/// The connection failed or ended within the head, or the head is no text or too long.
pub(super) async fn read_head<R: AsyncRead + Unpin>(
    io: &mut R,
    received: &mut Vec<u8>,
) -> io::Result<Option<Head>> {
    loop {
        if let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") {
            let head: Vec<u8> = received.drain(..end + 4).collect();
            let text = str::from_utf8(&head).map_err(|_| invalid("a head that is not UTF-8"))?;
            return Ok(Some(Head::parse(text)));
        }
        if received.len() > MAX {
            return Err(invalid("a head without an end"));
        }
        if io.read_buf(received).await? == 0 {
            return if received.is_empty() {
                Ok(None)
            } else {
                Err(io::ErrorKind::UnexpectedEof.into())
            };
        }
    }
}

/// The next `length` bytes.
///
/// # Errors
/// The connection failed or ended before them, or they are too many to keep.
pub(super) async fn read_exactly<R: AsyncRead + Unpin>(
    io: &mut R,
    received: &mut Vec<u8>,
    length: u64,
) -> io::Result<Vec<u8>> {
    let length = usize::try_from(length).ok().filter(|length| *length <= MAX);
    let length = length.ok_or_else(|| invalid("more than was expected"))?;
    while received.len() < length {
        if io.read_buf(received).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(received.drain(..length).collect())
}

/// Reads `length` bytes that nobody wants.
///
/// # Errors
/// The connection failed or ended before them.
pub(super) async fn discard<R: AsyncRead + Unpin>(
    io: &mut R,
    received: &mut Vec<u8>,
    mut length: u64,
) -> io::Result<()> {
    while length > 0 {
        let part = length.min(MAX as u64);
        read_exactly(io, received, part).await?;
        length -= part;
    }
    Ok(())
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
