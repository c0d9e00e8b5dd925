//! Exits, sessions and bans as people see and edit them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use config::{Country, ExitLabels};

use super::{ExitRegistry, ExitState, HostKey};
use crate::ban::millis;
use crate::choose::Whose;
use crate::pool::Member;

/// A ban by hand lasts ten years at most.
const LONGEST_MS: u64 = 10 * 366 * 86_400_000;

/// How an exit is.
#[derive(Debug, Clone, PartialEq)]
pub struct ExitStatus {
    /// The pool that it stands in.
    pub pool: Arc<str>,
    /// Its name.
    pub exit: Arc<str>,
    /// What it is, in a word.
    pub kind: &'static str,
    /// What is known of it, as written.
    pub labels: ExitLabels,
    /// Requests and connections under way.
    pub under_way: u32,
    /// Times it was taken.
    pub taken: u64,
    /// Times it could not be connected through.
    pub failed: u64,
    /// How long it is banned yet, for all targets.
    pub banned_ms: Option<u64>,
    /// Whether measurements, or failures in a row, say that it does not work.
    pub ill: bool,
    /// The address that the far end of the last measurement saw.
    pub address: Option<IpAddr>,
    /// How long ago that was.
    pub measured_ms_ago: Option<u64>,
    /// The country of that address.
    pub country: Option<Country>,
    /// Whether that is another than the label says.
    pub wrong_country: bool,
}

/// A ban.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BanStatus {
    /// The pool that the exit stands in.
    pub pool: Arc<str>,
    /// The exit.
    pub exit: Arc<str>,
    /// The target host; `None`: all.
    pub host: Option<Box<str>>,
    /// How long it lasts yet.
    pub left_ms: u64,
    /// What it is for: the signs of a rule, or `by hand`.
    pub why: Arc<str>,
}

/// A session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionStatus {
    /// The pool that was asked for it.
    pub pool: Arc<str>,
    /// The set of its user; empty: none.
    pub set: Box<str>,
    /// Whose it is; empty: nobody's in particular.
    pub user: Box<str>,
    /// What the client calls it.
    pub id: Box<str>,
    /// The name of its exit; `None`: that is gone.
    pub exit: Option<Arc<str>>,
    /// The source address that it has besides, in a prefix.
    pub source: Option<IpAddr>,
    /// How long ago it began.
    pub age_ms: u64,
    /// How long it lasts yet, if it is used.
    pub left_ms: u64,
    /// Whether it fails instead of moving.
    pub strict: bool,
    /// Requests and connections.
    pub requests: u64,
    /// Those under way.
    pub under_way: u32,
    /// How often it has moved.
    pub moves: u32,
}

/// Why something was not banned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BanError {
    /// No pool has an exit of this name.
    NoExit,
    /// There is no room for more hosts.
    Full,
}

impl std::fmt::Display for BanError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NoExit => "no pool has an exit of this name",
            Self::Full => "too many hosts are remembered already",
        })
    }
}

impl std::error::Error for BanError {}

impl ExitRegistry {
    /// All exits of the newest configuration, by pool.
    #[must_use]
    pub fn exits(&self) -> Vec<ExitStatus> {
        let now = self.now();
        let pools = self.newest();
        pools.iter().flat_map(|pool| pool.own_members()).map(|member| status(member, now)).collect()
    }

    /// All sessions that clients have asked for by name.
    #[must_use]
    pub fn sessions(&self) -> Vec<SessionStatus> {
        let names: HashMap<u64, Arc<str>> = self
            .states()
            .iter()
            .map(|state| (state.id, Arc::clone(&state.identity.name)))
            .collect();
        let mut all = self.sessions.list(self.now(), &names);
        all.sort_by(|left, right| {
            let name = |it: &SessionStatus| (it.pool.clone(), it.user.clone(), it.id.clone());
            name(left).cmp(&name(right)).then_with(|| left.set.cmp(&right.set))
        });
        all
    }

    /// How many of them there are.
    #[must_use]
    pub fn session_count(&self) -> usize {
        self.sessions.named(self.now())
    }

    /// Ends a session, of all users of this name. What is under way in it goes on; the next
    /// request of its name begins another. Whether there was one.
    pub fn end_session(&self, pool: &str, user: &str, id: &str) -> bool {
        let all = self.sessions.list(self.now(), &HashMap::new());
        let meant = all.iter().filter(|it| (&*it.pool, &*it.user, &*it.id) == (pool, user, id));
        let end = |it: &SessionStatus| {
            let whose = Whose { set: &it.set, user };
            self.sessions.end(pool, whose, id, self.now())
        };
        meant.map(end).fold(false, |any, ended| any | ended)
    }

    /// All bans.
    #[must_use]
    pub fn bans(&self) -> Vec<BanStatus> {
        let now = self.now();
        let mut all: Vec<_> = self.states().iter().filter_map(|state| ban_of(state, now)).collect();
        self.hosts.each(|entry| {
            if let Some(ban) = entry.at.ban.as_ref().filter(|ban| ban.is_active(now)) {
                let host = Some(entry.host.clone());
                all.extend(ban_status(&entry.exit, host, ban.until() - now, ban.why()));
            }
        });
        all.sort_by(|left, right| {
            (&left.pool, &left.exit, &left.host).cmp(&(&right.pool, &right.exit, &right.host))
        });
        all
    }

    /// Bans an exit, called by its name or by `pool/name`, for one target host or for all. It
    /// takes the place of the ban that there is.
    ///
    /// # Errors
    /// See [`BanError`].
    pub fn ban(&self, exit: &str, host: Option<&str>, time: Duration) -> Result<(), BanError> {
        let now = self.now();
        let length = millis(time).min(LONGEST_MS);
        let named = self.named(exit);
        if named.is_empty() {
            return Err(BanError::NoExit);
        }
        let why: Arc<str> = "by hand".into();
        for state in named {
            match host {
                None => state.change_ban(|ban| ban.impose(length, Arc::clone(&why), now)),
                Some(name) => {
                    let name = name.to_ascii_lowercase();
                    let host = HostKey { name: &name, hash: self.hash(name.as_str()) };
                    let why = Arc::clone(&why);
                    self.hosts
                        .change(&state, host, now, |at| {
                            at.ban.get_or_insert_default().impose(length, why, now);
                        })
                        .ok_or(BanError::Full)?;
                }
            }
        }
        Ok(())
    }

    /// Ends the ban of an exit for one target host; without a host all of its bans. What it
    /// would have made of later bans is forgotten. Whether there was one.
    pub fn unban(&self, exit: &str, host: Option<&str>) -> bool {
        let now = self.now();
        let named = self.named(exit);
        let mut was_banned = false;
        if host.is_none() {
            for state in &named {
                was_banned |= state.change_ban(|ban| ban.lift(now));
            }
        }
        self.hosts.each_mut(|entry| {
            let is_meant = host.is_none_or(|host| host.eq_ignore_ascii_case(&entry.host))
                && named.iter().any(|state| state.id == entry.exit.id);
            if is_meant && let Some(mut ban) = entry.at.ban.take() {
                was_banned |= ban.lift(now);
            }
        });
        was_banned
    }

    /// The exits that are called this.
    fn named(&self, exit: &str) -> Vec<Arc<ExitState>> {
        let is_called = |state: &Arc<ExitState>| {
            let identity = &state.identity;
            let in_pool =
                exit.strip_prefix(&*identity.pool).and_then(|rest| rest.strip_prefix('/'));
            exit == &*identity.name || in_pool == Some(&*identity.name)
        };
        let mut states = self.states();
        states.retain(is_called);
        states
    }

    /// Those of the newest configuration, and those that something under way still has.
    fn states(&self) -> Vec<Arc<ExitState>> {
        super::lock(&self.states).values().filter_map(std::sync::Weak::upgrade).collect()
    }
}

fn status(member: &Member, now: u64) -> ExitStatus {
    let state = &member.state;
    let (address, measured_ms) = state.health.measured();
    ExitStatus {
        pool: Arc::clone(&state.identity.pool),
        exit: Arc::clone(&state.identity.name),
        kind: member.info.kind(),
        labels: member.info.labels().clone(),
        under_way: state.load.load(Ordering::Relaxed),
        taken: state.taken.load(Ordering::Relaxed),
        failed: state.failed.load(Ordering::Relaxed),
        banned_ms: state.banned_until().checked_sub(now).filter(|left| *left > 0),
        ill: state.health.is_ill(),
        address,
        measured_ms_ago: measured_ms.map(|time| now.saturating_sub(time)),
        country: state.health.country(),
        wrong_country: state.health.is_wrong_country(),
    }
}

fn ban_of(state: &Arc<ExitState>, now: u64) -> Option<BanStatus> {
    let left = state.banned_until().checked_sub(now).filter(|left| *left > 0)?;
    let why = state.change_ban(|ban| ban.why().cloned());
    ban_status(state, None, left, why.as_ref())
}

fn ban_status(
    state: &ExitState,
    host: Option<Box<str>>,
    left_ms: u64,
    why: Option<&Arc<str>>,
) -> Option<BanStatus> {
    Some(BanStatus {
        pool: Arc::clone(&state.identity.pool),
        exit: Arc::clone(&state.identity.name),
        host,
        left_ms,
        why: Arc::clone(why?),
    })
}
