//! Bifrons: a forward and a reverse proxy in one binary.
#![forbid(unsafe_code)]

mod admin;
mod args;
mod demo;
mod run;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Arguments, Command};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    telemetry::init_tracing(arguments.log_level());
    let outcome = match arguments.command {
        Command::Run { file, common } => run::file(&file, &common),
        Command::Check { file } => run::check(&file),
        Command::Reverse(options) => run::text("command line", &options.to_kdl()),
        Command::Forward(options) => run::text("command line", &options.to_kdl()),
        Command::Demo(options) => demo::run(&options),
        Command::Reference => {
            print!("{}", config::reference());
            Ok(ExitCode::SUCCESS)
        }
    };
    match outcome {
        Ok(code) => code,
        Err(report) => {
            eprintln!("{report:?}");
            ExitCode::FAILURE
        }
    }
}
