//! Node: its own HTTP client, fetch with undici's `ProxyAgent`, and the agents of npm.

use testkit::{Authority, Proxy, Scratch};

use crate::program::{Run, node_modules};
use crate::program_or_skip;
use crate::web::Web;

/// `HOW URL [PROXY]`: gets the URL twice and prints the second answer.
const CLIENT: &str = r#"
const [how, url, proxy] = process.argv.slice(1);
const http = require(url.startsWith("https") ? "https" : "http");

function classic(agent, method = "GET", body) {
  return new Promise((resolve, reject) => {
    const request = http.request(url, { agent, method }, (answer) => {
      let text = "";
      answer.on("data", (part) => (text += part));
      answer.on("end", () => resolve(answer.statusCode + "\n" + text));
    });
    request.on("error", reject);
    // Node sends a body without a length in chunks.
    if (body) for (const part of body) request.write(part);
    request.end();
  });
}

async function modern(dispatcher, fetch) {
  const answer = await fetch(url, { dispatcher });
  return answer.status + "\n" + (await answer.text());
}

async function main() {
  let get;
  if (how === "http") {
    const agent = new http.Agent({ keepAlive: true });
    get = () => classic(agent);
  } else if (how === "chunked") {
    get = () => classic(undefined, "POST", ["one", "two", "three"]);
  } else if (how === "fetch") {
    get = () => modern(undefined, fetch);
  } else if (how === "undici") {
    const undici = require("undici");
    const { username, password, origin } = new URL(proxy);
    const pair = decodeURIComponent(username) + ":" + decodeURIComponent(password);
    const token = "Basic " + Buffer.from(pair).toString("base64");
    const agent = new undici.ProxyAgent({
      uri: origin,
      token,
      requestTls: { ca: require("fs").readFileSync(process.env.NODE_EXTRA_CA_CERTS) },
    });
    get = () => modern(agent, undici.fetch);
  } else if (how === "https-proxy-agent") {
    const { HttpsProxyAgent } = require("https-proxy-agent");
    const agent = new HttpsProxyAgent(proxy, { keepAlive: true });
    get = () => classic(agent);
  }
  await get();
  process.stdout.write(await get(), () => process.exit(0));
}
main().catch((error) => {
  console.error(error);
  process.exit(1);
});
"#;

#[test]
fn through_the_reverse_face() {
    let node = program_or_skip!("BIFRONS_TEST_NODE", "node", "nodejs");
    let origin = Web::start();
    let proxy =
        Proxy::start(&format!("site \"http://127.0.0.1:0\" {{ to \"{}\" }}", origin.url("")));
    for (how, path) in [("http", "/seen"), ("fetch", "/seen"), ("chunked", "/upload")] {
        let url = format!("http://{}{path}", proxy.first());
        let said = Run::new(&node).args(["-e", CLIENT, "--", how, &url]).finish().ok();
        assert!(said.starts_with("200\n"), "{how}: {said}");
        match how {
            // Eleven bytes, and not those of the pattern.
            "chunked" => assert!(said.ends_with("\n11 bytes, right: false"), "{said}"),
            _ => assert!(said.contains("X-Forwarded-For: 127.0.0.1\r\n"), "{how}: {said}"),
        }
    }
}

#[test]
fn through_the_forward_face() {
    let node = program_or_skip!("BIFRONS_TEST_NODE", "node", "nodejs");
    let Some(modules) = node_modules("https-proxy-agent") else { return };
    let authority = Authority::new("test");
    let (plain, secret) =
        (Web::start(), Web::start_tls(authority.issue(&["origin.localhost"]).server(None)));
    let files = Scratch::new();
    let ca = files.write("ca.pem", &authority.pem);
    let proxy = Proxy::start(
        "users \"staff\" { user \"al-ice\" password=\"p:@%/+\" }
        forward \"127.0.0.1:0\" { auth users=\"staff\"; allow \"127.0.0.0/8\" \"::1\" }",
    );
    let at = format!("http://al-ice:p%3A%40%25%2F%2B@{}", proxy.first());
    for how in ["undici", "https-proxy-agent"] {
        for origin in [&plain, &secret] {
            let url = origin.url_of("origin.localhost", "/seen");
            let said = Run::new(&node)
                .args(["-e", CLIENT, "--", how, &url, &at])
                .env("NODE_PATH", &modules)
                .env("NODE_EXTRA_CA_CERTS", &ca)
                .finish()
                .ok();
            assert!(said.starts_with("200\nGET /seen HTTP/1.1\r\n"), "{how} {url}: {said}");
            assert!(!said.to_lowercase().contains("proxy-authorization"), "{how} {url}: {said}");
        }
    }
    let log = proxy.stop_and_read();
    assert!(!log.is_empty() && log.iter().all(|line| line["user"] == "al-ice"), "{log:?}");
}
