//! Start and stop.

use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::os::unix::net::UnixStream;
use std::process::Command as Program;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use accounts::Accounts;
use cache::{Cache, Settings};
use config::{Config, ConfigError};
use egress::ExitRegistry;
use net::resolver::Resolver;
use policy::digest::Nonces;
use policy::{AttemptCounts, Attempts, ConnectionLimits, RateTable, Secret};
use proxy::servers::Registry;
use proxy::{Dictionaries, Explanation, FileStates, Question, Registries, Snapshot, Turns};
use telemetry::{AccessLog, Metrics};
use tokio::sync::mpsc;

use crate::bind::{BoundAddress, Chosen, Group, StartError, bind_admin, bind_all, local_addresses};
use crate::handover::{self, Inherited};
use crate::lists;
use crate::reload::Reload;
use crate::worker::{self, Command, Seed};

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
    inner: Arc<Inner>,
    /// What is taken when the server stops.
    ending: Mutex<Option<Ending>>,
    /// The socket of the admin listener, until somebody serves it.
    admin: Mutex<Option<TcpListener>>,
    /// The process before this one, until it is told that this one serves, and what it is told.
    before: Mutex<Option<(UnixStream, Vec<SocketAddr>)>>,
    started: Instant,
    /// Dropped to end the thread that looks at files.
    _refresh: std::sync::mpsc::Sender<()>,
    /// Dropped to end the thread that fetches lists.
    _lists: std::sync::mpsc::Sender<()>,
}

/// What a reload works with.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) snapshot: RwLock<Arc<Snapshot>>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) registries: Registries,
    pub(crate) cache: Arc<Cache>,
    pub(crate) dictionaries: Arc<Dictionaries>,
    pub(crate) accounts: Arc<Accounts>,
    attempts: Arc<Attempts>,
    pub(crate) log: AccessLog,
    pub(crate) commands: Vec<mpsc::UnboundedSender<Command>>,
    pub(crate) draining: AtomicBool,
    /// Held for the whole of a reload, so that there is one at a time.
    pub(crate) sockets: Mutex<Sockets>,
    /// The files as they were when they could not be read again.
    pub(crate) failed_files: Mutex<Option<FileStates>>,
}

/// What is listened on.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(crate) groups: Vec<Group>,
    /// A copy, for the process after this one.
    pub(crate) admin: Option<TcpListener>,
    /// What sticky cookies are made with, likewise.
    pub(crate) secret: [u8; 32],
    pub(crate) chosen: Vec<Chosen>,
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
pub fn start_with(config: Config, hooks: Hooks) -> Result<Server, StartError> {
    start_after(config, hooks, None)
}

/// As [`start_with`], with what the process before this one handed over. That one has to be told
/// when all is well: [`Server::say_ready`].
///
/// # Errors
/// See [`StartError`].
pub fn start_after(
    mut config: Config,
    hooks: Hooks,
    before: Option<Inherited>,
) -> Result<Server, StartError> {
    if let Err(error) = net::listener::raise_nofile_limit() {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
    let threads = config
        .threads
        .or_else(|| std::thread::available_parallelism().ok())
        .map_or(1, NonZeroUsize::get);
    let mut bound = bind(&mut config, threads, before)?;
    let log = AccessLog::open(&config.access_log.target, config.access_log.format)
        .map_err(|error| log_error(&config, error))?;
    let metrics = Arc::new(Metrics::new(threads, &log, BUILD, SystemTime::now()));
    let secret = match bound.secret {
        Some(secret) => secret,
        None => random().map_err(system("get random bytes"))?,
    };
    let registries = Registries::new(secret);
    let state = config.state.as_ref().map(|state| state.value.clone());
    let accounts = Accounts::open(state.as_deref()).map_err(system("start a thread"))?;
    check_names(&config).map_err(StartError::Config)?;
    lists::fetch_missing(&config).map_err(StartError::Config)?;
    let cache = open_cache(&config)?;
    let dictionaries = Arc::new(Dictionaries::new(room_for_dictionaries(&config)));
    let snapshot = Snapshot::build(config, None, local_addresses(), &metrics, &registries)
        .map_err(StartError::Config)?;
    // Not before all else is well: the kernel gives connections to each of them at once.
    for group in &mut bound.groups {
        group.fill(threads).map_err(system("add a socket to those that were handed over"))?;
    }
    registries.servers.start(&snapshot.config.dns);
    metrics.set_generation(snapshot.generation);
    let snapshot = Arc::new(snapshot);
    let attempts = Arc::new(Attempts::new(Instant::now()));
    let shared = Shared {
        snapshot: &snapshot,
        metrics: &metrics,
        log: &log,
        cache: &cache,
        dictionaries: &dictionaries,
        accounts: &accounts,
        attempts: &attempts,
        hooks,
    };
    let (commands, ending) = shared.start_cores(&bound.groups, threads)?;
    let admin_copy = bound.admin.as_ref().map(TcpListener::try_clone).transpose();
    let admin_copy = admin_copy.map_err(system("copy a socket"))?;
    let inner = Arc::new(Inner {
        snapshot: RwLock::new(snapshot),
        metrics,
        registries,
        cache,
        dictionaries,
        accounts,
        attempts,
        log,
        commands,
        draining: AtomicBool::new(false),
        sockets: Mutex::new(Sockets {
            groups: bound.groups,
            admin: admin_copy,
            secret,
            chosen: bound.chosen,
        }),
        failed_files: Mutex::new(None),
    });
    let refresh = crate::reload::watch_files(&inner).map_err(system("start a thread"))?;
    let lists = lists::watch(&inner).map_err(system("start a thread"))?;
    Ok(Server {
        inner,
        ending: Mutex::new(Some(ending)),
        admin: Mutex::new(bound.admin),
        before: Mutex::new(bound.before),
        started: Instant::now(),
        _refresh: refresh,
        _lists: lists,
    })
}

/// Builds all that a configuration names, and throws it away: says what `start` would, without
/// listening.
///
/// # Errors
/// All that is missing or wrong.
pub fn check(config: &Config) -> Result<(), Vec<ConfigError>> {
    build_only(config).map(drop)
}

/// What would become of a request under a configuration; see [`proxy::explain`]. Nothing listens.
///
/// # Errors
/// What [`check`] says.
pub fn explain(config: &Config, question: &Question) -> Result<Explanation, Vec<ConfigError>> {
    Ok(proxy::explain(&build_only(config)?, question, None, None))
}

/// Each core makes a resolver for itself; that it can be made is known before.
fn check_names(config: &Config) -> Result<(), Vec<ConfigError>> {
    let Err(error) = Resolver::new(&config.dns) else { return Ok(()) };
    let ca = config.dns.servers.iter().find_map(|server| server.ca.as_ref());
    let mut told = ConfigError::whole(format!("names cannot be resolved: {error}"));
    if let Some(ca) = ca {
        told.span = Some(ca.span);
    }
    Err(vec![told])
}

fn build_only(config: &Config) -> Result<Snapshot, Vec<ConfigError>> {
    check_names(config)?;
    let log = AccessLog::open(&config::LogTarget::Off, config.access_log.format)
        .map_err(|error| vec![ConfigError::whole(error.to_string())])?;
    let metrics = Metrics::new(1, &log, BUILD, SystemTime::now());
    let registries = Registries::new([0; 32]);
    lists::fetch_missing(config)?;
    Snapshot::build(config.clone(), None, local_addresses(), &metrics, &registries)
}

/// All that a process begins with.
struct Estate {
    groups: Vec<Group>,
    chosen: Vec<Chosen>,
    admin: Option<TcpListener>,
    secret: Option<[u8; 32]>,
    before: Option<(UnixStream, Vec<SocketAddr>)>,
}

fn bind(
    config: &mut Config,
    threads: usize,
    before: Option<Inherited>,
) -> Result<Estate, StartError> {
    let (mut held, chosen, old_admin, secret, channel) = match before {
        Some(before) => {
            let Inherited { groups, chosen, admin, secret, channel } = before;
            (groups, chosen, admin, Some(secret), Some(channel))
        }
        None => (Vec::new(), Vec::new(), None, None, None),
    };
    let bound = bind_all(config, threads, &held, chosen);
    let admin = bind_admin(config, old_admin);
    let (bound, admin) = match (bound, admin) {
        (Ok(bound), Ok(admin)) => (bound, admin),
        (bound, admin) => {
            let errors = bound.err().into_iter().flatten().chain(admin.err());
            return Err(StartError::Config(errors.collect()));
        }
    };
    let mut left = Vec::new();
    held.retain(|group| {
        let wanted = bound.wanted.contains(&group.address);
        if !wanted {
            left.push(group.address);
        }
        wanted
    });
    held.extend(bound.added);
    let before = channel.map(|channel| (channel, left));
    Ok(Estate { groups: held, chosen: bound.chosen, admin, secret, before })
}

fn log_error(config: &Config, error: std::io::Error) -> StartError {
    match config.access_log.span {
        Some(span) => StartError::Config(vec![
            ConfigError::at(span, "cannot open the access log", error.to_string())
                .help("the folder must exist and be writable"),
        ]),
        None => system("open the access log")(error),
    }
}

fn system(what: &str) -> impl Fn(std::io::Error) -> StartError {
    let what = what.to_owned();
    move |error| StartError::System { what: what.clone(), error }
}

/// How large the cache of a configuration is.
pub(crate) fn cache_settings(config: &Config) -> Settings {
    Settings { memory: config.cache.memory, max_object: config.cache.max_object }
}

/// How much is kept of answers that later ones are made of, beside the cache.
pub(crate) fn room_for_dictionaries(config: &Config) -> u64 {
    config.cache.memory / 8
}

/// The cache, with what is on the disk.
fn open_cache(config: &Config) -> Result<Arc<Cache>, StartError> {
    let settings = cache_settings(config);
    let Some(disk) = &config.cache.disk else { return Ok(Cache::new(&settings)) };
    Cache::with_disk(&settings, &disk.path.value, disk.size).map_err(|error| {
        let words = "answers cannot be kept in this folder";
        let told = ConfigError::at(disk.path.span, words, error.to_string());
        StartError::Config(vec![told.help(
            "name a folder that nothing else is in, and that can be made or written; or leave \
             `disk` out",
        )])
    })
}

/// What all cores are started with.
struct Shared<'a> {
    snapshot: &'a Arc<Snapshot>,
    metrics: &'a Arc<Metrics>,
    log: &'a AccessLog,
    cache: &'a Arc<Cache>,
    dictionaries: &'a Arc<Dictionaries>,
    accounts: &'a Arc<Accounts>,
    attempts: &'a Arc<Attempts>,
    hooks: Hooks,
}

impl Shared<'_> {
    fn start_cores(
        &self,
        groups: &[Group],
        threads: usize,
    ) -> Result<(Vec<mpsc::UnboundedSender<Command>>, Ending), StartError> {
        let secret = Secret::new(random().map_err(system("get random bytes"))?);
        let limits = ConnectionLimits::new();
        let rates = Arc::new(RateTable::new(Instant::now()));
        let nonces = Arc::new(Nonces::new(secret.clone()));
        let turns = Arc::new(Turns::default());
        let (ended, alive) = std::sync::mpsc::channel();
        let (mut commands, mut handles) = (Vec::new(), Vec::new());
        let sockets = per_core(groups, threads).map_err(system("copy a socket"))?;
        for (index, sockets) in sockets.into_iter().enumerate() {
            let (sender, receiver) = mpsc::unbounded_channel();
            let seed = Seed {
                index,
                snapshot: Arc::clone(self.snapshot),
                sockets,
                counters: Arc::clone(&self.metrics.cores[index]),
                log: self.log.clone(),
                secret: secret.clone(),
                limits: limits.clone(),
                rates: Arc::clone(&rates),
                cache: Arc::clone(self.cache),
                dictionaries: Arc::clone(self.dictionaries),
                accounts: Arc::clone(self.accounts),
                attempts: Arc::clone(self.attempts),
                turns: Arc::clone(&turns),
                nonces: Arc::clone(&nonces),
                commands: receiver,
                tidy: self.hooks.tidy,
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
        Ok((commands, Ending { threads: handles, alive }))
    }
}

/// Copies of the sockets, for each core its own.
pub(crate) fn per_core(
    groups: &[Group],
    threads: usize,
) -> std::io::Result<Vec<Vec<(SocketAddr, TcpListener)>>> {
    let mut cores: Vec<Vec<_>> = (0..threads).map(|_| Vec::new()).collect();
    for group in groups {
        for (core, socket) in group.copies(threads)? {
            cores[core].push((group.address, socket));
        }
    }
    Ok(cores)
}

/// Bytes that nobody can guess.
fn random() -> std::io::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(std::io::Error::from)?;
    Ok(bytes)
}

impl Inner {
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn lock_sockets(&self) -> MutexGuard<'_, Sockets> {
        // It is changed in one step at the end of a reload.
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Server {
    /// What is listened on.
    #[must_use]
    pub fn addresses(&self) -> Vec<BoundAddress> {
        let snapshot = self.snapshot();
        let bound = |name: &str, address| BoundAddress { name: name.to_owned(), address };
        let sites = (snapshot.sites.iter().map(|site| site.config()))
            .flat_map(|site| site.listen.iter().map(|address| bound(&site.name, *address)));
        let forwards = snapshot.config.forwards.iter().map(|face| bound(&face.name, face.listen));
        let tunnels = snapshot.config.tunnels.iter().map(|one| bound(&one.name, one.listen));
        sites.chain(forwards).chain(tunnels).collect()
    }

    /// The address of the first listener with this name.
    #[must_use]
    pub fn address(&self, name: &str) -> Option<SocketAddr> {
        self.addresses().into_iter().find(|bound| bound.name == name).map(|bound| bound.address)
    }

    /// The configuration it runs on now.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.inner.snapshot()
    }

    /// Runs on another configuration from now on; see [`Reload`]. Returns when all cores do.
    /// Requests go on with the configuration they began with. One reload runs at a time; others
    /// wait for it.
    ///
    /// # Errors
    /// All that is wrong or cannot be had. Then nothing has changed.
    pub fn reload(&self, config: Config) -> Result<Reload, Vec<ConfigError>> {
        self.inner.reload(config)
    }

    /// What would become of a request now; see [`proxy::explain`].
    #[must_use]
    pub fn explain(&self, question: &Question) -> Explanation {
        let accounts = Some(&*self.inner.accounts);
        proxy::explain(&self.snapshot(), question, Some(self.registry()), accounts)
    }

    /// Looks at the files that the configuration names, and reads those again that have changed.
    /// What cannot be read stays as it was. This happens every few seconds by itself.
    pub fn look_at_files(&self) {
        // It has said what it did.
        let _ = self.refresh();
    }

    /// The same, and whether any of them had changed. Returns when all cores serve what is new.
    ///
    /// # Errors
    /// Why all is as it was, in words.
    pub fn refresh(&self) -> Result<bool, String> {
        self.inner.look_at_files()
    }

    /// What it counts.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.inner.metrics
    }

    /// What is known of servers, and changed of them at run time.
    #[must_use]
    pub fn registry(&self) -> &Arc<Registry> {
        &self.inner.registries.servers
    }

    /// What is known of exits, with their sessions and bans.
    #[must_use]
    pub fn exits(&self) -> &Arc<ExitRegistry> {
        &self.inner.registries.exits
    }

    /// Answers that are kept.
    #[must_use]
    pub fn cache(&self) -> &Arc<Cache> {
        &self.inner.cache
    }

    /// Earlier versions of answers, as dictionaries.
    #[must_use]
    pub fn dictionaries(&self) -> &Arc<Dictionaries> {
        &self.inner.dictionaries
    }

    /// What users have used.
    #[must_use]
    pub fn accounts(&self) -> &Arc<Accounts> {
        &self.inner.accounts
    }

    /// Credentials that were wrong.
    #[must_use]
    pub fn attempts(&self) -> AttemptCounts {
        self.inner.attempts.counts()
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
        self.inner.commands.len()
    }

    /// How long it has run.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Whether it was told to stop.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.inner.draining.load(Ordering::Relaxed)
    }

    /// Tells the process that handed its sockets over, if one did, that this one serves. It then
    /// takes no more connections, and ends.
    pub fn say_ready(&self) {
        let before = self.before.lock().ok().and_then(|mut before| before.take());
        if let Some((channel, left)) = before
            && let Err(error) = handover::say_ready(channel, left)
        {
            tracing::error!(%error, "the process before this one does not hear");
        }
    }

    /// Starts another process of the program and hands the listening sockets over to it. Returns
    /// its number when it serves. From then on this one takes no connections and finishes what
    /// runs; [`Server::stop`] waits for that.
    ///
    /// # Errors
    /// Why the other one does not serve; then this one does as before.
    pub fn hand_over(&self, program: &mut Program) -> Result<u32, String> {
        let mut sockets = self.inner.lock_sockets();
        if self.is_draining() {
            return Err("the server is stopping".to_owned());
        }
        let estate = handover::Estate {
            groups: &sockets.groups,
            chosen: &sockets.chosen,
            admin: sockets.admin.as_ref(),
            secret: sockets.secret,
        };
        let (process, left) = estate.hand_to(program, &self.inner.draining)?;
        self.inner.draining.store(true, Ordering::Relaxed);
        sockets.groups.clear();
        sockets.admin = None;
        for command in &self.inner.commands {
            // A core that has ended takes no connections.
            let _ = command.send(Command::HandOver { left: left.clone() });
        }
        drop(sockets);
        // The other one writes there as soon as this one does not.
        self.inner.cache.retire();
        Ok(process)
    }

    /// Stops: listens no more, finishes what runs, and returns when that is done or the
    /// deadline has passed. `true`: everything was finished.
    pub fn stop(&self, deadline: Duration) -> bool {
        {
            // A handover that runs gives up when it sees this; a reload is waited for.
            self.inner.draining.store(true, Ordering::Relaxed);
            let mut sockets = self.inner.lock_sockets();
            // The cores' copies are the last ones then, and closing them ends the listening.
            sockets.groups.clear();
            sockets.admin = None;
            for command in &self.inner.commands {
                // A core that has ended already needs no telling.
                let _ = command.send(Command::Drain);
            }
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
        self.inner.cache.close_disk();
        if let Err(error) = self.inner.log.close() {
            tracing::warn!(%error, "the end of the access log was not written");
        }
        finished
    }
}
