use std::future::poll_fn;
use std::io::Write;

use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use super::*;
use crate::run_local;

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 + at / 251) as u8).collect()
}

fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

#[test]
fn a_part_of_a_file_is_sent() {
    run_local(async {
        let bytes = bytes(3 << 20);
        let file = file(&bytes);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut from, _) = listener.accept().await.unwrap();
        let (start, end) = (1000, (3 << 20) - 7);
        let send = async {
            let mut at = start;
            while at < end {
                let most = end - at;
                let sent = poll_fn(|cx| poll_send(cx, &file, at as u64, most, &to)).await.unwrap();
                assert!(sent > 0 && sent <= most);
                at += sent;
            }
            let sent = poll_fn(|cx| poll_send(cx, &file, 3 << 20, 10, &to)).await.unwrap();
            assert_eq!(sent, 0, "behind its end");
            drop(to);
        };
        let mut got = Vec::new();
        let (_, received) = tokio::join!(send, from.read_to_end(&mut got));
        received.unwrap();
        assert!(got == bytes[start..end]);
    });
}

#[test]
fn what_was_just_written_is_in_memory() {
    let bytes = bytes(100_000);
    let file = file(&bytes);
    // Without the call nobody says that it is.
    assert_ne!(is_cached(&file, 10, 90_000), Some(false));
    assert_ne!(is_cached(&file, 0, 0), Some(false));
    assert_ne!(is_cached(&file, 90_000, 200_000), Some(true), "behind its end");
    let mut into = vec![0; 5000];
    if let Some(read) = read_cached(&file, &mut into, 300) {
        assert_eq!(into[..read], bytes[300..300 + read]);
    }
    assert_eq!(read_cached(&file, &mut into, 100_000), None);
    bring(&file, 0, 100_000).unwrap();
    assert!(bring(&file, 1, 100_000).is_err());
}

#[test]
fn an_image_is_sent_behind_what_goes_before_it() {
    run_local(async {
        let bytes = bytes(200_000);
        let file = image([&bytes[..1000], &bytes[1000..]]).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut from, _) = listener.accept().await.unwrap();
        let send = async {
            assert_eq!(poll_fn(|cx| poll_send_before(cx, b"head", &to)).await.unwrap(), 4);
            let mut at = 0;
            while at < bytes.len() {
                let most = bytes.len() - at;
                at += poll_fn(|cx| poll_send(cx, &file, at as u64, most, &to)).await.unwrap();
            }
            // Nothing waits for more: the other side sees all of it before this one closes.
            std::future::pending::<()>().await
        };
        let receive = async {
            let mut received = vec![0; 4 + bytes.len()];
            from.read_exact(&mut received).await.unwrap();
            received
        };
        let received =
            tokio::select! { () = send => unreachable!(), received = receive => received };
        assert_eq!(&received[..4], b"head");
        assert!(received[4..] == bytes);
    });
}
