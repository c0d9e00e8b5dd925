//! A connection that two threads use at once: one reads, the other writes, with or without TLS.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};

use rustls::{ServerConfig, ServerConnection};
use socket2::{Domain, Socket, Type};

use crate::DEADLINE;

/// The most that the head of a request may have.
const LARGEST_HEAD: usize = 64 * 1024;

pub(super) struct Link {
    pub(super) socket: TcpStream,
    /// Locked for as long as it works, never while the socket is waited for.
    session: Option<Mutex<ServerConnection>>,
    /// Received and not taken yet. Only the thread that reads touches it.
    at_hand: Mutex<Vec<u8>>,
}

impl Link {
    pub(super) fn new(socket: TcpStream, tls: Option<&Arc<ServerConfig>>) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        socket.set_write_timeout(Some(DEADLINE))?;
        let session = match tls {
            None => None,
            Some(config) => {
                let mut session =
                    ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
                let mut socket = &socket;
                while session.is_handshaking() {
                    session.complete_io(&mut socket)?;
                }
                Some(Mutex::new(session))
            }
        };
        let link = Self { socket, session, at_hand: Mutex::default() };
        // What came in one packet with the end of the handshake.
        let early = link.open(&[])?;
        link.put_back(early);
        Ok(link)
    }

    /// Some bytes; empty: the connection has ended.
    pub(super) fn receive(&self) -> io::Result<Vec<u8>> {
        let at_hand = std::mem::take(&mut *self.at_hand.lock().expect("lock"));
        if !at_hand.is_empty() {
            return Ok(at_hand);
        }
        let mut buffer = [0; 16 * 1024];
        loop {
            let count = (&self.socket).read(&mut buffer)?;
            if count == 0 {
                return Ok(Vec::new());
            }
            let bytes = match &self.session {
                None => buffer[..count].to_vec(),
                Some(_) => self.open(&buffer[..count])?,
            };
            if !bytes.is_empty() {
                return Ok(bytes);
            }
        }
    }

    /// What these bytes hold, without TLS.
    fn open(&self, mut sealed: &[u8]) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let Some(session) = &self.session else { return Ok(bytes) };
        let mut session = session.lock().expect("lock");
        loop {
            session.process_new_packets().map_err(io::Error::other)?;
            match session.reader().read_to_end(&mut bytes) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            if sealed.is_empty() {
                break;
            }
            session.read_tls(&mut sealed)?;
        }
        self.flush(&mut session)?;
        Ok(bytes)
    }

    pub(super) fn put_back(&self, bytes: Vec<u8>) {
        *self.at_hand.lock().expect("lock") = bytes;
    }

    /// So many bytes; `None`: the connection ended before.
    pub(super) fn exactly(&self, count: usize) -> io::Result<Option<Vec<u8>>> {
        self.until(|bytes| (bytes.len() >= count).then_some(count))
    }

    /// Bytes until `found` says how many of them it waited for.
    pub(super) fn until(
        &self,
        found: impl Fn(&[u8]) -> Option<usize>,
    ) -> io::Result<Option<Vec<u8>>> {
        let mut bytes = Vec::new();
        loop {
            if let Some(count) = found(&bytes) {
                let rest = bytes.split_off(count);
                self.put_back(rest);
                return Ok(Some(bytes));
            }
            let more = self.receive()?;
            if more.is_empty() || bytes.len() > LARGEST_HEAD {
                return Ok(None);
            }
            bytes.extend(more);
        }
    }

    pub(super) fn send(&self, bytes: &[u8]) -> io::Result<()> {
        match &self.session {
            None => (&self.socket).write_all(bytes),
            Some(session) => {
                let mut session = session.lock().expect("lock");
                session.set_buffer_limit(None);
                session.writer().write_all(bytes)?;
                self.flush(&mut session)
            }
        }
    }

    fn flush(&self, session: &mut ServerConnection) -> io::Result<()> {
        let mut socket = &self.socket;
        while session.wants_write() {
            session.write_tls(&mut socket)?;
        }
        Ok(())
    }

    /// Says that nothing more will be sent.
    pub(super) fn finish(&self) {
        if let Some(session) = &self.session {
            let mut session = session.lock().expect("lock");
            session.send_close_notify();
            let _ = self.flush(&mut session);
        }
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    /// Waits until the other side ends the connection.
    pub(super) fn wait_for_end(&self) {
        while self.receive().is_ok_and(|bytes| !bytes.is_empty()) {}
    }
}

/// Connects, perhaps from this address.
pub(super) fn dial(target: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(target), Type::STREAM, None)?;
    if let Some(source) = source.filter(|source| source.is_ipv4() == target.is_ipv4()) {
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    socket.connect_timeout(&target.into(), DEADLINE)?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(DEADLINE))?;
    Ok(stream)
}
