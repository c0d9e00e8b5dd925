//! The tour's steps that look at the proxy itself.

use super::client::{Connection, Wrong, ensure};
use super::step::{Part, Step, Story};
use super::world::World;

pub(super) const PART: Part = Part {
    title: "The proxy itself",
    steps: &[Step { title: "It counts what it does", run: |world| Box::pin(metrics(world)) }],
};

async fn metrics(world: &mut World) -> Result<Story, Wrong> {
    let admin = world.ports.admin;
    let mut client = Connection::open(admin).await?;
    let response = client.send(&format!("GET /metrics HTTP/1.1\nHost: {admin}")).await?;
    let text = &response.expect(200)?.body;
    let answered = |face: &str| sum(text, &format!("bifrons_requests_total{{face=\"{face}\""));
    let (reverse, forward) = (answered("reverse"), answered("forward"));
    let refused = sum(text, "bifrons_refusals_total{");
    let failed = sum(text, "bifrons_upstream_connections_failed_total");
    ensure(reverse > 0 && forward > 0, || format!("{reverse} and {forward} requests counted"))?;
    ensure(failed > 0, || "the dead server was not counted".to_owned())?;
    Ok(Story {
        request: format!("GET http://{admin}/metrics"),
        answered_by: "the admin listener".to_owned(),
        origin_saw: "nothing".to_owned(),
        client_saw: format!(
            "{reverse} reverse requests, {forward} forward requests, {refused} refusals, {failed} \
             servers that could not be connected to"
        ),
    })
}

/// The sum of all samples whose line begins so.
fn sum(text: &str, start: &str) -> u64 {
    let samples = text.lines().filter(|line| line.starts_with(start));
    let values = samples.filter_map(|line| line.rsplit_once(' '));
    values.filter_map(|(_, value)| value.parse::<u64>().ok()).sum()
}
