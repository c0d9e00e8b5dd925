//! Clients that ask all the time, and count what becomes of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use super::client::{Connection, Seen, Wrong, ensure};

/// How many clients there are, each with one connection.
pub(super) const CLIENTS: usize = 8;

/// How often a client asks, if the answers come as fast. A connection that asked much more
/// would come to the number of requests after which the proxy asks for another one.
const PACE: Duration = Duration::from_millis(2);

/// Clients at work. They stop when this is dropped.
pub(super) struct Load {
    stop: Stop,
    totals: watch::Receiver<Totals>,
    clients: Vec<JoinHandle<()>>,
}

/// What has become of their requests.
#[derive(Debug, Clone, Default)]
pub(super) struct Totals {
    /// Requests that are over.
    pub(super) requests: usize,
    /// Those of them that were not answered with 200 by an origin.
    pub(super) failed: usize,
    /// Why the last of these was not.
    pub(super) why: String,
    /// Connections that were opened.
    pub(super) connections: usize,
    /// Answers of each origin.
    by: BTreeMap<String, usize>,
}

impl Load {
    /// Begins to ask a site for this path.
    pub(super) fn start(site: SocketAddr, path: &'static str) -> Self {
        let (sender, totals) = watch::channel(Totals::default());
        let sender = Arc::new(sender);
        let stop = Stop::default();
        let client = |_| {
            let stop = Arc::clone(&stop.0);
            let client = Client { site, path, connection: None, totals: Arc::clone(&sender) };
            tokio::spawn(client.run(stop))
        };
        let clients = (0..CLIENTS).map(client).collect();
        Self { stop, totals, clients }
    }

    /// What has become of all requests so far.
    pub(super) fn so_far(&self) -> Totals {
        self.totals.borrow().clone()
    }

    /// Waits until enough has happened.
    pub(super) async fn until(&mut self, enough: impl FnMut(&Totals) -> bool) -> Result<(), Wrong> {
        let waited = self.totals.wait_for(enough).await;
        waited.map(drop).map_err(|_| Wrong("the clients have ended".to_owned()))
    }

    /// Waits until so many more requests are over.
    pub(super) async fn go_on(&mut self, requests: usize) -> Result<(), Wrong> {
        let goal = self.so_far().requests + requests;
        self.until(|totals| totals.requests >= goal).await
    }

    /// Lets each client finish its request, and goes on only if none has failed.
    pub(super) async fn finish(self) -> Result<Totals, Wrong> {
        let totals = self.end().await;
        ensure(totals.failed == 0, || {
            format!(
                "{} of {} requests failed, the last one so: {}",
                totals.failed, totals.requests, totals.why
            )
        })?;
        Ok(totals)
    }

    async fn end(self) -> Totals {
        let Self { stop, totals, clients } = self;
        drop(stop);
        for client in clients {
            // They do not panic, and nobody aborts them.
            let _ = client.await;
        }
        totals.borrow().clone()
    }
}

impl Totals {
    /// How many answers an origin has given.
    pub(super) fn of(&self, origin: &str) -> usize {
        self.by.get(origin).copied().unwrap_or_default()
    }
}

#[derive(Default)]
struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Client {
    site: SocketAddr,
    path: &'static str,
    connection: Option<Connection>,
    totals: Arc<watch::Sender<Totals>>,
}

impl Client {
    async fn run(mut self, stop: Arc<AtomicBool>) {
        let mut pace = tokio::time::interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !stop.load(Ordering::Relaxed) {
            let outcome = self.ask().await;
            self.totals.send_modify(|totals| {
                totals.requests += 1;
                match outcome {
                    Ok(seen) => *totals.by.entry(seen.origin).or_default() += 1,
                    Err(Wrong(why)) => {
                        totals.failed += 1;
                        totals.why = why;
                    }
                }
            });
            pace.tick().await;
        }
    }

    /// Makes a request, on the connection that is there: one that is gone without notice makes
    /// it fail.
    async fn ask(&mut self) -> Result<Seen, Wrong> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                self.totals.send_modify(|totals| totals.connections += 1);
                Connection::open(self.site).await?
            }
        };
        let request = format!("GET {} HTTP/1.1\nHost: {}", self.path, self.site);
        let response = connection.send(&request).await?;
        if response.head.field("Connection").is_none_or(|value| !value.contains("close")) {
            self.connection = Some(connection);
        }
        response.seen()
    }
}
