//! `match` of `Use-As-Dictionary`: a URL pattern of the same origin (RFC 9842 §2.1.1).
//!
//! Of the syntax of URL patterns this understands literals, `*` and `\`, in the path and in the
//! query. What has groups, names or modifiers is not understood, and such an answer is not kept as a
//! dictionary here (a client may still do so). Groups with regular expressions are forbidden.

use memchr::{memchr, memmem};

/// Longer patterns are not understood.
const MOST: usize = 1024;
/// Nor those with more asterisks.
const MOST_STARS: usize = 8;

/// A pattern of targets (`/path?query`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pattern {
    path: Glob,
    /// `None`: any.
    query: Option<Glob>,
}

impl Pattern {
    /// Reads a pattern. `origin` is the origin of the answer that has it, as `https://host[:port]`
    /// in lower case and without the port that the scheme has by itself; `base` its path.
    /// `None`: it is not valid, is for another origin, or is not understood.
    #[must_use]
    pub fn parse(text: &str, origin: &str, base: &str) -> Option<Self> {
        if text.len() > MOST || base.len() > MOST || !base.starts_with('/') {
            return None;
        }
        let text = match text.strip_prefix(origin) {
            Some(rest) if rest.starts_with('/') => rest,
            _ if is_absolute(text) => return None,
            _ => text,
        };
        let tokens = tokens(text)?;
        let (path, query) = match tokens.iter().position(|token| *token == Token::Query) {
            Some(at) => (&tokens[..at], Some(Glob::of(&tokens[at + 1..])?)),
            None => (&tokens[..], None),
        };
        // What is not said of a path is taken from the base, as in a relative reference.
        let inherited = match path.first() {
            None => base,
            Some(Token::Byte(b'/')) => "",
            Some(_) => &base[..=base.rfind('/')?],
        };
        let whole: Vec<Token> =
            inherited.bytes().map(Token::Byte).chain(path.iter().copied()).collect();
        Some(Self { path: Glob::of(&whole)?, query })
    }

    /// Whether it fits the target of a request, `/path[?query]`, as it was received.
    #[must_use]
    pub fn fits(&self, target: &[u8]) -> bool {
        let (path, query) = match memchr(b'?', target) {
            Some(at) => (&target[..at], &target[at + 1..]),
            None => (target, &b""[..]),
        };
        self.path.fits(path) && self.query.as_ref().is_none_or(|glob| glob.fits(query))
    }
}

/// Whether a pattern has a scheme or an authority.
fn is_absolute(text: &str) -> bool {
    let first = text.split('/').next().unwrap_or_default();
    first.contains(':') || text.starts_with("//")
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Byte(u8),
    Star,
    /// The `?` that begins the query.
    Query,
}

/// Takes a pattern apart; `None` for what is not understood.
fn tokens(text: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::with_capacity(text.len());
    let mut in_query = false;
    let mut bytes = text.bytes().peekable();
    while let Some(byte) = bytes.next() {
        let token = match byte {
            b'*' => Token::Star,
            b'\\' => Token::Byte(bytes.next()?),
            // Behind an asterisk it is a modifier.
            b'?' if tokens.last() == Some(&Token::Star) => return None,
            b'?' if !in_query => {
                in_query = true;
                Token::Query
            }
            // The name of a group.
            b':' if bytes
                .peek()
                .is_some_and(|next| next.is_ascii_alphabetic() || b"_$".contains(next)) =>
            {
                return None;
            }
            // Groups and modifiers, and a fragment, which no request has.
            b'{' | b'}' | b'(' | b')' | b'+' | b'#' => return None,
            0x21..=0x7e => Token::Byte(byte),
            _ => return None,
        };
        tokens.push(token);
    }
    Some(tokens)
}

/// Literals with anything, or nothing, between each two of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Glob {
    /// At least one.
    literals: Box<[Box<[u8]>]>,
}

impl Glob {
    fn of(tokens: &[Token]) -> Option<Self> {
        let literals: Box<[Box<[u8]>]> = tokens
            .split(|token| *token == Token::Star)
            .map(|literal| {
                // Only `Byte`s are left, and never a second `Query`.
                literal
                    .iter()
                    .filter_map(
                        |token| if let Token::Byte(byte) = token { Some(*byte) } else { None },
                    )
                    .collect()
            })
            .collect();
        (literals.len() <= MOST_STARS + 1).then_some(Self { literals })
    }

    fn fits(&self, text: &[u8]) -> bool {
        let [first, rest @ ..] = &*self.literals else { return false };
        let [between @ .., last] = rest else { return **first == *text };
        let Some(mut left) =
            text.strip_prefix(&**first).and_then(|left| left.strip_suffix(&**last))
        else {
            return false;
        };
        // The first place for each is the best one: it leaves most for the others.
        for literal in between {
            let Some(at) = memmem::find(left, literal) else { return false };
            left = &left[at + literal.len()..];
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ORIGIN: &str = "https://example.test";

    fn fits(pattern: &str, target: &str) -> bool {
        Pattern::parse(pattern, ORIGIN, "/app/v1/main.js").expect(pattern).fits(target.as_bytes())
    }

    #[test]
    fn literals_and_asterisks() {
        assert!(fits("/app/*/main.js", "/app/v2/main.js"));
        assert!(fits("/app/*/main.js", "/app/x/y/main.js"));
        assert!(!fits("/app/*/main.js", "/app/main.js"));
        assert!(!fits("/app/*/main.js", "/app/v2/main.jsx"));
        assert!(!fits("/app/*/main.js", "/App/v2/main.js"));
        assert!(fits("/product/*", "/product/"));
        assert!(fits("/*", "/"));
        assert!(fits("/a*b*c", "/abc") && fits("/a*b*c", "/a1b2bc") && !fits("/a*b*c", "/acb"));
        // Nothing is used twice.
        assert!(!fits("/ab*ba", "/aba"));
        assert!(fits(r"/a\*b", "/a*b") && !fits(r"/a\*b", "/axb"));
    }

    #[test]
    fn a_query_counts_where_it_is_said() {
        assert!(fits("/app.js", "/app.js") && fits("/app.js", "/app.js?v=3"));
        assert!(fits("/app.js?v=*", "/app.js?v=3"));
        assert!(!fits("/app.js?v=*", "/app.js") && !fits("/app.js?v=*", "/app.js?w=3"));
        assert!(fits("/app.js?", "/app.js") && !fits("/app.js?", "/app.js?v=3"));
        assert!(fits("/a?b=?", "/a?b=?"));
        // Escaped, it is a literal, which no path has.
        assert!(!fits(r"/a/*\?x", "/a/b?x"));
    }

    #[test]
    fn what_is_relative_is_so_to_the_answer() {
        assert!(fits("*.js", "/app/v1/other.js") && !fits("*.js", "/app/v2/other.js"));
        assert!(fits("?v=*", "/app/v1/main.js?v=2") && !fits("?v=*", "/app/v1/other.js?v=2"));
        assert!(fits("https://example.test/x*", "/xy"));
    }

    #[test]
    fn what_is_of_another_origin_or_not_understood_is_none() {
        for pattern in [
            "https://example.test:8443/x",
            "https://example.test.evil/x",
            "https://other.test/x",
            "http://example.test/x",
            "//other.test/x",
            "*://example.test/x",
            "/a/:name",
            "/a/{b}?",
            "/a/([0-9]+)",
            "/a+",
            "/a*?b",
            "/a#b",
            "/a b",
            "/ä",
            "/a\\",
            "/*a*a*a*a*a*a*a*a*",
        ] {
            assert_eq!(Pattern::parse(pattern, ORIGIN, "/"), None, "{pattern}");
        }
        assert_eq!(Pattern::parse(&format!("/{}", "a".repeat(1024)), ORIGIN, "/"), None);
        assert_eq!(Pattern::parse("/a", ORIGIN, ""), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read(pattern in "\\PC{0,40}", base in "/[a-z/]{0,9}", target in "/[ -~]{0,40}") {
            if let Some(pattern) = Pattern::parse(&pattern, ORIGIN, &base) {
                let _ = pattern.fits(target.as_bytes());
            }
        }

        /// What is put in place of the asterisks does not matter.
        #[test]
        fn asterisks_are_anything(parts in prop::collection::vec(("[a-c]{0,4}", "[a-c/]{0,5}"), 1..6)) {
            let (mut pattern, mut target) = (String::from("/"), String::from("/"));
            for (literal, any) in &parts {
                pattern.push_str(literal);
                pattern.push('*');
                target.push_str(literal);
                target.push_str(any);
            }
            prop_assert!(fits(&pattern, &target));
        }
    }
}
