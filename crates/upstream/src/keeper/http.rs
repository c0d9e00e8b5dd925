//! The check that is a GET.

use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use h1::{BodyDecoder, HeadLimits, Piece};
use http::{Request, Version};
use message::BlockPool;
use message::framing::{BodyLength, response_body};
use tls::Io;

use crate::Wire;

/// How much of a body is looked at.
const BODY: usize = 64 * 1024;
const LIMITS: HeadLimits = HeadLimits { bytes: 32 * 1024, fields: 200 };
/// Interim responses that are passed over.
const MAX_INTERIM: u32 = 16;
/// The product token of checks.
const USER_AGENT: &str = "bifrons-health";

/// What is asked, and what is a good answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ask<'a> {
    pub(super) target: &'a str,
    pub(super) host: &'a str,
    pub(super) secure: bool,
    /// Inclusive.
    pub(super) statuses: &'a [(u16, u16)],
    pub(super) text: Option<&'a str>,
}

impl Ask<'_> {
    fn judge_status(&self, status: u16) -> Result<(), String> {
        let good = self.statuses.iter().any(|(from, to)| (*from..=*to).contains(&status));
        if good { Ok(()) } else { Err(format!("status {status}")) }
    }

    /// Looks into what has come of the body, of which so much was looked at before: `None`, more
    /// is to be read.
    fn judge_body(&self, body: &[u8], seen: usize, over: bool) -> Option<Result<(), String>> {
        let text = self.text.filter(|text| !text.is_empty());
        let Some(text) = text.map(str::as_bytes) else { return Some(Ok(())) };
        // It may begin in what was seen and end in what is new.
        let from = seen.saturating_sub(text.len() - 1);
        if body[from..].windows(text.len()).any(|part| part == text) {
            return Some(Ok(()));
        }
        (over || body.len() >= BODY).then(|| Err("the body has not the expected text".to_owned()))
    }
}

/// Asks in HTTP/1.1.
pub(super) async fn ask(io: Io, ask: &Ask<'_>) -> Result<(), String> {
    let mut wire = Wire::new(io);
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: {USER_AGENT}\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        ask.target, ask.host
    );
    wire.send(request.as_bytes()).await.map_err(|error| error.to_string())?;
    let blocks = BlockPool::new(1);
    for _ in 0..=MAX_INTERIM {
        let block = poll_fn(|cx| wire.poll_head(cx, LIMITS, &blocks))
            .await
            .map_err(|_| "no response".to_owned())?;
        let head = h1::parse_response(block, LIMITS).map_err(|error| error.as_str().to_owned())?;
        if head.is_interim() {
            continue;
        }
        ask.judge_status(head.status)?;
        let length = response_body(&head, message::Method::Get)
            .map_err(|error| error.as_str().to_owned())?;
        return read_body(&mut wire, length, ask).await;
    }
    Err("too many interim responses".to_owned())
}

async fn read_body(wire: &mut Wire, length: BodyLength, ask: &Ask<'_>) -> Result<(), String> {
    let mut decoder = BodyDecoder::new(length, LIMITS);
    let mut body = Vec::new();
    let mut seen = 0;
    loop {
        if let Some(verdict) = ask.judge_body(&body, seen, decoder.is_done()) {
            return verdict;
        }
        seen = body.len();
        let piece = decoder.decode(wire.received()).map_err(|error| error.as_str().to_owned())?;
        match piece {
            Piece::Data { skip, length } if skip + length > 0 => {
                body.extend_from_slice(&wire.received()[skip..skip + length]);
                wire.consume(skip + length);
                continue;
            }
            Piece::End { skip } => {
                wire.consume(skip);
                return ask.judge_body(&body, seen, true).unwrap_or(Ok(()));
            }
            Piece::Data { .. } => {}
        }
        if !wire.has_buffer() {
            wire.lend(Vec::with_capacity(16 * 1024));
        }
        let read = poll_fn(|cx| wire.poll_receive(cx)).await.map_err(|error| error.to_string())?;
        if read == 0 {
            let whole = decoder.may_end_here();
            let verdict = ask.judge_body(&body, seen, true).unwrap_or(Ok(()));
            return if whole { verdict } else { Err("the response is cut off".to_owned()) };
        }
    }
}

/// Asks in HTTP/2.
pub(super) async fn ask_http2(io: Io, ask: &Ask<'_>) -> Result<(), String> {
    let scheme = if ask.secure { "https" } else { "http" };
    let request = Request::builder()
        .uri(format!("{scheme}://{}{}", ask.host, ask.target))
        .version(Version::HTTP_2)
        .header("user-agent", USER_AGENT)
        .body(())
        .map_err(|error| error.to_string())?;
    let response = exchange(io, request, None).await?;
    ask.judge_status(response.status)?;
    ask.judge_body(&response.body, 0, true).unwrap_or(Ok(()))
}

/// A whole response in HTTP/2.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: u16,
    /// The first [`BODY`] bytes of it.
    pub(super) body: Vec<u8>,
    pub(super) fields: http::HeaderMap,
    pub(super) trailers: http::HeaderMap,
}

/// Makes one request on a new HTTP/2 connection, and leaves it.
pub(super) async fn exchange(
    io: Io,
    request: Request<()>,
    body: Option<Bytes>,
) -> Result<Response, String> {
    let words = |error: h2::Error| error.to_string();
    let (mut sender, connection) = h2::client::handshake(io).await.map_err(words)?;
    let asking = async move {
        let (response, mut stream) = sender.send_request(request, body.is_none()).map_err(words)?;
        if let Some(body) = body {
            stream.send_data(body, true).map_err(words)?;
        }
        let (head, mut incoming) = response.await.map_err(words)?.into_parts();
        let mut body = Vec::new();
        while let Some(piece) = incoming.data().await {
            let piece = piece.map_err(words)?;
            let _ = incoming.flow_control().release_capacity(piece.len());
            body.extend_from_slice(&piece[..piece.len().min(BODY - body.len())]);
            if body.len() >= BODY {
                break;
            }
        }
        let trailers = match incoming.is_end_stream() || body.len() < BODY {
            true => incoming.trailers().await.map_err(words)?,
            false => None,
        };
        Ok(Response {
            status: head.status.as_u16(),
            body,
            fields: head.headers,
            trailers: trailers.unwrap_or_default(),
        })
    };
    tokio::pin!(connection, asking);
    tokio::select! {
        answer = &mut asking => answer,
        ended = &mut connection => match ended {
            Err(error) => Err(error.to_string()),
            // It is closed when all is said: what was said may still be read.
            Ok(()) => tokio::time::timeout(Duration::from_secs(1), asking)
                .await
                .unwrap_or_else(|_| Err("the connection was closed".to_owned())),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(text: Option<&str>) -> Ask<'_> {
        Ask { target: "/", host: "a", secure: false, statuses: &[(200, 299), (304, 304)], text }
    }

    #[test]
    fn statuses() {
        for (status, good) in [(199, false), (200, true), (299, true), (300, false), (304, true)] {
            assert_eq!(ask(None).judge_status(status).is_ok(), good, "{status}");
        }
    }

    #[test]
    fn a_text_is_found_wherever_the_pieces_are_cut() {
        let (body, text) = (b"all is well here", "is well");
        for cut in 0..body.len() {
            let first = ask(Some(text)).judge_body(&body[..cut], 0, false);
            let whole = ask(Some(text)).judge_body(body, cut, true);
            assert!(matches!(first, None | Some(Ok(()))), "{cut}");
            assert!(first.is_some() || matches!(whole, Some(Ok(()))), "{cut}");
        }
        assert!(matches!(ask(Some("ill")).judge_body(body, 5, true), Some(Err(_))));
        assert!(ask(Some("ill")).judge_body(body, 5, false).is_none());
        assert!(matches!(ask(Some("ill")).judge_body(&[b'x'; BODY], 0, false), Some(Err(_))));
        assert!(matches!(ask(None).judge_body(b"", 0, false), Some(Ok(()))));
    }
}
