//! What happens to a request once it is understood: the same for all protocols.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use super::Conduct;
use super::link::Link;

/// Does what needs no target. Gives the link back, and what goes out behind the answer, where
/// the request is to be served.
pub(super) fn behave(
    link: Link,
    conduct: Conduct,
    refusal: impl Fn(u16) -> Vec<u8>,
) -> io::Result<Option<(Link, Vec<u8>)>> {
    match conduct {
        Conduct::Serve | Conduct::Abandon => return Ok(Some((link, Vec::new()))),
        Conduct::Early(bytes) => return Ok(Some((link, bytes))),
        Conduct::Refuse(code) => {
            link.send(&refusal(code))?;
            close(&link);
        }
        Conduct::Raw(bytes) => {
            link.send(&bytes)?;
            close(&link);
        }
        Conduct::Hang => link.wait_for_end(),
        Conduct::Close => close(&link),
        Conduct::Reset => {
            socket2::SockRef::from(&link.socket).set_linger(Some(Duration::ZERO))?;
        }
    }
    Ok(None)
}

/// Closes in good order: a socket that is closed with bytes unread is reset, and the answer may
/// be lost with it.
pub(super) fn close(link: &Link) {
    link.finish();
    link.wait_for_end();
}

/// Carries bytes both ways until both sides have ended.
pub(super) fn tunnel(link: Link, target: TcpStream) -> io::Result<()> {
    let link = Arc::new(link);
    let (up, from_target) = (Arc::clone(&link), target.try_clone()?);
    let upwards = std::thread::spawn(move || {
        let mut target = target;
        loop {
            match up.receive() {
                Ok(bytes) if bytes.is_empty() => break,
                Ok(bytes) if target.write_all(&bytes).is_ok() => {}
                _ => {
                    // A tunnel that breaks on one side breaks on the other.
                    let _ = target.shutdown(Shutdown::Both);
                    return;
                }
            }
        }
        let _ = target.shutdown(Shutdown::Write);
    });
    let mut buffer = [0; 16 * 1024];
    let mut from_target = from_target;
    loop {
        match from_target.read(&mut buffer) {
            Ok(0) => {
                link.finish();
                break;
            }
            Ok(count) if link.send(&buffer[..count]).is_ok() => {}
            _ => {
                let _ = link.socket.shutdown(Shutdown::Both);
                break;
            }
        }
    }
    let _ = upwards.join();
    Ok(())
}
