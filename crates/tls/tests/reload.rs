//! Changed files are taken up while the listener runs, broken ones are not.

mod support;

use rcgen::PKCS_ECDSA_P256_SHA256;
use support::*;
use tls::{RefreshOutcome, ServerTls};

async fn shown_by(server: &ServerTls, authority: &Authority) -> String {
    let client = Peer::default().trusting(authority);
    let (accepted, connected) = shake(server, &client, "same.example").await;
    accepted.unwrap();
    shown(&connected.unwrap())
}

#[tokio::test]
async fn a_new_certificate_is_taken_and_garbage_is_not() {
    let authority = Authority::new("root");
    let files = authority.issue(&["first.example", "same.example"]);
    let server = server(&[(exact("same.example"), site(vec![files.clone()]))]);
    assert_eq!(server.refresh(), []);
    assert_eq!(shown_by(&server, &authority).await, "first.example");

    authority.write(&files, &["second.example", "same.example"], &PKCS_ECDSA_P256_SHA256);
    let path = files.cert.value.clone();
    assert_eq!(server.refresh(), [RefreshOutcome::Reloaded { site: 0, path: path.clone() }]);
    assert_eq!(shown_by(&server, &authority).await, "second.example");

    replace(&path, b"garbage");
    let outcomes = server.refresh();
    let [RefreshOutcome::Kept { site: 0, path: kept, reason }] = outcomes.as_slice() else {
        panic!("garbage was taken: {outcomes:?}");
    };
    assert_eq!(kept, &path);
    assert!(reason.contains("there is no certificate in"), "{reason}");
    assert_eq!(server.refresh(), [], "it is said once");
    assert_eq!(shown_by(&server, &authority).await, "second.example");
}

#[tokio::test]
async fn a_certificate_waits_for_its_key() {
    let authority = Authority::new("root");
    let files = authority.issue(&["first.example", "same.example"]);
    let server = server(&[(exact("same.example"), site(vec![files.clone()]))]);
    let renewed = authority.issue(&["second.example", "same.example"]);
    replace(&files.cert.value, &std::fs::read(&renewed.cert.value).unwrap());
    let outcomes = server.refresh();
    let [RefreshOutcome::Kept { reason, .. }] = outcomes.as_slice() else {
        panic!("half a pair was taken: {outcomes:?}");
    };
    assert!(reason.contains("belongs to another certificate"), "{reason}");
    assert_eq!(shown_by(&server, &authority).await, "first.example");

    replace(&files.key.value, &std::fs::read(&renewed.key.value).unwrap());
    assert!(matches!(server.refresh().as_slice(), [RefreshOutcome::Reloaded { .. }]));
    assert_eq!(shown_by(&server, &authority).await, "second.example");

    std::fs::remove_file(&files.key.value).unwrap();
    assert!(matches!(server.refresh().as_slice(), [RefreshOutcome::Kept { .. }]));
    assert_eq!(shown_by(&server, &authority).await, "second.example");
}
