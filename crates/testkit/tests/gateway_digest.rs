//! Digest (RFC 7616) on the gateway, by a client of our own.

mod gateway;

use gateway::staff::gateway;
use gateway::{basic, client_from, connect, get, get_inside, retry_after, told};
use md5::{Digest as _, Md5};
use sha2::Sha256;
use testkit::{Caller, Message};

/// A client of Digest (RFC 7616 §3.4), with what it was asked for.
struct DigestClient {
    algorithm: &'static str,
    realm: String,
    nonce: String,
}

impl DigestClient {
    /// Takes the challenge of this algorithm out of a 407.
    fn challenged(answer: &Message, algorithm: &'static str) -> Self {
        assert_eq!(answer.status(), 407, "{}", answer.text());
        let challenges = answer.all("Proxy-Authenticate");
        let of_us = |challenge: &&String| {
            challenge.starts_with("Digest ")
                && challenge.contains(&format!("algorithm={algorithm},"))
        };
        let challenge = challenges.iter().find(of_us).unwrap_or_else(|| panic!("{challenges:?}"));
        let quoted = |name: &str| {
            let (_, rest) = challenge.split_once(&format!("{name}=\"")).expect("parameter");
            rest.split('"').next().expect("end").to_owned()
        };
        assert!(challenge.contains("qop=\"auth\""), "{challenge}");
        Self { algorithm, realm: quoted("realm"), nonce: quoted("nonce") }
    }

    fn hash(&self, text: &str) -> String {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        match self.algorithm {
            "MD5" => hex(&Md5::digest(text)),
            _ => hex(&Sha256::digest(text)),
        }
    }

    /// A field line.
    fn show(&self, user: (&str, &str), method: &str, uri: &str, count: u32) -> String {
        let (name, password) = user;
        let secret = self.hash(&format!("{name}:{}:{password}", self.realm));
        let request = self.hash(&format!("{method}:{uri}"));
        let Self { nonce, realm, algorithm } = self;
        let response = self.hash(&format!("{secret}:{nonce}:{count:08x}:c0ffee:auth:{request}"));
        format!(
            "Proxy-Authorization: Digest username=\"{name}\", realm=\"{realm}\", \
             nonce=\"{nonce}\", uri=\"{uri}\", algorithm={algorithm}, qop=auth, nc={count:08x}, \
             cnonce=\"c0ffee\", response=\"{response}\"\r\n"
        )
    }
}

fn is_stale(answer: &Message) -> bool {
    assert_eq!(answer.status(), 407, "{}", answer.text());
    answer.all("Proxy-Authenticate").iter().any(|challenge| challenge.contains("stale=true"))
}

const ALICE: (&str, &str) = ("alice", "secret");

#[test]
fn digest_is_offered_before_basic_and_good_for_one_request() {
    let proxy = gateway("user \"alice\" password=\"secret\"", "digest=#true");
    let origin = Caller::start();
    let address = origin.address();
    let url = format!("http://{address}/");
    let mut client = proxy.client();
    let asked = get(&mut client, address, "");
    let schemes: Vec<_> = asked
        .all("Proxy-Authenticate")
        .iter()
        .map(|challenge| challenge.split(' ').next().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(schemes, ["Digest", "Digest", "Basic"]);
    for algorithm in ["SHA-256", "MD5"] {
        let digest = DigestClient::challenged(&get(&mut client, address, ""), algorithm);
        let first = digest.show(ALICE, "GET", &url, 1);
        assert_eq!(get(&mut client, address, &first).status(), 200, "{algorithm}");
        // Once more: somebody may have listened.
        assert!(is_stale(&get(&mut client, address, &first)), "{algorithm}");
        assert!(is_stale(&get(&mut proxy.client(), address, &first)), "{algorithm}");
        // The next count goes, over another connection, for a tunnel.
        let target = address.to_string();
        let shown = digest.show(ALICE, "CONNECT", &target, 2);
        let mut tunnel = proxy.client();
        assert_eq!(connect(&mut tunnel, &target, &shown).status(), 200, "{algorithm}");
        assert_eq!(get_inside(&mut tunnel, &target).status(), 200);
        // A response for one request is none for another.
        for (method, uri) in [("POST", &*url), ("GET", "http://127.0.0.1:1/")] {
            let shown = digest.show(ALICE, method, uri, 3);
            assert!(!is_stale(&get(&mut client, address, &shown)), "{method} {uri}");
        }
        // A wrong password is not told from a stale nonce by whoever does not know it.
        let wrong = digest.show(("alice", "wrong"), "GET", &url, 1);
        assert!(!is_stale(&get(&mut client, address, &wrong)), "{algorithm}");
        // A nonce that is not ours, with a password that is right.
        let foreign = DigestClient { nonce: "bm9uY2U".to_owned(), ..digest };
        let shown = foreign.show(ALICE, "GET", &url, 1);
        assert!(is_stale(&get(&mut client, address, &shown)), "{algorithm}");
        assert_eq!(get(&mut client, address, &basic("alice", "secret")).status(), 200);
    }
}

#[test]
fn wishes_stand_in_the_names_of_digest_too() {
    let proxy = gateway("user \"alice\" password=\"secret\"", "digest=#true");
    let origin = Caller::start();
    let address = origin.address();
    let url = format!("http://{address}/");
    let mut client = proxy.client();
    let digest = DigestClient::challenged(&get(&mut client, address, ""), "SHA-256");
    for count in 1..4 {
        let user = ("alice-country-ca-session-abc", "secret");
        let shown = digest.show(user, "GET", &url, count);
        let answer = get(&mut client, address, &shown);
        assert_eq!((answer.status(), answer.body_text()), (200, "127.0.0.3".to_owned()));
    }
    let shown = digest.show(("alice-country-de", "secret"), "GET", &url, 4);
    let answer = get(&mut client, address, &shown);
    assert_eq!((answer.status(), told(&answer).contains("country")), (502, true));
    // Wishes are told to users only.
    let shown = digest.show(("alice-contry-de", "wrong"), "GET", &url, 5);
    assert_eq!(get(&mut client, address, &shown).status(), 407);
}

#[test]
fn a_user_is_limited_as_one_however_it_shows_who_it_is() {
    let proxy = gateway(
        "user \"robot\" password=\"secret\" requests=\"3/h\" { api-key \"the-key-123456789\"; from \"127.0.0.9\" }",
        "digest=#true",
    );
    let origin = Caller::start();
    let address = origin.address();
    let mut client = client_from("127.0.0.9", proxy.first());
    for fields in [
        String::new(),
        "Proxy-Authorization: Bearer the-key-123456789\r\n".to_owned(),
        basic("robot-country-ca", "the-key-123456789"),
    ] {
        assert_eq!(get(&mut client, address, &fields).status(), 200, "{fields}");
    }
    let mut elsewhere = proxy.client();
    let digest = DigestClient::challenged(&get(&mut elsewhere, address, ""), "SHA-256");
    let url = format!("http://{address}/");
    let shown = digest.show(("robot", "secret"), "GET", &url, 1);
    let answer = get(&mut elsewhere, address, &shown);
    assert_eq!(answer.status(), 429, "{}", answer.text());
    assert!((1..=3600).contains(&retry_after(&answer)));
    assert!(told(&answer).contains("rate"), "{}", told(&answer));
}
