//! A name whose addresses are kept up to date.

use std::rc::Rc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::{Instant, sleep_until};

use super::{Addresses, DnsError, Resolver};

/// The pause after the first failure in a row; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);

const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The addresses of a name, looked up again whenever they expire.
///
/// The last good set stays while name servers fail. Cheap to clone; the last clone
/// to go ends the work.
#[derive(Clone, Debug)]
pub struct NameWatch {
    pub(super) watched: Rc<Watched>,
}

#[derive(Debug)]
pub(super) struct Watched {
    pub(super) state: watch::Receiver<State>,
    task: AbortHandle,
}

#[derive(Debug)]
pub(super) struct State {
    /// Of the last look-up; `None` until the first has ended.
    pub(super) last: Option<Result<(), DnsError>>,
    addresses: Addresses,
}

impl NameWatch {
    pub(super) fn start(resolver: Resolver, name: &str) -> Self {
        let nothing = State { last: None, addresses: Addresses::from(&[][..]) };
        let (sender, state) = watch::channel(nothing);
        let task = spawn_local(follow(resolver, name.into(), sender)).abort_handle();
        Self { watched: Rc::new(Watched { state, task }) }
    }

    /// The last good set; empty until there is one.
    #[must_use]
    pub fn addresses(&self) -> Addresses {
        self.watched.state.borrow().addresses.clone()
    }

    /// Waits until the first look-up has ended, and says how the last one did.
    ///
    /// # Errors
    ///
    /// Why the last look-up failed; [`NameWatch::addresses`] may be good nevertheless.
    pub async fn ready(&self) -> Result<(), DnsError> {
        let mut state = self.watched.state.clone();
        match state.wait_for(|state| state.last.is_some()).await.as_deref() {
            Ok(State { last: Some(last), .. }) => last.clone(),
            _ => Err(DnsError::Failed("look-up abandoned".into())),
        }
    }

    /// Tells of each new set of addresses from now on.
    #[must_use]
    pub fn changes(&self) -> Changes {
        let mut state = self.watched.state.clone();
        let seen = state.borrow_and_update().addresses.clone();
        Changes { state, seen }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Tells when the addresses of a [`NameWatch`] change.
#[derive(Debug)]
pub struct Changes {
    state: watch::Receiver<State>,
    seen: Addresses,
}

impl Changes {
    /// Waits for the next different set; `None` once the watch is gone.
    pub async fn next(&mut self) -> Option<Addresses> {
        let seen = self.seen.clone();
        let state = self.state.wait_for(|state| state.addresses != seen).await.ok()?;
        self.seen = state.addresses.clone();
        Some(self.seen.clone())
    }
}

async fn follow(resolver: Resolver, name: Box<str>, state: watch::Sender<State>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let outcome = resolver.outcome(&name).await;
        let next = match outcome.result {
            Ok(addresses) => {
                pause = FIRST_PAUSE;
                state.send_modify(|state| {
                    state.last = Some(Ok(()));
                    // The order of answers turns; an equal set is no news.
                    if !same_set(&state.addresses, &addresses) {
                        state.addresses = addresses;
                    }
                });
                outcome.until
            }
            Err(error) => {
                tracing::warn!(name = &*name, %error, "keeping the last addresses");
                state.send_modify(|state| state.last = Some(Err(error)));
                let next = Instant::now() + pause;
                pause = (pause * 2).min(LONGEST_PAUSE);
                next
            }
        };
        sleep_until(next).await;
    }
}

fn same_set(left: &Addresses, right: &Addresses) -> bool {
    left.len() == right.len() && left.iter().all(|address| right.contains(address))
}
