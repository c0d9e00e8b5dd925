//! Clients of a forward listener that has users and exits.
#![allow(dead_code, reason = "each test file uses its part")]

pub mod pool;
pub mod staff;
pub mod used;

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use socket2::{Domain, Socket, Type};
use testkit::{Message, Peer};

/// A field line with Basic credentials (RFC 7617).
pub fn basic(name: &str, password: &str) -> String {
    format!("Proxy-Authorization: Basic {}\r\n", STANDARD.encode(format!("{name}:{password}")))
}

/// A GET in absolute form; `fields` are whole lines.
pub fn get(client: &mut Peer, target: impl Display, fields: &str) -> Message {
    client.send(get_text(target, fields));
    client.recv_response()
}

/// What [`get`] sends.
pub fn get_text(target: impl Display, fields: &str) -> String {
    format!("GET http://{target}/ HTTP/1.1\r\nHost: {target}\r\n{fields}\r\n")
}

/// Asks for a tunnel; the head of the answer.
pub fn connect(client: &mut Peer, target: impl Display, fields: &str) -> Message {
    client.send(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{fields}\r\n"));
    client.recv_head()
}

/// A request inside a tunnel.
pub fn get_inside(client: &mut Peer, target: impl Display) -> Message {
    client.send(format!("GET / HTTP/1.1\r\nHost: {target}\r\n\r\n"));
    client.recv_response()
}

/// What `Proxy-Status` says, or nothing.
pub fn told(answer: &Message) -> String {
    answer.get("Proxy-Status").unwrap_or_default()
}

/// Seconds of `Retry-After`.
pub fn retry_after(answer: &Message) -> u64 {
    let value = answer.get("Retry-After").unwrap_or_else(|| panic!("{}", answer.text()));
    value.parse().expect("seconds")
}

/// A client at this address of the loopback network.
pub fn client_from(ip: &str, proxy: SocketAddr) -> Peer {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("socket");
    let ip: IpAddr = ip.parse().expect("address");
    socket.bind(&SocketAddr::new(ip, 0).into()).expect("bind");
    socket.connect(&proxy.into()).expect("connect");
    Peer::over(TcpStream::from(socket))
}

/// Seconds since 1970.
pub fn unix() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("time").as_secs()
}

/// The first head or end that arrives within this time.
pub fn answers_within(client: &mut Peer, time: Duration) -> bool {
    client.socket().set_read_timeout(Some(time)).expect("timeout");
    let there = client.peek();
    client.socket().set_read_timeout(Some(testkit::DEADLINE)).expect("timeout");
    there
}
