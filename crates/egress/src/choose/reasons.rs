//! Why an exit does not take a request, and why there is none at all.

use std::fmt;

use config::Country;

/// Why there is no exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoExit {
    /// No exit fits the wish; this key of it is the first that none fits. In a session: the exit
    /// of the session does not fit it.
    NoMatch {
        /// `exit`, `continent`, `country`, `state`, `city`, `zip`, `asn` or `tag`.
        key: &'static str,
    },
    /// The user may have none of those that fit.
    NotAllowed,
    /// All of them are banned.
    AllBanned,
    /// All of them are ill.
    AllIll,
    /// All of them have as much under way as they may.
    AllBusy,
    /// All of them have to rest.
    Paced {
        /// The first may be used again in so many milliseconds.
        wait_ms: u64,
        /// A request waits for it so long at most.
        patience_ms: u64,
    },
    /// The exit of the session, the rotation or the connection has as much under way as it may, or
    /// serves somebody else: another one would be none of it.
    PinnedBusy {
        /// A request waits for it so long at most.
        patience_ms: u64,
    },
    /// The session is strict, and its exit cannot be used any more.
    SessionLost,
    /// The user has as many sessions as it may, or there are as many as there may be.
    TooManySessions,
    /// The request has tried all of them.
    AllTried,
    /// The target is an address of a family that none of them has.
    WrongFamily,
}

impl fmt::Display for NoExit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMatch { key } => write!(f, "no exit fits the wished `{key}`"),
            Self::NotAllowed => f.write_str("the user may use no exit that fits"),
            Self::AllBanned => f.write_str("all exits that fit are banned"),
            Self::AllIll => f.write_str("all exits that fit are ill"),
            Self::AllBusy => f.write_str("all exits that fit are busy"),
            Self::Paced { wait_ms, .. } => write!(f, "all exits that fit rest for {wait_ms} ms"),
            Self::PinnedBusy { .. } => f.write_str("the exit of the session is busy"),
            Self::SessionLost => f.write_str("the exit of the session is lost"),
            Self::TooManySessions => f.write_str("too many sessions"),
            Self::AllTried => f.write_str("all exits that fit were tried"),
            Self::WrongFamily => f.write_str("no exit that fits has the target's address family"),
        }
    }
}

impl std::error::Error for NoExit {}

/// How often it is looked whether a busy exit has a place.
const LOOK_AGAIN_MS: u64 = 25;

impl NoExit {
    /// In how many milliseconds it is worth asking again, after so many that were waited; `None`:
    /// it is not.
    #[must_use]
    pub fn ask_again_in(&self, waited_ms: u64) -> Option<u64> {
        let (wait_ms, patience_ms) = match *self {
            Self::Paced { wait_ms, patience_ms } => (wait_ms.max(1), patience_ms),
            Self::PinnedBusy { patience_ms } => (LOOK_AGAIN_MS, patience_ms),
            _ => return None,
        };
        (waited_ms.saturating_add(wait_ms) <= patience_ms).then_some(wait_ms)
    }
}

/// Why an exit does not take a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It does not fit this key of the wish.
    Unfit {
        /// As in [`NoExit::NoMatch`].
        key: &'static str,
    },
    /// Its address is in another country than its label says, and the wish is about places.
    WrongCountry {
        /// The one that was measured.
        measured: Option<Country>,
    },
    /// The session has another exit.
    OtherSession,
    /// The request has tried it.
    Tried,
    /// The user may not have it.
    NotAllowed,
    /// It has no address of the target's family.
    WrongFamily,
    /// Measurements say that it does not work.
    Ill,
    /// It is banned.
    Banned {
        /// How long yet.
        left_ms: u64,
        /// Whether for this target host only.
        host: bool,
    },
    /// It serves somebody else.
    Held,
    /// It has as much under way as it may.
    Busy {
        /// Whether to this target host.
        host: bool,
    },
    /// It has to rest.
    Paced {
        /// How long yet.
        wait_ms: u64,
        /// How long a request waits for it at most.
        patience_ms: u64,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let here = |host: &bool| if *host { " for this host" } else { "" };
        match self {
            Self::Unfit { key } => write!(f, "does not fit `{key}`"),
            Self::WrongCountry { measured: Some(country) } => {
                write!(f, "was measured to be in {country}")
            }
            Self::WrongCountry { measured: None } => f.write_str("is in another country"),
            Self::OtherSession => f.write_str("the session has another exit"),
            Self::Tried => f.write_str("was tried already"),
            Self::NotAllowed => f.write_str("not allowed to the user"),
            Self::WrongFamily => f.write_str("has no address of the target's family"),
            Self::Ill => f.write_str("ill"),
            Self::Banned { left_ms, host } => write!(f, "banned{} for {left_ms} ms", here(host)),
            Self::Held => f.write_str("serves another user or session"),
            Self::Busy { host } => write!(f, "busy{}", here(host)),
            Self::Paced { wait_ms, .. } => write!(f, "rests for {wait_ms} ms"),
        }
    }
}

/// What spoke against the exits that were looked at.
#[derive(Debug, Default)]
pub(super) struct Reasons {
    seen: [bool; 6],
    paced: Option<(u64, u64)>,
}

impl Reasons {
    const BUSY: usize = 0;
    const TRIED: usize = 1;
    const BANNED: usize = 2;
    const ILL: usize = 3;
    const FAMILY: usize = 4;
    const NOT_ALLOWED: usize = 5;

    /// Notes a reason; whether there is none.
    pub(super) fn none(&mut self, refusal: Option<Refusal>) -> bool {
        let Some(refusal) = refusal else { return true };
        let seen = match refusal {
            Refusal::Paced { wait_ms, patience_ms } => {
                let wait = (wait_ms, patience_ms);
                self.paced = Some(self.paced.map_or(wait, |known| known.min(wait)));
                return false;
            }
            // It is said of all that fit by their labels: that none is left is told below.
            Refusal::Unfit { .. } | Refusal::WrongCountry { .. } | Refusal::OtherSession => {
                return false;
            }
            Refusal::Held | Refusal::Busy { .. } => Self::BUSY,
            Refusal::Tried => Self::TRIED,
            Refusal::Banned { .. } => Self::BANNED,
            Refusal::Ill => Self::ILL,
            Refusal::WrongFamily => Self::FAMILY,
            Refusal::NotAllowed => Self::NOT_ALLOWED,
        };
        self.seen[seen] = true;
        false
    }

    /// The one that is over soonest.
    pub(super) fn sum(&self) -> NoExit {
        if let Some((wait_ms, patience_ms)) = self.paced {
            return NoExit::Paced { wait_ms, patience_ms };
        }
        let sums = [
            NoExit::AllBusy,
            NoExit::AllTried,
            NoExit::AllBanned,
            NoExit::AllIll,
            NoExit::WrongFamily,
            NoExit::NotAllowed,
        ];
        let first = self.seen.iter().position(|seen| *seen);
        first.map_or(NoExit::NoMatch { key: "country" }, |at| sums[at])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_waited_as_long_as_the_pool_says() {
        let paced = NoExit::Paced { wait_ms: 40, patience_ms: 100 };
        assert_eq!(
            [0, 60, 61].map(|waited| paced.ask_again_in(waited)),
            [Some(40), Some(40), None]
        );
        let busy = NoExit::PinnedBusy { patience_ms: 50 };
        assert_eq!([0, 25, 26].map(|waited| busy.ask_again_in(waited)), [Some(25), Some(25), None]);
        assert_eq!(NoExit::AllBusy.ask_again_in(0), None);
    }
}
