//! Sites and the origins behind them.
#![allow(dead_code, reason = "each test file uses its part")]

use std::time::Instant;

use testkit::{DEADLINE, Message, Origin, Peer, Proxy, Served};

/// An origin that answers with its name, the request line and the host it was asked for.
pub fn named(name: &'static str) -> Served {
    Origin::serve(move |request| {
        let host = request.get("Host").unwrap_or_default();
        ok(&format!("{name} {} {host}", request.target()))
    })
}

pub fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into()
}

pub fn request(client: &mut Peer, method: &str, target: &str, host: &str) -> Message {
    client.send(format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    client.recv_response()
}

pub fn get(client: &mut Peer, target: &str) -> Message {
    request(client, "GET", target, "a")
}

/// The same on a connection of its own: what is refused may cost the connection.
pub fn get_anew(proxy: &Proxy, target: &str) -> Message {
    get(&mut proxy.client(), target)
}

/// A site with these routes; `{o}` is the URL of an origin called `o`, `{p}` of one called `p`.
pub fn routed(routes: &str) -> (Proxy, Served, Served) {
    let (o, p) = (named("o"), named("p"));
    let kdl = format!("site \"http://127.0.0.1:0\" {{\n{routes}\n}}");
    let proxy = Proxy::start(&kdl.replace("{o}", &o.url()).replace("{p}", &p.url()));
    (proxy, o, p)
}

/// Waits until this holds.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

/// Bytes that are not the same anywhere.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(step).collect()
}
