//! `cargo xtask soak`: the gateway under churn for minutes, and what it holds afterwards.

use crate::{Result, workspace};

const HELP: &str = "\
cargo xtask soak [--minutes N] [--release]

Lets clients with users, quotas and sessions come and go through exits that die and come back,
for five minutes. In the end the process must hold the files, the memory and the permits that it
held before. `cargo xtask test` does the same for ten seconds.

  --minutes N   how long (default 5)
  --release     the binary as it is shipped; without, its own assertions are on
";

/// Runs the command.
///
/// # Errors
/// Something was held that should not have been, or the command line is wrong.
pub fn run(args: &[String]) -> Result {
    let (mut minutes, mut release) = (5_u64, false);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--help" | "-h" => {
                print!("{HELP}");
                return Ok(());
            }
            "--release" => release = true,
            "--minutes" => {
                minutes = args
                    .next()
                    .and_then(|text| text.parse().ok())
                    .filter(|&minutes| minutes > 0)
                    .ok_or("--minutes needs a positive number")?;
            }
            other => return Err(format!("soak takes no argument `{other}`").into()),
        }
    }
    let mut command = workspace::cargo();
    command.args(["test", "--package", "bifrons", "--test", "soak"]);
    if release {
        command.arg("--release");
    }
    let seconds = minutes.saturating_mul(60).to_string();
    let status =
        command.args(["--", "--nocapture"]).env("BIFRONS_SOAK_SECONDS", seconds).status()?;
    if status.success() { Ok(()) } else { Err(format!("the soak ended with {status}").into()) }
}
