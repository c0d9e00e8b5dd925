//! Chromium, which asks without credentials first, and again when it has been told to show some.

use super::{Gateway, NAME, PASSWORD};
use crate::browser::{SHOWN, site};
use crate::program::{Run, node_modules};
use crate::program_or_skip;

/// `CHROMIUM PROXY NAME PASSWORD URL…`: prints what each page shows.
const CLIENT: &str = r#"
const { chromium } = require("playwright-core");
const [executablePath, server, username, password, ...urls] = process.argv.slice(1);
async function main() {
  const browser = await chromium.launch({
    executablePath,
    args: ["--no-sandbox", "--disable-quic", "--disable-gpu", "--disable-dev-shm-usage",
      "--disable-background-networking", "--ignore-certificate-errors"],
    // It goes to loopback directly unless told otherwise.
    proxy: { server, username, password, bypass: "<-loopback>" },
  });
  const page = await browser.newPage({ ignoreHTTPSErrors: true });
  for (const url of urls) {
    const answer = await page.goto(url);
    if (answer.ok()) await page.waitForFunction(() => document.body.textContent.includes("posted"));
    console.log(answer.ok() ? await page.textContent("p") : answer.status());
  }
  await browser.close();
}
main().then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });
"#;

#[test]
fn it_says_who_it_is_when_it_is_asked() {
    let program =
        program_or_skip!("BIFRONS_TEST_CHROMIUM", "chromium", "chromium-browser", "google-chrome");
    let node = program_or_skip!("BIFRONS_TEST_NODE", "node", "nodejs");
    let Some(modules) = node_modules("playwright-core") else { return };
    for scheme in ["http", "https"] {
        let gateway = Gateway::with(site);
        let run = |password: &str, urls: &[String]| {
            Run::new(&node)
                .args(["-e", CLIENT, "--"])
                .arg(&program)
                .args([&gateway.bare(scheme), NAME, password])
                .args(urls)
                .env("NODE_PATH", &modules)
                .finish()
        };
        let pages = [gateway.plain.url("/"), gateway.secret.url("/")];
        let said = run(PASSWORD, &pages);
        assert_eq!(said.out, format!("{SHOWN}\n{SHOWN}\n"), "{scheme}: {}", said.text());
        assert!(gateway.check_origins() >= 28, "{scheme}");
        let log = gateway.log();
        let count = |status| log.iter().filter(|line| line["status"] == status).count();
        // Once it knows, it does not ask again without.
        assert!((1..10).contains(&count(407)), "{scheme}: {log:?}");
        assert!(count(200) > 14, "{scheme}: {log:?}");
    }
}
