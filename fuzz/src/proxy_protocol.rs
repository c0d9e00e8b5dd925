//! The header of the PROXY protocol: cut anywhere it asks for more and never for too much,
//! what follows it is left alone, and what it says can be written again.

use net::proxy_protocol::{Ends, MAX_HEADER, Progress, parse, write_v1, write_v2};

/// Reads the bytes as a header.
pub fn header(data: &[u8]) {
    let whole = parse(data);
    if let Ok(Progress::Need(length)) = whole {
        assert!(length > data.len() && length <= MAX_HEADER);
    }
    for cut in 0..data.len().min(MAX_HEADER + 1) {
        let outcome = parse(&data[..cut]);
        match (whole, outcome) {
            (Ok(Progress::Header { length, .. }), _) if cut >= length => {
                assert_eq!(outcome, whole, "cut at {cut}");
            }
            (Ok(Progress::Header { length, .. }), Ok(Progress::Need(need))) => {
                assert!(need > cut && need <= length, "{need} of {length} at {cut}");
            }
            (Ok(Progress::Need(_)), Ok(Progress::Need(need))) => assert!(need > cut),
            (Err(_), Ok(Progress::Need(_)) | Err(_)) => {}
            _ => panic!("{outcome:?} at {cut} became {whole:?}"),
        }
    }
    if let Ok(Progress::Header { ends: Some(ends), length }) = whole {
        assert!(length <= data.len());
        again(&ends);
    }
}

/// What is written is read as the same ends, in both versions.
fn again(ends: &Ends) {
    let plain = |ends: &Ends| {
        let ip = |address: std::net::SocketAddr| (address.ip().to_canonical(), address.port());
        (ip(ends.source), ip(ends.destination))
    };
    for write in [write_v1, write_v2] {
        let mut written = Vec::new();
        write(&mut written, ends);
        match parse(&written) {
            Ok(Progress::Header { ends: Some(read), length }) => {
                assert_eq!((plain(&read), length), (plain(ends), written.len()));
            }
            other => panic!("{other:?} of what was written: {written:?}"),
        }
    }
}
