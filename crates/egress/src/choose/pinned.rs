//! Requests that come back to the exit they had: sessions, rotation by time, by number and by
//! connection.
//!
//! What has an exit already waits for it where it is busy or rests, and leaves it where it is
//! banned, ill, gone, was tried in vain or may not be had any more. A strict session does not
//! leave it: the request is refused, until the session ends or its exit is back.

use super::{Context, ExitLease, NoExit, Refusal, Taken};
use crate::ban::millis;
use crate::pool::Member;
use crate::session::{
    Begin, ConnectionMark, Entered, Id, Key, Pinned, Place, SessionInfo, Terms, Turn,
};

/// So often it is looked again at a session that others change at the same time.
const ROUNDS: usize = 8;

/// Why a request does not get the exit that it had.
enum Stuck {
    /// That exit cannot be used any more.
    Dead,
    /// It can, but not by this request or not now.
    Refused(NoExit),
}

impl Context<'_> {
    /// Chooses by what the request belongs to.
    pub(super) fn by_session_or_rotation(&self) -> Result<ExitLease, NoExit> {
        use config::Rotate;
        if let Some((key, terms)) = self.session() {
            return self.in_session(&key, &terms);
        }
        match (self.pool.config().rotate, self.asking.connection) {
            (Rotate::PerConnection, Some(mark)) => self.on_connection(mark),
            (Rotate::PerRequest | Rotate::PerConnection, _) => {
                Ok(ExitLease::new(self.fresh(None)?, self.asking.host, None))
            }
            (Rotate::After(time), _) => self.in_rotation(Turn::AfterMs(millis(time).max(1))),
            (Rotate::Every(number), _) => self.in_rotation(Turn::Every(number.max(1))),
        }
    }

    /// The exit that the request has already, without changing anything.
    pub(super) fn pin_now(&self) -> Option<u64> {
        let (key, terms) = self.session()?;
        let sessions = &self.pool.registry.sessions;
        let (pinned, strict) = sessions.peek(&key, self.asking.now_ms)?;
        // What a session cannot use any more it leaves, if it may.
        match self.check(pinned) {
            Err(Stuck::Dead) if !(strict || terms.strict) => None,
            _ => Some(pinned.exit),
        }
    }

    fn session(&self) -> Option<(Key<'_>, Terms)> {
        let wish = self.asking.wish.session.as_ref()?;
        let rules = &self.pool.config().sessions;
        let ttl = wish.ttl.unwrap_or(rules.ttl).min(rules.max_ttl);
        let terms = Terms {
            ttl_ms: millis(ttl).max(1),
            idle_ms: rules.idle.map(millis),
            strict: wish.strict || rules.strict,
            max_per_user: rules.max_per_user,
            turn: Turn::Never,
        };
        Some((self.key(Id::Named(&wish.id)), terms))
    }

    fn key<'k>(&'k self, id: Id<'k>) -> Key<'k> {
        Key { pool: self.pool.shared_name(), whose: self.asking.whose, id }
    }

    fn in_session(&self, key: &Key<'_>, terms: &Terms) -> Result<ExitLease, NoExit> {
        let sessions = &self.pool.registry.sessions;
        let now = self.asking.now_ms;
        for _ in 0..ROUNDS {
            let Some(entered) = sessions.enter(key, now) else {
                let taken = self.fresh(None)?;
                match sessions.begin(key, pinned(&taken), terms, now) {
                    Begin::Began(entered) => {
                        return Ok(self.lease(taken, key, &entered, true, false));
                    }
                    Begin::TooMany => return Err(NoExit::TooManySessions),
                    // Another core was faster: its exit is the session's.
                    Begin::Exists => continue,
                }
            };
            match self.again(entered.pinned) {
                Ok(taken) => return Ok(self.lease(taken, key, &entered, false, false)),
                Err(stuck) => {
                    let inside = Inside { context: self, place: entered.place };
                    match stuck {
                        Stuck::Refused(no_exit) => return Err(no_exit),
                        Stuck::Dead if entered.strict || terms.strict => {
                            return Err(NoExit::SessionLost);
                        }
                        Stuck::Dead => {}
                    }
                    let taken = self.fresh(Some(entered.pinned.exit))?;
                    let to = pinned(&taken);
                    if let Some(moved) = sessions.move_on(entered.place, entered.pinned, to, now) {
                        inside.stay();
                        return Ok(self.lease(taken, key, &moved, false, true));
                    }
                }
            }
        }
        Err(NoExit::AllBusy)
    }

    fn lease(
        &self,
        taken: Taken,
        key: &Key<'_>,
        entered: &Entered,
        began: bool,
        moved: bool,
    ) -> ExitLease {
        let id = match key.id {
            Id::Named(name) => name.into(),
            Id::Rotation(_) => Box::default(),
        };
        let info = SessionInfo {
            id,
            left_ms: entered.left_ms,
            strict: entered.strict,
            began,
            moved,
            moves: entered.moves,
        };
        ExitLease::new(taken, self.asking.host, Some((info, entered.place)))
    }

    /// Rotation by time or number: a session of the user and its wish.
    fn in_rotation(&self, turn: Turn) -> Result<ExitLease, NoExit> {
        let sessions = &self.pool.registry.sessions;
        let now = self.asking.now_ms;
        let key = self.key(Id::Rotation(self.pool.registry.hash(self.targeting)));
        for _ in 0..ROUNDS {
            let Some(entered) = sessions.enter(&key, now) else {
                let taken = self.fresh(None)?;
                match sessions.begin(&key, pinned(&taken), &turn.terms(), now) {
                    Begin::Began(entered) => {
                        sessions.leave(entered.place, false, now);
                        return Ok(ExitLease::new(taken, self.asking.host, None));
                    }
                    // Nobody is promised anything: it is as if it rotated with every request.
                    Begin::TooMany => return Ok(ExitLease::new(taken, self.asking.host, None)),
                    Begin::Exists => continue,
                }
            };
            let inside = Inside { context: self, place: entered.place };
            if !entered.is_turn {
                match self.again(entered.pinned) {
                    Ok(taken) => {
                        inside.used();
                        return Ok(ExitLease::new(taken, self.asking.host, None));
                    }
                    Err(Stuck::Refused(no_exit)) => return Err(no_exit),
                    Err(Stuck::Dead) => {}
                }
            }
            let taken = self.fresh(Some(entered.pinned.exit))?;
            if sessions.move_on(entered.place, entered.pinned, pinned(&taken), now).is_some() {
                inside.used();
                return Ok(ExitLease::new(taken, self.asking.host, None));
            }
        }
        Err(NoExit::AllBusy)
    }

    fn on_connection(&self, mark: &ConnectionMark) -> Result<ExitLease, NoExit> {
        let registry = &self.pool.registry;
        let key = registry.hash((self.pool.name(), self.asking.whose, self.targeting));
        let taken = match mark.get(key).map(|pinned| (pinned, self.again(pinned))) {
            Some((_, Ok(taken))) => taken,
            Some((_, Err(Stuck::Refused(no_exit)))) => return Err(no_exit),
            Some((pinned, Err(Stuck::Dead))) => self.fresh(Some(pinned.exit))?,
            None => self.fresh(None)?,
        };
        mark.set(key, pinned(&taken));
        Ok(ExitLease::new(taken, self.asking.host, None))
    }

    /// Takes the exit that was there before.
    fn again(&self, pinned: Pinned) -> Result<Taken, Stuck> {
        self.check(pinned)?;
        let Some(member) = self.pool.member(pinned.exit) else { return Err(Stuck::Dead) };
        self.take(member, pinned.source).map_err(|refusal| stuck(refusal, member))
    }

    fn check(&self, pinned: Pinned) -> Result<(), Stuck> {
        let Some(member) = self.pool.member(pinned.exit) else { return Err(Stuck::Dead) };
        let refusal = self.unfit(member).or_else(|| self.refusal(member));
        refusal.map_or(Ok(()), |refusal| Err(stuck(refusal, member)))
    }
}

fn pinned(taken: &Taken) -> Pinned {
    Pinned { exit: taken.member.state.id, source: taken.source }
}

/// How long a busy exit is waited for where its pool says nothing of waiting.
const PATIENCE_MS: u64 = 10_000;

fn stuck(refusal: Refusal, member: &Member) -> Stuck {
    Stuck::Refused(match refusal {
        Refusal::WrongCountry { .. }
        | Refusal::OtherSession
        | Refusal::Tried
        | Refusal::NotAllowed
        | Refusal::Ill
        | Refusal::Banned { .. } => return Stuck::Dead,
        Refusal::Unfit { key } => NoExit::NoMatch { key },
        Refusal::WrongFamily => NoExit::WrongFamily,
        Refusal::Held | Refusal::Busy { .. } => NoExit::PinnedBusy {
            patience_ms: member.rules.gap.map_or(PATIENCE_MS, |gap| gap.patience_ms),
        },
        Refusal::Paced { wait_ms, patience_ms } => NoExit::Paced { wait_ms, patience_ms },
    })
}

/// A session that was entered and may have to be left again.
struct Inside<'c, 'a> {
    context: &'c Context<'a>,
    place: Place,
}

impl Inside<'_, '_> {
    /// The lease leaves it.
    fn stay(self) {
        std::mem::forget(self);
    }

    /// It has come to a request; a rotation is not stayed in.
    fn used(self) {
        let (context, place) = (self.context, self.place);
        std::mem::forget(self);
        context.pool.registry.sessions.leave(place, false, context.asking.now_ms);
    }
}

impl Drop for Inside<'_, '_> {
    fn drop(&mut self) {
        let sessions = &self.context.pool.registry.sessions;
        sessions.leave(self.place, true, self.context.asking.now_ms);
    }
}
