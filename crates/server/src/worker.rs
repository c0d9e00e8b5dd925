//! One core: a thread, its runtime, and what runs on it.

use std::net::TcpListener as StdListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use net::resolver::Resolver;
use net::watchdog::Watchdog;
use policy::{ConnectionLimits, Secret, VerifiedCache};
use proxy::{Core, CoreParts, Listener, Snapshot};
use telemetry::{AccessLog, CoreCounters};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

/// What a core is told.
#[derive(Debug)]
pub(crate) enum Command {
    /// Stop listening, finish what runs, and end.
    Drain,
}

/// What a core is started with.
pub(crate) struct Seed {
    pub(crate) index: usize,
    pub(crate) snapshot: Arc<Snapshot>,
    /// A socket for each listener of the snapshot, in its order.
    pub(crate) sockets: Vec<StdListener>,
    pub(crate) counters: Arc<CoreCounters>,
    pub(crate) log: AccessLog,
    pub(crate) secret: Secret,
    pub(crate) limits: ConnectionLimits,
    pub(crate) tidy: fn(),
    pub(crate) commands: mpsc::UnboundedReceiver<Command>,
    /// Dropped when the core has ended.
    pub(crate) alive: std::sync::mpsc::Sender<()>,
}

/// How often a core looks after what nobody uses.
const TIDY: Duration = Duration::from_secs(1);

/// Runs a core until it has drained.
pub(crate) fn run(seed: Seed) -> std::io::Result<()> {
    net::run_local(work(seed))
}

async fn work(mut seed: Seed) -> std::io::Result<()> {
    let tick = (seed.snapshot.shortest_timeout() / 8)
        .clamp(Duration::from_millis(10), Duration::from_millis(500));
    let clock = Watchdog::new(tick);
    let parts = CoreParts {
        clock: Rc::clone(&clock),
        resolver: Resolver::new(&seed.snapshot.config.resolvers)?,
        counters: seed.counters,
        log: seed.log.core(),
        verified: VerifiedCache::new(seed.secret, VerifiedCache::LIFETIME, VerifiedCache::CAPACITY),
        connection_limits: seed.limits,
    };
    let core = Core::new(parts, Arc::clone(&seed.snapshot));
    tokio::task::spawn_local(async move { clock.run().await });
    let (tidied, tidy) = (Rc::clone(&core), seed.tidy);
    tokio::task::spawn_local(async move {
        let mut interval = tokio::time::interval(TIDY);
        loop {
            interval.tick().await;
            tidied.tidy();
            tidy();
        }
    });
    let (stop, stopped) = watch::channel(false);
    for (listener, socket) in seed.snapshot.listeners.iter().zip(seed.sockets) {
        let socket = TcpListener::from_std(socket)?;
        let listening = accept(Rc::clone(&core), Arc::clone(listener), socket, stopped.clone());
        tokio::task::spawn_local(listening);
    }
    drop(stopped);
    tracing::debug!(core = seed.index, "listening");
    // A server that is dropped stops as well.
    let _ = seed.commands.recv().await;
    // Whoever is still to be accepted was told by the kernel that we listen: take them all.
    stop.send_replace(true);
    core.drain();
    while core.connections() > 0 {
        core.drained().await;
    }
    core.tidy();
    drop(seed.alive);
    Ok(())
}

async fn accept(
    core: Rc<Core>,
    listener: Arc<Listener>,
    socket: TcpListener,
    mut stopped: watch::Receiver<bool>,
) {
    loop {
        tokio::select! {
            biased;
            accepted = net::listener::accept(&socket) => match accepted {
                Ok((stream, peer)) => {
                    let serving =
                        proxy::serve_connection(Rc::clone(&core), Arc::clone(&listener), stream, peer);
                    tokio::task::spawn_local(serving);
                }
                Err(error) => {
                    tracing::error!(%error, address = %listener.address, "cannot accept");
                    return;
                }
            },
            _ = stopped.wait_for(|stopped| *stopped) => return,
        }
    }
}
