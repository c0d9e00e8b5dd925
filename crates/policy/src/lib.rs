//! Who may use the proxy, and what may be reached through it.
//!
//! Everything here is built once from checked configuration, is immutable afterwards and
//! answers with plain values. What a refusal looks like on the wire, and which addresses are
//! special, is decided elsewhere: the classification of addresses is passed in.
//!
//! * [`basic`], [`digest`], [`Users`], [`VerifiedCache`]: credentials, and who they belong to.
//! * [`Attempts`]: those who guess passwords, slowed down.
//! * [`Targets`], [`RuleSet`]: ports, rules about targets and whoever asks for them, lists, and our
//!   own listeners.
//! * [`Geo`]: where addresses are.
//! * [`ClientNets`], [`ClientRules`], [`TrustedPeers`]: who may connect, and whose word is taken.
//! * [`ConnectionLimits`]: connections at once from one client.
//! * [`RateTable`], [`Limiter`], [`Pacer`]: requests and bytes in a time.
//! * [`DecisionCache`]: what an authorization server has decided.
//!
//! There are no sockets here, no clock and no source of randomness: time and secrets are
//! parameters. Only building reads files.

#![forbid(unsafe_code)]

mod asked;
mod attempts;
pub mod basic;
mod client_rules;
mod clients;
mod connections;
mod context;
mod decisions;
pub mod digest;
mod domains;
mod geo;
mod hashing;
mod hours;
mod htpasswd;
mod lists;
mod nets;
mod own;
mod passwords;
mod patterns;
mod rate;
mod rule_set;
mod rules;
mod targets;
mod trusted;
mod users;
mod verified;

pub use asked::{Asked, Entry, HostRef};
pub use attempts::{AttemptCounts, Attempts, TooMany};
pub use client_rules::ClientRules;
pub use clients::ClientNets;
pub use connections::{ConnectionLimits, ConnectionPermit};
pub use decisions::{DecisionCache, DecisionKey, freshness};
pub use domains::{DomainSet, Scope};
pub use geo::{Geo, Place};
pub use hashing::hash_password;
pub use hours::{WeekTimes, time_zone};
pub use jiff::Timestamp;
pub use lists::{DomainList, Lists, SkippedLine};
pub use own::OwnAddresses;
pub use patterns::Patterns;
pub use rate::{CAPACITY, Grant, Limiter, Pacer, RateKey, RateTable, Standing};
pub use rule_set::{Considered, RuleSet, RuleSources};
pub use rules::{Fit, Ground, RuleId, Unfit};
pub use targets::{Admission, Passed, PassedByName, Reason, Targets};
pub use trusted::TrustedPeers;
pub use users::{Check, UserId, Users};
pub use verified::{JobOutcome, PasswordJob, Secret, VerifiedCache};
