//! The messages of SOCKS 4, 4a and 5: cut anywhere they ask for more, and what follows them
//! is left alone.

use std::net::{IpAddr, SocketAddr};

use message::Host;
use proxy::socks_wire::{
    Incomplete, MAX_DATAGRAM_HEADER, Request, datagram, methods, password, put_datagram_header,
    request4, request5,
};

/// Reads the same bytes as each of the messages.
pub fn read(data: &[u8]) {
    consistent(data, |bytes| methods(bytes).map(|(methods, length)| (methods.to_vec(), length)));
    consistent(data, |bytes| {
        password(bytes).map(|(user, password, n)| ((user.to_vec(), password.to_vec()), n))
    });
    consistent(data, |bytes| {
        request4(bytes).map(|(request, user)| ((request.clone(), user.to_vec()), request.length))
    });
    consistent(data, |bytes| request5(bytes).map(|request| (request.clone(), request.length)));

    if let Ok((methods, length)) = methods(data) {
        let written = [&[5, methods.len() as u8][..], methods].concat();
        assert_eq!(written, &data[..length]);
    }
    if let Ok((user, password, length)) = password(data) {
        let (user_length, length_of_password) = (user.len() as u8, password.len() as u8);
        let written = [&[1, user_length][..], user, &[length_of_password], password].concat();
        assert_eq!(written, &data[..length]);
    }
    if let Ok(request) = request5(data) {
        again5(&request);
    }
    if let Ok((request, user)) = request4(data) {
        again4(&request, user);
    }
}

/// Every beginning of a message wants more, and nothing behind it changes it. What is
/// malformed stays so.
fn consistent<T: PartialEq + std::fmt::Debug>(
    data: &[u8],
    parse: impl Fn(&[u8]) -> Result<(T, usize), Incomplete>,
) {
    let whole = parse(data);
    if let Ok((_, length)) = &whole {
        assert!((1..=data.len()).contains(length));
    }
    // Longer than every message.
    for cut in 0..data.len().min(600) {
        let outcome = parse(&data[..cut]);
        match (&whole, &outcome) {
            (Ok((_, length)), _) if cut >= *length => assert_eq!(outcome, whole),
            (Ok(_) | Err(Incomplete::More), _) => {
                assert_eq!(outcome, Err(Incomplete::More), "cut at {cut}");
            }
            (Err(_), Err(error)) => {
                assert!(*error == Incomplete::More || outcome == whole, "cut at {cut}");
            }
            (Err(_), Ok(_)) => panic!("{outcome:?} became {whole:?}"),
        }
    }
}

/// A request written anew is the same request.
fn again5(request: &Request) {
    let Ok(host) = &request.host else { return };
    let mut written = vec![5, request.command, 0];
    match host {
        Host::Name(name) => {
            written.extend([3, name.len() as u8]);
            written.extend(name.as_bytes());
        }
        Host::Address(IpAddr::V4(address)) => {
            written.push(1);
            written.extend(address.octets());
        }
        Host::Address(IpAddr::V6(address)) => {
            written.push(4);
            written.extend(address.octets());
        }
    }
    written.extend(request.port.to_be_bytes());
    let again = request5(&written).expect("what was written is read");
    assert_eq!(again, Request { length: written.len(), ..request.clone() });
}

fn again4(request: &Request, user: &[u8]) {
    let (address, name) = match &request.host {
        Ok(Host::Name(name)) => ([0, 0, 0, 1], Some(name.as_bytes())),
        // 0.0.0.x says that a name follows.
        Ok(Host::Address(IpAddr::V4(address))) if address.octets()[..3] != [0, 0, 0] => {
            (address.octets(), None)
        }
        _ => return,
    };
    let mut written = vec![4, request.command];
    written.extend(request.port.to_be_bytes());
    written.extend(address);
    written.extend(user);
    written.push(0);
    if let Some(name) = name {
        written.extend(name);
        written.push(0);
    }
    let (again, user_again) = request4(&written).expect("what was written is read");
    assert_eq!(again, Request { length: written.len(), ..request.clone() });
    assert_eq!(user_again, user);
}

/// Reads the bytes as a datagram of a client: what is taken from it is what stands there, and an
/// answer from the same target is written so that it is read again.
pub fn udp(data: &[u8]) {
    let Some(seen) = datagram(data) else { return };
    assert!(data.starts_with(&[0, 0, 0]), "a fragment");
    assert!(data.ends_with(seen.data));
    let header = data.len() - seen.data.len();
    assert!((8..=3 + 2 + 255 + 2).contains(&header), "{header} bytes of header");
    for cut in 0..header {
        assert_eq!(datagram(&data[..cut]), None, "cut at {cut}");
    }
    let Host::Address(address) = seen.host else { return };
    let source = SocketAddr::new(address, seen.port);
    let mut answer = [&[0xff; MAX_DATAGRAM_HEADER], seen.data].concat();
    let start = put_datagram_header(&mut answer, source);
    assert_eq!(datagram(&answer[start..]), Some(seen));
}
