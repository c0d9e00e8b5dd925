//! A process that is killed has written down all but the last second.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use accounts::{Accounts, Direction, Granted, Limits, Moment, UsageQuery};

const STATE: &str = "ACCOUNTS_TEST_STATE";
const MEGABYTE: u64 = 1_000_000;

/// Not a test of its own: what the process does that is killed. It uses so many megabytes as it
/// is told to, a line each.
#[test]
fn the_process_that_is_killed() {
    let Some(state) = std::env::var_os(STATE) else { return };
    let accounts = Accounts::open(Some(Path::new(&state))).expect("a thread");
    let limits = Arc::new(Limits::none());
    let account = accounts.account("staff", "alice", &limits, Moment::now());
    let meter = account.meter(Moment::now(), "home", None, "a.example");
    for line in std::io::stdin().lines() {
        let mut left = line.expect("a line").parse::<u64>().expect("a number") * MEGABYTE;
        while left > 0 {
            if let Granted::Now(bytes) = meter.grant(Moment::now(), left) {
                meter.used(Direction::Down, bytes);
                left -= bytes;
            }
        }
        println!("moved");
    }
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn at_most_a_second_is_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let child = Command::new(std::env::current_exe().expect("this one"))
        .args(["--exact", "the_process_that_is_killed", "--nocapture"])
        .env(STATE, folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it can be started");
    let mut child = Killed(child);
    let mut told = child.0.stdin.take().expect("piped");
    let mut said = BufReader::new(child.0.stdout.take().expect("piped")).lines();
    let mut use_some = |megabytes: u64| {
        writeln!(told, "{megabytes}").expect("it listens");
        // The harness has lines of its own.
        said.by_ref()
            .map(|line| line.expect("it speaks"))
            .find(|line| line.ends_with("moved"))
            .expect("it goes on");
    };

    use_some(4);
    let moved = Instant::now();
    let written = || {
        let query = UsageQuery { target: Some("a.example".to_owned()), ..UsageQuery::default() };
        query.read(folder.path()).map_or(0, |rows| rows[0].down)
    };
    while written() < 4 * MEGABYTE {
        assert!(moved.elapsed() < Duration::from_secs(10), "nothing is written");
        std::thread::yield_now();
    }
    let late = moved.elapsed();
    assert!(late < Duration::from_secs(1), "written only after {late:?}");
    use_some(1);
    child.0.kill().expect("SIGKILL");
    child.0.wait().expect("it has ended");

    let accounts = Accounts::open(Some(folder.path())).expect("a thread");
    assert_eq!(accounts.status().problem, None, "the file is whole");
    let now = Moment::now();
    let account = accounts.account("staff", "alice", &Arc::new(Limits::none()), now);
    // Where midnight came between, the month has all; where a month did, the usage has.
    let all = accounts.usage(&UsageQuery::default()).expect("it is there")[0].down;
    assert!((4 * MEGABYTE..=5 * MEGABYTE).contains(&all), "{all}");
    let month = account.standing(now).month.bytes;
    assert!(month == all || month == 0, "{month} of {all}");
}
