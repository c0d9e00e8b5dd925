//! WebSocket between real clients and servers, over HTTP/1.1 and over HTTP/2 (RFC 8441).

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};

use testkit::{Authority, Proxy, Scratch};

use crate::front::Front;
use crate::program::{Beside, LIMIT, Run, node_modules};
use crate::program_or_skip;
use crate::web::{Request, Response, Web};

/// Answers each message by what it says, else with itself. Prints its port, and how
/// conversations end.
const PYTHON_SERVER: &str = r#"
import asyncio
from websockets.exceptions import ConnectionClosed
try:
    from websockets.asyncio.server import serve
except ImportError:
    from websockets import serve

async def talk(socket):
    try:
        async for message in socket:
            if message == "close":
                await socket.close(4001, "enough \u00fc")
            elif message == "ping":
                await (await socket.ping(b"are you there"))
                await socket.send("pong came")
            elif message == "fragments":
                await socket.send(["one ", "two ", "three"])
            elif message == "burst":
                for number in range(1000):
                    await socket.send(str(number))
            else:
                await socket.send(message)
    except ConnectionClosed:
        pass
    print("closed", socket.close_code, socket.close_reason, flush=True)

async def main():
    server = await serve(talk, "127.0.0.1", 0, subprotocols=["chat"], max_size=None)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().create_future()

asyncio.run(main())
"#;

/// The same over HTTP/2: Node makes the stream, `ws` speaks on it.
const NODE_SERVER: &str = r#"
const http2 = require("http2");
const WebSocket = require("ws");
const server = http2.createServer({ settings: { enableConnectProtocol: true } });
server.on("stream", (stream, headers) => {
  stream.on("error", () => {});
  if (headers[":method"] !== "CONNECT" || headers[":protocol"] !== "websocket") {
    stream.respond({ ":status": 404 });
    return stream.end();
  }
  const offered = headers["sec-websocket-protocol"] || "";
  stream.respond({ ":status": 200, ...(offered && { "sec-websocket-protocol": "chat" }) });
  stream.setNoDelay = () => stream;
  const socket = new WebSocket(null, undefined, { autoPong: true, closeTimeout: 30000 });
  socket.setSocket(stream, Buffer.alloc(0), {
    allowSynchronousEvents: true, maxPayload: 16 << 20, skipUTF8Validation: false,
  });
  socket.on("error", () => {});
  socket.on("message", (data, binary) => {
    const text = binary ? "" : data.toString();
    if (text === "close") socket.close(4001, "enough \u00fc");
    else if (text === "ping") {
      socket.once("pong", () => socket.send("pong came"));
      socket.ping("are you there");
    } else if (text === "fragments") {
      socket.send("one ", { fin: false });
      socket.send("two ", { fin: false });
      socket.send("three", { fin: true });
    } else if (text === "burst") {
      for (let number = 0; number < 1000; number++) socket.send(String(number));
    } else socket.send(data, { binary });
  });
  socket.on("close", (code, reason) => console.log("closed", code, reason.toString()));
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
"#;

/// `client.py URL CA COMPRESSION END`: goes through all of it, and ends as it is told.
const PYTHON_CLIENT: &str = r#"
import asyncio, os, ssl, sys
from websockets.exceptions import ConnectionClosed
try:
    from websockets.asyncio.client import connect
except ImportError:
    from websockets import connect

url, ca, compression, end = sys.argv[1:]

async def main():
    options = {"compression": None if compression == "none" else compression}
    if url.startswith("wss:"):
        options["ssl"] = ssl.create_default_context(cafile=ca)
    async with connect(url, subprotocols=["chat"], max_size=None, **options) as socket:
        assert socket.subprotocol == "chat", socket.subprotocol
        for message in ["", "text \u00fc", b"", bytes(range(256)), "x" * (1 << 20),
                        os.urandom(1 << 20)]:
            await socket.send(message)
            assert await socket.recv() == message, message[:20]
        await socket.send(["a", "b", "c"])
        assert await socket.recv() == "abc"
        await socket.send([b"x" * 100000] * 10)
        assert await socket.recv() == b"x" * 1000000
        await socket.send("fragments")
        assert await socket.recv() == "one two three"
        await socket.send("ping")
        assert await socket.recv() == "pong came"
        await (await socket.ping())
        await socket.send("burst")
        for number in range(1000):
            assert await socket.recv() == str(number)
        if end == "ours":
            await socket.close(4002, "done \u00fc")
        elif end == "theirs":
            await socket.send("close")
            try:
                await socket.recv()
                raise AssertionError("no close")
            except ConnectionClosed:
                seen = socket.close_code, socket.close_reason
                assert seen == (4001, "enough \u00fc"), seen
        else:
            print("done", flush=True)
            os._exit(0)
    print("done", flush=True)

asyncio.run(main())
"#;

/// The same as a script for a browser and, with `ws`, for Node: `talk(WebSocket, URL, END)`.
const SCRIPT: &str = r#"
async function talk(Socket, url, end, more) {
  const socket = new Socket(url, ["chat"], more);
  socket.binaryType = "arraybuffer";
  const waiting = [], received = [];
  socket.onmessage = ({ data }) => {
    const take = waiting.shift();
    take ? take(data) : received.push(data);
  };
  const closed = new Promise((resolve) => (socket.onclose = resolve));
  const early = closed.then(({ code, reason }) => {
    throw new Error("closed early: " + code + " " + reason);
  });
  early.catch(() => {});
  const recv = () => Promise.race([early, new Promise((resolve) => {
    received.length ? resolve(received.shift()) : waiting.push(resolve);
  })]);
  const show = (data) => typeof data === "string"
    ? JSON.stringify(data.slice(0, 200))
    : new Uint8Array(data).length + " bytes";
  const check = (seen, expected) => {
    const parts = [seen, expected].map((data) =>
      typeof data === "string" ? data : new Uint8Array(data));
    const [a, b] = parts;
    let at = 0;
    while (at < a.length && a[at] === b[at]) at++;
    if (typeof a !== typeof b || a.length !== b.length || at < a.length) {
      throw new Error(show(seen) + " instead of " + show(expected) + " from " + at
        + (typeof a === "string" ? "" : " " + a.slice(at, at + 50) + " / " + b.slice(at, at + 50)));
    }
  };
  await Promise.race([early, new Promise((resolve) => (socket.onopen = resolve))]);
  check(socket.protocol, "chat");
  const bytes = Uint8Array.from({ length: 1 << 20 }, (_, n) => (n * 7919) >> 3);
  for (const message of ["", "text \u00fc", new Uint8Array(0), bytes.slice(0, 256),
                         "x".repeat(1 << 20), bytes]) {
    socket.send(message);
    check(await recv(), message);
  }
  socket.send("fragments");
  check(await recv(), "one two three");
  socket.send("ping");
  check(await recv(), "pong came");
  socket.send("burst");
  for (let number = 0; number < 1000; number++) check(await recv(), String(number));
  if (end === "theirs") {
    socket.send("close");
    const { code, reason } = await closed;
    check(code + " " + reason, "4001 enough \u00fc");
  } else if (end === "ours") {
    socket.close(4002, "done \u00fc");
    check(String((await closed).code), "4002");
  }
  return "done";
}
"#;

/// `URL CA DEFLATE END [PROXY]`.
const NODE_CLIENT: &str = r#"
const [url, ca, deflate, end, proxy] = process.argv.slice(1);
const more = { ca: require("fs").readFileSync(ca), perMessageDeflate: deflate === "deflate" };
if (proxy) more.agent = new (require("https-proxy-agent").HttpsProxyAgent)(proxy);
talk(require("ws"), url, end, more).then(
  (said) => process.stdout.write(said + "\n", () => process.exit(0)),
  (error) => { console.error(error); process.exit(1); },
);
"#;

/// A page whose script tells how it went. Its query may name another server for the socket.
const PAGE: &str = r#"<!doctype html><title>WebSocket</title><script src=/talk.js></script><script>
const tell = (said) => fetch("/told", { method: "POST", body: String(said) });
const at = location.search.slice(1) || location.origin.replace("http", "ws") + "/socket";
talk(WebSocket, at, "ours").then(() => talk(WebSocket, at, "theirs")).then(tell, tell);
</script>"#;

/// A page whose script says little, and often: each message waits for the answer to the one
/// before, as in a game or a chat.
const CHAT: &str = r#"<!doctype html><title>chat</title><script>
const tell = (said) => fetch("/told", { method: "POST", body: String(said) });
const socket = new WebSocket(location.origin.replace("http", "ws") + "/socket", ["chat"]);
let turns = 0;
socket.onopen = () => socket.send("turn 0");
socket.onmessage = ({ data }) => {
  if (data !== "turn " + turns) tell(data);
  else if (++turns < 3000) socket.send("turn " + turns);
  else socket.close(4002, "done \u00fc");
};
socket.onclose = ({ code }) => tell(turns + " turns, " + code);
</script>"#;

/// A server for HTTP/1.1, and the URL of it as the proxy has it.
pub fn python_server() -> Option<(PathBuf, Beside, String)> {
    let python = crate::program::python("websockets")?;
    let server = Run::new(&python).args(["-c", PYTHON_SERVER]).start();
    let url = format!("http://127.0.0.1:{}", server.line());
    Some((python, server, url))
}

/// A server for HTTP/2.
fn node_server(node: &Path, modules: &Path) -> (Beside, String) {
    let server = Run::new(node).args(["-e", NODE_SERVER]).env("NODE_PATH", modules).start();
    let url = format!("h2c://127.0.0.1:{}", server.line());
    (server, url)
}

/// The two URLs of the socket.
fn sockets(front: &Front) -> [String; 2] {
    [front.http("/socket"), front.https("/socket")].map(|url| url.replacen("http", "ws", 1))
}

/// Each of these ends in another way, and the server sees how.
const ENDS: [(&str, &str); 2] =
    [("ours", "closed 4002 done \u{fc}"), ("theirs", "closed 4001 enough \u{fc}")];

#[track_caller]
pub fn python_talks(python: &Path, server: &Beside, front: &Front) {
    for url in sockets(front) {
        for compression in ["none", "deflate"] {
            for (end, seen) in ENDS.into_iter().chain([("vanish", "closed 1006 ")]) {
                let said = Run::new(python)
                    .args(["-c", PYTHON_CLIENT, &url])
                    .arg(&front.ca)
                    .args([compression, end])
                    .finish();
                assert_eq!(said.out, "done\n", "{url} {compression} {end}: {}", said.text());
                server.expect(seen);
            }
        }
    }
}

#[track_caller]
fn node_talks(node: &Path, modules: &Path, server: &Beside, front: &Front) {
    let script = format!("{SCRIPT}{NODE_CLIENT}");
    for url in sockets(front) {
        for deflate in ["plain", "deflate"] {
            for (end, seen) in ENDS {
                let said = Run::new(node)
                    .args(["-e", &script, "--", &url])
                    .arg(&front.ca)
                    .args([deflate, end])
                    .env("NODE_PATH", modules)
                    .finish();
                assert_eq!(said.out, "done\n", "{url} {deflate} {end}: {}", said.text());
                server.expect(seen);
            }
        }
    }
}

#[test]
fn from_python_to_a_server_of_http1() {
    let Some((python, server, url)) = python_server() else { return };
    let front = Front::new(&format!("to \"{url}\""));
    python_talks(&python, &server, &front);
    let lines = front.proxy.stop_and_read();
    assert_eq!(lines.len(), 12);
    for line in lines {
        assert_eq!(
            (&line["version"], &line["status"]),
            (&"HTTP/1.1".into(), &101.into()),
            "{line}"
        );
        assert!(line["bytes_in"].as_u64() > Some(1 << 20), "{line}");
    }
}

#[test]
fn from_python_to_a_server_of_http2() {
    let node = program_or_skip!("BIFRONS_TEST_NODE", "node", "nodejs");
    let Some(modules) = node_modules("ws") else { return };
    let Some(python) = crate::program::python("websockets") else { return };
    let (server, url) = node_server(&node, &modules);
    let front = Front::new(&format!("to \"{url}\""));
    python_talks(&python, &server, &front);
}

#[test]
fn from_node_to_a_server_of_http1() {
    let node = program_or_skip!("BIFRONS_TEST_NODE", "node", "nodejs");
    let Some(modules) = node_modules("ws") else { return };
    let Some((_, server, url)) = python_server() else { return };
    let front = Front::new(&format!("to \"{url}\""));
    node_talks(&node, &modules, &server, &front);
}

#[test]
fn from_node_to_a_server_of_http2() {
    let node = program_or_skip!("BIFRONS_TEST_NODE", "node", "nodejs");
    let Some(modules) = node_modules("ws") else { return };
    let (server, url) = node_server(&node, &modules);
    let front = Front::new(&format!("to \"{url}\""));
    node_talks(&node, &modules, &server, &front);
}

/// A page, and what it tells.
fn site() -> (Web, Receiver<String>) {
    let (sender, told) = channel();
    let sender = Mutex::new(sender);
    let web = Web::with("127.0.0.1:0", None, move |request: &Request, body| match request.path() {
        "/" => Response::ok("text/html", PAGE),
        "/chat" => Response::ok("text/html", CHAT),
        "/talk.js" => Response::ok("text/javascript", SCRIPT),
        "/told" => {
            let said = String::from_utf8_lossy(&body).into_owned();
            let _ = sender.lock().expect("lock").send(said);
            Response::ok("text/plain", "")
        }
        _ => Response::not_found(),
    });
    (web, told)
}

/// Chromium makes a WebSocket a stream of the connection that the page came over, if that is
/// HTTP/2 and the server lets it.
#[track_caller]
pub fn chromium_talks(chromium: &Path, server: &Beside, authority: &Authority, to: &str) {
    let (web, told) = site();
    let site = format!("route \"/socket\" {{ {to} }}\nroute \"/*\" {{ to \"{}\" }}", web.url(""));
    let front = Front::with(authority, &site, &site);
    for at in [front.https("/"), front.http("/")] {
        let browser = crate::browser::open(chromium, &["--no-proxy-server"], &at);
        let said = told.recv_timeout(LIMIT).expect("the page tells nothing");
        assert_eq!(said, "done", "{at}");
        for (_, seen) in ENDS {
            server.expect(seen);
        }
        drop(browser);
    }
    let lines = front.proxy.stop_and_read();
    let sockets: Vec<_> = lines.iter().filter(|line| line["target"] == "/socket").collect();
    let versions: Vec<_> = sockets.iter().map(|line| line["version"].as_str()).collect();
    let expected = ["HTTP/2.0", "HTTP/2.0", "HTTP/1.1", "HTTP/1.1"].map(Some);
    assert_eq!(versions, expected, "{lines:?}");
    let pages = lines.iter().filter(|line| line["site"] == sockets[0]["site"]);
    let mut ports: Vec<_> = pages.map(|line| line["client_port"].as_u64()).collect();
    ports.dedup();
    assert_eq!(ports.len(), 1, "page and sockets share a connection: {lines:?}");
}

#[test]
fn from_a_browser_to_a_server_of_http1() {
    let chromium =
        program_or_skip!("BIFRONS_TEST_CHROMIUM", "chromium", "chromium-browser", "google-chrome");
    let Some((_, server, url)) = python_server() else { return };
    chromium_talks(&chromium, &server, &Authority::new("test"), &format!("to \"{url}\""));
}

#[test]
fn from_a_browser_to_a_server_of_http2() {
    let chromium =
        program_or_skip!("BIFRONS_TEST_CHROMIUM", "chromium", "chromium-browser", "google-chrome");
    let node = program_or_skip!("BIFRONS_TEST_NODE", "node", "nodejs");
    let Some(modules) = node_modules("ws") else { return };
    let (server, url) = node_server(&node, &modules);
    chromium_talks(&chromium, &server, &Authority::new("test"), &format!("to \"{url}\""));
}

#[test]
fn small_messages_may_be_many() {
    let chromium =
        program_or_skip!("BIFRONS_TEST_CHROMIUM", "chromium", "chromium-browser", "google-chrome");
    let Some((_, server, url)) = python_server() else { return };
    let (web, told) = site();
    let front = Front::new(&format!(
        "route \"/socket\" {{ to \"{url}\" }}\nroute \"/*\" {{ to \"{}\" }}",
        web.url("")
    ));
    let _browser = crate::browser::open(&chromium, &["--no-proxy-server"], &front.https("/chat"));
    let said = told.recv_timeout(LIMIT).expect("the page tells nothing");
    assert_eq!(said, "3000 turns, 4002");
    server.expect(ENDS[0].1);
}

#[test]
fn from_node_through_a_tunnel() {
    let node = program_or_skip!("BIFRONS_TEST_NODE", "node", "nodejs");
    let Some(modules) = node_modules("ws") else { return };
    let Some((_, server, url)) = python_server() else { return };
    let proxy = crate::curl::forward("");
    let script = format!("{SCRIPT}{NODE_CLIENT}");
    let at = format!("http://{}", proxy.first());
    let target = url.replacen("http", "ws", 1);
    for (end, seen) in ENDS {
        let said = Run::new(&node)
            .args(["-e", &script, "--", &target, "/dev/null", "deflate", end, &at])
            .env("NODE_PATH", &modules)
            .finish();
        assert_eq!(said.out, "done\n", "{end}: {}", said.text());
        server.expect(seen);
    }
    let lines = proxy.stop_and_read();
    assert_eq!(lines.len(), 2);
    assert!(lines.iter().all(|line| line["method"] == "CONNECT"), "{lines:?}");
}

/// A socket in a tunnel in a stream of HTTP/2.
#[test]
fn from_a_browser_through_a_stream() {
    let chromium =
        program_or_skip!("BIFRONS_TEST_CHROMIUM", "chromium", "chromium-browser", "google-chrome");
    let Some((_, server, url)) = python_server() else { return };
    let (web, told) = site();
    let authority = Authority::new("test");
    let identity = authority.issue(&["127.0.0.1"]);
    let scratch = Scratch::new();
    scratch.write("cert.pem", &identity.cert);
    scratch.write("key.pem", &identity.key);
    let proxy = Proxy::start_in(
        scratch,
        "forward \"127.0.0.1:0\" {
            tls cert=\"cert.pem\" key=\"key.pem\"
            allow \"127.0.0.0/8\"
        }",
    );
    let through = format!("--proxy-server=https://{}", proxy.first());
    let target = url.replacen("http", "ws", 1);
    let page = web.url(&format!("/?{target}"));
    let browser =
        crate::browser::open(&chromium, &[&through, "--proxy-bypass-list=<-loopback>"], &page);
    let said = told.recv_timeout(LIMIT).expect("the page tells nothing");
    assert_eq!(said, "done");
    for (_, seen) in ENDS {
        server.expect(seen);
    }
    drop(browser);
    let lines = proxy.stop_and_read();
    let target = target.trim_start_matches("ws://");
    let tunnels: Vec<_> = lines.iter().filter(|line| line["target"] == target).collect();
    assert_eq!(tunnels.len(), 2, "{lines:?}");
    for line in tunnels {
        assert_eq!((&line["method"], &line["version"]), (&"CONNECT".into(), &"HTTP/2.0".into()));
    }
}
