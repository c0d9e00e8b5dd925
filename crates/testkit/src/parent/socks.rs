//! A parent that speaks SOCKS4, SOCKS4a and SOCKS5 (RFC 1928, RFC 1929).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::link::Link;
use super::{Asked, Caller, Conduct, How, Shared, Unreached, relay};

type Credentials = Option<(String, String)>;

/// Serves a connection to its end.
pub(super) fn serve(shared: &Shared, link: Link, caller: Caller) -> io::Result<()> {
    let asked = match link.exactly(1)?.as_deref() {
        Some([4]) => version4(&link, caller)?,
        Some([5]) => version5(shared, &link, caller)?,
        _ => None,
    };
    let Some(asked) = asked else {
        relay::close(&link);
        return Ok(());
    };
    let how = asked.how;
    let Some(conduct) = shared.judge(asked.clone()) else {
        link.send(&if how == How::Socks5 { vec![1, 1] } else { reply(how, 93) })?;
        relay::close(&link);
        return Ok(());
    };
    let abandons = conduct == Conduct::Abandon;
    let refusal = |code| reply(how, u8::try_from(code).unwrap_or(1));
    let Some((link, early)) = relay::behave(link, conduct, refusal)? else { return Ok(()) };
    match shared.reach(&asked) {
        Ok(target) => {
            let granted = if how == How::Socks5 { 0 } else { 90 };
            link.send(&[reply(how, granted), early].concat())?;
            if abandons {
                relay::close(&link);
                return Ok(());
            }
            relay::tunnel(link, target)
        }
        Err(unreached) => {
            let code = match (how, unreached) {
                (How::Socks5, Unreached::Unknown) => 4,
                (How::Socks5, Unreached::Refused) => 5,
                _ => 91,
            };
            link.send(&reply(how, code))?;
            relay::close(&link);
            Ok(())
        }
    }
}

fn reply(how: How, code: u8) -> Vec<u8> {
    match how {
        How::Socks5 => vec![5, code, 0, 1, 0, 0, 0, 0, 0, 0],
        _ => vec![0, code, 0, 0, 0, 0, 0, 0],
    }
}

fn version4(link: &Link, Caller { from, connection }: Caller) -> io::Result<Option<Asked>> {
    let Some(bytes) = link.exactly(7)? else { return Ok(None) };
    let &[1, high, low, a, b, c, d] = &*bytes else { return Ok(None) };
    let Some(user) = text(link)? else { return Ok(None) };
    let (how, host) = match [a, b, c, d] {
        [0, 0, 0, last] if last > 0 => match text(link)? {
            Some(name) => (How::Socks4a, name),
            None => return Ok(None),
        },
        octets => (How::Socks4, Ipv4Addr::from(octets).to_string()),
    };
    let credentials = (!user.is_empty()).then(|| (user, String::new()));
    let port = u16::from_be_bytes([high, low]);
    Ok(Some(Asked { how, host, port, credentials, message: None, from, connection }))
}

/// Text up to a byte 0.
fn text(link: &Link) -> io::Result<Option<String>> {
    let end = |bytes: &[u8]| bytes.iter().position(|byte| *byte == 0).map(|at| at + 1);
    Ok(link.until(end)?.map(|bytes| lossy(&bytes[..bytes.len() - 1])))
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn version5(shared: &Shared, link: &Link, caller: Caller) -> io::Result<Option<Asked>> {
    let Some(methods) = counted(link)? else { return Ok(None) };
    let wanted = if shared.state().user.is_some() { 2 } else { 0 };
    if !methods.contains(&wanted) {
        link.send(&[5, 0xff])?;
        return Ok(None);
    }
    link.send(&[5, wanted])?;
    let credentials = match wanted {
        0 => None,
        _ => match login(link)? {
            Some(shown) => Some(shown),
            None => return Ok(None),
        },
    };
    if let Some(shown) = &credentials {
        let good = shared.state().user.as_ref() == Some(shown);
        link.send(&[1, u8::from(!good)])?;
        if !good {
            let Caller { from, connection } = caller;
            let (how, host) = (How::Socks5, String::new());
            let credentials = credentials.clone();
            // Remembered, although nothing was asked for yet.
            let asked = Asked { how, host, port: 0, credentials, message: None, from, connection };
            let _ = shared.judge(asked);
            return Ok(None);
        }
    }
    request5(link, credentials, caller)
}

fn login(link: &Link) -> io::Result<Credentials> {
    if link.exactly(1)?.as_deref() != Some(&[1]) {
        return Ok(None);
    }
    let (user, password) = (counted(link)?, counted(link)?);
    Ok(user.zip(password).map(|(user, password)| (lossy(&user), lossy(&password))))
}

/// Bytes behind one that says how many.
fn counted(link: &Link) -> io::Result<Option<Vec<u8>>> {
    match link.exactly(1)?.as_deref() {
        Some(&[count]) => link.exactly(usize::from(count)),
        _ => Ok(None),
    }
}

fn request5(
    link: &Link,
    credentials: Credentials,
    Caller { from, connection }: Caller,
) -> io::Result<Option<Asked>> {
    let host = match link.exactly(4)?.as_deref() {
        Some([5, 1, 0, 1]) => link.exactly(4)?.and_then(|bytes| address::<4>(&bytes)),
        Some([5, 1, 0, 4]) => link.exactly(16)?.and_then(|bytes| address::<16>(&bytes)),
        Some([5, 1, 0, 3]) => counted(link)?.map(|bytes| lossy(&bytes)),
        _ => None,
    };
    let (Some(host), Some(port)) = (host, link.exactly(2)?) else { return Ok(None) };
    let (how, port) = (How::Socks5, u16::from_be_bytes([port[0], port[1]]));
    Ok(Some(Asked { how, host, port, credentials, message: None, from, connection }))
}

fn address<const N: usize>(bytes: &[u8]) -> Option<String> {
    if N == 4 {
        let octets: [u8; 4] = bytes.try_into().ok()?;
        return Some(IpAddr::from(Ipv4Addr::from(octets)).to_string());
    }
    let octets: [u8; 16] = bytes.try_into().ok()?;
    Some(IpAddr::from(Ipv6Addr::from(octets)).to_string())
}
