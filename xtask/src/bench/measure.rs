//! Rounds of measurements, and what becomes of them.

use std::time::{Duration, Instant};

use super::load::{self, Outcome};
use super::machine;
use super::process::{CpuTime, ended_children};
use super::proxy::{Bed, Kind, Proxy};
use super::scenario::{Example, Face, Load, Measure, Scenario};
use crate::Result;

/// The share of the proxy's core that must have been used where the load has to saturate it.
const BUSY: f64 = 0.95;
/// The share of the proxy's core that others may use before the machine counts as not quiet.
const FOREIGN: f64 = 0.05;

/// Measures scenarios.
#[derive(Debug)]
pub struct Runner<'a> {
    /// What all proxies share.
    pub bed: &'a Bed,
    /// Length of one measurement.
    pub length: Duration,
    /// Measurements of each proxy.
    pub rounds: u32,
}

/// The results of one scenario.
#[derive(Debug)]
pub struct Group {
    /// Which.
    pub scenario: &'static Scenario,
    /// One for each proxy, ours first.
    pub results: Vec<ProxyResult>,
    /// What concerns all of them.
    pub notes: Vec<String>,
    /// Why it was not measured at all.
    pub skipped: Option<String>,
}

/// The results of one proxy in one scenario.
#[derive(Debug)]
pub struct ProxyResult {
    /// Which.
    pub kind: Kind,
    /// The rounds.
    pub samples: Vec<Sample>,
    /// Whatever makes them worthless.
    pub faults: Vec<String>,
}

/// One measurement.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// The figure of the scenario's measure, in its unit.
    pub figure: f64,
    /// Units per second.
    pub rate: f64,
    /// CPU time per unit in the proxy's own code, in the unit of the measure.
    pub user: f64,
    /// CPU time per unit in the kernel.
    pub system: f64,
    /// Share of its core that the proxy used.
    pub busy: f64,
    /// Share of that core that others used.
    pub foreign: f64,
    /// Median latency.
    pub p50: Option<Duration>,
    /// 99th percentile of the latency.
    pub p99: Option<Duration>,
    /// What crossed the wire for each byte of body, where it was compressed.
    pub packed: Option<f64>,
    /// Share of the requests that the cache answered, where that is not all of them.
    pub hits: Option<f64>,
}

impl Group {
    /// Whether every proxy was measured, without faults.
    pub fn is_valid(&self) -> bool {
        self.notes.is_empty()
            && self
                .results
                .iter()
                .all(|result| result.faults.is_empty() && !result.samples.is_empty())
    }
}

impl Runner<'_> {
    /// All proxies of a scenario at once, loaded in turn.
    pub fn drive(&self, scenario: &'static Scenario) -> Group {
        let (mut group, mut proxies) = (self.group(scenario), Vec::new());
        if let Err(reason) = self.takes(scenario) {
            eprintln!("  skipped: {reason}");
            group.skipped = Some(reason.to_string());
            group.results.clear();
            return group;
        }
        for result in &mut group.results {
            match self.start(result.kind, scenario) {
                Ok(proxy) => proxies.push(Some(proxy)),
                Err(error) => {
                    result.faults.push(error.to_string());
                    proxies.push(None);
                }
            }
        }
        let rate = match scenario.load {
            Load::HalfOf(kind) => {
                let measured = proxies.iter().flatten().find(|proxy| proxy.kind == kind);
                let highest = measured
                    .ok_or_else(|| format!("{} does not run", kind.name()).into())
                    .and_then(|proxy| load::highest_rate(proxy, self.length, &self.bed.dir));
                match highest {
                    Ok(rate) => rate / 2.0,
                    Err(error) => {
                        group.notes.push(error.to_string());
                        return group;
                    }
                }
            }
            _ => 0.0,
        };
        for round in 1..=self.rounds {
            for (result, proxy) in group.results.iter_mut().zip(&proxies) {
                let Some(proxy) = proxy else { continue };
                match self.sample(scenario, proxy, rate, &mut result.faults) {
                    Ok(sample) => {
                        eprintln!(
                            "  {round}/{} {:8} {:10.2} {}, {:.0} % busy",
                            self.rounds,
                            proxy.kind.name(),
                            sample.figure,
                            scenario.measure.unit(),
                            100.0 * sample.busy
                        );
                        result.samples.push(sample);
                    }
                    Err(error) => result.faults.push(error.to_string()),
                }
            }
        }
        group.finish()
    }

    /// Idle connections: each proxy alone and fresh in each round, since memory that was once
    /// used is not given back.
    pub fn hold(&self, scenario: &'static Scenario, connections: u32) -> Group {
        let mut group = self.group(scenario);
        // A round takes a while, and resident memory varies little.
        for round in 1..=self.rounds.min(3) {
            for result in &mut group.results {
                let held = Proxy::start(result.kind, scenario.face, self.bed).and_then(|proxy| {
                    match scenario.load {
                        Load::WebSockets { .. } => load::websockets(&proxy, connections),
                        Load::IdleTunnels { .. } => {
                            load::tunnels(&proxy, self.bed.origins.h1, connections)
                        }
                        _ => {
                            let tls = scenario.face.is_tls();
                            load::idle(&proxy, tls, connections, &self.bed.dir)
                        }
                    }
                });
                match held {
                    Ok(figure) => {
                        eprintln!("  {round} {:8} {figure:10.2} KiB", result.kind.name());
                        result.samples.push(Sample { figure, ..Sample::default() });
                    }
                    Err(error) => result.faults.push(error.to_string()),
                }
            }
        }
        group.finish()
    }

    /// What a program of ours measures by itself; there are no rivals.
    pub fn compute(&self, scenario: &'static Scenario, example: Example) -> Group {
        let mut group = self.group(scenario);
        // Each run repeats what it does often enough; what counts no time comes out the same.
        let rounds = if scenario.measure == Measure::Misses { 1 } else { self.rounds.min(3) };
        for round in 1..=rounds {
            for result in &mut group.results {
                match self.computed(scenario.measure, example) {
                    Ok(sample) => {
                        eprintln!("  {round} {:10.2} {}", sample.figure, scenario.measure.unit());
                        result.samples.push(sample);
                    }
                    Err(error) => result.faults.push(error.to_string()),
                }
            }
        }
        group.finish()
    }

    /// Runs an example, and looks who else had its core meanwhile.
    fn computed(&self, measure: Measure, example: Example) -> Result<Sample> {
        let core = self.bed.core;
        let (others, ours, started) = (machine::busy(core)?, ended_children()?, Instant::now());
        let figure = example.run(measure, core)?;
        let used = ended_children()?.saturating_sub(ours);
        let busy = machine::busy(core)?.saturating_sub(others);
        let foreign = match measure {
            // What is no time comes out the same, whoever has the core.
            Measure::Misses | Measure::TableMemory => 0.0,
            _ => busy.saturating_sub(used).as_secs_f64() / started.elapsed().as_secs_f64(),
        };
        Ok(Sample { figure, foreign, ..Sample::default() })
    }

    /// Whether our binary knows what the scenario is about: an older one has no tier on the disk.
    fn takes(&self, scenario: &Scenario) -> Result {
        if scenario.face == Face::CachedOnDisk && self.bed.bifrons.is_some() {
            Proxy::start(Kind::Bifrons, scenario.face, self.bed)?;
        }
        Ok(())
    }

    fn group(&self, scenario: &'static Scenario) -> Group {
        let results = scenario
            .proxies(self.bed.bifrons.is_some())
            .map(|kind| ProxyResult { kind, samples: Vec::new(), faults: Vec::new() })
            .collect();
        Group { scenario, results, notes: Vec::new(), skipped: None }
    }

    /// Starts a proxy and warms it up; what the warm-up finds wrong, the rounds find too.
    fn start(&self, kind: Kind, scenario: &Scenario) -> Result<Proxy> {
        let mut proxy = Proxy::start(kind, scenario.face, self.bed)?;
        let (bed, warm_up) = (self.bed, Duration::from_secs(1));
        let (load, face, origins) = (scenario.load, scenario.face, &bed.origins);
        let outcome = load::drive(load, face, &proxy, origins, warm_up, 1000.0, &bed.dir)?;
        if scenario.face == Face::CachedOnDisk && kind == Kind::Bifrons {
            // What it finds on the disk after a start stays there; what came is in memory too.
            proxy.restart(bed)?;
        }
        // A cache that is not full has other hits.
        match outcome.faults.into_iter().next() {
            Some(fault) if load == Load::Trace => Err(fault.into()),
            _ => Ok(proxy),
        }
    }

    fn sample(
        &self,
        scenario: &Scenario,
        proxy: &Proxy,
        rate: f64,
        faults: &mut Vec<String>,
    ) -> Result<Sample> {
        let bed = self.bed;
        let fetches = bed.origins.fetches();
        let (cpu, core, started) = (proxy.server.cpu()?, machine::busy(bed.core)?, Instant::now());
        let outcome = load::drive(
            scenario.load,
            scenario.face,
            proxy,
            &bed.origins,
            self.length,
            rate,
            &bed.dir,
        )?;
        let wall = started.elapsed();
        let cpu = since(proxy.server.cpu()?, cpu);
        let used = (cpu.user + cpu.system).as_secs_f64();
        let foreign = (machine::busy(bed.core)?.saturating_sub(core).as_secs_f64() - used)
            / wall.as_secs_f64();
        // The load itself tells how long it drove the proxy: `wall` has its start and end too.
        let busy = used / outcome.wall.as_secs_f64();
        faults.extend(outcome.faults.iter().cloned());
        let mut sample = Sample { busy, foreign, ..Sample::new(scenario.measure, &outcome, cpu) };
        let fetches = bed.origins.fetches() - fetches;
        match scenario.load {
            Load::Trace => sample.hits = Some(1.0 - fetches as f64 / outcome.units as f64),
            // The warm-up has filled the caches.
            Load::SmallHits | Load::MediumHits | Load::LargeHits if fetches > 0 => {
                faults.push(format!(
                    "it asked the origin for what it should have kept, {fetches} times"
                ));
            }
            _ => {}
        }
        if scenario.measure == Measure::Memory {
            sample.figure = proxy.server.resident_kib()? as f64 / 1024.0;
        }
        Ok(sample)
    }
}

fn since(now: CpuTime, then: CpuTime) -> CpuTime {
    CpuTime {
        user: now.user.saturating_sub(then.user),
        system: now.system.saturating_sub(then.system),
    }
}

impl Sample {
    fn new(measure: Measure, outcome: &Outcome, cpu: CpuTime) -> Self {
        let units = outcome.units as f64;
        let scale = match measure {
            Measure::CpuPerGigabyte | Measure::CpuPerMegabyte => 1e9,
            _ => 1e6,
        };
        let (user, system) =
            (cpu.user.as_secs_f64() * scale / units, cpu.system.as_secs_f64() * scale / units);
        let seconds = |time: Option<Duration>| time.map_or(f64::NAN, |time| time.as_secs_f64());
        let figure = match measure {
            Measure::P99 => 1e6 * seconds(outcome.p99),
            Measure::SlowestReload => 1e3 * seconds(outcome.slowest),
            Measure::Fetches => outcome.fetches.map_or(f64::NAN, |fetches| fetches as f64),
            Measure::CpuPerRequest | Measure::CpuPerGigabyte | Measure::CpuPerMegabyte => {
                user + system
            }
            // What a proxy holds is for the caller to look at.
            Measure::MemoryPerConnection
            | Measure::Memory
            | Measure::TableMemory
            | Measure::PurgeTime
            | Measure::Misses
            | Measure::CallTime => f64::NAN,
        };
        let (p50, p99) = (outcome.p50, outcome.p99);
        let rate = units / outcome.wall.as_secs_f64();
        let packed = outcome.packed.filter(|_| measure == Measure::CpuPerMegabyte);
        Self { figure, rate, user, system, p50, p99, packed, ..Self::default() }
    }
}

impl Group {
    /// Judges the rounds and says each fault once.
    fn finish(mut self) -> Self {
        for result in &mut self.results {
            result.judge(self.scenario.saturates);
            result.faults.sort();
            result.faults.dedup();
            for fault in &result.faults {
                eprintln!("  {}: {fault}", result.kind.name());
            }
        }
        self
    }
}

impl ProxyResult {
    /// The median over the rounds of what `of` takes from a sample.
    pub fn median(&self, of: impl Fn(&Sample) -> f64) -> Option<f64> {
        let mut values: Vec<f64> = self.samples.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        match values.len() {
            0 => None,
            length if length % 2 == 1 => Some(values[middle]),
            _ => Some((values[middle - 1] + values[middle]) / 2.0),
        }
    }

    /// Looks at how the core was used. One noisy round among several does not move a median,
    /// so it is the median that must be quiet and busy.
    fn judge(&mut self, saturates: bool) {
        let (busy, foreign) = (self.median(|s| s.busy), self.median(|s| s.foreign));
        let (busy, foreign) = (busy.unwrap_or_default(), foreign.unwrap_or_default().max(0.0));
        if foreign > FOREIGN {
            self.faults.push(format!(
                "the machine was not quiet: others used {:.0} % of the proxy's core",
                100.0 * foreign
            ));
        }
        if saturates && !self.samples.is_empty() && busy + foreign < BUSY {
            self.faults.push(format!(
                "the load could not saturate it: {:.0} % of its core were used",
                100.0 * busy
            ));
        }
    }

    /// How far the rounds lie apart: (largest − smallest) ÷ median.
    pub fn spread(&self) -> Option<f64> {
        let figures = || self.samples.iter().map(|sample| sample.figure);
        let (least, most) =
            (figures().fold(f64::INFINITY, f64::min), figures().fold(0.0, f64::max));
        Some((most - least) / self.median(|sample| sample.figure)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(figures: &[f64]) -> ProxyResult {
        let samples =
            figures.iter().map(|&figure| Sample { figure, ..Sample::default() }).collect();
        ProxyResult { kind: Kind::Nginx, samples, faults: Vec::new() }
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(result(&[9.0, 1.0, 5.0]).median(|s| s.figure), Some(5.0));
        assert_eq!(result(&[9.0, 1.0, 5.0, 7.0]).median(|s| s.figure), Some(6.0));
        assert_eq!(result(&[]).median(|s| s.figure), None);
    }

    #[test]
    fn an_idle_core_is_a_fault_only_where_it_should_be_busy() {
        let judged = |busy, foreign, saturates| {
            let mut result = result(&[1.0]);
            result.samples[0] = Sample { busy, foreign, ..Sample::default() };
            result.judge(saturates);
            result.faults.len()
        };
        assert_eq!(judged(0.96, 0.01, true), 0);
        assert_eq!(judged(0.90, 0.01, true), 1);
        assert_eq!(judged(0.50, 0.01, false), 0);
        // Not the load's fault: somebody else had the core.
        assert_eq!(judged(0.70, 0.30, true), 1);
        assert_eq!(judged(0.50, 0.30, true), 2);
    }

    #[test]
    fn the_spread_is_relative() {
        assert_eq!(result(&[9.0, 11.0, 10.0]).spread(), Some(0.2));
        assert_eq!(result(&[]).spread(), None);
    }
}
