//! Sites, certificates, versions and client authentication.

mod support;

use config::{ClientAuth, HostPattern, TlsVersion};
use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256};
use rustls::NamedGroup;
use rustls::version::{TLS12, TLS13};
use support::*;
use tls::{HandshakeError, ServerSite, ServerTls};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn the_name_chooses_the_site_and_the_certificate() {
    let authority = Authority::new("root");
    let issue = |name: &str| site(vec![authority.issue(&[name])]);
    let server = server(&[
        (exact("a.b.example"), issue("a.b.example")),
        (wildcard(".b.example"), issue("*.b.example")),
        (wildcard(".deep.b.example"), issue("*.deep.b.example")),
        (vec![HostPattern::Any], issue("any.test")),
        (
            exact("multi.b.example"),
            site(vec![
                authority.issue(&["other.b.example"]),
                authority.issue(&["multi.b.example"]),
                authority.issue(&["*.b.example"]),
            ]),
        ),
    ]);
    let client = Peer::default().trusting(&authority);
    for (name, site, certificate) in [
        ("a.b.example", 0, "a.b.example"),
        ("A.B.Example", 0, "a.b.example"),
        ("c.b.example", 1, "*.b.example"),
        ("x.deep.b.example", 2, "*.deep.b.example"),
        ("any.test", 3, "any.test"),
        ("multi.b.example", 4, "multi.b.example"),
    ] {
        let (accepted, connected) = shake(&server, &client, name).await;
        let accepted = accepted.unwrap();
        let info = accepted.info().unwrap();
        assert_eq!(info.site, site, "{name}");
        assert_eq!(info.sni.as_deref(), Some(name.to_lowercase().as_str()));
        assert_eq!(info.version, "TLSv1.3");
        assert!(info.cipher.starts_with("TLS_AES_"), "{}", info.cipher);
        assert!(!info.resumed);
        assert_eq!(shown(&connected.unwrap()), certificate, "{name}");
    }
}

#[tokio::test]
async fn no_name_and_unknown_names_reach_the_first_site() {
    let authority = Authority::new("root");
    let server = server(&[
        (exact("a.example"), site(vec![authority.issue(&["a.example", "127.0.0.1", "z.example"])])),
        (exact("b.example"), site(vec![authority.issue(&["b.example"])])),
    ]);
    let client = Peer::default().trusting(&authority);
    for (name, sni) in [("127.0.0.1", None), ("z.example", Some("z.example"))] {
        let (accepted, connected) = shake(&server, &client, name).await;
        let accepted = accepted.unwrap();
        assert_eq!(accepted.info().unwrap().site, 0);
        assert_eq!(accepted.info().unwrap().sni.as_deref(), sni);
        connected.unwrap();
    }
}

#[tokio::test]
async fn ecdsa_where_the_client_can_and_rsa_where_it_cannot() {
    let authority = Authority::new("root");
    let server = server(&[(
        exact("a.example"),
        site(vec![
            authority.issue_with(&["a.example", "rsa.example"], &PKCS_RSA_SHA256),
            authority.issue_with(&["a.example", "ecdsa.example"], &PKCS_ECDSA_P256_SHA256),
        ]),
    )]);
    let algorithm = async |client: &_| {
        let (accepted, connected) = shake(&server, client, "a.example").await;
        accepted.unwrap();
        let connected = connected.unwrap();
        let leaf = connected.get_ref().1.peer_certificates().unwrap()[0].clone();
        let leaf = webpki::EndEntityCert::try_from(&leaf).unwrap();
        leaf.valid_dns_names().nth(1).unwrap().to_owned()
    };
    assert_eq!(algorithm(&Peer::default().trusting(&authority)).await, "ecdsa.example");
    // A client of TLS 1.2 that has suites for RSA only.
    let rsa = Peer::default().version(&TLS12).provider(|provider| {
        provider
            .cipher_suites
            .retain(|suite| suite.suite().as_str().is_some_and(|name| name.contains("_RSA_")));
    });
    assert_eq!(algorithm(&rsa.trusting(&authority)).await, "rsa.example");
}

#[tokio::test]
async fn versions_and_the_lowest_of_them() {
    let authority = Authority::new("root");
    let mut strict = site(vec![authority.issue(&["strict.example"])]);
    strict.min_version = TlsVersion::Tls13;
    let server = server(&[
        (exact("a.example"), site(vec![authority.issue(&["a.example"])])),
        (exact("strict.example"), strict),
    ]);
    let old = Peer::default().version(&TLS12).trusting(&authority);
    let new = Peer::default().version(&TLS13).trusting(&authority);
    let (accepted, connected) = shake(&server, &old, "a.example").await;
    assert_eq!(accepted.unwrap().info().unwrap().version, "TLSv1.2");
    connected.unwrap();
    let (accepted, connected) = shake(&server, &new, "strict.example").await;
    assert_eq!(accepted.unwrap().info().unwrap().version, "TLSv1.3");
    connected.unwrap();
    let (accepted, connected) = shake(&server, &old, "strict.example").await;
    assert_eq!(accepted.unwrap_err().reason(), "no_shared_version");
    let refused = connected.unwrap_err().to_string();
    assert!(refused.contains("ProtocolVersion"), "{refused}");
}

#[tokio::test]
async fn post_quantum_where_offered() {
    let authority = Authority::new("root");
    let server = server(&[(exact("a.example"), site(vec![authority.issue(&["a.example"])]))]);
    let only = |group: NamedGroup| {
        Peer::default()
            .version(&TLS13)
            .provider(|provider| provider.kx_groups.retain(|kx| kx.name() == group))
            .trusting(&authority)
    };
    for (client, group) in [
        (Peer::default().trusting(&authority), "X25519MLKEM768"),
        (only(NamedGroup::X25519MLKEM768), "X25519MLKEM768"),
        (only(NamedGroup::X25519), "X25519"),
        (only(NamedGroup::secp256r1), "secp256r1"),
    ] {
        let (accepted, connected) = shake(&server, &client, "a.example").await;
        assert_eq!(accepted.unwrap().info().unwrap().group, Some(group));
        connected.unwrap();
    }
}

#[tokio::test]
async fn client_certificates_required_and_optional() {
    let authority = Authority::new("servers");
    let clients = Authority::new("clients");
    let strangers = Authority::new("strangers");
    let mut required = site(vec![authority.issue(&["required.example"])]);
    required.client_auth = ClientAuth::Required { ca: clients.ca() };
    let mut optional = site(vec![authority.issue(&["optional.example"])]);
    optional.client_auth = ClientAuth::Optional { ca: clients.ca() };
    let server =
        server(&[(exact("required.example"), required), (exact("optional.example"), optional)]);
    let good = clients.issue(&["alice, 1st"]);
    let bad = strangers.issue(&["mallory"]);
    for version in [&TLS12, &TLS13] {
        let nobody = Peer::default().version(version).trusting(&authority);
        let alice = Peer::default().version(version).identity(&good).trusting(&authority);
        let mallory = Peer::default().version(version).identity(&bad).trusting(&authority);
        for (client, name, expected) in [
            (&nobody, "required.example", Err("client_certificate_missing")),
            (&alice, "required.example", Ok(Some("CN=alice\\, 1st"))),
            (&mallory, "required.example", Err("client_certificate_unknown_issuer")),
            (&nobody, "optional.example", Ok(None)),
            (&alice, "optional.example", Ok(Some("CN=alice\\, 1st"))),
            (&mallory, "optional.example", Err("client_certificate_unknown_issuer")),
        ] {
            let (accepted, _) = shake(&server, client, name).await;
            let subject = accepted
                .as_ref()
                .map(|io| io.info().unwrap().peer.as_ref().map(|peer| peer.subject.as_str()));
            assert_eq!(subject.map_err(HandshakeError::reason), expected, "{name}");
        }
    }
}

#[tokio::test]
async fn plain_http_can_be_answered_in_clear() {
    let authority = Authority::new("root");
    let server = server(&[(exact("a.example"), site(vec![authority.issue(&["a.example"])]))]);
    let (mut near, far) = pair().await;
    near.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let Err(HandshakeError::PlainHttp(mut io)) = server.accept(far, b"").await else {
        panic!("that was HTTP");
    };
    io.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    io.shutdown().await.unwrap();
    drop(io);
    let mut answer = String::new();
    near.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400"));
}

#[tokio::test]
async fn rubbish_and_early_ends_are_named() {
    let authority = Authority::new("root");
    let server = server(&[(exact("a.example"), site(vec![authority.issue(&["a.example"])]))]);
    for (bytes, reason) in [
        (&b""[..], "eof"),
        (b"\x16\x03\x01\x02", "eof"),
        (b"\x80\x2e\x01\x03\x01\x00", "bad_record"),
        (b"\x16\x03\x01\x00\x04\x10\x00\x00\x00", "bad_handshake"),
        (b"\x16\x03\x01\xff\xff\x01", "eof"),
    ] {
        let (mut near, far) = pair().await;
        near.write_all(bytes).await.unwrap();
        near.shutdown().await.unwrap();
        let error = server.accept(far, b"").await.unwrap_err();
        assert_eq!(error.reason(), reason, "{bytes:?}: {error}");
    }
}

#[tokio::test]
async fn no_protocol_in_common() {
    let authority = Authority::new("root");
    let server = server(&[(exact("a.example"), site(vec![authority.issue(&["a.example"])]))]);
    let mut config = (*Peer::default().trusting(&authority)).clone();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let (accepted, connected) = shake(&server, &config.clone().into(), "a.example").await;
    assert_eq!(accepted.unwrap().info().unwrap().alpn.as_deref(), Some(&b"http/1.1"[..]));
    connected.unwrap();
    config.alpn_protocols = vec![b"smtp".to_vec()];
    let (accepted, connected) = shake(&server, &config.into(), "a.example").await;
    assert_eq!(accepted.unwrap_err().reason(), "no_shared_protocol");
    connected.unwrap_err();
}

#[tokio::test]
async fn bytes_read_before_are_part_of_the_handshake() {
    let authority = Authority::new("root");
    let server = server(&[(exact("a.example"), site(vec![authority.issue(&["a.example"])]))]);
    let client = Peer::default().trusting(&authority);
    let (near, mut far) = pair().await;
    let connector = tokio_rustls::TlsConnector::from(client);
    let accept = async {
        let mut early = [0; 100];
        far.read_exact(&mut early).await.unwrap();
        server.accept(far, &early).await
    };
    let (accepted, connected) =
        tokio::join!(accept, connector.connect("a.example".try_into().unwrap(), near));
    accepted.unwrap();
    connected.unwrap();
}

#[test]
fn all_that_is_wrong_with_the_files_is_said_at_once() {
    let authority = Authority::new("root");
    let good = authority.issue(&["a.example"]);
    let other = authority.issue(&["b.example"]);
    let missing = authority.dir.path().join("nowhere.pem");
    let mut mismatched = good.clone();
    mismatched.key = other.key.clone();
    let mut gone = good.clone();
    gone.cert.value.clone_from(&missing);
    gone.key.value.clone_from(&missing);
    let mut swapped = good.clone();
    std::mem::swap(&mut swapped.cert, &mut swapped.key);
    let mut bad_ca = site(vec![mismatched]);
    bad_ca.client_auth = ClientAuth::Required { ca: spanned(missing) };
    let sites = [(exact("a.example"), bad_ca), (exact("b.example"), site(vec![gone, swapped]))];
    let sites: Vec<_> =
        sites.iter().map(|(hosts, tls)| ServerSite { hosts, tls, http2: true }).collect();
    let errors = ServerTls::build(&sites, &[]).unwrap_err();
    let said: Vec<_> =
        errors.iter().map(|error| error.message.split(" /").next().unwrap()).collect();
    assert_eq!(
        said,
        [
            "the private key",
            "cannot read the certificate file",
            "cannot read the certificate file",
            "cannot read the private key file",
            "there is no certificate in",
            "there is no private key in",
        ]
    );
    for error in errors {
        assert_eq!(error.span, Some((7, 3).into()));
        assert!(error.help.is_some(), "{error}");
    }
}
