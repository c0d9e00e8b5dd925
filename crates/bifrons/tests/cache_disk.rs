//! What is kept on disk outlives the process, however it ends.

mod support;

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use support::{Running, http, signal};

const PATIENCE: Duration = Duration::from_secs(60);

/// An origin that numbers its answers, which may be kept; how many there were.
fn numbered() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
            if !lines.any(|line| line.is_empty()) {
                continue;
            }
            let body = format!("answer {}", counted.fetch_add(1, Ordering::SeqCst) + 1);
            let length = body.len();
            // Whoever asked may be dead.
            let _ = (&stream).write_all(
                format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\
                     Cache-Control: max-age=600\r\n\r\n{body}"
                )
                .as_bytes(),
            );
        }
    });
    (address, count)
}

fn get(address: SocketAddr, path: &str) -> String {
    let answer = http(address, &format!("GET {path} HTTP/1.1\r\nHost: a"));
    answer.rsplit("\r\n\r\n").next().unwrap_or_default().to_owned()
}

/// Waits until so many records are in the first volume: their entries come last.
fn wait_for_records(cache: &Path, count: u64) {
    let index = cache.join("00000000.index");
    let started = Instant::now();
    while std::fs::metadata(&index).map_or(0, |index| index.len()) < count * 64 {
        assert!(started.elapsed() < PATIENCE, "it was not written");
        std::thread::yield_now();
    }
}

#[test]
fn what_is_kept_outlives_a_kill_and_an_upgrade() {
    let (origin, count) = numbered();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bifrons.kdl");
    let text = format!(
        "cache {{ disk \"cache\" size=\"64MiB\" }}\n\
         site \"http://127.0.0.1:0\" {{ cache; to \"http://{origin}\" }}\n"
    );
    std::fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    let cache = folder.path().join("cache");

    let (mut server, address) = Running::server(&["run", file, "--threads", "1"]);
    assert_eq!(get(address, "/a"), "answer 1");
    wait_for_records(&cache, 1);
    server.signal("KILL");
    assert_eq!(server.wait(), None);

    let (mut server, address) = Running::server(&["run", file, "--threads", "1"]);
    assert_eq!(get(address, "/a"), "answer 1");
    assert_eq!(get(address, "/b"), "answer 2");
    server.signal("USR2");
    let process = server
        .wait_for(|line| line.split_once("upgrade: process ")?.1.split_once(' ')?.0.parse().ok());
    assert_eq!(server.wait(), Some(0));
    assert_eq!((get(address, "/a"), get(address, "/b")), ("answer 1".into(), "answer 2".into()));
    // The new one writes, now or soon: what it is given until then is in memory only.
    let mut asked = 2;
    let started = Instant::now();
    while std::fs::metadata(cache.join("00000000.index")).unwrap().len() < 3 * 64 {
        assert!(started.elapsed() < PATIENCE, "the new one does not write");
        asked += 1;
        assert_eq!(get(address, &format!("/{asked}")), format!("answer {asked}"));
    }
    assert_eq!(count.load(Ordering::SeqCst), asked);
    signal(process, "KILL");

    let (server, address) = Running::server(&["run", file, "--threads", "1"]);
    assert_eq!((get(address, "/a"), get(address, "/b")), ("answer 1".into(), "answer 2".into()));
    assert_eq!(count.load(Ordering::SeqCst), asked);
    assert_eq!(server.terminate(), Some(0));
}
