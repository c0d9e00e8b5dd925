//! What the next hop is told about the client: `X-Forwarded-*`, `Forwarded` (RFC 7239) and
//! `Via` (RFC 9110 §7.6.3).

use std::net::IpAddr;

use config::{Forwarded, ForwardedMode};

use crate::{Block, FieldId};

/// What is known about the client of a request.
#[derive(Debug, Clone, Copy)]
pub struct Client<'a> {
    /// Its address.
    pub address: IpAddr,
    /// The same as text.
    pub address_text: &'a [u8],
    /// Whether what it says about clients before it is believed.
    pub trusted: bool,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The `Host` it sent; empty where there was none.
    pub host: &'a [u8],
}

const X_FORWARDED: [FieldId; 5] = [
    FieldId::XForwardedFor,
    FieldId::XForwardedProto,
    FieldId::XForwardedHost,
    FieldId::XForwardedPort,
    FieldId::XRealIp,
];

/// Names that only a proxy makes; whatever a client calls by them is not believed.
pub(crate) const OWNED: [&[u8]; 7] = [
    b"forwarded",
    b"x-forwarded-for",
    b"x-forwarded-proto",
    b"x-forwarded-host",
    b"x-forwarded-port",
    b"x-real-ip",
    b"proxy-authorization",
];

/// Removes what an untrusted peer said about itself, and in every case the aliases of the
/// names that we make ourselves.
pub fn distrust(fields: &mut Block, trusted: bool) {
    fields.remove_aliases(&OWNED);
    if !trusted {
        for id in X_FORWARDED {
            fields.remove(id);
        }
        fields.remove(FieldId::Forwarded);
    }
    fields.remove(FieldId::Proxy);
}

/// Makes the forwarding fields of a request by rule. Call [`distrust`] first.
pub fn apply(fields: &mut Block, rule: &Forwarded, client: &Client<'_>) {
    apply_x_forwarded(fields, rule.x_forwarded, client);
    apply_forwarded(fields, rule.forwarded, client);
}

fn apply_x_forwarded(fields: &mut Block, mode: ForwardedMode, client: &Client<'_>) {
    if mode == ForwardedMode::Off || mode == ForwardedMode::Replace {
        for id in X_FORWARDED {
            fields.remove(id);
        }
    }
    if mode == ForwardedMode::Off {
        return;
    }
    if mode == ForwardedMode::Append {
        append(fields, FieldId::XForwardedFor, client.address_text);
    } else if !fields.has(FieldId::XForwardedFor) {
        fields.push_known(FieldId::XForwardedFor, &[client.address_text]);
    }
    // Scheme and host are those of the client itself: what a trusted peer said of them stays.
    if !fields.has(FieldId::XForwardedProto) {
        fields.push_known(FieldId::XForwardedProto, &[client.scheme.as_bytes()]);
    }
    if !fields.has(FieldId::XForwardedHost) && !client.host.is_empty() {
        fields.push_known(FieldId::XForwardedHost, &[client.host]);
    }
}

fn apply_forwarded(fields: &mut Block, mode: ForwardedMode, client: &Client<'_>) {
    match mode {
        ForwardedMode::Off => return fields.remove(FieldId::Forwarded),
        ForwardedMode::Replace => fields.remove(FieldId::Forwarded),
        ForwardedMode::Set if fields.has(FieldId::Forwarded) => return,
        ForwardedMode::Set | ForwardedMode::Append => {}
    }
    let mut element = Vec::with_capacity(64);
    match client.address {
        IpAddr::V4(_) => {
            element.extend_from_slice(b"for=");
            element.extend_from_slice(client.address_text);
        }
        IpAddr::V6(_) => {
            element.extend_from_slice(b"for=\"[");
            element.extend_from_slice(client.address_text);
            element.extend_from_slice(b"]\"");
        }
    }
    if !client.host.is_empty() {
        // Quoted always: a port's colon is no token character. `Host` holds no quote.
        element.extend_from_slice(b";host=\"");
        element.extend_from_slice(client.host);
        element.push(b'"');
    }
    element.extend_from_slice(b";proto=");
    element.extend_from_slice(client.scheme.as_bytes());
    append(fields, FieldId::Forwarded, &element);
}

/// Adds our element to a list field: all earlier ones and ours become one field at the end.
pub fn append(fields: &mut Block, id: FieldId, element: &[u8]) {
    if !fields.has(id) {
        return fields.push_known(id, &[element]);
    }
    let mut joined = Vec::with_capacity(64);
    for value in fields.values(id).filter(|value| !value.is_empty()) {
        joined.extend_from_slice(value);
        joined.extend_from_slice(b", ");
    }
    fields.remove(id);
    fields.push_known(id, &[&joined, element]);
}

/// Adds us to `Via`: `number` is the version in which the message came, `pseudonym` is ours.
pub fn add_via(fields: &mut Block, number: &str, pseudonym: &str) {
    let mut element = [0u8; 80];
    let text = [number.as_bytes(), b" ", pseudonym.as_bytes()];
    let length = text.iter().map(|part| part.len()).sum::<usize>();
    if length > element.len() {
        return append(fields, FieldId::Via, &text.concat());
    }
    let mut at = 0;
    for part in text {
        element[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    append(fields, FieldId::Via, &element[..length]);
}

/// Whether `Via` names this pseudonym: the message has been here before. What stands before our
/// element cannot hide it: `Via` has no quoted strings, so a quote in it opens nothing.
#[must_use]
pub fn via_names(fields: &Block, pseudonym: &str) -> bool {
    fields.values(FieldId::Via).any(|value| {
        value.split(|byte| *byte == b',').any(|element| {
            let mut words = element.trim_ascii().split(u8::is_ascii_whitespace);
            words.nth(1).is_some_and(|by| by.eq_ignore_ascii_case(pseudonym.as_bytes()))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(x_forwarded: ForwardedMode, forwarded: ForwardedMode) -> Forwarded {
        Forwarded { x_forwarded, forwarded, via: None, preserve_host: true }
    }

    fn made(received: &[(&str, &str)], trusted: bool, rule: &Forwarded, address: &str) -> String {
        let mut fields = Block::default();
        for (name, value) in received {
            fields.push(name.as_bytes(), &[value.as_bytes()]);
        }
        let client = Client {
            address: address.parse().unwrap(),
            address_text: address.as_bytes(),
            trusted,
            scheme: "https",
            host: b"h:1",
        };
        distrust(&mut fields, trusted);
        apply(&mut fields, rule, &client);
        let mut out = Vec::new();
        fields.write_lines(&mut out, |_| false);
        String::from_utf8(out).unwrap().replace("\r\n", "|")
    }

    #[test]
    fn an_untrusted_client_is_not_believed() {
        let sent = [
            ("X-Forwarded-For", "6.6.6.6"),
            ("X_Forwarded-For", "6.6.6.6"),
            ("x_real_ip", "6.6.6.6"),
            ("Forwarded", "for=6.6.6.6"),
            ("Proxy", "http://6.6.6.6"),
            ("X-Forwarded-Proto", "gopher"),
        ];
        let append = rule(ForwardedMode::Append, ForwardedMode::Append);
        assert_eq!(
            made(&sent, false, &append, "1.2.3.4"),
            "X-Forwarded-For: 1.2.3.4|X-Forwarded-Proto: https|X-Forwarded-Host: h:1|\
             Forwarded: for=1.2.3.4;host=\"h:1\";proto=https|"
        );
        assert_eq!(made(&sent, false, &rule(ForwardedMode::Off, ForwardedMode::Off), "::1"), "");
    }

    #[test]
    fn a_trusted_peer_is_believed_by_rule() {
        let sent = [("X-Forwarded-For", "1.1.1.1"), ("x-forwarded-for", "2.2.2.2")];
        let made = |mode| made(&sent, true, &rule(mode, ForwardedMode::Off), "3.3.3.3");
        let rest = "X-Forwarded-Proto: https|X-Forwarded-Host: h:1|";
        assert_eq!(
            made(ForwardedMode::Append),
            format!("X-Forwarded-For: 1.1.1.1, 2.2.2.2, 3.3.3.3|{rest}")
        );
        assert_eq!(
            made(ForwardedMode::Set),
            format!("X-Forwarded-For: 1.1.1.1|x-forwarded-for: 2.2.2.2|{rest}")
        );
        assert_eq!(made(ForwardedMode::Replace), format!("X-Forwarded-For: 3.3.3.3|{rest}"));
    }

    #[test]
    fn ipv6_is_quoted_in_forwarded() {
        let made = made(&[], false, &rule(ForwardedMode::Off, ForwardedMode::Set), "2001:db8::1");
        assert_eq!(made, "Forwarded: for=\"[2001:db8::1]\";host=\"h:1\";proto=https|");
    }

    #[test]
    fn via_is_appended_and_recognised() {
        let mut fields = Block::default();
        fields.push(b"Via", &[b"1.0 fred"]);
        add_via(&mut fields, "1.1", "bifrons");
        assert_eq!(fields.get(FieldId::Via), Some(&b"1.0 fred, 1.1 bifrons"[..]));
        assert!(via_names(&fields, "Bifrons"));
        assert!(!via_names(&fields, "bifron"));
        let mut fields = Block::default();
        fields.push(b"Via", &[b"1.1 \"a"]);
        add_via(&mut fields, "1.1", "bifrons");
        assert!(via_names(&fields, "bifrons"), "a client's quote must not hide us");
    }
}
