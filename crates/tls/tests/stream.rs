//! The connection after its handshake: sizes, ends, order, and what a peer may do to it.

mod support;

use std::future::poll_fn;
use std::io::{ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use net::Stream;
use rustls::version::{TLS12, TLS13};
use support::*;
use tls::Io;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream as PeerStream;

type Peered = (Io, PeerStream<TcpStream>);

async fn connected(version: &'static rustls::SupportedProtocolVersion) -> Peered {
    let authority = Authority::new("root");
    let server = server(&[(exact("a.example"), site(vec![authority.issue(&["a.example"])]))]);
    let client = Peer::default().version(version).trusting(&authority);
    let (accepted, connected) = shake(&server, &client, "a.example").await;
    (accepted.unwrap(), connected.unwrap())
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8).collect()
}

fn pending<T>(poll: &Poll<T>) -> bool {
    poll.is_pending()
}

#[tokio::test]
async fn megabytes_cross_in_both_directions_at_once() {
    for version in [&TLS12, &TLS13] {
        let (server, client) = connected(version).await;
        let (mut server_read, mut server_write) = tokio::io::split(server);
        let (mut client_read, mut client_write) = tokio::io::split(client);
        let data = pattern(3_000_000);
        let (mut up, mut down) = (Vec::new(), Vec::new());
        let sent = async {
            server_write.write_all(&data).await.unwrap();
            server_write.shutdown().await.unwrap();
        };
        let sent_back = async {
            client_write.write_all(&data).await.unwrap();
            client_write.shutdown().await.unwrap();
        };
        let (_, _, read, read_back) = tokio::join!(
            sent,
            sent_back,
            server_read.read_to_end(&mut up),
            client_read.read_to_end(&mut down)
        );
        read.unwrap();
        read_back.unwrap();
        assert!(up == data && down == data, "{version:?}");
    }
}

#[tokio::test]
async fn a_reader_may_take_bytes_one_by_one() {
    let (mut server, mut client) = connected(&TLS13).await;
    let data = pattern(40_000);
    client.write_all(&data).await.unwrap();
    client.flush().await.unwrap();
    for &byte in &data {
        poll_fn(|cx| server.poll_readable(cx)).await.unwrap();
        assert_eq!(server.read_u8().await.unwrap(), byte);
    }
    let mut cx = Context::from_waker(Waker::noop());
    assert!(pending(&server.poll_readable(&mut cx)), "all was read");
}

#[tokio::test]
async fn a_head_and_a_short_body_are_one_record_and_the_ticket_goes_with_them() {
    let (server, mut client) = connected(&TLS13).await;
    let mut server = server;
    let slices = [IoSlice::new(b"head "), IoSlice::new(b""), IoSlice::new(b"body")];
    let n = poll_fn(|cx| Pin::new(&mut server).poll_write_vectored(cx, &slices)).await.unwrap();
    assert_eq!(n, 9);
    let mut wire = [0; 4096];
    let (tcp, _) = client.get_ref();
    tcp.readable().await.unwrap();
    let n = tcp.peek(&mut wire).await.unwrap();
    let mut sizes = Vec::new();
    let mut rest = &wire[..n];
    while let [23, 3, 3, high, low, ..] = rest {
        let size = usize::from(u16::from_be_bytes([*high, *low]));
        sizes.push(size);
        rest = &rest[5 + size..];
    }
    assert!(rest.is_empty());
    assert_eq!(sizes.len(), 2, "one ticket, one record of data: {sizes:?}");
    assert_eq!(sizes[1], 9 + 1 + 16);
    let mut data = [0; 9];
    client.read_exact(&mut data).await.unwrap();
    assert_eq!(&data, b"head body");
}

#[tokio::test]
async fn long_slices_are_written_in_turn() {
    let (mut server, mut client) = connected(&TLS13).await;
    let (a, b) = (pattern(300), pattern(100_000));
    let write = async {
        let mut done = 0;
        while done < a.len() + b.len() {
            let from_a = done.min(a.len());
            let slices = [IoSlice::new(&a[from_a..]), IoSlice::new(&b[done - from_a..])];
            done +=
                poll_fn(|cx| Pin::new(&mut server).poll_write_vectored(cx, &slices)).await.unwrap();
        }
        server.flush().await.unwrap();
    };
    let mut got = vec![0; a.len() + b.len()];
    let (_, read) = tokio::join!(write, client.read_exact(&mut got));
    read.unwrap();
    assert!(got[..300] == a && got[300..] == b);
}

#[tokio::test]
async fn a_peer_that_does_not_read_holds_up_the_writer() {
    let (mut server, mut client) = connected(&TLS13).await;
    let data = pattern(49_152);
    let mut cx = Context::from_waker(Waker::noop());
    let mut taken = 0;
    while let Poll::Ready(n) = Pin::new(&mut server).poll_write(&mut cx, &data) {
        taken += n.unwrap();
        assert!(taken < 100 << 20, "memory grows without bound");
    }
    assert!(pending(&Pin::new(&mut server).poll_flush(&mut cx)));
    let mut got = vec![0; taken];
    let (flushed, read) = tokio::join!(server.flush(), client.read_exact(&mut got));
    flushed.unwrap();
    read.unwrap();
    assert!(got.chunks(data.len()).all(|chunk| *chunk == data[..chunk.len()]));
}

#[tokio::test]
async fn an_end_without_close_notify_is_no_end() {
    let (mut server, mut client) = connected(&TLS13).await;
    client.write_all(b"cut").await.unwrap();
    client.flush().await.unwrap();
    let (mut tcp, _) = client.into_inner();
    tcp.shutdown().await.unwrap();
    let mut got = Vec::new();
    let error = server.read_to_end(&mut got).await.unwrap_err();
    assert_eq!(got, b"cut");
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    poll_fn(|cx| server.poll_readable(cx)).await.unwrap();
    let error = server.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "it stays so");
}

#[tokio::test]
async fn half_a_connection_can_still_be_written_to() {
    for version in [&TLS12, &TLS13] {
        let (mut server, mut client) = connected(version).await;
        client.write_all(b"question").await.unwrap();
        client.shutdown().await.unwrap();
        let mut got = Vec::new();
        server.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"question");
        server.write_all(b"answer").await.unwrap();
        server.shutdown().await.unwrap();
        assert_eq!(server.write(b"more").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        let mut got = Vec::new();
        client.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"answer");
    }
}

#[tokio::test]
async fn a_broken_record_ends_the_connection_with_an_alert() {
    let (mut server, client) = connected(&TLS13).await;
    let (mut tcp, mut session) = client.into_inner();
    tcp.write_all(&[23, 3, 3, 0, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0])
        .await
        .unwrap();
    assert_eq!(server.read_u8().await.unwrap_err().kind(), ErrorKind::InvalidData);
    assert_eq!(server.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
    drop(server);
    let mut answer = Vec::new();
    tcp.read_to_end(&mut answer).await.unwrap();
    session.read_tls(&mut answer.as_slice()).unwrap();
    let error = session.process_new_packets().unwrap_err();
    assert!(error.to_string().contains("BadRecordMac"), "{error}");
}

#[tokio::test]
async fn keys_may_be_updated_at_any_time() {
    let (mut server, mut client) = connected(&TLS13).await;
    for round in 0..3u8 {
        client.get_mut().1.refresh_traffic_keys().unwrap();
        client.write_u8(round).await.unwrap();
        client.flush().await.unwrap();
        assert_eq!(server.read_u8().await.unwrap(), round);
        server.write_u8(round).await.unwrap();
        server.flush().await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), round);
    }
}

/// A message in pieces: the connection is written to while the first piece waits.
#[tokio::test]
async fn half_a_record_waits_while_we_write() {
    let (mut server, client) = connected(&TLS13).await;
    let (mut tcp, mut session) = client.into_inner();
    use std::io::Write;
    session.writer().write_all(b"in pieces").unwrap();
    let mut wire = Vec::new();
    session.write_tls(&mut wire).unwrap();
    let (first, second) = wire.split_at(8);
    tcp.write_all(first).await.unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    poll_fn(|cx| server.poll_readable(cx)).await.unwrap();
    let mut space = [0; 64];
    let mut out = tokio::io::ReadBuf::new(&mut space);
    assert!(pending(&tokio::io::AsyncRead::poll_read(Pin::new(&mut server), &mut cx, &mut out)));
    server.write_all(b"meanwhile").await.unwrap();
    tcp.write_all(second).await.unwrap();
    let mut got = [0; 9];
    server.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"in pieces");
}

#[tokio::test]
async fn a_close_comes_behind_what_the_transport_holds_up() {
    let (mut server, mut client) = connected(&TLS13).await;
    let data = pattern(49_152);
    let mut cx = Context::from_waker(Waker::noop());
    let mut taken = 0;
    while let Poll::Ready(n) = Pin::new(&mut server).poll_write(&mut cx, &data) {
        taken += n.unwrap();
    }
    let mut got = Vec::new();
    let (closed, read) = tokio::join!(server.shutdown(), client.read_to_end(&mut got));
    closed.unwrap();
    read.unwrap();
    assert_eq!(got.len(), taken);
}

/// A client that sends its last flight and a long upload at once.
#[tokio::test]
async fn data_in_the_segment_of_the_clients_last_flight_is_not_lost() {
    use std::io::Write;
    for version in [&TLS12, &TLS13] {
        let authority = Authority::new("root");
        let server = server(&[(exact("a.example"), site(vec![authority.issue(&["a.example"])]))]);
        let config = Peer::default().version(version).trusting(&authority);
        let mut session =
            rustls::ClientConnection::new(config, "a.example".try_into().unwrap()).unwrap();
        session.set_buffer_limit(None);
        let (mut near, far) = pair().await;
        let data = pattern(300_000);
        let client = async {
            session.writer().write_all(&data).unwrap();
            while session.is_handshaking() || session.wants_write() {
                let mut flight = Vec::new();
                while session.wants_write() {
                    session.write_tls(&mut flight).unwrap();
                }
                near.write_all(&flight).await.unwrap();
                if session.is_handshaking() {
                    let mut buffer = vec![0; 1 << 16];
                    let n = near.read(&mut buffer).await.unwrap();
                    session.read_tls(&mut &buffer[..n]).unwrap();
                    session.process_new_packets().unwrap();
                }
            }
        };
        let serve = async {
            let mut io = server.accept(far, b"").await.unwrap();
            let mut got = vec![0; data.len()];
            io.read_exact(&mut got).await.unwrap();
            got
        };
        let (_, got) = tokio::join!(client, serve);
        assert!(got == data, "{version:?}");
    }
}
