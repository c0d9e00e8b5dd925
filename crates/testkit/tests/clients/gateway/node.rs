//! Node: its own HTTP client, fetch, undici's `ProxyAgent`, and https-proxy-agent.

use super::{CANADA, Gateway, NAME, PASSWORD, text};
use crate::program::{Run, node_modules};
use crate::program_or_skip;

/// `CA NAME PASSWORD PLAIN SECRET BARE…`: gets both URLs twice in each way through each proxy,
/// and once with a wrong password. Prints a line for each.
const CLIENT: &str = r#"
const [caFile, name, password, plain, secret, ...proxies] = process.argv.slice(1);
const [fs, http, https] = ["fs", "http", "https"].map(require);
const undici = require("undici");
const { HttpsProxyAgent } = require("https-proxy-agent");
const ca = fs.readFileSync(caFile);
const basic = (password) => "Basic " + Buffer.from(name + ":" + password).toString("base64");

function read(request) {
  return new Promise((resolve, reject) => {
    request.on("response", (answer) => {
      let text = "";
      answer.on("data", (part) => (text += part));
      answer.on("end", () => resolve(answer.statusCode + " " + text));
    });
    request.on("error", reject);
    request.end();
  });
}

const ways = {
  // A request in absolute form by hand.
  classic(proxy, password) {
    const { hostname, port, protocol } = new URL(proxy);
    const module = protocol === "https:" ? https : http;
    const agent = new module.Agent({ keepAlive: true, ca });
    return (url) => read(module.request({
      hostname, port, agent, path: url,
      headers: { host: new URL(url).host, "proxy-authorization": basic(password) },
    }));
  },
  dispatcher(proxy, password, fetch = undici.fetch) {
    const dispatcher = new undici.ProxyAgent({
      uri: proxy, token: basic(password), requestTls: { ca }, proxyTls: { ca },
    });
    return async (url) => {
      const answer = await fetch(url, { dispatcher });
      return answer.status + " " + (await answer.text());
    };
  },
  agent(proxy, password) {
    const at = proxy.replace("://", "://" + name + ":" + encodeURIComponent(password) + "@");
    const agent = new HttpsProxyAgent(at, { keepAlive: true, ca });
    return (url) => {
      const module = url.startsWith("https") ? https : http;
      return read(module.request(url, { agent, ca }));
    };
  },
};

async function main() {
  for (const [way, make] of Object.entries(ways)) {
    const urls = way === "classic" ? [plain] : [plain, secret];
    for (const proxy of proxies) {
      const get = make(proxy, password);
      for (const url of [...urls, ...urls]) console.log(way, await get(url));
    }
    const wrong = make(proxies[0], "wrong");
    // fetch keeps the status of a tunnel to itself.
    const said = await wrong(plain).catch((error) => "refused: " + (error.cause ?? error));
    console.log(way, said);
  }
}
main().then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });
"#;

#[test]
fn every_agent_says_what_it_wants() {
    let node = program_or_skip!("BIFRONS_TEST_NODE", "node", "nodejs");
    let Some(modules) = node_modules("https-proxy-agent") else { return };
    let gateway = Gateway::new();
    let said = Run::new(&node)
        .args(["-e", CLIENT, "--", text(&gateway.ca), NAME, PASSWORD])
        // An address it would verify as `localhost`.
        .args([gateway.plain.url("/from"), gateway.secret.url_of("origin.localhost", "/from")])
        .args([gateway.bare("http"), gateway.bare("https")])
        .env("NODE_PATH", &modules)
        .finish();
    assert_eq!(said.code, Some(0), "{}", said.text());
    let lines: Vec<_> = said.out.lines().filter_map(|line| line.split_once(' ')).collect();
    for (way, got, refused) in [("classic", 4, 1), ("dispatcher", 8, 1), ("agent", 8, 1)] {
        let of_it = || lines.iter().filter(|line| line.0 == way).map(|line| line.1);
        let right = of_it()
            .filter(|line| line.strip_prefix("200 ").is_some_and(|from| CANADA.contains(&from)));
        assert_eq!(right.count(), got, "{way}: {}", said.text());
        let no = of_it().filter(|line| line.starts_with("refused") || line.starts_with("407"));
        assert_eq!(no.count(), refused, "{way}: {}", said.text());
    }
    assert_eq!(gateway.check_origins(), 20);
    let log = gateway.log();
    assert_eq!(log.iter().filter(|line| line["status"] == 407).count(), 3, "{log:?}");
}
