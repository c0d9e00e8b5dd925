//! Drives a handshake to its end, on either side, and names what went wrong.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use rustls::ProtocolVersion;

use crate::client_hello::MAX_HELLO;
use crate::stream::TlsStream;

/// Why a handshake ended early, before either side's error is made of it.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The peer closed.
    Eof,
    /// The transport failed.
    Io(io::Error),
    /// The protocol failed; an alert was sent if the peer took it at once.
    Tls(rustls::Error),
}

/// Handshake bytes that may wait for the rest of their message.
const MAX_WAITING: usize = 2 * MAX_HELLO;

/// Completes the handshake.
///
/// A server's session tickets are left to go out with the first response (TLS 1.3); anything
/// else has been sent when this returns.
pub(crate) async fn complete(stream: &mut TlsStream) -> Result<(), Broken> {
    loop {
        match stream.advance_handshake() {
            Ok(true) => break,
            Ok(false) => {}
            Err(error) => {
                send_alert(stream).await;
                return Err(Broken::Tls(error));
            }
        }
        poll_fn(|cx| stream.poll_send(cx)).await.map_err(Broken::Io)?;
        if stream.received() > MAX_WAITING {
            return Err(Broken::Tls(rustls::Error::PeerSentOversizedRecord));
        }
        if poll_fn(|cx| stream.poll_receive(cx)).await.map_err(Broken::Io)? == 0 {
            return Err(Broken::Eof);
        }
    }
    let tls13 = stream.connection().protocol_version() == Some(ProtocolVersion::TLSv1_3);
    if !(stream.is_server() && tls13) {
        poll_fn(|cx| stream.poll_send(cx)).await.map_err(Broken::Io)?;
    }
    Ok(())
}

/// Tries once: a peer that does not read must not hold us.
async fn send_alert(stream: &mut TlsStream) {
    poll_fn(|cx| {
        let _ = stream.poll_send(cx);
        Poll::Ready(())
    })
    .await;
}
