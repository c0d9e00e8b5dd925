//! Measures what it costs to relay bytes: CPU seconds of the relaying thread per GB.
//!
//! `cargo run --release -p net --example relay -- MODE PIPE_KIB BUFFER_KIB GB`
//! with MODE one of `bodies` (10 MiB each), `stream`, `tunnel` (spliced), `copy`
//! (a tunnel through buffers). The relay is pinned to core 0; source and sink
//! share core 1.

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};

use net::{
    BufferPool, PipePool, Stream, TunnelCounters, TunnelEnd, run_local, splice_body, tunnel,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const BODY: u64 = 10 * 1024 * 1024;

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |at: usize, default: usize| -> usize {
        arguments.get(at).and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let mode = arguments.get(1).map_or("bodies", String::as_str).to_owned();
    let (pipe, buffer) = (number(2, 1024) * 1024, number(3, 32) * 1024);
    let total = (number(4, 10) as u64 * 1_000_000_000).div_ceil(BODY) * BODY;

    let (source, from) = pair()?;
    let (to, sink) = pair()?;
    let write =
        thread::spawn(move || net::listener::pin_to_core(1).and_then(|()| feed(source, total)));
    let read = thread::spawn(move || net::listener::pin_to_core(1).and_then(|()| swallow(sink)));
    let relay = thread::spawn(move || relay(&mode, from, to, pipe, buffer, total));

    let (moved, cpu, wall) = relay.join().expect("the relay does not panic")?;
    write.join().expect("the source does not panic")?;
    let received = read.join().expect("the sink does not panic")?;
    assert_eq!((moved, received), (total, total));
    let gigabytes = total as f64 / 1e9;
    println!(
        "{:.3} s/GB cpu ({:.3} user {:.3} system), {:.2} GB/s",
        (cpu.0 + cpu.1).as_secs_f64() / gigabytes,
        cpu.0.as_secs_f64() / gigabytes,
        cpu.1.as_secs_f64() / gigabytes,
        gigabytes / wall.as_secs_f64(),
    );
    Ok(())
}

type Cpu = (Duration, Duration);

fn relay(
    mode: &str,
    from: TcpStream,
    to: TcpStream,
    pipe: usize,
    buffer: usize,
    total: u64,
) -> io::Result<(u64, Cpu, Duration)> {
    net::listener::pin_to_core(0)?;
    let pipes = PipePool::with_size(4, pipe);
    let buffers = BufferPool::new(buffer, 4);
    run_local(async {
        let mut from = tokio::net::TcpStream::from_std(from)?;
        let mut to = tokio::net::TcpStream::from_std(to)?;
        let (began, before) = (Instant::now(), thread_cpu());
        let progress = Cell::new(0);
        let counters = TunnelCounters::default();
        let moved = match mode {
            "bodies" => {
                while progress.get() < total {
                    splice_body(&pipes, &from, &to, Some(BODY), &progress)
                        .await
                        .map_err(|error| io::Error::other(format!("{error:?}")))?;
                }
                progress.get()
            }
            "stream" => splice_body(&pipes, &from, &to, None, &progress)
                .await
                .map_err(|error| io::Error::other(format!("{error:?}")))?,
            "tunnel" => {
                closed(tunnel(&mut from, &mut to, &pipes, &buffers, &counters).await)?;
                counters.a_to_b.get()
            }
            _ => {
                let (mut from, mut to) = (Opaque(from), Opaque(to));
                closed(tunnel(&mut from, &mut to, &pipes, &buffers, &counters).await)?;
                counters.a_to_b.get()
            }
        };
        let after = thread_cpu();
        Ok((moved, (after.0 - before.0, after.1 - before.1), began.elapsed()))
    })
}

fn closed(end: TunnelEnd) -> io::Result<()> {
    match end {
        // Nothing here takes toll.
        TunnelEnd::Closed | TunnelEnd::Stopped => Ok(()),
        TunnelEnd::Failed { error, .. } => Err(error),
    }
}

/// A TCP stream that does not show its socket, so its bytes are copied.
struct Opaque(tokio::net::TcpStream);

impl Stream for Opaque {
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_read_ready(cx)
    }
    fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_write_ready(cx)
    }
    fn raw(&self) -> Option<&tokio::net::TcpStream> {
        None
    }
}

impl AsyncRead for Opaque {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, room)
    }
}

impl AsyncWrite for Opaque {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

fn feed(mut source: TcpStream, total: u64) -> io::Result<()> {
    source.set_nonblocking(false)?;
    let chunk = vec![0x5a; 64 * 1024];
    let mut rest = total;
    while rest > 0 {
        let now = chunk.len().min(usize::try_from(rest).unwrap_or(usize::MAX));
        source.write_all(&chunk[..now])?;
        rest -= now as u64;
    }
    source.shutdown(Shutdown::Both)
}

fn swallow(mut sink: TcpStream) -> io::Result<u64> {
    sink.set_nonblocking(false)?;
    let mut room = vec![0; 256 * 1024];
    let mut received = 0;
    loop {
        match sink.read(&mut room)? {
            0 => break,
            read => received += read as u64,
        }
    }
    Ok(received)
}

fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    let (server, _) = listener.accept()?;
    for stream in [&client, &server] {
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
    }
    Ok((client, server))
}

/// User and system time of this thread, from the kernel's own account.
fn thread_cpu() -> Cpu {
    let text = std::fs::read_to_string("/proc/thread-self/stat").expect("procfs is there");
    let after_name = text.rsplit_once(')').expect("the name is in brackets").1;
    let ticks = |field: usize| -> u64 {
        after_name.split_whitespace().nth(field - 3).and_then(|n| n.parse().ok()).unwrap_or(0)
    };
    // Fields 14 and 15 of proc(5), in ticks of 10 ms.
    (Duration::from_millis(ticks(14) * 10), Duration::from_millis(ticks(15) * 10))
}
