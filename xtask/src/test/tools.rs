//! The programs that the tests drive: found, installed where that is allowed, and named to
//! the tests by environment variables.
//!
//! A test reads the variable of its program and, without one, prints `skipped: …` and
//! passes.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::{Result, debian, test, workspace};

/// A program, the variable that names it to the tests, and where it comes from.
struct Tool {
    variable: &'static str,
    /// Any of these will do.
    programs: &'static [&'static str],
    package: &'static str,
}

const TOOLS: &[Tool] = &[
    Tool { variable: "BIFRONS_TEST_CURL", programs: &["curl"], package: "curl" },
    Tool { variable: "BIFRONS_TEST_WGET", programs: &["wget"], package: "wget" },
    Tool { variable: "BIFRONS_TEST_GIT", programs: &["git"], package: "git" },
    Tool { variable: "BIFRONS_TEST_OPENSSL", programs: &["openssl"], package: "openssl" },
    Tool { variable: "BIFRONS_TEST_NODE", programs: &["node", "nodejs"], package: "nodejs" },
    Tool {
        variable: "BIFRONS_TEST_CHROMIUM",
        programs: &["chromium", "chromium-browser", "google-chrome"],
        package: "chromium",
    },
    Tool { variable: "BIFRONS_TEST_NGINX", programs: &["nginx"], package: "nginx" },
];
/// A Python that has requests with SOCKS support.
const PYTHON: &str = "BIFRONS_TEST_PYTHON";
/// The folder of the [`MODULES`].
const NODE_MODULES: &str = "BIFRONS_TEST_NODE_MODULES";
/// What the clients for Node need of npm: the last major versions that Node 18 runs.
const MODULES: [&str; 2] = ["undici@6", "https-proxy-agent@7"];

/// What was found.
#[derive(Debug, Default)]
pub struct Tools {
    found: Vec<(&'static str, PathBuf)>,
    /// What is missing, and why it was not installed.
    pub skipped: Vec<String>,
}

impl Tools {
    /// Looks for everything, and installs what is missing if `install`.
    ///
    /// # Errors
    /// The components of the toolchain without which nothing can be checked are missing.
    pub fn prepare(install: bool) -> Result<Self> {
        require_component("fmt", "rustfmt")?;
        require_component("clippy", "clippy")?;
        let mut tools = Self::default();
        for tool in TOOLS {
            match tool.find_or_install(install) {
                Ok(path) => tools.found.push((tool.variable, path)),
                Err(why) => tools.skipped.push(format!("{}: {why}", tool.package)),
            }
        }
        match python(install) {
            Ok(path) => tools.found.push((PYTHON, path)),
            Err(why) => tools.skipped.push(format!("Python requests: {why}")),
        }
        match node_modules(install) {
            Ok(path) => tools.found.push((NODE_MODULES, path)),
            Err(why) => tools.skipped.push(format!("{}: {why}", MODULES.join(", "))),
        }
        for (variable, path) in &tools.found {
            println!("   {variable}={}", path.display());
        }
        for skipped in &tools.skipped {
            println!("   skipped: {skipped}");
        }
        Ok(tools)
    }

    /// The variables for the tests.
    pub fn environment(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        self.found.iter().map(|(variable, path)| (*variable, path.as_path()))
    }
}

impl Tool {
    fn find(&self) -> Option<PathBuf> {
        self.programs.iter().find_map(|program| debian::find(program))
    }

    fn find_or_install(&self, install: bool) -> Result<PathBuf> {
        if let Some(path) = self.find() {
            return Ok(path);
        }
        if !install {
            return Err("not there".into());
        }
        debian::install(&[self.package])?;
        self.find().ok_or_else(|| "not there after its package was installed".into())
    }
}

/// A part of the Rust toolchain: without it there is nothing to check with.
fn require_component(subcommand: &str, component: &str) -> Result {
    if test::has_subcommand(subcommand) {
        return Ok(());
    }
    let added = Command::new("rustup").args(["component", "add", component]).status();
    if added.is_ok_and(|status| status.success()) && test::has_subcommand(subcommand) {
        return Ok(());
    }
    Err(format!("cargo {subcommand} is missing: rustup component add {component}").into())
}

/// A Python that imports what the tests need: the system's, or one in a virtual environment
/// below the target directory, or the system's after its packages were installed.
fn python(install: bool) -> Result<PathBuf> {
    let system: Vec<PathBuf> = debian::find("python3")
        .into_iter()
        .chain([PathBuf::from("/usr/bin/python3")])
        .filter(|path| path.is_file())
        .collect();
    let home = workspace::target_dir()?.join("xtask/python");
    let ours = home.join("bin/python");
    if let Some(python) = system.iter().chain([&ours]).find(|python| has_requests(python)) {
        return Ok(python.clone());
    }
    if !install {
        return Err("not there".into());
    }
    let in_environment = system.first().ok_or_else(|| "there is no python3".into()).and_then(
        |python| -> Result<PathBuf> {
            println!("   making a virtual environment with requests[socks]");
            quiet(Command::new(python).args(["-m", "venv"]).arg(&home))?;
            quiet(Command::new(&ours).args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "requests[socks]",
            ]))?;
            has_requests(&ours).then_some(ours).ok_or_else(|| "it lacks requests still".into())
        },
    );
    in_environment.or_else(|why| {
        debian::install(&["python3-requests", "python3-socks"])
            .map_err(|error| format!("{why}; {error}"))?;
        let python = PathBuf::from("/usr/bin/python3");
        has_requests(&python).then_some(python).ok_or_else(|| "it lacks requests still".into())
    })
}

/// Modules of npm, below the target directory.
fn node_modules(install: bool) -> Result<PathBuf> {
    let home = workspace::target_dir()?.join("xtask/node");
    let modules = home.join("node_modules");
    let complete = || {
        let name = |module: &'static str| module.split('@').next().unwrap_or(module);
        MODULES.iter().all(|module| modules.join(name(module)).join("package.json").is_file())
    };
    if complete() {
        return Ok(modules);
    }
    if !install {
        return Err("not there".into());
    }
    let npm = debian::find("npm").ok_or("there is no npm")?;
    println!("   installing {}", MODULES.join(" "));
    quiet(
        Command::new(npm)
            .args(["install", "--no-audit", "--no-fund", "--no-save", "--ignore-scripts"])
            .args(["--loglevel", "error", "--prefix"])
            .arg(&home)
            .args(MODULES),
    )?;
    complete().then_some(modules).ok_or_else(|| "not there after npm installed it".into())
}

fn has_requests(python: &Path) -> bool {
    quiet(Command::new(python).args(["-c", "import requests, socks"])).is_ok()
}

/// Runs a command whose output matters only if it fails: then the last line says why.
fn quiet(command: &mut Command) -> Result {
    let Output { status, stderr, .. } = command.stdin(Stdio::null()).output()?;
    if status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&stderr);
    let last = text.lines().rfind(|line| !line.trim().is_empty());
    Err(last.unwrap_or("it failed without a word").trim().to_owned().into())
}
