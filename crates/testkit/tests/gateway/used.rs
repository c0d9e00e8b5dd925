//! Users who may use so much, and origins that give more.
#![allow(dead_code, reason = "each test file uses its part")]

use testkit::{Message, Origin, Peer, Proxy, Served};

use super::{basic, get, get_text, retry_after, told};

/// A listener for these users, without exits unless `more` says so.
pub fn gateway(users: &str, more: &str) -> Proxy {
    Proxy::start(&text(users, more))
}

pub fn text(users: &str, more: &str) -> String {
    format!(
        "users \"staff\" {{\n    time-zone \"UTC\"\n    {users}\n}}\n\
         forward \"127.0.0.1:0\" {{\n    auth users=\"staff\"\n    allow \"127.0.0.0/8\"\n    {more}\n}}\n"
    )
}

pub fn alice() -> String {
    basic("alice", "secret")
}

/// An origin that answers every request with a body of so many bytes.
pub fn large(bytes: usize) -> Served {
    Origin::serve(move |_| {
        let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n").into_bytes();
        answer.resize(answer.len() + bytes, b'x');
        answer
    })
}

/// The same in the chunked coding.
pub fn large_chunked(bytes: usize) -> Served {
    Origin::serve(move |_| {
        let mut answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for _ in 0..bytes / 1000 {
            answer.extend(b"3e8\r\n");
            answer.resize(answer.len() + 1000, b'x');
            answer.extend(b"\r\n");
        }
        answer.extend(b"0\r\n\r\n");
        answer
    })
}

/// What a GET of this origin has in its heads, both together, when alice asks through a proxy.
pub fn heads_of_get(origin: &Served) -> usize {
    let proxy = gateway("user \"alice\" password=\"secret\"", "");
    let answer = get(&mut proxy.client(), origin.address(), &alice());
    assert_eq!(answer.status(), 200);
    get_text(origin.address(), &alice()).len() + answer.head.len()
}

/// Bytes of the letter `x` until the connection ends, in whatever way.
pub fn count_body(client: &mut Peer) -> usize {
    let rest = client.recv_until_gone();
    rest.iter().filter(|byte| **byte == b'x').count()
}

/// Nothing is left: whoever asks is told why, and until when.
pub fn expect_refused(answer: &Message, word: &str, longest: u64) {
    assert_eq!(answer.status(), 429, "{}", answer.text());
    assert!(told(answer).contains(word), "{}", told(answer));
    assert!((1..=longest).contains(&retry_after(answer)), "{}", answer.text());
}

pub const DAY: u64 = 24 * 3600;
