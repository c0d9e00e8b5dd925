//! The public suite of tests for HTTP caches (`http-cache-tests` of npm, its last release there),
//! against both faces. What does not pass is listed here by name; docs/cache-conformance.md says
//! why it rightly does not.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use testkit::{Proxy, Scratch};

use crate::program::{Run, Running, node_modules};
use crate::program_or_skip;

/// Against RFC 9111 §5.1: an `Age` that cannot be read is to be ignored.
const AGES: [&str; 7] = [
    "age-parse-dup-0",
    "age-parse-dup-0-twoline",
    "age-parse-dup-old",
    "age-parse-float",
    "age-parse-negative",
    "age-parse-nonnumeric",
    "age-parse-prefix-twoline",
];
/// The origin closes the connection, and its own count is expected in an answer that only the
/// proxy can give.
const CLOSED: [&str; 4] = [
    "stale-close-must-revalidate",
    "stale-close-no-cache",
    "stale-close-proxy-revalidate",
    "stale-close-s-maxage=2",
];
/// The origin sends two framings at once, which is refused.
const FRAMED: [&str; 1] = ["headers-store-Transfer-Encoding"];
/// Answers to POST, a date of modification that nobody gave, and parts whose length is not what
/// their `Content-Range` says or that have no strong validator.
const OPTIONAL: [&str; 7] = [
    "conditional-lm-fresh-no-lm",
    "method-POST",
    "partial-store-partial-complete",
    "partial-store-partial-reuse-partial",
    "partial-store-partial-reuse-partial-absent",
    "partial-store-partial-reuse-partial-byterange",
    "partial-store-partial-reuse-partial-suffix",
];

const RUNNER: &str = r#"
import { createRequire } from "module";
const [modules, base, proxy] = process.argv.slice(2);
const suite = `file://${modules}/http-cache-tests`;
const require = createRequire(`${modules}/x.js`);
const nodeFetch = require("node-fetch");
const { HttpProxyAgent } = require("http-proxy-agent");
const agent = proxy ? new HttpProxyAgent(proxy) : undefined;
const { runTests, getResults } = await import(`${suite}/client/runner.mjs`);
const tests = (await import(`${suite}/tests/index.mjs`)).default;
// What is said to surrogates is for a cache in front of a site, not for one in front of clients.
if (!proxy) tests.push((await import(`${suite}/tests/surrogate-control.mjs`)).default);
await runTests(tests, (url, init) => nodeFetch(url, { ...init, agent }), false, base);
const results = getResults();
const counts = {};
for (const { tests: all } of tests)
  for (const test of all) {
    const kind = test.kind || "required";
    if (kind === "check" || test.browser_only) continue;
    const passed = results[test.id] === true;
    counts[kind] = (counts[kind] || 0) + (passed ? 1 : 0);
    if (!passed) console.log(kind, test.id);
  }
console.log("passed", counts.required, counts.optimal);
process.exit(0);
"#;

/// The origin of the suite.
fn origin(node: &Path, modules: &Path, scratch: &Scratch) -> (Running, u16) {
    let mut server = Command::new(node)
        .arg(modules.join("http-cache-tests/server/server.mjs"))
        .env("npm_package_config_protocol", "http")
        .env("npm_package_config_port", "0")
        .env("npm_package_config_pidfile", scratch.path().join("pid"))
        .stdout(Stdio::piped())
        .spawn()
        .expect("the origin of the suite");
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let running = Running(server);
    let port = line.trim().trim_end_matches('/').rsplit(':').next().and_then(|it| it.parse().ok());
    (running, port.unwrap_or_else(|| panic!("{line}")))
}

/// What does not pass, and how many of each kind do.
fn run(node: &Path, modules: &Path, scratch: &Scratch, to: &[&str]) -> (Vec<String>, [usize; 2]) {
    let runner = scratch.write("run.mjs", RUNNER);
    let said = Run::new(node).arg("--no-warnings").arg(runner).arg(modules).args(to).finish();
    assert_eq!(said.code, Some(0), "{}", said.text());
    let (passed, failed): (Vec<_>, Vec<_>) =
        said.out.lines().partition(|line| line.starts_with("passed"));
    let counts: Vec<usize> =
        passed[0].split(' ').skip(1).map(|count| count.parse().unwrap()).collect();
    (failed.into_iter().map(str::to_owned).collect(), [counts[0], counts[1]])
}

fn assert_passes(failed: &[String], required: &[&[&str]]) {
    let is_known = |line: &&String| {
        let (kind, id) = line.split_once(' ').unwrap();
        match kind {
            "required" => required.iter().any(|known| known.contains(&id)),
            _ => OPTIONAL.contains(&id),
        }
    };
    let unknown: Vec<_> = failed.iter().filter(|line| !is_known(line)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn in_front_of_a_site() {
    let node = program_or_skip!("BIFRONS_TEST_NODE", "node", "nodejs");
    let Some(modules) = node_modules("http-cache-tests") else { return };
    let scratch = Scratch::new();
    let (_server, port) = origin(&node, &modules, &scratch);
    let proxy = Proxy::start(&format!(
        "site \"http://127.0.0.1:0\" {{ cache; to \"http://127.0.0.1:{port}\"; }}"
    ));
    let base = format!("http://{}", proxy.first());
    let (failed, passed) = run(&node, &modules, &scratch, &[&base]);
    assert_passes(&failed, &[&AGES, &CLOSED, &FRAMED]);
    assert!(passed[0] >= 153 && passed[1] >= 88, "{passed:?}");
}

#[test]
fn in_front_of_clients() {
    let node = program_or_skip!("BIFRONS_TEST_NODE", "node", "nodejs");
    let Some(modules) = node_modules("http-cache-tests") else { return };
    let scratch = Scratch::new();
    let (_server, port) = origin(&node, &modules, &scratch);
    let proxy = Proxy::start(&format!(
        "forward \"127.0.0.1:0\" {{ cache; allow \"127.0.0.1\"; ports {port}; }}"
    ));
    let base = format!("http://127.0.0.1:{port}");
    let by = format!("http://{}", proxy.first());
    let (failed, passed) = run(&node, &modules, &scratch, &[&base, &by]);
    assert_passes(&failed, &[&AGES, &CLOSED, &FRAMED]);
    assert!(passed[0] >= 145 && passed[1] >= 79, "{passed:?}");
}
