//! Rust source taken apart just enough: what is code, and what is comment.

/// A source file, twice: each view has the lines of the original, with everything that does
/// not belong to it blanked.
#[derive(Debug)]
pub struct Source {
    /// Code, without comments and without what stands in string and character literals.
    pub code: String,
    /// Comments only.
    pub comments: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    Code,
    LineComment,
    /// Block comments nest.
    BlockComment(usize),
    /// A string with escapes.
    Text,
    /// A raw string that ends in a quote and so many `#`.
    RawText(usize),
}

impl Source {
    /// Takes a file apart.
    pub fn new(text: &str) -> Self {
        let chars: Vec<char> = text.chars().collect();
        let mut source = Self { code: String::new(), comments: String::new() };
        let mut inside = Inside::Code;
        let mut at = 0;
        while at < chars.len() {
            let rest = &chars[at..];
            let (length, next) = step(inside, rest, at.checked_sub(1).map(|before| chars[before]));
            for &char in &rest[..length] {
                source.push(char, inside, next);
            }
            at += length;
            inside = next;
        }
        source
    }

    fn push(&mut self, char: char, before: Inside, after: Inside) {
        let comment = |inside| matches!(inside, Inside::LineComment | Inside::BlockComment(_));
        let (code, remark) = if char == '\n' {
            ('\n', '\n')
        } else if comment(before) || comment(after) {
            (' ', char)
        } else if before == Inside::Code && after == Inside::Code {
            (char, ' ')
        } else {
            (' ', ' ')
        };
        self.code.push(code);
        self.comments.push(remark);
    }
}

/// How many characters belong together at the start of `rest`, and what comes after them.
fn step(inside: Inside, rest: &[char], before: Option<char>) -> (usize, Inside) {
    let starts = |text: &str| text.chars().enumerate().all(|(i, c)| rest.get(i) == Some(&c));
    match inside {
        Inside::Code if starts("//") => (2, Inside::LineComment),
        Inside::Code if starts("/*") => (2, Inside::BlockComment(1)),
        Inside::Code if starts("\"") => (1, Inside::Text),
        Inside::Code if starts("'") => (char_literal(rest), Inside::Code),
        Inside::Code => {
            let part_of_a_name = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
            match raw_text(rest).filter(|_| !part_of_a_name) {
                Some((length, hashes)) => (length, Inside::RawText(hashes)),
                None => (1, Inside::Code),
            }
        }
        Inside::LineComment if starts("\n") => (1, Inside::Code),
        Inside::LineComment => (1, inside),
        Inside::BlockComment(depth) if starts("/*") => (2, Inside::BlockComment(depth + 1)),
        Inside::BlockComment(1) if starts("*/") => (2, Inside::Code),
        Inside::BlockComment(depth) if starts("*/") => (2, Inside::BlockComment(depth - 1)),
        Inside::BlockComment(_) => (1, inside),
        Inside::Text if starts("\\") => (2.min(rest.len()), inside),
        Inside::Text if starts("\"") => (1, Inside::Code),
        Inside::Text => (1, inside),
        Inside::RawText(hashes) => {
            let ends = starts("\"") && (1..=hashes).all(|i| rest.get(i) == Some(&'#'));
            if ends { (1 + hashes, Inside::Code) } else { (1, inside) }
        }
    }
}

/// `r"`, `br#"` and so on: the length of the opening and the number of `#`.
fn raw_text(rest: &[char]) -> Option<(usize, usize)> {
    let prefix = match rest {
        ['r', ..] => 1,
        ['b' | 'c', 'r', ..] => 2,
        _ => return None,
    };
    let hashes = rest[prefix..].iter().take_while(|&&char| char == '#').count();
    (rest.get(prefix + hashes) == Some(&'"')).then_some((prefix + hashes + 1, hashes))
}

/// The length of a character literal, or 1 for the quote of a lifetime. A literal stays in
/// the code: only a quote in it would matter, and it is skipped as part of the literal.
fn char_literal(rest: &[char]) -> usize {
    match rest {
        [_, '\\', _, tail @ ..] => {
            tail.iter().position(|&char| char == '\'').map_or(1, |end| end + 4)
        }
        [_, _, '\'', ..] => 3,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        Source::new(text).code.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn comments_and_literals_are_no_code() {
        assert_eq!(code("a // b\nc /* d /* e */ f */ g"), "a c g");
        assert_eq!(code(r#"f("x \" // y", 'z')"#), "f( , 'z')");
        assert_eq!(code("f(r#\"x \" y\"#, br\"\\\")"), "f( , )");
        assert_eq!(code("let bar\" = 1"), "let bar");
    }

    #[test]
    fn quotes_in_character_literals_open_nothing() {
        assert_eq!(code(r"('\'', '\u{22}', '/') // x"), r"('\'', '\u{22}', '/')");
        assert_eq!(code("['\"', 'a'] + b // c"), "['\"', 'a'] + b");
        assert_eq!(code("fn f<'a>(x: &'a str) // 'b"), "fn f<'a>(x: &'a str)");
    }

    #[test]
    fn both_views_keep_the_lines() {
        let text = "a // one\n/* two\nthree */ b\n\"four\nfive\"";
        let source = Source::new(text);
        assert_eq!(source.code.lines().count(), text.lines().count());
        let comments: Vec<&str> = source.comments.lines().map(str::trim).collect();
        assert_eq!(comments, ["// one", "/* two", "three */", "", ""]);
    }
}
