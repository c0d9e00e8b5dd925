//! Names of servers, looked up again whenever their addresses expire.

use std::sync::{Arc, Weak};
use std::time::Duration;

use config::ServerHost;
use net::resolver::{DnsError, Resolver};
use tokio::sync::watch;
use tokio::time::sleep;

use super::alive;
use crate::member::{Found, found};
use crate::plan::ClusterPlan;

/// Addresses are believed at most so long, whatever their time to live.
const LONGEST: Duration = Duration::from_secs(300);
/// The pause after the first failure in a row; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Targets of one service that are used.
const MAX_TARGETS: usize = 256;

/// Tells a plan the addresses of one of its servers, until it wants to know no more. New name
/// servers are asked at once.
pub(super) async fn follow(
    plan: Weak<ClusterPlan>,
    number: u64,
    host: ServerHost,
    port: u16,
    mut resolver: watch::Receiver<Option<Resolver>>,
) {
    let mut pause = FIRST_PAUSE;
    loop {
        let current = resolver.borrow_and_update().clone();
        let (outcome, holds) = match &current {
            Some(resolver) => look_up(resolver, &host, port).await,
            None => (Err(DnsError::Failed("no name servers are known".into())), FIRST_PAUSE),
        };
        let next = match &outcome {
            Ok(_) => {
                pause = FIRST_PAUSE;
                holds.min(LONGEST)
            }
            Err(error) => {
                tracing::warn!(?host, %error, "keeping the last addresses of a server");
                let next = pause.max(holds.min(LONGEST_PAUSE));
                pause = (pause * 2).min(LONGEST_PAUSE);
                next
            }
        };
        match alive(&plan) {
            Some(plan) if plan.looked_up(number, outcome) => {}
            _ => return,
        }
        tokio::select! {
            () = sleep(next) => {}
            changed = resolver.changed() => if changed.is_err() { return },
        }
    }
}

async fn look_up(
    resolver: &Resolver,
    host: &ServerHost,
    port: u16,
) -> (Result<Vec<Found>, DnsError>, Duration) {
    let name = match host {
        ServerHost::Name(name) => name,
        ServerHost::Srv(name) => return services(resolver, name).await,
        ServerHost::Address(ip) => return (Ok(found("", port, &[*ip])), LONGEST),
    };
    let (addresses, holds) = resolver.lookup_for(name).await;
    (addresses.map(|addresses| found(name, port, &addresses)), holds)
}

/// The addresses of all targets of a service. A target without an address is left out; where
/// that is all of them, the look-up has failed.
async fn services(resolver: &Resolver, name: &str) -> (Result<Vec<Found>, DnsError>, Duration) {
    let (services, mut holds) = resolver.services(name).await;
    let services = match services {
        Ok(services) => services,
        Err(error) => return (Err(error), holds),
    };
    let mut all = Vec::new();
    let mut failed = None;
    for service in services.into_iter().take(MAX_TARGETS) {
        let (addresses, target_holds) = resolver.lookup_for(&service.target).await;
        holds = holds.min(target_holds);
        match addresses {
            Ok(addresses) => {
                let target: Arc<str> = service.target.into();
                let places = found(&target, service.port, &addresses);
                all.extend(places.into_iter().map(|place| Found {
                    priority: service.priority.saturating_add(place.priority),
                    weight: Some(service.weight),
                    target: Some(Arc::clone(&target)),
                    ..place
                }));
            }
            Err(error) => failed = Some(error),
        }
    }
    match (all.is_empty(), failed) {
        (true, failed) => (Err(failed.unwrap_or(DnsError::NotFound)), holds),
        (false, _) => (Ok(all), holds),
    }
}
