//! One GET to a server of an upstream, and its whole response.

use std::future::poll_fn;

use config::Scheme;
use h1::{BodyEncoder, HeadLimits};
use message::framing::BodyLength;
use message::{Block, Method, ResponseHead, Version, hop};
use tokio::time::{Instant, timeout_at};
use upstream::{Ask, Connection, Lease, Link, Member, Outcome, Tried, Verdict, Wish};

use crate::attempt::report_failure;
use crate::core::Core;
use crate::exchange::Exchange;
use crate::failure::{Failure, Kind, Retry, io_words};
use crate::peer::{H1Peer, H2Up, PeerError, Sink, Source, UpPeer, header_map};

/// Limits of the head of the response.
const HEADS: HeadLimits = HeadLimits { bytes: 32 * 1024, fields: 128 };

/// The longest body that is of use.
const MAX_BODY: usize = 64 * 1024;

/// Interim responses before the final one.
const MAX_INTERIM: u32 = 16;

/// How often it is tried, on one server or several.
const MAX_ATTEMPTS: u32 = 4;

/// A response.
pub(super) struct Reply {
    pub(super) head: ResponseHead,
    /// `None`: it is longer than [`MAX_BODY`].
    pub(super) body: Option<Vec<u8>>,
}

/// What is asked for.
#[derive(Clone, Copy)]
pub(super) struct Get<'a> {
    /// Path and query.
    pub(super) target: &'a str,
    /// All fields but `Host`.
    pub(super) fields: &'a Block,
}

/// Makes the request, on another server where one cannot be reached, and once more on a new
/// connection where one that was kept was closed, or of the same server where it refused the
/// stream. All of it is over by `until`.
pub(super) async fn fetch(
    x: &Exchange<'_>,
    upstream: usize,
    get: Get<'_>,
    until: Instant,
) -> Result<Reply, Failure> {
    let (core, view) = (x.core, x.view);
    let cluster = view.clusters.get(upstream).ok_or_else(|| Failure::internal("no upstream"))?;
    let counters = core.counters.upstream(view.snapshot.cluster_labels[upstream]);
    let mut tried = Tried::default();
    let (mut again, mut fresh): (Option<Lease>, bool) = (None, false);
    let mut last = Failure::new(Kind::Unavailable);
    for _ in 0..MAX_ATTEMPTS {
        let lease = match again.take() {
            Some(lease) => lease,
            None => {
                let ask = Ask { hash: None, pinned: None, tried: &tried };
                match timeout_at(until, cluster.lease(&ask)).await {
                    Ok(Ok(lease)) => lease,
                    Ok(Err(upstream::Unavailable::AllTried)) => break,
                    Ok(Err(why)) => return Err(Failure::of_unavailable(why)),
                    Err(_) => return Err(Failure::new(Kind::ResponseTimeout)),
                }
            }
        };
        tried.add(&lease);
        counters.requests.inc();
        match attempt(core, &lease, fresh, get, until).await {
            Ok(reply) => return Ok(reply),
            Err(failure) => {
                counters.failures.inc();
                fresh = failure.retry == Retry::Stale;
                again = matches!(failure.retry, Retry::Stale | Retry::Refused).then_some(lease);
                last = failure;
                if last.retry == Retry::Never {
                    break;
                }
            }
        }
    }
    Err(last)
}

async fn attempt(
    core: &Core,
    lease: &Lease,
    fresh: bool,
    get: Get<'_>,
    until: Instant,
) -> Result<Reply, Failure> {
    let opened = timeout_at(until, lease.open(Wish { fresh, ..Wish::default() })).await;
    let opened = opened.map_err(|_| Failure::new(Kind::ResponseTimeout))?;
    let link = opened.map_err(|error| Failure::of_connect(&error))?.link;
    let (server, reused, sent) = (link.server(), link.reused(), Instant::now());
    let outcome = round_trip(core, lease.member(), link, get, reused, until).await;
    match outcome {
        Ok((reply, up)) => {
            let verdict = Verdict::Status(reply.head.status);
            lease.report(Outcome { latency: Some(sent.elapsed()), verdict });
            if let Some(UpPeer::H1(mut up)) = up {
                up.release(&core.blocks);
                lease.keep(Connection::used(up.wire, server));
            }
            Ok(reply)
        }
        Err(failure) => {
            report_failure(lease, &failure, Some(sent.elapsed()));
            Err(failure)
        }
    }
}

/// The response, and its connection if that can carry another request.
async fn round_trip(
    core: &Core,
    member: &Member,
    link: Link,
    get: Get<'_>,
    reused: bool,
    until: Instant,
) -> Result<(Reply, Option<UpPeer>), Failure> {
    let late = |_| Failure::new(Kind::ResponseTimeout);
    let sent = timeout_at(until, send(core, member, link, get)).await.map_err(late)?;
    let mut up = sent.map_err(|failure| match failure.retry {
        Retry::Stale if !reused => failure.retry(Retry::Never),
        _ => failure,
    })?;
    match timeout_at(until, receive(core, &mut up, reused)).await {
        Ok(received) => {
            let (reply, reusable) = received?;
            Ok((reply, reusable.then_some(up)))
        }
        Err(elapsed) => {
            // Others that ask over the same connection may wait in vain as well.
            if let UpPeer::H2(up) = &up {
                up.slot.distrust();
            }
            Err(late(elapsed))
        }
    }
}

/// The response, and whether its connection can carry another request.
async fn receive(core: &Core, up: &mut UpPeer, reused: bool) -> Result<(Reply, bool), Failure> {
    let mut head = final_head(core, up, reused).await?;
    let length = up
        .body_length(&head, Method::Get)
        .map_err(|error| Failure::with(Kind::ProtocolError, error.as_str()))?;
    let said = hop::strip(&mut head.fields);
    up.expect(length, HEADS);
    let body = receive_body(core, up, length).await?;
    let ends = length != BodyLength::UntilClose && head.version >= Version::Http11;
    let reusable = ends && !said.close && body.is_some();
    Ok((Reply { head, body }, reusable))
}

async fn send(core: &Core, member: &Member, link: Link, get: Get<'_>) -> Result<UpPeer, Failure> {
    let base = member.server.base_path.as_str();
    match link {
        Link::Http1(connection) => {
            let mut up = H1Peer::new(connection.wire);
            up.lend_output(&core.blocks);
            let out = up.begin(BodyEncoder::Identity);
            h1::write_request_line(out, b"GET", &[base.as_bytes(), get.target.as_bytes()]);
            out.extend_from_slice(b"Host: ");
            out.extend_from_slice(member.authority.as_bytes());
            out.extend_from_slice(b"\r\n");
            get.fields.write_lines(out, |_| false);
            out.extend_from_slice(b"\r\n");
            let sent = poll_fn(|cx| up.poll_flush(cx)).await;
            sent.map_err(|error| broken(&error, Kind::ConnectionTerminated).retry(Retry::Stale))?;
            Ok(UpPeer::H1(up))
        }
        Link::Http2(slot) => {
            let unfit = || Failure::internal("cannot be asked in HTTP/2");
            let scheme = match member.server.scheme {
                Scheme::Http => "http",
                Scheme::Https => "https",
            };
            let uri = http::Uri::builder()
                .scheme(scheme)
                .authority(member.authority.as_str())
                .path_and_query(format!("{base}{}", get.target))
                .build()
                .map_err(|_| unfit())?;
            let mut request = http::Request::new(());
            *request.uri_mut() = uri;
            *request.version_mut() = http::Version::HTTP_2;
            *request.headers_mut() = header_map(get.fields, |_| false).map_err(|_| unfit())?;
            let sent = slot.send(request, true);
            let (response, _) = sent.map_err(|error| Failure::of_unsent(&error))?;
            Ok(UpPeer::H2(H2Up::new(slot, response, None, false)))
        }
    }
}

async fn final_head(core: &Core, up: &mut UpPeer, reused: bool) -> Result<ResponseHead, Failure> {
    for _ in 0..=MAX_INTERIM {
        let head = poll_fn(|cx| up.poll_head(cx, HEADS, &core.blocks)).await;
        let head = head.map_err(|error| Failure::of_up(error, reused))?;
        match head.status {
            101 => return Err(Failure::new(Kind::UpgradeFailed)),
            100..=199 => core.blocks.give(head.fields),
            _ => return Ok(head),
        }
    }
    Err(Failure::with(Kind::ProtocolError, "too many interim responses"))
}

/// The body; `None` as soon as it is known to be too long.
async fn receive_body(
    core: &Core,
    up: &mut UpPeer,
    length: BodyLength,
) -> Result<Option<Vec<u8>>, Failure> {
    if matches!(length, BodyLength::Known(length) if length > MAX_BODY as u64) {
        return Ok(None);
    }
    let incomplete = |error: PeerError| match error {
        PeerError::Parse(error) => Failure::of_response(error),
        error => broken(&error, Kind::ResponseIncomplete),
    };
    let mut body = Vec::new();
    loop {
        let piece = up.available().map_err(incomplete)?;
        let count = piece.len();
        if body.len() + count > MAX_BODY {
            return Ok(None);
        }
        body.extend_from_slice(piece);
        up.consume(count);
        if up.is_done() {
            return Ok(Some(body));
        }
        if count == 0 {
            poll_fn(|cx| up.poll_more(cx, &core.blocks)).await.map_err(incomplete)?;
        }
    }
}

fn broken(error: &PeerError, kind: Kind) -> Failure {
    match error {
        PeerError::Io(error) => Failure::with(kind, io_words(error)),
        _ => Failure::new(kind),
    }
}
