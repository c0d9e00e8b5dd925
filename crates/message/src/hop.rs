//! What belongs to one connection only and ends here (RFC 9110 §7.6.1).

use crate::{Block, FieldId, list};

/// What the fields of one connection said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Connection {
    /// `Connection: close`.
    pub close: bool,
    /// `Connection: keep-alive`.
    pub keep_alive: bool,
    /// `Connection: upgrade`, with an `Upgrade` field.
    pub upgrade: bool,
    /// `TE: trailers`.
    pub trailers: bool,
}

const HOP_BY_HOP: [FieldId; 7] = [
    FieldId::Connection,
    FieldId::KeepAlive,
    FieldId::ProxyConnection,
    FieldId::Te,
    FieldId::TransferEncoding,
    FieldId::Upgrade,
    FieldId::Http2Settings,
];

/// Reads and removes the fields of this connection: the hop-by-hop fields and all that
/// `Connection` names. Framing and `Host` cannot be removed by being named.
///
/// `Upgrade` is removed too; whoever passes an upgrade on puts it back.
pub fn strip(fields: &mut Block) -> Connection {
    let mut said = Connection::default();
    if !fields.has_any(&HOP_BY_HOP) {
        return said;
    }
    said.trailers = fields
        .values(FieldId::Te)
        .any(|te| list::elements(te).any(|coding| coding.eq_ignore_ascii_case(b"trailers")));
    let mut named: Vec<Vec<u8>> = Vec::new();
    for value in fields.values(FieldId::Connection) {
        for option in list::elements(value) {
            if option.eq_ignore_ascii_case(b"close") {
                said.close = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                said.keep_alive = true;
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                said.upgrade = fields.has(FieldId::Upgrade);
            } else if !matches!(FieldId::of(option), FieldId::Host | FieldId::ContentLength) {
                named.push(option.to_vec());
            }
        }
    }
    for id in HOP_BY_HOP {
        fields.remove(id);
    }
    for name in named {
        fields.remove_named(&name);
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_and_hop_by_hop_fields_go() {
        let mut fields = Block::default();
        for (name, value) in [
            ("Host", "h"),
            ("Connection", "close, X-Secret, host, Content-Length, upgrade"),
            ("X-Secret", "1"),
            ("x-secret", "2"),
            ("Keep-Alive", "timeout=5"),
            ("Proxy-Connection", "keep-alive"),
            ("TE", "gzip, trailers"),
            ("Upgrade", "websocket"),
            ("HTTP2-Settings", "x"),
            ("Content-Length", "1"),
            ("Accept", "*/*"),
        ] {
            fields.push(name.as_bytes(), &[value.as_bytes()]);
        }
        let said = strip(&mut fields);
        assert_eq!(
            said,
            Connection { close: true, keep_alive: false, upgrade: true, trailers: true }
        );
        let names: Vec<_> = fields.iter().map(|field| fields.name(field).to_vec()).collect();
        assert_eq!(names, [&b"Host"[..], b"Content-Length", b"Accept"]);
    }
}
