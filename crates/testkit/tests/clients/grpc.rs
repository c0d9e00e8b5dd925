//! gRPC end to end: a client and a server of Python's grpcio, and the proxy between them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use testkit::{Authority, Scratch, reserve};

use crate::front::Front;
use crate::program::{Beside, LIMIT, Run};

/// Prints its ports, without TLS and with it, and then what happens to calls that hang.
///
/// It needs no compiler for `.proto` files: messages are bytes, and handlers are generic.
const SERVER: &str = r#"
import sys, threading
from concurrent import futures
import grpc

BINARY = bytes(range(256))
serving = True

def reverse(message, context):
    asked = dict(context.invocation_metadata())
    context.send_initial_metadata([
        ("x-initial", asked.get("x-ask", "")),
        ("x-initial-bin", asked.get("x-ask-bin", b"")),
    ])
    context.set_trailing_metadata([("x-trailing", "end"), ("x-trailing-bin", BINARY)])
    return message[::-1]

def count(message, context):
    for number in range(int(message)):
        yield b"%d" % number

def join(messages, context):
    return b",".join(messages)

def echo(messages, context):
    for message in messages:
        yield message

def hang(message, context):
    over = threading.Event()
    def gone():
        print("gone", message.decode(), flush=True)
        over.set()
    # Not behind the wait: nobody goes on with a generator whose call is over already.
    if context.add_callback(gone):
        yield b"first"
        over.wait()
    else:
        gone()

def hang_listening(messages, context):
    for message in messages:
        yield from hang(message, context)

def fail(message, context):
    number, details = message.decode().split(" ", 1)
    context.set_trailing_metadata([("x-why", "because")])
    code = next(code for code in grpc.StatusCode if code.value[0] == int(number))
    context.abort(code, details)

def fail_late(message, context):
    yield b"one"
    fail(message, context)

def remaining(message, context):
    return str(context.time_remaining()).encode()

def who(message, context):
    return str(plain).encode()

def check(message, context):
    if message[2:] == b"unknown":
        context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
    return b"\x08\x01" if serving else b"\x08\x02"

def fall_ill(message, context):
    global serving
    serving = message == b"well"
    return b""

handlers = {
    "Reverse": grpc.unary_unary_rpc_method_handler(reverse),
    "Count": grpc.unary_stream_rpc_method_handler(count),
    "Join": grpc.stream_unary_rpc_method_handler(join),
    "Echo": grpc.stream_stream_rpc_method_handler(echo),
    "Hang": grpc.unary_stream_rpc_method_handler(hang),
    "HangListening": grpc.stream_stream_rpc_method_handler(hang_listening),
    "Fail": grpc.unary_unary_rpc_method_handler(fail),
    "FailLate": grpc.unary_stream_rpc_method_handler(fail_late),
    "Remaining": grpc.unary_unary_rpc_method_handler(remaining),
    "Who": grpc.unary_unary_rpc_method_handler(who),
    "Health": grpc.unary_unary_rpc_method_handler(fall_ill),
}
health = {"Check": grpc.unary_unary_rpc_method_handler(check)}
server = grpc.server(
    futures.ThreadPoolExecutor(32),
    options=[("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)],
)
server.add_generic_rpc_handlers([
    grpc.method_handlers_generic_handler("test.Test", handlers),
    grpc.method_handlers_generic_handler("grpc.health.v1.Health", health),
])
key, cert = (open(path, "rb").read() for path in sys.argv[1:3])
plain = server.add_insecure_port("127.0.0.1:0")
secure = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, cert)]))
server.start()
print(plain, secure, flush=True)
server.wait_for_termination()
"#;

/// `client.py CASE TARGET CA`: makes the calls of a case, and says `done`.
const CLIENT: &str = r#"
import os, sys, threading
import grpc

LONG = 60
BINARY = bytes(range(256))
LARGE = os.urandom(4 << 20)
case, target, ca = sys.argv[1:]
scheme, _, address = target.partition("://")
options = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.enable_http_proxy", int("grpc_proxy" in os.environ)),
]
if scheme == "http":
    channel = grpc.insecure_channel(address, options)
else:
    credentials = grpc.ssl_channel_credentials(open(ca, "rb").read())
    channel = grpc.secure_channel(address, credentials, options)

def one(method): return channel.unary_unary("/test.Test/" + method)
def down(method): return channel.unary_stream("/test.Test/" + method)
def up(method): return channel.stream_unary("/test.Test/" + method)
def both(method): return channel.stream_stream("/test.Test/" + method)

def equal(seen, expected):
    if seen != expected:
        raise AssertionError(f"{case}: {str(seen)[:500]} instead of {str(expected)[:500]}")

def failure(call):
    try:
        call()
    except grpc.RpcError as error:
        return error
    raise AssertionError(f"{case}: no error")

class Turns:
    """Requests of a stream, each of which is made when it is asked for."""
    def __init__(self):
        self.ready = threading.Semaphore(0)
        self.messages = []
    def say(self, message):
        self.messages.append(message)
        self.ready.release()
    def __iter__(self):
        return self
    def __next__(self):
        self.ready.acquire()
        message = self.messages.pop(0)
        if message is None:
            raise StopIteration
        return message

def unary():
    ask = [("x-ask", "hi"), ("x-ask-bin", BINARY)]
    answer, call = one("Reverse").with_call(b"abc", timeout=LONG, metadata=ask)
    equal(answer, b"cba")
    initial, trailing = dict(call.initial_metadata()), dict(call.trailing_metadata())
    equal((initial["x-initial"], initial["x-initial-bin"]), ("hi", BINARY))
    equal((trailing["x-trailing"], trailing["x-trailing-bin"]), ("end", BINARY))
    equal(call.code(), grpc.StatusCode.OK)
    equal(one("Reverse")(b"", timeout=LONG), b"")
    calls = [one("Reverse").future(b"<%d" % number, timeout=LONG) for number in range(300)]
    for number, call in enumerate(calls):
        equal(call.result(), (b"<%d" % number)[::-1])

def streams():
    equal(list(down("Count")(b"1000", timeout=LONG)), [b"%d" % number for number in range(1000)])
    equal(list(down("Count")(b"0", timeout=LONG)), [])
    equal(up("Join")((b"%d" % number for number in range(1000)), timeout=LONG),
          b",".join(b"%d" % number for number in range(1000)))
    equal(up("Join")(iter(()), timeout=LONG), b"")
    # Each side waits for the other: nothing may be held back.
    turns = Turns()
    answers = both("Echo")(turns, timeout=LONG)
    for number in range(100):
        turns.say(b"turn %d" % number)
        equal(next(answers), b"turn %d" % number)
    turns.say(None)
    equal(list(answers), [])
    equal(answers.code(), grpc.StatusCode.OK)

def large():
    equal(one("Reverse")(LARGE, timeout=LONG), LARGE[::-1])
    equal(list(both("Echo")((LARGE for _ in range(4)), timeout=LONG)), [LARGE] * 4)
    equal(up("Join")((LARGE for _ in range(4)), timeout=LONG), b",".join([LARGE] * 4))

def statuses():
    details = "no: \u00fc % %41 \"quoted\"\n and a line"
    for code in grpc.StatusCode:
        if code is grpc.StatusCode.OK:
            continue
        asked = f"{code.value[0]} {details}".encode()
        for error in [failure(lambda: one("Fail")(asked, timeout=LONG)),
                      failure(lambda: list(down("FailLate")(asked, timeout=LONG)))]:
            equal((error.code(), error.details()), (code, details))
            equal(dict(error.trailing_metadata())["x-why"], "because")
    equal(failure(lambda: one("Nothing")(b"", timeout=LONG)).code(),
          grpc.StatusCode.UNIMPLEMENTED)

def deadlines():
    left = float(one("Remaining")(b"", timeout=LONG))
    if not 0 < left <= LONG:
        raise AssertionError(f"the deadline did not come through: {left}")
    call = down("Hang")(b"deadline", timeout=5)
    equal(next(call), b"first")
    equal(failure(lambda: next(call)).code(), grpc.StatusCode.DEADLINE_EXCEEDED)

def cancelled():
    call = down("Hang")(b"cancelled", timeout=LONG)
    equal(next(call), b"first")
    call.cancel()
    equal(failure(lambda: next(call)).code(), grpc.StatusCode.CANCELLED)

def cancelled_sending():
    turns = Turns()
    call = both("HangListening")(turns, timeout=LONG)
    turns.say(b"sending")
    equal(next(call), b"first")
    call.cancel()
    equal(failure(lambda: next(call)).code(), grpc.StatusCode.CANCELLED)
    turns.say(None)

def vanished():
    equal(next(down("Hang")(b"vanished", timeout=LONG)), b"first")
    print("done", flush=True)
    os._exit(0)

def bereft():
    call = down("Hang")(b"bereft", timeout=LONG)
    equal(next(call), b"first")
    print("waits", flush=True)
    print(failure(lambda: next(call)).code().name, flush=True)

def refused():
    error = failure(lambda: one("Reverse")(b"abc", timeout=LONG))
    print(error.code().name, flush=True)

def health():
    check = channel.unary_unary("/grpc.health.v1.Health/Check")
    equal(check(b"", timeout=LONG), b"\x08\x01")
    error = failure(lambda: check(b"\x0a\x07unknown", timeout=LONG))
    equal((error.code(), error.details()), (grpc.StatusCode.NOT_FOUND, "unknown service"))

def who():
    print(*sorted({one("Who")(b"", timeout=LONG).decode() for _ in range(20)}), flush=True)

def ill():
    one("Health")(b"ill", timeout=LONG)

def well():
    one("Health")(b"well", timeout=LONG)

globals()[case]()
print("done", flush=True)
"#;

/// A server of gRPC.
pub struct Server {
    program: Beside,
    /// Where it listens without TLS, and with it.
    pub plain: SocketAddr,
    secure: SocketAddr,
    _files: Scratch,
}

impl Server {
    pub fn start(python: &Path, authority: &Authority) -> Self {
        let identity = authority.issue(&["127.0.0.1"]);
        let files = Scratch::new();
        let key = files.write("key.pem", &identity.key);
        let cert = files.write("cert.pem", &identity.cert);
        let program = Run::new(python).args(["-c", SERVER]).arg(key).arg(cert).start();
        let line = program.line();
        let (plain, secure) = line.split_once(' ').expect("two ports");
        let address = |port: &str| format!("127.0.0.1:{port}").parse().expect("a port");
        let (plain, secure) = (address(plain), address(secure));
        Self { program, plain, secure, _files: files }
    }
}

/// A server, and the proxy before it.
struct Chain {
    python: PathBuf,
    server: Beside,
    front: Front,
    _files: Scratch,
}

impl Chain {
    /// Without TLS the server is asked as `h2c://`, with it as `scheme://`. `None`, where there
    /// is no grpcio.
    fn start(scheme: &str) -> Option<Self> {
        let python = crate::program::python("grpc")?;
        let authority = Authority::new("test");
        let Server { program, plain, secure, _files } = Server::start(&python, &authority);
        let front = Front::with(
            &authority,
            &format!("to \"h2c://{plain}\""),
            &format!("to \"{scheme}://{secure}\" {{ tls ca=\"ca.pem\" }}"),
        );
        Some(Self { python, server: program, front, _files })
    }

    fn client(&self, case: &str, target: &str) -> Run {
        client(&self.python, case, target, &self.front.ca)
    }

    /// The calls of a case: without TLS on either side, and with it on both.
    #[track_caller]
    fn both(&self, case: &str) {
        for target in [self.front.http(""), self.front.https("")] {
            let said = self.client(case, &target).finish();
            assert_eq!(said.out, "done\n", "{case} {target}: {}", said.text());
        }
    }
}

pub fn client(python: &Path, case: &str, target: &str, ca: &Path) -> Run {
    Run::new(python).args(["-c", CLIENT, case, target]).arg(ca)
}

#[test]
fn calls_and_metadata() {
    let Some(chain) = Chain::start("h2") else { return };
    chain.both("unary");
    let lines = chain.front.proxy.stop_and_read();
    assert_eq!(lines.len(), 2 * 302);
    for line in lines {
        assert_eq!(line["version"], "HTTP/2.0");
        assert_eq!(line["target"], "/test.Test/Reverse");
        assert_eq!(line["status"], 200);
        assert!(line.get("failure").is_none(), "{line}");
    }
}

#[test]
fn streams_in_every_direction() {
    // A server whose version ALPN decides.
    let Some(chain) = Chain::start("https") else { return };
    chain.both("streams");
}

#[test]
fn messages_of_megabytes() {
    let Some(chain) = Chain::start("h2") else { return };
    chain.both("large");
}

#[test]
fn statuses_and_their_details() {
    let Some(chain) = Chain::start("h2") else { return };
    chain.both("statuses");
}

#[test]
fn the_server_learns_of_deadlines() {
    let Some(chain) = Chain::start("h2") else { return };
    chain.both("deadlines");
    chain.server.expect("gone deadline");
    chain.server.expect("gone deadline");
}

#[test]
fn the_server_learns_that_nobody_waits_any_more() {
    let Some(chain) = Chain::start("https") else { return };
    for (case, word) in
        [("cancelled", "cancelled"), ("cancelled_sending", "sending"), ("vanished", "vanished")]
    {
        chain.both(case);
        chain.server.expect(&format!("gone {word}"));
        chain.server.expect(&format!("gone {word}"));
    }
}

#[test]
fn a_server_that_dies_fails_its_calls() {
    for secure in [false, true] {
        let Some(mut chain) = Chain::start("h2") else { return };
        let target = if secure { chain.front.https("") } else { chain.front.http("") };
        let client = chain.client("bereft", &target).start();
        client.expect("waits");
        chain.server.kill();
        let code = client.line();
        // As a client would see it without us: what it may have done is not known.
        assert!(["UNAVAILABLE", "INTERNAL", "UNKNOWN"].contains(&&*code), "{code}");
        client.expect("done");
        // 502 means this to every client of gRPC, and that it may try again.
        let said = chain.client("refused", &target).finish().ok();
        assert_eq!(said, "UNAVAILABLE\ndone\n");
    }
}

#[test]
fn a_server_that_is_not_there() {
    let Some(python) = crate::program::python("grpc") else { return };
    let front = Front::new(&format!("to \"h2c://{}\"", reserve()));
    for target in [front.http(""), front.https("")] {
        let said = client(&python, "refused", &target, &front.ca).finish().ok();
        assert_eq!(said, "UNAVAILABLE\ndone\n");
    }
}

#[test]
fn health_is_a_call_like_others() {
    let Some(chain) = Chain::start("h2") else { return };
    chain.both("health");
}

#[test]
fn a_server_that_says_it_is_ill_is_spared() {
    let Some(python) = crate::program::python("grpc") else { return };
    let authority = Authority::new("test");
    let servers = [(); 2].map(|()| Server::start(&python, &authority));
    let block = "health \"grpc\" every=\"100ms\" fall=1 rise=1";
    let [one, other] = &servers;
    let front = Front::with(
        &authority,
        &format!("to \"h2c://{}\" \"h2c://{}\" {{ {block} }}", one.plain, other.plain),
        &format!(
            "to \"h2://{}\" \"h2://{}\" {{ tls ca=\"ca.pem\"; {block} }}",
            one.secure, other.secure
        ),
    );
    // Who answers twenty calls, once that is as it is expected.
    let expect = |who: &[&Server]| {
        let mut ports: Vec<_> = who.iter().map(|who| who.plain.port().to_string()).collect();
        ports.sort();
        let expected = format!("{}\ndone\n", ports.join(" "));
        for target in [front.http(""), front.https("")] {
            let started = std::time::Instant::now();
            loop {
                let said = client(&python, "who", &target, &front.ca).finish().ok();
                if said == expected {
                    break;
                }
                assert!(started.elapsed() < LIMIT, "{target}: {said} instead of {expected}");
            }
        }
    };
    let tell = |server: &Server, state: &str| {
        let direct = format!("http://{}", server.plain);
        assert_eq!(client(&python, state, &direct, &front.ca).finish().ok(), "done\n");
    };
    expect(&[one, other]);
    tell(one, "ill");
    expect(&[other]);
    tell(one, "well");
    expect(&[one, other]);
    tell(other, "ill");
    expect(&[one]);
}

/// Inside a tunnel of the forward face it is nobody's business.
#[test]
fn calls_through_a_tunnel() {
    let Some(python) = crate::program::python("grpc") else { return };
    let authority = Authority::new("test");
    let server = Server::start(&python, &authority);
    let files = Scratch::new();
    let ca = files.write("ca.pem", &authority.pem);
    let proxy = crate::curl::forward("");
    for target in [format!("http://{}", server.plain), format!("https://{}", server.secure)] {
        for case in ["unary", "streams"] {
            let run = client(&python, case, &target, &ca);
            let said = run.env("grpc_proxy", format!("http://{}", proxy.first())).finish();
            assert_eq!(said.out, "done\n", "{case} {target}: {}", said.text());
        }
    }
    let lines = proxy.stop_and_read();
    assert_eq!(lines.len(), 4);
    assert!(lines.iter().all(|line| line["method"] == "CONNECT"), "{lines:?}");
}
