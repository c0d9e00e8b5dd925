//! Thousands of connections that made one request and now wait.

use std::collections::HashSet;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::wrk::Wrk;
use crate::Result;
use crate::bench::process::Server;
use crate::bench::proxy::Proxy;

/// In which all connections are made, before the first request.
const CONNECT: Duration = Duration::from_secs(4);
/// Over which the first requests are spread.
const SPREAD: Duration = Duration::from_secs(3);
/// Connections of a warm-up.
const FEW: u32 = 16;
/// For the last answers, and for what a proxy frees late.
const SETTLE: Duration = Duration::from_secs(2);

/// Resident KiB that each of `connections` idle connections adds to `proxy`, which has been
/// warmed up with a few.
///
/// # Errors
/// wrk is missing, or the connections were not there when it was time to look.
pub fn measure(proxy: &Proxy, tls: bool, connections: u32, dir: &Path) -> Result<f64> {
    let warm = Wrk::new(proxy.address, tls, 16).run(Duration::from_secs(1), dir)?;
    if let Some(fault) = warm.faults.first() {
        return Err(fault.clone().into());
    }
    wait_for(|| Ok(established(proxy.address)? == 0), "the connections of the warm-up to end")?;
    let before = settled(&proxy.server)?;

    let mut wrk = Wrk::new(proxy.address, tls, connections as usize);
    wrk.once(CONNECT, SPREAD);
    let length = CONNECT + SPREAD + SETTLE * 10;
    let _holder = Holder(wrk.spawn(length, dir)?);
    sleep(CONNECT);
    let open = established(proxy.address)?;
    if open != connections {
        return Err(format!("{open} of {connections} connections after {CONNECT:?}").into());
    }
    sleep(SPREAD + SETTLE);
    let after = settled(&proxy.server)?;
    let open = established(proxy.address)?;
    if open != connections {
        return Err(format!("{open} of {connections} connections stayed open").into());
    }
    Ok(after.saturating_sub(before) as f64 / f64::from(connections))
}

/// Resident KiB that each of `connections` connections adds to `proxy`, which has been warmed up
/// with a few. `open` makes one and uses it.
///
/// # Errors
/// One did not come about, or did not stay.
pub(super) fn hold(
    proxy: &Proxy,
    connections: u32,
    what: &str,
    open: impl Fn() -> Result<TcpStream>,
) -> Result<f64> {
    let all = |count: u32| -> Result<Vec<TcpStream>> { (0..count).map(|_| open()).collect() };
    drop(all(FEW)?);
    wait_for(|| Ok(established(proxy.address)? == 0), "the connections of the warm-up to end")?;
    let before = settled(&proxy.server)?;
    let sockets = all(connections)?;
    let after = settled(&proxy.server)?;
    let there = || Ok(established(proxy.address)? == connections);
    wait_for(there, &format!("all {what} to be there still"))?;
    drop(sockets);
    Ok(after.saturating_sub(before) as f64 / f64::from(connections))
}

/// The holder of the connections; ended when dropped.
struct Holder(Child);

impl Drop for Holder {
    fn drop(&mut self) {
        // `timeout` passes SIGTERM on to wrk; SIGKILL would leave wrk behind.
        if let Some(pid) = i32::try_from(self.0.id()).ok().and_then(rustix::process::Pid::from_raw)
        {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.0.wait();
    }
}

/// Resident memory once it has stopped to change, KiB.
fn settled(server: &Server) -> Result<u64> {
    let mut last = server.resident_kib()?;
    wait_for(
        || {
            let now = server.resident_kib()?;
            Ok(std::mem::replace(&mut last, now) == now)
        },
        "the memory to settle",
    )?;
    Ok(last)
}

/// Looks again and again: neither the kernel's tables nor a foreign process's memory tell
/// when they change.
fn wait_for(mut there: impl FnMut() -> Result<bool>, what: &str) -> Result {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !there()? {
        if Instant::now() > deadline {
            return Err(format!("waited too long for {what}").into());
        }
        sleep(Duration::from_millis(200));
    }
    Ok(())
}

/// Connections of `address`, an IPv4 one, as the server sees them.
fn established(address: SocketAddr) -> Result<u32> {
    const ESTABLISHED: &str = "01";
    let SocketAddr::V4(v4) = address else { return Err("not an IPv4 address".into()) };
    // proc(5): the address in hexadecimal, in the byte order of the machine.
    let local = format!("{:08X}:{:04X}", u32::from_ne_bytes(v4.ip().octets()), v4.port());
    let table = fs::read_to_string("/proc/net/tcp")?;
    // The table is not read at once: what moves in it meanwhile may come twice.
    let peers: HashSet<&str> = table
        .lines()
        .filter_map(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let (is_here, peer) = (fields.next()? == local, fields.next()?);
            (is_here && fields.next()? == ESTABLISHED).then_some(peer)
        })
        .collect();
    Ok(u32::try_from(peers.len())?)
}
