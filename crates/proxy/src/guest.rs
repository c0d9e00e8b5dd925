//! Who asks on the forward face, what it wishes of its exit, and by which it leaves.

use std::cell::OnceCell;
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

/// The exit of a client's connection, made for those that keep one: others have no room for it.
#[derive(Debug, Default)]
pub(crate) struct Mark(OnceCell<Box<ConnectionMark>>);

impl Mark {
    pub(crate) fn get(&self) -> &ConnectionMark {
        self.0.get_or_init(|| Box::new(ConnectionMark::new()))
    }
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
