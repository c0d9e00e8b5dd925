//! htpasswd files: `name:hash`, one user a line.

use std::path::PathBuf;

use config::{ConfigError, Spanned};

use crate::passwords::{REMEDY, Stored};

/// So many errors of one file are told one by one.
const REPORTED: usize = 10;

/// A user out of a file.
pub(crate) struct Line {
    /// From 1.
    pub(crate) number: usize,
    pub(crate) name: String,
    pub(crate) stored: Stored,
}

/// Reads a file. Lines that begin with `#` and blank lines are skipped; a second colon
/// begins what only people read, as for other servers.
pub(crate) fn read(path: &Spanned<PathBuf>, errors: &mut Vec<ConfigError>) -> Vec<Line> {
    let bytes = match std::fs::read(&path.value) {
        Ok(bytes) => bytes,
        Err(error) => {
            let message = format!("cannot read the user file `{}`: {error}", path.value.display());
            errors.push(
                ConfigError::at(path.span, message, "this file")
                    .help("the file must exist and be readable by the user the proxy runs as"),
            );
            return Vec::new();
        }
    };
    let (mut lines, mut faults) = (Vec::new(), 0);
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        match parse(index + 1, line) {
            Ok(None) => {}
            Ok(Some(line)) => lines.push(line),
            Err(reason) => {
                faults += 1;
                if faults <= REPORTED {
                    let message =
                        format!("`{}` line {}: {reason}", path.value.display(), index + 1);
                    errors.push(ConfigError::at(path.span, message, "in this file").help(REMEDY));
                }
            }
        }
    }
    if faults > REPORTED {
        let message = format!(
            "`{}`: {} more lines are not accepted",
            path.value.display(),
            faults - REPORTED
        );
        errors.push(ConfigError::at(path.span, message, "in this file").help(REMEDY));
    }
    lines
}

/// Reads one line. Reasons never quote what stands behind the colon.
fn parse(number: usize, line: &[u8]) -> Result<Option<Line>, String> {
    let line = line.trim_ascii();
    if line.is_empty() || line.starts_with(b"#") {
        return Ok(None);
    }
    let line = str::from_utf8(line).map_err(|_| "not UTF-8".to_owned())?;
    let (name, rest) =
        line.split_once(':').ok_or_else(|| "no colon between name and hash".to_owned())?;
    if name.is_empty() {
        return Err("no name before the colon".to_owned());
    }
    if name.chars().any(char::is_control) {
        return Err("a control character in the name".to_owned());
    }
    let hash = rest.split_once(':').map_or(rest, |(hash, _)| hash);
    let stored = Stored::hash(hash).map_err(|error| format!("`{name}` has {error}"))?;
    Ok(Some(Line { number, name: name.to_owned(), stored }))
}
