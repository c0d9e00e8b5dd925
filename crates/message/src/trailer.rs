//! What may stand behind a body (RFC 9110 §6.5).

use crate::block::is_alias;
use crate::forwarding::OWNED;
use crate::{Block, FieldId};

/// Names without a number that tell how a message is to be framed, routed, understood or
/// cached, or who sent it.
const NOT_BEHIND: [&[u8]; 3] = [b"retry-after", b"warning", b"www-authenticate"];

/// Removes the fields that have no business in a trailer section (RFC 9110 §6.5.1): a recipient
/// that merges it into the head would take them for what the head had said. All names that we
/// act upon but `ETag` are among them, for what is done with those in a head is not done here.
pub fn strip(fields: &mut Block) {
    fields.remove_where(|id, name| {
        // `ETag` may be known only when the body has been made (RFC 9110 §8.8.3).
        !matches!(id, FieldId::Other | FieldId::ETag)
            || NOT_BEHIND.iter().any(|forbidden| name.eq_ignore_ascii_case(forbidden))
            // Those of them with a number are gone anyway, their aliases are not.
            || OWNED.iter().any(|owned| is_alias(name, owned))
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_decides_nothing_is_left() {
        let mut fields = Block::default();
        for name in [
            "Content-Length",
            "transfer-encoding",
            "Host",
            "X-Sum",
            "X_Forwarded_For",
            "X_Forwarded-Port",
            "Cookie",
            "Server-Timing",
            "Set-Cookie",
        ] {
            fields.push(name.as_bytes(), &[b"1"]);
        }
        strip(&mut fields);
        let left: Vec<_> = fields.iter().map(|field| fields.name(field)).collect();
        assert_eq!(left, [&b"X-Sum"[..], b"Server-Timing"]);
    }
}
