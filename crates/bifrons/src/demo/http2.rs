//! The client's end of a connection of HTTP/2.

use h2::client::{ResponseFuture, SendRequest};
use h2::ext::Protocol;
use h2::{RecvStream, SendStream};
use hyper::body::Bytes;
use hyper::{HeaderMap, Method, Request};

use super::client::{Connection, Response, Wrong, ensure};
use super::websocket::WebSocket;
use super::wire::Head;
use super::world::World;

/// A connection to the site with TLS.
pub(super) struct Http2 {
    requests: SendRequest<Bytes>,
    host: String,
    /// What the handshake agreed upon.
    pub(super) tls: String,
}

impl Http2 {
    /// Connects, and goes on only if the handshake chose HTTP/2 (RFC 9113 §3.2).
    pub(super) async fn open(world: &World) -> Result<Self, Wrong> {
        let secure = world.ports.secure;
        let connection = Connection::open(secure).await?;
        let connection = connection.secure(&world.trust_h2, "localhost").await?;
        let tls = connection.tls();
        ensure(connection.speaks("h2"), || "the handshake did not choose HTTP/2".to_owned())?;
        let (requests, driver) = h2::client::handshake(connection.into_io()).await?;
        // It ends when nobody has a use for the connection; why is told to those who have.
        tokio::spawn(driver);
        Ok(Self { requests, host: format!("localhost:{}", secure.port()), tls })
    }

    /// Makes so many requests at once, each in a stream of its own.
    pub(super) async fn get_all(
        &mut self,
        path: &str,
        count: usize,
    ) -> Result<Vec<Response>, Wrong> {
        let mut under_way = Vec::new();
        for _ in 0..count {
            let (answer, _) = self.begin(self.request(Method::GET, path)?, true).await?;
            under_way.push(answer);
        }
        let mut responses = Vec::new();
        for answer in under_way {
            responses.push(collect(answer).await?.0);
        }
        Ok(responses)
    }

    /// Sends a request with a body, and returns the answer with its trailers.
    pub(super) async fn post(
        &mut self,
        path: &str,
        fields: &[(&'static str, &'static str)],
        body: Vec<u8>,
    ) -> Result<(Response, HeaderMap), Wrong> {
        let mut request = self.request(Method::POST, path)?;
        for (name, value) in fields {
            request.headers_mut().insert(*name, value.parse().map_err(Wrong::because)?);
        }
        let (answer, mut send) = self.begin(request, false).await?;
        send.send_data(Bytes::from(body), true)?;
        collect(answer).await
    }

    /// Asks for a WebSocket (RFC 8441 §5). The server must have said that there are such, which it
    /// has when it has answered anything.
    pub(super) async fn websocket(&mut self, path: &str) -> Result<WebSocket, Wrong> {
        ensure(self.requests.is_extended_connect_protocol_enabled(), || {
            "the server does not offer WebSockets over HTTP/2".to_owned()
        })?;
        let mut request = self.request(Method::CONNECT, path)?;
        request.extensions_mut().insert(Protocol::from_static("websocket"));
        request.headers_mut().insert("sec-websocket-version", 13.into());
        let (answer, send) = self.begin(request, false).await?;
        let answer = answer.await?;
        let status = answer.status();
        ensure(status == 200, || format!("status {status} instead of a WebSocket"))?;
        Ok(WebSocket::within(send, answer.into_body()))
    }

    fn request(&self, method: Method, path: &str) -> Result<Request<()>, Wrong> {
        let uri = format!("https://{}{path}", self.host);
        Request::builder().method(method).uri(uri).body(()).map_err(Wrong::because)
    }

    async fn begin(
        &self,
        request: Request<()>,
        is_all: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), Wrong> {
        let mut ready = self.requests.clone().ready().await?;
        Ok(ready.send_request(request, is_all)?)
    }
}

async fn collect(answer: ResponseFuture) -> Result<(Response, HeaderMap), Wrong> {
    let (head, mut body) = answer.await?.into_parts();
    let bytes = read_all(&mut body).await?;
    let trailers = body.trailers().await?.unwrap_or_default();
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let fields = head.headers.iter();
    let fields = fields.map(|(name, value)| (name.to_string(), text(value.as_bytes())));
    let head =
        Head { first_line: format!("HTTP/2 {}", head.status.as_str()), fields: fields.collect() };
    Ok((Response::new(head, bytes)?, trailers))
}

/// All of a body.
///
/// # Errors
/// The stream or its connection broke off.
pub(super) async fn read_all(body: &mut RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut all = Vec::new();
    while let Some(bytes) = body.data().await.transpose()? {
        body.flow_control().release_capacity(bytes.len())?;
        all.extend_from_slice(&bytes);
    }
    Ok(all)
}
