//! Where the workspace is, and the Cargo that called us.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::Result;

/// The root of the repository.
pub fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map_or(here.clone(), PathBuf::from)
}

/// A command for the Cargo that runs us, in the root of the repository.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// What `cargo metadata` says of the workspace's own packages.
///
/// # Errors
/// A manifest is wrong.
pub fn metadata() -> Result<Value> {
    let output =
        cargo().args(["metadata", "--format-version", "1", "--no-deps", "--offline"]).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned().into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Where Cargo puts what it builds.
///
/// # Errors
/// Those of [`metadata`].
pub fn target_dir() -> Result<PathBuf> {
    let metadata = metadata()?;
    Ok(metadata["target_directory"].as_str().ok_or("cargo metadata lacks target_directory")?.into())
}
