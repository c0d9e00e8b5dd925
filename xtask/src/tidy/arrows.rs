//! The arrows of ARCHITECTURE.md against the manifests.
//!
//! The block begins with a line of three backticks and `arrows`. Each line of it is a crate,
//! `->`, and the crates of ours that it uses: no more and no fewer than its manifest names.
//! Dev-dependencies are free, and so are the crates that only tests and tools use.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Complaint;
use crate::Result;

const DOCUMENT: &str = "ARCHITECTURE.md";
const FENCE: &str = "```arrows";
/// Crates that stand outside the house.
const FREE: [&str; 2] = ["testkit", "xtask"];

/// What a crate uses of ours, with the place where that is said.
type Arrows = BTreeMap<String, (usize, BTreeSet<String>)>;

/// Compares the document with what `cargo metadata` says.
///
/// # Errors
/// The metadata have an unknown form.
pub fn check(root: &Path, metadata: &Value) -> Result<Vec<Complaint>> {
    let complain = |line, text: String| Complaint { file: DOCUMENT.into(), line, text };
    let Ok(text) = fs::read_to_string(root.join(DOCUMENT)) else {
        return Ok(vec![complain(
            1,
            "it is missing: the arrows between the crates stand there".into(),
        )]);
    };
    let drawn = match drawn(&text) {
        Ok(drawn) => drawn,
        Err((line, text)) => return Ok(vec![complain(line, text)]),
    };
    Ok(compare(&drawn, &built(root, metadata)?)
        .into_iter()
        .map(|(file, line, text)| Complaint { file, line, text })
        .collect())
}

/// Reads the block.
fn drawn(text: &str) -> Result<Arrows, (usize, String)> {
    let mut arrows = Arrows::new();
    let mut lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    if !lines.any(|(_, line)| line == FENCE) {
        return Err((1, format!("no block that begins with {FENCE}: add it")));
    }
    for (number, line) in lines {
        if line == "```" {
            return Ok(arrows);
        }
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let Some((from, to)) = line.split_once("->").or_else(|| line.split_once('→')) else {
            return Err((number, "no arrow: write `crate -> crate crate`".into()));
        };
        let to = to.split([' ', ',']).filter(|name| !name.is_empty()).map(str::to_owned).collect();
        if arrows.insert(from.trim().to_owned(), (number, to)).is_some() {
            return Err((number, format!("`{}` has a line already: join them", from.trim())));
        }
    }
    Err((text.lines().count(), format!("the block of {FENCE} does not end")))
}

/// What the manifests say: for each crate, its manifest and what it uses of ours.
fn built(root: &Path, metadata: &Value) -> Result<BTreeMap<String, (PathBuf, BTreeSet<String>)>> {
    let packages = metadata["packages"].as_array().ok_or("cargo metadata lacks packages")?;
    let name = |value: &Value| value["name"].as_str().unwrap_or_default().to_owned();
    let ours: BTreeSet<String> = packages.iter().map(name).collect();
    let mut built = BTreeMap::new();
    for package in packages {
        let uses = package["dependencies"]
            .as_array()
            .ok_or("cargo metadata lacks dependencies")?
            .iter()
            .filter(|dependency| dependency["kind"].as_str() != Some("dev"))
            .map(name)
            .filter(|used| ours.contains(used))
            .collect();
        let manifest = PathBuf::from(package["manifest_path"].as_str().unwrap_or_default());
        let manifest = manifest.strip_prefix(root).map(Path::to_owned).unwrap_or(manifest);
        built.insert(name(package), (manifest, uses));
    }
    Ok(built)
}

fn compare(
    drawn: &Arrows,
    built: &BTreeMap<String, (PathBuf, BTreeSet<String>)>,
) -> Vec<(PathBuf, usize, String)> {
    let mut found = Vec::new();
    for (from, (manifest, uses)) in built {
        if FREE.contains(&from.as_str()) {
            continue;
        }
        let Some((line, allowed)) = drawn.get(from) else {
            let text = format!("`{from}` has no line among the arrows: add `{from} -> …`");
            found.push((DOCUMENT.into(), 1, text));
            continue;
        };
        for used in uses.difference(allowed) {
            let text = format!(
                "no arrow leads from `{from}` to `{used}`: pass in what it needs from above, or \
                 draw the arrow in {DOCUMENT}:{line}"
            );
            found.push((manifest.clone(), 1, text));
        }
        for unused in allowed.difference(uses) {
            let text =
                format!("`{from}` does not use `{unused}`: take the arrow out, or the line lies");
            found.push((DOCUMENT.into(), *line, text));
        }
    }
    for (from, (line, _)) in drawn {
        if !built.contains_key(from) {
            found.push((DOCUMENT.into(), *line, format!("there is no crate `{from}`")));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uses(crates: &[(&str, &[&str])]) -> BTreeMap<String, (PathBuf, BTreeSet<String>)> {
        crates
            .iter()
            .map(|(from, to)| {
                let to = to.iter().map(|&name| name.to_owned()).collect();
                ((*from).to_owned(), (PathBuf::from(format!("crates/{from}/Cargo.toml")), to))
            })
            .collect()
    }

    fn complaints(text: &str, built: &[(&str, &[&str])]) -> Vec<String> {
        compare(&drawn(text).unwrap(), &uses(built))
            .into_iter()
            .map(|(file, line, text)| format!("{}:{line}: {text}", file.display()))
            .collect()
    }

    #[test]
    fn a_true_drawing_is_accepted() {
        let text = "# Map\n```arrows\nproxy -> h1 net # the top\nh1 →\n\nnet ->\n```\n";
        let built: &[(&str, &[&str])] =
            &[("proxy", &["h1", "net"]), ("h1", &[]), ("net", &[]), ("xtask", &["proxy"])];
        assert_eq!(complaints(text, built), [""; 0]);
    }

    #[test]
    fn each_untruth_is_named_where_it_is_mended() {
        let text = "```arrows\nproxy -> h1\nh1 ->\nold ->\n```\n";
        let built: &[(&str, &[&str])] = &[("proxy", &[]), ("h1", &["net"]), ("net", &[])];
        let found = complaints(text, built);
        assert_eq!(found.len(), 4);
        assert!(found[0].starts_with("crates/h1/Cargo.toml:1: no arrow leads from `h1` to `net`"));
        assert!(found[1].starts_with("ARCHITECTURE.md:1: `net` has no line"));
        assert!(found[2].starts_with("ARCHITECTURE.md:2: `proxy` does not use `h1`"));
        assert_eq!(found[3], "ARCHITECTURE.md:4: there is no crate `old`");
    }

    #[test]
    fn a_bad_block_is_refused() {
        assert_eq!(drawn("no block").unwrap_err().0, 1);
        assert_eq!(drawn("```arrows\nproxy h1\n```").unwrap_err().0, 2);
        assert_eq!(drawn("```arrows\na ->\na ->\n```").unwrap_err().0, 3);
        assert_eq!(drawn("```arrows\na ->\n").unwrap_err().0, 2);
    }
}
