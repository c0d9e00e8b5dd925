//! A tour: small origins, both faces over them, real requests, and what came of each.
//!
//! A later feature adds its steps to the `PART` it belongs to: a title, and a function that makes
//! the requests, checks every outcome, and tells the story.

mod certificate;
mod client;
mod configuration;
mod forward;
mod operation;
mod origin;
mod reverse;
mod screen;
mod step;
mod wire;
mod world;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use miette::{IntoDiagnostic, Report, WrapErr};
use tokio::signal::unix::{SignalKind, signal};

use crate::args::Demo;
use client::Wrong;
use screen::Screen;
use step::{DEADLINE, Part, Step, Story};
use world::World;

const TOUR: [&Part; 3] = [&reverse::PART, &forward::PART, &operation::PART];

/// How long connections that somebody made by hand may go on when the demo ends.
const DRAIN: Duration = Duration::from_secs(1);

/// Makes the tour, and stays up afterwards unless it was made `--once`.
pub(crate) fn run(options: &Demo) -> Result<ExitCode, Report> {
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
        world.server.stop(DRAIN);
        outcome
    })
}

/// Ends only with `once`: else somebody has to end it.
async fn show(world: &mut World, once: bool) -> Result<ExitCode, Report> {
    let printing = "cannot print";
    let mut screen = Screen::new();
    screen.opening(world).into_diagnostic().wrap_err(printing)?;
    let started = Instant::now();
    let (mut steps, mut wrong) = (0, 0);
    for part in TOUR {
        screen.part(part.title).into_diagnostic().wrap_err(printing)?;
        for step in part.steps {
            steps += 1;
            let begun = Instant::now();
            let outcome = make(step, world).await;
            wrong += usize::from(outcome.is_err());
            screen
                .step(steps, step.title, &outcome, begun.elapsed())
                .into_diagnostic()
                .wrap_err(printing)?;
        }
    }
    screen.closing(steps, wrong, started.elapsed()).into_diagnostic().wrap_err(printing)?;
    if once {
        return Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    screen.by_hand(world).into_diagnostic().wrap_err(printing)?;
    std::future::pending().await
}

async fn make(step: &Step, world: &mut World) -> Result<Story, Wrong> {
    match tokio::time::timeout(DEADLINE, (step.run)(world)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Wrong(format!("nothing happened for {} s", DEADLINE.as_secs()))),
    }
}
