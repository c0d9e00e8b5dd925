//! The rules about one file.

use std::path::Path;

use super::Complaint;
use super::source::Source;

/// A file longer than this says why.
const LONG: usize = 800;
/// Near the top: within so many lines.
const TOP: usize = 20;
/// Where `unsafe` may stand: `net` has the socket calls that no safe crate offers, and the
/// allocator has one call that none wraps.
const UNSAFE: &[&str] = &["crates/net/", "crates/bifrons/src/allocator.rs"];
/// The root above a file of [`UNSAFE`]: `forbid` could not be lifted there, `deny` can.
const DENYING_ROOTS: &[&str] = &["crates/bifrons/src/main.rs"];

/// Checks one file.
pub fn check(path: &Path, text: &str) -> Vec<Complaint> {
    let source = Source::new(text);
    let mut found: Vec<(usize, String)> = Vec::new();
    found.extend(length(text));
    found.extend(allows(&source.code));
    found.extend(unsafe_code(path, &source.code));
    found.extend(sleeps(path, &source, text));
    found.extend(unfinished(&source));
    found.sort();
    found.into_iter().map(|(line, text)| Complaint { file: path.to_owned(), line, text }).collect()
}

fn length(text: &str) -> Option<(usize, String)> {
    let lines = text.lines().count();
    let reasoned = text.lines().take(TOP).any(|line| {
        line.trim_start().strip_prefix("// one-thing:").is_some_and(|why| !why.trim().is_empty())
    });
    (lines > LONG && !reasoned).then(|| {
        (
            1,
            format!(
                "{lines} lines: cut it by subject, or say near the top why it is one thing \
                 (`// one-thing: …`)"
            ),
        )
    })
}

/// `#[allow(…)]` and `#[expect(…)]` without `reason = "…"`.
fn allows(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for opening in ["[allow(", "[expect("] {
        for (at, _) in code.match_indices(opening) {
            let Some(end) = code[at..].find(']') else { continue };
            // The code view blanks literals, so the reason itself is not looked at.
            if !code[at..at + end].contains("reason") {
                found.push((line_of(code, at), "no reason: add `reason = \"…\"`".to_owned()));
            }
        }
    }
    found
}

fn unsafe_code(path: &Path, code: &str) -> Vec<(usize, String)> {
    let name = path.to_string_lossy();
    if UNSAFE.iter().any(|dir| name.starts_with(dir)) {
        return Vec::new();
    }
    let mut found: Vec<(usize, String)> = words(code, "unsafe")
        .map(|at| {
            let text = format!(
                "unsafe: it may stand in {} only; use a safe call, or move it there",
                UNSAFE.join(", ")
            );
            (line_of(code, at), text)
        })
        .collect();
    // The compiler then also sees what a macro hides from this search.
    let is_root = name.ends_with("/src/lib.rs") || name.ends_with("/src/main.rs");
    let level = if DENYING_ROOTS.contains(&&*name) { "deny" } else { "forbid" };
    let attribute = format!("#![{level}(unsafe_code)]");
    if is_root && !code.contains(&attribute) {
        found.push((1, format!("add `{attribute}`")));
    }
    found
}

/// A test that sleeps is slow when it passes and wrong when the machine is busy.
fn sleeps(path: &Path, source: &Source, text: &str) -> Vec<(usize, String)> {
    let name = path.to_string_lossy();
    let is_test = name.contains("/tests/")
        || name.ends_with("/tests.rs")
        || name.starts_with("crates/testkit/");
    let from = if is_test { Some(0) } else { unit_tests(&source.code) };
    let Some(from) = from else { return Vec::new() };
    words(&source.code, "sleep")
        .filter(|&at| at >= from && source.code[at..].starts_with("sleep("))
        .filter(|&at| !has_virtual_time(&source.code[..at]))
        .map(|at| line_of(&source.code, at))
        .filter(|&line| !has_remark(text, line, "// sleep:"))
        .map(|line| {
            let text = "a test sleeps: wait for the event itself, or say why there is none \
                        (`// sleep: …`)";
            (line, text.to_owned())
        })
        .collect()
}

/// Where the unit tests begin: they stand last in a file.
fn unit_tests(code: &str) -> Option<usize> {
    const ATTRIBUTE: &str = "#[cfg(test)]";
    code.match_indices(ATTRIBUTE).map(|(at, _)| at).find(|at| {
        let item = code[at + ATTRIBUTE.len()..].trim_start();
        // `mod tests;` is another file.
        item.starts_with("mod ") && item.find('{') < item.find(';')
    })
}

/// Whether the test that `code` breaks off in runs under tokio's paused clock.
fn has_virtual_time(code: &str) -> bool {
    let last = code.rfind("#[tokio::test").max(code.rfind("#[test]"));
    last.is_some_and(|at| code[at..].split(']').next().is_some_and(|s| s.contains("start_paused")))
}

/// Whether the line, or the one before it, bears a remark.
fn has_remark(text: &str, line: usize, remark: &str) -> bool {
    text.lines().skip(line.saturating_sub(2)).take(2).any(|line| line.contains(remark))
}

fn unfinished(source: &Source) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for word in ["todo", "unimplemented"] {
        found.extend(
            words(&source.code, word)
                .filter(|at| source.code[at + word.len()..].starts_with('!'))
                .map(|at| {
                    (line_of(&source.code, at), format!("{word}!: finish it or leave it out"))
                }),
        );
    }
    for word in ["TODO", "FIXME", "XXX"] {
        found.extend(words(&source.comments, word).map(|at| {
            let text = format!("{word}: do it, or open an issue and say here what does not work");
            (line_of(&source.comments, at), text)
        }));
    }
    found
}

/// Where `word` stands as a whole word.
fn words<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let part = |char: char| char.is_alphanumeric() || char == '_';
    text.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        !text[..at].chars().next_back().is_some_and(part)
            && !text[at + word.len()..].chars().next().is_some_and(part)
    })
}

/// The line of a byte, from 1.
fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        check(Path::new(path), text).into_iter().map(|complaint| complaint.line).collect()
    }

    #[test]
    fn long_files_say_why() {
        let long = "//! About.\n".to_owned() + &"fn f() {}\n".repeat(LONG);
        assert_eq!(lines("crates/x/src/y.rs", &long), [1]);
        let reasoned = "// one-thing: a table.\n".to_owned() + &long;
        assert_eq!(lines("crates/x/src/y.rs", &reasoned), [0; 0]);
        let empty = "// one-thing:\n".to_owned() + &long;
        assert_eq!(lines("crates/x/src/y.rs", &empty), [1]);
    }

    #[test]
    fn allow_has_a_reason() {
        let text = "#[allow(dead_code)]\nfn f() {}\n#[allow(\n  dead_code,\n  reason = \"x\"\n)]\n";
        assert_eq!(lines("crates/x/src/y.rs", text), [1]);
        assert_eq!(lines("crates/x/src/y.rs", "// #[allow(dead_code)]\n"), [0; 0]);
    }

    #[test]
    fn unsafe_stands_where_it_may() {
        let text = "fn f() {\n    unsafe { g() }\n}\n";
        assert_eq!(lines("crates/x/src/y.rs", text), [2]);
        assert_eq!(lines("crates/net/src/y.rs", text), [0; 0]);
        assert_eq!(lines("crates/x/src/y.rs", "// unsafe\nlet s = \"unsafe\";\n"), [0; 0]);
        assert_eq!(lines("crates/x/src/lib.rs", "//! About.\n"), [1]);
        assert_eq!(lines("crates/x/src/lib.rs", "#![forbid(unsafe_code)]\n"), [0; 0]);
        assert_eq!(lines("crates/x/src/lib.rs", "#![deny(unsafe_code)]\n"), [1]);
        assert_eq!(lines("crates/bifrons/src/allocator.rs", text), [0; 0]);
        assert_eq!(lines("crates/bifrons/src/run.rs", text), [2]);
        assert_eq!(lines("crates/bifrons/src/main.rs", "#![deny(unsafe_code)]\n"), [0; 0]);
        assert_eq!(lines("crates/bifrons/src/main.rs", "//! About.\n"), [1]);
    }

    #[test]
    fn tests_do_not_sleep() {
        let text =
            "fn f() {\n    sleep(x);\n}\n#[cfg(test)]\nmod tests {\n    time::sleep(x);\n}\n";
        assert_eq!(lines("crates/x/src/y.rs", text), [6]);
        assert_eq!(lines("crates/x/tests/y.rs", text), [2, 6]);
        let reasoned = text.replace("    time", "    // sleep: nothing tells.\n    time");
        assert_eq!(lines("crates/x/src/y.rs", &reasoned), [0; 0]);
    }

    #[test]
    fn virtual_time_does_not_pass() {
        let paused = "#[tokio::test(start_paused = true)]\nasync fn f() {\n    sleep(x);\n}\n";
        assert_eq!(lines("crates/x/tests/y.rs", paused), [0; 0]);
        let next = format!("{paused}#[tokio::test]\nasync fn g() {{\n    sleep(x);\n}}\n");
        assert_eq!(lines("crates/x/tests/y.rs", &next), [7]);
        let elsewhere = "#[cfg(test)]\nmod tests;\nfn f() {\n    sleep(x);\n}\n";
        assert_eq!(lines("crates/x/src/y.rs", elsewhere), [0; 0]);
    }

    #[test]
    fn nothing_is_left_for_later() {
        let text = "// TODO: x\nfn f() {\n    todo!()\n}\n// a todo list\nlet s = \"FIXME\";\n";
        assert_eq!(lines("crates/x/src/y.rs", text), [1, 3]);
    }
}
