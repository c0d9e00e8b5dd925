//! Taking the header off a socket.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use tokio::io::{AsyncReadExt, ReadBuf};
use tokio::net::TcpStream;

use super::{Ends, Progress, ProtocolError, parse};

/// What is looked at to begin with: more than any line of version 1, and than most headers of
/// version 2.
const FIRST_LOOK: usize = 256;

/// Why there is no header.
#[derive(Debug)]
pub enum ReceiveError {
    /// The connection ended before it was complete.
    Closed,
    /// The socket failed.
    Io(io::Error),
    /// Something else came.
    Protocol(ProtocolError),
}

impl std::fmt::Display for ReceiveError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Closed => f.write_str("closed before the PROXY protocol header"),
            Self::Io(error) => write!(f, "reading the PROXY protocol header: {error}"),
            Self::Protocol(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ReceiveError {}

/// Takes the header from the beginning of a connection, and leaves everything behind it in the
/// socket. `None`: the sender speaks for itself.
///
/// How long it may take is the caller's matter; memory is bounded by what
/// [`parse`] lets a header be.
///
/// # Errors
/// See [`ReceiveError`]. The connection is of no use then.
pub async fn receive(stream: &mut TcpStream) -> Result<Option<Ends>, ReceiveError> {
    // Bytes are looked at before they are taken: as long as the header is not complete, all of
    // them belong to it; when it is, its length is known.
    let mut header = Vec::new();
    let mut room = FIRST_LOOK;
    loop {
        let taken = header.len();
        header.resize(taken + room, 0);
        let seen = stream.peek(&mut header[taken..]).await.map_err(ReceiveError::Io)?;
        header.truncate(taken + seen);
        if seen == 0 {
            return Err(ReceiveError::Closed);
        }
        let progress = parse(&header).map_err(ReceiveError::Protocol)?;
        let (of_header, ends) = match progress {
            Progress::Need(length) => {
                room = (length - header.len()).max(FIRST_LOOK);
                (header.len(), None)
            }
            Progress::Header { ends, length } => (length, Some(ends)),
        };
        stream.read_exact(&mut header[taken..of_header]).await.map_err(ReceiveError::Io)?;
        if let Some(ends) = ends {
            settle(stream).await;
            return Ok(ends);
        }
    }
}

/// Lets the runtime notice if nothing is left to read: whoever then waits for more is given no
/// buffer before it comes.
async fn settle(stream: &TcpStream) {
    let mut byte = [0; 1];
    poll_fn(|cx| {
        // The answer is of no interest: asking is what clears the readiness.
        let _ = stream.poll_peek(cx, &mut ReadBuf::new(&mut byte));
        Poll::Ready(())
    })
    .await;
}
