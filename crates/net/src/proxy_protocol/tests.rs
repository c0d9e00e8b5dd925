use std::future::poll_fn;
use std::io::Write;
use std::task::Poll;

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::run_local;

fn ends(source: &str, destination: &str) -> Ends {
    Ends { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
}

fn four() -> Ends {
    ends("192.0.2.1:50000", "198.51.100.2:443")
}

fn six() -> Ends {
    ends("[2001:db8::1]:50000", "[2001:db8::2]:443")
}

/// A header of version 2.
fn binary(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    bytes.extend([command, family]);
    bytes.extend((block.len() as u16).to_be_bytes());
    bytes.extend(block);
    bytes
}

/// The addresses of [`four`] and these extensions.
fn extended(extensions: &[u8]) -> Vec<u8> {
    let mut written = Vec::new();
    write_v2(&mut written, &four());
    binary(0x21, 0x11, &[&written[16..], extensions].concat())
}

fn told(ends: Ends, length: usize) -> Result<Progress, ProtocolError> {
    Ok(Progress::Header { ends: Some(ends), length })
}

fn untold(length: usize) -> Result<Progress, ProtocolError> {
    Ok(Progress::Header { ends: None, length })
}

#[test]
fn version_1() {
    let line = "PROXY TCP4 192.0.2.1 198.51.100.2 50000 443\r\n";
    assert_eq!(parse(line.as_bytes()), told(four(), line.len()));
    assert_eq!(parse(format!("{line}\0GET /").as_bytes()), told(four(), line.len()));
    let line = "PROXY TCP6 2001:db8::1 2001:DB8:0:0:0:0:0:2 50000 443\r\n";
    assert_eq!(parse(line.as_bytes()), told(six(), line.len()));
    let ports = ends("192.0.2.1:0", "198.51.100.2:65535");
    assert_eq!(parse(b"PROXY TCP4 192.0.2.1 198.51.100.2 0 65535\r\n"), told(ports, 43));
    assert_eq!(parse(b"PROXY UNKNOWN\r\n"), untold(15));
    assert_eq!(parse(b"PROXY UNKNOWN what ever  it is\r\nmore"), untold(32));
    let longest =
        format!("PROXY UNKNOWN {0} {0} 65535 65535\r\n", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
    assert_eq!(longest.len(), MAX_LINE, "the longest line there can be");
    assert_eq!(parse(longest.as_bytes()), untold(107));
}

#[test]
fn version_1_is_taken_literally() {
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(92));
    assert_eq!(long.len(), MAX_LINE + 1);
    for line in [
        "PROXY TCP4 192.0.2.1 198.51.100.2 50000 443\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 50000 443\r\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 50000 443 \r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 50000 443 1\r\n",
        "PROXY TCP4  192.0.2.1 198.51.100.2 50000 443\r\n",
        "PROXY  TCP4 192.0.2.1 198.51.100.2 50000 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 50000\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 050000 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 +50000 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 50000 65536\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 50000 -1\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 50000 \r\n",
        "PROXY TCP4 192.0.2.01 198.51.100.2 50000 443\r\n",
        "PROXY TCP4 192.0.2 198.51.100.2 50000 443\r\n",
        "PROXY TCP4 192.0.2.256 198.51.100.2 50000 443\r\n",
        "PROXY TCP4 2001:db8::1 2001:db8::2 50000 443\r\n",
        "PROXY TCP6 192.0.2.1 198.51.100.2 50000 443\r\n",
        "PROXY TCP6 2001:db8::1%lo 2001:db8::2 50000 443\r\n",
        "PROXY TCP6 [2001:db8::1] [2001:db8::2] 50000 443\r\n",
        "PROXY TCP5 192.0.2.1 198.51.100.2 50000 443\r\n",
        "PROXY tcp4 192.0.2.1 198.51.100.2 50000 443\r\n",
        "PROXY UDP4 192.0.2.1 198.51.100.2 50000 443\r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY \r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 50000 443\0\r\n",
        "PROXY UNKNOWN \u{fc}\r\n",
        &long,
    ] {
        assert_eq!(parse(line.as_bytes()), Err(ProtocolError::Line), "{line:?}");
    }
    for line in ["GET / HTTP/1.1\r\n", "proxy UNKNOWN\r\n", "PROXY\tUNKNOWN", "PRI * HTTP/2.0\r\n"]
    {
        assert_eq!(parse(line.as_bytes()), Err(ProtocolError::Missing), "{line:?}");
    }
}

#[test]
fn version_2() {
    let mut written = Vec::new();
    write_v2(&mut written, &four());
    assert_eq!(
        written,
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc6\x33\x64\x02\xc3\x50\x01\xbb"
    );
    assert_eq!(parse(&written), told(four(), 28));
    written.extend(b"GET /");
    assert_eq!(parse(&written), told(four(), 28));
    written.clear();
    write_v2(&mut written, &six());
    assert_eq!(parse(&written), told(six(), 52));
    assert_eq!(parse(&binary(0x20, 0x00, b"")), untold(16));
    // A sender that speaks for itself may say what it likes about it.
    assert_eq!(parse(&binary(0x20, 0x31, b"what ever it is")), untold(31));
    assert_eq!(parse(&binary(0x21, 0x00, b"what ever it is")), untold(31));
}

#[test]
fn version_2_is_taken_literally() {
    let refused = |bytes: &[u8], error| assert_eq!(parse(bytes), Err(error), "{bytes:?}");
    refused(b"\r\n\r\n\0\r\nQUIT\r", ProtocolError::Missing);
    refused(b"\x16\x03\x01", ProtocolError::Missing);
    for command in [0x10, 0x11, 0x22, 0x2f, 0x31, 0x01] {
        refused(&binary(command, 0x11, &[0; 12]), ProtocolError::Version);
        refused(&binary(command, 0x11, &[0; 12])[..13], ProtocolError::Version);
    }
    for family in [0x01, 0x10, 0x12, 0x20, 0x22, 0x31, 0x32, 0x41, 0xff] {
        refused(&binary(0x21, family, &[0; 216]), ProtocolError::Family);
        refused(&binary(0x21, family, &[0; 216])[..14], ProtocolError::Family);
    }
    refused(&binary(0x21, 0x11, &[0; 11]), ProtocolError::Length);
    refused(&binary(0x21, 0x21, &[0; 35]), ProtocolError::Length);
    refused(&binary(0x20, 0x00, &[0; 4097])[..16], ProtocolError::Length);
    assert_eq!(parse(&binary(0x20, 0x00, &[0; 4096])), untold(MAX_HEADER));
}

#[test]
fn extensions_fill_their_place() {
    for good in [&b""[..], b"\x04\0\0", b"\x04\0\x03abc\xee\0\0", b"\x05\0\x02id"] {
        assert_eq!(parse(&extended(good)), told(four(), 28 + good.len()));
    }
    for bad in [&b"\x04"[..], b"\x04\0", b"\x04\0\x01", b"\x04\0\x03ab", b"\x04\0\0\x04\0\x05abcd"]
    {
        assert_eq!(parse(&extended(bad)), Err(ProtocolError::Extensions), "{bad:?}");
    }
}

#[test]
fn a_checksum_is_verified() {
    let mut header = extended(b"\x04\0\x01x\x03\0\x04\0\0\0\0\x05\0\x02id");
    let at = 28 + 4 + 3;
    let sum = crc32c::of(&[&header]);
    header[at..at + 4].copy_from_slice(&sum.to_be_bytes());
    assert_eq!(parse(&header), told(four(), header.len()));
    // But for the byte that says that there is a checksum.
    for place in (16..header.len()).filter(|place| *place != at - 3) {
        let mut wrong = header.clone();
        wrong[place] ^= 0x10;
        assert!(parse(&wrong).is_err(), "byte {place}");
    }
    assert_eq!(parse(&extended(b"\x03\0\x04\0\0\0\0")), Err(ProtocolError::Checksum));
    assert_eq!(parse(&extended(b"\x03\0\x03\0\0\0")), Err(ProtocolError::Checksum));
    let twice = extended(b"\x03\0\x04\0\0\0\0\x03\0\x04\0\0\0\0");
    assert_eq!(parse(&twice), Err(ProtocolError::Checksum));
}

#[test]
fn every_beginning_asks_for_more() {
    let mut headers = vec![
        b"PROXY UNKNOWN\r\n".to_vec(),
        extended(b"\x04\0\x03abc"),
        binary(0x20, 0x00, b"xyz"),
        binary(0x21, 0x00, b""),
    ];
    for ends in [four(), six()] {
        let mut text = Vec::new();
        write_v1(&mut text, &ends);
        headers.push(text);
    }
    for header in headers {
        for cut in 0..header.len() {
            match parse(&header[..cut]) {
                Ok(Progress::Need(length)) => {
                    assert!(length > cut && length <= header.len(), "{length} at {cut}");
                }
                other => panic!("{other:?} at {cut} of {header:?}"),
            }
        }
    }
}

#[test]
fn our_own_connections_say_so() {
    assert_eq!(parse(&LOCAL_V1), untold(LOCAL_V1.len()));
    assert_eq!(parse(&LOCAL_V2), untold(LOCAL_V2.len()));
}

#[test]
fn families_are_never_mixed() {
    let text = |ends| {
        let mut out = Vec::new();
        write_v1(&mut out, &ends);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(text(four()), "PROXY TCP4 192.0.2.1 198.51.100.2 50000 443\r\n");
    assert_eq!(text(six()), "PROXY TCP6 2001:db8::1 2001:db8::2 50000 443\r\n");
    let mapped = ends("[::ffff:192.0.2.1]:50000", "[::ffff:198.51.100.2]:443");
    assert_eq!(text(mapped), text(four()));
    let mixed = ends("192.0.2.1:50000", "[2001:db8::2]:443");
    assert_eq!(text(mixed), "PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 50000 443\r\n");
    let mut binary = Vec::new();
    write_v2(&mut binary, &mixed);
    let whole = ends("[::ffff:192.0.2.1]:50000", "[2001:db8::2]:443");
    assert_eq!(parse(&binary), told(whole, 52));
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        source in any::<[u8; 16]>(), destination in any::<[u8; 16]>(),
        ports in any::<(u16, u16)>(), six in any::<bool>(), rest in any::<Vec<u8>>(),
    ) {
        let address = |bytes: [u8; 16]| match six {
            true => IpAddr::from(bytes).to_canonical(),
            false => IpAddr::from([bytes[0], bytes[1], bytes[2], bytes[3]]),
        };
        let ends = Ends {
            source: SocketAddr::new(address(source), ports.0),
            destination: SocketAddr::new(address(destination), ports.1),
        };
        prop_assume!(ends.source.is_ipv4() == ends.destination.is_ipv4());
        for write in [write_v1, write_v2] {
            let mut bytes = Vec::new();
            write(&mut bytes, &ends);
            let length = bytes.len();
            bytes.extend(&rest);
            prop_assert_eq!(parse(&bytes), told(ends, length));
        }
    }

    #[test]
    fn nothing_panics(start in 0usize..3, rest in proptest::collection::vec(any::<u8>(), 0..300)) {
        let beginning: &[u8] = [&b""[..], b"PROXY TCP4 ", &SIGNATURE][start];
        let bytes = [beginning, &rest].concat();
        if let Ok(Progress::Header { length, .. }) = parse(&bytes) {
            prop_assert!(length <= bytes.len());
        }
    }
}

/// Two ends of a connection.
async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap());
    let (client, accepted) = tokio::join!(client, listener.accept());
    (client.unwrap(), accepted.unwrap().0)
}

/// Receives a header that comes in pieces, each of which has been looked at before the next
/// is sent, and returns what is left behind it.
async fn in_pieces(pieces: &[&[u8]]) -> (Result<Option<Ends>, ReceiveError>, Vec<u8>) {
    let (mut client, mut server) = pair().await;
    let mut pieces = pieces.iter();
    let outcome = {
        let mut receiving = std::pin::pin!(receive(&mut server));
        loop {
            let Some(piece) = pieces.next() else { break receiving.await };
            client.write_all(piece).await.unwrap();
            let polled = poll_fn(|cx| Poll::Ready(receiving.as_mut().poll(cx))).await;
            if let Poll::Ready(outcome) = polled {
                break outcome;
            }
        }
    };
    for piece in pieces {
        client.write_all(piece).await.unwrap();
    }
    drop(client);
    let mut rest = Vec::new();
    server.read_to_end(&mut rest).await.unwrap();
    (outcome, rest)
}

#[test]
fn exactly_the_header_is_taken() {
    let mut large = binary(0x21, 0x11, &[0; 4096]);
    large[16..28].copy_from_slice(&[192, 0, 2, 1, 198, 51, 100, 2, 0xc3, 0x50, 1, 0xbb]);
    large[28..31].copy_from_slice(&[0x04, 0x0f, 0xf1]);
    let mut line = Vec::new();
    write_v1(&mut line, &four());
    for header in [line, extended(b""), large] {
        run_local(async {
            let all = [&header[..], b"and the rest"].concat();
            let (outcome, rest) = in_pieces(&[&all]).await;
            assert_eq!(outcome.unwrap(), Some(four()));
            assert_eq!(rest, b"and the rest");
            let (outcome, rest) = in_pieces(&[&header, b"and the rest"]).await;
            assert_eq!(outcome.unwrap(), Some(four()));
            assert_eq!(rest, b"and the rest");
            let bytes: Vec<_> = all.chunks(if header.len() > 100 { 97 } else { 1 }).collect();
            let (outcome, rest) = in_pieces(&bytes).await;
            assert_eq!(outcome.unwrap(), Some(four()));
            assert_eq!(rest, b"and the rest");
        });
    }
}

#[test]
fn an_end_or_something_else_is_told() {
    run_local(async {
        for cut in [0, 1, 20] {
            let (mut client, mut server) = pair().await;
            client.write_all(&extended(b"")[..cut]).await.unwrap();
            drop(client);
            let outcome = receive(&mut server).await;
            assert!(matches!(outcome, Err(ReceiveError::Closed)), "{outcome:?}");
        }
        let (outcome, rest) = in_pieces(&[b"GET / HTTP/1.1\r\n"]).await;
        let missing = matches!(outcome, Err(ReceiveError::Protocol(ProtocolError::Missing)));
        assert!(missing, "{outcome:?}");
        assert_eq!(rest, b"GET / HTTP/1.1\r\n", "nothing of it was taken");
    });
}

#[test]
fn a_word_for_every_error() {
    let mut out = Vec::new();
    write!(out, "{}", ReceiveError::Protocol(ProtocolError::Missing)).unwrap();
    assert_eq!(out, b"no PROXY protocol header");
}
