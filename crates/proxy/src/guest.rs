//! Who asks on the forward face, what it wishes of its exit, and by which it leaves.

use std::cell::{Cell, OnceCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use accounts::{Account, ConnectionPermit};
use egress::{ConnectionMark, ExitInfo, ExitLease, SessionInfo, Wish};
use policy::RuleSet;

use crate::fare::Fare;

/// What is known of whoever made a request of the forward face.
#[derive(Debug, Default)]
pub(crate) struct Guest {
    /// What it wishes of its exit.
    pub(crate) wish: Wish,
    /// What it has used and may use; `None`: nobody knows who it is.
    pub(crate) account: Option<Arc<Account>>,
    /// Counts among what the user has open.
    pub(crate) permit: Option<ConnectionPermit>,
    /// Rules of the user about targets.
    pub(crate) rules: Option<Arc<RuleSet>>,
    /// Asked about every byte.
    pub(crate) fare: Option<Rc<Fare>>,
    /// The exit by which it leaves.
    pub(crate) lease: Option<Rc<ExitLease>>,
}

/// What is remembered of a client's connection, made for those that need it: others have no room
/// for it.
#[derive(Debug, Default)]
pub(crate) struct Mark(OnceCell<Box<Marked>>);

#[derive(Debug, Default)]
struct Marked {
    /// Its exits, and its number.
    exits: ConnectionMark,
    /// It shares no connection to an origin with other clients.
    alone: Cell<bool>,
}

impl Mark {
    pub(crate) fn get(&self) -> &ConnectionMark {
        &self.0.get_or_init(Box::default).exits
    }

    /// From now on it shares no connection to an origin with other clients: whoever logs in by
    /// NTLM or Negotiate (RFC 4559 §6) does so for the whole connection.
    pub(crate) fn keep_alone(&self) {
        self.0.get_or_init(Box::default).alone.set(true);
    }

    /// Its number, if it shares none.
    pub(crate) fn alone(&self) -> Option<u64> {
        self.0.get().filter(|marked| marked.alone.get()).map(|marked| marked.exits.id())
    }
}

/// Whether one of several challenges, which may have parameters, is of such a scheme.
pub(crate) fn asks_for_connection(challenges: &[u8]) -> bool {
    challenges.split(|byte| *byte == b',').any(is_for_connections)
}

/// Whether credentials or a challenge are of a scheme that is about a whole connection.
pub(crate) fn is_for_connections(value: &[u8]) -> bool {
    let scheme = value.trim_ascii_start().split(|byte| matches!(byte, b' ' | b',')).next();
    let schemes: [&[u8]; 2] = [b"ntlm", b"negotiate"];
    scheme.is_some_and(|scheme| schemes.iter().any(|known| scheme.eq_ignore_ascii_case(known)))
}

impl Guest {
    /// What requests inside a tunnel have of it.
    pub(crate) fn of_tunnel(tunnel: &Self) -> Self {
        Self {
            wish: tunnel.wish.clone(),
            account: tunnel.account.clone(),
            rules: tunnel.rules.clone(),
            lease: tunnel.lease.clone(),
            permit: None,
            fare: None,
        }
    }

    /// The exit by which it leaves.
    pub(crate) fn exit(&self) -> Option<&ExitInfo> {
        self.lease.as_ref().map(|lease| lease.exit())
    }

    /// The session that it is in.
    pub(crate) fn session(&self) -> Option<&SessionInfo> {
        self.lease.as_ref()?.session()
    }

    /// The address of ours that it leaves from, where one was chosen.
    pub(crate) fn source(&self) -> Option<IpAddr> {
        self.lease.as_ref().and_then(|lease| lease.source())
    }
}
