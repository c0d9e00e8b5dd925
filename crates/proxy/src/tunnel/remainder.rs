//! What is left of an exchange that has become a tunnel.
//!
//! A tunnel may be there for days and is idle for most of them, so it keeps nothing that only a
//! request needs: the exchange ends when its tunnel begins, and what served it is given back.

use std::rc::Rc;

use message::{Method, RequestHead};
use net::TunnelCounters;
use net::watchdog::Guard;
use tls::TlsInfo;
use upstream::Wire;

use super::{End, Joint};
use crate::client::Client;
use crate::core::Core;
use crate::exchange::Exchange;
use crate::failure::Failure;
use crate::forward;
use crate::guest::Guest;
use crate::peer::H2Io;
use crate::record::{Line, Record};
use crate::slot::Serving;
use crate::standing::Standing;

/// A tunnel to a target that has been reached, and all that has to be known when it ends.
#[derive(Debug)]
pub(crate) struct Remainder {
    /// The configuration that its exchange began with.
    serving: Serving,
    /// `None` until it runs.
    down: Option<Down>,
    up: Wire,
    client: Client,
    request: RequestHead,
    record: Record,
    guest: Option<Box<Guest>>,
}

/// The client's side of it.
#[derive(Debug)]
pub(crate) enum Down {
    Wire(Wire),
    /// A stream of HTTP/2, whose connection this TLS is of.
    Stream(Box<H2Io>, Option<Rc<TlsInfo>>),
}

impl Remainder {
    /// Takes everything out of an exchange that the tunnel to `up` needs. Nothing of it is told
    /// by the exchange from now on.
    pub(crate) fn of(x: &mut Exchange<'_>, up: Wire) -> Box<Self> {
        let nothing = RequestHead {
            fields: message::Block::default(),
            method: Method::Other,
            version: x.request.version,
            method_at: 0..0,
            target_at: 0..0,
        };
        let mut request = std::mem::replace(&mut x.request, nothing);
        request.fields.compact();
        let started = x.record.started;
        Box::new(Self {
            serving: x.serving.clone(),
            down: None,
            up,
            client: x.client,
            request,
            record: std::mem::replace(&mut x.record, Record::new(started)),
            guest: x.guest.take(),
        })
    }

    /// Carries it to its end, which is written to the log. Gives the client's connection back
    /// where the client may still be sending.
    pub(crate) fn run<'a>(
        mut self: Box<Self>,
        core: &'a Core,
        guard: &'a Guard,
        down: Down,
    ) -> impl Future<Output = Option<Wire>> + use<'a> {
        // It is here rather than in the future, which would keep it twice.
        self.down = Some(down);
        self.carry(core, guard)
    }

    async fn carry(mut self: Box<Self>, core: &Core, guard: &Guard) -> Option<Wire> {
        let Self { serving, down: Some(down), up, guest, .. } = &mut *self else {
            return None;
        };
        let listener = serving.listener();
        let mut joint = Joint {
            standing: Standing::at(core, listener),
            guard,
            down: down.end(),
            up: End::Wire(up),
            idle: listener.timeouts().tunnel_idle,
            counters: TunnelCounters::default(),
            fare: guest.as_ref().and_then(|guest| guest.fare.as_deref()),
        };
        let outcome = joint.carry().await;
        let both_ended = outcome.is_ok() && !joint.standing.is_gone();
        let counters = joint.counters;
        self.tell(core, &counters, outcome);
        match self.down {
            Some(Down::Wire(wire)) if !both_ended => Some(wire),
            _ => None,
        }
    }

    /// What the exchange would have told.
    fn tell(&mut self, core: &Core, counters: &TunnelCounters, outcome: Result<(), Failure>) {
        let (sent, received) = (counters.a_to_b.get(), counters.b_to_a.get());
        let failure = outcome.err();
        if let Some(guest) = &self.guest {
            forward::tunnel::judge(core, guest, counters, failure.as_ref());
        }
        self.record.bytes_in += sent;
        self.record.bytes_out += received;
        if let Some(failure) = &failure {
            self.record.note_failure(failure);
        }
        let line = Line {
            core,
            view: &self.serving.view,
            listener: self.serving.listener(),
            client: &self.client,
            tls: self.down.as_ref().and_then(Down::tls_info),
            request: &self.request,
            record: &self.record,
        };
        line.write();
    }
}

impl Down {
    fn end(&mut self) -> End<'_> {
        match self {
            Self::Wire(wire) => End::Wire(wire),
            Self::Stream(stream, _) => End::Stream(stream),
        }
    }

    fn tls_info(&self) -> Option<&TlsInfo> {
        match self {
            Self::Wire(wire) => wire.io.info(),
            Self::Stream(_, tls) => tls.as_deref(),
        }
    }
}
