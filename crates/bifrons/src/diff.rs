//! `bifrons diff`: what a change of the configuration changes.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use config::diff::{Change, Difference, diff};
use miette::Report;
use serde_json::{Value, json};

use crate::program::{folder, read};

pub(crate) const HELP: &str = "\
Compared is what the files mean: comments, order and layout make no difference. Secrets are
compared, and never shown. Relative paths in both are taken from the folder of the old one, which
the new one is to replace. The exit status is 0 if they mean the same, 1 if not, 2 for an error.

  bifrons diff /etc/bifrons/bifrons.kdl new.kdl
  git show HEAD:bifrons.kdl > old.kdl; bifrons diff old.kdl bifrons.kdl --json";

/// What is compared.
#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// The configuration that runs, or ran
    old: PathBuf,
    /// The one that is to run
    new: PathBuf,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Compares, and prints what differs.
pub(crate) fn run(options: &Diff) -> ExitCode {
    // The new one will stand in the place of the old one: so paths in it are looked at from there.
    let place = folder(&options.old);
    let both = parse(&options.old, place).and_then(|old| Ok((old, parse(&options.new, place)?)));
    let (old, new) = match both {
        Ok(both) => both,
        Err(report) => {
            crate::print_report(&report);
            return ExitCode::from(2);
        }
    };
    let difference = diff(&old, &new);
    match options.json {
        true => println!("{:#}", to_json(&difference)),
        false => print!("{}", rendered(&difference)),
    }
    ExitCode::from(u8::from(!difference.is_empty()))
}

fn parse(path: &Path, place: &Path) -> Result<config::Config, Report> {
    Ok(config::parse(&path.display().to_string(), &read(path)?, place)?)
}

fn rendered(difference: &Difference) -> String {
    fn lines(changes: &[Change], depth: usize, out: &mut String) {
        for change in changes {
            out.push_str(&"  ".repeat(depth));
            out.push_str(&format!("{} {}\n", change.sign.as_char(), change.what));
            lines(&change.inner, depth + 1, out);
        }
    }
    let mut out = String::new();
    lines(&difference.changes, 0, &mut out);
    let ends = [
        ("a reload ends:", &difference.drained),
        ("a reload does not change:", &difference.restart),
    ];
    for (title, all) in ends {
        if !all.is_empty() {
            out.push_str(&format!("\n{title}\n"));
            out.extend(all.iter().map(|line| format!("  {line}\n")));
        }
    }
    out
}

fn to_json(difference: &Difference) -> Value {
    fn changes(all: &[Change]) -> Vec<Value> {
        let one = |change: &Change| {
            json!({
                "change": change.sign.as_str(),
                "what": change.what,
                "inner": changes(&change.inner),
            })
        };
        all.iter().map(one).collect()
    }
    json!({
        "changes": changes(&difference.changes),
        "drained": difference.drained,
        "restart": difference.restart,
    })
}
