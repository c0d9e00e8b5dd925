//! The PAC file: who gets it, and what a script engine makes of it.

use std::path::PathBuf;
use std::process::Command;

use testkit::{Message, Origin, Proxy};

fn ask(proxy: &Proxy, request: &str) -> Message {
    let mut client = proxy.client();
    client.send(request);
    let head = request.starts_with("HEAD");
    if head { client.recv_head() } else { client.recv_response() }
}

fn get(proxy: &Proxy, path: &str, host: &str) -> Message {
    ask(proxy, &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
}

fn text(message: &Message) -> String {
    String::from_utf8(message.body.clone()).expect("UTF-8")
}

#[test]
fn whoever_asks_gets_it() {
    let proxy = Proxy::start(
        "users \"staff\" { user \"alice\" password=\"correct-horse\" }
        forward \"127.0.0.1:0\" { auth users=\"staff\"; pac { } }",
    );
    for path in ["/proxy.pac", "/wpad.dat", "/proxy.pac?x=1"] {
        let answer = get(&proxy, path, "Proxy.Example:3128");
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(
            answer.get("Content-Type").as_deref(),
            Some("application/x-ns-proxy-autoconfig")
        );
        assert_eq!(answer.get("Cache-Control").as_deref(), Some("max-age=300"));
        let script = text(&answer);
        assert!(script.contains("return \"PROXY proxy.example:3128\";"), "{script}");
        assert!(!script.contains("DIRECT"), "{script}");
    }
    let head = ask(&proxy, "HEAD /wpad.dat HTTP/1.1\r\nHost: wpad\r\n\r\n");
    let whole = get(&proxy, "/wpad.dat", "wpad");
    assert_eq!(head.status(), 200);
    assert_eq!(head.get("Content-Length"), Some(whole.body.len().to_string()));
    assert!(text(&whole).contains("PROXY wpad:80"));
    // A client of old that names no host cannot be told one.
    assert_eq!(ask(&proxy, "GET /wpad.dat HTTP/1.0\r\n\r\n").status(), 400);
    // A name that is none gets into no script.
    for host in ["a\";alert(1)//", "a b", "a;DIRECT", "a/b"] {
        assert_eq!(get(&proxy, "/proxy.pac", host).status(), 400, "{host}");
    }
    // All else is as it was: a user has to say who he is, and then it is no request for a proxy.
    for request in [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /proxy.pac/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /Proxy.pac HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET //proxy.pac HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /proxy.pac HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
    ] {
        assert_eq!(ask(&proxy, request).status(), 407, "{request}");
    }
    let open = Proxy::start("forward \"127.0.0.1:0\" { pac { } }");
    assert_eq!(get(&open, "/", "a").status(), 400);
    let none = Proxy::start("forward \"127.0.0.1:0\" { }");
    assert_eq!(get(&none, "/proxy.pac", "a").status(), 400);
}

#[test]
fn a_connection_goes_on_after_it() {
    let origin = Origin::serve(|_| b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi".to_vec());
    let proxy = Proxy::start("forward \"127.0.0.1:0\" { pac { }; allow \"127.0.0.0/8\" }");
    let mut client = proxy.client();
    client.send("GET /proxy.pac HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.recv_response().status(), 200);
    client.send(format!("GET {}/ HTTP/1.1\r\nHost: {}\r\n\r\n", origin.url(), origin.address()));
    assert_eq!(client.recv_response().body, b"hi");
    // A site that has a file of this name keeps it.
    client.send(format!(
        "GET {}/proxy.pac HTTP/1.1\r\nHost: {}\r\n\r\n",
        origin.url(),
        origin.address()
    ));
    assert_eq!(client.recv_response().body, b"hi");
}

/// Node, if it is there.
fn node() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("BIFRONS_TEST_NODE") {
        return Some(path.into());
    }
    let path = std::env::var_os("PATH")?;
    let mut candidates = std::env::split_paths(&path).map(|folder| folder.join("node"));
    candidates.find(|candidate| candidate.is_file())
}

/// The file in an engine of its own, with the helpers that browsers give it; prints what it says
/// of each host. `dnsResolve` and what needs it end the test.
const EVALUATE: &str = r#"
const vm = require("vm");
const [script, ...hosts] = process.argv.slice(1);
const fail = (name) => () => { throw new Error(name + " asks a name server"); };
const box = vm.createContext({
  dnsDomainIs: (host, domain) =>
    host.length >= domain.length && host.substring(host.length - domain.length) === domain,
  dnsResolve: fail("dnsResolve"), isInNet: fail("isInNet"), isResolvable: fail("isResolvable"),
  myIpAddress: fail("myIpAddress"),
});
vm.runInContext(script, box);
for (const host of hosts) {
  const url = "http://" + (host.includes(":") ? "[" + host + "]" : host) + "/";
  console.log(vm.runInContext(
    `FindProxyForURL(${JSON.stringify(url)}, ${JSON.stringify(host)})`, box));
}
"#;

#[test]
fn an_engine_reads_it_as_it_is_meant() {
    let Some(node) = node() else { return println!("skipped: node is not installed") };
    let proxy = Proxy::start(
        "forward \"127.0.0.1:0\" { pac {
            proxy \"proxy.example:3128\"
            secure #true
            fallback-direct #true
            direct \"*.internal.example\" \"plain.example\"
            direct \"10.0.0.0/8\" \"192.0.2.128/25\" \"198.51.100.7\" \"fd00::/8\" \"2001:db8::/63\"
        } }",
    );
    let script = text(&get(&proxy, "/proxy.pac", "a"));
    let direct = [
        "a.internal.example",
        "a.b.INTERNAL.example.",
        "plain.example",
        "www.plain.example",
        "10.0.0.1",
        "10.255.255.255",
        "192.0.2.128",
        "198.51.100.7",
        "fd12::1",
        "FDFF::",
        "2001:db8::",
        "2001:db8:0:1::9",
        "2001:0DB8:0000:0000:ffff:ffff:ffff:ffff",
        "::ffff:10.1.2.3",
        "::ffff:a01:203",
    ];
    let proxied = [
        "internal.example",
        "notinternal.example",
        "notplain.example",
        "plain.example.org",
        "10.example",
        "11.0.0.1",
        "192.0.2.127",
        "198.51.100.70",
        "10.0.0.256",
        "10.0.0",
        "fe00::1",
        "2001:db8:0:2::",
        "::10.0.0.1",
        "::",
        "1:2:3",
        "",
    ];
    let run = Command::new(node)
        .args(["-e", EVALUATE, "--", &script])
        .args(direct.iter().chain(&proxied))
        .output()
        .expect("node");
    let said = String::from_utf8_lossy(&run.stdout).into_owned();
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(
        lines.len(),
        direct.len() + proxied.len(),
        "{}",
        String::from_utf8_lossy(&run.stderr)
    );
    for (host, line) in direct.iter().chain(&proxied).zip(lines) {
        let wanted =
            if direct.contains(host) { "DIRECT" } else { "HTTPS proxy.example:3128; DIRECT" };
        assert_eq!(line, wanted, "{host}");
    }
}
