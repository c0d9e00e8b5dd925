//! A listener with users that leaves by a pool, and what its clients ask.
#![allow(dead_code, reason = "each test file uses its part")]

use std::time::Instant;

use testkit::{Caller, Message, Peer, Proxy};

use super::{basic, connect, get, get_inside};

pub const USERS: &str = "users \"staff\" {\n    user \"alice\" password=\"secret\"\n    \
    user \"bob\" password=\"secret\"\n    user \"carol\" password=\"secret\"\n    \
    user \"dave\" password=\"secret\" { countries \"CA\" }\n}\n";

/// A listener with users that leaves by the pool `world`; `pools` are whole directives.
pub fn gateway(pools: &str, listener: &str) -> Proxy {
    Proxy::start(&text(pools, listener))
}

pub fn text(pools: &str, listener: &str) -> String {
    format!(
        "{USERS}{pools}\nforward \"127.0.0.1:0\" {{\n    auth users=\"staff\"\n    \
         allow \"127.0.0.0/8\" \"shop.example\"\n    exit \"world\"\n    {listener}\n}}\n"
    )
}

/// The pool `world` with these exits and rules.
pub fn world(inside: &str) -> String {
    format!("exits \"world\" {{\n{inside}\n}}\n")
}

pub const OURS: &str = "address \"127.0.0.2\" name=\"us-1\" country=\"US\"\n\
    address \"127.0.0.3\" name=\"ca-1\" country=\"CA\" city=\"toronto\"\n";

pub fn alice() -> String {
    basic("alice", "secret")
}

/// One request: the status, and where the origin saw it come from.
pub fn ask(client: &mut Peer, origin: &Caller, name: &str) -> (u16, String) {
    let answer = get(client, origin.address(), &basic(name, "secret"));
    (answer.status(), answer.body_text())
}

/// The same by a tunnel of its own.
pub fn ask_by_tunnel(proxy: &Proxy, origin: &Caller, name: &str) -> (u16, String) {
    let (answer, client) = tunnel(proxy, origin, name);
    let body = client.map(|mut client| get_inside(&mut client, origin.address()).body_text());
    (answer.status(), body.unwrap_or_default())
}

/// A tunnel, if there is one.
pub fn tunnel(proxy: &Proxy, origin: &Caller, name: &str) -> (Message, Option<Peer>) {
    let mut client = proxy.client();
    let answer = connect(&mut client, origin.address(), &basic(name, "secret"));
    let opened = answer.status() == 200;
    (answer, opened.then_some(client))
}

pub fn ok(from: &str) -> (u16, String) {
    (200, from.to_owned())
}

/// Repeats until it is so.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < testkit::DEADLINE, "{what}");
    }
}
