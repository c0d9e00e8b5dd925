//! The tour's steps with HTTP/2, and with what rides on it.

use super::client::{Connection, Wrong, ensure};
use super::grpc::{self, METHOD, TYPE};
use super::http2::Http2;
use super::step::{Part, Step, Story};
use super::websocket::WebSocket;
use super::world::World;

pub(super) const PART: Part = Part {
    title: "HTTP/2, gRPC and WebSockets",
    steps: &[
        Step {
            title: "HTTP/2, chosen in the TLS handshake",
            run: |world| Box::pin(streams(world)),
        },
        Step {
            title: "A gRPC call, with its status in the trailers",
            run: |world| Box::pin(call(world)),
        },
        Step { title: "A WebSocket", run: |world| Box::pin(websocket(world)) },
        Step {
            title: "A WebSocket in a stream of HTTP/2",
            run: |world| Box::pin(websocket_in_stream(world)),
        },
    ],
};

/// Requests at once on one connection.
const STREAMS: usize = 8;

async fn streams(world: &mut World) -> Result<Story, Wrong> {
    let mut client = Http2::open(world).await?;
    let responses = client.get_all("/hello", STREAMS).await?;
    let mut story = Story::default();
    for response in &responses {
        let seen = response.seen()?;
        let via = seen.field("Via").unwrap_or_default();
        ensure(via.starts_with("2"), || format!("the origin was told Via: {via}"))?;
        ensure(seen.field("Host").is_some(), || "the origin got no Host".to_owned())?;
        story.origin_saw = format!("{}, over HTTP/1.1", seen.told());
        story.answered_by = format!("{}, {} times", seen.origin, responses.len());
        story.client_saw = format!("{}; {}, ALPN h2", response.told(), client.tls);
    }
    let secure = world.ports.secure.port();
    story.request =
        format!("GET https://localhost:{secure}/hello, {STREAMS} times at once on one connection");
    Ok(story)
}

async fn call(world: &mut World) -> Result<Story, Wrong> {
    const FIELDS: [(&str, &str); 2] = [("content-type", TYPE), ("te", "trailers")];
    let mut client = Http2::open(world).await?;
    let (response, trailers) = client.post(METHOD, &FIELDS, grpc::message("Alice")).await?;
    response.expect(200)?;
    let status = trailers.get("grpc-status").map(|status| status.as_bytes().to_vec());
    ensure(status.as_deref() == Some(grpc::OK.as_bytes()), || {
        format!("the trailers are {trailers:?}")
    })?;
    let text = grpc::text_of(&response.bytes).ok_or_else(|| Wrong("no message".to_owned()))?;
    let (greeting, seen) = text.split_once(" D saw ").unwrap_or_default();
    ensure(greeting == "Hello, Alice!", || format!("the message is {text:?}"))?;
    ensure(seen.contains("te: trailers"), || format!("the origin saw {seen}"))?;

    let unknown = METHOD.replace("Hello", "Bye");
    let (response, _) = client.post(&unknown, &FIELDS, grpc::message("Alice")).await?;
    let code = response.expect(200)?.field("grpc-status")?;
    ensure(code == grpc::UNIMPLEMENTED, || format!("grpc-status {code} for {unknown}"))?;
    let secure = world.ports.secure.port();
    Ok(Story {
        request: format!(
            "a call of https://localhost:{secure}{METHOD} with \"Alice\", and one of {unknown}"
        ),
        answered_by: "D, over HTTP/2 without TLS (h2c)".to_owned(),
        origin_saw: seen.to_owned(),
        client_saw: format!("\"{greeting}\", trailers grpc-status: 0; then grpc-status: {code}"),
    })
}

async fn websocket(world: &mut World) -> Result<Story, Wrong> {
    let site = world.ports.site;
    let client = Connection::open(site).await?;
    let chat = WebSocket::open(client, &site.to_string(), "/chat").await?;
    Ok(Story {
        request: format!("ws://{site}/chat, in it three messages"),
        ..converse(chat, "C saw GET /chat HTTP/1.1").await?
    })
}

async fn websocket_in_stream(world: &mut World) -> Result<Story, Wrong> {
    let mut client = Http2::open(world).await?;
    // Both at once on one connection.
    client.get_all("/hello", 1).await?;
    let chat = client.websocket("/chat").await?;
    let story = converse(chat, "C saw GET /chat HTTP/1.1").await?;
    let secure = world.ports.secure.port();
    Ok(Story {
        request: format!(
            "extended CONNECT (RFC 8441) for wss://localhost:{secure}/chat, in it three messages"
        ),
        origin_saw: format!("{}, as an upgrade", story.origin_saw),
        ..story
    })
}

/// Says something, and hears it back.
async fn converse(mut chat: WebSocket, expected: &str) -> Result<Story, Wrong> {
    let greeting = chat.hear().await?;
    ensure(greeting == expected, || format!("the greeting is {greeting:?}"))?;
    for text in ["one", "two", "three"] {
        let heard = chat.say(text).await?;
        ensure(heard == text, || format!("{heard:?} for {text:?}"))?;
    }
    chat.close().await?;
    let (origin, seen) = greeting.split_once(" saw ").unwrap_or_default();
    Ok(Story {
        answered_by: origin.to_owned(),
        origin_saw: seen.to_owned(),
        client_saw: "each message again, and the close".to_owned(),
        ..Story::default()
    })
}
