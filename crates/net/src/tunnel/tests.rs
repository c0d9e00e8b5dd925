use std::pin::Pin;
use std::time::Duration;

use proptest::prelude::*;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::spawn_local;

use super::*;
use crate::run_local;
use crate::splice::tests::pair;

/// A small generator of our own, so that a failure can be played again from its seed.
#[derive(Clone)]
struct Random(u64);

impl Random {
    /// xorshift64.
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// A wrapped stream as TLS is one: it shows no socket, wakes without need, reads and
/// writes short, and holds written bytes back until it is flushed or shut down.
struct Moody {
    inner: TcpStream,
    random: Random,
    held: Vec<u8>,
}

impl Moody {
    fn new(inner: TcpStream, seed: u64) -> Self {
        Self { inner, random: Random(seed | 1), held: Vec::new() }
    }

    /// One time in four, not now but soon.
    fn poll_mood(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.random.below(4) > 0 {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let written = ready!(Pin::new(&mut self.inner).poll_write(cx, &self.held))?;
            self.held.drain(..written);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Moody {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_mood(cx));
        let most = room.remaining().min(1 + self.random.below(5000) as usize);
        let mut short = room.take(most);
        ready!(Pin::new(&mut self.inner).poll_read(cx, &mut short))?;
        let filled = short.filled().len();
        room.advance(filled);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Moody {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_mood(cx));
        if self.held.len() > 8192 {
            ready!(self.poll_held(cx))?;
        }
        let most = bytes.len().min(1 + self.random.below(5000) as usize);
        self.held.extend_from_slice(&bytes[..most]);
        Poll::Ready(Ok(most))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_mood(cx));
        self.poll_held(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_mood(cx));
        ready!(self.poll_held(cx))?;
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl Stream for Moody {
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.poll_read_ready(cx)
    }

    fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.poll_write_ready(cx)
    }

    fn raw(&self) -> Option<&TcpStream> {
        None
    }
}

fn pools() -> (PipePool, BufferPool) {
    (PipePool::new(8), BufferPool::new(4096, 8))
}

/// Sends `length` bytes made from `seed` in random pieces, then half-closes.
async fn send(mut to: tokio::net::tcp::OwnedWriteHalf, seed: u64, length: usize) {
    let bytes = stream_of(seed, length);
    let mut random = Random(seed | 1);
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rest.len().min(1 + random.below(40_000) as usize));
        to.write_all(piece).await.unwrap();
        rest = after;
        if random.below(3) == 0 {
            tokio::task::yield_now().await;
        }
    }
    to.shutdown().await.unwrap();
}

fn stream_of(seed: u64, length: usize) -> Vec<u8> {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9) | 1);
    (0..length).map(|_| random.below(256) as u8).collect()
}

/// Both ways at once, each its own length, half-closed as each ends.
async fn both_ways<A: Stream + 'static, B: Stream + 'static>(
    wrap_a: impl FnOnce(TcpStream) -> A,
    wrap_b: impl FnOnce(TcpStream) -> B,
    seed: u64,
    lengths: (usize, usize),
) {
    let ((client, a), (b, origin)) = (pair().await, pair().await);
    let (mut a, mut b) = (wrap_a(a), wrap_b(b));
    let relay = spawn_local(async move {
        let (pipes, buffers) = pools();
        let counters = TunnelCounters::default();
        let end = tunnel(&mut a, &mut b, &pipes, &buffers, &counters).await;
        assert!(matches!(end, TunnelEnd::Closed), "{end:?}");
        assert_eq!(pipes.alive(), pipes.free(), "all pipes are back");
        (counters.a_to_b.get(), counters.b_to_a.get())
    });
    let (mut from_a, to_a) = client.into_split();
    let (mut from_b, to_b) = origin.into_split();
    let up = spawn_local(send(to_a, seed, lengths.0));
    let down = spawn_local(send(to_b, seed + 1, lengths.1));
    let (mut at_client, mut at_origin) = (Vec::new(), Vec::new());
    let (client_done, origin_done) =
        tokio::join!(from_a.read_to_end(&mut at_client), from_b.read_to_end(&mut at_origin));
    client_done.unwrap();
    origin_done.unwrap();
    assert!(at_origin == stream_of(seed, lengths.0), "a to b differs, seed {seed}");
    assert!(at_client == stream_of(seed + 1, lengths.1), "b to a differs, seed {seed}");
    up.await.unwrap();
    down.await.unwrap();
    assert_eq!(relay.await.unwrap(), (lengths.0 as u64, lengths.1 as u64));
}

fn within<F: Future>(future: F) -> F::Output {
    run_local(async {
        tokio::time::timeout(Duration::from_secs(60), future).await.expect("the tunnel hangs")
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn bytes_arrive_as_sent_between_all_kinds_of_streams(
        seed in 0..u64::MAX / 2,
        up in 0..300_000usize,
        down in 0..300_000usize,
        wrapped in 0..4u8,
    ) {
        let moody = move |stream| Moody::new(stream, seed);
        let lengths = (up, down);
        within(async {
            match wrapped {
                0 => both_ways(|a| a, |b| b, seed, lengths).await,
                1 => both_ways(moody, |b| b, seed, lengths).await,
                2 => both_ways(|a| a, moody, seed, lengths).await,
                _ => both_ways(moody, moody, seed, lengths).await,
            }
        });
    }
}

/// More than the sockets hold, so that each side waits for the other.
#[test]
fn long_streams_cross() {
    let lengths = (20 * 1024 * 1024, 12 * 1024 * 1024);
    within(both_ways(|a| a, |b| b, 5, lengths));
    within(both_ways(|a| a, |b| Moody::new(b, 9), 7, (3_000_000, 3_000_000)));
}

#[test]
fn one_direction_goes_on_after_the_other_has_ended() {
    within(async {
        let ((mut client, mut a), (mut b, mut origin)) = (pair().await, pair().await);
        let relay = spawn_local(async move {
            let (pipes, buffers) = pools();
            tunnel(&mut a, &mut b, &pipes, &buffers, &TunnelCounters::default()).await
        });
        client.write_all(b"request").await.unwrap();
        client.shutdown().await.unwrap();
        let mut request = Vec::new();
        origin.read_to_end(&mut request).await.unwrap();
        assert_eq!(request, b"request");
        origin.write_all(b"answer").await.unwrap();
        let mut answer = [0; 6];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"answer");
        assert!(!relay.is_finished());
        drop(origin);
        assert!(matches!(relay.await.unwrap(), TunnelEnd::Closed));
    });
}

/// What a stream holds back is flushed when its direction falls silent.
#[test]
fn interactive_bytes_are_flushed() {
    within(async {
        let ((mut client, a), (b, mut origin)) = (pair().await, pair().await);
        let (mut a, mut b) = (Moody::new(a, 1), Moody::new(b, 2));
        spawn_local(async move {
            let (pipes, buffers) = pools();
            tunnel(&mut a, &mut b, &pipes, &buffers, &TunnelCounters::default()).await
        });
        for turn in 0..100 {
            client.write_u8(turn).await.unwrap();
            assert_eq!(origin.read_u8().await.unwrap(), turn);
            origin.write_u8(turn).await.unwrap();
            assert_eq!(client.read_u8().await.unwrap(), turn);
        }
    });
}

#[test]
fn an_idle_tunnel_holds_neither_pipe_nor_buffer() {
    within(async {
        let ((mut client, mut a), (b, mut origin)) = (pair().await, pair().await);
        let mut b = Moody::new(b, 3);
        let (pipes, buffers) = pools();
        let counters = TunnelCounters::default();
        let talk = async {
            client.write_u8(1).await.unwrap();
            origin.read_u8().await.unwrap();
            origin.write_u8(2).await.unwrap();
            client.read_u8().await.unwrap();
        };
        let buffers_lent = buffers.clone();
        tokio::select! {
            end = tunnel(&mut a, &mut b, &pipes, &buffers, &counters) => panic!("{end:?}"),
            () = talk => {
                assert_eq!(pipes.alive(), pipes.free());
                assert_eq!(buffers_lent.free(), 1, "one buffer was made and it is back");
            }
        }
        assert_eq!((counters.a_to_b.get(), counters.b_to_a.get()), (1, 1));
    });
}

#[test]
fn a_reset_ends_both_directions_and_names_its_side() {
    for wrapped in [false, true] {
        within(async {
            let ((client, mut a), (b, origin)) = (pair().await, pair().await);
            origin.set_zero_linger().unwrap();
            drop(origin);
            let (pipes, buffers) = pools();
            let counters = TunnelCounters::default();
            let end = if wrapped {
                let mut b = Moody::new(b, 4);
                tunnel(&mut a, &mut b, &pipes, &buffers, &counters).await
            } else {
                let mut b = b;
                tunnel(&mut a, &mut b, &pipes, &buffers, &counters).await
            };
            assert_eq!(counters.first_end.get(), Some(Side::B));
            let TunnelEnd::Failed { side, direction, error } = end else { panic!("{end:?}") };
            assert_eq!((side, direction), (Side::B, Direction::BToA));
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
            drop(client);
        });
    }
}

#[test]
fn without_pipes_plain_streams_are_copied() {
    within(async {
        let ((mut client, mut a), (mut b, mut origin)) = (pair().await, pair().await);
        let (pipes, buffers) = (PipePool::new(0), BufferPool::new(1024, 1));
        spawn_local(async move {
            tunnel(&mut a, &mut b, &pipes, &buffers, &TunnelCounters::default()).await
        });
        let sent = stream_of(11, 100_000);
        let (sending, mut received) = (sent.clone(), vec![0; sent.len()]);
        let (written, read) =
            tokio::join!(client.write_all(&sending), origin.read_exact(&mut received));
        written.unwrap();
        read.unwrap();
        assert!(received == sent);
    });
}

/// Lets so many bytes through, a few at a time.
struct Ration {
    left: Cell<u64>,
    at_once: u64,
}

impl Toll for Ration {
    fn poll_grant(
        &self,
        _: &mut Context<'_>,
        _: Direction,
        want: u64,
    ) -> Poll<Result<u64, crate::Stopped>> {
        let grant = want.min(self.at_once).min(self.left.get());
        self.left.set(self.left.get() - grant);
        Poll::Ready(if grant == 0 { Err(crate::Stopped) } else { Ok(grant) })
    }

    fn taken(&self, _: Direction, granted: u64, bytes: u64) {
        self.left.set(self.left.get() + granted - bytes);
    }
}

/// Exactly what is let through arrives, spliced or copied, and both ways draw on the same.
async fn rationed<A: Stream + 'static>(wrap: impl FnOnce(TcpStream) -> A) {
    const RATION: u64 = 300_001;
    let ((mut client, a), (mut b, mut origin)) = (pair().await, pair().await);
    let mut a = wrap(a);
    let relay = spawn_local(async move {
        let (pipes, buffers) = pools();
        let toll = Ration { left: Cell::new(RATION), at_once: 7001 };
        let counters = TunnelCounters::default();
        let end = tunnel_under(&mut a, &mut b, &pipes, &buffers, &counters, Some(&toll)).await;
        assert!(matches!(end, TunnelEnd::Stopped), "{end:?}");
        counters.a_to_b.get() + counters.b_to_a.get()
    });
    client.write_all(&[1; 1000]).await.unwrap();
    let mut request = [0; 1000];
    origin.read_exact(&mut request).await.unwrap();
    let sending = spawn_local(async move {
        // More than is let through: it fails or is left over.
        let _ = origin.write_all(&[2; 900_000]).await;
    });
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    assert_eq!(relay.await.unwrap(), RATION);
    assert_eq!(answer.len() as u64, RATION - 1000);
    sending.abort();
}

#[test]
fn a_toll_stops_at_the_byte() {
    within(rationed(|a| a));
    within(rationed(|a| Moody::new(a, 11)));
}
