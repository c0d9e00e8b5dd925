//! The forward face over HTTP/2: curl with `--proxy-http2`, libcurl from Python, and Node, which
//! makes tunnels of streams by hand.

use std::path::{Path, PathBuf};

use testkit::{Authority, Proxy, Scratch};

use crate::curl::curl;
use crate::program::Run;
use crate::program_or_skip;
use crate::web::{Pattern, Web};

/// Large enough to fill every window on the way many times.
const SIZE: usize = 5_000_003;

/// A forward proxy with TLS, and servers to reach through it.
struct Setting {
    proxy: Proxy,
    ca: PathBuf,
    plain: Web,
    secret: Web,
    /// The first bytes of the pattern.
    body: PathBuf,
}

impl Setting {
    fn new() -> Self {
        let authority = Authority::new("test");
        let identity = authority.issue(&["localhost", "127.0.0.1"]);
        let scratch = Scratch::new();
        scratch.write("cert.pem", &identity.cert);
        scratch.write("key.pem", &identity.key);
        let ca = scratch.write("ca.pem", &authority.pem);
        let body = scratch.path().join("body");
        Pattern::new().write_file(&body, SIZE);
        let proxy = Proxy::start_in(
            scratch,
            "users \"staff\" { user \"alice\" password=\"p:@%/+\" }
            forward \"127.0.0.1:0\" {
                tls cert=\"cert.pem\" key=\"key.pem\"
                auth users=\"staff\"
                allow \"127.0.0.0/8\"
            }",
        );
        let secret = Web::start_tls(authority.issue(&["127.0.0.1"]).server(None));
        Self { proxy, ca, plain: Web::start(), secret, body }
    }

    fn at(&self) -> String {
        format!("https://localhost:{}", self.proxy.first().port())
    }

    /// The methods and statuses of all requests, once they are over: all over HTTP/2, and all by
    /// Alice that were let in.
    fn asked(&self) -> Vec<(String, u64)> {
        let lines = self.proxy.stop_and_read();
        for line in &lines {
            assert_eq!(line["version"], "HTTP/2.0", "{line}");
            assert!(line["status"] == 407 || line["user"] == "alice", "{line}");
        }
        let heads: Vec<_> = self.plain.heads().into_iter().chain(self.secret.heads()).collect();
        assert!(!heads.iter().any(|head| head.contains("Proxy-")), "{heads:?}");
        let status = |line: &serde_json::Value| line["status"].as_u64().expect("status");
        let method = |line: &serde_json::Value| line["method"].as_str().expect("method").to_owned();
        lines.iter().map(|line| (method(line), status(line))).collect()
    }
}

#[test]
fn curl_through_streams() {
    let program = program_or_skip!("BIFRONS_TEST_CURL", "curl");
    let help = Run::new(&program).args(["--help", "all"]).finish().ok();
    if !help.contains("--proxy-http2") {
        return println!("skipped: this curl has no --proxy-http2, which came with 8.1");
    }
    let setting = Setting::new();
    let run = |password: &str| {
        curl(&program)
            .args(["--proxy-http2", "--proxy", &setting.at()])
            .args(["--proxy-user", &format!("alice:{password}")])
            .args(["--proxy-cacert".as_ref(), setting.ca.as_os_str()])
            .args(["--cacert".as_ref(), setting.ca.as_os_str()])
    };
    for (origin, options) in
        [(&setting.plain, &[][..]), (&setting.plain, &["-p"]), (&setting.secret, &[])]
    {
        let run = || run("p:@%/+").args(options);
        let down = run().args(["-o", "got", &origin.url(&format!("/large?{SIZE}"))]).finish();
        assert_eq!(down.code, Some(0), "{}", down.text());
        Pattern::new().check(&down.file("got"), SIZE);
        let up = run().arg(origin.url("/upload")).arg("-T").arg(&setting.body).finish().ok();
        assert_eq!(up, format!("{SIZE} bytes, right: true"));
    }
    let refused = run("wrong").args(["-i", &setting.plain.url("/hello")]).finish().ok();
    assert!(refused.contains(" 407"), "{refused}");
    let refused = run("wrong").arg(setting.secret.url("/hello")).finish();
    assert_ne!(refused.code, Some(0), "{}", refused.text());
    let asked = setting.asked();
    let tunnels = |wanted| {
        asked.iter().filter(|(method, status)| method == "CONNECT" && *status == wanted).count()
    };
    assert_eq!((asked.len(), tunnels(200), tunnels(407)), (8, 4, 1), "{asked:?}");
}

/// `client.py PROXY CA BODY URL…`: gets `/large` of each and sends to its `/upload`.
const LIBCURL: &str = r#"
import io, os, sys
import pycurl

HTTPS2 = 3  # CURLPROXY_HTTPS2, which pycurl has no name for.
proxy, ca, body = sys.argv[1:4]

def run(url, upload=None, tunnel=False, password="p:@%/+"):
    out = io.BytesIO()
    curl = pycurl.Curl()
    for option, value in [
        (pycurl.PROXY, proxy), (pycurl.PROXYTYPE, HTTPS2), (pycurl.PROXYUSERNAME, "alice"),
        (pycurl.PROXYPASSWORD, password), (pycurl.PROXY_CAINFO, ca), (pycurl.CAINFO, ca),
        (pycurl.HTTPPROXYTUNNEL, tunnel), (pycurl.URL, url), (pycurl.TIMEOUT, 80),
        (pycurl.WRITEDATA, out),
    ]:
        curl.setopt(option, value)
    if upload:
        curl.setopt(pycurl.UPLOAD, True)
        curl.setopt(pycurl.INFILESIZE, os.path.getsize(upload))
        curl.setopt(pycurl.READDATA, open(upload, "rb"))
    try:
        curl.perform()
    except pycurl.error as error:
        # It keeps the status of a tunnel over HTTP/2 to itself.
        return error.args[0], None
    return curl.getinfo(pycurl.RESPONSE_CODE), out.getvalue()

expected = open(body, "rb").read()
for url in sys.argv[4:]:
    for tunnel in [False, True]:
        status, got = run(f"{url}/large?{len(expected)}", tunnel=tunnel)
        assert status == 200 and got == expected, (url, tunnel, status, len(got or b""))
        status, said = run(url + "/upload", body, tunnel=tunnel)
        right = b"%d bytes, right: true" % len(expected)
        assert status == 200 and said == right, (url, tunnel, status, said)
        status, said = run(url + "/hello", tunnel=tunnel, password="wrong")
        assert status == 407 or said is None, (url, tunnel, status, said)
print("done")
"#;

#[test]
fn libcurl_through_streams() {
    let Some(python) = crate::program::python("pycurl") else { return };
    let version = "import pycurl, sys; sys.exit(pycurl.version_info()[2] < 0x080100)";
    if Run::new(&python).args(["-c", version]).finish().code != Some(0) {
        return println!("skipped: this libcurl speaks no HTTP/2 with proxies, as 8.1 does");
    }
    let setting = Setting::new();
    let said = Run::new(&python)
        .args(["-c", LIBCURL, &setting.at()])
        .args([&setting.ca, &setting.body])
        .args([setting.plain.url(""), setting.secret.url("")])
        .finish();
    assert_eq!(said.out, "done\n", "{}", said.text());
    let asked = setting.asked();
    let plain = asked.iter().filter(|(method, _)| method != "CONNECT").count();
    let refused = asked.iter().filter(|(_, status)| *status == 407).count();
    assert_eq!((asked.len(), plain, refused), (12, 3, 4), "{asked:?}");
}

/// `PROXY CA BODY PLAIN SECRET`: all over one connection to the proxy.
const NODE: &str = r#"
const [proxy, ca, bodyFile, plain, secret] = process.argv.slice(1);
const [fs, http2, https, tls] = ["fs", "http2", "https", "tls"].map(require);
const trust = { ca: fs.readFileSync(ca) };
const body = fs.readFileSync(bodyFile);
const session = http2.connect(proxy, trust);
const pair = (password) => "Basic " + Buffer.from("alice:" + password).toString("base64");

function read(stream) {
  return new Promise((resolve, reject) => {
    const parts = [];
    stream.on("data", (part) => parts.push(part));
    stream.on("end", () => resolve(Buffer.concat(parts)));
    stream.on("error", reject);
  });
}

function begin(fields, password, options) {
  const stream = session.request({ ...fields, "proxy-authorization": pair(password) }, options);
  return new Promise((resolve, reject) => {
    stream.on("response", (head) => resolve({ stream, status: head[":status"] }));
    stream.on("error", reject);
  });
}

// A request in absolute form.
async function ask(path, sent, password = "p:@%/+") {
  const fields = {
    ":method": sent ? "PUT" : "GET", ":scheme": "http",
    ":authority": new URL(plain).host, ":path": path,
  };
  const stream = session.request({ ...fields, "proxy-authorization": pair(password) });
  const head = new Promise((resolve) => stream.on("response", resolve));
  stream.end(sent);
  const got = await read(stream);
  return { status: (await head)[":status"], got };
}

// A request inside TLS inside a stream.
async function tunnel(path, sent) {
  const { host, hostname } = new URL(secret);
  const fields = { ":method": "CONNECT", ":authority": host };
  const { stream, status } = await begin(fields, "p:@%/+");
  if (status !== 200) throw new Error("CONNECT: " + status);
  const inner = tls.connect({ socket: stream, host: hostname, ...trust });
  const request = https.request(secret + path, {
    method: sent ? "PUT" : "GET", createConnection: () => inner,
    headers: { connection: "close" },
  });
  const answer = new Promise((resolve, reject) => {
    request.on("response", resolve);
    request.on("error", reject);
  });
  request.end(sent);
  const got = await read(await answer);
  return { status: (await answer).statusCode, got };
}

async function main() {
  const large = "/large?" + body.length;
  const right = Buffer.from(body.length + " bytes, right: true");
  for (const way of [ask, tunnel]) {
    for (const [path, sent, expected] of [[large, undefined, body], ["/upload", body, right]]) {
      const { status, got } = await way(path, sent);
      if (status !== 200 || !got.equals(expected)) {
        throw new Error(way.name + path + ": " + status + " " + got.length);
      }
    }
    // Many at once, which are streams of the one connection.
    const many = Array.from({ length: 50 }, () => way("/hello"));
    for (const { status, got } of await Promise.all(many)) {
      if (status !== 200 || got != "hello from the origin\n") throw new Error(way.name + status);
    }
  }
  const refused = await ask("/hello", undefined, "wrong");
  const fields = { ":method": "CONNECT", ":authority": new URL(secret).host };
  const { stream, status } = await begin(fields, "wrong");
  stream.close();
  if (refused.status !== 407 || status !== 407) throw new Error(refused.status + " " + status);
  session.close();
  console.log("done");
}
main().then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });
"#;

#[test]
fn node_through_streams() {
    let program = program_or_skip!("BIFRONS_TEST_NODE", "node", "nodejs");
    let setting = Setting::new();
    let said = Run::new(&program)
        .args(["-e", NODE, "--", &setting.at()])
        .args([&setting.ca as &Path, &setting.body])
        .args([setting.plain.url(""), setting.secret.url("")])
        .finish();
    assert_eq!(said.out, "done\n", "{}", said.text());
    let asked = setting.asked();
    let tunnels = asked.iter().filter(|(method, _)| method == "CONNECT").count();
    assert_eq!((asked.len(), tunnels), (106, 53), "{asked:?}");
}
