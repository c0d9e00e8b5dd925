//! The clients of Python: requests, urllib3, httpx and aiohttp.

use super::{CANADA, Gateway, NAME, PASSWORD, text};
use crate::program::Run;

/// `client.py MODULE CA NAME PASSWORD PLAIN SECRET BARE…`: gets both URLs twice through each
/// proxy, and once with a wrong password. Prints a line for each.
const CLIENT: &str = r#"
import asyncio, inspect, ssl, sys
from urllib.parse import quote
module, ca, name, password, *urls = sys.argv[1:]
urls, proxies = urls[:2], urls[2:]

def at(proxy, password):
    return proxy.replace("://", f"://{name}:{quote(password, safe='')}@")

def with_requests(proxy, password):
    import requests
    session = requests.Session()
    session.trust_env = False
    session.verify = ca
    session.proxies = {"http": at(proxy, password), "https": at(proxy, password)}
    def get(url):
        answer = session.get(url, timeout=60)
        return answer.status_code, answer.text
    return get

def with_urllib3(proxy, password):
    import urllib3
    if proxy.startswith("socks"):
        from urllib3.contrib.socks import SOCKSProxyManager
        pool = SOCKSProxyManager(proxy, username=name, password=password, ca_certs=ca)
    else:
        shown = urllib3.make_headers(proxy_basic_auth=f"{name}:{password}")
        pool = urllib3.ProxyManager(proxy, proxy_headers=shown, ca_certs=ca)
    def get(url):
        answer = pool.request("GET", url, timeout=60, retries=False)
        return answer.status, answer.data.decode()
    return get

def httpx_option(proxy):
    import httpx
    # The name that it had until 0.26.
    old = "proxy" not in inspect.signature(httpx.Client).parameters
    return {"proxies" if old else "proxy": proxy}

def with_httpx(proxy, password):
    import httpx
    context = ssl.create_default_context(cafile=ca)
    options = {"ssl_context": context} if proxy.startswith("https") else {}
    proxy = httpx.Proxy(at(proxy, password), **options)
    client = httpx.Client(verify=context, timeout=60, **httpx_option(proxy))
    def get(url):
        answer = client.get(url)
        return answer.status_code, answer.text
    return get

def with_httpx_async(proxy, password):
    import httpx
    context = ssl.create_default_context(cafile=ca)
    loop = asyncio.new_event_loop()
    way = httpx_option(at(proxy, password))
    client = httpx.AsyncClient(verify=context, timeout=60, **way)
    async def ask(url):
        # Two at once, which are two connections.
        first, second = await asyncio.gather(client.get(url), client.get(url))
        assert (first.status_code, first.text) == (second.status_code, second.text)
        return first.status_code, first.text
    return lambda url: loop.run_until_complete(ask(url))

def with_aiohttp(proxy, password):
    import aiohttp
    context = ssl.create_default_context(cafile=ca)
    auth = aiohttp.BasicAuth(name, password, "utf-8")
    loop = asyncio.new_event_loop()
    async def begin():
        return aiohttp.ClientSession()
    session = loop.run_until_complete(begin())
    async def ask(url):
        how = {"proxy": proxy, "proxy_auth": auth, "ssl": context}
        async with session.get(url, **how) as answer:
            return answer.status, await answer.text()
    async def ask_by_url(url):
        async with session.get(url, proxy=at(proxy, password), ssl=context) as answer:
            return answer.status, await answer.text()
    def get(url):
        first = loop.run_until_complete(ask(url))
        second = loop.run_until_complete(ask_by_url(url))
        return first if first == second else (first, second)
    return get

with_module = globals()["with_" + module]
for proxy in proxies:
    get = with_module(proxy, password)
    for url in urls * 2:
        status, text = get(url)
        print(status, text)
get = with_module(proxies[0], "wrong")
for url in urls:
    try:
        status, _ = get(url)
        print("refused" if status == 407 else status)
    except Exception as error:
        print("refused" if "407" in str(error) + repr(error) else repr(error))
"#;

/// All ways of a module, which asks so many times for each URL that it gets.
fn run(module: &str, imports: &str, schemes: &[&str], asks: usize) {
    let Some(python) = crate::program::python(imports) else { return };
    let gateway = Gateway::new();
    let said = Run::new(&python)
        .args(["-c", CLIENT, module, text(&gateway.ca), NAME, PASSWORD])
        .args([gateway.plain.url("/from"), gateway.secret.url("/from")])
        .args(schemes.iter().map(|scheme| gateway.bare(scheme)))
        .finish();
    assert_eq!(said.code, Some(0), "{}", said.text());
    let lines: Vec<_> = said.out.lines().collect();
    let (got, refused) = lines.split_at(4 * schemes.len());
    for line in got {
        let from = line.strip_prefix("200 ").unwrap_or_else(|| panic!("{}", said.text()));
        assert!(CANADA.contains(&from), "{}", said.text());
    }
    assert_eq!(refused, ["refused"; 2], "{}", said.text());
    assert_eq!(gateway.check_origins(), got.len() * asks);
    gateway.log();
}

#[test]
fn requests() {
    run("requests", "requests, socks", &["http", "https", "socks5", "socks5h"], 1);
}

#[test]
fn urllib3() {
    run("urllib3", "urllib3, socks", &["http", "https", "socks5", "socks5h"], 1);
}

#[test]
fn httpx() {
    run("httpx", "httpx, socksio", &["http", "https", "socks5"], 1);
}

#[test]
fn httpx_and_asyncio() {
    run("httpx_async", "httpx, socksio", &["http", "socks5"], 2);
}

#[test]
fn aiohttp() {
    run("aiohttp", "aiohttp", &["http"], 2);
}
