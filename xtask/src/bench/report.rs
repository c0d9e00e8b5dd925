//! The table: on the terminal and in `docs/benchmarks.md`.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use super::machine::{self, Cores};
use super::measure::{Group, ProxyResult};
use super::options::Options;
use super::proxy::{self, Bed, Kind};
use super::scenario::{Measure, Scenario, Target};
use crate::{Result, workspace};

/// Before and after the part of `docs/benchmarks.md` that is written here.
const MARKERS: [&str; 2] = ["<!-- bench:begin -->", "<!-- bench:end -->"];

/// The table with the machine, the versions and the notes.
pub fn markdown(groups: &[Group], options: &Options, bed: &Bed, cores: &Cores) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "- Machine: {}.", machine::describe());
    let _ = writeln!(
        text,
        "- Proxies on core {}, one worker each; load and origin on core {}.",
        cores.proxy, cores.load[0]
    );
    let mut versions = proxy::versions();
    if bed.bifrons.is_some() {
        versions.insert(0, format!("Bifrons at {}", super::commit(&workspace::root())));
    }
    let _ = writeln!(text, "- Versions: {}.", versions.join("; "));
    let _ = writeln!(
        text,
        "- Rounds: {} of {} s for each proxy, alternating; the figures are medians.\n",
        options.rounds,
        options.length.as_secs()
    );
    text.push_str(
        "| scenario | proxy | rate | CPU or figure (user + system) | spread | core | p50 | p99 | ours ÷ it | target | |\n\
         |---|---|--:|--:|--:|--:|--:|--:|--:|--:|---|\n",
    );
    for group in groups {
        let ours = group.results.iter().find(|result| result.kind == Kind::Bifrons);
        for result in &group.results {
            text.push_str(&row(group.scenario, result, ours));
        }
    }
    text.push_str(&notes(groups));
    text
}

fn row(scenario: &Scenario, result: &ProxyResult, ours: Option<&ProxyResult>) -> String {
    let name = if result.faults.is_empty() {
        result.kind.name().to_owned()
    } else {
        format!("{} ⚠ not valid", result.kind.name())
    };
    let Some(figure) = result.median(|sample| sample.figure) else {
        return format!("| {} | {name} | | | | | | | | | |\n", scenario.title);
    };
    let valid = result.faults.is_empty() && ours.is_none_or(|ours| ours.faults.is_empty());
    let ours = ours.and_then(|ours| ours.median(|sample| sample.figure));
    let ratio = ours.map(|ours| ours / figure).filter(|_| result.kind != Kind::Bifrons);
    let (target, verdict) = verdict(scenario, result.kind, figure, ratio);
    // Worthless figures meet and miss nothing.
    let verdict = if valid { verdict } else { "" };
    format!(
        "| {} | {name} | {} | {} | {:.0} % | {} | {} | {} | {} | {target} | {verdict} |\n",
        scenario.title,
        rate(scenario.measure, result),
        shown(scenario.measure, figure, result),
        100.0 * result.spread().unwrap_or_default(),
        match scenario.measure {
            Measure::MemoryPerConnection
            | Measure::TableMemory
            | Measure::PurgeTime
            | Measure::Misses
            | Measure::Fetches
            | Measure::CallTime => String::new(),
            _ => format!("{:.0} %", 100.0 * result.median(|s| s.busy).unwrap_or_default()),
        },
        latency(result, |sample| sample.p50),
        latency(result, |sample| sample.p99),
        ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default(),
    )
}

/// The target that this row shows, and whether it is met.
fn verdict(
    scenario: &Scenario,
    kind: Kind,
    figure: f64,
    ratio: Option<f64>,
) -> (String, &'static str) {
    let word = |met: bool| if met { "pass" } else { "**miss**" };
    for target in scenario.targets {
        match *target {
            Target::Times(times, rival) if rival == kind => {
                let verdict = ratio.map(|ratio| word(ratio <= times)).unwrap_or_default();
                return (format!("≤ {times:.2}"), verdict);
            }
            Target::AtMost(most) if kind == Kind::Bifrons => {
                return (format!("≤ {most:.1} {}", scenario.measure.unit()), word(figure <= most));
            }
            Target::Times(..) | Target::AtMost(_) => {}
        }
    }
    (String::new(), "")
}

fn rate(measure: Measure, result: &ProxyResult) -> String {
    let rate = result.median(|sample| sample.rate).unwrap_or_default();
    match measure {
        Measure::CpuPerRequest | Measure::P99 | Measure::Memory => format!("{rate:.0} req/s"),
        Measure::CpuPerGigabyte => format!("{:.2} GB/s", rate / 1e9),
        Measure::CpuPerMegabyte => format!("{:.1} MB/s", rate / 1e6),
        Measure::SlowestReload => format!("{rate:.1} reloads/s"),
        Measure::MemoryPerConnection
        | Measure::TableMemory
        | Measure::PurgeTime
        | Measure::Misses
        | Measure::Fetches
        | Measure::CallTime => String::new(),
    }
}

fn shown(measure: Measure, figure: f64, result: &ProxyResult) -> String {
    let user = result.median(|sample| sample.user).unwrap_or_default();
    let system = result.median(|sample| sample.system).unwrap_or_default();
    let unit = measure.unit();
    match measure {
        Measure::CpuPerRequest => {
            let hits = result.median(|sample| sample.hits.unwrap_or(f64::NAN));
            let hits = hits.filter(|hits| hits.is_finite());
            let hits = hits.map(|hits| format!(", {:.1} % hits", 100.0 * hits)).unwrap_or_default();
            format!("{figure:.2} {unit} ({user:.2} + {system:.2}){hits}")
        }
        Measure::CpuPerGigabyte => format!("{figure:.3} {unit} ({user:.3} + {system:.3})"),
        Measure::CpuPerMegabyte => {
            let packed = result.median(|sample| sample.packed.unwrap_or(f64::NAN));
            let packed = 100.0 * packed.unwrap_or(f64::NAN);
            format!("{figure:.2} {unit} ({user:.2} + {system:.2}), to {packed:.1} %")
        }
        Measure::CallTime | Measure::PurgeTime | Measure::Fetches => {
            format!("{figure:.0} {unit}")
        }
        Measure::MemoryPerConnection
        | Measure::Memory
        | Measure::TableMemory
        | Measure::Misses
        | Measure::SlowestReload => {
            format!("{figure:.2} {unit}")
        }
        Measure::P99 => {
            format!("{:.2} µs/req ({user:.2} + {system:.2})", user + system)
        }
    }
}

fn latency(
    result: &ProxyResult,
    of: impl Fn(&super::measure::Sample) -> Option<Duration>,
) -> String {
    if result.samples.iter().any(|sample| of(sample).is_none()) {
        return String::new();
    }
    let seconds = result.median(|sample| of(sample).unwrap_or_default().as_secs_f64());
    seconds.map(|seconds| format!("{:.0} µs", seconds * 1e6)).unwrap_or_default()
}

fn notes(groups: &[Group]) -> String {
    let mut text = String::new();
    for group in groups {
        let name = group.scenario.name;
        for note in &group.notes {
            let _ = writeln!(text, "- `{name}`: {}", one_line(note));
        }
        for result in &group.results {
            for fault in &result.faults {
                let proxy = result.kind.name();
                let _ = writeln!(text, "- `{name}`, {proxy}: {}", one_line(fault));
            }
        }
    }
    let mut text = if text.is_empty() { text } else { format!("\nNot valid:\n\n{text}") };
    for group in groups {
        if let Some(reason) = &group.skipped {
            let _ = write!(text, "\nSkipped: `{}`: {}\n", group.scenario.name, one_line(reason));
        }
    }
    text
}

/// What a server printed when it did not start has many lines; a list item has one.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Puts the table between the markers of a document.
///
/// # Errors
/// The document lacks the markers or cannot be written.
pub fn keep(path: &Path, table: &str) -> Result {
    let text = fs::read_to_string(path)?;
    fs::write(path, between_markers(&text, table).ok_or("docs/benchmarks.md lost its markers")?)?;
    Ok(())
}

fn between_markers(text: &str, table: &str) -> Option<String> {
    let [begin, end] = MARKERS;
    let (before, rest) = text.split_once(begin)?;
    let (_, after) = rest.split_once(end)?;
    Some(format!("{before}{begin}\n\n{table}\n{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::scenario::SCENARIOS;

    #[test]
    fn only_what_is_between_the_markers_changes() {
        let text = "a\n<!-- bench:begin -->\nold\n<!-- bench:end -->\nb\n";
        let kept = between_markers(text, "new\n").unwrap();
        assert_eq!(kept, "a\n<!-- bench:begin -->\n\nnew\n\n<!-- bench:end -->\nb\n");
        assert_eq!(between_markers(&kept, "new\n").as_ref(), Some(&kept));
        assert_eq!(between_markers("no markers", "new"), None);
    }

    #[test]
    fn a_target_is_met_up_to_its_figure() {
        let scenario = &SCENARIOS[0];
        assert_eq!(verdict(scenario, Kind::Nginx, 9.0, Some(0.88)), ("≤ 0.88".into(), "pass"));
        assert_eq!(verdict(scenario, Kind::Nginx, 9.0, Some(0.89)).1, "**miss**");
        assert_eq!(verdict(scenario, Kind::Bifrons, 9.0, None), (String::new(), ""));
        let idle = SCENARIOS.iter().find(|scenario| scenario.name == "idle").unwrap();
        assert_eq!(verdict(idle, Kind::Bifrons, 1.1, None).1, "**miss**");
    }
}
