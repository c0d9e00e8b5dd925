//! Events from the server (`text/event-stream`) over HTTP/2: each arrives when it is sent, on a
//! response that has no end.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};

use testkit::{Origin, Peer};

use crate::front::Front;
use crate::program::{LIMIT, Run, node_modules};
use crate::program_or_skip;
use crate::web::{Request, Response, Web};

const PAGE: &str = r#"<!doctype html><title>events</title><script>
const tell = (said) => fetch("/told", { method: "POST", body: String(said) });
tell("ready").then(() => {
  const source = new EventSource("/events");
  source.onmessage = ({ data, lastEventId }) => tell(lastEventId + " " + data);
  source.addEventListener("end", () => { source.close(); tell("end"); });
});
</script>"#;

/// `HOW URL CA` prints what it receives, as it receives it.
const CLIENT: &str = r#"
const [how, url, ca] = process.argv.slice(1);
const trust = { ca: require("fs").readFileSync(ca) };
const told = (chunk) => {
  for (const event of chunk.toString().split("\n\n").filter(Boolean)) {
    const of = (name) => (event.match(new RegExp("^" + name + ": (.*)$", "m")) || [])[1];
    console.log(of("event") === "end" ? "end" : of("id") + " " + of("data"));
  }
};
console.log("ready");
if (how === "http2") {
  const { origin, pathname } = new URL(url);
  const session = require("http2").connect(origin, trust);
  const stream = session.request({ ":path": pathname, accept: "text/event-stream" });
  stream.on("data", told);
  stream.on("end", () => session.close());
} else {
  const { Agent, request } = require("undici");
  const dispatcher = new Agent({ allowH2: true, connect: trust });
  request(url, { dispatcher, headers: { accept: "text/event-stream" } }).then(async ({ body }) => {
    for await (const chunk of body) told(chunk);
  });
}
"#;

/// Takes the request for events, and begins the answer.
fn begin(origin: &Origin) -> Peer {
    let mut peer = origin.accept();
    let request = peer.recv_request();
    assert_eq!(request.target(), "/events");
    assert_eq!(request.get("Accept").as_deref(), Some("text/event-stream"));
    peer.send(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n\
         Transfer-Encoding: chunked\r\n\r\n",
    );
    peer
}

fn send(peer: &mut Peer, event: &str) {
    peer.send(format!("{:x}\r\n{event}\r\n", event.len()));
}

/// Sends an event, waits until the client has told of it, and only then sends the next.
#[track_caller]
fn one_by_one(peer: &mut Peer, told: impl Fn() -> String) {
    for number in 0..20 {
        send(peer, &format!("id: {number}\ndata: event\n\n"));
        assert_eq!(told(), format!("{number} event"));
    }
}

/// A page, and what it tells.
fn site() -> (Web, Receiver<String>) {
    let (sender, told) = channel();
    let sender = Mutex::new(sender);
    let web = Web::with("127.0.0.1:0", None, move |request: &Request, body| match request.path() {
        "/" => Response::ok("text/html", PAGE),
        "/told" => {
            let said = String::from_utf8_lossy(&body).into_owned();
            let _ = sender.lock().expect("lock").send(said);
            Response::ok("text/plain", "")
        }
        _ => Response::not_found(),
    });
    (web, told)
}

#[test]
fn a_browser_hears_each_as_it_comes() {
    let program =
        program_or_skip!("BIFRONS_TEST_CHROMIUM", "chromium", "chromium-browser", "google-chrome");
    let (web, told) = site();
    let told = || told.recv_timeout(LIMIT).expect("the page tells nothing");
    let origin = Origin::start();
    let front = Front::new(&format!(
        "route \"/events\" {{ to \"{}\" }}\nroute \"/*\" {{ to \"{}\" }}",
        origin.url(),
        web.url("")
    ));
    let browser = crate::browser::open(&program, &["--no-proxy-server"], &front.https("/"));
    assert_eq!(told(), "ready");
    let mut peer = begin(&origin);
    one_by_one(&mut peer, told);
    send(&mut peer, "event: end\ndata: end\n\n");
    assert_eq!(told(), "end");
    // It has closed the stream, not the connection; the server sees it go.
    peer.recv_until_gone();
    drop(browser);
    let lines = front.proxy.stop_and_read();
    assert!(lines.iter().all(|line| line["version"] == "HTTP/2.0"), "{lines:?}");
    assert!(lines.iter().any(|line| line["target"] == "/events"), "{lines:?}");
}

#[test]
fn node_hears_each_as_it_comes() {
    let program = program_or_skip!("BIFRONS_TEST_NODE", "node", "nodejs");
    let Some(modules) = node_modules("undici") else { return };
    let origin = Origin::start();
    let front = Front::new(&format!("to \"{}\"", origin.url()));
    let ways = [("http2", front.http("")), ("http2", front.https("")), ("undici", front.https(""))];
    for (how, at) in ways {
        for leaves in [false, true] {
            let mut client = Run::new(&program)
                .args(["-e", CLIENT, "--", how, &format!("{at}/events")])
                .arg(&front.ca)
                .env("NODE_PATH", &modules)
                .start();
            client.expect("ready");
            let mut peer = begin(&origin);
            one_by_one(&mut peer, || client.line());
            if leaves {
                client.kill();
                peer.recv_until_gone();
            } else {
                send(&mut peer, "event: end\ndata: end\n\n");
                peer.send("0\r\n\r\n");
                client.expect("end");
                // The next may come over the same connection.
                drop(peer);
            }
        }
    }
    assert_eq!(front.versions(), ["HTTP/2.0"; 6]);
}
