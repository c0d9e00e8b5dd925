//! Fields by which one client makes an origin answer something else than its URL asks for.

use message::Block;

use crate::Vary;

/// What is known of whoever sent a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// A proxy whose word is believed.
    Trusted,
    /// A client in front of a site: `X-Forwarded-Host` and its like are ours.
    Client,
    /// A client behind us: the origin gets what it says.
    Behind,
}

/// Whether a request says what may make its answer another one, without a trace of it there:
/// another path, another scheme or host, a part of a page. Fields that select the answer
/// (`vary`) or are in its key (`keyed`, names in lower case) are for themselves.
#[must_use]
pub fn alters(request: &Block, vary: &Vary, keyed: &[Box<str>], sender: Sender) -> bool {
    let lists: &[&[&str]] = match sender {
        Sender::Trusted => &[&OF_ORIGINS],
        Sender::Client => &[&OF_ORIGINS, &OF_PROXIES],
        Sender::Behind => &[&OF_ORIGINS, &OF_PROXIES, &OURS],
    };
    request.iter().any(|field| {
        let name = request.name(field);
        // Most begin with another letter.
        let may_be =
            name.first().is_some_and(|first| b"xfcrn".contains(&first.to_ascii_lowercase()));
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        may_be
            && lists.iter().copied().flatten().any(|known| is(known))
            && !vary.fields.iter().any(|(known, _)| is(known))
            && !keyed.iter().any(|known| is(known))
    })
}

/// What frameworks and servers go by.
const OF_ORIGINS: [&str; 15] = [
    "x-original-url",
    "x-rewrite-url",
    "x-original-uri",
    "x-http-host-override",
    "x-middleware-prefetch",
    "x-middleware-rewrite",
    "x-middleware-subrequest",
    "x-invoke-path",
    "x-invoke-status",
    "x-matched-path",
    "x-now-route-matches",
    "x-amz-website-redirect-location",
    "rsc",
    "next-router-prefetch",
    "next-action",
];

/// What proxies say of clients, and we do not.
const OF_PROXIES: [&str; 16] = [
    "x-forwarded-scheme",
    "x-forwarded-protocol",
    "x-forwarded-ssl",
    "x-forwarded-server",
    "x-forwarded-prefix",
    "x-forwarded-path",
    "x-forwarded-uri",
    "x-url-scheme",
    "x-scheme",
    "x-port",
    "x-host",
    "x-original-host",
    "x-script-name",
    "front-end-https",
    "cloudfront-forwarded-proto",
    "x-arr-ssl",
];

/// What we say of clients ourselves, in front of sites.
const OURS: [&str; 4] = ["x-forwarded-host", "x-forwarded-proto", "x-forwarded-port", "forwarded"];

#[cfg(test)]
mod tests {
    use super::*;

    fn says(name: &str, vary: &[&str], keyed: &[&str], sender: Sender) -> bool {
        let mut request = Block::default();
        request.push(b"Host", &[b"a.example"]);
        request.push(name.as_bytes(), &[b"1"]);
        let names: Vec<Box<str>> = vary.iter().map(|&name| name.into()).collect();
        let keyed: Vec<Box<str>> = keyed.iter().map(|&name| name.into()).collect();
        alters(&request, &Vary::of(&names, &request), &keyed, sender)
    }

    #[test]
    fn by_whom_a_field_is_sent_says_whether_it_counts() {
        for sender in [Sender::Trusted, Sender::Client, Sender::Behind] {
            assert!(says("X-Original-URL", &[], &[], sender));
            assert!(!says("X-Anything", &[], &[], sender));
            assert!(!says("Accept", &[], &[], sender));
        }
        assert!(!says("X-Forwarded-Scheme", &[], &[], Sender::Trusted));
        assert!(says("X-Forwarded-Scheme", &[], &[], Sender::Client));
        assert!(!says("X-Forwarded-Host", &[], &[], Sender::Client));
        assert!(says("X-Forwarded-Host", &[], &[], Sender::Behind));
    }

    #[test]
    fn what_selects_the_answer_is_for_itself() {
        assert!(says("RSC", &[], &[], Sender::Client));
        assert!(!says("RSC", &["rsc"], &[], Sender::Client));
        assert!(!says("X-Host", &[], &["x-host"], Sender::Client));
    }
}
