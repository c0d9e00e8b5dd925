//! Handing the listening sockets over to another process of the program, which may be another
//! version of it.
//!
//! The new process finds a socket as its standard input, and on it a header and the listening
//! sockets. They are the same sockets to the kernel, with the same queues: what connects while
//! both run is taken by one or the other, and nothing is lost when the old one lets go of its
//! copies. It does that when the new one has said that it serves; a new one that ends before, or
//! says nothing, leaves everything as it was.

use std::io::{self, BufRead, BufReader, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};

use crate::bind::{Chosen, Group};

/// Says to a process that its standard input is not for it to read, but this.
const VARIABLE: &str = "BIFRONS_HANDOVER";

/// What is spoken here.
const VERSION: u32 = 1;

/// How long a new process may take until it serves.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often it is looked whether this process is to stop meanwhile.
const LOOK: Duration = Duration::from_millis(100);

/// Sockets in one message; the kernel takes no more than 253.
const AT_ONCE: usize = 64;

/// Bytes of a header; those of a configuration with ten thousand listeners are fewer.
const MAX_HEADER: usize = 16 * 1024 * 1024;

/// What a process was given by the one before it.
#[derive(Debug)]
pub struct Inherited {
    pub(crate) groups: Vec<Group>,
    pub(crate) chosen: Vec<Chosen>,
    pub(crate) admin: Option<TcpListener>,
    pub(crate) secret: [u8; 32],
    pub(crate) channel: UnixStream,
}

/// What comes before the sockets.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    version: u32,
    secret: [u8; 32],
    /// Addresses, and how many sockets come for each; that of the admin listener is the last.
    groups: Vec<(SocketAddr, usize)>,
    admin: bool,
    chosen: Vec<Chosen>,
}

/// What the new process answers when it serves.
#[derive(Debug, Serialize, Deserialize)]
struct Ready {
    /// Addresses that it does not listen on.
    left: Vec<SocketAddr>,
}

impl Inherited {
    /// Takes what the process before this one hands over, if this was started by one.
    ///
    /// # Errors
    /// It is not whole, or of another version.
    pub fn receive() -> io::Result<Option<Self>> {
        if std::env::var_os(VARIABLE).is_none_or(|value| value != "stdin") {
            return Ok(None);
        }
        let mut channel = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null")?)?;
        channel.set_read_timeout(Some(PATIENCE))?;
        let header = receive_header(&mut channel)?;
        let count = header.groups.iter().map(|(_, count)| count).sum::<usize>();
        let mut sockets = receive_sockets(&channel, count + usize::from(header.admin))?.into_iter();
        let mut groups = Vec::new();
        for (address, count) in header.groups {
            groups.push(Group { address, sockets: sockets.by_ref().take(count).collect() });
        }
        let (chosen, secret) = (header.chosen, header.secret);
        Ok(Some(Self { groups, chosen, admin: sockets.next(), secret, channel }))
    }
}

fn receive_header(channel: &mut UnixStream) -> io::Result<Header> {
    let mut length = [0; 8];
    channel.read_exact(&mut length)?;
    let length = usize::try_from(u64::from_le_bytes(length)).unwrap_or(usize::MAX);
    if length > MAX_HEADER {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the header is too long"));
    }
    let mut text = vec![0; length];
    channel.read_exact(&mut text)?;
    let header: Header = serde_json::from_slice(&text)?;
    if header.version != VERSION {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "another version"));
    }
    Ok(header)
}

fn receive_sockets(channel: &UnixStream, count: usize) -> io::Result<Vec<TcpListener>> {
    let mut sockets = Vec::new();
    while sockets.len() < count {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
        let mut rights = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        let received = recvmsg(
            channel,
            &mut [IoSliceMut::new(&mut byte)],
            &mut rights,
            RecvFlags::CMSG_CLOEXEC,
        )?;
        if received.bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for message in rights.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                sockets.extend(descriptors.map(TcpListener::from));
            }
        }
    }
    Ok(sockets)
}

/// Tells the process before this one that this one serves, but for these addresses.
pub(crate) fn say_ready(mut channel: UnixStream, left: Vec<SocketAddr>) -> io::Result<()> {
    let mut line = serde_json::to_vec(&Ready { left })?;
    line.push(b'\n');
    channel.write_all(&line)
}

/// What is handed over.
pub(crate) struct Estate<'a> {
    pub(crate) groups: &'a [Group],
    pub(crate) chosen: &'a [Chosen],
    pub(crate) admin: Option<&'a TcpListener>,
    pub(crate) secret: [u8; 32],
}

impl Estate<'_> {
    /// Starts a process, hands everything over to it, and waits until it serves. Returns its
    /// number, and the addresses that it does not listen on.
    ///
    /// # Errors
    /// Why it does not serve. Then it is gone. So it is when this process is told to stop
    /// meanwhile.
    pub(crate) fn hand_to(
        &self,
        command: &mut Command,
        stopping: &AtomicBool,
    ) -> Result<(u32, Vec<SocketAddr>), String> {
        let (ours, theirs) = UnixStream::pair().map_err(|error| error.to_string())?;
        let mut child = command
            .env(VARIABLE, "stdin")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn()
            .map_err(|error| format!("cannot start the program: {error}"))?;
        // It had the only other end: when it ends, so does the channel.
        command.stdin(Stdio::null());
        match self.give(ours, stopping) {
            Ok(ready) => Ok((child.id(), ready.left)),
            Err(error) => Err(end(&mut child, &error)),
        }
    }

    fn give(&self, mut channel: UnixStream, stopping: &AtomicBool) -> io::Result<Ready> {
        channel.set_write_timeout(Some(PATIENCE))?;
        let header = serde_json::to_vec(&Header {
            version: VERSION,
            secret: self.secret,
            groups: self.groups.iter().map(|one| (one.address, one.sockets.len())).collect(),
            admin: self.admin.is_some(),
            chosen: self.chosen.to_vec(),
        })?;
        channel.write_all(&(header.len() as u64).to_le_bytes())?;
        channel.write_all(&header)?;
        let sockets = self.groups.iter().flat_map(|group| &group.sockets).chain(self.admin);
        let descriptors: Vec<BorrowedFd<'_>> = sockets.map(AsFd::as_fd).collect();
        for some in descriptors.chunks(AT_ONCE) {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
            let mut rights = SendAncillaryBuffer::new(&mut space);
            rights.push(SendAncillaryMessage::ScmRights(some));
            sendmsg(&channel, &[IoSlice::new(b"s")], &mut rights, SendFlags::NOSIGNAL)?;
        }
        let line = await_line(channel, stopping)?;
        if line.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(serde_json::from_slice(&line)?)
    }
}

/// The line that comes within [`PATIENCE`], unless this process is told to stop.
fn await_line(channel: UnixStream, stopping: &AtomicBool) -> io::Result<Vec<u8>> {
    channel.set_read_timeout(Some(LOOK))?;
    let until = Instant::now() + PATIENCE;
    let (mut channel, mut line) = (BufReader::new(channel), Vec::new());
    loop {
        let outcome = channel.read_until(b'\n', &mut line);
        if stopping.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        match outcome {
            Ok(_) => return Ok(line),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut if Instant::now() < until => {}
                _ => return Err(error),
            },
        }
    }
}

/// Ends a process that does not serve, and says why it does not.
fn end(child: &mut Child, error: &io::Error) -> String {
    let ended_by_itself = error.kind() == io::ErrorKind::UnexpectedEof;
    if !ended_by_itself {
        // It may have ended meanwhile.
        let _ = child.kill();
    }
    match (child.wait(), error.kind()) {
        (Ok(status), _) if ended_by_itself => {
            format!("the new process ended before it served ({status}); its log says why")
        }
        (_, io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
            format!("the new process did not serve within {} s", PATIENCE.as_secs())
        }
        (_, io::ErrorKind::ConnectionAborted) => "the server is stopping".to_owned(),
        _ => format!("the new process could not be given the sockets: {error}"),
    }
}
