//! What no proxy of others does: measured by an example of the crate that does it, and read from
//! what that prints.

use std::path::PathBuf;
use std::process::Command;

use crate::bench::scenario::{Example, Measure};
use crate::{Result, workspace};

impl Example {
    /// Its package and its name.
    fn of(self) -> (&'static str, &'static str) {
        match self {
            Self::Choose => ("egress", "choose"),
            Self::ListLookup => ("policy", "list_lookup"),
            Self::HitRatio => ("cache", "hit_ratio"),
            Self::PurgeMillion => ("cache", "purge_million"),
        }
    }

    /// Builds it.
    ///
    /// # Errors
    /// It cannot be built.
    pub fn build(self) -> Result {
        let (package, name) = self.of();
        eprintln!("building {package}'s example {name}");
        let built = workspace::cargo()
            .args(["build", "--quiet", "--release", "--package", package, "--example", name])
            .status()?;
        if built.success() { Ok(()) } else { Err(format!("{name} cannot be built").into()) }
    }

    /// Runs it on a core; its figure: the worst that it prints.
    ///
    /// # Errors
    /// It failed, or printed no figure.
    pub fn run(self, measure: Measure, core: usize) -> Result<f64> {
        let (_, name) = self.of();
        let path: PathBuf = workspace::target_dir()?.join("release/examples").join(name);
        let output = Command::new("taskset")
            .args(["--cpu-list", &core.to_string()])
            .arg(path)
            .args((self == Self::HitRatio).then_some("ratios"))
            .stderr(std::process::Stdio::inherit())
            .output()?;
        if !output.status.success() {
            return Err(format!("{name} ended with {}", output.status).into());
        }
        let text = String::from_utf8_lossy(&output.stdout);
        worst(self, measure, &text).ok_or_else(|| format!("{name} printed no figure").into())
    }
}

/// The largest figure of the lines that have one.
fn worst(example: Example, measure: Measure, text: &str) -> Option<f64> {
    let figure = |line: &str| -> Option<f64> {
        match (example, measure) {
            // `      412 ns  no wish`; where all are banned, none is chosen.
            (Example::Choose, _) => {
                let (figure, what) = line.split_once(" ns  ")?;
                (what != "all banned").then(|| figure.trim().parse().ok())?
            }
            // `domains: 1000000 names, …, 32.9 MiB held (34.5 bytes a name)`
            (Example::ListLookup, Measure::TableMemory) => {
                line.split_once(" MiB held")?.0.rsplit_once(' ')?.1.parse().ok()
            }
            // `  hit: 412 ns a look-up, …`
            (Example::ListLookup, _) => {
                line.split_once(" ns a look-up")?.0.rsplit_once(' ')?.1.parse().ok()
            }
            // `zipf+scan 0.9   41.2  37.5   40.8`: hits in percent, ours and those of LRU.
            (Example::HitRatio, _) => {
                let mut words = line.split_whitespace().skip(2);
                let mut misses = || Some(100.0 - words.next()?.parse::<f64>().ok()?);
                Some(misses()? / misses()?)
            }
            // `1000000 of 1000000 purged by tag in 412 ms`
            (Example::PurgeMillion, _) => {
                line.strip_suffix(" ms")?.rsplit_once(' ')?.1.parse().ok()
            }
        }
    };
    text.lines().filter_map(figure).reduce(f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_line_counts() {
        let choices = "      412 ns  no wish\n     1520 ns  least used\n   149000 ns  all banned\n";
        assert_eq!(worst(Example::Choose, Measure::CallTime, choices), Some(1520.0));
        let lists = "domains: 9 names, 21.7 MiB of text, read in 1s, 32.9 MiB held (3 bytes a name)\n  \
                     hit: 300 ns a look-up, 9 of 9 found\n  miss, 3 labels: 412 ns a look-up, 0 of 9 found\n";
        assert_eq!(worst(Example::ListLookup, Measure::TableMemory, lists), Some(32.9));
        assert_eq!(worst(Example::ListLookup, Measure::CallTime, lists), Some(412.0));
        let traces = "trace          ours   LRU  quick_cache\nzipf      0.7   60.0  50.0   58.0\n\
                      zipf+scan 0.7   55.0  40.0   50.0\n";
        assert_eq!(worst(Example::HitRatio, Measure::Misses, traces), Some(0.8));
        let purges = "900 of 1000 purged by tag in 41 ms\n900 of 1000 purged softly in 3 ms\n";
        assert_eq!(worst(Example::PurgeMillion, Measure::PurgeTime, purges), Some(41.0));
        assert_eq!(worst(Example::Choose, Measure::CallTime, "nothing"), None);
    }
}
