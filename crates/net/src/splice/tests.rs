use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::spawn_local;

use super::*;
use crate::run_local;

/// Two ends of one connection.
pub(crate) async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (client, listener.accept().await.unwrap().0)
}

/// Bytes in which no stretch looks like another.
fn bytes(length: usize) -> Vec<u8> {
    (0..length as u32).flat_map(u32::to_le_bytes).take(length).collect()
}

struct Relay {
    source: TcpStream,
    from: TcpStream,
    to: TcpStream,
    sink: TcpStream,
    pipes: PipePool,
    progress: Cell<u64>,
}

impl Relay {
    async fn new() -> Self {
        let ((source, from), (to, sink)) = (pair().await, pair().await);
        Self { source, from, to, sink, pipes: PipePool::new(4), progress: Cell::new(0) }
    }

    async fn run(&self, length: Option<u64>) -> Result<u64, SpliceError> {
        splice_body(&self.pipes, &self.from, &self.to, length, &self.progress).await
    }
}

#[test]
fn exactly_the_length_is_moved_and_the_rest_stays() {
    run_local(async {
        let mut relay = Relay::new().await;
        relay.source.write_all(b"first bodynext head").await.unwrap();
        assert_eq!(relay.run(Some(10)).await.unwrap(), 10);
        assert_eq!(relay.progress.get(), 10);
        let mut body = [0; 10];
        relay.sink.read_exact(&mut body).await.unwrap();
        assert_eq!(&body, b"first body");
        let mut next = [0; 9];
        relay.from.read_exact(&mut next).await.unwrap();
        assert_eq!(&next, b"next head");
        assert_eq!((relay.pipes.alive(), relay.pipes.free()), (1, 1), "the pipe is back");
    });
}

#[test]
fn nothing_is_moved_for_an_empty_body() {
    run_local(async {
        let relay = Relay::new().await;
        assert_eq!(relay.run(Some(0)).await.unwrap(), 0);
        assert_eq!(relay.pipes.alive(), 0, "no pipe is made for it");
    });
}

/// Larger than all buffers together, so both sides have to wait for each other, and
/// long enough for the low-water mark.
#[test]
fn long_bodies_arrive_as_they_were_sent() {
    const LENGTH: usize = 24 * 1024 * 1024 + 17;
    for length in [Some(LENGTH as u64), None] {
        run_local(async move {
            let Relay { mut source, mut from, to, mut sink, pipes, progress } = Relay::new().await;
            let sent = bytes(LENGTH);
            let feed = spawn_local(async move {
                source.write_all(&sent).await.unwrap();
                if length.is_some() {
                    source.write_all(b"next").await.unwrap();
                }
            });
            let relay = spawn_local(async move {
                let moved = splice_body(&pipes, &from, &to, length, &progress).await.unwrap();
                assert_eq!((moved, progress.get()), (LENGTH as u64, LENGTH as u64));
                drop(to);
                // If the low-water mark were still set, these four bytes would not come.
                let mut rest = Vec::new();
                from.read_to_end(&mut rest).await.unwrap();
                assert_eq!(rest, if length.is_some() { &b"next"[..] } else { b"" });
            });
            let mut received = Vec::with_capacity(LENGTH);
            sink.read_to_end(&mut received).await.unwrap();
            assert!(received == bytes(LENGTH), "the bytes differ");
            feed.await.unwrap();
            relay.await.unwrap();
        });
    }
}

/// The mark is set after half a mebibyte; what comes then is little and slow.
#[test]
fn bytes_below_the_low_water_mark_are_not_held_back() {
    run_local(async {
        let Relay { mut source, from, to, mut sink, pipes, progress } = Relay::new().await;
        let relay =
            spawn_local(async move { splice_body(&pipes, &from, &to, None, &progress).await });
        let much = vec![1; 2 * 1024 * 1024];
        let much_too = much.len();
        let feed = spawn_local(async move {
            source.write_all(&much).await.unwrap();
            source
        });
        let mut received = vec![0; much_too];
        sink.read_exact(&mut received).await.unwrap();
        let mut source = feed.await.unwrap();
        for byte in 0..50 {
            source.write_all(&[byte]).await.unwrap();
            assert_eq!(sink.read_u8().await.unwrap(), byte);
        }
        drop(source);
        assert_eq!(relay.await.unwrap().unwrap(), much_too as u64 + 50);
    });
}

#[test]
fn an_early_end_is_told_with_what_arrived() {
    run_local(async {
        let mut relay = Relay::new().await;
        relay.source.write_all(b"half").await.unwrap();
        relay.source.shutdown().await.unwrap();
        let failed = relay.run(Some(10)).await.unwrap_err();
        assert!(matches!(failed, SpliceError::Eof { moved: 4 }), "{failed:?}");
        assert_eq!(relay.progress.get(), 4);
    });
}

#[test]
fn failures_name_the_side_and_filled_pipes_are_not_used_again() {
    run_local(async {
        let mut relay = Relay::new().await;
        relay.source.set_zero_linger().unwrap();
        relay.source.write_all(b"x").await.unwrap();
        assert_eq!(relay.run(Some(1)).await.unwrap(), 1);
        let Relay { source, from, to, pipes, progress, sink } = relay;
        drop(source);
        let failed = splice_body(&pipes, &from, &to, None, &progress).await.unwrap_err();
        assert!(matches!(failed, SpliceError::Read(_)), "{failed:?}");
        drop(sink);

        let Relay { mut source, from, to, sink, .. } = Relay::new().await;
        sink.set_zero_linger().unwrap();
        drop(sink);
        to.readable().await.unwrap();
        source.write_all(b"for nobody").await.unwrap();
        let failed = splice_body(&pipes, &from, &to, None, &progress).await.unwrap_err();
        assert!(matches!(failed, SpliceError::Write(_)), "{failed:?}");
        assert_eq!((pipes.alive(), pipes.free()), (0, 0), "the pipe with ten bytes is gone");
    });
}

#[test]
fn a_dropped_transfer_takes_its_pipe_along() {
    run_local(async {
        let mut relay = Relay::new().await;
        let much = vec![0; 32 * 1024 * 1024];
        // Nobody reads the sink, so the relay gets stuck with bytes in its pipe.
        let stuck = async {
            tokio::join!(relay.source.write_all(&much), async {
                splice_body(&relay.pipes, &relay.from, &relay.to, None, &relay.progress).await
            })
        };
        let ended = tokio::time::timeout(Duration::from_millis(300), stuck).await;
        assert!(ended.is_err());
        assert_eq!((relay.pipes.alive(), relay.pipes.free()), (0, 0));
    });
}

#[test]
fn without_a_pipe_the_caller_is_to_copy() {
    run_local(async {
        let mut relay = Relay::new().await;
        relay.pipes = PipePool::new(0);
        relay.source.write_all(b"bytes").await.unwrap();
        let failed = relay.run(Some(5)).await.unwrap_err();
        assert!(matches!(failed, SpliceError::Unsupported), "{failed:?}");
        let mut rest = [0; 5];
        relay.from.read_exact(&mut rest).await.unwrap();
        assert_eq!(&rest, b"bytes", "none is lost");
    });
}

#[test]
fn a_body_that_lost_its_pipe_goes_on_by_copying() {
    run_local(async {
        let Relay { mut source, from, to, mut sink, .. } = Relay::new().await;
        let pipes = PipePool::new(1);
        let lent = pipes.clone();
        let relay = spawn_local(async move {
            let progress = Cell::new(0);
            splice_body(&lent, &from, &to, Some(4), &progress).await
        });
        source.write_all(b"ab").await.unwrap();
        assert_eq!(sink.read_u16().await.unwrap(), u16::from_be_bytes(*b"ab"));
        // The body waits for its rest and lends the only pipe to others meanwhile.
        let taken = pipes.take().unwrap();
        source.write_all(b"cd").await.unwrap();
        assert_eq!(sink.read_u16().await.unwrap(), u16::from_be_bytes(*b"cd"));
        assert_eq!(relay.await.unwrap().unwrap(), 4);
        drop(taken);
    });
}
