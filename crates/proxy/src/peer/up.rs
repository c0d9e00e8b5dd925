//! The server's side of an exchange, in the version that it speaks.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h1::{HeadLimits, ParseError};
use h2::client::ResponseFuture;
use h2::{RecvStream, SendStream};
use http::HeaderMap;
use message::framing::{BodyLength, FramingError, response_body};
use message::{Block, BlockPool, Method, ResponseHead, Version};
use tokio::net::TcpStream;
use upstream::StreamSlot;
use upstream::wire::HeadError;

use super::fields::add_fields;
use super::{H1Peer, H2Body, PeerError, Sink, Source};

/// The server's side of an exchange.
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "there is one in the task of each request: a box would cost an allocation"
)]
pub(crate) enum UpPeer {
    /// A connection that speaks HTTP/1.
    H1(H1Peer),
    /// A stream of a connection that speaks HTTP/2.
    H2(H2Up),
}

/// A stream of HTTP/2 that we opened.
#[derive(Debug)]
pub(crate) struct H2Up {
    response: ResponseFuture,
    body: H2Body,
    /// The body of the response, until it is expected.
    recv: Option<RecvStream>,
    /// What goes there are bytes of a tunnel: it stays open behind the head.
    tunnelled: bool,
    /// The place on the connection, for as long as the stream lives.
    pub(crate) slot: StreamSlot,
}

/// Why the head of a response did not come.
#[derive(Debug)]
pub(crate) enum UpError {
    /// Of a connection that speaks HTTP/1.
    Head(HeadError),
    /// It came and is malformed.
    Parse(ParseError),
    /// It came in HTTP/2 and says what no HTTP/1 can.
    Field(&'static str),
    /// Of a stream.
    Stream(h2::Error),
}

impl H2Up {
    /// A stream on which the head of a request was sent; `send` takes its body, or
    /// what comes in place of one.
    pub(crate) fn new(
        slot: StreamSlot,
        response: ResponseFuture,
        send: Option<SendStream<Bytes>>,
        tunnelled: bool,
    ) -> Self {
        let mut body = H2Body::default();
        body.begin(send);
        Self { response, body, recv: None, tunnelled, slot }
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        limits: HeadLimits,
        pool: &BlockPool,
    ) -> Poll<Result<ResponseHead, UpError>> {
        if let Poll::Ready(Some(interim)) = self.response.poll_informational(cx) {
            let interim = interim.map_err(UpError::Stream)?;
            let head = head(interim.status().as_u16(), interim.headers(), limits, pool);
            return Poll::Ready(head);
        }
        let response = ready!(Pin::new(&mut self.response).poll(cx)).map_err(UpError::Stream)?;
        let (parts, recv) = response.into_parts();
        self.recv = Some(recv);
        Poll::Ready(head(parts.status.as_u16(), &parts.headers, limits, pool))
    }

    /// Takes what is left of it for a tunnel.
    pub(crate) fn into_body(mut self) -> (H2Body, StreamSlot) {
        self.body.expect(self.recv.take());
        (self.body, self.slot)
    }
}

fn head(
    status: u16,
    fields: &HeaderMap,
    limits: HeadLimits,
    pool: &BlockPool,
) -> Result<ResponseHead, UpError> {
    if fields.len() > limits.fields {
        return Err(UpError::Parse(ParseError::TooManyFields));
    }
    let mut block = pool.block();
    add_fields(&mut block, fields).map_err(UpError::Field)?;
    if block.bytes().len() > limits.bytes {
        return Err(UpError::Parse(ParseError::HeadTooLarge));
    }
    Ok(ResponseHead { fields: block, status, version: Version::Http2, reason_at: 0..0 })
}

impl UpPeer {
    /// Receives the next head, be it of an interim response.
    pub(crate) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        limits: HeadLimits,
        pool: &BlockPool,
    ) -> Poll<Result<ResponseHead, UpError>> {
        match self {
            Self::H1(peer) => {
                let block = ready!(peer.wire.poll_head(cx, limits, pool)).map_err(UpError::Head)?;
                Poll::Ready(h1::parse_response(block, limits).map_err(UpError::Parse))
            }
            Self::H2(up) => up.poll_head(cx, limits, pool),
        }
    }

    /// How the end of the body of this response is known.
    pub(crate) fn body_length(
        &self,
        head: &ResponseHead,
        method: Method,
    ) -> Result<BodyLength, FramingError> {
        let declared = response_body(head, method)?;
        match self {
            Self::H1(_) => Ok(declared),
            Self::H2(up) if up.recv.as_ref().is_none_or(RecvStream::is_end_stream) => {
                Ok(BodyLength::None)
            }
            // The stream tells the end, and what trailers there are.
            Self::H2(_) if declared == BodyLength::UntilClose => Ok(BodyLength::Chunked),
            Self::H2(_) => Ok(declared),
        }
    }

    /// A response body of this length comes from now on.
    pub(crate) fn expect(&mut self, length: BodyLength, limits: HeadLimits) {
        match self {
            Self::H1(peer) => peer.expect(length, limits),
            // What comes behind a head that has no body is nobody's.
            Self::H2(up) if length == BodyLength::None => {
                up.recv = None;
                up.body.expect(None);
            }
            Self::H2(up) => up.body.expect(up.recv.take()),
        }
    }

    /// How many of the next bytes on the socket are body and nothing else.
    pub(crate) fn opaque(&self) -> u64 {
        match self {
            Self::H1(peer) => peer.opaque(),
            Self::H2(_) => 0,
        }
    }

    /// The raw socket, where its bytes may go past us.
    pub(crate) fn raw_input(&self) -> Option<&TcpStream> {
        match self {
            Self::H1(peer) => net::Stream::raw(&peer.wire.io),
            Self::H2(_) => None,
        }
    }

    /// Takes note that so many bytes were moved past us.
    pub(crate) fn skip(&mut self, moved: u64, end: bool) {
        if let Self::H1(peer) = self {
            peer.skip(moved, end);
        }
    }

    /// The server left a request unanswered: no other one goes over this connection.
    pub(crate) fn distrust(&self) {
        if let Self::H2(up) = self {
            up.slot.distrust();
        }
    }

    /// Bytes are copied from now on, whatever the sockets are.
    pub(crate) fn never_opaque(&mut self) {
        if let Self::H1(peer) = self {
            peer.never_opaque();
        }
    }
}

impl Source for UpPeer {
    fn available(&mut self) -> Result<&[u8], PeerError> {
        match self {
            Self::H1(peer) => peer.available(),
            Self::H2(up) => up.body.available(),
        }
    }

    fn consume(&mut self, count: usize) {
        match self {
            Self::H1(peer) => peer.consume(count),
            Self::H2(up) => up.body.consume(count),
        }
    }

    fn is_done(&self) -> bool {
        match self {
            Self::H1(peer) => peer.is_done(),
            Self::H2(up) => up.body.is_done(),
        }
    }

    fn poll_more(&mut self, cx: &mut Context<'_>, pool: &BlockPool) -> Poll<Result<(), PeerError>> {
        match self {
            Self::H1(peer) => peer.poll_more(cx, pool),
            Self::H2(up) => up.body.poll_more(cx, pool),
        }
    }

    fn trailers(&mut self) -> Result<Option<Block>, PeerError> {
        match self {
            Self::H1(peer) => peer.trailers(),
            Self::H2(up) => up.body.trailers(),
        }
    }
}

impl Sink for UpPeer {
    fn poll_send(&mut self, cx: &mut Context<'_>, piece: &[u8]) -> Poll<Result<usize, PeerError>> {
        match self {
            Self::H1(peer) => peer.poll_send(cx, piece),
            Self::H2(up) => up.body.poll_send(cx, piece),
        }
    }

    fn finish(&mut self, trailers: Option<&Block>) {
        match self {
            Self::H1(peer) => peer.finish(trailers),
            Self::H2(up) if up.tunnelled => {}
            Self::H2(up) => up.body.finish(trailers),
        }
    }

    fn release_output(&mut self, pool: &BlockPool) {
        match self {
            Self::H1(peer) => peer.release_output(pool),
            Self::H2(up) => up.body.release_output(pool),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), PeerError>> {
        match self {
            Self::H1(peer) => peer.poll_flush(cx),
            Self::H2(up) => up.body.poll_flush(cx),
        }
    }
}
