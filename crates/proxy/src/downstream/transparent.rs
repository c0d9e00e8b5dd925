//! Connections of clients that do not know of us: netfilter has led them here.
//!
//! The target is the address that the client connected to, whatever it says: what is connected to
//! is never what a `Host` or a server name resolves to (CVE-2009-0801). Such a name may make the
//! rules refuse what they would let through by its address; let through or led another way what
//! they would not by its address is only what the name does lead to.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use config::Transparent;
use message::target::{PathAndQuery, Target};
use message::{Authority, Host, RequestHead};
use net::canonical;
use policy::Entry;
use tls::{Greeting, Io, greeting};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use upstream::Wire;

use super::{Accepted, Turned, hurried, into_http, into_tunnel, linger, serve_inside, socks};
use crate::core::Core;
use crate::exchange::{Aim, Exchange};
use crate::failure::{Failure, Kind};
use crate::forward::{Aimed, Plain, admit, leave::check_way, tunnel as carried};
use crate::peer::{DownPeer, H1Peer};
use crate::snapshot::{Face, Forward};

/// Where the client speaks first, whatever it speaks as a rule.
const CLIENT_FIRST: [u16; 2] = [80, 443];

/// How long a client may be silent elsewhere before the server is let speak.
const SILENCE: Duration = Duration::from_secs(1);

/// More than any method of HTTP in use, with what follows it.
const FIRST_WORDS: usize = 32;

/// What a TLS client is told that may not go where it wants: a fatal alert `access_denied`
/// (RFC 8446 §6.2).
const ACCESS_DENIED: [u8; 7] = [21, 3, 3, 0, 2, 2, 49];

/// What the first bytes of a connection look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FirstWords {
    /// Too few of them.
    More,
    Tls,
    /// A request of HTTP/1 to the server itself.
    Http,
    Other,
}

/// What a client began with.
struct Begun {
    io: Io,
    early: Vec<u8>,
    words: FirstWords,
    /// The server that it names in its `ClientHello`.
    name: Option<Box<str>>,
}

/// Leads a connection to where it was going: the tunnel there is given back. So is a connection on
/// which plain HTTP is spoken: its requests are served one by one.
pub(super) async fn serve(
    core: &Rc<Core>,
    mut accepted: Accepted,
    stream: TcpStream,
    mode: Transparent,
) -> Option<Turned> {
    let original = match original(&stream, mode) {
        Ok(original) => original,
        Err(failure) => {
            refuse_unknown(core, &accepted, stream, failure);
            return None;
        }
    };
    accepted.destination = Some(Box::new(original));
    let begun = begin(core, &accepted, stream, original.port()).await?;
    if begun.words == FirstWords::Http {
        let wire = Wire::with_received(begun.io, begun.early);
        return Some(into_http(core, accepted, wire));
    }
    carry(core, accepted, begun, original).await
}

/// Where the client wanted to go.
fn original(stream: &TcpStream, mode: Transparent) -> Result<SocketAddr, Failure> {
    let unknown = |_| Failure::with(Kind::Denied, "no original address");
    let local = stream.local_addr().map_err(unknown)?;
    let local = SocketAddr::new(canonical(local.ip()), local.port());
    match mode {
        Transparent::Tproxy => Ok(local),
        Transparent::Redirect => {
            match net::transparent::redirected_from(stream).map_err(unknown)? {
                // It was not led here, it came by itself.
                own if SocketAddr::new(canonical(own.ip()), own.port()) == local => {
                    Err(Failure::with(Kind::IpProhibited, "own_listener"))
                }
                original => Ok(original),
            }
        }
    }
}

/// Ends a connection that goes nowhere.
fn refuse_unknown(core: &Rc<Core>, accepted: &Accepted, stream: TcpStream, failure: Failure) {
    let serving = core.serving(&accepted.slot);
    let mut down = DownPeer::H1(H1Peer::new(Wire::new(Io::Tcp(stream))));
    let mut x = socks::exchange(core, &serving, accepted, &mut down, socks::nothing(core));
    x.record.protocol = Some("TCP");
    finish(&mut x, Err(failure));
}

/// Looks at what the client begins with. `None`: it went, or was silent where it should not be.
async fn begin(
    core: &Rc<Core>,
    accepted: &Accepted,
    stream: TcpStream,
    port: u16,
) -> Option<Begun> {
    let (guard, slot) = (&accepted.guard, &accepted.slot);
    let header = core.serving(slot).listener().timeouts().header;
    let client_first = CLIENT_FIRST.contains(&port);
    guard.set(if client_first { header } else { header.min(SILENCE) });
    let (mut io, mut early) = (Io::Tcp(stream), Vec::new());
    let looked = hurried(core, slot, guard, guard.run(first_words(&mut io, &mut early))).await;
    let words = match looked {
        Ok(words) => words?,
        Err(_) if client_first => return None,
        Err(_) => FirstWords::Other,
    };
    if words != FirstWords::Tls {
        return Some(Begun { io, early, words, name: None });
    }
    guard.set(header);
    let greeted = hurried(core, slot, guard, guard.run(greeting(&mut io, &mut early))).await;
    match greeted {
        Ok(Ok(Greeting::Tls { name })) => Some(Begun { io, early, words, name }),
        Ok(Ok(Greeting::Other)) => Some(Begun { io, early, words: FirstWords::Other, name: None }),
        // No client hides its name so far back but for the rules.
        Ok(Ok(Greeting::Endless | Greeting::Ended)) | Ok(Err(_)) | Err(_) => None,
    }
}

/// Receives until it is clear what is spoken; `None`: the connection ended before.
async fn first_words(io: &mut Io, early: &mut Vec<u8>) -> Option<FirstWords> {
    loop {
        match look(early) {
            FirstWords::More => {}
            words => return Some(words),
        }
        // No buffer while nothing comes.
        poll_fn(|cx| net::Stream::poll_readable(io, cx)).await.ok()?;
        early.reserve(4096);
        if pin!(io.read_buf(early)).await.ok()? == 0 {
            return (!early.is_empty()).then_some(FirstWords::Other);
        }
    }
}

/// Judges the first bytes. A protocol that is not HTTP may begin with a word in capitals too
/// (`SSH-2.0`, `PING`), but not go on with a space and a path.
fn look(bytes: &[u8]) -> FirstWords {
    const HANDSHAKE: u8 = 22;
    if bytes.first() == Some(&HANDSHAKE) {
        return FirstWords::Tls;
    }
    let bytes = &bytes[..bytes.len().min(FIRST_WORDS)];
    let method = bytes.iter().take_while(|byte| byte.is_ascii_uppercase() || **byte == b'-');
    let end = method.count();
    match &bytes[end..] {
        [] if end < FIRST_WORDS => FirstWords::More,
        [b' '] if end > 0 => FirstWords::More,
        [b' ', b'/', ..] if end > 0 => FirstWords::Http,
        // OPTIONS about the whole server, and not the preface of HTTP/2 (`PRI * HTTP/2.0`).
        [b' ', b'*', ..] if &bytes[..end] == b"OPTIONS" => FirstWords::Http,
        [b' ', rest @ ..] if end > 0 => {
            let scheme = b"http://";
            let length = rest.len().min(scheme.len());
            match rest[..length].eq_ignore_ascii_case(&scheme[..length]) {
                true if length == scheme.len() => FirstWords::Http,
                true => FirstWords::More,
                false => FirstWords::Other,
            }
        }
        _ => FirstWords::Other,
    }
}

/// Carries a connection whose bytes are nobody's business.
async fn carry(
    core: &Rc<Core>,
    accepted: Accepted,
    begun: Begun,
    original: SocketAddr,
) -> Option<Turned> {
    let serving = core.serving(&accepted.slot);
    let Face::Forward(face) = &serving.listener().face else { return None };
    let Begun { io, early, words, name } = begun;
    let request = request(core, original, name.as_deref())?;
    let mut down = DownPeer::H1(H1Peer::new(Wire::with_received(io, early)));
    let (refused, inside, tunnel) = {
        let mut x = socks::exchange(core, &serving, &accepted, &mut down, request);
        x.record.protocol = Some(if words == FirstWords::Tls { "TLS" } else { "TCP" });
        let outcome = connect(&mut x, face, name.as_deref(), original).await;
        let refused = x.carries.is_none() && x.record.status != 200;
        finish(&mut x, outcome);
        (refused, x.opens.take(), x.carries.take())
    };
    match (inside, tunnel, down) {
        (_, Some(tunnel), DownPeer::H1(down)) => {
            return Some(into_tunnel(core, accepted, down, tunnel));
        }
        (Some(inside), None, DownPeer::H1(down)) => {
            drop(serving);
            serve_inside(Rc::clone(core), accepted, down.wire, inside).await;
        }
        (_, _, mut down) if refused && words == FirstWords::Tls => {
            let wire = socks::wire_of(&mut down);
            // The connection ends whether this arrives or not.
            let _ = accepted.guard.within(super::HURRY, wire.send(&ACCESS_DENIED)).await;
            linger(&accepted.guard, wire).await;
        }
        _ => {}
    }
    None
}

/// The connection as the CONNECT that it would be if the client knew of us, for rules and log.
fn request(core: &Core, original: SocketAddr, name: Option<&str>) -> Option<RequestHead> {
    let host = name.map_or_else(|| original.to_string(), str::to_owned);
    let text = format!("CONNECT {original} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let block = core.blocks.block_over(text.into_bytes());
    let limits = h1::HeadLimits { bytes: usize::MAX, fields: 1 };
    // A server name has only characters that a host has.
    h1::parse_request(block, limits).ok()
}

async fn connect(
    x: &mut Exchange<'_>,
    face: &Forward,
    name: Option<&str>,
    original: SocketAddr,
) -> Result<(), Failure> {
    let name = name.and_then(|name| Host::parse(name.as_bytes()).ok());
    let address = Host::Address(original.ip());
    let named = judge(x, face, name.as_ref(), original, Entry::Connect).await?;
    let host = named.unwrap_or(&address);
    let aimed =
        Aimed { host, address: Some(original.ip()), port: original.port(), entry: Entry::Connect };
    let opened = carried::open(x, face, &aimed).await?;
    x.record.status = 200;
    carried::run(x, face, &aimed, opened).await
}

/// The name by which the rules are to judge a connection, in place of its address: that which the
/// client says, if the name does lead to the address, as far as we can tell. Else anybody could
/// open any address by a name that is let through.
///
/// It is only looked up where the rules treat it otherwise than the address.
///
/// # Errors
/// The name is refused: that it is, wherever it leads.
async fn judge<'n, 'h>(
    x: &Exchange<'_>,
    face: &Forward,
    name: Option<&'n Host<'h>>,
    original: SocketAddr,
    entry: Entry,
) -> Result<Option<&'n Host<'h>>, Failure> {
    // An address tells less than the one that is connected to.
    let Some(host @ Host::Name(name)) = name else { return Ok(None) };
    let (ip, port) = (original.ip(), original.port());
    let by_name = {
        let asked = Aimed { host, address: Some(ip), port, entry };
        let asked = asked.asked(x);
        admit(face, &asked)?;
        check_way(face, &asked, original)?
    };
    let address = Host::Address(ip);
    let asked = Aimed { host: &address, address: None, port, entry };
    let by_address = check_way(face, &asked.asked(x), original);
    if by_address.is_ok_and(|way| way == by_name) {
        return Ok(None);
    }
    let found = x.core.resolver.lookup(name).await;
    let leads_there =
        found.is_ok_and(|found| found.iter().any(|found| canonical(*found) == canonical(ip)));
    Ok(leads_there.then_some(host))
}

fn finish(x: &mut Exchange<'_>, outcome: Result<(), Failure>) {
    if let Err(failure) = outcome {
        if x.record.status == 0 {
            x.record.status = failure.kind.status();
        }
        x.record.note_failure(&failure);
    }
    x.core.counters.face(x.listener.telemetry_face()).requests_started.inc();
    if x.carries.is_none() {
        x.record();
    }
}

/// Serves a request of plain HTTP on a connection that was led here.
pub(crate) async fn relay<'a>(
    x: &mut Exchange<'a>,
    face: &'a Forward,
    aim: Aim,
) -> Result<(), Failure> {
    let Some(original) = x.destination.copied() else {
        return Err(Failure::with(Kind::IpProhibited, "own_listener"));
    };
    let path = match &aim.target {
        Target::Origin(path) | Target::Absolute { secure: false, path, .. } => path.clone(),
        Target::Asterisk => PathAndQuery { path: 0..0, query: 0..0 },
        Target::Absolute { secure: true, .. } | Target::Authority => {
            return Err(Failure::with(Kind::RequestError, "this is no proxy"));
        }
    };
    let said = aim.authority.as_ref().map(|said| &said.host);
    let named = judge(x, face, said, original, Entry::Plain).await?.cloned();
    let host = named.unwrap_or(Host::Address(original.ip()));
    let authority = Authority { host, port: Some(original.port()) };
    let aim = Aim { authority: Some(authority), ..aim };
    Plain { face, aim: &aim, path, inside: None, led: Some(original.ip()) }.serve(x).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_words_tell_what_is_spoken() {
        for (bytes, words) in [
            (&b""[..], FirstWords::More),
            (b"\x16", FirstWords::Tls),
            (b"\x16\x03\x01", FirstWords::Tls),
            (b"G", FirstWords::More),
            (b"GET", FirstWords::More),
            (b"GET ", FirstWords::More),
            (b"GET /", FirstWords::Http),
            (b"GET /a HTTP/1.1\r\n", FirstWords::Http),
            (b"M-SEARCH /a HTTP/1.1\r\n", FirstWords::Http),
            (b"GET http", FirstWords::More),
            (b"GET HTTP://a.example/", FirstWords::Http),
            (b"GET https://a.example/", FirstWords::Other),
            (b"GET key\r\n", FirstWords::Other),
            (b"OPTIONS *", FirstWords::Http),
            (b"PRI * HTTP/2.0\r\n", FirstWords::Other),
            (b"CONNECT a.example:443 HTTP/1.1\r\n", FirstWords::Other),
            (b"SSH-2.0-OpenSSH_9.6\r\n", FirstWords::Other),
            (b"PING\r\n", FirstWords::Other),
            (b"EHLO me\r\n", FirstWords::Other),
            (b" /", FirstWords::Other),
            (b"get /", FirstWords::Other),
            (b"\0\0\0", FirstWords::Other),
            (&[b'A'; 31], FirstWords::More),
            (&[b'A'; 32], FirstWords::Other),
            (&[b'A'; 5000], FirstWords::Other),
        ] {
            assert_eq!(look(bytes), words, "{}", String::from_utf8_lossy(bytes));
        }
    }

    proptest::proptest! {
        #[test]
        fn a_verdict_stays(bytes: Vec<u8>) {
            let whole = look(&bytes);
            for cut in 0..bytes.len() {
                let early = look(&bytes[..cut]);
                proptest::prop_assert!(early == FirstWords::More || early == whole);
            }
        }
    }
}
