//! `cargo xtask tidy`: the house rules that the compiler does not know.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use crate::{Result, workspace};

mod arrows;
mod rules;
mod source;

const HELP: &str = "\
cargo xtask tidy

Checks the rules of the house that the compiler does not know:

  - the arrows between the crates are those of ARCHITECTURE.md
  - no file has more than 800 lines without a `// one-thing:` line that says why
  - every #[allow] has a reason
  - `unsafe` stands only where it may, all other crates forbid it
  - tests do not sleep
  - nothing is left to be done later
";

/// Where the sources are. `target` and hidden directories in them are left out.
const SOURCES: [&str; 4] = ["crates", "xtask", "fuzz", "examples"];

/// A rule that is broken somewhere.
#[derive(Debug, PartialEq, Eq)]
pub struct Complaint {
    /// Relative to the root.
    pub file: PathBuf,
    /// From 1.
    pub line: usize,
    /// What is wrong, and what to do about it.
    pub text: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.text)
    }
}

/// Runs the command.
///
/// # Errors
/// A rule is broken; each case is printed.
pub fn run(args: &[String]) -> Result {
    match args {
        [] => {}
        [help] if help == "--help" || help == "-h" => {
            print!("{HELP}");
            return Ok(());
        }
        [other, ..] => return Err(format!("tidy takes no argument `{other}`").into()),
    }
    let root = workspace::root();
    let mut complaints = arrows::check(&root, &workspace::metadata()?)?;
    for path in rust_files(&root)? {
        let text = fs::read_to_string(root.join(&path))?;
        complaints.extend(rules::check(&path, &text));
    }
    for complaint in &complaints {
        println!("{complaint}");
    }
    match complaints.len() {
        0 => Ok(()),
        1 => Err("one rule is broken".into()),
        many => Err(format!("{many} rules are broken").into()),
    }
}

/// All Rust files of the repository, sorted, relative to the root.
fn rust_files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut dirs: Vec<PathBuf> = SOURCES.iter().map(PathBuf::from).collect();
    while let Some(dir) = dirs.pop() {
        let Ok(entries) = fs::read_dir(root.join(&dir)) else { continue };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with('.') || name == "target" {
                continue;
            }
            let path = dir.join(&*name);
            if entry.file_type()?.is_dir() {
                dirs.push(path);
            } else if name.ends_with(".rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}
