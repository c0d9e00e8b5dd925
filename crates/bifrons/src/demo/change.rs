//! The tour's steps in which something changes while clients ask all the time.

use std::time::Instant;

use serde_json::json;

use super::api::Api;
use super::client::{Connection, Wrong, ensure};
use super::configuration::{UPSTREAM, released};
use super::load::{CLIENTS, Load};
use super::step::{Part, Step, Story};
use super::websocket::WebSocket;
use super::world::{FILE, World};

pub(super) const PART: Part = Part {
    title: "Change under load",
    steps: &[
        Step {
            title: "A server is killed, routed around, and taken back",
            run: |world| Box::pin(kill(world)),
        },
        Step { title: "Ten reloads that nobody notices", run: |world| Box::pin(reload(world)) },
        Step {
            title: "A server is drained until it is safe to stop",
            run: |world| Box::pin(drain(world)),
        },
    ],
};

/// What the clients ask for, which A and B answer.
const PATH: &str = "/api/hello";

/// Requests that show that things go as they do.
const SOME: usize = 200;

/// How often the configuration changes.
const RELOADS: u32 = 10;

async fn kill(world: &mut World) -> Result<Story, Wrong> {
    let site = world.ports.site;
    let mut load = Load::start(site, PATH);
    load.until(|totals| totals.of("A") > SOME && totals.of("B") > SOME).await?;
    world.origins[1].kill();
    let gone = Instant::now();
    let before = load.so_far();
    load.go_on(SOME).await?;
    let since = load.so_far();
    let answered = since.of("A") - before.of("A");
    world.origins[1].revive()?;
    // What was answered before the kill may be counted after it, once for each client.
    let by_b = since.of("B") - before.of("B");
    ensure(by_b <= CLIENTS, || format!("B answered {by_b} requests after its end"))?;
    load.until(|totals| totals.of("B") > since.of("B") + SOME).await?;
    let back = gone.elapsed();
    let totals = load.finish().await?;
    Ok(Story {
        request: format!(
            "GET http://{site}{PATH} from {CLIENTS} clients all the time, while B is killed and \
             started again"
        ),
        answered_by: format!(
            "A and B; the next {answered} by A alone; by both again {} ms after the kill",
            back.as_millis()
        ),
        origin_saw: format!("A {} requests, B {}", totals.of("A"), totals.of("B")),
        client_saw: format!("{} requests, {} failed", totals.requests, totals.failed),
    })
}

async fn reload(world: &mut World) -> Result<Story, Wrong> {
    let site = world.ports.site;
    let mut api = Api::open(world).await?;
    let mut client = Connection::open(site).await?;
    let chat = Connection::open(site).await?;
    let mut chat = WebSocket::open(chat, &site.to_string(), "/api/chat").await?;
    let (peer, _) = chat.hear().await?.split_once(" saw ").map(owned).unwrap_or_default();
    let mut load = Load::start(site, PATH);
    load.go_on(SOME).await?;
    let mut slowest = 0.0_f64;
    for release in 2..2 + RELOADS {
        std::fs::write(world.folder.path().join(FILE), released(&world.text, release))?;
        let outcome = api.post("/api/v1/reload", &json!({})).await?;
        slowest = slowest.max(outcome["ms"].as_f64().unwrap_or(f64::MAX));
        let response = client.send(&format!("GET {PATH} HTTP/1.1\nHost: {site}")).await?;
        let shown = response.expect(200)?.field("X-Release")?;
        ensure(shown == release.to_string(), || format!("X-Release: {shown} after {release}"))?;
        let heard = chat.say(shown).await?;
        ensure(heard == shown, || format!("the WebSocket said {heard:?}"))?;
        load.go_on(SOME).await?;
    }
    let totals = load.finish().await?;
    chat.close().await?;
    ensure(totals.connections == CLIENTS, || {
        format!("{CLIENTS} clients had to connect {} times", totals.connections)
    })?;
    Ok(Story {
        request: format!(
            "GET http://{site}{PATH} from {CLIENTS} clients and a WebSocket, during POST \
             /api/v1/reload of {RELOADS} changed files"
        ),
        answered_by: format!("A and B; the slowest reload took {slowest:.1} ms"),
        origin_saw: format!("{peer}: one WebSocket from the first configuration to the last"),
        client_saw: format!(
            "{} requests, {} failed, on the {} connections that it began with; X-Release: 1 to \
             {}",
            totals.requests,
            totals.failed,
            totals.connections,
            1 + RELOADS
        ),
    })
}

async fn drain(world: &mut World) -> Result<Story, Wrong> {
    let site = world.ports.site;
    let mut api = Api::open(world).await?;
    let mut load = Load::start(site, PATH);
    let chat = Connection::open(site).await?;
    let mut chat = WebSocket::open(chat, &site.to_string(), "/api/chat").await?;
    let (name, _) = chat.hear().await?.split_once(" saw ").map(owned).unwrap_or_default();
    let found = world.origins.iter().position(|origin| origin.name().to_string() == name);
    let index = found.ok_or_else(|| Wrong(format!("{name:?} is no origin")))?;
    let url = format!("http://{}", world.origins[index].address());
    let change = |change: &str| json!({ "server": url, "change": change });
    let path = format!("/api/v1/upstreams/{UPSTREAM}/servers");

    api.post(&path, &change("drain")).await?;
    // What runs there is finished, but for the WebSocket.
    while api.server(UPSTREAM, &url).await?["in_flight"] != 1 {}
    let server = api.server(UPSTREAM, &url).await?;
    ensure(server["safe_to_stop"] == false, || format!("a WebSocket is open: {server}"))?;
    let before = world.origins[index].requests();
    load.go_on(SOME).await?;
    let reached = world.origins[index].requests() - before;
    ensure(reached == 0, || format!("{reached} new requests reached {name}"))?;
    let heard = chat.say("still here").await?;
    ensure(heard == "still here", || format!("the WebSocket said {heard:?}"))?;
    chat.close().await?;
    while api.server(UPSTREAM, &url).await?["safe_to_stop"] != true {}
    world.origins[index].kill();
    load.go_on(SOME).await?;
    world.origins[index].revive()?;
    api.post(&path, &change("undrain")).await?;
    let so_far = load.so_far().of(&name);
    load.until(|totals| totals.of(&name) > so_far + SOME).await?;
    let totals = load.finish().await?;
    let waiting = server["in_flight"].clone();
    Ok(Story {
        request: format!(
            "POST {path} drain {url}, while {CLIENTS} clients ask and a WebSocket is open there"
        ),
        answered_by: format!(
            "the admin listener: {name} {}, {waiting} under way, not safe to stop; safe to stop \
             when the WebSocket was closed",
            server["state"].as_str().unwrap_or_default()
        ),
        origin_saw: format!(
            "{name}: no new request; it was stopped, started again, undrained, and asked again"
        ),
        client_saw: format!("{} requests, {} failed", totals.requests, totals.failed),
    })
}

fn owned((one, other): (&str, &str)) -> (String, String) {
    (one.to_owned(), other.to_owned())
}
