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
    Tool { variable: "BIFRONS_TEST_GO", programs: &["go"], package: "golang-go" },
    Tool { variable: "BIFRONS_TEST_JAVA", programs: &["java"], package: "default-jdk-headless" },
    Tool { variable: "BIFRONS_TEST_NGINX", programs: &["nginx"], package: "nginx" },
    Tool { variable: "BIFRONS_TEST_HAPROXY", programs: &["haproxy"], package: "haproxy" },
    Tool { variable: "BIFRONS_TEST_NGHTTP", programs: &["nghttp"], package: "nghttp2-client" },
    Tool { variable: "BIFRONS_TEST_H2LOAD", programs: &["h2load"], package: "nghttp2-client" },
    Tool { variable: "BIFRONS_TEST_NPM", programs: &["npm"], package: "npm" },
    Tool { variable: "BIFRONS_TEST_APT", programs: &["apt-get"], package: "apt" },
    Tool { variable: "BIFRONS_TEST_DPKG_DEB", programs: &["dpkg-deb"], package: "dpkg" },
    Tool { variable: "BIFRONS_TEST_SSH", programs: &["ssh"], package: "openssh-client" },
    Tool {
        variable: "BIFRONS_TEST_SSH_KEYGEN",
        programs: &["ssh-keygen"],
        package: "openssh-client",
    },
    Tool { variable: "BIFRONS_TEST_SSHD", programs: &["sshd"], package: "openssh-server" },
    // The other netcat of Debian, whose name is `nc` as well, knows of no proxies.
    Tool { variable: "BIFRONS_TEST_NC", programs: &["nc.openbsd"], package: "netcat-openbsd" },
    Tool { variable: "BIFRONS_TEST_NCAT", programs: &["ncat"], package: "ncat" },
    Tool {
        variable: "BIFRONS_TEST_PROXYCHAINS",
        programs: &["proxychains4"],
        package: "proxychains4",
    },
    Tool { variable: "BIFRONS_TEST_IP", programs: &["ip"], package: "iproute2" },
    Tool { variable: "BIFRONS_TEST_NFT", programs: &["nft"], package: "nftables" },
];
/// A Python that has the [`IMPORTS`], or those of them that could be had: a test looks for
/// its own.
const PYTHON: &str = "BIFRONS_TEST_PYTHON";
/// What the clients in Python import, what it is for pip, and Debian's package of it.
const IMPORTS: [Import; 11] = [
    Import { module: "requests", pip: "requests[socks]", package: "python3-requests" },
    Import { module: "socks", pip: "PySocks", package: "python3-socks" },
    Import { module: "pycurl", pip: "pycurl", package: "python3-pycurl" },
    Import { module: "grpc", pip: "grpcio", package: "python3-grpcio" },
    Import { module: "websockets", pip: "websockets", package: "python3-websockets" },
    Import { module: "scrapy", pip: "scrapy", package: "python3-scrapy" },
    Import { module: "urllib3", pip: "urllib3[socks]", package: "python3-urllib3" },
    Import { module: "httpx", pip: "httpx", package: "python3-httpx" },
    Import { module: "socksio", pip: "httpx[socks]", package: "python3-socksio" },
    Import { module: "aiohttp", pip: "aiohttp", package: "python3-aiohttp" },
    // For the tests that drive it; the environment has one anyway.
    Import { module: "pip", pip: "pip", package: "python3-pip" },
];
/// The folder of the [`MODULES`].
const NODE_MODULES: &str = "BIFRONS_TEST_NODE_MODULES";
/// What the clients for Node need of npm: the last major versions that Node 18 runs.
const MODULES: [&str; 6] = [
    "undici@6",
    "https-proxy-agent@7",
    "http-proxy-agent@7",
    "ws@8",
    "playwright-core@1",
    "http-cache-tests@0.4.5",
];

/// A module for Python.
struct Import {
    module: &'static str,
    pip: &'static str,
    package: &'static str,
}

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
            Ok((path, lacking)) => {
                tools.found.push((PYTHON, path));
                tools.skipped.extend(lacking);
            }
            Err(why) => tools.skipped.push(format!("Python: {why}")),
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
/// below the target directory, or the system's after its packages were installed. If none of
/// them imports all, the one that lacks least, with a word about what it lacks.
fn python(install: bool) -> Result<(PathBuf, Option<String>)> {
    let home = workspace::target_dir()?.join("xtask/python");
    let ours = home.join("bin/python");
    let system: Vec<PathBuf> = debian::find("python3")
        .into_iter()
        .chain([PathBuf::from("/usr/bin/python3")])
        .filter(|path| path.is_file())
        .collect();
    let all = || system.iter().chain([&ours]).filter(|path| path.is_file());
    let mut failures = Vec::new();
    if install && all().all(|python| !lacks(python).is_empty()) {
        failures.extend(environment(&system, &home, &ours).err());
        if !lacks(&ours).is_empty() {
            let packages = IMPORTS.map(|import| import.package);
            failures.extend(debian::install(&packages).err());
        }
    }
    // `min_by_key` gives the first of equals.
    let best = all().min_by_key(|python| lacks(python).len()).ok_or("there is no python3")?;
    let lacking = lacks(best);
    let failures: Vec<String> = failures.iter().map(ToString::to_string).collect();
    let why = if failures.is_empty() { "not there".into() } else { failures.join("; ") };
    let note = (!lacking.is_empty()).then(|| format!("Python {}: {why}", lacking.join(", ")));
    Ok((best.clone(), note))
}

/// Makes the virtual environment, or adds to it what it lacks. The modules are installed one
/// by one, so that one that cannot be had does not cost the others.
fn environment(system: &[PathBuf], home: &Path, ours: &Path) -> Result {
    let python = system.first().ok_or("there is no python3")?;
    println!("   making a virtual environment for Python");
    quiet(Command::new(python).args(["-m", "venv"]).arg(home))?;
    let lacking = lacks(ours);
    let mut failure = None;
    for import in IMPORTS.iter().filter(|import| lacking.contains(&import.module)) {
        let pip = ["-m", "pip", "install", "--quiet", "--only-binary", ":all:", import.pip];
        failure = quiet(Command::new(ours).args(pip)).err().or(failure);
    }
    failure.map_or(Ok(()), Err)
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
    // Debian's nodejs comes without it.
    if debian::find("npm").is_none() {
        debian::install(&["npm"])?;
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

/// The [`IMPORTS`] that fail.
fn lacks(python: &Path) -> Vec<&'static str> {
    let fails = |module: &&str| {
        quiet(Command::new(python).args(["-c", &format!("import {module}")])).is_err()
    };
    IMPORTS.iter().map(|import| import.module).filter(fails).collect()
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
