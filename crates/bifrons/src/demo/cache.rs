//! The tour's steps through the cache.

use super::client::{Connection, Response, Wrong, ensure};
use super::configuration::PURGE_TOKEN;
use super::origin::NEWS;
use super::step::{Part, Step, Story};
use super::world::World;

pub(super) const PART: Part = Part {
    title: "The cache",
    steps: &[
        Step {
            title: "What a server has answered once need not be asked again",
            run: |world| Box::pin(hit(world)),
        },
        Step {
            title: "A client that doubts costs a question, and no body",
            run: |world| Box::pin(validation(world)),
        },
        Step {
            title: "Compressed once, for all who take it",
            run: |world| Box::pin(compressed(world)),
        },
        Step {
            title: "A purge by tag, from everywhere at once",
            run: |world| Box::pin(purge(world)),
        },
        Step {
            title: "The server is down, and the site goes on",
            run: |world| Box::pin(stale(world)),
        },
    ],
};

/// The one who has the news.
const C: usize = 2;

async fn ask(world: &World, fields: &str) -> Result<Response, Wrong> {
    let site = world.ports.site;
    let mut client = Connection::open(site).await?;
    client.send(&format!("GET {NEWS} HTTP/1.1\nHost: {site}{fields}")).await
}

async fn purge_news(world: &World, fields: &str) -> Result<Response, Wrong> {
    let site = world.ports.site;
    let mut client = Connection::open(site).await?;
    let lines = format!(
        "PURGE {NEWS} HTTP/1.1\nHost: {site}\nAuthorization: Bearer {PURGE_TOKEN}\n\
         Surrogate-Key: news{fields}"
    );
    client.send(&lines).await
}

/// What the cache says of an answer, which has to have these words in it.
fn status<'r>(response: &'r Response, words: &str) -> Result<&'r str, Wrong> {
    let status = response.expect(200)?.field("Cache-Status")?;
    ensure(status.contains(words), || format!("Cache-Status: {status}"))?;
    Ok(status)
}

async fn hit(world: &mut World) -> Result<Story, Wrong> {
    let before = world.origins[C].requests();
    let first = ask(world, "").await?;
    status(&first, "stored")?;
    let second = ask(world, "").await?;
    let told = status(&second, "hit")?;
    let asked = world.origins[C].requests() - before;
    ensure(asked == 1, || format!("it was asked {asked} times"))?;
    ensure(first.body == second.body, || "two answers differ".to_owned())?;
    Ok(Story {
        request: format!("GET http://{}{NEWS}, twice", world.ports.site),
        answered_by: "C once, then the cache".to_owned(),
        origin_saw: "one request".to_owned(),
        client_saw: format!("Cache-Status: {told}, Age: {}", second.field("Age")?),
    })
}

async fn validation(world: &mut World) -> Result<Story, Wrong> {
    let answer = ask(world, "\nCache-Control: no-cache").await?;
    let told = status(&answer, "fwd-status=304")?;
    Ok(Story {
        request: format!("GET http://{}{NEWS} with Cache-Control: no-cache", world.ports.site),
        answered_by: "the cache, after C said that it is still right".to_owned(),
        origin_saw: "If-None-Match, and answered 304 without a body".to_owned(),
        client_saw: format!("Cache-Status: {told}, {} bytes", answer.bytes.len()),
    })
}

async fn compressed(world: &mut World) -> Result<Story, Wrong> {
    let plain = ask(world, "").await?;
    let before = world.origins[C].requests();
    let mut sizes = Vec::new();
    for coding in ["zstd", "br", "gzip"] {
        let packed = ask(world, &format!("\nAccept-Encoding: {coding}")).await?;
        status(&packed, "hit")?;
        ensure(packed.field("Content-Encoding")? == coding, || "another coding".to_owned())?;
        let (size, whole) = (packed.bytes.len(), plain.bytes.len());
        ensure(size < whole / 4, || format!("{size} bytes of {whole}"))?;
        sizes.push(format!("{coding} {size}"));
    }
    ensure(world.origins[C].requests() == before, || "the server was asked".to_owned())?;
    Ok(Story {
        request: format!("GET http://{}{NEWS} with Accept-Encoding", world.ports.site),
        answered_by: "the cache".to_owned(),
        origin_saw: "nothing".to_owned(),
        client_saw: format!("of {} bytes: {}", plain.bytes.len(), sizes.join(", ")),
    })
}

async fn purge(world: &mut World) -> Result<Story, Wrong> {
    let purged = purge_news(world, "").await?;
    purged.expect(200)?;
    let answer = ask(world, "").await?;
    let told = status(&answer, "uri-miss")?;
    Ok(Story {
        request: "PURGE with the token, Surrogate-Key: news".to_owned(),
        answered_by: "C, anew".to_owned(),
        origin_saw: "one request".to_owned(),
        client_saw: format!("{}; then Cache-Status: {told}", purged.body.trim_end()),
    })
}

async fn stale(world: &mut World) -> Result<Story, Wrong> {
    // Softly: it is stale from now on, and may stand in.
    purge_news(world, "\nSoft-Purge: 1").await?.expect(200)?;
    world.origins[C].kill();
    let answer = ask(world, "").await;
    world.origins[C].revive()?;
    let answer = answer?;
    let told = status(&answer, "hit")?;
    Ok(Story {
        request: format!("a soft purge, C is killed, GET http://{}{NEWS}", world.ports.site),
        answered_by: "the cache, with what is stale".to_owned(),
        origin_saw: "nothing: it was gone".to_owned(),
        client_saw: format!("{}, Cache-Status: {told}", answer.status),
    })
}
