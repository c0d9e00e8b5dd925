//! Reads the server name out of a `ClientHello`, before there is a configuration to give to
//! the TLS library: the name chooses it.
//!
//! Nothing is accepted or refused here. A hello that does not parse has no name; the library
//! then reads the same bytes and sends the proper alert. Should the two ever disagree about
//! the name, the certificate resolver notices and ends the handshake.

use std::borrow::Cow;

use rustls::pki_types::DnsName;

/// Most bytes of handshake that are looked at before the name must have come; the limit of
/// the library for a handshake message.
pub(crate) const MAX_HELLO: usize = 0xffff;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;

/// What the first bytes of a connection are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FirstBytes {
    /// Too few of them.
    Incomplete,
    /// They begin like the method of an HTTP request.
    PlainHttp,
    /// Handshake records, and the server name in lower case, if there is a valid one.
    Hello(Option<Box<str>>),
}

/// Looks at the bytes read so far.
pub(crate) fn inspect(bytes: &[u8]) -> FirstBytes {
    match bytes.first() {
        None => return FirstBytes::Incomplete,
        // Every method in use is in capitals (RFC 9110 §9.1), no TLS content type is a letter.
        Some(first) if first.is_ascii_uppercase() => return FirstBytes::PlainHttp,
        Some(&HANDSHAKE) => {}
        Some(_) => return FirstBytes::Hello(None),
    }
    match handshake_message(bytes) {
        Progress::Incomplete if bytes.len() < MAX_HELLO => FirstBytes::Incomplete,
        Progress::Incomplete | Progress::Malformed => FirstBytes::Hello(None),
        Progress::Complete(body) => FirstBytes::Hello(server_name(&body)),
    }
}

enum Progress<'a> {
    Incomplete,
    Malformed,
    Complete(Cow<'a, [u8]>),
}

/// The body of the `ClientHello`, joined if it was split over several records (RFC 8446 §5.1).
fn handshake_message(mut bytes: &[u8]) -> Progress<'_> {
    let mut joined: Cow<'_, [u8]> = Cow::Borrowed(&[]);
    loop {
        if let Some(&[kind, a, b, c]) = joined.first_chunk::<4>() {
            let length = u32::from_be_bytes([0, a, b, c]) as usize;
            if kind != CLIENT_HELLO || length > MAX_HELLO {
                return Progress::Malformed;
            }
            if joined.len() >= 4 + length {
                return Progress::Complete(match joined {
                    Cow::Borrowed(all) => Cow::Borrowed(&all[4..4 + length]),
                    Cow::Owned(all) => Cow::Owned(all[4..4 + length].to_vec()),
                });
            }
        }
        let Some((&[kind, _, _, high, low], rest)) = bytes.split_first_chunk::<5>() else {
            return Progress::Incomplete;
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if kind != HANDSHAKE || length == 0 {
            return Progress::Malformed;
        }
        let Some((fragment, rest)) = rest.split_at_checked(length) else {
            return Progress::Incomplete;
        };
        if joined.is_empty() {
            joined = Cow::Borrowed(fragment);
        } else {
            joined.to_mut().extend_from_slice(fragment);
        }
        bytes = rest;
    }
}

/// The host name of the `server_name` extension (RFC 6066 §3). Addresses are not names.
fn server_name(body: &[u8]) -> Option<Box<str>> {
    let mut hello = Cursor(body);
    hello.take(2 + 32)?;
    hello.vector8()?;
    hello.vector16()?;
    hello.vector8()?;
    let mut extensions = Cursor(hello.vector16()?);
    while let Some(kind) = extensions.u16() {
        let data = extensions.vector16()?;
        if kind != SERVER_NAME {
            continue;
        }
        let mut names = Cursor(Cursor(data).vector16()?);
        while let Some(kind) = names.u8() {
            let name = names.vector16()?;
            if kind == HOST_NAME {
                let name = DnsName::try_from(name).ok()?.to_lowercase_owned();
                return Some(name.as_ref().into());
            }
        }
        return None;
    }
    None
}

/// A reader that ends in `None` instead of reading past the end.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn vector8(&mut self) -> Option<&'a [u8]> {
        let n = self.u8()?;
        self.take(n.into())
    }

    fn vector16(&mut self) -> Option<&'a [u8]> {
        let n = self.u16()?;
        self.take(n.into())
    }
}

#[cfg(test)]
pub(crate) mod tests;
