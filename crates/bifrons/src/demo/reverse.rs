//! The tour's steps through the reverse proxy.

use super::client::{ADDRESS, Connection, Wrong, ensure};
use super::step::{Part, Step, Story};
use super::world::World;

pub(super) const PART: Part = Part {
    title: "The reverse proxy",
    steps: &[
        Step {
            title: "Two servers behind one path take turns",
            run: |world| Box::pin(turns(world)),
        },
        Step {
            title: "A third one in the same URL space",
            run: |world| Box::pin(third_origin(world)),
        },
        Step {
            title: "TLS, with a certificate made a moment ago",
            run: |world| Box::pin(secure_site(world)),
        },
        Step {
            title: "A redirect of an origin stays within the site",
            run: |world| Box::pin(redirect(world)),
        },
        Step {
            title: "A client that lies about its address is not believed",
            run: |world| Box::pin(lie(world)),
        },
        Step {
            title: "Dot segments do not lead out of a route",
            run: |world| Box::pin(dot_segments(world)),
        },
        Step {
            title: "A request that can be read in two ways is refused",
            run: |world| Box::pin(smuggling(world)),
        },
        Step {
            title: "Who asks too often is told when to come back",
            run: |world| Box::pin(rate_limit(world)),
        },
    ],
};

async fn turns(world: &mut World) -> Result<Story, Wrong> {
    let site = world.ports.site;
    let mut client = Connection::open(site).await?;
    let mut story = Story {
        request: format!("GET http://{site}/api/hello, four times on one connection"),
        ..Story::default()
    };
    let mut turns = Vec::new();
    for _ in 0..4 {
        let response = client.send(&format!("GET /api/hello HTTP/1.1\nHost: {site}")).await?;
        let seen = response.seen()?;
        ensure(seen.request == "GET /hello", || format!("the origin saw {}", seen.request))?;
        let client_is = seen.field("X-Forwarded-For").unwrap_or_default();
        ensure(!client_is.is_empty(), || "the origin did not learn of the client".to_owned())?;
        for name in ["Server", "X-Powered-By"] {
            ensure(response.head.field(name).is_none(), || format!("{name} was shown"))?;
        }
        (story.origin_saw, story.client_saw) = (seen.told(), response.told());
        turns.push(seen.origin);
    }
    story.answered_by = turns.join(", ");
    ensure(matches!(&*turns.concat(), "ABAB" | "BABA"), || {
        format!("not in turn: {}", story.answered_by)
    })?;
    Ok(story)
}

async fn third_origin(world: &mut World) -> Result<Story, Wrong> {
    let site = world.ports.site;
    let mut client = Connection::open(site).await?;
    let request = format!("GET /cart?item=7%2F8 HTTP/1.1\nHost: {site}");
    let response = client.send(&request).await?;
    let seen = response.seen()?;
    ensure(seen.origin == "C", || format!("{} answered", seen.origin))?;
    ensure(seen.request == "GET /cart?item=7%2F8", || format!("it saw {}", seen.request))?;
    Ok(Story {
        request: format!("GET http://{site}/cart?item=7%2F8"),
        origin_saw: seen.told(),
        client_saw: response.told(),
        answered_by: seen.origin,
    })
}

async fn secure_site(world: &mut World) -> Result<Story, Wrong> {
    let secure = world.ports.secure;
    let client = Connection::open(secure).await?;
    let mut client = client.secure(&world.trust, "localhost").await?;
    let host = format!("localhost:{}", secure.port());
    let response = client.send(&format!("GET /hello HTTP/1.1\nHost: {host}")).await?;
    let seen = response.seen()?;
    ensure(seen.field("X-Forwarded-Proto").as_deref() == Some("https"), || {
        "the origin did not learn that the client came by https".to_owned()
    })?;
    let added = response.field("Strict-Transport-Security")?;
    Ok(Story {
        request: format!("GET https://{host}/hello, the certificate is verified"),
        origin_saw: seen.told(),
        client_saw: format!(
            "{}, Strict-Transport-Security: {added}; {}",
            response.told(),
            client.tls()
        ),
        answered_by: seen.origin,
    })
}

async fn redirect(world: &mut World) -> Result<Story, Wrong> {
    let site = world.ports.site;
    let mut client = Connection::open(site).await?;
    let response = client.send(&format!("GET /api/login HTTP/1.1\nHost: {site}")).await?;
    let (location, cookie) =
        (response.expect(302)?.field("Location")?, response.field("Set-Cookie")?);
    let expected = format!("http://{site}/api/hello");
    ensure(location == expected, || format!("Location: {location} instead of {expected}"))?;
    ensure(cookie.contains("Path=/api"), || format!("Set-Cookie: {cookie}"))?;
    let origin = response.body.lines().next().and_then(|line| line.strip_prefix("origin: "));
    let origin = origin.ok_or_else(|| Wrong("no origin made this answer".to_owned()))?;
    let own = world.origins.iter().find(|known| origin == known.name().to_string());
    let own = own.map(|own| own.address().to_string()).unwrap_or_default();
    Ok(Story {
        request: format!("GET http://{site}/api/login"),
        answered_by: format!("{origin}, with Location: http://{own}/hello, Set-Cookie: …; Path=/"),
        origin_saw: "GET /login".to_owned(),
        client_saw: format!("302, Location: {location}, Set-Cookie: {cookie}"),
    })
}

async fn lie(world: &mut World) -> Result<Story, Wrong> {
    let site = world.ports.site;
    let mut client = Connection::open(site).await?;
    let lies = "X-Forwarded-For: 203.0.113.7\nX_Forwarded_For: 203.0.113.7\n\
                Forwarded: for=203.0.113.7\nX-Forwarded-Proto: https";
    let response = client.send(&format!("GET /hello HTTP/1.1\nHost: {site}\n{lies}")).await?;
    let seen = response.seen()?;
    let believed = seen.fields.iter().find(|(_, value)| value.contains("203.0.113.7"));
    ensure(believed.is_none(), || format!("the origin was told {believed:?}"))?;
    ensure(seen.field("X-Forwarded-Proto").as_deref() == Some("http"), || {
        "the origin believes that the client came by https".to_owned()
    })?;
    Ok(Story {
        request: format!(
            "GET http://{site}/hello from {ADDRESS}, with X-Forwarded-For: 203.0.113.7, \
             X-Forwarded-Proto: https"
        ),
        origin_saw: seen.told(),
        client_saw: response.told(),
        answered_by: seen.origin,
    })
}

async fn dot_segments(world: &mut World) -> Result<Story, Wrong> {
    const PATHS: [&str; 4] =
        ["/api/../admin", "/api/%2e%2e/admin", "/api/..%2fadmin", "/api/..;/admin"];
    let outcome = refused(world, PATHS.map(|path| format!("GET {path} HTTP/1.1"))).await?;
    Ok(Story { request: format!("GET {}", PATHS.join(", ")), ..outcome })
}

async fn smuggling(world: &mut World) -> Result<Story, Wrong> {
    let heads = [
        "Content-Length: 4\nTransfer-Encoding: chunked",
        "Content-Length: 4\nContent-Length: 5",
        "Transfer-Encoding: x, chunked",
        "Content-Length : 4",
    ];
    let requests = heads.map(|head| format!("POST /api/hello HTTP/1.1\n{head}"));
    let outcome = refused(world, requests).await?;
    let request = "POST with two lengths, with a length and chunks, with an unknown coding, with \
                   a space before the colon";
    Ok(Story { request: request.to_owned(), ..outcome })
}

/// Sends requests that no origin may see.
async fn refused<const N: usize>(world: &mut World, requests: [String; N]) -> Result<Story, Wrong> {
    let site = world.ports.site;
    let before = world.requests();
    let mut statuses = Vec::new();
    let mut why = String::new();
    for request in requests {
        let mut client = Connection::open(site).await?;
        let response = client.send(&format!("{request}\nHost: {site}")).await?;
        ensure(response.status == 400, || {
            format!("{} for {}", response.status, request.replace('\n', ", "))
        })?;
        if why.is_empty() {
            why = response.field("Proxy-Status")?.to_owned();
        }
        statuses.push(response.status.to_string());
    }
    let reached = world.requests() - before;
    ensure(reached == 0, || format!("{reached} of them reached an origin"))?;
    Ok(Story {
        answered_by: "the proxy".to_owned(),
        origin_saw: "nothing".to_owned(),
        client_saw: format!("{}, Proxy-Status: {why}", statuses.join(", ")),
        ..Story::default()
    })
}

async fn rate_limit(world: &mut World) -> Result<Story, Wrong> {
    let site = world.ports.site;
    let before = world.requests();
    let mut client = Connection::open(site).await?;
    let mut ask = async || client.send(&format!("GET /search HTTP/1.1\nHost: {site}")).await;
    let mut left = Vec::new();
    let mut told = None;
    for _ in 0..3 {
        let response = ask().await?;
        let seen = response.seen()?;
        left.push(response.field("RateLimit")?.to_owned());
        told = Some((seen.origin.clone(), seen.told()));
    }
    let refused = ask().await?;
    let wait = refused.expect(429)?.field("Retry-After")?;
    let is_number = wait.parse::<u32>().is_ok_and(|seconds| (1..=20).contains(&seconds));
    ensure(is_number, || format!("Retry-After: {wait}"))?;
    let (policy, limit) = (refused.field("RateLimit-Policy")?, refused.field("RateLimit")?);
    ensure(limit.contains(";r=0;"), || format!("429 with RateLimit: {limit}"))?;
    let reached = world.requests() - before;
    ensure(reached == 3, || format!("{reached} of 4 reached the origin"))?;
    let (origin, origin_saw) = told.unwrap_or_default();
    Ok(Story {
        request: format!("GET http://{site}/search, four times at once"),
        answered_by: format!("{origin}, {origin}, {origin}, the proxy"),
        origin_saw: format!("{origin_saw}; three times"),
        client_saw: format!(
            "200 with RateLimit: {}; then 429, Retry-After: {wait}, RateLimit: {limit}, \
             RateLimit-Policy: {policy}",
            left.join(" and ")
        ),
    })
}
