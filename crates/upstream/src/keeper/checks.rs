//! Active checks: is a server well?

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Weak;
use std::time::Duration;

use config::{Probe, ProxyVersion};
use egress::Exit;
use net::address::AllowAll;
use net::proxy_protocol::{LOCAL_V1, LOCAL_V2};
use net::watchdog::process_ms;
use tls::Io;
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::{Random, alive, grpc, http};
use crate::health::{Health, Turn};

/// The first check comes within this time.
const FIRST_WITHIN: Duration = Duration::from_millis(500);
/// A check that asks the server how it is is made at least each so many times, however good its
/// traffic looks: a server that is about to go says so here, and only here.
const SPARED_AT_MOST: u32 = 2;

/// Checks a server until nobody wants to know any more.
pub(super) async fn repeat(health: Weak<Health>, turns: Rc<Semaphore>, mut random: Random) {
    let mut pause = match alive(&health) {
        Some(health) => random.below(FIRST_WITHIN.min(health.check.every)),
        None => return,
    };
    let mut spared = 0;
    loop {
        sleep(pause).await;
        let Some(health) = alive(&health) else { return };
        let every = health.check.every;
        if may_spare(&health, spared) {
            spared += 1;
        } else {
            spared = 0;
            let Ok(_turn) = turns.acquire().await else { return };
            let outcome = timeout(health.check.timeout, check(&health)).await;
            tell(&health, outcome.unwrap_or_else(|_| Err("no answer in time".to_owned())));
        }
        // A tenth more or less, so that many do not fall into step.
        pause = every.mul_f64(0.9) + random.below(every / 5);
    }
}

/// Whether traffic has shown what the check would.
fn may_spare(health: &Health, spared: u32) -> bool {
    let enough = match health.check.probe {
        Probe::Tcp => u32::MAX,
        Probe::Http { .. } | Probe::Grpc { .. } => SPARED_AT_MOST,
    };
    spared < enough
        && health.check.port.is_none()
        && health.is_steady()
        && health
            .endpoint
            .upgrade()
            .is_some_and(|endpoint| endpoint.proved_well(process_ms(), health.check.every))
}

fn tell(health: &Health, outcome: Result<(), String>) {
    let Some(endpoint) = health.endpoint.upgrade() else { return };
    let why = outcome.as_ref().err().cloned().unwrap_or_default();
    match health.note(outcome) {
        Turn::Same => {}
        Turn::Ill => {
            tracing::warn!(server = %endpoint.address(), why, "server is ill");
        }
        Turn::Well => {
            tracing::info!(server = %endpoint.address(), "server is well");
            let now = process_ms();
            endpoint.connected(now);
            endpoint.became_well(now);
            endpoint.wake_queues();
        }
    }
}

/// Makes a check; `Err` says why the server is not well.
async fn check(health: &Health) -> Result<(), String> {
    let Some(endpoint) = health.endpoint.upgrade() else { return Err("gone".to_owned()) };
    let address = SocketAddr::new(endpoint.address().ip(), health.port);
    let (stream, _) = Exit::default()
        .connect(&[address], &AllowAll, health.check.timeout)
        .await
        .map_err(|error| error.to_string())?;
    let mut io = Io::Tcp(stream);
    if health.check.probe == Probe::Tcp {
        return Ok(());
    }
    // Nobody's connection is carried: the check is our own.
    let introduction: &[u8] = match health.introduction {
        None => &[],
        Some(ProxyVersion::V1) => &LOCAL_V1,
        Some(ProxyVersion::V2) => &LOCAL_V2,
    };
    io.write_all(introduction).await.map_err(|error| error.to_string())?;
    let tls = health.tls();
    if let Some(tls) = &tls {
        io = tls.connect(io, &health.host).await.map_err(|error| error.to_string())?;
    }
    match &health.check.probe {
        Probe::Tcp => Ok(()),
        Probe::Http { target, host, statuses, body } => {
            let ask = http::Ask {
                target,
                host: host.as_deref().unwrap_or(&health.authority),
                secure: tls.is_some(),
                statuses,
                text: body.as_deref(),
            };
            if health.http2 { http::ask_http2(io, &ask).await } else { http::ask(io, &ask).await }
        }
        Probe::Grpc { service } => grpc::ask(io, &health.authority, tls.is_some(), service).await,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use config::HealthCheck;

    use super::*;
    use crate::endpoint::Endpoint;
    use crate::health::tests::{endpoint, subject};

    fn checked(probe: Probe, port: Option<u16>) -> (Arc<Endpoint>, Health) {
        let endpoint = endpoint();
        let check = HealthCheck {
            probe,
            every: Duration::from_secs(60),
            timeout: Duration::from_secs(1),
            fall: 2,
            rise: 2,
            port,
            span: (0, 0).into(),
        };
        let health = Health::new(&endpoint, &check, subject());
        (endpoint, health)
    }

    fn grpc() -> Probe {
        Probe::Grpc { service: String::new() }
    }

    #[test]
    fn good_traffic_spares_checks_but_not_all_of_those_that_ask() {
        let (endpoint, health) = checked(grpc(), None);
        assert!(!may_spare(&health, 0), "it was never checked");
        health.note(Ok(()));
        assert!(!may_spare(&health, 0), "there is no traffic");
        endpoint.succeeded(process_ms(), Some(Duration::from_millis(1)));
        assert!(may_spare(&health, 0) && may_spare(&health, 1));
        assert!(!may_spare(&health, 2));
        let (endpoint, health) = checked(Probe::Tcp, None);
        health.note(Ok(()));
        endpoint.succeeded(process_ms(), Some(Duration::from_millis(1)));
        assert!(may_spare(&health, 1000), "a request says more than a connection");
    }

    #[test]
    fn nothing_is_spared_while_there_is_doubt() {
        let (endpoint, health) = checked(Probe::Tcp, None);
        health.note(Ok(()));
        endpoint.succeeded(process_ms(), Some(Duration::from_millis(1)));
        health.note(Err("refused".to_owned()));
        assert!(!may_spare(&health, 0), "the last one failed");
        health.note(Ok(()));
        assert!(may_spare(&health, 0));
        endpoint.failed(process_ms());
        assert!(!may_spare(&health, 0), "a request failed");
        let (endpoint, health) = checked(Probe::Tcp, Some(81));
        health.note(Ok(()));
        endpoint.succeeded(process_ms(), Some(Duration::from_millis(1)));
        assert!(!may_spare(&health, 0), "traffic says nothing of another port");
    }

    #[test]
    fn one_that_is_back_begins_slowly() {
        let (endpoint, health) = checked(Probe::Tcp, None);
        tell(&health, Err("refused".to_owned()));
        assert!(health.is_ill());
        tell(&health, Ok(()));
        assert_eq!(endpoint.well_since(process_ms()), 0);
        tell(&health, Ok(()));
        assert!(!health.is_ill());
        assert_ne!(endpoint.well_since(process_ms()), 0);
    }
}
