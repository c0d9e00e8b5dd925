//! The check that is a call of `grpc.health.v1.Health/Check`. Its two messages are a string and
//! a number: they are written and read here by hand.

use bytes::{BufMut, Bytes, BytesMut};
use http::{Method, Request, Version};
use tls::Io;

use super::http::exchange;

/// The service takes requests.
const SERVING: u64 = 1;

/// Asks how a service is.
pub(super) async fn ask(
    io: Io,
    authority: &str,
    secure: bool,
    service: &str,
) -> Result<(), String> {
    let scheme = if secure { "https" } else { "http" };
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("{scheme}://{authority}/grpc.health.v1.Health/Check"))
        .version(Version::HTTP_2)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", "bifrons-health")
        .body(())
        .map_err(|error| error.to_string())?;
    let response = exchange(io, request, Some(question(service))).await?;
    if response.status != 200 {
        return Err(format!("status {}", response.status));
    }
    // Without a message the trailers are the head ("trailers only").
    let status = response.trailers.get("grpc-status").or(response.fields.get("grpc-status"));
    match status.map(http::HeaderValue::as_bytes) {
        Some(b"0") => {}
        Some(code) => return Err(format!("grpc-status {}", String::from_utf8_lossy(code))),
        None => return Err("no grpc-status".to_owned()),
    }
    match serving_status(&response.body) {
        Some(SERVING) => Ok(()),
        Some(status) => Err(format!("serving status {status}")),
        None => Err("malformed answer".to_owned()),
    }
}

/// A `HealthCheckRequest` with its length-prefixed frame.
fn question(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        // Field 1, a string.
        message.put_u8(1 << 3 | 2);
        put_varint(&mut message, service.len() as u64);
        message.put_slice(service.as_bytes());
    }
    let mut frame = BytesMut::with_capacity(5 + message.len());
    frame.put_u8(0);
    frame.put_u32(message.len() as u32);
    frame.put_slice(&message);
    frame.freeze()
}

/// The status in a framed `HealthCheckResponse`: field 1, a number; 0 where it is left out.
fn serving_status(frame: &[u8]) -> Option<u64> {
    let (head, rest) = frame.split_at_checked(5)?;
    let length = u32::from_be_bytes(head[1..].try_into().ok()?) as usize;
    // A compressed message was not asked for.
    if head[0] != 0 {
        return None;
    }
    let mut message = rest.get(..length)?;
    let mut status = 0;
    while !message.is_empty() {
        let tag = take_varint(&mut message)?;
        match (tag >> 3, tag & 7) {
            (1, 0) => status = take_varint(&mut message)?,
            (_, 0) => drop(take_varint(&mut message)?),
            (_, 1) => message = message.get(8..)?,
            (_, 2) => {
                let length = usize::try_from(take_varint(&mut message)?).ok()?;
                message = message.get(length..)?;
            }
            (_, 5) => message = message.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

fn put_varint(out: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

fn take_varint(input: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = input.split_first()?;
        *input = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question() {
        assert_eq!(&question("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&question("ab")[..], [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        assert_eq!(question(&"x".repeat(300))[..8], [0, 0, 0, 1, 47, 0x0a, 0xac, 2]);
    }

    #[test]
    fn the_answer() {
        assert_eq!(serving_status(&[0, 0, 0, 0, 2, 8, 1]), Some(1));
        assert_eq!(serving_status(&[0, 0, 0, 0, 2, 8, 2]), Some(2));
        assert_eq!(serving_status(&[0, 0, 0, 0, 0]), Some(0), "unknown");
        assert_eq!(serving_status(&[0, 0, 0, 0, 5, 0x12, 1, 9, 8, 1]), Some(1), "other fields");
        for wrong in [
            &[][..],
            &[0, 0, 0, 0, 2, 8],
            &[1, 0, 0, 0, 2, 8, 1],
            &[0, 0, 0, 0, 1, 8],
            &[0, 0, 0, 0, 2, 0x0b, 1],
            &[0, 0, 0, 0, 3, 0x12, 9, 9],
        ] {
            assert_eq!(serving_status(wrong), None, "{wrong:?}");
        }
    }
}
