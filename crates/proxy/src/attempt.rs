//! A request on its way to the servers behind a route: which of them it is tried on, and how
//! often.

use std::time::Instant;

use upstream::{Cluster, Connection, Link, Tried};

use crate::exchange::Exchange;
use crate::failure::{Failure, Kind, Retry, Side};
use crate::peer::UpPeer;
use crate::relay::{self, Outcome, Terms};
use crate::reverse::Forwarding;
use crate::tunnel::{self, End};
use crate::websocket::Handshake;

/// Servers that one request is tried on.
const MAX_ATTEMPTS: u8 = 8;

impl<'a> Forwarding<'a, '_> {
    pub(crate) async fn relay(&self, x: &mut Exchange<'a>, upstream: usize) -> Result<(), Failure> {
        if let message::framing::BodyLength::Known(length) = x.body
            && length > self.route.max_body
        {
            return Err(Failure::new(Kind::RequestBodyTooLarge));
        }
        let cluster = &x.view.clusters[upstream];
        x.record.upstream = Some(upstream);
        let upgrade = self.prepare(x);
        let mut tried = Tried::default();
        let mut again: Option<usize> = None;
        loop {
            // A server that only closed a kept connection is asked again, on a new one.
            let fresh = again.is_some();
            let Some(index) = again.take().or_else(|| cluster.pick(&mut tried)) else {
                return Err(x.record.last_failure());
            };
            x.record.attempts += 1;
            let counters = x.core.counters.upstream(x.view.snapshot.cluster_labels[upstream]);
            counters.requests.inc();
            let outcome = self.attempt(x, cluster, index, fresh, upgrade).await;
            if outcome.as_ref().is_err_and(|failure| failure.kind.side() == Side::Upstream) {
                counters.failures.inc();
            }
            match outcome {
                Ok(()) => return Ok(()),
                Err(failure) if x.head_sent || x.record.attempts >= MAX_ATTEMPTS => {
                    return Err(failure);
                }
                Err(failure) if relay::may_repeat(x.request.method, &failure, x.body) => {
                    x.core.counters.retries.inc();
                    again = (failure.retry == Retry::Stale).then_some(index);
                    x.record.note_failure(&failure);
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    async fn attempt(
        &self,
        x: &mut Exchange<'a>,
        cluster: &Cluster,
        index: usize,
        fresh: bool,
        upgrade: bool,
    ) -> Result<(), Failure> {
        let reused = if fresh { None } else { cluster.reuse(index) };
        let connection = match reused {
            Some(connection) => {
                x.core.counters.upstream_reused.inc();
                connection
            }
            None => connect(x, cluster, index).await?,
        };
        x.record.server = Some(connection.server);
        let endpoint = &cluster.endpoints()[index];
        let websocket = if upgrade { Handshake::of(&x.request.fields) } else { None };
        let terms = Terms {
            max_body: self.route.max_body,
            heads: self.site.heads,
            limits: &self.site.config.limits,
            upgrade,
            websocket: websocket.as_ref(),
            response: self.site.config.timeouts.response,
            refused: &[],
            reused: connection.reused,
            pages: Some(&self.route.error_pages),
        };
        let server = connection.server;
        let mut up = self.begin(x, endpoint, Link::Http1(connection), upgrade).await?;
        let edit = |x: &mut Exchange<'_>, head: &mut _| self.edit_response(x, endpoint, head);
        let outcome = relay::run(x, &mut up, &terms, edit).await?;
        let idle = self.site.config.timeouts.tunnel_idle;
        match (outcome, up) {
            (Outcome::Complete { reusable }, UpPeer::H1(mut up)) => {
                up.release(&x.core.blocks);
                if reusable {
                    cluster.keep(index, Connection::used(up.wire, server));
                }
                Ok(())
            }
            (Outcome::Complete { .. }, UpPeer::H2(_)) => Ok(()),
            (Outcome::Upgraded, UpPeer::H1(mut up)) => {
                tunnel::run(x, End::Wire(&mut up.wire), idle).await
            }
            (Outcome::Upgraded, UpPeer::H2(up)) => {
                // The place on the connection is taken for as long as the tunnel lives.
                let (body, _slot) = up.into_body();
                tunnel::run(x, End::Stream(Box::new(body.into_io())), idle).await
            }
        }
    }
}

async fn connect(
    x: &mut Exchange<'_>,
    cluster: &Cluster,
    index: usize,
) -> Result<Connection, Failure> {
    let started = Instant::now();
    let outcome = cluster.connect(index).await;
    x.record.connect = Some(started.elapsed());
    match outcome {
        Ok(connection) => {
            x.core.counters.upstream_opened.inc();
            if let Some(upstream) = x.record.upstream {
                let label = x.view.snapshot.cluster_labels[upstream];
                x.core.counters.upstream(label).connects.inc();
            }
            Ok(connection)
        }
        Err(error) => {
            x.core.counters.upstream_failed.inc();
            Err(Failure::of_connect(&error))
        }
    }
}
