//! An exit in use, and what is reported of it.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use config::{BanScope, ExitPool};

use crate::ban::{BanPlan, Rule, Sign, millis};
use crate::choose::Taken;
use crate::health::Turn;
use crate::pool::ExitInfo;
use crate::registry::HostKey;
use crate::session::{Place, SessionInfo};
use crate::way::Way;

/// `Retry-After` closes an exit for a host so long at most.
const MAX_RETRY_AFTER_MS: u64 = 24 * 3_600_000;

/// Which exit it is, and which source address of it: what belongs into the key of a connection
/// that is kept. An exit that a reload has changed has another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ExitKey {
    exit: u64,
    source: Option<IpAddr>,
}

impl ExitKey {
    /// Whether it is of the exit with this number, whatever the address: a request that has
    /// tried an exit has tried all its addresses.
    pub(crate) fn is_of(&self, exit: u64) -> bool {
        self.exit == exit
    }
}

/// A place at an exit, for as long as anything of it is open. Dropped, it is given back.
#[derive(Debug)]
pub struct ExitLease {
    pub(crate) taken: Taken,
    /// Where what it does at a host matters.
    host: Option<Box<str>>,
    session: Option<(SessionInfo, Place)>,
    /// Ban rules that have counted this request.
    counted: AtomicU64,
}

impl Drop for ExitLease {
    fn drop(&mut self) {
        if let Some((_, place)) = &self.session {
            let registry = &self.taken.registry;
            registry.sessions.leave(*place, false, registry.latest_ms());
        }
    }
}

impl ExitLease {
    pub(crate) fn new(taken: Taken, host: &str, session: Option<(SessionInfo, Place)>) -> Self {
        let host = taken.member.rules.cares_for_hosts.then(|| host.into());
        Self { taken, host, session, counted: AtomicU64::new(0) }
    }

    /// The exit.
    #[must_use]
    pub fn exit(&self) -> &ExitInfo {
        &self.taken.member.info
    }

    /// For the key of a kept connection, and for [`crate::Asking::tried`].
    #[must_use]
    pub fn key(&self) -> ExitKey {
        ExitKey { exit: self.taken.member.state.id, source: self.taken.source }
    }

    /// The session, if the client asked for one.
    #[must_use]
    pub fn session(&self) -> Option<&SessionInfo> {
        self.session.as_ref().map(|(info, _)| info)
    }

    /// How to connect.
    #[must_use]
    pub fn way(&self) -> &Way {
        &self.taken.member.way
    }

    /// The address of ours that the connection is to come from; `None`: the system's choice.
    #[must_use]
    pub fn source(&self) -> Option<IpAddr> {
        self.taken.source
    }

    /// What the pool says that the exit stands in: where names are resolved, for one thing.
    #[must_use]
    pub fn pool_config(&self) -> &ExitPool {
        &self.taken.member.rules.config
    }

    /// What has to be looked for in answers.
    #[must_use]
    pub fn bans_on(&self) -> &BanPlan {
        &self.taken.member.rules.bans
    }

    /// Another request is made over what was opened: ban rules count it by itself.
    pub fn begin_another(&self) {
        self.counted.store(0, Ordering::Relaxed);
    }

    /// Tells what came of it. Whether the exit is banned for such a sign, by this one or before.
    ///
    /// Each ban rule counts a request once, however many signs it shows.
    pub fn report(&self, sign: &Sign, now_ms: u64) -> bool {
        self.taken.registry.note_time(now_ms);
        self.note_health(sign);
        if let Sign::Answer { retry_after: Some(time), .. } = sign {
            self.rest(millis(*time), now_ms);
        }
        let mut banned = false;
        for (number, rule) in self.bans_on().fitting(sign) {
            let bit = 1_u64 << number;
            if self.counted.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
                banned |= self.count(rule, now_ms);
            }
            // Whoever comes second with the same sign is as little served by this exit.
            banned = banned || self.is_banned(rule.scope, now_ms);
        }
        banned
    }

    fn is_banned(&self, scope: BanScope, now: u64) -> bool {
        let (registry, state) = (&self.taken.registry, &self.taken.member.state);
        let until = match (scope, self.host.as_deref()) {
            (BanScope::Host, Some(name)) => {
                let host = HostKey { name, hash: registry.hash(name) };
                registry.hosts.look(state, host, crate::registry::AtHost::banned_until)
            }
            _ => Some(state.banned_until()),
        };
        until.is_some_and(|until| until > now)
    }

    fn note_health(&self, sign: &Sign) {
        let member = &self.taken.member;
        if *sign == Sign::Unreachable {
            member.state.failed.fetch_add(1, Ordering::Relaxed);
        }
        let Some(health) = member.rules.health() else { return };
        if *sign == Sign::Connected {
            member.state.health.connected();
        }
        if *sign == Sign::Unreachable && member.state.health.failure(health.fall) == Turn::Ill {
            let (pool, exit) = (member.info.pool(), member.info.name());
            tracing::warn!(pool, exit, why = "unreachable", "exit is ill");
        }
    }

    /// The target wants to be left alone: by this exit, until then.
    fn rest(&self, time_ms: u64, now: u64) {
        let member = &self.taken.member;
        if !member.rules.gap.is_some_and(|gap| gap.retry_after) {
            return;
        }
        let Some(name) = self.host.as_deref() else { return };
        let until = now.saturating_add(time_ms.min(MAX_RETRY_AFTER_MS));
        let host = HostKey { name, hash: self.taken.registry.hash(name) };
        self.taken.registry.hosts.change(&member.state, host, now, |at| {
            at.next_ms = at.next_ms.max(until);
        });
    }

    fn count(&self, rule: &Rule, now: u64) -> bool {
        let (registry, state) = (&self.taken.registry, &self.taken.member.state);
        let length = match (rule.scope, self.host.as_deref()) {
            (BanScope::Host, Some(name)) => {
                let host = HostKey { name, hash: registry.hash(name) };
                let sign = |at: &mut crate::registry::AtHost| {
                    let ban = at.ban.get_or_insert_default();
                    ban.sign(rule.id, &rule.threshold, &rule.words, now)
                };
                registry.hosts.change(state, host, now, sign).flatten()
            }
            _ => state.change_ban(|ban| ban.sign(rule.id, &rule.threshold, &rule.words, now)),
        };
        let Some(length_ms) = length else { return false };
        let (pool, exit) = (self.exit().pool(), self.exit().name());
        let host = if rule.scope == BanScope::Host { self.host.as_deref() } else { None };
        let why: &Arc<str> = &rule.words;
        tracing::info!(pool, exit, host, %why, length_ms, "exit is banned");
        true
    }
}
