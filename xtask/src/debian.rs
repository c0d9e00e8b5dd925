//! Programs that are not Rust's: found, or installed from Debian's packages when we may.

use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::Result;

/// Where a program is: the directories of `PATH`, and those that only root has there.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|dir| dir.join(program))
        .find(|candidate| candidate.is_file())
}

/// Why packages cannot be installed here; `None`: they can.
pub fn obstacle() -> Option<&'static str> {
    if find("apt-get").is_none() {
        Some("there is no apt-get")
    } else if !rustix::process::geteuid().is_root() {
        Some("only root may install packages")
    } else {
        None
    }
}

/// Installs packages, without starting the services in them.
///
/// # Errors
/// It may not be done ([`obstacle`]), or `apt-get` failed; with the end of what it said.
pub fn install(packages: &[&str]) -> Result {
    if let Some(obstacle) = obstacle() {
        return Err(obstacle.into());
    }
    eprintln!("installing {}", packages.join(" "));
    let apt = |args: &[&str]| {
        Command::new("apt-get")
            .args(args)
            .args(["--yes", "--quiet", "--no-install-recommends"])
            .env("DEBIAN_FRONTEND", "noninteractive")
            // invoke-rc.d(8) starts nothing in run level 1.
            .env("RUNLEVEL", "1")
            .stdin(Stdio::null())
            .output()
    };
    let install = [&["install"], packages].concat();
    let mut output = apt(&install)?;
    if !output.status.success() {
        // The lists may be missing or old.
        apt(&["update"])?;
        output = apt(&install)?;
    }
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("apt-get failed: {}", said.lines().last().unwrap_or("it did not say why")).into())
}

/// Sees to it that all programs are there.
///
/// # Errors
/// Some are missing and cannot be installed; names their packages.
pub fn require(programs: &[(&str, &str)]) -> Result {
    let missing = || -> Vec<&str> {
        let mut packages: Vec<&str> = programs
            .iter()
            .filter(|(program, _)| find(program).is_none())
            .map(|(_, package)| *package)
            .collect();
        packages.dedup();
        packages
    };
    let packages = missing();
    if packages.is_empty() {
        return Ok(());
    }
    install(&packages).map_err(|error| {
        format!("{error}; install these packages first: {}", packages.join(" "))
    })?;
    match missing().as_slice() {
        [] => Ok(()),
        still => Err(format!("still missing after the installation: {}", still.join(" ")).into()),
    }
}
