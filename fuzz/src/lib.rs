//! The fuzz targets as plain functions, so that libFuzzer and the smoke runner share them.
//!
//! A new target is a function in a module of its own, a line in [`TARGETS`], a one-line file
//! in `fuzz_targets/` with its `[[bin]]` in the manifest, and at least one seed in
//! `seeds/NAME/`.

#![forbid(unsafe_code)]

mod configuration;

/// Something that takes any bytes and must not panic, hang or eat the memory.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// The name of its file in `fuzz_targets/` and of its folder in `seeds/`.
    pub name: &'static str,
    /// Runs it once.
    pub run: fn(&[u8]),
}

/// All targets, by name.
pub const TARGETS: &[Target] = &[Target { name: "config", run: configuration::read }];

/// Runs the target of this name once.
///
/// # Panics
/// There is none, or the target found something.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name);
    (target.unwrap_or_else(|| panic!("no fuzz target `{name}`")).run)(data);
}
