//! A parent that speaks HTTP.

use std::io;
use std::net::TcpStream;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::link::Link;
use super::{Asked, Caller, Conduct, How, Shared, Unreached, relay};
use crate::Message;
use crate::message::{Length, length, parse_chunked, parse_request};

/// Serves a connection to its end.
pub(super) fn serve(shared: &Shared, mut link: Link, caller: Caller) -> io::Result<()> {
    loop {
        let whole = |bytes: &[u8]| parse_request(bytes).map(|(_, length)| length);
        let Some(bytes) = link.until(whole)? else { return Ok(()) };
        let Some((message, _)) = parse_request(&bytes) else { return Ok(()) };
        let Some(asked) = read(&message, caller) else {
            link.send(&response(400, ""))?;
            relay::close(&link);
            return Ok(());
        };
        let Some(conduct) = shared.judge(asked.clone()) else {
            link.send(&response(407, "Proxy-Authenticate: Basic realm=\"parent\"\r\n"))?;
            relay::close(&link);
            return Ok(());
        };
        let abandons = conduct == Conduct::Abandon;
        let refusal = |status| response(status, "");
        let Some((served, early)) = relay::behave(link, conduct, refusal)? else { return Ok(()) };
        link = served;
        let target = match shared.reach(&asked) {
            Ok(target) => target,
            Err(unreached) => {
                link.send(&response(502, problem(&unreached)))?;
                relay::close(&link);
                return Ok(());
            }
        };
        if asked.how == How::Connect {
            link.send(&[b"HTTP/1.1 200 Connection established\r\n\r\n", &*early].concat())?;
            if abandons {
                relay::close(&link);
                return Ok(());
            }
            return relay::tunnel(link, target);
        }
        if abandons || !forward(&link, target, &message)? {
            link.finish();
            return Ok(());
        }
    }
}

/// What is asked; `None`: it is no request to a proxy.
fn read(message: &Message, caller: Caller) -> Option<Asked> {
    let target = message.target();
    let (how, authority) = match message.method().as_str() {
        "CONNECT" => (How::Connect, target),
        _ => {
            let rest = target.strip_prefix("http://")?;
            (How::Absolute, rest.split(['/', '?']).next()?.to_owned())
        }
    };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host.to_owned(), port.parse().ok()?),
        _ => (authority, 80),
    };
    let credentials = message.get("Proxy-Authorization").and_then(|value| {
        let token = value.strip_prefix("Basic ")?.to_owned();
        let pair = String::from_utf8(BASE64_STANDARD.decode(token).ok()?).ok()?;
        pair.split_once(':').map(|(user, password)| (user.to_owned(), password.to_owned()))
    });
    let Caller { from, connection } = caller;
    Some(Asked { how, host, port, credentials, message: Some(message.clone()), from, connection })
}

fn response(status: u16, fields: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} Parent\r\n{fields}Content-Length: 0\r\nConnection: close\r\n\r\n")
        .into_bytes()
}

/// The fields of an answer that tells of a target that was not reached (RFC 9209).
fn problem(unreached: &Unreached) -> &'static str {
    match unreached {
        Unreached::Unknown => "Proxy-Status: parent; error=dns_error\r\n",
        Unreached::Refused => "Proxy-Status: parent; error=connection_refused\r\n",
    }
}

/// Makes the request at its target, and passes the answer on; whether the connection goes on.
fn forward(link: &Link, target: TcpStream, message: &Message) -> io::Result<bool> {
    let origin = Link::new(target, None)?;
    origin.send(&in_origin_form(message))?;
    let (head, response) = loop {
        let end = |bytes: &[u8]| {
            bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
        };
        let Some(head) = origin.until(end)? else { return Ok(false) };
        link.send(&head)?;
        let response = Message { head, body: Vec::new(), trailers: String::new(), chunked: false };
        if response.status() >= 200 {
            break (response.status(), response);
        }
    };
    if message.method() == "HEAD" || matches!(head, 204 | 304) {
        return Ok(!response.closes());
    }
    let goes_on = match length(&response, Length::UntilClose) {
        Length::Known(count) => copy(&origin, link, Some(count))?,
        Length::Chunked => copy_chunked(&origin, link, &response)?,
        Length::UntilClose => {
            copy(&origin, link, None)?;
            false
        }
    };
    Ok(goes_on && !response.closes())
}

/// Passes chunks on as they come, until the last one.
fn copy_chunked(from: &Link, to: &Link, response: &Message) -> io::Result<bool> {
    let mut all = Vec::new();
    loop {
        let bytes = from.receive()?;
        if bytes.is_empty() {
            return Ok(false);
        }
        to.send(&bytes)?;
        all.extend(bytes);
        if parse_chunked(&all, &mut response.clone()).is_some() {
            return Ok(true);
        }
    }
}

fn copy(from: &Link, to: &Link, count: Option<usize>) -> io::Result<bool> {
    let mut left = count.unwrap_or(usize::MAX);
    while left > 0 {
        let mut bytes = from.receive()?;
        if bytes.is_empty() {
            return Ok(count.is_none());
        }
        bytes.truncate(left);
        left -= bytes.len();
        to.send(&bytes)?;
    }
    Ok(true)
}

fn in_origin_form(message: &Message) -> Vec<u8> {
    let target = message.target();
    let path = target.strip_prefix("http://").and_then(|rest| rest.find('/').map(|at| &rest[at..]));
    let mut head = format!("{} {} HTTP/1.1\r\n", message.method(), path.unwrap_or("/"));
    for line in message.lines() {
        let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
        if !matches!(&*name, "proxy-authorization" | "proxy-connection" | "connection") {
            head.push_str(&line);
            head.push_str("\r\n");
        }
    }
    head.push_str("Connection: close\r\n\r\n");
    let mut bytes = head.into_bytes();
    match message.chunked {
        false => bytes.extend(&message.body),
        true => {
            if !message.body.is_empty() {
                bytes.extend(format!("{:x}\r\n", message.body.len()).into_bytes());
                bytes.extend(&message.body);
                bytes.extend(b"\r\n");
            }
            bytes.extend(b"0\r\n");
            bytes.extend(message.trailers.as_bytes());
            bytes.extend(b"\r\n");
        }
    }
    bytes
}
