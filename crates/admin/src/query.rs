//! Parts of a target, decoded.

use crate::routes::Parameter;

/// The parameters of a query, of which each has a name that is known.
#[derive(Debug)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a query as forms write it.
    ///
    /// # Errors
    /// What is wrong, in words: an unknown name, one that comes twice, one that is missing, or an
    /// escape that is none.
    pub(crate) fn parse(text: Option<&str>, known: &[Parameter]) -> Result<Self, String> {
        let mut all: Vec<(String, String)> = Vec::new();
        for part in text.unwrap_or_default().split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let both = decode(name, true).zip(decode(value, true));
            let (name, value) = both.ok_or("the query is not well-formed: `%` and two digits")?;
            if !known.iter().any(|parameter| parameter.name == name) {
                return Err(unknown(known));
            }
            if all.iter().any(|(there, _)| *there == name) {
                return Err(format!("`{name}` comes twice"));
            }
            all.push((name, value));
        }
        let is_there = |parameter: &&Parameter| all.iter().any(|(name, _)| name == parameter.name);
        match known.iter().filter(|parameter| parameter.required).find(|one| !is_there(one)) {
            Some(missing) => Err(format!("`{}` is missing in the query", missing.name)),
            None => Ok(Self(all)),
        }
    }

    /// Takes the value of a parameter out.
    pub(crate) fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(there, _)| there == name)?;
        Some(self.0.swap_remove(at).1)
    }
}

fn unknown(known: &[Parameter]) -> String {
    match known {
        [] => "no query is understood here".to_owned(),
        known => {
            let names: Vec<_> = known.iter().map(|parameter| parameter.name).collect();
            format!("the query has a parameter that is none of {}", names.join(", "))
        }
    }
}

/// Takes off percent-encoding (RFC 3986 §2.1); in forms a plus is a space.
pub(crate) fn decode(text: &str, form: bool) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, more @ ..] = rest {
        rest = more;
        match byte {
            b'+' if form => bytes.push(b' '),
            b'%' => {
                let [high, low, more @ ..] = rest else { return None };
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                bytes.push(u8::try_from(digit(high)? * 16 + digit(low)?).ok()?);
                rest = more;
            }
            byte => bytes.push(*byte),
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [Parameter; 2] = [
        Parameter { name: "user", required: true, meaning: "" },
        Parameter { name: "by", required: false, meaning: "" },
    ];

    #[test]
    fn queries_have_known_names() {
        let mut query = Query::parse(Some("by=day%2Cuser&user=a+b%2B&"), &KNOWN).unwrap();
        assert_eq!(query.take("user").as_deref(), Some("a b+"));
        assert_eq!(query.take("by").as_deref(), Some("day,user"));
        assert_eq!(query.take("by"), None);
        assert_eq!(Query::parse(Some("user"), &KNOWN).unwrap().take("user").as_deref(), Some(""));
        for (text, words) in [
            (None, "`user` is missing"),
            (Some("user=a&user=b"), "`user` comes twice"),
            (Some("user=a&y=b"), "none of user, by"),
            (Some("user=%4"), "well-formed"),
            (Some("user=%ff"), "well-formed"),
        ] {
            let problem = Query::parse(text, &KNOWN).unwrap_err();
            assert!(problem.contains(words), "{text:?}: {problem}");
        }
        assert!(Query::parse(Some("x=1"), &[]).is_err());
        assert!(Query::parse(None, &[]).is_ok());
    }
}
