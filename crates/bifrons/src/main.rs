//! Bifrons: a forward and a reverse proxy in one binary.
#![deny(unsafe_code)]

mod admin;
mod allocator;
mod args;
mod ca;
mod cache;
mod demo;
mod diff;
mod encoding;
mod endpoints;
mod explain;
mod gateway;
mod leak;
mod program;
mod remote;
mod run;
mod snippet;
mod usage;
mod user;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Arguments, Command};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Err(error) = telemetry::init_tracing(arguments.log_level()) {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    let outcome = match arguments.command {
        Command::Run { file, common } => run::file(file, common),
        Command::Check { file } => run::check(&file),
        Command::Reverse(options) => run::text(options.to_kdl()),
        Command::Forward(options) => {
            options.refuse_open_proxy().and_then(|()| run::text(options.to_kdl()))
        }
        Command::Demo(options) => demo::run(&options),
        Command::Explain(options) => explain::run(&options),
        Command::Ca(action) => ca::run(&action),
        Command::Diff(options) => Ok(diff::run(&options)),
        Command::Reload(remote) => remote::reload(&remote),
        Command::Upgrade(remote) => remote::upgrade(&remote),
        Command::Status { remote, json } => remote::status(&remote, json),
        Command::Upstream { remote, name, action } => remote::upstream(&remote, &name, &action),
        Command::Endpoints(options) => endpoints::run(&options),
        Command::Snippet(options) => snippet::run(&options),
        Command::LeakCheck(options) => leak::run(&options),
        Command::Exits(options) => gateway::exits(&options),
        Command::Sessions(options) => gateway::sessions(&options),
        Command::Bans(options) => gateway::bans(&options),
        Command::Cache(options) => cache::run(&options),
        Command::User(options) => user::run(&options),
        Command::Usage(options) => usage::run(&options),
        Command::Reference => {
            print!("{}", config::reference());
            Ok(ExitCode::SUCCESS)
        }
    };
    match outcome {
        Ok(code) => code,
        Err(report) => {
            print_report(&report);
            ExitCode::FAILURE
        }
    }
}

/// Prints what was wrong, with the places in the configuration where there are some.
fn print_report(report: &miette::Report) {
    use std::io::IsTerminal;
    match report.downcast_ref::<config::Errors>() {
        Some(errors) if std::io::stderr().is_terminal() => {
            eprint!("{}", errors.fancy(std::env::var_os("NO_COLOR").is_none(), WIDTH));
        }
        Some(errors) => eprintln!("{errors}"),
        None => {
            eprintln!("bifrons: {report:#}");
            if let Some(help) = report.help() {
                eprintln!("  help: {}", help.to_string().replace('\n', "\n        "));
            }
        }
    }
}

/// Columns of a report.
const WIDTH: usize = 100;
