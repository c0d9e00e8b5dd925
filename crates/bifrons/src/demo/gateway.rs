//! The tour's steps through the forward proxy that leaves by a pool of exits.
//!
//! Which exit a request has left by is judged by the address that the origin saw.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::api::{Api, list};
use super::client::{Connection, Response, Wrong, ensure};
use super::configuration::{EXITS, Exit, POOL, QUOTA, SHOP_HOST};
use super::origin::{DOWNLOAD, LARGE, SHOP, UNWELCOME};
use super::step::{Part, Step, Story};
use super::world::{LIMITED, USER, World};

pub(super) const PART: Part = Part {
    title: "The gateway: one address, many exits",
    steps: &[
        Step { title: "See the site as from Canada", run: |world| Box::pin(country(world)) },
        Step {
            title: "Five requests on one connection, each by the next exit",
            run: |world| Box::pin(rotation(world)),
        },
        Step { title: "A session keeps its exit", run: |world| Box::pin(sessions(world)) },
        Step {
            title: "An exit that is told 403 is banned, and avoided",
            run: |world| Box::pin(ban(world)),
        },
        Step { title: "A quota ends a download at the byte", run: |world| Box::pin(quota(world)) },
    ],
};

/// How often a site is asked, to see that the country is always the same.
const ALWAYS: usize = 20;

/// The country that is wished for, and one in which there is no exit.
const COUNTRY: &str = "CA";
const ELSEWHERE: &str = "FR";

/// How often each session is asked, each time on another connection.
const VISITS: usize = 3;

/// How often the shop is asked: every exit has its turn, and again.
const PURCHASES: usize = 2 * EXITS.len();

async fn country(world: &mut World) -> Result<Story, Wrong> {
    let url = format!("http://{}/hello", world.origins[2].address());
    let mut client = Connection::open(world.ports.gateway).await?;
    let named = |country: &str| format!("{}-country-{}", USER.0, country.to_lowercase());
    let (canadian, french) = (named(COUNTRY), named(ELSEWHERE));
    let mut used = Vec::new();
    let mut told = String::new();
    for _ in 0..ALWAYS {
        let response = client.send(&get(&url, &canadian, USER.1)).await?;
        let exit = exit_of(&response)?;
        ensure(exit.country == COUNTRY, || format!("{} is in {}", exit.name, exit.country))?;
        told = format!("{}, Bifrons-Exit: {}", response.status, response.field("Bifrons-Exit")?);
        used.push(exit);
    }
    let counts = count(&used);
    let fitting = EXITS.iter().filter(|exit| exit.country == COUNTRY).count();
    ensure(counts.len() == fitting, || format!("the origin saw only {}", listed(&counts)))?;
    let refused = client.send(&get(&url, &french, USER.1)).await?;
    let why = refused.expect(502)?.field("Proxy-Status")?;
    Ok(Story {
        request: format!("GET {url} as {canadian}, {ALWAYS} times; then as {french}"),
        answered_by: "C; the second by the proxy: a country is never another one".to_owned(),
        origin_saw: listed(&counts),
        client_saw: format!("{told}; then 502, Proxy-Status: {why}"),
    })
}

async fn rotation(world: &mut World) -> Result<Story, Wrong> {
    let url = format!("http://{}/hello", world.origins[2].address());
    let mut client = Connection::open(world.ports.gateway).await?;
    let mut used = Vec::new();
    for _ in 0..=EXITS.len() {
        let response = client.send(&get(&url, USER.0, USER.1)).await?;
        used.push(exit_of(&response)?);
    }
    let names: Vec<&str> = used.iter().map(|exit| exit.name).collect();
    for round in used.windows(EXITS.len()) {
        ensure(count(round).len() == EXITS.len(), || format!("they were {}", names.join(", ")))?;
    }
    let addresses: Vec<String> = used.iter().map(|exit| exit.address.to_string()).collect();
    Ok(Story {
        request: format!("GET {url} as {}, {} times on one connection", USER.0, used.len()),
        answered_by: "C".to_owned(),
        origin_saw: format!("peers {}", addresses.join(", ")),
        client_saw: format!("200 each time, Bifrons-Exit: {}", names.join(", ")),
    })
}

async fn sessions(world: &mut World) -> Result<Story, Wrong> {
    let url = format!("http://{}/hello", world.origins[2].address());
    let users = ["a1", "b2"].map(|id| format!("{}-session-{id}", USER.0));
    let mut used: [Vec<&Exit>; 2] = Default::default();
    let mut told = [String::new(), String::new()];
    for _ in 0..VISITS {
        // Any core may get it.
        let mut client = Connection::open(world.ports.gateway).await?;
        for (session, user) in users.iter().enumerate() {
            let response = client.send(&get(&url, user, USER.1)).await?;
            used[session].push(exit_of(&response)?);
            told[session] = format!("Bifrons-Session: {}", response.field("Bifrons-Session")?);
        }
    }
    for (user, used) in users.iter().zip(&used) {
        let counts = count(used);
        ensure(counts.len() == 1, || format!("{user} had {}", listed(&counts)))?;
    }
    let [first, second] = used.map(|used| used[0]);
    ensure(first.name != second.name, || format!("both sessions had {}", first.name))?;
    let seen = |exit: &Exit| format!("{} ({})", exit.address, exit.name);
    Ok(Story {
        request: format!(
            "GET {url} as {} and as {} in turn, {VISITS} times each, on {VISITS} connections",
            users[0], users[1]
        ),
        answered_by: "C".to_owned(),
        origin_saw: format!(
            "peer {} each time, and {} for the other session",
            seen(first),
            seen(second)
        ),
        client_saw: format!("200 each time, {}; {}", told[0], told[1]),
    })
}

async fn ban(world: &mut World) -> Result<Story, Wrong> {
    let url = format!("http://{}:{}{SHOP}", SHOP_HOST, world.origins[2].address().port());
    let before = world.origins[2].requests();
    let mut client = Connection::open(world.ports.gateway).await?;
    let mut used = Vec::new();
    for _ in 0..PURCHASES {
        let response = client.send(&get(&url, USER.0, USER.1)).await?;
        used.push(exit_of(&response)?);
    }
    // The one more is what was answered with 403, and made again.
    let reached = world.origins[2].requests() - before;
    ensure(reached == PURCHASES + 1, || format!("{reached} requests reached the shop"))?;
    let question = json!({
        "method": "GET",
        "url": url,
        "client": client.address()?.to_string(),
        "listener": world.ports.gateway.to_string(),
        "user": USER.0,
    });
    let mut api = Api::open(world).await?;
    let bans = api.read("/api/v1/bans").await?;
    let banned = list(&bans).map(|ban| (&ban["exit"], &ban["host"])).collect::<Vec<_>>();
    let wanted = (&json!(UNWELCOME.name), &json!(SHOP_HOST));
    ensure(banned == [wanted], || format!("the bans are {bans}"))?;
    let explained = api.post("/api/v1/explain", &question).await?;
    let why = why_not(&explained, UNWELCOME.name);
    let why = why.ok_or_else(|| Wrong(format!("it is explained so: {explained}")))?;
    ensure(why.starts_with("banned for this host"), || {
        format!("{} is not taken because it {why}", UNWELCOME.name)
    })?;
    Ok(Story {
        request: format!(
            "GET {url} as {}, {PURCHASES} times; then GET /api/v1/bans, and bifrons explain --live \
             --user {} GET {url}",
            USER.0, USER.0
        ),
        answered_by: "C, then the admin listener".to_owned(),
        origin_saw: format!(
            "{} ({}) once, which it answered with 403; the others from {}",
            UNWELCOME.address,
            UNWELCOME.name,
            listed(&count(&used))
        ),
        client_saw: format!(
            "200 each time; a ban of {} for {}, {}; of pool {POOL}, not {}: {why}",
            UNWELCOME.name,
            SHOP_HOST,
            bans[0]["why"].as_str().unwrap_or_default(),
            UNWELCOME.name
        ),
    })
}

/// Why an exit is not the one that a request would leave by.
fn why_not<'e>(explained: &'e Value, exit: &str) -> Option<&'e str> {
    let part = list(&explained["parts"]).find(|part| part["name"] == "exit")?;
    list(&part["others"]).find(|other| other["what"] == exit)?["why"].as_str()
}

async fn quota(world: &mut World) -> Result<Story, Wrong> {
    let origin = world.origins[2].address();
    let (user, password) = LIMITED;
    let download = format!("http://{origin}{DOWNLOAD}");
    let client = Connection::open(world.ports.gateway).await?;
    let (head, received) = client.download(&get(&download, user, password)).await?;
    let announced = head.content_length()?;
    ensure(announced == LARGE, || format!("{announced} bytes were announced"))?;
    // The heads count as well.
    let heads = QUOTA.saturating_sub(received);
    ensure(received <= QUOTA && heads < 1024, || {
        format!("{received} bytes of {QUOTA} came through")
    })?;

    let before = world.origins[2].requests();
    let url = format!("http://{origin}/hello");
    let mut client = Connection::open(world.ports.gateway).await?;
    let refused = client.send(&get(&url, user, password)).await?;
    let (why, later) = (refused.expect(429)?.field("Proxy-Status")?, refused.field("Retry-After")?);
    ensure(why.contains("quota of the day"), || format!("the reason is {why}"))?;
    let reached = world.origins[2].requests() - before;
    ensure(reached == 0, || "the request was refused, and reached the origin".to_owned())?;
    client.send(&get(&url, USER.0, USER.1)).await?.expect(200)?;
    let users = Api::open(world).await?.read("/api/v1/users").await?;
    let standing = list(&users).find(|found| found["name"] == user);
    ensure(standing.is_some_and(|standing| standing["day"]["bytes_left"] == 0), || {
        format!("the users are {users}")
    })?;
    Ok(Story {
        request: format!(
            "GET {download} as {user}, who may use {QUOTA} bytes a day; then {url}; then GET \
             /api/v1/users"
        ),
        answered_by: "C, until the quota was used up; the proxy; the admin listener".to_owned(),
        origin_saw: format!("of {user} the first only"),
        client_saw: format!(
            "{received} bytes of {announced}, and the end of the connection; then 429, \
             Retry-After: {later}, Proxy-Status: {why}, while {} goes on; 0 bytes of the day left",
            USER.0
        ),
    })
}

/// A request in absolute form. What a client wants of its exit is in the user name.
fn get(url: &str, user: &str, password: &str) -> String {
    let host = url.trim_start_matches("http://").split('/').next().unwrap_or_default();
    let credentials = STANDARD.encode(format!("{user}:{password}"));
    format!("GET {url} HTTP/1.1\nHost: {host}\nProxy-Authorization: Basic {credentials}")
}

/// The exit by which a request has left, as the origin saw it. The proxy must say the same.
fn exit_of(response: &Response) -> Result<&'static Exit, Wrong> {
    let peer = response.seen()?.peer;
    let exit = EXITS.iter().find(|exit| exit.address.to_string() == peer);
    let exit = exit.ok_or_else(|| Wrong(format!("the origin saw {peer}, which is no exit")))?;
    let told = response.field("Bifrons-Exit")?;
    ensure(told.split(';').next() == Some(exit.name), || {
        format!("the origin saw {peer}, the client was told {told}")
    })?;
    Ok(exit)
}

/// How often each of them was used, those that were, in the order of the configuration.
fn count(used: &[&'static Exit]) -> Vec<(&'static Exit, usize)> {
    let times = |exit: &Exit| used.iter().filter(|used| used.name == exit.name).count();
    EXITS.iter().map(|exit| (exit, times(exit))).filter(|(_, times)| *times > 0).collect()
}

fn listed(counts: &[(&Exit, usize)]) -> String {
    let one =
        |(exit, times): &(&Exit, usize)| format!("{} ({}) {times} times", exit.address, exit.name);
    counts.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Common;
    use crate::demo::screen::Screen;
    use crate::demo::world::FILE;
    use crate::demo::{stop, tour};

    /// How many steps go wrong with a configuration that is not as it should be.
    async fn wrong_with(change: fn(&str) -> String) -> usize {
        let mut world = World::start(&Common::default()).unwrap();
        let text = change(&world.text);
        assert_ne!(text, world.text, "nothing was changed");
        let config = config::parse(FILE, &text, world.folder.path()).unwrap();
        world.server.reload(config).unwrap();
        let wrong = tour(&[&PART], &mut world, &mut Screen::new()).await.unwrap();
        assert!(stop(&world).await);
        wrong
    }

    fn without(text: &str, unwanted: &[&str]) -> String {
        let wanted = |line: &&str| !unwanted.iter().any(|word| line.contains(word));
        text.lines().filter(wanted).collect::<Vec<_>>().join("\n")
    }

    #[tokio::test]
    async fn all_goes_well_as_it_is() {
        let mut world = World::start(&Common::default()).unwrap();
        let wrong = tour(&[&PART], &mut world, &mut Screen::new()).await.unwrap();
        assert_eq!(wrong, 0);
        assert!(stop(&world).await);
    }

    /// Each check is only worth something if it can fail.
    #[tokio::test]
    async fn exits_that_do_something_else_are_noticed() {
        let elsewhere = |text: &str| text.replace("country=\"DE\"", "country=\"CA\"");
        assert_eq!(wrong_with(elsewhere).await, 1, "the country");
        let one = |text: &str| without(text, &["\"ca-2\"", "\"us-1\"", "\"de-1\""]);
        assert_eq!(wrong_with(one).await, 4, "all but the quota");
        let lenient = |text: &str| without(text, &["ban status"]);
        assert_eq!(wrong_with(lenient).await, 1, "the ban");
        let generous = |text: &str| text.replace("64KiB/day", "64MiB/day");
        assert_eq!(wrong_with(generous).await, 1, "the quota");
    }
}
