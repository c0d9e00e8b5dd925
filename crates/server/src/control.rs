//! Start and stop.

use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use config::Config;
use policy::{ConnectionLimits, Secret};
use proxy::Snapshot;
use telemetry::{AccessLog, Metrics};
use tokio::sync::mpsc;

use crate::bind::{BoundAddress, Group, StartError, bind_all, local_addresses};
use crate::worker::{self, Command, Seed};

/// How often files of certificates are looked at.
const REFRESH: Duration = Duration::from_secs(5);

const BUILD: telemetry::Build =
    telemetry::Build { version: env!("CARGO_PKG_VERSION"), commit: None };

/// What a program adds to a server.
#[derive(Debug, Clone, Copy)]
pub struct Hooks {
    /// Called on every core about once a second.
    pub tidy: fn(),
}

impl Default for Hooks {
    fn default() -> Self {
        Self { tidy: || {} }
    }
}

/// A server that runs.
#[derive(Debug)]
pub struct Server {
    snapshot: Arc<Snapshot>,
    metrics: Arc<Metrics>,
    log: AccessLog,
    commands: Vec<mpsc::UnboundedSender<Command>>,
    /// What is taken when the server stops.
    ending: Mutex<Option<Ending>>,
    /// The socket of the admin listener, until somebody serves it.
    admin: Mutex<Option<TcpListener>>,
    draining: AtomicBool,
    started: Instant,
    /// Dropped to end the thread that looks at files.
    _refresh: std::sync::mpsc::Sender<()>,
}

/// What is left to be waited for.
#[derive(Debug)]
struct Ending {
    threads: Vec<JoinHandle<()>>,
    /// Closed when all cores have ended.
    alive: std::sync::mpsc::Receiver<()>,
}

/// Starts a server. It listens when this returns.
///
/// # Errors
/// See [`StartError`].
pub fn start(config: Config) -> Result<Server, StartError> {
    start_with(config, Hooks::default())
}

/// As [`start`], with what the program adds.
///
/// # Errors
/// See [`StartError`].
pub fn start_with(mut config: Config, hooks: Hooks) -> Result<Server, StartError> {
    let system = |what: &str| {
        let what = what.to_owned();
        move |error| StartError::System { what, error }
    };
    if let Err(error) = net::listener::raise_nofile_limit() {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
    let threads = config
        .threads
        .or_else(|| std::thread::available_parallelism().ok())
        .map_or(1, NonZeroUsize::get);
    let (groups, admin) = bind_all(&mut config, threads)?;
    let log = AccessLog::open(&config.access_log.target, config.access_log.format)
        .map_err(|error| log_error(&config, error))?;
    let metrics = Arc::new(Metrics::new(threads, &log, BUILD, SystemTime::now()));
    let snapshot =
        Snapshot::build(config, 1, local_addresses(), &metrics).map_err(StartError::Config)?;
    metrics.set_generation(snapshot.generation);
    let snapshot = Arc::new(snapshot);
    let secret = Secret::new(random().map_err(system("get random bytes"))?);
    let limits = ConnectionLimits::new();
    let (ended, alive) = std::sync::mpsc::channel();
    let (mut commands, mut handles) = (Vec::new(), Vec::new());
    for (index, sockets) in per_core(&snapshot, groups, threads).into_iter().enumerate() {
        let (sender, receiver) = mpsc::unbounded_channel();
        let seed = Seed {
            index,
            snapshot: Arc::clone(&snapshot),
            sockets,
            counters: Arc::clone(&metrics.cores[index]),
            log: log.clone(),
            secret: secret.clone(),
            limits: limits.clone(),
            commands: receiver,
            tidy: hooks.tidy,
            alive: ended.clone(),
        };
        let handle = std::thread::Builder::new()
            .name(format!("core-{index}"))
            .spawn(move || {
                if let Err(error) = worker::run(seed) {
                    tracing::error!(%error, core = index, "core ended");
                }
            })
            .map_err(system("start a thread"))?;
        commands.push(sender);
        handles.push(handle);
    }
    drop(ended);
    let refresh = watch_files(Arc::clone(&snapshot)).map_err(system("start a thread"))?;
    Ok(Server {
        snapshot,
        metrics,
        log,
        commands,
        ending: Mutex::new(Some(Ending { threads: handles, alive })),
        admin: Mutex::new(admin),
        draining: AtomicBool::new(false),
        started: Instant::now(),
        _refresh: refresh,
    })
}

/// Builds all that a configuration names, and throws it away: says what `start` would, without
/// listening.
///
/// # Errors
/// All that is missing or wrong.
pub fn check(config: &Config) -> Result<(), Vec<config::ConfigError>> {
    let log = AccessLog::open(&config::LogTarget::Off, config.access_log.format)
        .map_err(|error| vec![config::ConfigError::whole(error.to_string())])?;
    let metrics = Metrics::new(1, &log, BUILD, SystemTime::now());
    Snapshot::build(config.clone(), 0, local_addresses(), &metrics).map(drop)
}

fn log_error(config: &Config, error: std::io::Error) -> StartError {
    match config.access_log.span {
        Some(span) => StartError::Config(vec![
            config::ConfigError::at(span, "cannot open the access log", error.to_string())
                .help("the folder must exist and be writable"),
        ]),
        None => StartError::System { what: "open the access log".to_owned(), error },
    }
}

/// The sockets of each core, in the order of the snapshot's listeners.
fn per_core(snapshot: &Snapshot, mut groups: Vec<Group>, threads: usize) -> Vec<Vec<TcpListener>> {
    let mut cores: Vec<Vec<_>> = (0..threads).map(|_| Vec::new()).collect();
    for listener in &snapshot.listeners {
        let group = groups.iter_mut().find(|group| group.address == listener.address);
        for (core, socket) in
            cores.iter_mut().zip(group.into_iter().flat_map(|g| g.sockets.drain(..)))
        {
            core.push(socket);
        }
    }
    cores
}

/// A thread that reads certificates again when their files change.
fn watch_files(snapshot: Arc<Snapshot>) -> std::io::Result<std::sync::mpsc::Sender<()>> {
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let look = move || {
        use std::sync::mpsc::RecvTimeoutError::Timeout;
        while stopped.recv_timeout(REFRESH) == Err(Timeout) {
            for tls in snapshot.listeners.iter().filter_map(|listener| listener.tls.as_ref()) {
                for outcome in tls.refresh() {
                    match outcome {
                        tls::RefreshOutcome::Reloaded { path, .. } => {
                            tracing::info!(path = %path.display(), "certificate reloaded");
                        }
                        tls::RefreshOutcome::Kept { path, reason, .. } => {
                            tracing::warn!(path = %path.display(), reason, "certificate kept");
                        }
                    }
                }
            }
        }
    };
    std::thread::Builder::new().name("files".to_owned()).spawn(look)?;
    Ok(stop)
}

/// Bytes that nobody can guess.
fn random() -> std::io::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(std::io::Error::from)?;
    Ok(bytes)
}

impl Server {
    /// What is listened on.
    #[must_use]
    pub fn addresses(&self) -> Vec<BoundAddress> {
        let config = &self.snapshot.config;
        let sites = config.sites.iter().flat_map(|site| {
            site.listen
                .iter()
                .map(|address| BoundAddress { name: site.name.clone(), address: *address })
        });
        let forwards = config
            .forwards
            .iter()
            .map(|face| BoundAddress { name: face.name.clone(), address: face.listen });
        let tunnels = config
            .tunnels
            .iter()
            .map(|tunnel| BoundAddress { name: tunnel.name.clone(), address: tunnel.listen });
        sites.chain(forwards).chain(tunnels).collect()
    }

    /// The address of the first listener with this name.
    #[must_use]
    pub fn address(&self, name: &str) -> Option<SocketAddr> {
        self.addresses().into_iter().find(|bound| bound.name == name).map(|bound| bound.address)
    }

    /// The configuration it runs on.
    #[must_use]
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// What it counts.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// The socket of the admin listener, once: it is bound with the others, and served by whoever
    /// takes it.
    #[must_use]
    pub fn take_admin(&self) -> Option<TcpListener> {
        self.admin.lock().ok()?.take()
    }

    /// Cores.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.commands.len()
    }

    /// How long it has run.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Whether it was told to stop.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Stops: listens no more, finishes what runs, and returns when that is done or the
    /// deadline has passed. `true`: everything was finished.
    pub fn stop(&self, deadline: Duration) -> bool {
        self.draining.store(true, Ordering::Relaxed);
        for command in &self.commands {
            // A core that has ended already needs no telling.
            let _ = command.send(Command::Drain);
        }
        use std::sync::mpsc::RecvTimeoutError::Disconnected;
        let ending = self.ending.lock().ok().and_then(|mut ending| ending.take());
        let finished = ending.is_none_or(|ending| {
            let finished = ending.alive.recv_timeout(deadline) == Err(Disconnected);
            if finished {
                for thread in ending.threads {
                    // It has said that it is through.
                    let _ = thread.join();
                }
            }
            finished
        });
        if let Err(error) = self.log.close() {
            tracing::warn!(%error, "the end of the access log was not written");
        }
        finished
    }
}
