//! One request and what becomes of it. This is the table of contents of the data plane.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;

use message::framing::{BodyLength, request_body};
use message::hop;
use message::target::{PathAndQuery, Target};
use message::{Authority, FieldId, Method, RequestHead, Version};
use net::watchdog::Guard;

use crate::client::Client;
use crate::core::{Core, View};
use crate::failure::{Failure, Kind};
use crate::guest::{Guest, Mark};
use crate::intercept::Inside;
use crate::peer::{DownPeer, PeerError, Sink, Source};
use crate::record::Record;
use crate::respond::Answer;
use crate::site::TlsIdentity;
use crate::slot::Serving;
use crate::snapshot::{Face, Listener};
use crate::tunnel::Remainder;
use crate::unpacking::{self, Wrapped, unpack_failure};
use crate::{forward, reverse};

/// Of a request body that nobody wants so much is read, to keep the connection.
const DISCARD: u64 = 256 * 1024;

/// One request. It belongs to the task of its connection: nothing in it is shared.
pub(crate) struct Exchange<'a> {
    pub(crate) core: &'a Core,
    /// The configuration it began with, and the listener of it.
    pub(crate) serving: &'a Serving,
    pub(crate) view: &'a View,
    pub(crate) listener: &'a Listener,
    pub(crate) client: Client,
    /// What the client connected to, where a server is to be told.
    pub(crate) destination: Option<&'a SocketAddr>,
    /// The site that the TLS connection was made for.
    pub(crate) tls_site: Option<&'a TlsIdentity>,
    pub(crate) down: &'a mut DownPeer,
    pub(crate) guard: &'a Guard,
    pub(crate) request: RequestHead,
    pub(crate) body: BodyLength,
    pub(crate) said: hop::Connection,
    /// Whether the connection goes on afterwards.
    pub(crate) keep_alive: bool,
    /// The client waits for 100 before it sends the body, and has not been told to.
    pub(crate) awaits_continue: bool,
    /// A final response was begun: it is too late for another one.
    pub(crate) head_sent: bool,
    /// The tunnel that it came inside of, if its TLS was opened.
    pub(crate) inside: Option<&'a Inside>,
    /// The tunnel that it has become, if its TLS is to be opened.
    pub(crate) opens: Option<Rc<Inside>>,
    /// The tunnel that it has become, if bytes are to be carried. All that could be told of the
    /// exchange is there.
    pub(crate) carries: Option<Box<Remainder>>,
    pub(crate) record: Record,
    /// What is undone of the body on its way to the server.
    pub(crate) wrapped: Option<Wrapped>,
    /// What is remembered of the client's connection between requests.
    pub(crate) mark: &'a Mark,
    /// Who asks, on the forward face, as soon as that is known.
    pub(crate) guest: Option<Box<Guest>>,
}

/// What becomes of the connection.
#[derive(Debug)]
pub(crate) enum Next {
    /// The next request.
    Request,
    /// The client speaks HTTP/2.
    Http2,
    /// TLS, to be opened, and requests inside it.
    Inside(Rc<Inside>),
    /// A tunnel, to be carried to its end.
    Tunnel(Box<Remainder>),
    /// It is closed.
    Close {
        /// The client may still be sending.
        linger: bool,
    },
}

/// What a request is aimed at, understood but not judged.
#[derive(Debug)]
pub(crate) struct Aim {
    pub(crate) target: Target,
    /// Of the absolute form or of `Host`; `None` where an HTTP/1.0 client named none.
    pub(crate) authority: Option<Authority<'static>>,
}

/// Serves one request to its end, whatever that is. `failure` is what was found wrong with it
/// when it was read.
pub(crate) async fn run(x: &mut Exchange<'_>, failure: Option<Failure>) -> Next {
    let outcome = match failure {
        Some(failure) => Err(failure),
        None => match x.understand() {
            Ok(aim) => serve(x, aim).await,
            Err(failure) => {
                // A malformed message is an error of its stream (RFC 9113 §8.1.1).
                if failure.kind == Kind::RequestError {
                    x.down.reset(h2::Reason::PROTOCOL_ERROR);
                }
                Err(failure)
            }
        },
    };
    if let Some(tunnel) = x.carries.take() {
        return Next::Tunnel(tunnel);
    }
    let outcome = match outcome {
        Ok(()) => Ok(()),
        Err(failure) => fail(x, failure).await,
    };
    if outcome.is_ok() && x.keep_alive && !x.down.is_stream() {
        x.discard_body().await;
    }
    let next = match (outcome, x.opens.take()) {
        (Ok(()), Some(inside)) => Next::Inside(inside),
        (Ok(()), None) if x.keep_alive => Next::Request,
        // The client asked for it and has sent all it had to: nothing is lost by closing at once.
        (Ok(()), None) if x.said.close && x.down.is_done() => Next::Close { linger: false },
        _ => Next::Close { linger: true },
    };
    x.record();
    x.core.blocks.give(std::mem::take(&mut x.request.fields));
    next
}

async fn serve(x: &mut Exchange<'_>, aim: Aim) -> Result<(), Failure> {
    match &x.listener.face {
        Face::Reverse(face) => reverse::serve(x, face, aim).await,
        Face::Forward(face) => forward::serve(x, face, aim).await,
        Face::Tunnel(_) => Err(Failure::internal("a request on a tunnel")),
    }
}

/// Tells the client about a failure, if it can still be told.
async fn fail(x: &mut Exchange<'_>, failure: Failure) -> Result<(), Failure> {
    x.record.note_failure(&failure);
    let malformed = matches!(
        failure.kind,
        Kind::RequestError
            | Kind::RequestHeadTooLarge
            | Kind::RequestTargetTooLong
            | Kind::VersionNotSupported
            | Kind::RequestTimeout
            | Kind::ClientTooSlow
    );
    if malformed {
        // Nobody knows where the next request would begin.
        x.keep_alive = false;
    }
    if x.head_sent || failure.kind == Kind::ClientGone || x.down.is_dead() {
        x.keep_alive = false;
        if failure.kind == Kind::QuotaExceeded && x.down.is_stream() {
            // What was charged shall go out: of a stream that is reset nothing more is sent.
            let _ = x.flush_answer().await;
            tokio::task::yield_now().await;
        }
        if !x.down.is_dead() {
            // The client must not take what it has for all of it.
            x.down.reset(h2::Reason::INTERNAL_ERROR);
        }
        return Err(failure);
    }
    let pages = x.record.error_pages(x.listener);
    let mut answer = Answer::of(&failure, pages);
    let allow = std::mem::take(&mut x.record.allow);
    if failure.kind == Kind::MethodNotAllowed && !allow.is_empty() {
        answer = answer.field("Allow", allow);
    }
    if failure.kind == Kind::CodingNotSupported {
        answer = answer.field("Accept-Encoding", unpacking::UNDERSTOOD);
    }
    if let Face::Forward(face) = &x.listener.face {
        forward::tell(x, face, &failure, &mut answer);
    }
    x.answer(answer).await
}

impl Exchange<'_> {
    /// What the request says, as far as it can be told without knowing what is served here:
    /// framing, target, host, and what is meant for this connection only.
    pub(crate) fn understand(&mut self) -> Result<Aim, Failure> {
        let bad = |words: &'static str| Failure::with(Kind::RequestError, words);
        self.record.head_in = self.request.fields.bytes().len() as u64;
        self.body = request_body(&self.request).map_err(|error| bad(error.as_str()))?;
        let limits = self.heads();
        if self.body == BodyLength::None && self.down.is_stream() && !self.down.is_done() {
            // The stream tells the end. What has a length of nothing has no bytes to come.
            if !self.request.fields.has(FieldId::ContentLength) {
                self.body = BodyLength::Chunked;
            }
        }
        self.down.expect(self.body, limits);
        let target = Target::parse(self.request.method, self.request.target())
            .map_err(|_| bad("malformed request target"))?;
        let authority = authority_of(&self.request, &target)?;
        self.said = hop::strip(&mut self.request.fields);
        self.keep_alive = match self.request.version {
            Version::Http11 | Version::Http2 => !self.said.close,
            Version::Http10 => self.said.keep_alive && !self.said.close,
        } && self.keep_alive;
        self.awaits_continue = expectation(&mut self.request, self.body)?;
        Ok(Aim { target, authority })
    }

    /// How the body goes on to the server: how much comes out of a coding is known at its end.
    pub(crate) fn body_out(&self) -> BodyLength {
        if self.wrapped.is_some() { BodyLength::Chunked } else { self.body }
    }

    /// `Max-Forwards` of TRACE and OPTIONS (RFC 9110 §7.6.2): `true` when the request ends here.
    pub(crate) fn count_forward(&mut self) -> Result<bool, Failure> {
        count_forward(&mut self.request)
    }

    /// Answers TRACE and OPTIONS as the last recipient.
    pub(crate) async fn answer_as_last(&mut self) -> Result<(), Failure> {
        if self.request.method == Method::Options {
            let allow = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE";
            return self.answer(Answer::new(204).field("Allow", allow)).await;
        }
        // What came is shown, without what is secret (RFC 9110 §9.3.8).
        let secret = [FieldId::Authorization, FieldId::ProxyAuthorization];
        let fields = &self.request.fields;
        let mut echo = self.request.method_text().to_vec();
        echo.push(b' ');
        echo.extend_from_slice(self.request.target());
        echo.extend_from_slice(b" HTTP/1.1\r\n");
        fields.write_lines(&mut echo, |field| {
            secret.contains(&field.id) || fields.name(field).eq_ignore_ascii_case(b"cookie")
        });
        echo.extend_from_slice(b"\r\n");
        let answer = Answer { content_type: "message/http", body: echo.into(), ..Answer::new(200) };
        self.answer(answer).await
    }

    /// Decides, before an answer of our own is written, whether what is left of the request
    /// body can be read to its end or costs the connection.
    pub(crate) fn settle_body(&mut self) {
        let too_long = match self.body {
            BodyLength::Known(length) => length > DISCARD,
            BodyLength::None | BodyLength::Chunked | BodyLength::UntilClose => false,
        };
        // A stream that ends early leaves its connection as it was.
        if self.down.is_stream() {
            return;
        }
        // A client that waits for 100 may send the body or not: nobody can tell.
        if !self.down.is_done() && (too_long || self.awaits_continue) {
            self.keep_alive = false;
        }
    }

    /// Reads what is left of the request body and throws it away.
    async fn discard_body(&mut self) {
        let mut left = DISCARD;
        let core = self.core;
        let (guard, header) = (self.guard, self.timeouts().header);
        let down = &mut *self.down;
        let all = poll_fn(|cx| {
            loop {
                let at_hand = match down.available() {
                    Ok(piece) => piece.len(),
                    Err(_) => return std::task::Poll::Ready(false),
                };
                if at_hand as u64 > left {
                    return std::task::Poll::Ready(false);
                }
                left -= at_hand as u64;
                down.consume(at_hand);
                if down.is_done() {
                    return std::task::Poll::Ready(true);
                }
                if at_hand == 0 && std::task::ready!(down.poll_more(cx, &core.blocks)).is_err() {
                    return std::task::Poll::Ready(false);
                }
            }
        });
        if guard.within(header, all).await != Ok(true) {
            self.keep_alive = false;
        }
    }

    /// Sends the answer that was put into the output.
    pub(crate) async fn flush_answer(&mut self) -> Result<(), Failure> {
        let header = self.timeouts().header;
        let sent = self.guard.within(header, poll_fn(|cx| self.down.poll_flush(cx))).await;
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(client_gone(&error)),
            Err(_) => Err(Failure::new(Kind::ClientTooSlow)),
        }
    }

    pub(crate) fn heads(&self) -> h1::HeadLimits {
        self.listener.heads()
    }

    pub(crate) fn timeouts(&self) -> &config::Timeouts {
        self.listener.timeouts()
    }

    /// The path and query of an origin- or absolute-form target.
    pub(crate) fn path_of(&self, target: &Target) -> Option<PathAndQuery> {
        match target {
            Target::Origin(path) | Target::Absolute { path, .. } => Some(path.clone()),
            Target::Authority | Target::Asterisk => None,
        }
    }
}

/// Whether the client waits for 100 before it sends the body (RFC 9110 §10.1.1).
pub(crate) fn expectation(request: &mut RequestHead, body: BodyLength) -> Result<bool, Failure> {
    let Some(expected) = request.fields.get(FieldId::Expect) else { return Ok(false) };
    if !expected.eq_ignore_ascii_case(b"100-continue") {
        return Err(Failure::new(Kind::ExpectationFailed));
    }
    let awaits = body != BodyLength::None && request.version >= Version::Http11;
    if !awaits {
        request.fields.remove(FieldId::Expect);
    }
    Ok(awaits)
}

/// See [`Exchange::count_forward`].
pub(crate) fn count_forward(request: &mut RequestHead) -> Result<bool, Failure> {
    if !matches!(request.method, Method::Trace | Method::Options) {
        return Ok(false);
    }
    let Some(value) = request.fields.get(FieldId::MaxForwards) else { return Ok(false) };
    let number = std::str::from_utf8(value).ok().and_then(|text| text.parse::<u32>().ok());
    let number =
        number.ok_or_else(|| Failure::with(Kind::RequestError, "Max-Forwards is not a number"))?;
    if number == 0 {
        return Ok(true);
    }
    request.fields.remove(FieldId::MaxForwards);
    let left = itoa::Buffer::new().format(number - 1).to_owned();
    request.fields.push(b"Max-Forwards", &[left.as_bytes()]);
    Ok(false)
}

/// The one host of a request (RFC 9112 §3.2).
pub(crate) fn authority_of(
    request: &RequestHead,
    target: &Target,
) -> Result<Option<Authority<'static>>, Failure> {
    let bad = |words: &'static str| Failure::with(Kind::RequestError, words);
    let mut hosts = request.fields.values(FieldId::Host);
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(bad("more than one Host"));
    }
    if host.is_none() && request.version >= Version::Http11 {
        return Err(bad("no Host"));
    }
    let parse = |text| Authority::parse(text).map_err(|_| bad("malformed host"));
    let from_field = match host {
        Some(b"") | None => None,
        Some(text) => Some(parse(text)?),
    };
    let from_target = match target {
        Target::Absolute { authority, .. } => Some(parse(&request.target()[authority.clone()])?),
        // A tunnel's target decides; what `Host` says beside it is sent to nobody.
        Target::Authority => Some(parse(request.target())?),
        Target::Origin(_) | Target::Asterisk => None,
    };
    if let (Target::Absolute { secure, .. }, Some(target), Some(field)) =
        (target, &from_target, &from_field)
    {
        let default = if *secure { 443 } else { 80 };
        let port = |authority: &Authority<'_>| authority.port.unwrap_or(default);
        if target.host != field.host || port(target) != port(field) {
            return Err(bad("Host differs from the request target"));
        }
    }
    Ok(from_target
        .or(from_field)
        .map(|found| Authority { host: found.host.into_owned(), port: found.port }))
}

/// The client could not be written to or read from.
pub(crate) fn client_gone(error: &PeerError) -> Failure {
    match error {
        PeerError::Io(error) => Failure::with(Kind::ClientGone, crate::failure::io_words(error)),
        PeerError::Parse(error) => Failure::of_request(*error),
        PeerError::Coding(error) => unpack_failure(*error),
        PeerError::Incomplete => Failure::with(Kind::ClientGone, "request body ended early"),
        PeerError::Reset(reason) => match *reason {
            // The library found the body to differ from what its head says of it.
            h2::Reason::PROTOCOL_ERROR => {
                Failure::with(Kind::RequestError, "the stream broke the rules of HTTP/2")
            }
            _ => Failure::with(Kind::ClientGone, "the stream was reset"),
        },
    }
}
