//! Answers that outlive the process.

mod site;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use cache::{Purge, What};
use site::{noise, request, until};
use testkit::{Message, Origin, Peer, Proxy, Scratch, Served};

const TOKEN: &str = "let-me-purge";

/// An origin whose answers are numbered; the last part of a path is their tag.
fn numbered() -> Served {
    let count = AtomicUsize::new(0);
    Origin::serve(move |request| {
        let body = format!("answer {}", count.fetch_add(1, Ordering::Relaxed) + 1);
        let target = request.target();
        let tag = target.rsplit('/').next().unwrap_or_default();
        format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nCache-Control: max-age=600, \
             stale-if-error=600\r\nCache-Tag: tag-{tag}\r\nETag: \"{body}\"\r\n\r\n{body}",
            body.len()
        )
        .into()
    })
}

/// A cache in one folder, through many lives.
struct House {
    folder: tempfile::TempDir,
    origin: Served,
}

impl House {
    fn new(origin: Served) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), origin }
    }

    fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    fn config(&self) -> String {
        format!(
            "cache {{ memory \"64MiB\"; disk \"{}\" size=\"256MiB\" }}\n\
             site \"http://127.0.0.1:0\" {{ cache {{ purge token=\"{TOKEN}\" }}; to \"{}\" }}",
            self.cache().display(),
            self.origin.url()
        )
    }

    /// Another process begins, and knows what is there.
    fn open(&self) -> Proxy {
        let proxy = Proxy::start(&self.config());
        proxy.server().cache().settle_disk();
        proxy
    }
}

/// A process ends, when what runs is finished.
fn end(proxy: Proxy) {
    proxy.stop();
}

fn get(proxy: &Proxy, target: &str) -> Message {
    request(&mut proxy.client(), "GET", target, "a.example")
}

fn body(proxy: &Proxy, target: &str) -> String {
    get(proxy, target).body_text()
}

fn purge(client: &mut Peer, target: &str, fields: &str) {
    client.send(format!(
        "PURGE {target} HTTP/1.1\r\nHost: a.example\r\nAuthorization: Bearer {TOKEN}\r\n{fields}\r\n"
    ));
    assert_eq!(client.recv_response().status(), 200);
}

#[test]
fn what_was_kept_is_there_after_a_restart() {
    let house = House::new(numbered());
    let proxy = house.open();
    assert_eq!(body(&proxy, "/a"), "answer 1");
    end(proxy);
    let proxy = house.open();
    let again = get(&proxy, "/a");
    assert_eq!(again.body_text(), "answer 1");
    assert!(again.get("Cache-Status").unwrap().starts_with("bifrons; hit"));
    assert!(again.has("Age") && again.has("ETag"));
    let stats = proxy.server().cache().stats();
    assert_eq!((stats.objects, stats.disk.unwrap().loaded), (1, 1));
    // From now on it is in memory.
    assert_eq!(body(&proxy, "/a"), "answer 1");
    assert_eq!(proxy.server().cache().stats().disk.unwrap().loaded, 1);
    assert_eq!(house.origin.requests().len(), 1);
}

#[test]
fn the_disk_is_read_once_for_all_who_ask() {
    let house = House::new(numbered());
    let proxy = house.open();
    for number in 0..5 {
        body(&proxy, &format!("/{number}"));
    }
    end(proxy);
    let proxy = house.open();
    let mut clients: Vec<_> = (0..100).map(|_| proxy.client()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(format!("GET /{} HTTP/1.1\r\nHost: a.example\r\n\r\n", number % 5));
    }
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.recv_response().body_text(), format!("answer {}", number % 5 + 1));
    }
    assert_eq!(proxy.server().cache().stats().disk.unwrap().loaded, 5);
}

#[test]
fn variants_are_told_apart_after_a_restart() {
    let origin = Origin::serve(|request| {
        let kind = request.get("X-Kind").unwrap_or_default();
        format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nCache-Control: max-age=600\r\n\
             Vary: X-Kind\r\n\r\n{kind}",
            kind.len()
        )
        .into()
    });
    let house = House::new(origin);
    let ask = |proxy: &Proxy, kind: &str| {
        let mut client = proxy.client();
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nX-Kind: {kind}\r\n\r\n"));
        client.recv_response().body_text()
    };
    let proxy = house.open();
    assert_eq!((ask(&proxy, "one"), ask(&proxy, "two")), ("one".into(), "two".into()));
    end(proxy);
    let proxy = house.open();
    // The first is in memory when the second is looked for.
    assert_eq!((ask(&proxy, "one"), ask(&proxy, "two")), ("one".into(), "two".into()));
    assert_eq!(house.origin.requests().len(), 2);
    assert_eq!(ask(&proxy, "three"), "three");
    assert_eq!(house.origin.requests().len(), 3);
}

#[test]
fn purges_hold_after_a_restart() {
    let targets = ["/x/tag", "/x/url", "/prefix/one", "/y/stays"];
    for soft in [false, true] {
        let house = House::new(numbered());
        let proxy = house.open();
        for target in targets {
            body(&proxy, target);
        }
        end(proxy);
        // Purged while nothing of it is in memory.
        let proxy = house.open();
        let field = if soft { "Soft-Purge: 1\r\n" } else { "" };
        purge(&mut proxy.client(), "/", &format!("Cache-Tag: tag-tag\r\n{field}"));
        purge(&mut proxy.client(), "/x/url", field);
        purge(&mut proxy.client(), "/prefix/*", field);
        end(proxy);
        let proxy = house.open();
        let asked = house.origin.requests().len();
        for (number, target) in targets.iter().enumerate().take(3) {
            assert_eq!(body(&proxy, target), format!("answer {}", asked + number + 1), "{target}");
        }
        let last = house.origin.requests().pop().unwrap();
        // What was purged softly is still good to be validated.
        assert_eq!(last.has("If-None-Match"), soft);
        assert_eq!(body(&proxy, "/y/stays"), "answer 4");
        // What came after the purge is not about it.
        end(proxy);
        let proxy = house.open();
        assert_eq!(body(&proxy, "/x/tag"), format!("answer {}", asked + 1));
    }
}

#[test]
fn purges_of_a_host_and_of_all_hold_after_a_restart() {
    for what in [What::Host(b"a.example"[..].into()), What::All] {
        let house = House::new(numbered());
        let proxy = house.open();
        assert_eq!(body(&proxy, "/a"), "answer 1");
        until("it is written", || proxy.server().cache().stats().disk.unwrap().written == 1);
        proxy.server().cache().purge(&Purge { what, soft: false });
        end(proxy);
        assert_eq!(body(&house.open(), "/a"), "answer 2");
    }
}

#[test]
fn what_a_request_has_changed_is_not_there_after_a_restart() {
    let house = House::new(numbered());
    let proxy = house.open();
    assert_eq!(body(&proxy, "/a"), "answer 1");
    end(proxy);
    let proxy = house.open();
    request(&mut proxy.client(), "POST", "/a", "a.example");
    end(proxy);
    assert_eq!(body(&house.open(), "/a"), "answer 3");
}

/// A house in which a large answer was kept before this life, and the answer.
fn with_large(length: usize) -> (House, Proxy, Vec<u8>) {
    let bytes = noise(7, length);
    let sent = bytes.clone();
    let house = House::new(Origin::serve(move |request| {
        if request.has("If-None-Match") {
            return b"HTTP/1.1 304 Not Modified\r\nETag: \"large\"\r\n\r\n".to_vec();
        }
        let mut answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nCache-Control: max-age=600\r\n\
             ETag: \"large\"\r\n\r\n",
            sent.len()
        )
        .into_bytes();
        answer.extend_from_slice(&sent);
        answer
    }));
    let proxy = house.open();
    assert!(get(&proxy, "/large").body == bytes);
    end(proxy);
    let proxy = house.open();
    (house, proxy, bytes)
}

#[test]
fn large_answers_come_from_the_disk_whole_and_in_parts() {
    let (house, proxy, bytes) = with_large(10 << 20);
    let mut client = proxy.client();
    let mut ask = |method: &str, range: &str| {
        let range = if range.is_empty() { String::new() } else { format!("Range: {range}\r\n") };
        client.send(format!("{method} /large HTTP/1.1\r\nHost: a.example\r\n{range}\r\n"));
        if method == "HEAD" { client.recv_head() } else { client.recv_response() }
    };
    for _ in 0..2 {
        let whole = ask("GET", "");
        assert!(whole.get("Cache-Status").unwrap().starts_with("bifrons; hit"));
        assert!(whole.body == bytes);
    }
    let head = ask("HEAD", "");
    assert_eq!(
        (head.status(), head.get("Content-Length").unwrap()),
        (200, bytes.len().to_string())
    );
    let end = bytes.len();
    for (range, from, to) in [
        ("bytes=0-0", 0, 1),
        ("bytes=4095-9000000", 4095, 9_000_001),
        ("bytes=1048576-", 1 << 20, end),
        ("bytes=-5", end - 5, end),
    ] {
        let part = ask("GET", range);
        assert_eq!(part.status(), 206, "{range}");
        assert!(part.body == bytes[from..to], "{range}");
    }
    let parts = ask("GET", "bytes=10-19, 5000000-5100000");
    assert_eq!(parts.status(), 206);
    assert!(parts.body.windows(100_001).any(|window| *window == bytes[5_000_000..=5_100_000]));
    assert_eq!(house.origin.requests().len(), 1);
}

#[test]
fn slow_readers_of_large_answers_hold_up_nobody() {
    let (_house, proxy, bytes) = with_large(10 << 20);
    let mut slow = proxy.client();
    slow.send("GET /large HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let head = slow.recv_head();
    assert_eq!(head.status(), 200);
    // It takes nothing more, and there is one core.
    assert!(get(&proxy, "/large").body == bytes);
    assert!(slow.recv_exact(bytes.len()) == bytes);
}

#[test]
fn large_answers_are_validated_and_stay_where_they_are() {
    let (house, proxy, bytes) = with_large(1 << 20);
    let mut client = proxy.client();
    client.send("GET /large HTTP/1.1\r\nHost: a.example\r\nCache-Control: no-cache\r\n\r\n");
    assert!(client.recv_response().body == bytes);
    let disk = || proxy.server().cache().stats().disk.unwrap();
    assert!(house.origin.requests()[1].has("If-None-Match"));
    // A record without its body, which is not in memory either.
    assert!(proxy.server().cache().stats().bytes < 100_000);
    until("it is written", || disk().written == 1);
    assert!(disk().written_bytes < 10_000 && disk().objects == 1, "{:?}", disk());
    assert_eq!(house.origin.requests().len(), 2);
    drop(client);
    end(proxy);
    assert!(get(&house.open(), "/large").body == bytes);
}

#[test]
fn what_is_damaged_is_fetched_again() {
    let (house, proxy, bytes) = with_large(300_000);
    end(proxy);
    let file = house.cache().join("00000000.data");
    let mut data = std::fs::read(&file).unwrap();
    data[200_000] ^= 1;
    std::fs::write(&file, &data).unwrap();
    let proxy = house.open();
    assert!(get(&proxy, "/large").body == bytes);
    assert_eq!(house.origin.requests().len(), 2);
    assert_eq!(proxy.server().cache().stats().disk.unwrap().damaged, 1);
    // A file that ends in the middle of it.
    end(proxy);
    let length = std::fs::metadata(&file).unwrap().len();
    std::fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(length - 1000).unwrap();
    let proxy = house.open();
    assert!(get(&proxy, "/large").body == bytes);
    assert_eq!(house.origin.requests().len(), 3);
}

#[test]
fn a_disk_that_fails_fails_no_request() {
    let house = House::new(numbered());
    let proxy = house.open();
    // No file can be made there any more.
    std::fs::remove_dir_all(house.cache()).unwrap();
    for _ in 0..2 {
        assert_eq!(body(&proxy, "/a"), "answer 1");
    }
    assert_eq!(body(&proxy, "/b"), "answer 2");
    purge(&mut proxy.client(), "/a", "");
    assert_eq!(body(&proxy, "/a"), "answer 3");
    proxy.server().cache().settle_disk();
    let disk = proxy.server().cache().stats().disk.unwrap();
    assert!(disk.errors > 0 && disk.failing && disk.objects == 0, "{disk:?}");
}

#[test]
fn a_folder_that_cannot_be_used_is_an_error_with_its_place() {
    let house = House::new(numbered());
    std::fs::create_dir(house.cache()).unwrap();
    std::fs::write(house.cache().join("thesis.txt"), "mine").unwrap();
    let refused = Proxy::try_start_in(Scratch::new(), &house.config()).err().unwrap();
    assert!(refused.contains("thesis.txt") && refused.contains("span: Some"), "{refused}");
    assert_eq!(std::fs::read(house.cache().join("thesis.txt")).unwrap(), b"mine");
}

#[test]
fn the_size_changes_with_a_reload_and_the_folder_does_not() {
    let house = House::new(numbered());
    let proxy = house.open();
    let mode = std::fs::metadata(house.cache()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let size = |proxy: &Proxy| proxy.server().cache().stats().disk.unwrap().size;
    assert_eq!(size(&proxy), 256 << 20);
    let reload = proxy.reload(&house.config().replace("256MiB", "512MiB"));
    assert!(reload.warnings.is_empty(), "{:?}", reload.warnings);
    assert_eq!(size(&proxy), 512 << 20);
    let moved = house.config().replace(house.cache().to_str().unwrap(), "elsewhere");
    let reload = proxy.reload(&moved);
    assert!(reload.warnings.iter().any(|warning| warning.contains("disk")));
    assert_eq!(body(&proxy, "/a"), "answer 1");
    until("it is written", || proxy.server().cache().stats().disk.unwrap().written == 1);
}

#[test]
fn two_processes_share_a_folder_during_an_upgrade() {
    let house = House::new(numbered());
    let old = house.open();
    let written = |proxy: &Proxy| proxy.server().cache().stats().disk.unwrap().written;
    assert_eq!(body(&old, "/a"), "answer 1");
    until("it is written", || written(&old) == 1);
    let new = house.open();
    let writes = |proxy: &Proxy| proxy.server().cache().stats().disk.unwrap().writes;
    assert!(writes(&old) && !writes(&new));
    assert_eq!(body(&new, "/a"), "answer 1");
    assert_eq!(body(&old, "/b"), "answer 2");
    until("it is written", || written(&old) == 2);
    purge(&mut old.client(), "/a", "");
    let mut client = old.client();
    old.server().cache().retire();
    until("the new one writes", || writes(&new));
    new.server().cache().settle_disk();
    client.send(format!(
        "PURGE /b HTTP/1.1\r\nHost: a.example\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
    ));
    let refused = client.recv_response();
    assert_eq!((refused.status(), refused.get("Retry-After").as_deref()), (503, Some("1")));
    assert!(refused.body_text().contains("another process"));
    assert_eq!(body(&new, "/b"), "answer 2");
    // It learns of the purge a moment after it may write.
    until("it is purged", || body(&new, "/a") == "answer 3");
    assert_eq!(body(&new, "/c"), "answer 4");
    // What still runs at the old one finds nothing, but what it changes is known to the new one.
    assert_eq!(request(&mut client, "POST", "/c", "a.example").body_text(), "answer 5");
    until("it is purged", || body(&new, "/c") == "answer 6");
    assert_eq!(body(&old, "/b"), "answer 7");
    end(old);
    end(new);
    let proxy = house.open();
    for (target, answer) in [("/a", "answer 3"), ("/b", "answer 2"), ("/c", "answer 6")] {
        assert_eq!(body(&proxy, target), answer);
    }
}
