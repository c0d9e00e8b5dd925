//! A server under test: started on its core, watched, and ended whatever happens.

use std::collections::HashMap;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::machine::from_ticks;
use crate::Result;

/// How long a server may take to accept its first connection.
const START: Duration = Duration::from_secs(30);
/// How long a server may take to end before it is killed.
const STOP: Duration = Duration::from_secs(2);
/// Between two looks at something that has no event to wait for.
const LOOK: Duration = Duration::from_millis(10);

/// A running server and the processes it made. Ended when dropped.
#[derive(Debug)]
pub struct Server {
    name: &'static str,
    child: Child,
}

/// CPU time that a server has used since it started.
#[derive(Debug, Clone, Copy)]
pub struct CpuTime {
    /// In its own code.
    pub user: Duration,
    /// In the kernel on its behalf.
    pub system: Duration,
}

impl Server {
    /// Starts `command` on `core` and waits until it accepts on `address`. What it prints
    /// goes to `output.log` in `dir`.
    ///
    /// # Errors
    /// It cannot be started, ends at once, or does not accept in time; with what it printed.
    pub fn start(
        name: &'static str,
        command: &Command,
        core: usize,
        address: SocketAddr,
        dir: &Path,
    ) -> Result<Self> {
        let output = dir.join("output.log");
        let file = File::create(&output)?;
        // `setpriv` ends the server should this process be killed, which no `Drop` survives.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", "taskset", "--cpu-list", &core.to_string()])
            .arg(command.get_program())
            .args(command.get_args())
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()?;
        let mut server = Self { name, child };
        server.wait_ready(address).map_err(|error| {
            let printed = fs::read_to_string(&output).unwrap_or_default();
            format!("{name} did not start: {error}\n{}", printed.trim())
        })?;
        Ok(server)
    }

    fn wait_ready(&mut self, address: SocketAddr) -> Result {
        let deadline = Instant::now() + START;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("it ended with {status}").into());
            }
            match TcpStream::connect(address) {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > deadline => {
                    return Err(format!("no connection to {address}: {error}").into());
                }
                Err(_) => sleep(LOOK),
            }
        }
    }

    /// CPU time of all processes of this server.
    ///
    /// `/proc/PID/stat` knows user from system but counts in ticks of 10 ms; the scheduler's
    /// own `schedstat` of each thread is exact, so the sum is taken from there and the split
    /// from `stat`.
    ///
    /// # Errors
    /// The server has ended.
    pub fn cpu(&self) -> Result<CpuTime> {
        let (mut user, mut system) = (Duration::ZERO, Duration::ZERO);
        let mut exact = Duration::ZERO;
        for process in self.processes()? {
            user += process.user;
            system += process.system;
            exact += scheduled(process.pid);
        }
        let ticked = user + system;
        // Threads that ended are only in `stat`.
        if ticked.is_zero() || exact + from_ticks(2) < ticked {
            return Ok(CpuTime { user, system });
        }
        let user = exact.mul_f64(user.as_secs_f64() / ticked.as_secs_f64());
        Ok(CpuTime { user, system: exact.saturating_sub(user) })
    }

    /// Resident memory of all processes of this server, KiB.
    ///
    /// # Errors
    /// The server has ended.
    pub fn resident_kib(&self) -> Result<u64> {
        let mut sum = 0;
        for process in self.processes()? {
            let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", process.pid))?;
            sum += rollup
                .lines()
                .find_map(|line| line.strip_prefix("Rss:"))
                .and_then(|rest| rest.split_whitespace().next())
                .and_then(|kib| kib.parse::<u64>().ok())
                .ok_or("smaps_rollup has an unknown form")?;
        }
        Ok(sum)
    }

    fn processes(&self) -> Result<Vec<Process>> {
        let tree = tree(self.child.id())?;
        if tree.is_empty() {
            return Err(format!("{} has ended", self.name).into());
        }
        Ok(tree)
    }

    /// Ends it: asks first, and kills what has not ended in time.
    pub fn stop(&mut self) {
        // Listed first: the children of a killed master are nobody's children.
        let tree = tree(self.child.id()).unwrap_or_default();
        signal(self.child.id(), Signal::TERM);
        let deadline = Instant::now() + STOP;
        while Instant::now() < deadline {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                break;
            }
            sleep(LOOK);
        }
        for process in &tree {
            // A number that was given to somebody else meanwhile has another start time.
            if Process::read(process.pid).is_some_and(|now| now.started == process.started) {
                signal(process.pid, Signal::KILL);
            }
        }
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// What `/proc/PID/stat` says of a process.
#[derive(Debug)]
struct Process {
    pid: u32,
    parent: u32,
    user: Duration,
    system: Duration,
    /// Ticks after the start of the machine.
    started: u64,
}

impl Process {
    /// `None`: there is no such process (any more), or it is a zombie.
    fn read(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name is in parentheses and may itself hold any byte.
        let (_, fields) = stat.rsplit_once(") ")?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        if *fields.first()? == "Z" {
            return None;
        }
        // Field numbers of proc(5), of which the first two were cut off.
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        Some(Self {
            pid,
            parent: number(4)?.try_into().ok()?,
            user: from_ticks(number(14)?),
            system: from_ticks(number(15)?),
            started: number(22)?,
        })
    }
}

/// The process `root` and all below it.
fn tree(root: u32) -> Result<Vec<Process>> {
    let mut all = HashMap::new();
    for entry in fs::read_dir("/proc")? {
        if let Some(process) =
            entry?.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Process::read)
        {
            all.insert(process.pid, process);
        }
    }
    let mut found = Vec::new();
    let mut parents = vec![root];
    while let Some(parent) = parents.pop() {
        parents.extend(all.values().filter(|p| p.parent == parent).map(|p| p.pid));
        found.extend(all.remove(&parent));
    }
    Ok(found)
}

/// CPU time of those processes that this one started and that have ended.
///
/// # Errors
/// `/proc/self/stat` has an unknown form.
pub fn ended_children() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(") ").ok_or("/proc/self/stat has an unknown form")?;
    // Fields 16 and 17 of proc(5), of which the first two were cut off.
    let ticks = fields.split_whitespace().skip(13).take(2);
    Ok(from_ticks(ticks.filter_map(|field| field.parse::<u64>().ok()).sum()))
}

/// Time that the threads of a process spent on a core: the first field of `schedstat`, ns.
fn scheduled(pid: u32) -> Duration {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Duration::ZERO };
    let nanos = tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("schedstat")).ok())
        .filter_map(|stat| stat.split(' ').next()?.parse::<u64>().ok())
        .sum();
    Duration::from_nanos(nanos)
}
