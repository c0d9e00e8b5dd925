//! No text makes the reader panic, every error points into its text, and a text is either a
//! configuration or has an error.

use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::*;

/// The texts of all golden cases.
fn corpus() -> Vec<String> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    ["errors", "valid"]
        .iter()
        .flat_map(|folder| fs::read_dir(tests.join(folder)).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "kdl"))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect()
}

/// One change of a text.
#[derive(Debug, Clone)]
enum Change {
    Delete(usize, usize),
    Insert(usize, &'static str),
    Repeat(usize, usize, usize),
    Splice(usize, usize, usize),
}

fn change() -> impl Strategy<Value = Change> {
    let at = || any::<prop::sample::Index>().prop_map(|index| index.index(4096));
    let token = prop::sample::select(vec![
        "\"",
        "{",
        "}",
        "\n",
        " ",
        "*",
        "/",
        "//",
        "/-",
        "/*",
        "\\",
        "=",
        "(",
        ")",
        "#true",
        "#\"",
        "é",
        "\u{0}",
        "\u{feff}",
        "-",
        "1",
        "99999999999999999999999999999999999999999",
        "0x",
        "\"\"",
        "..",
        "%2e",
        "\"\"\"",
        "to",
        "route",
        "upstream=",
        "site \"http://",
        "limits {",
        "limit ",
        "tunnel \"",
        "balance ",
        "exits ",
        "pool ",
        "exit=",
        "sticky",
        "regex=",
        "from ",
        "api-key ",
        "cache ",
        "key ",
        "compress ",
        "health ",
        "forward-auth ",
        "+srv://",
        "tcp://",
        "%\"",
        "/s\"",
        "[::1]",
        "@",
        ":",
    ]);
    prop_oneof![
        (at(), 0..40usize).prop_map(|(at, length)| Change::Delete(at, length)),
        (at(), token).prop_map(|(at, token)| Change::Insert(at, token)),
        (at(), 0..80usize, at()).prop_map(|(from, length, to)| Change::Repeat(from, length, to)),
        (at(), 0..80usize, at()).prop_map(|(from, length, to)| Change::Splice(from, length, to)),
    ]
}

fn apply(text: &mut Vec<char>, other: &[char], change: &Change) {
    let within = |at: usize, text: &[char]| at % (text.len() + 1);
    match *change {
        Change::Delete(at, length) => {
            let at = within(at, text);
            text.drain(at..(at + length).min(text.len()));
        }
        Change::Insert(at, token) => {
            let at = within(at, text);
            text.splice(at..at, token.chars());
        }
        Change::Repeat(from, length, to) => {
            let from = within(from, text);
            let piece = text[from..(from + length).min(text.len())].to_vec();
            let to = within(to, text);
            text.splice(to..to, piece);
        }
        Change::Splice(from, length, to) => {
            let from = within(from, other);
            let piece = other[from..(from + length).min(other.len())].to_vec();
            let to = within(to, text);
            text.splice(to..to, piece);
        }
    }
}

/// Checks a text, and that its errors can be shown.
fn holds(text: &str) -> Result<(), TestCaseError> {
    let Err(errors) = check(text, Path::new("/base")) else { return Ok(()) };
    prop_assert!(!errors.is_empty());
    for error in &errors {
        let spans = error.span.iter().chain(error.also.iter().map(|(span, _)| span));
        for span in spans {
            let end = span.offset() + span.len();
            prop_assert!(
                end <= text.len()
                    && text.is_char_boundary(span.offset())
                    && text.is_char_boundary(end),
                "{error:?}"
            );
        }
        prop_assert!(!error.message.is_empty() && !error.message.ends_with('.'), "{error:?}");
        prop_assert!(error.help.as_ref().is_some_and(|help| !help.is_empty()), "{error:?}");
    }
    let count = errors.len();
    let errors = Errors::new("text.kdl", text, errors);
    prop_assert!(errors.to_string().lines().count() >= count);
    prop_assert!(errors.fancy(false, 80).contains(&errors.summary()));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn any_text(text in "(\\PC|[\n\r\t \"{}/*\\\\#=();\\-]){0,200}") {
        holds(&text)?;
    }

    #[test]
    fn changed_configurations(
        (text, other) in (prop::sample::select(corpus()), prop::sample::select(corpus())),
        changes in prop::collection::vec(change(), 1..6),
    ) {
        let mut text: Vec<char> = text.chars().collect();
        let other: Vec<char> = other.chars().collect();
        for change in &changes {
            apply(&mut text, &other, change);
        }
        holds(&text.into_iter().collect::<String>())?;
    }
}

#[test]
fn random_bytes_as_text() {
    let bytes: Vec<u8> = (0..=255).cycle().take(4096).collect();
    holds(&String::from_utf8_lossy(&bytes)).unwrap();
}
