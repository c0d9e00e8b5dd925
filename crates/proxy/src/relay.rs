//! A request to a server and its response back, both bodies at once.

use std::cell::Cell;
use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use coding::DecodeError;
use h1::{BodyEncoder, HeadLimits};
use message::framing::BodyLength;
use message::{FieldId, Method, ResponseHead, Version, hop};
use net::SpliceError;
use upstream::wire::HeadError;

use crate::cache::{self, Intake, Offer};
use crate::exchange::{Exchange, client_gone};
use crate::failure::{Failure, Kind, Retry, io_words};
use crate::fare;
use crate::pacing::Pacing;
use crate::packing::{Packer, Packing};
use crate::patience::{Patience, Stage};
use crate::peer::{DownPeer, PeerError, Source, UpError, UpPeer};
use crate::pump::{Pump, PumpError, Watch};
use crate::respond::{ErrorPages, size_as_h1};
use crate::unpacking::{Upload, unpack_failure};
use crate::websocket::Handshake;

/// Interim responses that one request may have.
const MAX_INTERIM: u32 = 16;

/// Bodies of which so much is still to come go past us, from socket to socket.
const SPLICE_FROM: u64 = 64 * 1024;

/// What a relay has to know of its route.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms<'a> {
    /// Largest request body.
    pub(crate) max_body: u64,
    /// Limits of response heads.
    pub(crate) heads: HeadLimits,
    pub(crate) limits: &'a config::Limits,
    /// The client asked for another protocol, and the server was told.
    pub(crate) upgrade: bool,
    /// The WebSocket handshake that this is, if it is one.
    pub(crate) websocket: Option<&'a Handshake>,
    /// The connection carried a request before.
    pub(crate) reused: bool,
    /// How long the server may be silent before the head of its response comes …
    pub(crate) head: Duration,
    /// … and behind it.
    pub(crate) response: Duration,
    /// Whether another server may answer in place of this one.
    pub(crate) elsewhere: Option<&'a dyn Elsewhere>,
    /// Pages in place of those of the server.
    pub(crate) pages: Option<&'a ErrorPages>,
    /// Who looks at the body of the response.
    pub(crate) watch: Option<&'a Watch>,
    /// Who may take the response in place of the client.
    pub(crate) intake: Option<&'a Intake<'a>>,
    /// In which codings the body may go on.
    pub(crate) packing: Option<&'a Packing>,
}

impl Terms<'_> {
    /// Whether the client has a head already, so that none of this response goes there.
    fn is_within(&self) -> bool {
        self.intake.is_some_and(Intake::is_within)
    }
}

/// What is made of the head of a response.
pub(crate) struct Edits<'a> {
    /// What holds for everybody: what the server says of itself is taken away, places are named
    /// as clients name them. What comes of it may be stored.
    pub(crate) localize: &'a dyn Fn(&mut Exchange<'_>, &mut ResponseHead) -> Result<(), Failure>,
    /// What is said to this client alone.
    pub(crate) dress: &'a dyn Fn(&mut Exchange<'_>, &mut ResponseHead),
}

/// Whether an answer is none, because another server, or another way to this one, may have a
/// better one.
pub(crate) trait Elsewhere: std::fmt::Debug {
    /// Whether the request is made again instead of passing this answer on, which then counts
    /// against whoever gave it.
    fn is_better_than(&self, x: &Exchange<'_>, head: &ResponseHead) -> bool;
}

/// What a relay came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The response is with the client.
    Complete {
        /// The connection to the server can carry another request.
        reusable: bool,
    },
    /// The server switched protocols; the client has been told.
    Upgraded,
}

/// Relays a request whose head is in the output of `up`. `edits` are made to the head of the
/// response before it goes to the client.
pub(crate) async fn run(
    x: &mut Exchange<'_>,
    up: &mut UpPeer,
    terms: &Terms<'_>,
    edits: &Edits<'_>,
) -> Result<Outcome, Failure> {
    let head = std::mem::take(&mut x.record.head_in);
    charge(x, net::Direction::AToB, head);
    let pacing = fare::of(x).map(|fare| Pacing::by_fare(fare, net::Direction::AToB));
    let reserved = x.record.reserved(x.listener);
    let pump = |limit| Pump::upload(limit, reserved).paced(pacing);
    let mut upload = Upload::new(pump, x.wrapped, terms.max_body)?;
    let mut patience = Patience::new(x.guard, terms.limits, terms.head);
    let outcome = exchange(x, up, terms, &mut upload, &mut patience, edits).await;
    x.record.bytes_in += upload.came();
    outcome
}

/// Charges a head of the client's connection.
pub(crate) fn charge(x: &Exchange<'_>, direction: net::Direction, bytes: u64) {
    if let Some(fare) = fare::of(x) {
        fare.charge(direction, bytes);
    }
}

async fn exchange(
    x: &mut Exchange<'_>,
    up: &mut UpPeer,
    terms: &Terms<'_>,
    upload: &mut Upload<'_>,
    patience: &mut Patience<'_>,
    edits: &Edits<'_>,
) -> Result<Outcome, Failure> {
    let mut head = final_head(x, up, terms, upload, patience).await?;
    patience.wait_for_server(terms.response);
    // What was sent of a body cannot be sent again, and what the client was told not taken back.
    if upload.came() == 0
        && !x.record.interim_sent
        && terms.elsewhere.is_some_and(|elsewhere| elsewhere.is_better_than(x, &head))
    {
        let status = itoa::Buffer::new().format(head.status).to_owned();
        return Err(Failure::with(Kind::UnwantedStatus, status).retry(Retry::Unwanted));
    }
    let length = up
        .body_length(&head, x.request.method)
        .map_err(|error| Failure::with(Kind::ProtocolError, error.as_str()))?;
    let said = hop::strip(&mut head.fields);
    if head.status == 101 || opens_tunnel(terms, up, head.status) {
        return switch(x, head, terms, edits).await;
    }
    let sure_end = length != BodyLength::UntilClose && head.version >= Version::Http11;
    let reusable = sure_end && !said.close;
    up.expect(length, terms.heads);
    (edits.localize)(x, &mut head)?;
    // A response that nobody waits for is not sent; one that is stored is read to its end.
    let unsent = reusable && length == BodyLength::None && upload.is_done();
    let pages = terms.pages.filter(|_| !terms.is_within());
    let page = pages.and_then(|pages| pages.for_origin(head.status));
    let replaced = page.is_some() && head.status < 500;
    if let Some(intake) = terms.intake.filter(|_| replaced) {
        intake.free(false);
    }
    if let Some(intake) = terms.intake.filter(|_| !replaced) {
        match intake.offer(x, head, length, edits.dress)? {
            Offer::Declined(declined) => head = declined,
            Offer::Kept => return Ok(Outcome::Complete { reusable: unsent }),
            Offer::Filling(filling) => {
                Box::pin(cache::fill(x, up, patience, filling, intake)).await?;
                return Ok(Outcome::Complete { reusable: reusable && up.is_done() });
            }
        }
    }
    // A body that is still being sent has the connection to itself.
    let packing = terms.packing.filter(|_| upload.is_done());
    let packer = packing.and_then(|packing| packing.begin(x, &mut head, length));
    let length = if packer.is_some() { BodyLength::Chunked } else { length };
    (edits.dress)(x, &mut head);
    if let Some(page) = page {
        send_page(x, upload, head, page).await?;
        // The page of the server is not read: what comes next would be in the middle of it.
        let nothing_left = length == BodyLength::None && upload.is_done();
        return Ok(Outcome::Complete { reusable: reusable && nothing_left });
    }
    begin_response(x, upload, head, length)?;
    match packer {
        None => {
            let watch = terms.watch.or_else(|| terms.intake.and_then(Intake::watch));
            download(x, up, upload, patience, watch).await?;
        }
        Some(packer) => Box::pin(packed(x, up, upload, patience, packer)).await?,
    }
    // A server that waits for the rest of a body would take the next request for it.
    let all_sent = upload.is_done()
        && match x.body {
            BodyLength::Known(length) => upload.came() == length,
            BodyLength::None | BodyLength::Chunked | BodyLength::UntilClose => true,
        };
    Ok(Outcome::Complete { reusable: reusable && all_sent })
}

/// Sends the request and waits for a response that is not an interim one.
async fn final_head(
    x: &mut Exchange<'_>,
    up: &mut UpPeer,
    terms: &Terms<'_>,
    upload: &mut Upload<'_>,
    patience: &mut Patience<'_>,
) -> Result<ResponseHead, Failure> {
    for _ in 0..=MAX_INTERIM {
        let head = next_head(x, up, terms, upload, patience).await?;
        x.record.note_first_byte();
        if !head.is_interim() {
            return Ok(head);
        }
        if !terms.is_within() {
            pass_interim(x, head).await?;
        }
    }
    Err(Failure::with(Kind::ProtocolError, "too many interim responses"))
}

async fn next_head(
    x: &mut Exchange<'_>,
    up: &mut UpPeer,
    terms: &Terms<'_>,
    upload: &mut Upload<'_>,
    patience: &mut Patience<'_>,
) -> Result<ResponseHead, Failure> {
    let pool = &x.core.blocks;
    let down = &mut *x.down;
    // A server may answer and close while we still write to it: its answer counts.
    let mut refused: Option<PeerError> = None;
    poll_fn(|cx| {
        if !upload.is_done() && refused.is_none() {
            match upload.poll(cx, down, up, pool) {
                Poll::Ready(Err(PumpError::Sink(error))) => refused = Some(error),
                Poll::Ready(Err(error)) => {
                    return Poll::Ready(Err(upload_failure(&error, upload)));
                }
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
        }
        match up.poll_head(cx, terms.heads, pool) {
            Poll::Ready(Ok(head)) => return Poll::Ready(Ok(head)),
            Poll::Ready(Err(error)) => {
                let untouched = terms.reused && upload.came() == 0;
                return Poll::Ready(Err(head_failure(error, refused.take(), untouched)));
            }
            Poll::Pending => {}
        }
        if down.poll_gone(cx).is_ready() {
            return Poll::Ready(Err(Failure::with(Kind::ClientGone, "the stream was reset")));
        }
        patience.poll(cx, upload, Stage::Waiting).map(Err)
    })
    .await
}

/// Whether the response to an extended CONNECT (RFC 8441 §4) opens what was asked for.
fn opens_tunnel(terms: &Terms<'_>, up: &UpPeer, status: u16) -> bool {
    terms.upgrade && matches!(up, UpPeer::H2(_)) && (200..300).contains(&status)
}

fn head_failure(error: UpError, refused: Option<PeerError>, untouched: bool) -> Failure {
    match (error, refused) {
        (UpError::Head(HeadError::Closed | HeadError::Io(_)), Some(PeerError::Io(error))) => {
            let retry = if untouched { Retry::Stale } else { Retry::Never };
            Failure::with(Kind::ConnectionTerminated, io_words(&error)).retry(retry)
        }
        (error, _) => Failure::of_up(error, untouched),
    }
}

fn upload_failure(error: &PumpError, pump: &Upload<'_>) -> Failure {
    match error {
        PumpError::Source(error) => client_gone(error),
        PumpError::Sink(PeerError::Io(error)) => {
            Failure::with(Kind::ConnectionTerminated, io_words(error))
        }
        PumpError::Sink(_) => Failure::new(Kind::ConnectionTerminated),
        PumpError::TooLarge if pump.is_unpacked() => unpack_failure(DecodeError::TooLarge),
        PumpError::TooLarge => Failure::new(Kind::RequestBodyTooLarge),
        PumpError::Stopped => pump.stop_reason(),
    }
}

/// Passes an interim response on to a client that can read it (RFC 9110 §15.2).
async fn pass_interim(x: &mut Exchange<'_>, mut head: ResponseHead) -> Result<(), Failure> {
    if x.request.version == Version::Http10 {
        return Ok(());
    }
    if head.status == 100 {
        x.awaits_continue = false;
    }
    hop::strip(&mut head.fields);
    head.fields.remove(FieldId::ContentLength);
    let size = match &mut *x.down {
        DownPeer::H1(peer) => {
            peer.lend_output(&x.core.blocks);
            let out = peer.begin(BodyEncoder::Identity);
            let before = out.len();
            h1::write_status_line(out, head.status, head.reason());
            head.fields.write_lines(out, |_| false);
            out.extend_from_slice(b"\r\n");
            (out.len() - before) as u64
        }
        down @ (DownPeer::H2(_) | DownPeer::Nobody) => {
            down.inform(head.status, &head.fields).map_err(|error| client_gone(&error))?;
            size_as_h1(&head.fields)
        }
    };
    charge(x, net::Direction::BToA, size);
    x.core.blocks.give(head.fields);
    x.record.interim_sent = true;
    x.flush_answer().await
}

/// Tells the client that the server switched protocols.
async fn switch(
    x: &mut Exchange<'_>,
    mut head: ResponseHead,
    terms: &Terms<'_>,
    edits: &Edits<'_>,
) -> Result<Outcome, Failure> {
    if !terms.upgrade {
        return Err(Failure::new(Kind::UpgradeFailed));
    }
    let protocol = head.fields.received(FieldId::Upgrade).map(<[u8]>::to_vec);
    (edits.localize)(x, &mut head)?;
    (edits.dress)(x, &mut head);
    head.fields.remove(FieldId::ContentLength);
    x.head_sent = true;
    let size = match &mut *x.down {
        DownPeer::H1(peer) => {
            x.record.status = 101;
            peer.lend_output(&x.core.blocks);
            let out = peer.begin(BodyEncoder::Identity);
            let before = out.len();
            h1::write_status_line(out, 101, if head.status == 101 { head.reason() } else { b"" });
            head.fields.write_lines(out, |_| false);
            out.extend_from_slice(b"Connection: upgrade\r\n");
            // An answer of HTTP/2 says neither which protocol it is nor that it knows the key.
            let opened = terms.websocket.filter(|_| head.status != 101);
            if let Some(accept) = opened.map(Handshake::accept) {
                out.extend_from_slice(b"Sec-WebSocket-Accept: ");
                out.extend_from_slice(accept.as_bytes());
                out.extend_from_slice(b"\r\n");
            }
            if let Some(protocol) = protocol.as_deref().or(opened.map(|_| &b"websocket"[..])) {
                out.extend_from_slice(b"Upgrade: ");
                out.extend_from_slice(protocol);
                out.extend_from_slice(b"\r\n");
            }
            out.extend_from_slice(b"\r\n");
            (out.len() - before) as u64
        }
        down @ (DownPeer::H2(_) | DownPeer::Nobody) => {
            x.record.status = 200;
            let proof = head.fields.values_named(b"sec-websocket-accept").next();
            if terms.websocket.is_some_and(|handshake| {
                head.status == 101 && proof != Some(handshake.accept().as_bytes())
            }) {
                x.head_sent = false;
                return Err(Failure::new(Kind::UpgradeFailed));
            }
            head.fields.remove_named(b"sec-websocket-accept");
            down.respond(200, &head.fields, false).map_err(|error| client_gone(&error))?;
            size_as_h1(&head.fields)
        }
    };
    charge(x, net::Direction::BToA, size);
    x.core.blocks.give(head.fields);
    x.flush_answer().await?;
    Ok(Outcome::Upgraded)
}

/// Puts the head of the response into the output, in the framing that suits the client.
fn begin_response(
    x: &mut Exchange<'_>,
    upload: &Pump<'_>,
    mut head: ResponseHead,
    length: BodyLength,
) -> Result<(), Failure> {
    // Whether the body will still be sent is known to the client alone.
    x.keep_alive &= !x.awaits_continue || upload.is_done();
    if matches!(head.status, 204) {
        head.fields.remove(FieldId::ContentLength);
    }
    let reason = head.reason_at.clone();
    let size = x.begin_final(head.status, reason, head.fields, length)?;
    charge(x, net::Direction::BToA, size);
    Ok(())
}

/// Fields that describe the body they came with (RFC 9110 §8), besides its type and length.
const OF_THE_BODY: [&[u8]; 8] = [
    b"accept-ranges",
    b"content-encoding",
    b"content-language",
    b"content-md5",
    b"content-range",
    b"digest",
    b"etag",
    b"last-modified",
];

/// Sends the response with a page of ours in place of its body.
async fn send_page(
    x: &mut Exchange<'_>,
    upload: &Pump<'_>,
    mut head: ResponseHead,
    (content_type, body): (&str, &[u8]),
) -> Result<(), Failure> {
    head.fields.remove(FieldId::ContentLength);
    head.fields.remove(FieldId::ContentType);
    head.fields.remove_where(|_, name| OF_THE_BODY.iter().any(|of| name.eq_ignore_ascii_case(of)));
    head.fields.push(b"Content-Type", &[content_type.as_bytes()]);
    let length = itoa::Buffer::new().format(body.len()).to_owned();
    head.fields.push(b"Content-Length", &[length.as_bytes()]);
    let shown = x.request.method != Method::Head && !body.is_empty();
    let known = if shown { BodyLength::Known(body.len() as u64) } else { BodyLength::None };
    begin_response(x, upload, head, known)?;
    if shown {
        x.send_whole(body).await?;
        x.record.bytes_out += body.len() as u64;
    }
    x.flush_answer().await
}

/// Moves the body of the response, and what is left of that of the request.
async fn download(
    x: &mut Exchange<'_>,
    up: &mut UpPeer,
    upload: &mut Upload<'_>,
    patience: &mut Patience<'_>,
    watch: Option<&Watch>,
) -> Result<(), Failure> {
    let pacer = x.record.noted.pacer.take().map(Pacing::by_pacer);
    let by_fare = || fare::of(x).map(|fare| Pacing::by_fare(fare, net::Direction::BToA));
    let mut pump = Pump::new(u64::MAX).paced(pacer.or_else(by_fare)).watched(watch);
    let outcome = loop {
        match pump_both(x, up, upload, &mut pump, patience).await {
            Ok(Step::Done) => break Ok(()),
            Ok(Step::Splice(length)) => {
                if let Err(failure) = splice(x, up, length, &mut pump, patience).await {
                    break Err(failure);
                }
            }
            Err(failure) => break Err(failure),
        }
    };
    x.record.bytes_out += pump.moved;
    outcome
}

/// As [`download`], in another coding.
async fn packed(
    x: &mut Exchange<'_>,
    up: &mut UpPeer,
    upload: &mut Upload<'_>,
    patience: &mut Patience<'_>,
    packer: Packer,
) -> Result<(), Failure> {
    let pacer = x.record.noted.pacer.take().map(Pacing::by_pacer);
    let by_fare = || fare::of(x).map(|fare| Pacing::by_fare(fare, net::Direction::BToA));
    let mut pump = Pump::new(u64::MAX).paced(pacer.or_else(by_fare));
    let mut source = packer.over(up, &x.core.counters);
    let pool = &x.core.blocks;
    let down = &mut *x.down;
    let outcome = poll_fn(|cx| {
        match pump.poll(cx, &mut source, down, pool) {
            Poll::Ready(Ok(())) => return Poll::Ready(Ok(())),
            Poll::Ready(Err(error)) => return Poll::Ready(Err(download_failure(&error, &pump))),
            Poll::Pending => {}
        }
        if down.poll_gone(cx).is_ready() {
            return Poll::Ready(Err(Failure::with(Kind::ClientGone, "the stream was reset")));
        }
        patience.poll(cx, upload, Stage::Responding(&pump)).map(Err)
    })
    .await;
    x.record.bytes_out += pump.moved;
    outcome
}

enum Step {
    Done,
    /// So many bytes can go from socket to socket; `u64::MAX`: all until the end.
    Splice(u64),
}

async fn pump_both(
    x: &mut Exchange<'_>,
    up: &mut UpPeer,
    upload: &mut Upload<'_>,
    pump: &mut Pump<'_>,
    patience: &mut Patience<'_>,
) -> Result<Step, Failure> {
    let pool = &x.core.blocks;
    let down = &mut *x.down;
    let mut upload_failed = false;
    poll_fn(|cx| {
        if !upload.is_done() && !upload_failed {
            match upload.poll(cx, down, up, pool) {
                // The server wants no more of it; its answer goes on.
                Poll::Ready(Err(PumpError::Sink(_) | PumpError::TooLarge)) => upload_failed = true,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(upload_failure(&error, upload))),
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
        }
        match pump.poll(cx, up, down, pool) {
            Poll::Ready(Ok(())) => return Poll::Ready(Ok(Step::Done)),
            Poll::Ready(Err(error)) => return Poll::Ready(Err(download_failure(&error, pump))),
            Poll::Pending => {}
        }
        if down.poll_gone(cx).is_ready() {
            return Poll::Ready(Err(Failure::with(Kind::ClientGone, "the stream was reset")));
        }
        if (upload.is_done() || upload_failed)
            && up.opaque() >= SPLICE_FROM
            && down.raw_output().is_some()
            && pump.by_sockets().is_some()
        {
            return Poll::Ready(Ok(Step::Splice(up.opaque())));
        }
        patience.poll(cx, upload, Stage::Responding(pump)).map(Err)
    })
    .await
}

pub(crate) fn download_failure(error: &PumpError, pump: &Pump<'_>) -> Failure {
    match error {
        PumpError::Sink(error) => client_gone(error),
        PumpError::Source(PeerError::Parse(error)) => Failure::of_response(*error),
        PumpError::Source(PeerError::Io(error)) => {
            Failure::with(Kind::ResponseIncomplete, io_words(error))
        }
        PumpError::Source(PeerError::Reset(_)) => {
            Failure::with(Kind::ResponseIncomplete, "the stream was reset")
        }
        PumpError::Stopped => pump.stop_reason(),
        PumpError::Source(PeerError::Coding(error)) => {
            Failure::with(Kind::ResponseIncomplete, error.to_string())
        }
        PumpError::Source(PeerError::Incomplete) | PumpError::TooLarge => {
            Failure::new(Kind::ResponseIncomplete)
        }
    }
}

/// Moves bytes of the response from socket to socket.
async fn splice(
    x: &mut Exchange<'_>,
    up: &mut UpPeer,
    length: u64,
    pump: &mut Pump<'_>,
    patience: &mut Patience<'_>,
) -> Result<(), Failure> {
    let progress = Cell::new(0);
    let toll = pump.by_sockets().flatten();
    let outcome = {
        let (Some(from), Some(to)) = (up.raw_input(), x.down.raw_output()) else {
            return Ok(());
        };
        let known = (length != u64::MAX).then_some(length);
        let toll = toll.as_deref().map(|fare| fare as &dyn net::Toll);
        let moving = net::splice_body_under(&x.core.pipes, from, to, known, &progress, toll);
        let mut moving = std::pin::pin!(moving);
        let already = pump.moved;
        poll_fn(|cx: &mut Context<'_>| {
            if let Poll::Ready(outcome) = moving.as_mut().poll(cx) {
                return Poll::Ready(Ok(outcome));
            }
            let stage = Stage::Splicing { moved: already + progress.get(), to };
            patience.poll(cx, pump, stage).map(Err)
        })
        .await
    };
    pump.moved += progress.get();
    match outcome? {
        Ok(moved) => {
            up.skip(moved, length == u64::MAX);
            Ok(())
        }
        Err(SpliceError::Unsupported) => {
            up.never_opaque();
            Ok(())
        }
        Err(SpliceError::Stopped) => Err(pump.stop_reason()),
        Err(SpliceError::Read(error)) => {
            Err(Failure::with(Kind::ResponseIncomplete, io_words(&error)))
        }
        Err(SpliceError::Eof { .. }) => Err(Failure::new(Kind::ResponseIncomplete)),
        Err(SpliceError::Write(error)) => Err(Failure::with(Kind::ClientGone, io_words(&error))),
    }
}

/// The coding in which the body of a request goes on.
pub(crate) fn coding_of(body: BodyLength) -> BodyEncoder {
    if body == BodyLength::Chunked { BodyEncoder::Chunked } else { BodyEncoder::Identity }
}

/// Writes the fields of a request and the end of its head; `host` goes in place of `Host`.
pub(crate) fn write_fields(
    out: &mut Vec<u8>,
    fields: &message::Block,
    host: Option<&[u8]>,
    coding: BodyEncoder,
) {
    match host {
        None => fields.write_lines(out, |_| false),
        Some(host) => {
            out.extend_from_slice(b"Host: ");
            out.extend_from_slice(host);
            out.extend_from_slice(b"\r\n");
            fields.write_lines(out, |field| field.id == FieldId::Host);
        }
    }
    if coding == BodyEncoder::Chunked {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// Whether a request of this method may be sent again when nobody knows what became of it.
pub(crate) fn may_repeat(method: Method, failure: &Failure, body: BodyLength) -> bool {
    match failure.retry {
        Retry::Never => false,
        Retry::Unseen | Retry::Refused | Retry::Unwanted => true,
        Retry::Stale => method.is_idempotent() && body == BodyLength::None,
    }
}
