//! wrk, told what to send and what to print by a Lua script.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::{BROWSER_FIELDS, Outcome};
use crate::Result;
use crate::bench::origin::{MEDIUM, SMALL};

/// Printed by the script before the figures.
const MARK: &str = "figures:";

/// A wrk to be run.
#[derive(Debug)]
pub struct Wrk {
    url: String,
    connections: usize,
    script: String,
}

impl Wrk {
    /// GET of the small body with the fields of a browser.
    pub fn new(address: SocketAddr, tls: bool, connections: usize) -> Self {
        let scheme = if tls { "https" } else { "http" };
        let mut wrk =
            Self { url: format!("{scheme}://{address}/1k"), connections, script: String::new() };
        for (name, value) in BROWSER_FIELDS {
            wrk.field(name, value);
        }
        wrk
    }

    /// Asks for this path.
    pub fn path(mut self, path: &str) -> Self {
        let _ = writeln!(self.script, "wrk.path = {path:?}");
        self
    }

    /// Adds a field to each request, in place of one that has the name.
    pub fn field(&mut self, name: &str, value: &str) {
        let _ = writeln!(self.script, "wrk.headers[{name:?}] = {value:?}");
    }

    /// Asks a forward proxy: absolute-form (RFC 9112 §3.2.2), and `Host` of the origin.
    pub fn absolute_form(&mut self, origin: SocketAddr) {
        self.field("Host", &origin.to_string());
        let _ = writeln!(self.script, "wrk.path = \"http://{origin}/1k\"");
    }

    /// Asks for these paths in turn, instead of the one.
    pub fn paths(&mut self, paths: impl Iterator<Item = String>) {
        self.script.push_str("local paths, requests, turn = {}, {}, 0\n");
        for path in paths {
            let _ = writeln!(self.script, "paths[#paths + 1] = {path:?}");
        }
        // The fields are known only when the script has been read, hence `init`.
        self.script.push_str(
            "function init(args)
  for i, path in ipairs(paths) do requests[i] = wrk.format(\"GET\", path) end
end
function request()
  turn = turn % #requests + 1
  return requests[turn]
end
",
        );
    }

    /// Makes each connection wait after its first request. The first ones are spread over
    /// `spread`, after `grace` in which all of them connect.
    pub fn once(&mut self, grace: Duration, spread: Duration) {
        let _ = writeln!(
            self.script,
            "local calls = 0
function delay()
  calls = calls + 1
  if calls > {connections} then return 3600000 end
  return {grace} + math.floor(calls * {spread} / {connections})
end",
            connections = self.connections,
            grace = grace.as_millis(),
            spread = spread.as_millis(),
        );
    }

    /// Starts it in the background, for the caller to end.
    ///
    /// # Errors
    /// wrk is missing.
    pub fn spawn(mut self, length: Duration, dir: &Path) -> Result<Child> {
        Ok(self.command(length, dir)?.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?)
    }

    /// Runs it.
    ///
    /// # Errors
    /// wrk is missing or printed no figures.
    pub fn run(mut self, length: Duration, dir: &Path) -> Result<Outcome> {
        let output = self.command(length, dir)?.stdin(Stdio::null()).output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let figures =
            text.lines().find_map(|line| line.strip_prefix(MARK)).and_then(parse).ok_or_else(
                || format!("wrk failed: {text}{}", String::from_utf8_lossy(&output.stderr)),
            )?;
        Ok(figures.outcome())
    }

    fn command(&mut self, length: Duration, dir: &Path) -> Result<Command> {
        let _ = writeln!(
            self.script,
            "function done(summary, latency)
  local e = summary.errors
  print(string.format(\"{MARK} %d %d %d %d %d %d %d %d %d %d\", summary.requests,
    summary.duration, summary.bytes, latency:percentile(50), latency:percentile(99),
    e.connect, e.read, e.write, e.status, e.timeout))
end"
        );
        let script = dir.join("wrk.lua");
        fs::write(&script, &self.script)?;
        let mut command = Command::new("timeout");
        command
            .arg((length.as_secs() + 30).to_string())
            .args(["wrk", "--threads", "1", "--connections", &self.connections.to_string()])
            .args(["--duration", &length.as_secs().max(1).to_string(), "--timeout", "10"])
            .arg("--script")
            .arg(script)
            .arg(&self.url);
        Ok(command)
    }
}

struct Figures {
    requests: u64,
    wall: Duration,
    bytes: u64,
    p50: Duration,
    p99: Duration,
    /// Connect, read, write, status, time-out.
    errors: [u64; 5],
}

fn parse(line: &str) -> Option<Figures> {
    let numbers: Vec<u64> =
        line.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
    let [requests, micros, bytes, p50, p99, errors @ ..] = numbers.as_slice() else { return None };
    Some(Figures {
        requests: *requests,
        wall: Duration::from_micros(*micros),
        bytes: *bytes,
        p50: Duration::from_micros(*p50),
        p99: Duration::from_micros(*p99),
        errors: errors.try_into().ok()?,
    })
}

impl Figures {
    fn outcome(&self) -> Outcome {
        let names =
            ["connect errors", "read errors", "write errors", "error statuses", "time-outs"];
        let mut faults: Vec<String> = self
            .errors
            .iter()
            .zip(names)
            .filter(|(count, _)| **count > 0)
            .map(|(count, name)| format!("{count} {name}"))
            .collect();
        if self.requests == 0 {
            faults.push("no request was answered".into());
        } else if self.bytes / self.requests < SMALL as u64 {
            faults.push("answers were shorter than the body".into());
        }
        Outcome {
            units: self.requests,
            wall: self.wall,
            p50: Some(self.p50),
            p99: Some(self.p99),
            packed: (self.requests > 0)
                .then(|| self.bytes as f64 / (self.requests * MEDIUM as u64) as f64),
            faults,
            ..Outcome::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_with_errors_are_faults() {
        let figures = parse(" 1000 2000000 1300000 600 900 0 3 0 7 0").unwrap();
        let outcome = figures.outcome();
        assert_eq!(outcome.units, 1000);
        assert_eq!(outcome.wall, Duration::from_secs(2));
        assert_eq!(outcome.p99, Some(Duration::from_micros(900)));
        assert_eq!(outcome.faults, ["3 read errors", "7 error statuses"]);
    }

    #[test]
    fn short_answers_are_faults() {
        let figures = parse("1000 2000000 200000 600 900 0 0 0 0 0").unwrap();
        assert_eq!(figures.outcome().faults, ["answers were shorter than the body"]);
        assert!(parse("1 2 3").is_none());
    }
}
