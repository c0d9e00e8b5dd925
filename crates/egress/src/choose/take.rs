//! Taking an exit, so that it is never given to more than may have it, and giving it back.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Context, Refusal};
use crate::pool::{Member, SourceKey};
use crate::registry::ExitRegistry;

/// An exit that was taken. Dropped, it is given back.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) registry: Arc<ExitRegistry>,
    pub(crate) member: Arc<Member>,
    pub(crate) source: Option<IpAddr>,
    host_hash: u64,
    /// Whether it counts at the host.
    at_host: bool,
    held: bool,
}

impl Drop for Taken {
    fn drop(&mut self) {
        if self.at_host {
            self.registry.hosts.end(&self.member.state, self.host_hash);
        }
        if self.held {
            self.member.state.release();
        }
        self.member.state.leave();
    }
}

impl Context<'_> {
    /// Takes an exit that nothing spoke against a moment ago. `Err`: now something does.
    pub(crate) fn take(
        &self,
        member: &Arc<Member>,
        pinned: Option<IpAddr>,
    ) -> Result<Taken, Refusal> {
        let (state, rules, now) = (&member.state, &member.rules, self.asking.now_ms);
        if !state.enter(member.max) {
            return Err(Refusal::Busy { host: false });
        }
        let mut taken = Taken {
            registry: Arc::clone(&self.pool.registry),
            member: Arc::clone(member),
            source: None,
            host_hash: self.host.hash,
            at_host: false,
            held: false,
        };
        if rules.config.exclusive {
            if !state.hold(self.holder()) {
                return Err(Refusal::Held);
            }
            taken.held = true;
        }
        self.enter_host(&mut taken)?;
        if let Some(gap) = rules.gap.filter(|gap| !gap.per_host) {
            let pace = |next: u64| (next <= now).then(|| now.saturating_add(gap.gap_ms));
            let paced = state.next_ms.fetch_update(Ordering::Relaxed, Ordering::Relaxed, pace);
            if let Err(next) = paced {
                let wait_ms = next.saturating_sub(now);
                return Err(Refusal::Paced { wait_ms, patience_ms: gap.patience_ms });
            }
        }
        state.taken.fetch_add(1, Ordering::Relaxed);
        let key = SourceKey {
            pool: self.pool.name(),
            whose: self.asking.whose,
            session: self.asking.wish.session.as_ref().map(|session| &*session.id),
            host: self.host.hash,
            pinned,
        };
        taken.source = member.source(&self.pool.registry, &key);
        Ok(taken)
    }

    /// Limit and pacing at the host of the target, in one step.
    fn enter_host(&self, taken: &mut Taken) -> Result<(), Refusal> {
        let rules = &taken.member.rules;
        let max = rules.config.max_per_host;
        let gap = rules.gap.filter(|gap| gap.per_host);
        if max.is_none() && gap.is_none() {
            return Ok(());
        }
        let now = self.asking.now_ms;
        let entered = self.pool.registry.hosts.change(&taken.member.state, self.host, now, |at| {
            if max.is_some_and(|max| at.load >= max) {
                return Err(Refusal::Busy { host: true });
            }
            if let Some(gap) = gap {
                if at.next_ms > now {
                    let wait_ms = at.next_ms - now;
                    return Err(Refusal::Paced { wait_ms, patience_ms: gap.patience_ms });
                }
                at.next_ms = now.saturating_add(gap.gap_ms);
            }
            at.load += 1;
            Ok(())
        });
        // A full table is too strict, never too generous.
        entered.unwrap_or(Err(Refusal::Busy { host: true }))?;
        taken.at_host = true;
        Ok(())
    }
}

impl Member {
    pub(super) fn is_full(&self) -> bool {
        self.max.is_some_and(|max| self.state.load.load(Ordering::Relaxed) >= max)
    }

    /// When the next request may begin, as far as the exit alone is concerned.
    pub(super) fn next_ms(&self) -> u64 {
        match self.rules.gap {
            Some(gap) if !gap.per_host => self.state.next_ms.load(Ordering::Relaxed),
            _ => 0,
        }
    }

    /// How much it has under way for its weight.
    pub(super) fn use_of(&self) -> u64 {
        (u64::from(self.state.load.load(Ordering::Relaxed)) << 20) / u64::from(self.weight)
    }
}
