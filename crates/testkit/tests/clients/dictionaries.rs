//! Chromium and dictionaries (RFC 9842): the version of a script that it has makes the next one.

use testkit::Proxy;

use crate::browser::dom;
use crate::program_or_skip;
use crate::web::{Request, Response, Web};

/// A page that has a script, asks for later versions of it until one comes that was made by the
/// first, and runs another one. The browser puts dictionaries into its store beside all else.
const PAGE: &str = "<!doctype html><title>waiting</title><p id=seen>nothing</p>
<script src=/app.3f9ac100.js></script>
<script>
const small = (url) => {
  const [entry] = performance.getEntriesByName(new URL(url, location).href);
  return entry && entry.encodedBodySize > 0 && entry.encodedBodySize < 1000;
};
const look = async () => {
  for (let n = 10; n < 99; n++) {
    const url = '/app.77b0c4' + n + '.js';
    await fetch(url).then((answer) => answer.text());
    if (!small(url)) continue;
    const script = document.createElement('script');
    script.src = '/app.88b0c4' + n + '.js';
    script.onload = () => { if (small(script.src)) document.title = 'small'; };
    document.body.append(script);
    return;
  }
  document.title = 'never';
};
look();
</script>";

/// A script of some 20 KiB that hardly packs by itself.
fn script(name: &str) -> String {
    let mut text = format!("document.getElementById('seen').textContent = 'running {name}';\n");
    let mut number = 1_u32;
    for _ in 0..1500 {
        number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        text.push_str(&format!("// {number:08x}\n"));
    }
    text
}

fn site(request: &Request, _: Vec<u8>) -> Response {
    match request.path() {
        "/" => Response::ok("text/html", PAGE),
        path if path.starts_with("/app.") => {
            let mut answer = Response::ok("text/javascript", script(path));
            answer.fields.push(("Cache-Control".to_owned(), "max-age=3600".to_owned()));
            answer
        }
        _ => Response::not_found(),
    }
}

#[test]
fn the_next_version_of_a_script_comes_by_the_one_before() {
    let program =
        program_or_skip!("BIFRONS_TEST_CHROMIUM", "chromium", "chromium-browser", "google-chrome");
    // This machine is as good as TLS to it. Where it was told to overlook that nobody knows the
    // authority of a test, it uses no dictionaries.
    let origin = Web::with("127.0.0.1:0", None, site);
    let proxy = Proxy::start(&format!(
        "site \"http://127.0.0.1:0\" {{ cache; compress {{ dictionaries; }}; to \"{}\"; }}",
        origin.url("")
    ));
    let shown = dom(&program, &["--no-proxy-server"], &format!("http://{}/", proxy.first()));
    assert!(shown.contains("<title>small</title>"), "{shown}");
    assert!(shown.contains("running /app.88b0c4"), "{shown}");
    let heads = origin.heads();
    let offered = heads.iter().filter(|head| {
        let head = head.to_ascii_lowercase();
        head.contains("available-dictionary: :") && head.contains("dcz")
    });
    assert!(offered.count() >= 2, "{heads:?}");
}
