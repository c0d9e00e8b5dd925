//! The workspace's own tools: `cargo xtask test`, `tidy`, `bench`, `soak` and `fuzz`.

#![forbid(unsafe_code)]

use std::error::Error;
use std::process::ExitCode;

mod bench;
mod debian;
mod fuzz;
mod soak;
mod test;
mod tidy;
mod workspace;

/// What a tool gives: nothing, or why not, in words for a person.
type Result<T = (), E = Box<dyn Error>> = std::result::Result<T, E>;

const HELP: &str = "\
cargo xtask COMMAND

  test    everything that must pass before a change is merged
  tidy    the house rules that the compiler does not know
  bench   the proxy against nginx, HAProxy, Varnish, Squid, tinyproxy and Dante
  soak    minutes of churn, and what the proxy holds afterwards
  fuzz    the fuzz targets, a minute each

Each has a --help of its own.
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = args.split_first().map_or(("--help", &[][..]), |(c, r)| (c, r));
    let done = match command {
        "bench" => bench::run(rest),
        "fuzz" => fuzz::run(rest),
        "soak" => soak::run(rest),
        "test" => test::run(rest),
        "tidy" => tidy::run(rest),
        "--help" | "-h" | "help" => {
            print!("{HELP}");
            Ok(())
        }
        other => Err(format!("no command `{other}`: see cargo xtask --help").into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}
