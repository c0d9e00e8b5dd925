//! What is asked of the rules.

use std::net::IpAddr;

use jiff::Timestamp;

use crate::rule_set::RuleSet;

/// A target, and what else rules may be about.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The host of the target.
    pub host: HostRef<'a>,
    /// Its port.
    pub port: u16,
    /// How it was asked for.
    pub entry: Entry,
    /// The method; `CONNECT` for SOCKS.
    pub method: &'a str,
    /// Who asks, without wishes; `None`: nobody in particular.
    pub user: Option<&'a str>,
    /// The value of `User-Agent`.
    pub agent: Option<&'a [u8]>,
    /// What time it is.
    pub now: Timestamp,
    /// The rules of the user, asked before those of the listener.
    pub rules: Option<&'a RuleSet>,
}

impl<'a> Asked<'a> {
    /// A target of which nothing else is known. The method is that of the entry: `CONNECT`, or
    /// `GET` for a request in absolute form.
    #[must_use]
    pub fn new(host: HostRef<'a>, port: u16, entry: Entry, now: Timestamp) -> Self {
        let method = match entry {
            Entry::Connect | Entry::Socks => "CONNECT",
            Entry::Plain => "GET",
        };
        Self { host, port, entry, method, user: None, agent: None, now, rules: None }
    }
}

/// The host of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostRef<'a> {
    /// In lower case, IDNA-encoded, without a trailing dot. Whatever a resolver would take
    /// for an address (`127.1`, `0x7f000001`) may come as a name: what counts is the
    /// address it resolves to.
    Name(&'a str),
    /// A literal.
    Address(IpAddr),
}

impl HostRef<'_> {
    /// A name in any other spelling would walk round the rules; making it canonical is for
    /// whoever parses it.
    pub(crate) fn is_canonical(&self) -> bool {
        match self {
            Self::Address(_) => true,
            Self::Name(name) => {
                !name.ends_with('.') && !name.bytes().any(|b| b.is_ascii_uppercase())
            }
        }
    }
}

/// How a target was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// `CONNECT` (RFC 9110 §9.3.6).
    Connect,
    /// SOCKS4, SOCKS4a or SOCKS5.
    Socks,
    /// A request in absolute form (RFC 9112 §3.2.2).
    Plain,
}

/// Of what rules are asked.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stage<'a> {
    /// Of a request.
    Request,
    /// Of its answer, with this `Content-Type`.
    Answer(Option<&'a [u8]>),
}
