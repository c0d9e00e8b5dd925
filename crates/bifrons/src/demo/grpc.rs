//! The little of gRPC that the demo's origin and its client need: one message there, one back,
//! and the status in the trailers.

use std::io;

use h2::RecvStream;
use h2::server::SendResponse;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{HeaderMap, Request, Response};
use tokio::net::TcpStream;

use super::http2::read_all;

/// The one method that there is.
pub(super) const METHOD: &str = "/demo.Greeter/Hello";

/// The type of content of every message.
pub(super) const TYPE: &str = "application/grpc+proto";

/// The status of a call that went well.
pub(super) const OK: &str = "0";

/// The status of a call for a method that there is not.
pub(super) const UNIMPLEMENTED: &str = "12";

/// Answers the calls on one connection, which is HTTP/2 without TLS.
///
/// # Errors
/// The connection failed.
pub(super) async fn converse(name: char, stream: TcpStream, count: impl Fn()) -> io::Result<()> {
    let mut connection = h2::server::handshake(stream).await.map_err(io::Error::other)?;
    while let Some(call) = connection.accept().await {
        let (request, respond) = call.map_err(io::Error::other)?;
        count();
        // A call that breaks off concerns nobody else.
        tokio::spawn(async move { drop(answer(name, request, respond).await) });
    }
    Ok(())
}

async fn answer(
    name: char,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) -> Result<(), h2::Error> {
    let (head, mut body) = request.into_parts();
    let asked = read_all(&mut body).await?;
    let mut response = Response::new(());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(TYPE));
    let Some(who) = text_of(&asked).filter(|_| head.uri.path() == METHOD) else {
        // Nothing but trailers.
        response.headers_mut().extend(status(UNIMPLEMENTED));
        respond.send_response(response, true)?;
        return Ok(());
    };
    let field = |name: &str| match head.headers.get(name) {
        Some(value) => format!(", {name}: {}", String::from_utf8_lossy(value.as_bytes())),
        None => format!(", no {name}"),
    };
    let seen = format!("{} {}{}", head.method, head.uri.path(), field("te"));
    let greeting = format!("Hello, {who}! {name} saw {seen}{}", field("x-forwarded-for"));
    let mut send = respond.send_response(response, false)?;
    send.send_data(Bytes::from(message(&greeting)), false)?;
    send.send_trailers(status(OK))
}

fn status(code: &'static str) -> HeaderMap {
    let code = HeaderValue::from_static(code);
    HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), code)])
}

/// A message with one field, a string, behind its prefix: not compressed, and the length.
pub(super) fn message(text: &str) -> Vec<u8> {
    // Field 1, and a length in seven bits at a time.
    let mut content = vec![0x0a];
    let mut length = text.len();
    while length > 0x7f {
        content.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    content.push(length as u8);
    content.extend_from_slice(text.as_bytes());
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
    let mut bytes = vec![0];
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(&content);
    bytes
}

/// The string in such a message, or `None` where it is not one.
pub(super) fn text_of(bytes: &[u8]) -> Option<String> {
    let (&[0, a, b, c, d], content) = bytes.split_first_chunk()? else { return None };
    let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).ok()?;
    let (&0x0a, mut text) = content.split_first().filter(|_| content.len() == length)? else {
        return None;
    };
    let (mut length, mut shift) = (0_usize, 0);
    loop {
        let (&byte, rest) = text.split_first().filter(|_| shift < 28)?;
        length |= usize::from(byte & 0x7f) << shift;
        (text, shift) = (rest, shift + 7);
        if byte & 0x80 == 0 {
            break;
        }
    }
    (text.len() == length).then(|| String::from_utf8(text.to_vec()).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_what_protocol_buffers_make_of_it() {
        assert_eq!(message("hi"), b"\x00\x00\x00\x00\x04\x0a\x02hi");
        let long = "x".repeat(300);
        assert!(message(&long).starts_with(b"\x00\x00\x00\x01\x2f\x0a\xac\x02x"));
        assert_eq!(text_of(&message(&long)), Some(long));
        assert_eq!(text_of(&message("")), Some(String::new()));
    }

    #[test]
    fn what_is_no_such_message_has_no_text() {
        for bytes in
            [&b""[..], b"\x01\x00\x00\x00\x04\x0a\x02hi", b"\x00\x00\x00\x00\x05\x0a\x02hi"]
        {
            assert_eq!(text_of(bytes), None, "{bytes:?}");
        }
    }
}
