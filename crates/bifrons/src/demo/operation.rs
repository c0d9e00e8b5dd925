//! The tour's steps that look at the proxy itself.

use super::client::{Connection, Wrong, ensure};
use super::step::{Part, Step, Story};
use super::world::World;

pub(super) const PART: Part = Part {
    title: "The proxy itself",
    steps: &[Step { title: "It counts what it does", run: |world| Box::pin(metrics(world)) }],
};

/// Requests are counted when they are over, which is a moment after their answers have arrived.
const LOOKS: usize = 1000;

async fn metrics(world: &mut World) -> Result<Story, Wrong> {
    let admin = world.ports.admin;
    let mut client = Connection::open(admin).await?;
    let mut counts = Counts::default();
    for _ in 0..LOOKS {
        let response = client.send(&format!("GET /metrics HTTP/1.1\nHost: {admin}")).await?;
        counts = Counts::read(&response.expect(200)?.body);
        if counts.are_complete() {
            break;
        }
        tokio::task::yield_now().await;
    }
    ensure(counts.are_complete(), || format!("they say: {}", counts.told()))?;
    Ok(Story {
        request: format!("GET http://{admin}/metrics"),
        answered_by: "the admin listener".to_owned(),
        origin_saw: "nothing".to_owned(),
        client_saw: counts.told(),
    })
}

/// What the metrics say of the tour.
#[derive(Default)]
struct Counts {
    reverse: u64,
    forward: u64,
    refused: u64,
    retried: u64,
}

impl Counts {
    fn read(text: &str) -> Self {
        Self {
            reverse: sum(text, "bifrons_requests_total{face=\"reverse\""),
            forward: sum(text, "bifrons_requests_total{face=\"forward\""),
            refused: sum(text, "bifrons_refusals_total{"),
            retried: sum(text, "bifrons_retries_total"),
        }
    }

    /// Whether all that the steps before have done is counted, at least in kind.
    fn are_complete(&self) -> bool {
        self.reverse > 0 && self.forward > 0 && self.refused > 0 && self.retried > 0
    }

    fn told(&self) -> String {
        let Self { reverse, forward, refused, retried } = self;
        format!(
            "{reverse} requests to the site, {retried} of them tried again on another server; \
             {forward} through the forward proxy, {refused} of them refused"
        )
    }
}

/// The sum of all samples whose line begins so.
fn sum(text: &str, start: &str) -> u64 {
    let samples = text.lines().filter(|line| line.starts_with(start));
    let values = samples.filter_map(|line| line.rsplit_once(' '));
    values.filter_map(|(_, value)| value.parse::<u64>().ok()).sum()
}
