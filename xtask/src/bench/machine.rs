//! The machine: which core does what, and how busy each was.

use std::fs;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::Result;

/// Who runs where.
#[derive(Debug, Clone)]
pub struct Cores {
    /// The proxy's own core.
    pub proxy: usize,
    /// Those of the load and the origin.
    pub load: Vec<usize>,
}

impl Cores {
    /// Splits the cores this process may use: the last for the proxy, the first one for
    /// everything else, so that the figures of a large machine are those of a small one.
    /// Then moves this process, and with it all that it starts, off the proxy's core.
    ///
    /// # Errors
    /// There are fewer than two cores.
    pub fn claim() -> Result<Self> {
        let allowed = sched_getaffinity(None)?;
        let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core)).collect();
        let [first, .., last] = cores.as_slice() else {
            return Err("a benchmark needs two cores: one for the proxy, one for the load".into());
        };
        let claimed = Self { proxy: *last, load: vec![*first] };
        let mut rest = CpuSet::new();
        claimed.load.iter().for_each(|&core| rest.set(core));
        sched_setaffinity(None, &rest)?;
        Ok(claimed)
    }
}

/// Lets this process and those it starts open as many files as the machine allows.
///
/// # Errors
/// The limit cannot be raised.
pub fn raise_file_limit() -> Result {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    Ok(())
}

/// How long a core was busy since the start of the machine, whoever ran on it.
///
/// # Errors
/// `/proc/stat` lacks the core.
pub fn busy(core: usize) -> Result<Duration> {
    let stat = fs::read_to_string("/proc/stat")?;
    let name = format!("cpu{core}");
    let line = stat
        .lines()
        .find(|line| line.split(' ').next() == Some(&name))
        .ok_or("/proc/stat lacks a core")?;
    // user nice system idle iowait irq softirq steal; guest time is part of user.
    let ticks: Vec<u64> =
        line.split_whitespace().skip(1).take(8).filter_map(|field| field.parse().ok()).collect();
    let [user, nice, system, _idle, _iowait, irq, softirq, steal] = ticks[..] else {
        return Err("/proc/stat has an unknown form".into());
    };
    Ok(from_ticks(user + nice + system + irq + softirq + steal))
}

/// Clock ticks of `/proc` as time.
pub fn from_ticks(ticks: u64) -> Duration {
    Duration::from_secs(ticks) / rustix::param::clock_ticks_per_second().try_into().unwrap_or(100)
}

/// One line that says what kind of machine this is.
pub fn describe() -> String {
    let field = |file: &str, key: &str| {
        fs::read_to_string(file).ok().and_then(|text| {
            let line = text.lines().find(|line| line.starts_with(key))?;
            Some(line.split_once([':', '='])?.1.trim().trim_matches('"').to_owned())
        })
    };
    let unknown = || "unknown".to_owned();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_else(|_| unknown());
    format!(
        "{}, {} cores, {} of memory, Linux {}, {}",
        field("/proc/cpuinfo", "model name").unwrap_or_else(unknown),
        // Not `available_parallelism`: this process has left the proxy's core.
        fs::read_to_string("/proc/cpuinfo")
            .map_or(0, |text| text.lines().filter(|line| line.starts_with("processor")).count()),
        field("/proc/meminfo", "MemTotal").unwrap_or_else(unknown),
        kernel.trim(),
        field("/etc/os-release", "PRETTY_NAME").unwrap_or_else(unknown),
    )
}
