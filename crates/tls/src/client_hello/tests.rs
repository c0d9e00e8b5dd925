use std::sync::Arc;

use proptest::prelude::*;
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::unbuffered::{ConnectionState, EncodeError};
use rustls::{ClientConfig, RootCertStore};

use super::*;

/// The first flight of a real client.
pub(crate) fn hello(name: &str) -> Vec<u8> {
    let config = ClientConfig::builder_with_provider(crate::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut conn = UnbufferedClientConnection::new(Arc::new(config), name).unwrap();
    let Ok(ConnectionState::EncodeTlsData(mut encode)) = conn.process_tls_records(&mut []).state
    else {
        panic!("a client speaks first");
    };
    let Err(EncodeError::InsufficientSize(size)) = encode.encode(&mut []) else {
        panic!("nothing fits into nothing");
    };
    let mut bytes = vec![0; size.required_size];
    encode.encode(&mut bytes).unwrap();
    bytes
}

/// The same handshake message in records of `size` bytes.
pub(crate) fn split(hello: &[u8], size: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for fragment in hello[5..].chunks(size) {
        bytes.extend_from_slice(&hello[..3]);
        bytes.extend_from_slice(&(fragment.len() as u16).to_be_bytes());
        bytes.extend_from_slice(fragment);
    }
    bytes
}

#[test]
fn finds_the_name_in_lower_case() {
    let found = inspect(&hello("WWW.Example.org"));
    assert_eq!(found, FirstBytes::Hello(Some("www.example.org".into())));
}

#[test]
fn an_address_is_no_name() {
    assert_eq!(inspect(&hello("192.0.2.1")), FirstBytes::Hello(None));
}

#[test]
fn every_prefix_is_incomplete() {
    let hello = hello("a.example");
    for end in 0..hello.len() {
        assert_eq!(inspect(&hello[..end]), FirstBytes::Incomplete, "{end} bytes");
    }
}

#[test]
fn joins_records() {
    let hello = hello("a.example");
    for size in [1, 3, 4, 5, 100, 1000] {
        let found = inspect(&split(&hello, size));
        assert_eq!(found, FirstBytes::Hello(Some("a.example".into())), "records of {size}");
    }
}

#[test]
fn tells_plain_http_and_rubbish() {
    assert_eq!(inspect(b"G"), FirstBytes::PlainHttp);
    assert_eq!(inspect(b"\x80\x2e\x01"), FirstBytes::Hello(None));
    assert_eq!(inspect(b"\x16\x03\x01\x00\x00"), FirstBytes::Hello(None));
    assert_eq!(inspect(b"\x16\x03\x01\x00\x04\x01\xff\xff\xff"), FirstBytes::Hello(None));
}

#[test]
fn endless_hello_is_given_up() {
    let mut bytes = split(&hello("a.example"), 1);
    bytes.truncate(60);
    let record = [&[22, 3, 1, 0, 1][..], &[0]].concat();
    bytes.clear();
    bytes.extend_from_slice(&[22, 3, 1, 0, 4, 1, 0, 0xff, 0xff]);
    while bytes.len() < MAX_HELLO {
        bytes.extend_from_slice(&record);
    }
    assert_eq!(inspect(&bytes), FirstBytes::Hello(None));
}

proptest! {
    #[test]
    fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..600), at in 0usize..600) {
        let mut mixed = hello("a.example");
        for (place, byte) in mixed.iter_mut().skip(at).zip(&bytes) {
            *place ^= byte;
        }
        inspect(&mixed);
        inspect(&bytes);
    }
}
