//! h2load: HTTP/2 over TLS, many streams on few connections.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::{BROWSER_FIELDS, Outcome};
use crate::Result;
use crate::bench::origin::SMALL;

/// Connections.
const CONNECTIONS: usize = 16;
/// Requests at a time on each.
const STREAMS: usize = 16;

/// GET of the small body with the fields of a browser, as often as answers come.
///
/// # Errors
/// h2load is missing or printed no figures.
pub fn run(address: SocketAddr, length: Duration) -> Result<Outcome> {
    let mut command = Command::new("timeout");
    command
        .arg((length.as_secs() + 30).to_string())
        .args(["h2load", "--threads", "1", "--clients", &CONNECTIONS.to_string()])
        .args(["--max-concurrent-streams", &STREAMS.to_string(), "--npn-list", "h2"])
        .args(["--duration", &length.as_secs().max(1).to_string()]);
    for (name, value) in BROWSER_FIELDS {
        command.arg("--header").arg(format!("{}: {value}", name.to_ascii_lowercase()));
    }
    let output = command.arg(format!("https://{address}/1k")).stdin(Stdio::null()).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let figures = parse(&text).ok_or_else(|| {
        format!("h2load failed: {text}{}", String::from_utf8_lossy(&output.stderr))
    })?;
    Ok(figures.outcome(length.max(Duration::from_secs(1))))
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Figures {
    done: u64,
    faults: Vec<String>,
    /// Bytes of bodies.
    data: u64,
}

/// Reads the summary:
///
/// ```text
/// TLS Protocol: TLSv1.3
/// Application protocol: h2
/// requests: 8 total, 16 started, 8 done, 8 succeeded, 0 failed, 0 errored, 0 timeout
/// status codes: 8 2xx, 0 3xx, 0 4xx, 0 5xx
/// traffic: 9.11KB (9324) total, 80B (80) headers (space savings 96.15%), 8.00KB (8192) data
/// ```
fn parse(text: &str) -> Option<Figures> {
    let line = |start: &str| text.lines().find_map(|line| line.strip_prefix(start));
    let mut figures = Figures::default();
    for part in line("requests: ")?.split(", ").chain(line("status codes: ")?.split(", ")) {
        let (count, what) = part.trim().split_once(' ')?;
        let count: u64 = count.parse().ok()?;
        match what {
            "done" => figures.done = count,
            "total" | "started" | "succeeded" | "2xx" => {}
            _ if count == 0 => {}
            what => figures.faults.push(format!("{count} requests: {what}")),
        }
    }
    let (_, data) = line("traffic: ")?.rsplit_once(", ")?;
    figures.data = data.split_once('(')?.1.split_once(')')?.0.parse().ok()?;
    for (what, expected) in [("TLS Protocol: ", "TLSv1.3"), ("Application protocol: ", "h2")] {
        let got = line(what).unwrap_or("nothing");
        if got != expected {
            figures.faults.push(format!("{got} was spoken, not {expected}"));
        }
    }
    Some(figures)
}

impl Figures {
    fn outcome(self, wall: Duration) -> Outcome {
        let mut faults = self.faults;
        if self.done == 0 {
            faults.push("no request was answered".into());
        } else if self.data / self.done < SMALL as u64 {
            faults.push("answers were shorter than the body".into());
        }
        Outcome { units: self.done, wall, faults, ..Outcome::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUMMARY: &str = "\
TLS Protocol: TLSv1.3
Cipher: TLS_AES_128_GCM_SHA256
Application protocol: h2
finished in 1.00s, 8.00 req/s, 9.11KB/s
requests: 8 total, 16 started, 8 done, 8 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 8 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 9.11KB (9324) total, 80B (80) headers (space savings 96.15%), 8.00KB (8192) data
";

    #[test]
    fn a_summary_is_read() {
        let figures = parse(SUMMARY).unwrap();
        assert_eq!(figures, Figures { done: 8, faults: Vec::new(), data: 8192 });
        assert_eq!(figures.outcome(Duration::from_secs(1)).faults, Vec::<String>::new());
        assert_eq!(parse("h2load: command not found"), None);
    }

    #[test]
    fn what_is_not_as_it_should_be_is_a_fault() {
        let faults = |from: &str, to: &str| {
            let text = SUMMARY.replace(from, to);
            parse(&text).unwrap().outcome(Duration::from_secs(1)).faults
        };
        assert_eq!(faults("0 5xx", "3 5xx"), ["3 requests: 5xx"]);
        assert_eq!(faults("0 errored", "2 errored"), ["2 requests: errored"]);
        assert_eq!(faults(": h2", ": http/1.1"), ["http/1.1 was spoken, not h2"]);
        assert_eq!(faults("(8192)", "(800)"), ["answers were shorter than the body"]);
    }
}
