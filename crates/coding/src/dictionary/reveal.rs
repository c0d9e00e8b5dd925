//! Whose answers may be made by a dictionary (RFC 9842 §9.3.3).
//!
//! The length of such an answer tells something about its content. A page of another site that may
//! not read the answer must not learn that either.

/// What request and answer say of who will read the answer: the values of these fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Context<'a> {
    /// `Sec-Fetch-Site` of the request.
    pub site: Option<&'a [u8]>,
    /// `Sec-Fetch-Mode` of the request.
    pub mode: Option<&'a [u8]>,
    /// `Origin` of the request.
    pub origin: Option<&'a [u8]>,
    /// `Access-Control-Allow-Origin` of the answer.
    pub allow_origin: Option<&'a [u8]>,
}

/// Whether the answer may be made by a dictionary.
#[must_use]
pub fn may_reveal(context: &Context<'_>) -> bool {
    let Context { site, mode, origin, allow_origin } = *context;
    match (site, mode) {
        // No browser, or one that does not say it.
        (None, _) | (_, None) => true,
        (Some(b"same-origin"), _) => true,
        (_, Some(b"navigate" | b"same-origin")) => true,
        (_, Some(b"cors")) => match (origin, allow_origin) {
            (Some(_), Some(b"*")) => true,
            (Some(origin), Some(allowed)) => origin == allowed,
            _ => false,
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Empty: there is no such field.
    fn may(site: &str, mode: &str, origin: &str, allow_origin: &str) -> bool {
        let [site, mode, origin, allow_origin] = [site, mode, origin, allow_origin]
            .map(|value| (!value.is_empty()).then_some(value.as_bytes()));
        may_reveal(&Context { site, mode, origin, allow_origin })
    }

    #[test]
    fn who_may_read_it_may_have_it() {
        assert!(may("", "", "", ""));
        assert!(may("", "no-cors", "", ""));
        assert!(may("same-origin", "no-cors", "", ""));
        assert!(may("cross-site", "", "", ""));
        assert!(may("none", "navigate", "", ""));
        assert!(may("cross-site", "navigate", "", ""));
        assert!(may("cross-site", "cors", "https://a.test", "*"));
        assert!(may("same-site", "cors", "https://a.test", "https://a.test"));
    }

    #[test]
    fn who_may_not_read_it_learns_nothing() {
        assert!(!may("cross-site", "no-cors", "", ""));
        assert!(!may("same-site", "no-cors", "", "*"));
        assert!(!may("none", "websocket", "", ""));
        assert!(!may("cross-site", "cors", "https://a.test", ""));
        assert!(!may("cross-site", "cors", "", "*"));
        assert!(!may("cross-site", "cors", "https://a.test", "https://b.test"));
        assert!(!may("cross-site", "CORS", "https://a.test", "*"));
    }
}
