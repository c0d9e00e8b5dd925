//! `cargo xtask fuzz`: the fuzz targets, with libFuzzer where there is one and with a small
//! runner of our own on any toolchain.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::{Result, workspace};

const HELP: &str = "\
cargo xtask fuzz [TARGET] [--seconds N] [--smoke]

Runs every target of fuzz/ (or one) for a minute with cargo-fuzz, which needs a nightly
toolchain (rustup toolchain install nightly) and cargo-fuzz (cargo install cargo-fuzz).

  --seconds N   for each target (default 60)
  --smoke       with the runner in fuzz/src/bin/smoke.rs instead: any toolchain, no coverage
                feedback, always the same inputs
";

/// Runs the command.
///
/// # Errors
/// A target crashed, or something that is needed is missing.
pub fn run(args: &[String]) -> Result {
    let (mut target, mut seconds, mut with_smoke) = (None, 60, false);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--help" | "-h" => {
                print!("{HELP}");
                return Ok(());
            }
            "--smoke" => with_smoke = true,
            "--seconds" => {
                seconds = args
                    .next()
                    .and_then(|text| text.parse().ok())
                    .ok_or("--seconds needs a number")?;
            }
            option if option.starts_with('-') => {
                return Err(format!("no option `{option}`: see --help").into());
            }
            name => target = Some(name),
        }
    }
    if with_smoke { smoke(target, seconds) } else { libfuzzer(target, seconds) }
}

/// Feeds the targets with mutated seeds, on the toolchain that we run on.
///
/// # Errors
/// A target panicked.
pub fn smoke(target: Option<&str>, seconds: u32) -> Result {
    let status = workspace::cargo()
        .args(["run", "--quiet", "--manifest-path", "fuzz/Cargo.toml"])
        .args(["--no-default-features", "--bin", "smoke"])
        // Shared with the workspace: most of what the targets stand on is built there already.
        .arg("--target-dir")
        .arg(workspace::target_dir()?)
        .args(["--", "--seconds", &seconds.to_string()])
        .args(target)
        .status()?;
    if status.success() { Ok(()) } else { Err(format!("the smoke run ended with {status}").into()) }
}

fn libfuzzer(target: Option<&str>, seconds: u32) -> Result {
    let nightly = || {
        // `cargo +nightly` is rustup's; the Cargo that runs us is a toolchain's own.
        let mut command = Command::new("cargo");
        command.arg("+nightly").current_dir(workspace::root());
        // Set by rustup for the toolchain that runs us.
        command.env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO");
        command
    };
    let works = |args: &[&str]| {
        let mut command = nightly();
        command.args(args).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if !works(&["--version"]) {
        return Err(missing("there is no nightly toolchain", "rustup toolchain install nightly"));
    }
    if !works(&["fuzz", "--version"]) {
        return Err(missing("cargo-fuzz is not installed", "cargo install cargo-fuzz"));
    }
    let targets = match target {
        Some(name) => vec![name.to_owned()],
        None => targets()?,
    };
    let mut crashed = Vec::new();
    for target in targets {
        println!("\n── {target}");
        let corpus = PathBuf::from("fuzz/corpus").join(&target);
        fs::create_dir_all(workspace::root().join(&corpus))?;
        let status = nightly()
            .args(["fuzz", "run", &target])
            .arg(corpus)
            .arg(PathBuf::from("fuzz/seeds").join(&target))
            .args(["--", &format!("-max_total_time={seconds}"), "-print_final_stats=1"])
            .status()?;
        if !status.success() {
            crashed.push(target);
        }
    }
    if crashed.is_empty() {
        Ok(())
    } else {
        Err(format!("failed: {}; the inputs are in fuzz/artifacts", crashed.join(", ")).into())
    }
}

fn missing(what: &str, remedy: &str) -> Box<dyn std::error::Error> {
    format!("{what}: {remedy}; or run cargo xtask fuzz --smoke").into()
}

/// The targets: the files in `fuzz/fuzz_targets`.
fn targets() -> Result<Vec<String>> {
    let mut names: Vec<String> = fs::read_dir(workspace::root().join("fuzz/fuzz_targets"))?
        .flatten()
        .filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".rs")?.to_owned()))
        .collect();
    names.sort();
    Ok(names)
}
