//! What active checks have found out about a server.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use config::{HealthCheck, ProxyVersion};
use tls::ClientTls;

use crate::endpoint::Endpoint;

/// One check of one real server, made once however many groups ask for it. The group that was
/// made last lends its TLS: it has read the files last.
#[derive(Debug)]
pub struct Health {
    pub(crate) endpoint: std::sync::Weak<Endpoint>,
    /// Without the place where it was written.
    pub(crate) check: HealthCheck,
    /// What is written into `Host`, and the name that TLS asks for.
    pub(crate) authority: String,
    pub(crate) host: String,
    pub(crate) port: u16,
    tls: Mutex<Lent>,
    /// HTTP/2 is spoken.
    pub(crate) http2: bool,
    /// The header that its connections begin with.
    pub(crate) introduction: Option<ProxyVersion>,
    ill: AtomicBool,
    /// It has passed a check before.
    proved: AtomicBool,
    /// Checks in a row that say the contrary of `ill`.
    streak: AtomicU32,
    why: Mutex<Option<String>>,
}

/// TLS, and which plan it is from.
#[derive(Debug)]
struct Lent {
    tls: Option<ClientTls>,
    made: u64,
}

/// What a check has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Nothing.
    Same,
    /// It takes requests again.
    Well,
    /// It takes none any more.
    Ill,
}

/// What a check needs to know besides the check.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) authority: String,
    pub(crate) host: String,
    pub(crate) tls: Option<ClientTls>,
    /// The plan that asks; later ones have higher numbers.
    pub(crate) made: u64,
    pub(crate) http2: bool,
    pub(crate) introduction: Option<ProxyVersion>,
}

impl Health {
    pub(crate) fn new(endpoint: &Arc<Endpoint>, check: &HealthCheck, subject: Subject) -> Self {
        let check = HealthCheck { span: (0, 0).into(), ..check.clone() };
        Self {
            port: check.port.unwrap_or(endpoint.address().port()),
            endpoint: Arc::downgrade(endpoint),
            check,
            authority: subject.authority,
            host: subject.host,
            tls: Mutex::new(Lent { tls: subject.tls, made: subject.made }),
            http2: subject.http2,
            introduction: subject.introduction,
            ill: AtomicBool::new(false),
            proved: AtomicBool::new(false),
            streak: AtomicU32::new(0),
            why: Mutex::default(),
        }
    }

    /// Whether the other one would ask the same of the same server.
    pub(crate) fn is_same_check(&self, other: &Self) -> bool {
        self.check == other.check
            && self.authority == other.authority
            && self.host == other.host
            && self.http2 == other.http2
            && self.introduction == other.introduction
    }

    /// How TLS is done.
    pub(crate) fn tls(&self) -> Option<ClientTls> {
        self.tls.lock().unwrap_or_else(PoisonError::into_inner).tls.clone()
    }

    /// Does TLS as the other one would, if that is from a later plan: certificates may have
    /// changed in their files.
    pub(crate) fn follow(&self, other: Self) {
        let new = other.tls.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut lent = self.tls.lock().unwrap_or_else(PoisonError::into_inner);
        if new.made >= lent.made {
            *lent = new;
        }
    }

    /// Whether its checks fail.
    #[must_use]
    pub fn is_ill(&self) -> bool {
        self.ill.load(Ordering::Relaxed)
    }

    /// Whether nothing speaks against it at the moment.
    pub(crate) fn is_steady(&self) -> bool {
        self.proved.load(Ordering::Relaxed)
            && !self.is_ill()
            && self.streak.load(Ordering::Relaxed) == 0
    }

    /// Why the last check failed, if it did.
    #[must_use]
    pub fn why(&self) -> Option<String> {
        self.why.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes note of a check; only the one thread that makes checks does.
    pub(crate) fn note(&self, outcome: Result<(), String>) -> Turn {
        let good = outcome.is_ok();
        *self.why.lock().unwrap_or_else(PoisonError::into_inner) = outcome.err();
        let proved = self.proved.load(Ordering::Relaxed);
        if good {
            self.proved.store(true, Ordering::Relaxed);
        }
        if good != self.is_ill() {
            self.streak.store(0, Ordering::Relaxed);
            return Turn::Same;
        }
        let streak = self.streak.load(Ordering::Relaxed) + 1;
        // A server that has never shown that it is well has no credit.
        let enough = if good {
            self.check.rise
        } else if proved {
            self.check.fall
        } else {
            1
        };
        if streak < enough {
            self.streak.store(streak, Ordering::Relaxed);
            return Turn::Same;
        }
        self.streak.store(0, Ordering::Relaxed);
        self.ill.store(!good, Ordering::Relaxed);
        if good { Turn::Well } else { Turn::Ill }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use config::Probe;

    use super::*;
    use crate::endpoint::EndpointKey;

    pub(crate) fn endpoint() -> Arc<Endpoint> {
        let server = config::Server {
            scheme: config::Scheme::Http,
            protocol: config::ServerProtocol::Http1,
            host: config::ServerHost::Address([127, 0, 0, 1].into()),
            port: 80,
            base_path: String::new(),
            weight: 1,
            backup: false,
            span: (0, 0).into(),
        };
        let address = ([127, 0, 0, 1], 80).into();
        let key = EndpointKey::new(&server, address, "127.0.0.1", &config::UpstreamTls::default());
        Arc::new(Endpoint::new(key, 0))
    }

    pub(crate) fn subject() -> Subject {
        Subject {
            authority: "a".into(),
            host: "a".into(),
            tls: None,
            made: 0,
            http2: false,
            introduction: None,
        }
    }

    fn health(fall: u32, rise: u32) -> (Arc<Endpoint>, Health) {
        let endpoint = endpoint();
        let check = HealthCheck {
            probe: Probe::Tcp,
            every: Duration::from_secs(5),
            timeout: Duration::from_secs(1),
            fall,
            rise,
            port: None,
            span: (7, 7).into(),
        };
        let health = Health::new(&endpoint, &check, subject());
        (endpoint, health)
    }

    fn bad() -> Result<(), String> {
        Err("refused".to_owned())
    }

    #[test]
    fn it_falls_and_rises_by_streaks() {
        let (_endpoint, health) = health(3, 2);
        assert_eq!(health.note(Ok(())), Turn::Same);
        assert_eq!(health.note(bad()), Turn::Same);
        assert!(!health.is_steady());
        assert_eq!(health.note(bad()), Turn::Same);
        assert_eq!(health.note(Ok(())), Turn::Same, "the streak is broken");
        assert!(health.is_steady());
        assert_eq!(health.note(bad()), Turn::Same);
        assert_eq!(health.note(bad()), Turn::Same);
        assert_eq!(health.note(bad()), Turn::Ill);
        assert_eq!(health.why().as_deref(), Some("refused"));
        assert_eq!(health.note(Ok(())), Turn::Same);
        assert_eq!(health.note(bad()), Turn::Same);
        assert_eq!(health.note(Ok(())), Turn::Same);
        assert!(health.is_ill());
        assert_eq!(health.note(Ok(())), Turn::Well);
        assert!(!health.is_ill());
        assert_eq!(health.why(), None);
    }

    #[test]
    fn who_was_never_well_is_ill_at_the_first_failure() {
        let (_endpoint, health) = health(3, 1);
        assert!(!health.is_ill(), "but takes requests until it is known");
        assert!(!health.is_steady());
        assert_eq!(health.note(bad()), Turn::Ill);
        assert_eq!(health.note(Ok(())), Turn::Well);
        assert_eq!(health.note(bad()), Turn::Same, "it has credit now");
    }

    #[test]
    fn the_plan_that_was_made_last_lends_its_tls() {
        let endpoint = endpoint();
        let check = HealthCheck {
            probe: Probe::Tcp,
            every: Duration::from_secs(5),
            timeout: Duration::from_secs(1),
            fall: 3,
            rise: 2,
            port: None,
            span: (7, 7).into(),
        };
        let of = |made, tls| Health::new(&endpoint, &check, Subject { made, tls, ..subject() });
        let tls = ClientTls::build(&Default::default(), &tls::Roots::system(), &[]).unwrap();
        let (kept, _) = endpoint.health(of(1, None));
        endpoint.health(of(2, Some(tls)));
        assert!(kept.tls().is_some());
        endpoint.health(of(1, None));
        assert!(kept.tls().is_some(), "the earlier plan is still there");
        endpoint.health(of(3, None));
        assert!(kept.tls().is_none());
    }

    #[test]
    fn one_state_for_all_who_ask_the_same() {
        let (endpoint, first) = health(3, 2);
        let (first, new) = endpoint.health(first);
        assert!(new);
        let (_, same) = health(3, 2);
        let (same, new) = endpoint.health(same);
        assert!(!new && Arc::ptr_eq(&first, &same));
        let (_, other) = health(4, 2);
        assert!(endpoint.health(other).1);
    }
}
