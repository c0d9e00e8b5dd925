//! CONNECT at a parent that speaks SOCKS4a or SOCKS5 (RFC 1928, RFC 1929).

use std::net::IpAddr;

use message::Host;

use super::{Link, Reply, octets};
use crate::ParentProblem;

const NO_AUTHENTICATION: u8 = 0;
const USER_AND_PASSWORD: u8 = 2;
const CONNECT: u8 = 1;

/// Asks for a tunnel with SOCKS4, or SOCKS4a where the target is a name.
pub(super) async fn ask4a(
    link: &mut Link,
    host: &Host<'_>,
    port: u16,
    user: &[u8],
) -> Result<(), ParentProblem> {
    let [high, low] = port.to_be_bytes();
    let (address, name) = match host {
        Host::Address(IpAddr::V4(address)) => (address.octets(), None),
        Host::Address(IpAddr::V6(_)) => return Err(ParentProblem::Unsupported),
        // An address that cannot be meant says that a name follows.
        Host::Name(name) => ([0, 0, 0, 1], Some(name)),
    };
    let mut request = vec![4, CONNECT, high, low];
    request.extend(address);
    request.extend(user);
    request.push(0);
    if let Some(name) = name {
        request.extend(name.as_bytes());
        request.push(0);
    }
    link.send(&request).await?;
    let answer = link.at_least(8).await?;
    match (answer[0], answer[1]) {
        (0, 90) => {
            link.consume(8);
            Ok(())
        }
        // It could not ask about the user, or was told another one.
        (0, 92 | 93) => Err(ParentProblem::AuthRequired),
        (0, code) => Err(ParentProblem::Refused(Reply::socks4(code))),
        _ => Err(ParentProblem::Malformed("not an answer of SOCKS4")),
    }
}

/// Asks for a tunnel with SOCKS5.
pub(super) async fn ask5(
    link: &mut Link,
    host: &Host<'_>,
    port: u16,
    login: Option<&[u8]>,
) -> Result<(), ParentProblem> {
    authenticate(link, login).await?;
    let mut request = vec![5, CONNECT, 0];
    match host {
        Host::Address(address) => {
            let (kind, octets) = octets(address);
            request.push(kind);
            request.extend(octets);
        }
        Host::Name(name) => {
            let length = u8::try_from(name.len()).map_err(|_| ParentProblem::Unsupported)?;
            request.extend([3, length]);
            request.extend(name.as_bytes());
        }
    }
    request.extend(port.to_be_bytes());
    link.send(&request).await?;
    answer5(link).await
}

async fn authenticate(link: &mut Link, login: Option<&[u8]>) -> Result<(), ParentProblem> {
    match login {
        Some(_) => link.send(&[5, 2, USER_AND_PASSWORD, NO_AUTHENTICATION]).await?,
        None => link.send(&[5, 1, NO_AUTHENTICATION]).await?,
    }
    let answer = link.at_least(2).await?;
    let (version, method) = (answer[0], answer[1]);
    if version != 5 {
        return Err(ParentProblem::Malformed("not an answer of SOCKS5"));
    }
    link.consume(2);
    match (method, login) {
        (NO_AUTHENTICATION, _) => Ok(()),
        (USER_AND_PASSWORD, Some(login)) => {
            link.send(login).await?;
            let answer = link.at_least(2).await?;
            match (answer[0], answer[1]) {
                (1, 0) => {
                    link.consume(2);
                    Ok(())
                }
                (1, _) => Err(ParentProblem::AuthRequired),
                _ => Err(ParentProblem::Malformed("not an answer of RFC 1929")),
            }
        }
        (0xff, _) => Err(ParentProblem::AuthRequired),
        _ => Err(ParentProblem::Malformed("a method that was not offered")),
    }
}

async fn answer5(link: &mut Link) -> Result<(), ParentProblem> {
    let answer = link.at_least(2).await?;
    let (version, code) = (answer[0], answer[1]);
    if version != 5 {
        return Err(ParentProblem::Malformed("not an answer of SOCKS5"));
    }
    if code != 0 {
        // Some send no more than this.
        return Err(ParentProblem::Refused(Reply::socks5(code)));
    }
    // The address that it is bound to is of no use here, but has to be passed over.
    let answer = link.at_least(5).await?;
    let length = match answer[3] {
        1 => 4 + 4 + 2,
        4 => 4 + 16 + 2,
        3 => 4 + 1 + usize::from(answer[4]) + 2,
        _ => return Err(ParentProblem::Malformed("an address of unknown kind")),
    };
    link.at_least(length).await?;
    link.consume(length);
    Ok(())
}
