//! Every `errors/*.kdl` beside the exact text of its errors, and every `valid/*.kdl` beside
//! the configuration it makes. `UPDATE_GOLDEN=1` writes what is there anew: read the diff.

use std::fs;
use std::path::{Path, PathBuf};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

fn cases(name: &str) -> Vec<PathBuf> {
    let mut cases: Vec<_> = fs::read_dir(folder(name))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "kdl"))
        .collect();
    cases.sort();
    cases
}

/// Compares what a case makes with the file beside it; gives back what differs.
fn compare(case: &Path, made: &str) -> Option<String> {
    let golden = case.with_extension("txt");
    let there = fs::read_to_string(&golden).unwrap_or_default();
    if there == made {
        return None;
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&golden, made).unwrap();
        return None;
    }
    Some(format!("{}\n--- there\n{there}--- made\n{made}", golden.display()))
}

fn file_name(case: &Path) -> String {
    case.file_name().unwrap().to_string_lossy().into_owned()
}

#[test]
fn errors() {
    let mut wrong = Vec::new();
    let cases = cases("errors");
    for case in &cases {
        let text = fs::read_to_string(case).unwrap();
        match config::parse(&file_name(case), &text, Path::new("/etc/bifrons")) {
            Ok(_) => wrong.push(format!("{} has no error", case.display())),
            Err(errors) => {
                let bare = errors.errors.iter().filter(|error| {
                    error.help.is_none() || error.span.is_some() && error.label.is_empty()
                });
                wrong.extend(bare.map(|error| format!("{}: no remedy: {error}", case.display())));
                wrong.extend(compare(case, &errors.to_string()));
            }
        }
    }
    assert!(cases.len() >= 40, "only {} cases", cases.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn valid() {
    let mut wrong = Vec::new();
    for case in cases("valid") {
        let text = fs::read_to_string(&case).unwrap();
        match config::parse(&file_name(&case), &text, Path::new("/etc/bifrons")) {
            Ok(config) => wrong.extend(compare(&case, &snapshot(&format!("{config:#?}\n")))),
            Err(errors) => wrong.push(errors.to_string()),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn examples() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut count = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "kdl") {
            continue;
        }
        // What is left out until there is a certificate must hold as well.
        let text = fs::read_to_string(&path).unwrap();
        for text in [text.replace("/-", ""), text] {
            if let Err(errors) = config::parse(&file_name(&path), &text, &folder) {
                panic!("{errors}");
            }
        }
        count += 1;
    }
    assert!(count >= 6, "{count}");
}

/// Without the places of values, which every edit of a case would move.
fn snapshot(debug: &str) -> String {
    let mut out = String::new();
    let mut lines = debug.lines();
    while let Some(line) = lines.next() {
        let inner = line.trim_start();
        let bracket = match inner {
            "span: SourceSpan {" => '}',
            "span: Some(" => ')',
            _ => {
                out.push_str(line);
                out.push('\n');
                continue;
            }
        };
        let close = format!("{}{bracket},", " ".repeat(line.len() - inner.len()));
        lines.by_ref().find(|line| *line == close);
    }
    out
}
