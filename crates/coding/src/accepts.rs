//! What a client takes, by `Accept-Encoding` (RFC 9110 §12.5.3).

use crate::{Coding, members, trim};

/// Thousandths of a weight (RFC 9110 §12.4.2): 0 to 1000.
type Weight = u16;

/// The codings that a client takes, each with its weight.
///
/// A client that has sent no such field takes, by the letter, any coding. Here it takes none: what
/// says nothing is mostly a program that can undo none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Accepts {
    codings: [Weight; 3],
    dcb: Weight,
    dcz: Weight,
    /// `None`: the client did not say it by name, so it takes it, and anything else rather.
    identity: Option<Weight>,
    identity_refused: bool,
}

impl Accepts {
    /// From the values of all `Accept-Encoding` fields. A member that cannot be read is as if it
    /// were not there; of a coding that is named twice the smaller weight counts.
    #[must_use]
    pub fn of<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut codings = [None; 3];
        let (mut dcb, mut dcz, mut identity, mut any) = (None, None, None, None);
        for member in members(values) {
            let Some((name, weight)) = weighted(member) else { continue };
            let place = if let Some(coding) = Coding::of_token(name) {
                &mut codings[coding.number()]
            } else if name.eq_ignore_ascii_case(b"dcb") {
                &mut dcb
            } else if name.eq_ignore_ascii_case(b"dcz") {
                &mut dcz
            } else if name.eq_ignore_ascii_case(b"identity") {
                &mut identity
            } else if name == b"*" {
                &mut any
            } else {
                continue;
            };
            *place = Some(place.map_or(weight, |before: Weight| before.min(weight)));
        }
        Self {
            codings: codings.map(|weight| weight.or(any).unwrap_or(0)),
            // `*` does not speak for these: without the right dictionary they cannot be undone
            // (RFC 9842 §6.1 has them listed).
            dcb: dcb.unwrap_or(0),
            dcz: dcz.unwrap_or(0),
            identity,
            identity_refused: identity.or(any) == Some(0),
        }
    }

    /// Whether it takes a body without any coding. Only `identity;q=0`, or `*;q=0` without a word
    /// about `identity`, forbids it.
    #[must_use]
    pub fn identity(&self) -> bool {
        !self.identity_refused
    }

    /// Whether it takes this coding.
    #[must_use]
    pub fn allows(&self, coding: Coding) -> bool {
        self.weight(coding) > 0
    }

    /// The coding of `offered` that the client likes best; where it likes several equally, the
    /// first of them. `None`: the body is to stay without a coding, because the client takes none
    /// of these or has said that it likes that better.
    #[must_use]
    pub fn best(&self, offered: &[Coding]) -> Option<Coding> {
        let mut best = None;
        let mut most = self.identity.unwrap_or(0);
        for &coding in offered {
            let weight = self.weight(coding);
            // Where a coding weighs as much as `identity`, it is worth its making.
            if weight > 0 && (weight > most || (best.is_none() && weight == most)) {
                (best, most) = (Some(coding), weight);
            }
        }
        best
    }

    /// Whether it takes `dcb`, brotli by a dictionary (RFC 9842 §4).
    #[must_use]
    pub fn allows_dcb(&self) -> bool {
        self.dcb > 0
    }

    /// Whether it takes `dcz`, zstd by a dictionary (RFC 9842 §5).
    #[must_use]
    pub fn allows_dcz(&self) -> bool {
        self.dcz > 0
    }

    fn weight(&self, coding: Coding) -> Weight {
        self.codings[coding.number()]
    }
}

/// Takes a member apart: `token [ OWS ";" OWS "q=" qvalue ]`. `None`: it is something else.
fn weighted(member: &[u8]) -> Option<(&[u8], Weight)> {
    let mut parts = member.splitn(2, |byte| *byte == b';');
    let name = trim(parts.next()?);
    if name.is_empty() {
        return None;
    }
    let Some(weight) = parts.next() else { return Some((name, 1000)) };
    let digits = match trim(weight) {
        [b'q' | b'Q', b'=', digits @ ..] => digits,
        _ => return None,
    };
    Some((name, qvalue(digits)?))
}

/// `( "0" [ "." 0*3DIGIT ] ) / ( "1" [ "." 0*3("0") ] )`, in thousandths.
fn qvalue(digits: &[u8]) -> Option<Weight> {
    let (whole, fraction) = match digits {
        [whole] => (whole, &[][..]),
        [whole, b'.', fraction @ ..] if fraction.len() <= 3 => (whole, fraction),
        _ => return None,
    };
    let mut weight = match whole {
        b'0' => 0,
        b'1' => 1000,
        _ => return None,
    };
    for (digit, worth) in fraction.iter().zip([100, 10, 1]) {
        if !digit.is_ascii_digit() {
            return None;
        }
        weight += Weight::from(digit - b'0') * worth;
    }
    (weight <= 1000).then_some(weight)
}

#[cfg(test)]
mod tests;
