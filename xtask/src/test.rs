//! `cargo xtask test`: everything that must pass before a change is merged, through one door.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::{Result, fuzz, tidy, workspace};

mod tools;

use tools::Tools;

const HELP: &str = "\
cargo xtask test [--quick]

Runs everything that must pass before a change is merged, and ends with a table of what passed,
what was skipped and why, and how long each took. It stops at the first failure.

First it looks for the real clients and servers that the tests drive (curl, wget, git, ssh, netcat,
apt, proxychains, nghttp, h2load, nginx, HAProxy, Python with requests, httpx, aiohttp, grpcio,
websockets and scrapy, Node, Go, Java, Chromium), and for ip and nft, by which they make networks.
Those that are missing are installed where that is allowed: Debian packages as root, Python packages and
modules of npm below the target directory. Tests whose tool is missing say so and pass.

  --quick   installs nothing, and leaves out doc tests, documentation, cargo-deny and fuzzing
";

/// Seconds for each fuzz target in the smoke run.
const SMOKE_SECONDS: u32 = 3;

/// How a step ended.
#[derive(Debug)]
enum Outcome {
    Passed,
    Failed(String),
    Skipped(String),
}

/// A step: its name, whether `--quick` leaves it out, and what it does.
struct Step {
    name: &'static str,
    slow: bool,
    run: fn(&Tools) -> Result<Outcome>,
}

const STEPS: &[Step] = &[
    Step { name: "format", slow: false, run: |_| cargo(&["fmt", "--all", "--check"]) },
    Step { name: "tidy", slow: false, run: |_| tidy::run(&[]).map(|()| Outcome::Passed) },
    Step {
        name: "clippy",
        slow: false,
        run: |_| cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
    },
    Step { name: "build", slow: false, run: |_| cargo(&["build", "--workspace"]) },
    Step { name: "tests", slow: false, run: tests },
    Step { name: "doc tests", slow: true, run: |_| cargo(&["test", "--workspace", "--doc"]) },
    Step { name: "documentation", slow: true, run: documentation },
    Step { name: "licences", slow: true, run: licences },
    Step { name: "fuzz smoke", slow: true, run: |_| smoke() },
];

/// Runs the command.
///
/// # Errors
/// The step that failed.
pub fn run(args: &[String]) -> Result {
    let quick = match args {
        [] => false,
        [quick] if quick == "--quick" => true,
        [help] if help == "--help" || help == "-h" => {
            print!("{HELP}");
            return Ok(());
        }
        [other, ..] => return Err(format!("test takes no argument `{other}`").into()),
    };
    let mut table = Table::default();
    let started = Instant::now();
    begin("set-up");
    let tools = Tools::prepare(!quick)?;
    table.end("set-up", Outcome::Passed, started.elapsed());
    table.notes.extend(tools.skipped.iter().cloned());

    let mut failed = None;
    for step in STEPS {
        if failed.is_some() {
            table.rows.push((step.name, "not run".into(), None));
            continue;
        }
        if quick && step.slow {
            table.rows.push((step.name, "left out (--quick)".into(), None));
            continue;
        }
        let started = Instant::now();
        begin(step.name);
        let outcome = (step.run)(&tools).unwrap_or_else(|error| Outcome::Failed(error.to_string()));
        if let Outcome::Failed(why) = &outcome {
            failed = Some(format!("{}: {why}", step.name));
        }
        table.end(step.name, outcome, started.elapsed());
    }
    table.print();
    failed.map_or(Ok(()), |failed| Err(failed.into()))
}

fn begin(step: &str) {
    println!("\n── {step}");
}

/// What goes to the end of the output.
#[derive(Default)]
struct Table {
    rows: Vec<(&'static str, String, Option<Duration>)>,
    notes: Vec<String>,
}

impl Table {
    fn end(&mut self, step: &'static str, outcome: Outcome, took: Duration) {
        let word = match outcome {
            Outcome::Passed => "passed",
            Outcome::Failed(_) => "FAILED",
            Outcome::Skipped(why) => {
                self.notes.push(format!("{step}: {why}"));
                "skipped"
            }
        };
        println!("   {word} in {:.1} s", took.as_secs_f64());
        self.rows.push((step, word.into(), Some(took)));
    }

    fn print(&self) {
        println!();
        for (step, outcome, took) in &self.rows {
            match took {
                Some(took) => println!("{step:15}{outcome:10}{:8.1} s", took.as_secs_f64()),
                None => println!("{step:15}{outcome}"),
            }
        }
        for note in &self.notes {
            println!("skipped: {note}");
        }
    }
}

/// Runs Cargo; its output goes through.
fn cargo(args: &[&str]) -> Result<Outcome> {
    finish(workspace::cargo().args(args))
}

fn finish(command: &mut Command) -> Result<Outcome> {
    let status = command.status()?;
    if status.success() {
        return Ok(Outcome::Passed);
    }
    let words: Vec<String> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    Ok(Outcome::Failed(format!("`{}` ended with {status}", words.join(" "))))
}

/// Whether Cargo knows a subcommand.
pub fn has_subcommand(name: &str) -> bool {
    workspace::cargo().args([name, "--version"]).output().is_ok_and(|out| out.status.success())
}

fn tests(tools: &Tools) -> Result<Outcome> {
    let mut command = workspace::cargo();
    if has_subcommand("nextest") {
        command.args(["nextest", "run", "--workspace", "--no-tests", "pass"]);
    } else {
        command.args(["test", "--workspace", "--lib", "--bins", "--tests"]);
    }
    command.envs(tools.environment());
    finish(&mut command)
}

fn documentation(_: &Tools) -> Result<Outcome> {
    finish(
        workspace::cargo()
            .args(["doc", "--workspace", "--no-deps"])
            .env("RUSTDOCFLAGS", "-D warnings"),
    )
}

fn licences(_: &Tools) -> Result<Outcome> {
    if !has_subcommand("deny") {
        return Ok(Outcome::Skipped(
            "cargo-deny is not installed (cargo install cargo-deny)".into(),
        ));
    }
    // Advisories change without us and need the network: they are not part of this.
    cargo(&["deny", "check", "bans", "licenses", "sources"])
}

fn smoke() -> Result<Outcome> {
    fuzz::smoke(None, SMOKE_SECONDS)?;
    Ok(Outcome::Passed)
}
