//! The tour's steps that look at the proxy itself.

use serde_json::{Value, json};

use super::api::{Api, list};
use super::client::{Connection, Wrong, ensure};
use super::configuration::UPSTREAM;
use super::step::{Part, Step, Story};
use super::world::World;

pub(super) const PART: Part = Part {
    title: "The proxy itself",
    steps: &[
        Step {
            title: "It explains what becomes of a request",
            run: |world| Box::pin(explain(world)),
        },
        Step { title: "It counts what it does", run: |world| Box::pin(metrics(world)) },
    ],
};

/// Asks what would become of a request, then makes it.
async fn explain(world: &mut World) -> Result<Story, Wrong> {
    let site = world.ports.site;
    let mut client = Connection::open(site).await?;
    let url = format!("http://{site}/api/hello?x=1");
    let question = json!({
        "method": "GET",
        "url": url,
        "fields": [["X-Forwarded-For", "203.0.113.7"]],
        "client": client.address()?.to_string(),
    });
    let explained = Api::open(world).await?.post("/api/v1/explain", &question).await?;
    let upstream = text(&explained["outcome"]["upstream"]);
    ensure(upstream == UPSTREAM, || format!("explained: {}", explained["outcome"]))?;
    let part = |name: &str| {
        let mut parts = list(&explained["parts"]);
        let found = parts.find(|part| part["name"] == name);
        found.ok_or_else(|| Wrong(format!("nothing is explained of the {name}")))
    };
    let (route, request) = (part("route")?, part("request")?);
    let other = list(&route["others"]).next().unwrap_or(&Value::Null);

    let lie = "X-Forwarded-For: 203.0.113.7";
    let response =
        client.send(&format!("GET /api/hello?x=1 HTTP/1.1\nHost: {site}\n{lie}")).await?;
    let seen = response.seen()?;
    ensure(seen.request == text(&request["says"]), || {
        format!("{} was explained, the origin saw {}", request["says"], seen.request)
    })?;
    let fields = seen.fields.iter().map(|(name, value)| format!("{name}: {value}"));
    let mut fields: Vec<String> = fields.collect();
    let mut told: Vec<String> = list(&request["notes"]).map(|note| text(note).to_owned()).collect();
    fields.sort_unstable();
    told.sort_unstable();
    ensure(fields == told, || format!("{told:?} was explained, the origin saw {fields:?}"))?;
    Ok(Story {
        request: format!("bifrons explain --live GET {url} -H '{lie}', then the request itself"),
        answered_by: format!("the proxy, then {}", seen.origin),
        origin_saw: format!("{}, with the fields that were explained", seen.told()),
        client_saw: format!(
            "it goes to upstream {upstream}; route {}; not {}: {}",
            text(&route["says"]),
            text(&other["what"]),
            text(&other["why"])
        ),
    })
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Requests are counted when they are over, which is a moment after their answers have arrived.
const LOOKS: usize = 1000;

async fn metrics(world: &mut World) -> Result<Story, Wrong> {
    let admin = world.ports.admin;
    let mut api = Api::open(world).await?;
    let mut counts = Counts::default();
    for _ in 0..LOOKS {
        counts = Counts::read(&api.get("/metrics").await?.body);
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
            "{reverse} requests to the sites, {retried} of them tried again on another server; \
             {forward} through the forward proxy; {refused} refused by a rule or a limit"
        )
    }
}

/// The sum of all samples whose line begins so.
fn sum(text: &str, start: &str) -> u64 {
    let samples = text.lines().filter(|line| line.starts_with(start));
    let values = samples.filter_map(|line| line.rsplit_once(' '));
    values.filter_map(|(_, value)| value.parse::<u64>().ok()).sum()
}
