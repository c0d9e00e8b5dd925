//! From a configuration to a server, until a signal ends it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use config::{Config, Errors};
use miette::{IntoDiagnostic, Report, WrapErr};
use server::{Inherited, Server, StartError};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::args::Common;
use crate::program::{Program, Source, folder, read};

/// Serves a configuration file; what the command line says goes before what it says.
pub(crate) fn file(path: PathBuf, common: Common) -> Result<ExitCode, Report> {
    run(Source::File(path, common))
}

/// Serves a configuration text.
pub(crate) fn text(text: String) -> Result<ExitCode, Report> {
    run(Source::Text(text))
}

/// Says what is wrong with a configuration file.
pub(crate) fn check(path: &Path) -> Result<ExitCode, Report> {
    let text = read(path)?;
    let name = path.display().to_string();
    let config = config::parse(&name, &text, folder(path))?;
    server::check(&config).map_err(|errors| Errors::new(&name, &text, errors))?;
    println!(
        "{name}: fine ({} sites, {} forward listeners, {} tunnels)",
        config.sites.len(),
        config.forwards.len(),
        config.tunnels.len()
    );
    Ok(ExitCode::SUCCESS)
}

fn run(source: Source) -> Result<ExitCode, Report> {
    // Before anything reads from the standard input, or opens what would take its place.
    let before = Inherited::receive()
        .into_diagnostic()
        .wrap_err("cannot take over from the process before this one")?;
    let (text, config) = source.load()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .into_diagnostic()
        .wrap_err("cannot start")?;
    runtime
        .block_on(serve(source, &text, config, before))
        .inspect(|()| runtime.shutdown_background())
        .map(|()| ExitCode::SUCCESS)
}

/// The signals that mean something here.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    upgrade: Signal,
}

impl Signals {
    fn new() -> Result<Self, Report> {
        let listen = |kind| signal(kind).into_diagnostic().wrap_err("cannot take signals");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hang_up: listen(SignalKind::hangup())?,
            upgrade: listen(SignalKind::user_defined2())?,
        })
    }

    /// Returns when the process is to end.
    async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

async fn serve(
    source: Source,
    text: &str,
    config: Config,
    before: Option<Inherited>,
) -> Result<(), Report> {
    // Before anything listens: a signal from now on means a graceful stop.
    let mut signals = Signals::new()?;
    let token = config.admin.as_ref().and_then(|admin| admin.token.clone());
    let hooks = server::Hooks { tidy: crate::allocator::give_back };
    let server = server::start_after(config, hooks, before)
        .map_err(|error| report(&source.name(), text, error))?;
    let program = Arc::new(Program::new(Arc::new(server), source));
    let server = &program.server;
    let admin = match server.take_admin() {
        Some(socket) => {
            let started = crate::admin::start(socket, token, &program);
            Some(started.into_diagnostic().wrap_err("cannot start the admin listener")?)
        }
        None => None,
    };
    announce(server);
    server.say_ready();
    until_the_end(&mut signals, &program).await;
    // Another process may have the same socket.
    drop(admin);
    let drain = server.snapshot().config.drain_timeout;
    tracing::info!("stopping: no new connections, what runs has {} s", drain.as_secs());
    let stopping = Arc::clone(server);
    let stopped = tokio::task::spawn_blocking(move || stopping.stop(drain));
    tokio::select! {
        finished = stopped => match finished {
            Ok(true) => tracing::info!("stopped"),
            _ => tracing::warn!("stopped; some connections were cut"),
        },
        () = signals.end() => tracing::warn!("stopped at once"),
    }
    Ok(())
}

/// Does what signals ask for, until one asks to stop or another process has taken over.
async fn until_the_end(signals: &mut Signals, program: &Arc<Program>) {
    loop {
        tokio::select! {
            () = program.replaced() => return,
            _ = signals.terminate.recv() => return,
            _ = signals.interrupt.recv() => return,
            _ = signals.hang_up.recv() => {
                let program = Arc::clone(program);
                // It says in the log what came of it.
                tokio::task::spawn_blocking(move || drop(program.reload()));
            }
            _ = signals.upgrade.recv() => {
                let program = Arc::clone(program);
                tokio::task::spawn_blocking(move || drop(program.upgrade()));
            }
        }
    }
}

fn announce(server: &Server) {
    for bound in server.addresses() {
        tracing::info!("{} on {}", bound.name, bound.address);
    }
    if let Some(admin) = &server.snapshot().config.admin {
        tracing::info!("admin on {}", admin.listen);
    }
}

/// What a server did not start for, with the text that it is about.
pub(crate) fn report(name: &str, text: &str, error: StartError) -> Report {
    match error {
        StartError::Config(errors) => Report::new(Errors::new(name, text, errors)),
        error @ StartError::System { .. } => Err::<(), _>(error).into_diagnostic().unwrap_err(),
    }
}
