//! The client's side of an exchange, in the version that it speaks.

use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h1::HeadLimits;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{Response, StatusCode};
use message::framing::BodyLength;
use message::{Block, BlockPool};
use tls::TlsInfo;
use tokio::net::TcpStream;

use super::fields::header_map;
use super::{FilePiece, H1Peer, H2Body, PeerError, Sink, Source};

/// The client's side of an exchange.
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "there is one in the task of each request: a box would cost an allocation"
)]
pub(crate) enum DownPeer {
    /// A connection that speaks HTTP/1, or what comes before a tunnel.
    H1(H1Peer),
    /// A stream of a connection that speaks HTTP/2.
    H2(H2Down),
    /// Nobody asks: an answer is fetched for its own sake. It has no body to send, and whatever
    /// is sent to it is forgotten.
    Nobody,
}

/// A stream of HTTP/2 that a client opened.
#[derive(Debug)]
pub(crate) struct H2Down {
    respond: SendResponse<Bytes>,
    body: H2Body,
    /// What comes, where it is no body but the bytes of a tunnel.
    tunnelled: Option<RecvStream>,
    /// Of the connection.
    tls: Option<Rc<TlsInfo>>,
    answered: bool,
    /// It was ended before its time by us: nothing more can be said on it.
    dead: bool,
}

impl H2Down {
    /// A stream whose request has come; `connect`: what follows it are bytes of a tunnel.
    pub(crate) fn new(
        respond: SendResponse<Bytes>,
        recv: RecvStream,
        connect: bool,
        tls: Option<Rc<TlsInfo>>,
    ) -> Self {
        let mut body = H2Body::default();
        let tunnelled = if connect {
            body.expect(None);
            Some(recv)
        } else {
            body.expect(Some(recv));
            None
        };
        Self { respond, body, tunnelled, tls, answered: false, dead: false }
    }

    /// Sends the head of the final response; `end`: there is no body.
    fn respond(&mut self, status: u16, fields: &Block, end: bool) -> Result<(), PeerError> {
        let response = response(status, fields)?;
        let send = self.respond.send_response(response, end)?;
        self.answered = true;
        self.body.begin((!end).then_some(send));
        Ok(())
    }

    fn reset(&mut self, reason: Reason) {
        if self.answered {
            self.body.reset(reason);
        } else {
            self.respond.send_reset(reason);
        }
        self.dead = true;
    }
}

/// A head for the library.
fn response(status: u16, fields: &Block) -> Result<Response<()>, PeerError> {
    let unsendable = |_| PeerError::Reset(Reason::INTERNAL_ERROR);
    let mut response = Response::new(());
    *response.status_mut() =
        StatusCode::from_u16(status).map_err(|_| PeerError::Reset(Reason::INTERNAL_ERROR))?;
    *response.headers_mut() = header_map(fields, |_| false).map_err(unsendable)?;
    Ok(response)
}

impl DownPeer {
    /// Whether it is a stream of HTTP/2, and not a connection of its own.
    pub(crate) fn is_stream(&self) -> bool {
        matches!(self, Self::H2(_))
    }

    /// What the TLS handshake of its connection agreed upon.
    pub(crate) fn tls_info(&self) -> Option<&TlsInfo> {
        match self {
            Self::H1(peer) => peer.wire.io.info(),
            Self::H2(down) => down.tls.as_deref(),
            Self::Nobody => None,
        }
    }

    /// A request body of this length comes from now on.
    pub(crate) fn expect(&mut self, length: BodyLength, limits: HeadLimits) {
        if let Self::H1(peer) = self {
            peer.expect(length, limits);
        }
    }

    /// Sends an interim response (RFC 9110 §15.2) with the next flush.
    pub(crate) fn inform(&mut self, status: u16, fields: &Block) -> Result<(), PeerError> {
        if let Self::H2(down) = self {
            down.respond.send_informational(response(status, fields)?)?;
        }
        Ok(())
    }

    /// Sends the head of the final response of a stream; `end`: there is no body.
    pub(crate) fn respond(
        &mut self,
        status: u16,
        fields: &Block,
        end: bool,
    ) -> Result<(), PeerError> {
        match self {
            Self::H1(_) | Self::Nobody => Ok(()),
            Self::H2(down) => down.respond(status, fields, end),
        }
    }

    /// Ends a stream before its time. A connection is closed by whoever serves it.
    pub(crate) fn reset(&mut self, reason: Reason) {
        if let Self::H2(down) = self {
            down.reset(reason);
        }
    }

    /// Whether what follows the request are bytes of a tunnel, which a 2xx would open
    /// (RFC 9113 §8.5).
    pub(crate) fn awaits_tunnel(&self) -> bool {
        matches!(self, Self::H2(down) if down.tunnelled.is_some())
    }

    /// Whether nothing can be said on it any more.
    pub(crate) fn is_dead(&self) -> bool {
        matches!(self, Self::H2(down) if down.dead)
    }

    /// Ready when the client has given the request up. Only a stream tells: whoever ends the
    /// sending half of a connection may still want the response.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::H1(_) | Self::Nobody => Poll::Pending,
            Self::H2(down) if down.answered => down.body.poll_reset(cx),
            Self::H2(down) => down.respond.poll_reset(cx).map(|_| ()),
        }
    }

    /// Takes what is left of a stream for a tunnel.
    pub(crate) fn take_stream(&mut self) -> Option<H2Body> {
        let Self::H2(down) = self else { return None };
        let mut body = std::mem::take(&mut down.body);
        body.expect(down.tunnelled.take());
        Some(body)
    }

    /// Whether a body that is in a file may be sent from there.
    pub(crate) fn takes_files(&self) -> bool {
        matches!(self, Self::H1(peer) if peer.takes_files())
    }

    /// Bytes that the client has not taken from the kernel, where the connection is its own.
    pub(crate) fn unacknowledged(&self) -> Option<u64> {
        match self {
            Self::H1(peer) => peer.wire.io.tcp().and_then(net::unacknowledged),
            Self::H2(_) | Self::Nobody => None,
        }
    }

    /// The raw socket, where what goes there may go past us.
    pub(crate) fn raw_output(&self) -> Option<&TcpStream> {
        match self {
            Self::H1(peer) => peer.raw_output(),
            Self::H2(_) | Self::Nobody => None,
        }
    }
}

impl Source for DownPeer {
    fn available(&mut self) -> Result<&[u8], PeerError> {
        match self {
            Self::H1(peer) => peer.available(),
            Self::H2(down) => down.body.available(),
            Self::Nobody => Ok(&[]),
        }
    }

    fn consume(&mut self, count: usize) {
        match self {
            Self::H1(peer) => peer.consume(count),
            Self::H2(down) => down.body.consume(count),
            Self::Nobody => {}
        }
    }

    fn is_done(&self) -> bool {
        match self {
            Self::H1(peer) => peer.is_done(),
            Self::H2(down) => down.body.is_done(),
            Self::Nobody => true,
        }
    }

    fn poll_more(&mut self, cx: &mut Context<'_>, pool: &BlockPool) -> Poll<Result<(), PeerError>> {
        match self {
            Self::H1(peer) => peer.poll_more(cx, pool),
            Self::H2(down) => down.body.poll_more(cx, pool),
            Self::Nobody => Poll::Ready(Ok(())),
        }
    }

    fn trailers(&mut self) -> Result<Option<Block>, PeerError> {
        match self {
            Self::H1(peer) => peer.trailers(),
            Self::H2(down) => down.body.trailers(),
            Self::Nobody => Ok(None),
        }
    }
}

impl Sink for DownPeer {
    fn poll_send(&mut self, cx: &mut Context<'_>, piece: &[u8]) -> Poll<Result<usize, PeerError>> {
        match self {
            Self::H1(peer) => peer.poll_send(cx, piece),
            Self::H2(down) => down.body.poll_send(cx, piece),
            Self::Nobody => Poll::Ready(Ok(piece.len())),
        }
    }

    fn poll_send_file(
        &mut self,
        cx: &mut Context<'_>,
        piece: &FilePiece<'_>,
    ) -> Poll<Result<usize, PeerError>> {
        match self {
            Self::H1(peer) => peer.poll_send_file(cx, piece),
            Self::H2(_) | Self::Nobody => {
                Poll::Ready(Err(PeerError::Io(std::io::ErrorKind::Unsupported.into())))
            }
        }
    }

    fn finish(&mut self, trailers: Option<&Block>) {
        match self {
            Self::H1(peer) => peer.finish(trailers),
            Self::H2(down) => down.body.finish(trailers),
            Self::Nobody => {}
        }
    }

    fn release_output(&mut self, pool: &BlockPool) {
        match self {
            Self::H1(peer) => peer.release_output(pool),
            Self::H2(down) => down.body.release_output(pool),
            Self::Nobody => {}
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), PeerError>> {
        match self {
            Self::H1(peer) => peer.poll_flush(cx),
            Self::H2(down) => down.body.poll_flush(cx),
            Self::Nobody => Poll::Ready(Ok(())),
        }
    }
}
