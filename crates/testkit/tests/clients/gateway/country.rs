//! A country that is asked for, through thousands of requests and the death of exits: on loopback,
//! and with a network of its own for each exit.

use std::collections::HashSet;

use testkit::Proxy;
use testkit::parent::Parent;

use super::spaces::Spaces;
use crate::curl::curl;
use crate::program::{Beside, Run};
use crate::program_or_skip;
use crate::web::Web;

/// Requests of a client.
const COUNT: usize = 2000;
/// When one of the two Canadian exits dies.
const DEATH: usize = 700;
/// Where a client may be at most when the test has seen that it got so far: what a pipe holds.
const AHEAD: usize = 500;

/// A proxy that leaves by these parents: one in the United States, two in Canada.
fn gateway([us, first, second]: &[Parent; 3]) -> Proxy {
    Proxy::start(&format!(
        "users \"staff\" {{ user \"alice\" password=\"secret\" }}
        exits \"world\" {{
            proxy \"{}\" country=\"US\"
            proxy \"{}\" country=\"CA\"
            proxy \"{}\" country=\"CA\"
            ban unreachable=#true for=\"10m\" per=\"exit\"
        }}
        forward \"127.0.0.1:0\" {{
            auth users=\"staff\"
            allow \"127.0.0.0/8\" \"198.51.100.0/24\"
            exit \"world\"
        }}",
        us.url("http"),
        first.url("http"),
        second.url("http")
    ))
}

/// Reads what the client tells, a line for each answer, and lets an exit die in the middle.
/// `homes` are the addresses of the exits in Canada, of which the first dies.
fn watch(client: &Beside, dies: &Parent, homes: [&str; 2]) {
    let mut seen = Vec::new();
    for number in 0..COUNT {
        if number == DEATH {
            dies.stop();
        }
        let line = client.line();
        let from = line.strip_suffix(" 200").unwrap_or_else(|| panic!("{number}: {line}"));
        assert!(homes.contains(&from), "{number}: {line}");
        seen.push(from.to_owned());
    }
    let before: HashSet<_> = seen[..DEATH].iter().collect();
    assert_eq!(before.len(), 2, "both are used");
    let after: HashSet<_> = seen[DEATH + AHEAD..].iter().collect();
    assert_eq!(after, HashSet::from([&homes[1].to_owned()]), "the dead one is not used");
}

#[test]
fn curl_is_never_led_elsewhere() {
    let program = program_or_skip!("BIFRONS_TEST_CURL", "curl");
    let origin = Web::start();
    let parents = ["127.0.0.2", "127.0.0.3", "127.0.0.4"]
        .map(|address| Parent::http_on(&format!("{address}:0")).leaving_from(address));
    let proxy = gateway(&parents);
    let at = format!("http://alice-country-ca:secret@{}", proxy.first());
    let run = || curl(&program).args(["--no-buffer", "--proxy", &at, "-w", " %{http_code}\n"]);
    let client = run().arg(origin.url(&format!("/from?[1-{COUNT}]"))).start();
    watch(&client, &parents[1], ["127.0.0.3", "127.0.0.4"]);
    // In tunnels too, of which each is a connection of its own.
    let run = run().args(["--proxytunnel", "-H", "Connection: close"]);
    let said = run.arg(origin.url("/from?[1-100]")).finish().ok();
    assert_eq!(said, "127.0.0.4 200\n".repeat(100));
    // No exit is better than another country.
    parents[2].stop();
    for option in [None, Some("--proxytunnel")] {
        let run = curl(&program).args(["--proxy", &at, "-o", "/dev/null"]).args(option);
        let code = run.args(["-w", "%{http_code} %{http_connect}", &origin.url("/from")]);
        let said = code.finish().out;
        assert!(["502 000", "503 000", "000 502", "000 503"].contains(&&*said), "{said}");
    }
    assert!(parents[0].asked().is_empty(), "{:?}", parents[0].asked());
    assert!(origin.callers().iter().all(|from| from.to_string() != "127.0.0.2"));
}

/// `client.py PROXY URL COUNT`.
const CLIENT: &str = r#"
import sys, requests
proxy, url, count = sys.argv[1:]
with requests.Session() as session:
    session.trust_env = False
    session.proxies = {"http": proxy}
    for number in range(int(count)):
        answer = session.get(f"{url}?{number}", timeout=60)
        print(answer.text, answer.status_code, flush=True)
"#;

#[test]
fn python_is_never_led_elsewhere() {
    let Some(python) = crate::program::python("requests") else { return };
    Spaces::run(|spaces| {
        let origin = spaces.within("world", || {
            Web::try_with("198.51.100.10:0", None, |_, _| crate::web::Response::not_found())
                .expect("listen")
        });
        // Each in a network of its own, where the origin sees the address of its far end.
        let parents = [0, 1, 2].map(|exit| {
            let address = Spaces::near(exit);
            spaces.within(Spaces::EXITS[exit], || Parent::http_on(&format!("{address}:0")))
        });
        let proxy = gateway(&parents);
        let at = format!("http://alice-country-ca:secret@{}", proxy.first());
        let run = Run::new(&python).args(["-c", CLIENT, &at, &origin.url("/from")]);
        let client = run.arg(COUNT.to_string()).start();
        let homes = [1, 2].map(Spaces::far);
        watch(&client, &parents[1], [&homes[0], &homes[1]]);
        assert!(parents[0].asked().is_empty(), "{:?}", parents[0].asked());
        // From here there is no way to the origin but by the exits.
        assert!(std::net::TcpStream::connect(origin.address()).is_err(), "the exits are needed");
        let callers: HashSet<_> = origin.callers().iter().map(ToString::to_string).collect();
        assert_eq!(callers, homes.into_iter().collect());
    });
}
