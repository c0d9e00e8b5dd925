//! A request on its way to the servers behind a route: which of them it is tried on, and how
//! often.

use std::time::Instant;

use upstream::{Cluster, Connection, Tried};

use crate::exchange::Exchange;
use crate::failure::{Failure, Kind, Retry, Side};
use crate::peer::H1Peer;
use crate::relay::{self, Outcome, Terms};
use crate::reverse::Forwarding;
use crate::tunnel;

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
        let mut connection = match reused {
            Some(connection) => {
                x.core.counters.upstream_reused.inc();
                connection
            }
            None => connect(x, cluster, index).await?,
        };
        x.record.server = Some(connection.server);
        let endpoint = &cluster.endpoints()[index];
        let terms = Terms {
            max_body: self.route.max_body,
            heads: self.site.heads,
            limits: &self.site.config.limits,
            timeouts: &self.site.config.timeouts,
            upgrade,
            reused: connection.reused,
            pages: Some(&self.route.error_pages),
        };
        let mut up = H1Peer::new(connection.wire);
        up.lend_output(&x.core.blocks);
        self.write_request(x, endpoint, &mut up);
        let outcome =
            relay::run(x, &mut up, &terms, |x, head| self.edit_response(x, endpoint, head)).await?;
        match outcome {
            Outcome::Complete { reusable } => {
                up.release(&x.core.blocks);
                connection.wire = up.wire;
                if reusable {
                    cluster.keep(index, connection);
                }
                Ok(())
            }
            Outcome::Upgraded => {
                let idle = self.site.config.timeouts.tunnel_idle;
                tunnel::run(x, up.wire, idle).await
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
