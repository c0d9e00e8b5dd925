//! One core: a thread, its runtime, and what runs on it.

use std::cell::RefCell;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use accounts::Accounts;
use cache::Cache;
use net::resolver::Resolver;
use net::watchdog::Watchdog;
use policy::digest::Nonces;
use policy::{Attempts, ConnectionLimits, RateTable, Secret, VerifiedCache};
use proxy::{Core, CoreParts, Dictionaries, ListenerSlot, Snapshot, Turns};
use telemetry::{AccessLog, CoreCounters};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// What a core is told.
#[derive(Debug)]
pub(crate) enum Command {
    /// Serve another configuration from now on.
    Install(Install),
    /// Another process listens: take no more connections, finish what runs, and end.
    HandOver {
        /// Where it does not.
        left: Vec<SocketAddr>,
    },
    /// Stop listening, finish what runs, and end.
    Drain,
}

/// Another configuration for a core.
#[derive(Debug)]
pub(crate) struct Install {
    pub(crate) snapshot: Arc<Snapshot>,
    /// Sockets of addresses that were not listened on before.
    pub(crate) added: Vec<(SocketAddr, StdListener)>,
    /// Addresses that are listened on no longer.
    pub(crate) removed: Vec<SocketAddr>,
    /// Told, or dropped, when it is done.
    pub(crate) done: std::sync::mpsc::Sender<()>,
}

/// What a core is started with.
pub(crate) struct Seed {
    pub(crate) index: usize,
    pub(crate) snapshot: Arc<Snapshot>,
    /// Its sockets, each at an address of the snapshot.
    pub(crate) sockets: Vec<(SocketAddr, StdListener)>,
    pub(crate) counters: Arc<CoreCounters>,
    pub(crate) log: AccessLog,
    pub(crate) secret: Secret,
    pub(crate) limits: ConnectionLimits,
    pub(crate) rates: Arc<RateTable>,
    pub(crate) cache: Arc<Cache>,
    pub(crate) dictionaries: Arc<Dictionaries>,
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) attempts: Arc<Attempts>,
    pub(crate) turns: Arc<Turns>,
    pub(crate) nonces: Arc<Nonces>,
    pub(crate) tidy: fn(),
    pub(crate) commands: mpsc::UnboundedReceiver<Command>,
    /// Dropped when the core has ended.
    pub(crate) alive: std::sync::mpsc::Sender<()>,
}

/// How often a core looks after what nobody uses.
const TIDY: Duration = Duration::from_secs(1);

/// What a connection whose listener went is given beyond the time of a drain, so that what ends
/// with that time can still say so.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Runs a core until it has drained.
pub(crate) fn run(seed: Seed) -> std::io::Result<()> {
    net::run_local(work(seed))
}

async fn work(mut seed: Seed) -> std::io::Result<()> {
    let clock = Watchdog::new(tick(&seed.snapshot));
    let parts = CoreParts {
        clock: Rc::clone(&clock),
        resolver: Resolver::new(&seed.snapshot.config.dns)?,
        counters: seed.counters,
        log: seed.log.core(),
        verified: VerifiedCache::new(seed.secret, VerifiedCache::LIFETIME, VerifiedCache::CAPACITY),
        connection_limits: seed.limits,
        rates: seed.rates,
        cache: seed.cache,
        dictionaries: seed.dictionaries,
        accounts: seed.accounts,
        attempts: seed.attempts,
        turns: seed.turns,
        nonces: seed.nonces,
    };
    let core = Core::new(parts, seed.snapshot);
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
    let mut acceptors = Vec::new();
    for (address, socket) in seed.sockets {
        acceptors.push(Acceptor::start(&core, address, socket)?);
    }
    tracing::debug!(core = seed.index, "listening");
    let taken_over = loop {
        match seed.commands.recv().await {
            Some(Command::Install(install)) => replace(&core, &mut acceptors, install),
            Some(Command::HandOver { left }) => break Some(left),
            // A server that is dropped stops as well.
            Some(Command::Drain) | None => break None,
        }
    };
    let stop = |acceptor: Acceptor| match &taken_over {
        Some(left) if !left.contains(&acceptor.address) => acceptor.stop_at_once(),
        // Whoever is still to be accepted was told by the kernel that we listen: take them all.
        _ => acceptor.stop(),
    };
    let stopping: Vec<_> = acceptors.into_iter().map(stop).collect();
    match taken_over {
        Some(_) => core.drain_gently(),
        None => core.drain(),
    }
    for task in stopping {
        // One that panicked has no more to take.
        let _ = task.await;
    }
    while core.connections() > 0 {
        core.drained().await;
    }
    core.tidy();
    drop(seed.alive);
    Ok(())
}

/// The interval at which deadlines are looked at.
fn tick(snapshot: &Snapshot) -> Duration {
    (snapshot.shortest_timeout() / 8).clamp(Duration::from_millis(10), Duration::from_millis(500))
}

/// Changes to another configuration.
fn replace(core: &Rc<Core>, acceptors: &mut Vec<Acceptor>, install: Install) {
    let Install { snapshot, added, removed, done } = install;
    core.clock.set_tick(tick(&snapshot));
    let left = snapshot.config.drain_timeout + LAST_WORDS;
    let gone = core.install(snapshot);
    acceptors.retain(|acceptor| !removed.contains(&acceptor.address));
    for acceptor in &*acceptors {
        acceptor.slot.replace(core.slot(acceptor.address));
    }
    for (address, socket) in added {
        match Acceptor::start(core, address, socket) {
            Ok(acceptor) => acceptors.push(acceptor),
            Err(error) => tracing::error!(%error, %address, "cannot listen"),
        }
    }
    if !gone.is_empty() {
        let core = Rc::clone(core);
        tokio::task::spawn_local(async move {
            tokio::time::sleep(left).await;
            gone.iter().for_each(|slot| slot.cut());
            core.clock.wake_all();
        });
    }
    // Who waits for it may have given up.
    let _ = done.send(());
}

/// A socket that connections are taken from. Dropping it stops that, after those that the
/// kernel has completed already.
struct Acceptor {
    address: SocketAddr,
    /// The listener of now at its address.
    slot: Rc<RefCell<Option<Rc<ListenerSlot>>>>,
    stop: watch::Sender<()>,
    task: JoinHandle<()>,
}

impl Acceptor {
    fn start(core: &Rc<Core>, address: SocketAddr, socket: StdListener) -> std::io::Result<Self> {
        let socket = TcpListener::from_std(socket)?;
        let slot = Rc::new(RefCell::new(core.slot(address)));
        let (stop, stopped) = watch::channel(());
        let accepting = accept(Rc::clone(core), Rc::clone(&slot), socket, stopped);
        let task = tokio::task::spawn_local(accepting);
        Ok(Self { address, slot, stop, task })
    }

    /// Stops it; the task ends when it has taken the rest.
    fn stop(self) -> JoinHandle<()> {
        self.task
    }

    /// Stops it; what is still to be accepted is for somebody else.
    fn stop_at_once(self) -> JoinHandle<()> {
        // It may have ended by itself.
        let _ = self.stop.send(());
        self.task
    }
}

async fn accept(
    core: Rc<Core>,
    slot: Rc<RefCell<Option<Rc<ListenerSlot>>>>,
    socket: TcpListener,
    mut stopped: watch::Receiver<()>,
) {
    let mut rest = net::listener::BACKLOG;
    while rest > 0 {
        match stopped.has_changed() {
            Ok(false) => {}
            Ok(true) => return,
            // What the kernel has completed until now is no more than this.
            Err(_) => rest -= 1,
        }
        tokio::select! {
            biased;
            accepted = net::listener::accept(&socket) => match accepted {
                Ok((stream, peer)) => {
                    let Some(slot) = slot.borrow().clone() else { continue };
                    let serving = proxy::serve_connection(Rc::clone(&core), slot, stream, peer);
                    tokio::task::spawn_local(serving);
                }
                Err(error) => {
                    tracing::error!(%error, "cannot accept");
                    return;
                }
            },
            // To stop at once, or the end of the sender.
            _ = stopped.changed() => return,
        }
    }
}
