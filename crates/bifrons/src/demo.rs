//! A tour: small origins, both faces over them, real requests, and what came of each.
//!
//! A later feature adds its steps to the `PART` it belongs to: a title, and a function that makes
//! the requests, checks every outcome, and tells the story.

mod api;
mod cache;
mod certificate;
mod change;
mod client;
mod configuration;
mod forward;
mod gateway;
mod grpc;
mod http2;
mod load;
mod operation;
mod origin;
mod protocols;
mod reverse;
mod screen;
mod step;
mod websocket;
mod wire;
mod world;

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use miette::{IntoDiagnostic, Report, WrapErr, miette};
use server::Inherited;
use tokio::signal::unix::{SignalKind, signal};

use crate::args::Demo;
use client::Wrong;
use screen::Screen;
use step::{DEADLINE, Part, Step, Story};
use world::World;

const TOUR: [&Part; 7] = [
    &reverse::PART,
    &protocols::PART,
    &cache::PART,
    &forward::PART,
    &gateway::PART,
    &change::PART,
    &operation::PART,
];

/// How long connections that somebody made by hand may go on when the demo ends.
const DRAIN: Duration = Duration::from_secs(1);

/// Makes the tour, and stays up afterwards unless it was made `--once`.
pub(crate) fn run(options: &Demo) -> Result<ExitCode, Report> {
    // Its files and origins end with it: no other process could go on with them.
    if Inherited::receive().into_diagnostic()?.is_some() {
        return Err(miette!("a demo cannot be upgraded"));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .into_diagnostic()
        .wrap_err("cannot start")?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).into_diagnostic()?;
        let mut interrupt = signal(SignalKind::interrupt()).into_diagnostic()?;
        let mut world = World::start(&options.common)?;
        let outcome = tokio::select! {
            outcome = show(&mut world, options.once) => outcome,
            _ = terminate.recv() => Ok(ExitCode::SUCCESS),
            _ = interrupt.recv() => Ok(ExitCode::SUCCESS),
        };
        stop(&world).await;
        outcome
    })
}

/// Stops the server, while the clients of the tour close what they have open. `true`: everything
/// was finished.
async fn stop(world: &World) -> bool {
    let server = Arc::clone(&world.server);
    tokio::task::spawn_blocking(move || server.stop(DRAIN)).await.unwrap_or(false)
}

/// Ends only with `once`: else somebody has to end it.
async fn show(world: &mut World, once: bool) -> Result<ExitCode, Report> {
    let mut screen = Screen::new();
    let shown = async {
        screen.opening(world)?;
        let wrong = tour(&TOUR, world, &mut screen).await?;
        if !once {
            screen.by_hand(world)?;
        }
        Ok::<_, io::Error>(wrong)
    };
    let wrong = shown.await.into_diagnostic().wrap_err("cannot print")?;
    if once {
        return Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    std::future::pending().await
}

/// Makes all steps, whatever comes of them, and returns how many went wrong.
async fn tour(parts: &[&Part], world: &mut World, screen: &mut Screen) -> io::Result<usize> {
    let started = Instant::now();
    let (mut steps, mut wrong) = (0, 0);
    for part in parts {
        screen.part(part.title)?;
        for step in part.steps {
            steps += 1;
            let begun = Instant::now();
            let outcome = make(step, world).await;
            wrong += usize::from(outcome.is_err());
            screen.step(steps, step.title, &outcome, begun.elapsed())?;
        }
    }
    screen.closing(steps, wrong, started.elapsed())?;
    Ok(wrong)
}

async fn make(step: &Step, world: &mut World) -> Result<Story, Wrong> {
    match tokio::time::timeout(DEADLINE, (step.run)(world)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Wrong(format!("nothing happened for {} s", DEADLINE.as_secs()))),
    }
}

#[cfg(test)]
mod tests {
    use super::load::{CLIENTS, Load};
    use super::*;
    use crate::args::Common;

    #[tokio::test]
    async fn a_step_that_goes_wrong_is_counted_and_the_others_are_made() {
        const PART: Part = Part {
            title: "A test",
            steps: &[
                Step { title: "fails", run: |_| Box::pin(async { Err(Wrong("so".to_owned())) }) },
                Step { title: "goes well", run: |_| Box::pin(async { Ok(Story::default()) }) },
            ],
        };
        let mut world = World::start(&Common::default()).unwrap();
        let wrong = tour(&[&PART], &mut world, &mut Screen::new()).await.unwrap();
        assert_eq!(wrong, 1);
        assert!(stop(&world).await);
    }

    /// Each check of the tour is only worth something if it can fail.
    #[tokio::test]
    async fn the_tour_notices_origins_that_are_dead() {
        let mut world = World::start(&Common::default()).unwrap();
        for origin in &mut world.origins {
            origin.kill();
        }
        let wrong = tour(&[&reverse::PART], &mut world, &mut Screen::new()).await.unwrap();
        // What is refused needs no origin.
        assert_eq!(wrong, reverse::PART.steps.len() - 2);
        let wrong = tour(&[&protocols::PART], &mut world, &mut Screen::new()).await.unwrap();
        assert_eq!(wrong, protocols::PART.steps.len());
        let wrong = tour(&[&gateway::PART], &mut world, &mut Screen::new()).await.unwrap();
        assert_eq!(wrong, gateway::PART.steps.len());
        assert!(stop(&world).await);
    }

    #[tokio::test]
    async fn a_request_that_fails_under_load_is_noticed() {
        let mut world = World::start(&Common::default()).unwrap();
        let mut load = Load::start(world.ports.site, "/api/hello");
        load.go_on(CLIENTS).await.unwrap();
        assert_eq!(load.so_far().failed, 0);
        // One of two would be routed around.
        world.origins[0].kill();
        world.origins[1].kill();
        load.until(|totals| totals.failed > 0).await.unwrap();
        let Wrong(why) = load.finish().await.unwrap_err();
        assert!(why.contains("requests failed"), "{why}");
        assert!(stop(&world).await);
    }

    /// Some of the addresses that the tour is refused are found only by looking up a name.
    #[tokio::test]
    async fn what_is_refused_is_not_counted_as_a_failed_connection() {
        let mut world = World::start(&Common::default()).unwrap();
        let wrong = tour(&[&forward::PART], &mut world, &mut Screen::new()).await.unwrap();
        assert_eq!(wrong, 0);
        // Stopped, all of them are counted.
        assert!(stop(&world).await);
        let metrics = world.server.metrics().render();
        let line = |start: &str| metrics.lines().find(|line| line.starts_with(start));
        let refused = r#"bifrons_refusals_total{reason="admin_listener"}"#;
        assert_eq!(line(refused), Some(&*format!("{refused} 3")));
        let failed = "bifrons_upstream_connections_failed_total";
        assert_eq!(line(failed), Some(&*format!("{failed} 0")));
    }
}
