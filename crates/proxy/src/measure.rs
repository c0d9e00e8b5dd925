//! Exits are measured: each fetches a target that answers with the address that it was called
//! from. Whichever core sees first that a measurement is due makes it.

use std::future::poll_fn;
use std::net::IpAddr;
use std::rc::Rc;

use egress::{Measurement, Purpose, Via};
use h1::{BodyDecoder, HeadLimits, Piece};
use message::framing::response_body;
use message::{Authority, Method};
use net::AllowAll;
use tls::Io;
use upstream::Wire;

use crate::core::Core;

/// Measurements that a core begins in a second.
const AT_ONCE: usize = 32;

/// An address needs no more, and what is around it in JSON neither.
const MAX_BODY: usize = 4096;

const HEADS: HeadLimits = HeadLimits { bytes: 16 * 1024, fields: 100 };

/// The target of a measurement.
struct Target<'a> {
    secure: bool,
    authority: Authority<'a>,
    /// As it is written in `Host`.
    host: &'a str,
    /// Path and query.
    path: &'a str,
}

/// Begins what is due. Called about once a second.
pub(crate) fn begin(core: &Rc<Core>) {
    let view = core.view();
    for pool in view.snapshot.pools.iter() {
        for measurement in pool.measurements_due(core.clock.now_ms(), AT_ONCE) {
            let core = Rc::clone(core);
            tokio::task::spawn_local(async move {
                let (_, timeout) = measurement.target();
                let outcome = tokio::time::timeout(timeout, measure(&core, &measurement)).await;
                let outcome = outcome.unwrap_or(Err("it took too long"));
                measurement.note(outcome, core.clock.now_ms());
            });
        }
    }
}

async fn measure(core: &Core, measurement: &Measurement) -> Result<IpAddr, &'static str> {
    let (url, timeout) = measurement.target();
    let target = Target::of(url).ok_or("the target is no URL")?;
    let port = target.authority.port.unwrap_or(if target.secure { 443 } else { 80 });
    // The target is the operator's.
    let via = Via {
        resolver: &core.resolver,
        filter: &AllowAll,
        timeout,
        prefer: config::FamilyPreference::default(),
        resolve: None,
    };
    let way = measurement.way();
    let host = &target.authority.host;
    let reached = way.reach(measurement.source(), host, port, Purpose::Tunnel, &via).await;
    let reached = reached.map_err(|_| "the target was not reached")?;
    let mut io = reached.io;
    if target.secure {
        let name = host.to_string();
        let tls = core.view().snapshot.measuring_tls.clone();
        let tls = tls.ok_or("no authorities for TLS")?;
        io = tls.connect(io, &name).await.map_err(|_| "TLS with the target failed")?;
    }
    ask(io, &target).await
}

impl<'a> Target<'a> {
    fn of(url: &'a str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let cut = rest.find(['/', '?']).unwrap_or(rest.len());
        let (host, path) = rest.split_at(cut);
        let authority = Authority::parse(host.as_bytes()).ok()?;
        Some(Self { secure: scheme == "https", authority, host, path })
    }
}

/// One GET; the address in its answer.
async fn ask(io: Io, target: &Target<'_>) -> Result<IpAddr, &'static str> {
    let mut wire = Wire::new(io);
    let slash = if target.path.starts_with('/') { "" } else { "/" };
    let request = format!(
        "GET {slash}{} HTTP/1.1\r\nHost: {}\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        target.path, target.host
    );
    wire.send(request.as_bytes()).await.map_err(|_| "the target went away")?;
    let blocks = message::BlockPool::new(1);
    let block = poll_fn(|cx| wire.poll_head(cx, HEADS, &blocks)).await;
    let block = block.map_err(|_| "the target did not answer")?;
    let head = h1::parse_response(block, HEADS).map_err(|_| "the answer is no HTTP")?;
    if head.status != 200 {
        return Err("the status is not 200");
    }
    let length = response_body(&head, Method::Get).map_err(|_| "the answer is no HTTP")?;
    let mut decoder = BodyDecoder::new(length, HEADS);
    let mut body = Vec::new();
    while !decoder.is_done() && body.len() < MAX_BODY {
        match decoder.decode(wire.received()).map_err(|_| "the answer is no HTTP")? {
            Piece::Data { skip, length } if skip + length > 0 => {
                body.extend_from_slice(&wire.received()[skip..skip + length]);
                wire.consume(skip + length);
                continue;
            }
            Piece::End { .. } => break,
            Piece::Data { .. } => {}
        }
        if !wire.has_buffer() {
            wire.lend(blocks.buffer());
        }
        match poll_fn(|cx| wire.poll_receive(cx)).await {
            Ok(0) if decoder.may_end_here() => break,
            Ok(0) | Err(_) => return Err("the answer is cut off"),
            Ok(_) => {}
        }
    }
    address_in(&String::from_utf8_lossy(&body)).ok_or("there is no address in the answer")
}

/// The first address in a text: alone, or among the strings of JSON.
fn address_in(text: &str) -> Option<IpAddr> {
    let part_of_address = |char: char| char.is_ascii_hexdigit() || matches!(char, '.' | ':');
    let mut words = text.split(|char| !part_of_address(char)).map(|word| word.trim_matches('.'));
    // `"ip":"…"` leaves nothing of its colons behind that could be taken for an address.
    words.find_map(|word| word.parse().ok().filter(|_| word.len() >= 3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_in_text_and_json() {
        for (text, address) in [
            ("203.0.113.7\n", Some("203.0.113.7")),
            ("2001:db8::7", Some("2001:db8::7")),
            ("{\"ip\":\"203.0.113.7\",\"country\":\"CA\"}", Some("203.0.113.7")),
            ("{\"origin\": \"2001:db8::7\"}", Some("2001:db8::7")),
            ("Your address is 203.0.113.7.", Some("203.0.113.7")),
            ("::", None),
            ("no address: 12:30", None),
            ("", None),
        ] {
            assert_eq!(address_in(text), address.map(|text| text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn targets_are_taken_apart() {
        let target = Target::of("https://ip.example:8443/json?a").unwrap();
        assert!(target.secure);
        assert_eq!((target.host, target.path), ("ip.example:8443", "/json?a"));
        assert_eq!(Target::of("http://ip.example").unwrap().path, "");
        assert!(Target::of("ip.example").is_none());
    }
}
