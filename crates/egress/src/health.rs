//! How exits are, as far as measuring them tells: ill or well, and which address and country
//! the far end saw.

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use config::{Country, ExitHealth};

use crate::ban::millis;
use crate::pool::{Member, Pool};
use crate::way::Way;

/// What measuring has told of an exit.
#[derive(Debug, Default)]
pub(crate) struct HealthRecord {
    ill: AtomicBool,
    /// Two letters; 0: not known.
    country: AtomicU32,
    /// Whether that is another than the label.
    wrong_country: AtomicBool,
    /// When the next measurement is due.
    due_ms: AtomicU64,
    rows: Mutex<Rows>,
}

#[derive(Debug, Default)]
struct Rows {
    failures: u32,
    successes: u32,
    address: Option<IpAddr>,
    measured_ms: Option<u64>,
}

/// What a row of outcomes has led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    Same,
    Ill,
    Well,
}

impl HealthRecord {
    pub(crate) fn is_ill(&self) -> bool {
        self.ill.load(Ordering::Relaxed)
    }

    pub(crate) fn is_wrong_country(&self) -> bool {
        self.wrong_country.load(Ordering::Relaxed)
    }

    /// The country that was measured.
    pub(crate) fn country(&self) -> Option<Country> {
        let [a, b, _, _] = self.country.load(Ordering::Relaxed).to_le_bytes();
        Country::parse(std::str::from_utf8(&[a, b]).ok()?)
    }

    /// The address that was measured, and when.
    pub(crate) fn measured(&self) -> (Option<IpAddr>, Option<u64>) {
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        (rows.address, rows.measured_ms)
    }

    /// A failure, of a measurement or of a request.
    pub(crate) fn failure(&self, fall: u32) -> Turn {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        rows.successes = 0;
        rows.failures = rows.failures.saturating_add(1);
        let falls = rows.failures >= fall.max(1);
        if falls && !self.ill.swap(true, Ordering::Relaxed) { Turn::Ill } else { Turn::Same }
    }

    /// A request was connected: the row of failures ends. Only measurements make an exit well.
    pub(crate) fn connected(&self) {
        if !self.is_ill() {
            self.rows.lock().unwrap_or_else(PoisonError::into_inner).failures = 0;
        }
    }

    fn success(&self, rise: u32, address: IpAddr, now: u64) -> Turn {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        rows.failures = 0;
        rows.successes = rows.successes.saturating_add(1);
        rows.address = Some(address);
        rows.measured_ms = Some(now);
        let rises = rows.successes >= rise.max(1);
        if rises && self.ill.swap(false, Ordering::Relaxed) { Turn::Well } else { Turn::Same }
    }

    /// Notes the country; whether that changes whether it is the wrong one.
    fn note_country(&self, label: Option<Country>, measured: Option<Country>) -> bool {
        let bits = measured.map_or(0, |country| match country.as_str().as_bytes() {
            [a, b] => u32::from_le_bytes([*a, *b, 0, 0]),
            _ => 0,
        });
        self.country.store(bits, Ordering::Relaxed);
        // An address that no database knows says nothing about the label.
        let wrong = label.is_some() && measured.is_some() && label != measured;
        self.wrong_country.swap(wrong, Ordering::Relaxed) != wrong
    }

    /// Takes the next measurement, if one is due.
    fn take_due(&self, every_ms: u64, now: u64) -> bool {
        let take = |due: u64| (due <= now).then(|| now.saturating_add(every_ms));
        self.due_ms.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }
}

/// A measurement that is to be made: fetch the target through the exit, and tell what the
/// answer says that the address of the caller is.
#[derive(Debug)]
pub struct Measurement {
    pool: Arc<Pool>,
    member: Arc<Member>,
}

impl Measurement {
    /// What is fetched, and how long that may take.
    #[must_use]
    pub fn target(&self) -> (&str, Duration) {
        self.member
            .rules
            .health()
            .map_or(("", Duration::ZERO), |health| (health.target.as_str(), health.timeout))
    }

    /// The way through the exit.
    #[must_use]
    pub fn way(&self) -> &Way {
        &self.member.way
    }

    /// The address of ours that it comes from.
    #[must_use]
    pub fn source(&self) -> Option<IpAddr> {
        self.member.any_source(&self.pool.registry)
    }

    /// The name of the exit, for logs.
    #[must_use]
    pub fn exit(&self) -> &str {
        self.member.info.name()
    }

    /// Says what came of it: the address in the answer; `Err` for anything else.
    pub fn note(&self, outcome: Result<IpAddr, &str>, now_ms: u64) {
        self.pool.note_measurement(&self.member, outcome, now_ms);
    }
}

impl Pool {
    /// Measurements of this pool's own exits that are due, at most so many. Each is given out
    /// once: whoever takes it makes it. How often it has to be asked: about once a second.
    #[must_use]
    pub fn measurements_due(self: &Arc<Self>, now_ms: u64, most: usize) -> Vec<Measurement> {
        let Some(health) = self.config().health.as_ref() else { return Vec::new() };
        let every = millis(health.every).max(1);
        let due = |member: &&Arc<Member>| member.state.health.take_due(every, now_ms);
        let measure = |member: &Arc<Member>| Measurement {
            pool: Arc::clone(self),
            member: Arc::clone(member),
        };
        self.own_members().iter().filter(due).take(most).map(measure).collect()
    }

    fn note_measurement(&self, member: &Member, outcome: Result<IpAddr, &str>, now: u64) {
        let Some(health) = member.rules.health() else { return };
        self.registry.note_time(now);
        let (pool, exit) = (member.info.pool(), member.info.name());
        match outcome {
            Err(why) => {
                if member.state.health.failure(health.fall) == Turn::Ill {
                    tracing::warn!(pool, exit, why, "exit is ill");
                }
            }
            Ok(address) => self.note_address(member, health, address, now),
        }
    }

    fn note_address(&self, member: &Member, health: &ExitHealth, address: IpAddr, now: u64) {
        let (pool, exit) = (member.info.pool(), member.info.name());
        let record = &member.state.health;
        if record.success(health.rise, address, now) == Turn::Well {
            tracing::info!(pool, exit, "exit is well again");
        }
        let measured = self.geo(address).and_then(|labels| labels.country);
        let label = member.info.labels().country;
        if record.note_country(label, measured) {
            if record.is_wrong_country() {
                let (label, measured) = (text(label), text(measured));
                tracing::warn!(pool, exit, %address, label, measured, "exit is in another country");
            } else {
                tracing::info!(pool, exit, %address, "exit is in the country of its label again");
            }
        }
    }
}

fn text(country: Option<Country>) -> String {
    country.map(|country| country.to_string()).unwrap_or_default()
}
