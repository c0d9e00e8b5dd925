//! The thread that looks after servers in the background: it resolves their names and checks
//! whether they are well. It holds nothing alive: what nobody uses any more it leaves.

use std::io;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::Duration;

use config::{Dns, ServerHost};
use net::resolver::Resolver;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::spawn_local;

use crate::health::Health;
use crate::plan::ClusterPlan;

mod checks;
mod grpc;
mod http;
mod names;

/// Checks that run at the same time.
const CHECKS_AT_ONCE: usize = 64;

/// What the thread is told.
#[derive(Debug)]
pub(crate) enum Order {
    /// Keep the addresses of a server up to date.
    Resolve {
        /// Whose server it is.
        plan: Weak<ClusterPlan>,
        /// Which.
        number: u64,
        /// Its host, a name.
        host: ServerHost,
        /// Its port.
        port: u16,
        /// Closed when the plan is gone.
        alive: watch::Receiver<()>,
    },
    /// Check a server, again and again.
    Check(Weak<Health>),
    /// Resolve names in this way from now on.
    Resolvers(Dns),
}

pub(crate) type Sender = mpsc::UnboundedSender<Order>;

/// Starts the thread; it ends with the sender.
pub(crate) fn start(dns: Dns) -> io::Result<Sender> {
    let (sender, orders) = mpsc::unbounded_channel();
    std::thread::Builder::new()
        .name("keeper".to_owned())
        .spawn(move || net::run_local(work(dns, orders)))?;
    Ok(sender)
}

async fn work(dns: Dns, mut orders: mpsc::UnboundedReceiver<Order>) {
    let (resolver, current) = watch::channel(resolver(&dns));
    let turns = Rc::new(Semaphore::new(CHECKS_AT_ONCE));
    let mut random = Random::new();
    while let Some(order) = orders.recv().await {
        match order {
            Order::Resolve { plan, number, host, port, mut alive } => {
                let following = names::follow(plan, number, host, port, current.clone());
                spawn_local(async move {
                    tokio::select! {
                        () = following => {}
                        // Nothing is ever sent: it is closed.
                        _ = alive.changed() => {}
                    }
                });
            }
            Order::Check(health) => {
                spawn_local(checks::repeat(health, Rc::clone(&turns), random.next()));
            }
            Order::Resolvers(dns) => {
                resolver.send_replace(self::resolver(&dns));
            }
        }
    }
}

/// A resolver; `None` where the system's settings make no sense, which names are then told.
fn resolver(dns: &Dns) -> Option<Resolver> {
    Resolver::new(dns)
        .inspect_err(|error| tracing::error!(%error, "names of servers cannot be resolved"))
        .ok()
}

/// Enough chance that checks do not run in step.
#[derive(Debug, Clone)]
struct Random(u64);

impl Random {
    fn new() -> Self {
        use std::hash::{BuildHasher, RandomState};
        Self(RandomState::new().hash_one(0u8))
    }

    fn next(&mut self) -> Self {
        self.0 = crate::balance::mix(self.0);
        self.clone()
    }

    /// Some time below `most`.
    fn below(&mut self, most: Duration) -> Duration {
        let part = self.next().0 >> 32;
        most.mul_f64(part as f64 / f64::from(u32::MAX))
    }
}

/// Follows until nobody holds it.
fn alive<T>(weak: &Weak<T>) -> Option<Arc<T>> {
    weak.upgrade()
}
