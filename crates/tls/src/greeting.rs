//! Looking at what a client begins with, for whoever passes the bytes on as they are.
//!
//! The name that a `ClientHello` asks for (RFC 6066 §3) can be read without being a party to
//! the handshake. Where the true name is encrypted (RFC 9849), what is read is the outer one,
//! which is there to be seen by those who route.

use std::future::poll_fn;
use std::io;

use crate::Io;
use crate::client_hello::{FirstBytes, inspect};
use crate::stream::poll_append;

/// Most bytes that a `ClientHello` may take on the wire before it is given up. Clients with
/// post-quantum key shares send about two thousand.
const MAX_GREETING: usize = 16 * 1024;

/// What a server that does not know the name answers (RFC 6066 §3), before anything is
/// encrypted: a fatal alert `unrecognized_name` in a record of its own (RFC 8446 §6).
pub const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// What a client begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Greeting {
    /// A TLS handshake.
    Tls {
        /// The server name in lower case, if a valid one is asked for.
        name: Option<Box<str>>,
    },
    /// Something else.
    Other,
    /// A TLS handshake that asks for nothing within the first 16 KiB.
    Endless,
    /// It ended before it was clear what it is.
    Ended,
}

/// Receives until it is clear what the client begins with. All that was received is appended
/// to `received`, and belongs to whoever takes the connection over.
///
/// The time it may take is the caller's matter. While nothing comes it holds no buffer.
///
/// # Errors
/// Those of the connection.
pub async fn greeting(io: &mut Io, received: &mut Vec<u8>) -> io::Result<Greeting> {
    loop {
        // However much came at once, the verdict is the same.
        match inspect(&received[..received.len().min(MAX_GREETING)]) {
            FirstBytes::Hello(name) if received.first() == Some(&HANDSHAKE) => {
                return Ok(Greeting::Tls { name });
            }
            FirstBytes::Hello(_) | FirstBytes::PlainHttp => return Ok(Greeting::Other),
            FirstBytes::Incomplete if received.len() >= MAX_GREETING => {
                return Ok(Greeting::Endless);
            }
            FirstBytes::Incomplete => {}
        }
        if poll_fn(|cx| poll_append(io, cx, received)).await? == 0 {
            return Ok(Greeting::Ended);
        }
    }
}

/// The content type of a handshake record (RFC 8446 §5.1).
const HANDSHAKE: u8 = 22;

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// What is made of a client that sends this and ends, and what was received of it.
    async fn greeting_of(pieces: impl Iterator<Item = &[u8]>) -> (Greeting, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(client, listener.accept());
        let (mut client, mut io) = (client.unwrap(), Io::Tcp(accepted.unwrap().0));
        let mut received = Vec::new();
        let sending = async {
            for piece in pieces {
                if client.write_all(piece).await.is_err() {
                    return;
                }
                tokio::task::yield_now().await;
            }
            let _ = client.shutdown().await;
        };
        let (greeting, ()) = tokio::join!(greeting(&mut io, &mut received), sending);
        (greeting.unwrap(), received)
    }

    fn hello(name: &str) -> Vec<u8> {
        crate::client_hello::tests::hello(name)
    }

    #[tokio::test]
    async fn a_name_however_it_comes() {
        let bytes = hello("A.Example");
        let wanted = Greeting::Tls { name: Some("a.example".into()) };
        let split = crate::client_hello::tests::split(&bytes, 7);
        for whole in [&bytes, &split] {
            for size in [1, 5, whole.len()] {
                let (greeting, received) = greeting_of(whole.chunks(size)).await;
                assert_eq!(greeting, wanted, "segments of {size}");
                assert_eq!(&received, whole);
            }
        }
    }

    #[tokio::test]
    async fn other_things() {
        let bytes = hello("a.example");
        let endless = [[22, 3, 1, 0x40, 0].as_slice(), &[1, 0, 0xff, 0xff], &[0; 20_000]].concat();
        for (bytes, wanted) in [
            (&b"GET / HTTP/1.1\r\n"[..], Greeting::Other),
            (b"\0", Greeting::Other),
            (b"", Greeting::Ended),
            (b"\x16\x03", Greeting::Ended),
            (&bytes[..bytes.len() - 1], Greeting::Ended),
            (&hello("192.0.2.1"), Greeting::Tls { name: None }),
            (b"\x16\x03\x01\x00\x00", Greeting::Tls { name: None }),
            (&endless, Greeting::Endless),
        ] {
            let (greeting, received) = greeting_of(std::iter::once(bytes)).await;
            assert_eq!(greeting, wanted);
            assert!(bytes.starts_with(&received));
        }
    }
}
