//! `cargo xtask bench`: the proxy against its rivals, on one core each.
//!
//! All proxies of a scenario run at the same time, pinned to the same core, and are loaded in
//! turn (A B C A B C …), so that what the machine does meanwhile falls on all of them. The
//! load and the origin have another core. What is compared is the CPU time of the proxy per
//! request, which does not depend on how fast the load is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Result, debian, workspace};

mod load;
mod machine;
mod measure;
mod objects;
mod options;
mod origin;
mod poller;
mod process;
mod proxy;
mod report;
mod scenario;

use measure::{Group, Runner};
use options::{HELP, Keep, Options, Ours, Request};
use proxy::Bed;
use scenario::{Load, SCENARIOS, Target};

/// Connections that every proxy must be able to hold.
const CONNECTIONS: u32 = 5000;
/// What is needed besides the compiler: program or path, and Debian package.
const NEEDED: &[(&str, &str)] = &[
    ("nginx", "nginx"),
    (proxy::BROTLI_MODULE, "libnginx-mod-http-brotli-filter"),
    ("haproxy", "haproxy"),
    ("squid", "squid"),
    ("tinyproxy", "tinyproxy"),
    ("danted", "dante-server"),
    ("varnishd", "varnish"),
    ("wrk", "wrk"),
    ("h2load", "nghttp2-client"),
    ("openssl", "openssl"),
    ("taskset", "util-linux"),
    ("setpriv", "util-linux"),
];

/// Runs the command.
///
/// # Errors
/// A bad command line, a missing tool, or a run that is not valid: a proxy that answered
/// errors, or a load that could not fill the proxy's core.
pub fn run(args: &[String]) -> Result {
    match Request::parse(args)? {
        Request::Help => print!("{HELP}"),
        Request::List => list(),
        Request::Run(options) => measure(&options)?,
    }
    Ok(())
}

fn list() {
    for scenario in SCENARIOS {
        let targets: Vec<String> = scenario
            .targets
            .iter()
            .map(|target| match target {
                Target::Times(times, rival) => format!("≤ {times:.2} × {}", rival.name()),
                Target::AtMost(most) => format!("≤ {most:.1} {}", scenario.measure.unit()),
            })
            .collect();
        println!("{:18} {} ({})", scenario.name, scenario.title, targets.join(", "));
    }
}

fn measure(options: &Options) -> Result {
    debian::require(NEEDED)?;
    // Built before the cores are claimed: the compiler may have them all.
    let bifrons = ours(&options.ours)?;
    for scenario in options.scenarios.iter().filter(|_| bifrons.is_some()) {
        if let Load::Example(example) = scenario.load {
            example.build()?;
        }
    }
    machine::raise_file_limit()?;
    let cores = machine::Cores::claim()?;
    let dir = Dir::new()?;
    let (certificate, key) = proxy::make_certificate(&dir.0)?;
    let bed = Bed {
        dir: dir.0.clone(),
        core: cores.proxy,
        origins: origin::Origins::start()?,
        bifrons,
        certificate,
        key,
        connections: CONNECTIONS,
    };
    let runner = Runner { bed: &bed, length: options.length, rounds: options.rounds };
    let mut groups: Vec<Group> = Vec::new();
    for scenario in &options.scenarios {
        eprintln!("{}: {}", scenario.name, scenario.title);
        groups.push(match scenario.load {
            Load::Idle { connections }
            | Load::WebSockets { connections }
            | Load::IdleTunnels { connections } => runner.hold(scenario, connections),
            Load::Example(example) => runner.compute(scenario, example),
            _ => runner.drive(scenario),
        });
    }
    let table = report::markdown(&groups, options, &bed, &cores);
    println!("{table}");
    let invalid: Vec<&str> =
        groups.iter().filter(|group| !group.is_valid()).map(|group| group.scenario.name).collect();
    let kept = match options.keep {
        Keep::Never => false,
        Keep::IfValid => invalid.is_empty(),
        Keep::Always => true,
    };
    if kept {
        report::keep(&workspace::root().join("docs/benchmarks.md"), &table)?;
        eprintln!("kept in docs/benchmarks.md");
    }
    if invalid.is_empty() {
        Ok(())
    } else {
        Err(format!("not valid: {}; the notes under the table say why", invalid.join(", ")).into())
    }
}

/// Our own binary, built if need be.
fn ours(ours: &Ours) -> Result<Option<PathBuf>> {
    let path = match ours {
        Ours::Without => return Ok(None),
        Ours::At(path) => fs::canonicalize(path)
            .map_err(|error| format!("--bifrons {}: {error}", path.display()))?,
        Ours::Build => {
            eprintln!("building Bifrons (profile dist: fat LTO, takes minutes the first time)");
            let built = workspace::cargo()
                .args(["build", "--quiet", "--profile", "dist", "--package", "bifrons"])
                .status()?;
            if !built.success() {
                return Err("Bifrons cannot be built: mend it, or use --without-bifrons".into());
            }
            workspace::target_dir()?.join("dist/bifrons")
        }
    };
    Ok(Some(path))
}

/// A directory of our own under the system's temporary one. Removed when dropped.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("bifrons-bench-{}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The commit that is measured, for the record.
fn commit(root: &Path) -> String {
    let git = |args: &[&str]| {
        let output = Command::new("git").arg("-C").arg(root).args(args).output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let hash = git(&["rev-parse", "--short", "HEAD"]).unwrap_or_else(|| "unknown".into());
    let changed = git(&["status", "--porcelain", "--", "crates"]).is_some_and(|s| !s.is_empty());
    if changed { format!("{hash} with changes") } else { hash }
}
