//! CONNECT at a parent that speaks HTTP/1.1 (RFC 9110 §9.3.6).

use std::net::IpAddr;

use h1::{Completeness, HeadLimits, ParseError};
use message::{Block, Host, ResponseHead};

use super::{Link, Reply};
use crate::ParentProblem;

/// How large the head of an answer may be.
const LIMITS: HeadLimits = HeadLimits { bytes: 16 * 1024, fields: 100 };

/// Interim responses that are passed over.
const MAX_INTERIM: usize = 8;

/// Asks for a tunnel.
pub(super) async fn ask(
    link: &mut Link,
    host: &Host<'_>,
    port: u16,
    authorization: Option<&str>,
) -> Result<(), ParentProblem> {
    link.send(request(host, port, authorization).as_bytes()).await?;
    for _ in 0..=MAX_INTERIM {
        let head = head(link).await?;
        match head.status {
            // Whatever its fields say, no body follows: the tunnel begins.
            200..300 => return Ok(()),
            407 => return Err(ParentProblem::AuthRequired),
            _ if head.is_interim() => {}
            _ => return Err(ParentProblem::Refused(Reply::http(&head))),
        }
    }
    Err(ParentProblem::Malformed("too many interim responses"))
}

/// Nothing of the client is in it.
fn request(host: &Host<'_>, port: u16, authorization: Option<&str>) -> String {
    let authority = match host {
        Host::Name(name) => format!("{name}:{port}"),
        Host::Address(IpAddr::V4(address)) => format!("{address}:{port}"),
        Host::Address(IpAddr::V6(address)) => format!("[{address}]:{port}"),
    };
    let mut text = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n");
    if let Some(authorization) = authorization {
        text.push_str("Proxy-Authorization: ");
        text.push_str(authorization);
        text.push_str("\r\n");
    }
    text.push_str("\r\n");
    text
}

/// The next head, taken from the link.
async fn head(link: &mut Link) -> Result<ResponseHead, ParentProblem> {
    let nonsense = |error: ParseError| ParentProblem::Malformed(error.as_str());
    let mut seen = 0;
    loop {
        match h1::completeness(&link.received, seen, LIMITS).map_err(nonsense)? {
            Completeness::Complete(end) => {
                let block = Block::over(link.received[..end].to_vec());
                link.consume(end);
                return h1::parse_response(block, LIMITS).map_err(nonsense);
            }
            Completeness::Partial { scanned } => seen = scanned,
        }
        link.receive().await?;
    }
}
