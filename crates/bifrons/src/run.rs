//! From a configuration text to a server, until a signal ends it.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use config::{Config, Errors};
use miette::{IntoDiagnostic, Report, WrapErr};
use server::{Server, StartError};
use tokio::signal::unix::{SignalKind, signal};

use crate::args::Common;

/// Serves a configuration file; what the command line says goes before what it says.
pub(crate) fn file(path: &Path, common: &Common) -> Result<ExitCode, Report> {
    let text = read(path)?;
    let name = path.display().to_string();
    let mut config = config::parse(&name, &text, folder(path))?;
    override_with(&mut config, common)?;
    serve(&name, &text, config)
}

/// Serves a configuration text.
pub(crate) fn text(name: &str, text: &str) -> Result<ExitCode, Report> {
    let config = config::parse(name, text, Path::new(""))?;
    serve(name, text, config)
}

/// Says what is wrong with a configuration file.
pub(crate) fn check(path: &Path) -> Result<ExitCode, Report> {
    let text = read(path)?;
    let name = path.display().to_string();
    let config = config::parse(&name, &text, folder(path))?;
    server::check(&config).map_err(|errors| Errors::new(&name, &text, errors))?;
    println!(
        "{name}: fine ({} sites, {} forward listeners)",
        config.sites.len(),
        config.forwards.len()
    );
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path) -> Result<String, Report> {
    std::fs::read_to_string(path)
        .into_diagnostic()
        .wrap_err_with(|| format!("cannot read {}", path.display()))
}

fn folder(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

fn override_with(config: &mut Config, common: &Common) -> Result<(), Report> {
    // The options are a little configuration of their own; it needs something that listens.
    let text = format!("{}forward \"127.0.0.1:1\"\n", common.to_kdl());
    let given = config::parse("command line", &text, Path::new(""))?;
    if common.threads.is_some() {
        config.threads = given.threads;
    }
    if common.access_log.is_some() {
        config.access_log = given.access_log;
        config.access_log.span = None;
    }
    if common.admin.is_some() {
        config.admin = given.admin;
    }
    Ok(())
}

fn serve(name: &str, text: &str, config: Config) -> Result<ExitCode, Report> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .into_diagnostic()
        .wrap_err("cannot start")?;
    let drain = config.drain_timeout;
    runtime
        .block_on(async {
            // Before anything listens: a signal from now on means a graceful stop.
            let mut terminate = signal(SignalKind::terminate()).into_diagnostic()?;
            let mut interrupt = signal(SignalKind::interrupt()).into_diagnostic()?;
            let token = config.admin.as_ref().and_then(|admin| admin.token.clone());
            let hooks = server::Hooks { tidy: crate::allocator::give_back };
            let server =
                server::start_with(config, hooks).map_err(|error| report(name, text, error))?;
            let server = Arc::new(server);
            let _admin = match server.take_admin() {
                Some(socket) => {
                    let started = crate::admin::start(socket, token, Arc::clone(&server));
                    Some(started.into_diagnostic().wrap_err("cannot start the admin listener")?)
                }
                None => None,
            };
            announce(&server);
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("stopping: no new connections, what runs has {} s", drain.as_secs());
            let stopping = Arc::clone(&server);
            let stopped = tokio::task::spawn_blocking(move || stopping.stop(drain));
            tokio::select! {
                finished = stopped => match finished {
                    Ok(true) => tracing::info!("stopped"),
                    _ => tracing::warn!("stopped; some connections were cut"),
                },
                _ = terminate.recv() => tracing::warn!("stopped at once"),
                _ = interrupt.recv() => tracing::warn!("stopped at once"),
            }
            Ok(ExitCode::SUCCESS)
        })
        .inspect(|_| runtime.shutdown_background())
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
