//! What the next hop is told about a client who says whatever it likes.

use std::net::IpAddr;

use config::{Forwarded, ForwardedMode};
use h1::HeadLimits;
use message::forwarding::{Client, add_via, apply, distrust, via_names};
use message::{Authority, Block, FieldId};

const LIMITS: HeadLimits = HeadLimits { bytes: 16 << 10, fields: 64 };
const MODES: [ForwardedMode; 4] =
    [ForwardedMode::Off, ForwardedMode::Set, ForwardedMode::Append, ForwardedMode::Replace];
const PSEUDONYM: &str = "fuzz";
const ADDRESSES: [&str; 2] = ["192.0.2.9", "2001:db8::9"];

/// The first byte says by which rules; then come `Host`, up to the first LF, and field lines.
pub fn fields(data: &[u8]) {
    let Some((&rules, data)) = data.split_first() else { return };
    let host_end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (host, lines) = data.split_at(host_end);
    let host = if Authority::parse(host).is_ok() { host } else { b"" };
    let mut head = b"GET / HTTP/1.1\r\n".to_vec();
    head.extend_from_slice(lines.get(1..).unwrap_or_default());
    head.extend_from_slice(b"\r\n\r\n");
    let Ok(head) = h1::parse_request(Block::over(head), LIMITS) else { return };
    let mut fields = head.fields;

    let [x_forwarded, forwarded] = [rules, rules >> 2].map(|bits| MODES[usize::from(bits & 3)]);
    let trusted = rules & 16 != 0;
    let address_text = ADDRESSES[usize::from(rules >> 5 & 1)];
    let address: IpAddr = address_text.parse().expect("address");
    let client = Client { address, address_text: address_text.as_bytes(), trusted, scheme: "https", host };
    let rule =
        Forwarded { x_forwarded, forwarded, via: Some(PSEUDONYM.to_owned()), preserve_host: true };
    let sent: Vec<Vec<u8>> = fields.values(FieldId::XForwardedFor).map(<[u8]>::to_vec).collect();
    distrust(&mut fields, trusted);
    apply(&mut fields, &rule, &client);
    add_via(&mut fields, "1.1", PSEUDONYM);

    assert!(via_names(&fields, PSEUDONYM), "we do not know ourselves again");
    no_alias(&fields);
    told(&fields, &client, &rule, &sent);
    let mut out = b"GET / HTTP/1.1\r\n".to_vec();
    fields.write_lines(&mut out, |_| false);
    out.extend_from_slice(b"\r\n");
    let limits = HeadLimits { bytes: 2 * LIMITS.bytes, fields: LIMITS.fields + 8 };
    h1::parse_request(Block::over(out), limits).expect("what was written is read");
}

/// A gateway that takes `_` for `-` finds nothing that we did not make.
fn no_alias(fields: &Block) {
    const OURS: [&[u8]; 3] = [b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"];
    for field in fields.iter() {
        let name = fields.name(field).to_ascii_lowercase();
        let dashed: Vec<u8> =
            name.iter().map(|byte| if *byte == b'_' { b'-' } else { *byte }).collect();
        assert!(name == dashed || !OURS.contains(&&dashed[..]), "{}", name.escape_ascii());
    }
}

/// What is told of the client is true, wherever the client is not trusted.
fn told(fields: &Block, client: &Client<'_>, rule: &Forwarded, sent: &[Vec<u8>]) {
    let values: Vec<&[u8]> = fields.values(FieldId::XForwardedFor).collect();
    let address = client.address_text;
    match rule.x_forwarded {
        ForwardedMode::Off => assert!(values.is_empty()),
        _ if !client.trusted => assert_eq!(values, [address]),
        ForwardedMode::Replace => assert_eq!(values, [address]),
        ForwardedMode::Append => {
            assert_eq!(values.len(), 1);
            let before = sent.iter().filter(|value| !value.is_empty()).map(|value| &value[..]);
            let joined: Vec<&[u8]> = before.chain([address]).collect();
            assert_eq!(values[0], joined.join(&b", "[..]));
        }
        ForwardedMode::Set if sent.is_empty() => assert_eq!(values, [address]),
        ForwardedMode::Set => assert_eq!(values, sent),
    }
    let forwarded: Vec<&[u8]> = fields.values(FieldId::Forwarded).collect();
    if rule.forwarded == ForwardedMode::Off {
        assert!(forwarded.is_empty());
    } else if !client.trusted || rule.forwarded == ForwardedMode::Replace {
        assert_eq!(forwarded.len(), 1);
        assert_eq!(message::list::elements(forwarded[0]).count(), 1);
        assert!(forwarded[0].starts_with(b"for="));
        assert!(forwarded[0].ends_with(b";proto=https"));
    }
}
