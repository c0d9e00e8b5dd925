//! What was asked for on the command line.

use std::path::PathBuf;
use std::time::Duration;

use super::scenario::{SCENARIOS, Scenario};
use crate::Result;

/// The help of `cargo xtask bench`.
pub const HELP: &str = "\
cargo xtask bench [SCENARIO…] [OPTIONS]

Measures the proxy against nginx, HAProxy, Varnish, Squid, tinyproxy and Dante and prints a
table. Without scenarios it runs all of them and, if all are valid, keeps the table in
docs/benchmarks.md.

  --seconds N         length of one measurement (default 5)
  --rounds N          measurements of each proxy, alternating (default 5)
  --quick             2 seconds, 2 rounds
  --bifrons PATH      measure this binary instead of building the `dist` profile
  --without-bifrons   measure the rivals alone
  --write             keep the table although only some scenarios ran, or some are not valid
  --list              name the scenarios and their targets
";

/// Where our own binary comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ours {
    /// `cargo build --profile dist`.
    Build,
    /// A binary that is there already.
    At(PathBuf),
    /// Not measured.
    Without,
}

/// A parsed command line.
#[derive(Debug, Clone)]
pub struct Options {
    /// What to run, in the order of the table.
    pub scenarios: Vec<&'static Scenario>,
    /// Length of one measurement.
    pub length: Duration,
    /// Measurements of each proxy in each scenario.
    pub rounds: u32,
    /// Our own binary.
    pub ours: Ours,
    /// Whether `docs/benchmarks.md` is rewritten.
    pub keep: Keep,
}

/// When the table is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// It is only printed.
    Never,
    /// Unless something in it is not valid.
    IfValid,
    /// Whatever it says.
    Always,
}

/// What the command line asks for.
#[derive(Debug, Clone)]
pub enum Request {
    /// To measure.
    Run(Options),
    /// To print [`HELP`].
    Help,
    /// To name the scenarios.
    List,
}

impl Request {
    /// Reads the arguments after `bench`.
    ///
    /// # Errors
    /// An unknown scenario or option, or a number that is none.
    pub fn parse(args: &[String]) -> Result<Self> {
        let mut named = Vec::new();
        let (mut seconds, mut rounds) = (None, None);
        let (mut quick, mut write) = (false, false);
        let mut ours = Ours::Build;
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--help" | "-h" => return Ok(Self::Help),
                "--list" => return Ok(Self::List),
                "--quick" => quick = true,
                "--write" => write = true,
                "--without-bifrons" => ours = Ours::Without,
                "--seconds" => seconds = Some(positive(arg, args.next())?),
                "--rounds" => rounds = Some(positive(arg, args.next())?),
                "--bifrons" => {
                    ours = Ours::At(args.next().ok_or("--bifrons needs a path")?.into());
                }
                name => named.push(
                    SCENARIOS
                        .iter()
                        .find(|scenario| scenario.name == name)
                        .ok_or_else(|| format!("no scenario or option `{name}`: see --list"))?,
                ),
            }
        }
        let all = named.is_empty();
        let scenarios = if all { SCENARIOS.iter().collect() } else { named };
        Ok(Self::Run(Options {
            scenarios,
            length: Duration::from_secs(seconds.unwrap_or(if quick { 2 } else { 5 }).into()),
            rounds: rounds.unwrap_or(if quick { 2 } else { 5 }),
            keep: match (write, all && !quick && ours != Ours::Without) {
                (true, _) => Keep::Always,
                (false, true) => Keep::IfValid,
                (false, false) => Keep::Never,
            },
            ours,
        }))
    }
}

fn positive(option: &str, value: Option<&String>) -> Result<u32> {
    value
        .and_then(|text| text.parse().ok())
        .filter(|&number| number > 0)
        .ok_or_else(|| format!("{option} needs a positive number").into())
}
