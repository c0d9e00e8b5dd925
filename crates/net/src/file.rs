//! Files on their way to a socket. A disk may be slow, and a core serves many: here is what can be
//! done with a file without waiting for its disk, and what is known of when that is so.

use std::fs::File;
use std::io::{self, IoSliceMut, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::task::{Context, Poll, ready};

use rustix::fs::MemfdFlags;
use rustix::io::{Errno, ReadWriteFlags};
use rustix::net::SendFlags;
use tokio::io::Interest;
use tokio::net::TcpStream;

#[cfg(test)]
mod tests;

/// What is read at once to have it in memory.
const CHUNK: usize = 128 * 1024;

/// Sends up to `most` bytes of a file, from `offset` on, past user space (`sendfile(2)`). They should
/// be in memory: see [`is_cached`]. 0: the file ends there.
///
/// # Errors
/// Those of the socket and of the disk. [`io::ErrorKind::Unsupported`]: this file, or this socket,
/// cannot be used so; no byte was sent.
pub fn poll_send(
    cx: &mut Context<'_>,
    file: &File,
    offset: u64,
    most: usize,
    to: &TcpStream,
) -> Poll<io::Result<usize>> {
    let sent = ready!(poll_write(cx, to, || {
        let mut at = offset;
        rustix::fs::sendfile(to, file, Some(&mut at), most)
    }));
    Poll::Ready(sent.map_err(|error| match is_unusable(&error) {
        true => io::ErrorKind::Unsupported.into(),
        false => error,
    }))
}

/// Writes to a socket as soon as it takes anything.
fn poll_write(
    cx: &mut Context<'_>,
    to: &TcpStream,
    mut write: impl FnMut() -> rustix::io::Result<usize>,
) -> Poll<io::Result<usize>> {
    loop {
        ready!(to.poll_write_ready(cx))?;
        match to.try_io(Interest::WRITABLE, || Ok(write()?)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            written => return Poll::Ready(written),
        }
    }
}

/// Whether it was the disk that failed when a file was sent, and not the socket.
#[must_use]
pub fn is_of_disk(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::IO.raw_os_error())
}

fn is_unusable(error: &io::Error) -> bool {
    let unusable = [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP];
    unusable.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// A file in memory alone, which has no name, with these bytes in it.
///
/// # Errors
/// There is no memory, or too many files are open.
pub fn image<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> io::Result<File> {
    let mut file = File::from(rustix::fs::memfd_create("image", MemfdFlags::CLOEXEC)?);
    parts.into_iter().try_for_each(|part| file.write_all(part))?;
    Ok(file)
}

/// Sends bytes that a file follows at once: they wait for it, to leave in one packet.
///
/// # Errors
/// Those of the socket.
pub fn poll_send_before(
    cx: &mut Context<'_>,
    bytes: &[u8],
    to: &TcpStream,
) -> Poll<io::Result<usize>> {
    let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
    poll_write(cx, to, || rustix::net::send(to, bytes, flags))
}

/// Reads what is in memory of a file, from `offset` on, and no more. `None`: its disk would have to
/// be waited for, or it cannot be known.
pub fn read_cached(file: &File, into: &mut [u8], offset: u64) -> Option<usize> {
    let mut into = [IoSliceMut::new(into)];
    let read = rustix::io::preadv2(file, &mut into, offset, ReadWriteFlags::NOWAIT);
    read.ok().filter(|read| *read > 0)
}

/// Whether all of a part of a file is in memory. `None`: the kernel does not tell (before 6.5).
#[must_use]
pub fn is_cached(file: &File, offset: u64, length: u64) -> Option<bool> {
    let page = page_size()?;
    let pages = (offset + length).div_ceil(page) - offset / page;
    if cached_pages(file, offset, length)? < pages {
        return Some(false);
    }
    // A page that is being read counts as well. What is read ahead comes in order: if the last one
    // can be had, so can the others.
    let mut byte = [0];
    Some(length == 0 || read_cached(file, &mut byte, offset + length - 1).is_some())
}

/// Reads a part of a file, so that it is in memory. Blocks.
///
/// # Errors
/// Those of the disk; also if the file ends before.
pub fn bring(file: &File, offset: u64, length: u64) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK.min(usize::try_from(length).unwrap_or(CHUNK))];
    let mut at = 0;
    while at < length {
        let chunk = buffer.len().min(usize::try_from(length - at).unwrap_or(CHUNK));
        file.read_exact_at(&mut buffer[..chunk], offset + at)?;
        at += chunk as u64;
    }
    Ok(())
}

/// Bytes of a page.
#[allow(unsafe_code, reason = "see below")]
fn page_size() -> Option<u64> {
    // SAFETY: it only returns a number.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(size).ok().filter(|size| *size > 0)
}

/// `struct cachestat_range` of `cachestat(2)`.
#[repr(C)]
struct Range {
    offset: u64,
    length: u64,
}

/// `struct cachestat`.
#[repr(C)]
#[derive(Default)]
struct Counts {
    cached: u64,
    dirty: u64,
    writeback: u64,
    evicted: u64,
    recently_evicted: u64,
}

/// The number of `cachestat(2)`, the same on all architectures that came after the numbers were made
/// one.
const CACHESTAT: libc::c_long = 451;

/// How many pages of a part of a file are in memory.
#[allow(unsafe_code, reason = "no library has this call")]
fn cached_pages(file: &File, offset: u64, length: u64) -> Option<u64> {
    if length == 0 {
        // To the kernel that would be all of the file.
        return Some(0);
    }
    let range = Range { offset, length };
    let mut counts = Counts::default();
    // SAFETY: the descriptor is open while `file` is borrowed; both structures have the layout
    // that the kernel reads and writes, and live until the call returns.
    let result =
        unsafe { libc::syscall(CACHESTAT, file.as_raw_fd(), &raw const range, &raw mut counts, 0) };
    (result == 0).then_some(counts.cached)
}
