//! The binary while it runs: its configuration changes, and it is replaced by another process.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use support::{Origin, Running, bifrons, http, signal, write};

/// Longer than anything here takes, on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn site(words: &str) -> String {
    format!("admin \"127.0.0.1:0\"\nsite \"http://127.0.0.1:0\" {{ respond 200 \"{words}\" }}\n")
}

fn admin(running: &mut Running) -> SocketAddr {
    running.wait_for(|line| line.rsplit_once("admin on ")?.1.parse().ok())
}

/// The number of the process that takes over.
fn next_process(running: &mut Running) -> u32 {
    running.wait_for(|line| {
        let (_, number) = line.split_once("upgrade: process ")?;
        number.split_once(' ')?.0.parse().ok()
    })
}

fn get(address: SocketAddr) -> String {
    http(address, &format!("GET / HTTP/1.1\r\nHost: {address}"))
}

#[test]
fn the_configuration_is_read_again_by_signal_and_by_command() {
    let file = write("live.kdl", &site("one"));
    let (mut server, address) = Running::server(&["run", file.path(), "--threads", "2"]);
    let admin = admin(&mut server).to_string();
    assert!(get(address).ends_with("one"));
    std::fs::write(file.path(), site("two")).unwrap();
    server.signal("HUP");
    server.wait_for(|line| line.contains("configuration loaded").then_some(()));
    assert!(get(address).ends_with("two"));
    std::fs::write(file.path(), site("three")).unwrap();
    let reload = ["reload", "--config", file.path(), "--admin", &admin];
    let outcome = bifrons(&reload);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    for words in ["generation 3", "sites: 0 kept, 1 changed, 0 added, 0 removed"] {
        assert!(outcome.stdout.contains(words), "{}", outcome.stdout);
    }
    assert!(get(address).ends_with("three"));
    // An error of the text is found by the server as well, for its address is given.
    for (wrong, words) in [
        ("site \"http://127.0.0.1:0\" { respnd 200 }", "`respnd`"),
        (
            "site \"http://127.0.0.1:0\" { error-page 404 file=\"none.html\"; respond 200; }",
            "live.kdl:1:",
        ),
    ] {
        std::fs::write(file.path(), wrong).unwrap();
        let outcome = bifrons(&reload);
        assert_eq!(outcome.code, Some(1), "{}", outcome.stdout);
        assert!(outcome.stderr.contains(words), "{}", outcome.stderr);
        let status = bifrons(&["status", "--config", file.path(), "--admin", &admin]);
        assert_eq!(status.code, Some(0), "{}", status.stderr);
        server.signal("HUP");
        server.wait_for(|line| line.contains("the configuration is as it was").then_some(()));
        assert!(get(address).ends_with("three"));
    }
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn status_and_servers_are_shown_and_changed() {
    let origin = Origin::start("from the origin");
    let text = format!(
        "admin \"127.0.0.1:0\" token=\"s3cret\"\n\
         upstream \"app\" {{ server \"http://{}\"; }}\n\
         site \"http://127.0.0.1:0\" {{ to upstream=\"app\"; }}\n",
        origin.address
    );
    let file = write("servers.kdl", &text);
    let (mut server, address) = Running::server(&["run", file.path(), "--threads", "1"]);
    let admin = admin(&mut server).to_string();
    assert!(get(address).ends_with("from the origin"));
    let ask = |arguments: &[&str]| {
        let mut all = vec![arguments[0], "--config", file.path(), "--admin", &admin];
        all.extend(&arguments[1..]);
        let outcome = bifrons(&all);
        (outcome.code, outcome.stdout, outcome.stderr)
    };
    let (code, status, errors) = ask(&["status"]);
    assert_eq!(code, Some(0), "{errors}");
    for words in ["generation 1", &format!("listener {address} (reverse)"), "upstream app", "well"]
    {
        assert!(status.contains(words), "{status}");
    }
    let (_, status, _) = ask(&["status", "--json"]);
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["upstreams"][0]["servers"][0]["state"], "well");
    let url = format!("http://{}", origin.address);
    let (code, list, errors) = ask(&["upstream", "app", "drain", &url]);
    assert_eq!(code, Some(0), "{errors}");
    assert!(list.contains("draining") && list.contains("safe to stop"), "{list}");
    assert!(get(address).starts_with("HTTP/1.1 503 "));
    let (_, list, _) = ask(&["upstream", "app", "undrain", &url]);
    assert!(list.contains("well"), "{list}");
    assert!(get(address).ends_with("from the origin"));
    let (_, list, _) = ask(&["upstream", "app", "weight", &url, "7"]);
    assert!(list.contains("weight 7"), "{list}");
    let (code, _, errors) = ask(&["upstream", "app", "drain", "http://127.0.0.1:1"]);
    assert_eq!(code, Some(1));
    assert!(errors.contains("no such server"), "{errors}");
    let (code, _, errors) = ask(&["upstream", "other", "list"]);
    assert_eq!(code, Some(1));
    assert!(errors.contains("`other`"), "{errors}");
    assert_eq!(server.terminate(), Some(0));
}

/// Clients that ask without a pause, until they are told to stop.
#[derive(Default)]
struct Load {
    over: AtomicBool,
    answers: AtomicUsize,
}

impl Load {
    /// A connection for each request.
    fn ask_on_new_connections(&self, address: SocketAddr) {
        while !self.over.load(Ordering::Relaxed) {
            let answer = get(address);
            assert!(answer.ends_with("answer"), "{answer:?}");
            self.answers.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// As many requests on one connection as the server allows.
    fn ask_on_kept_connections(&self, address: SocketAddr) {
        while !self.over.load(Ordering::Relaxed) {
            let mut stream = BufReader::new(TcpStream::connect(address).unwrap());
            stream.get_ref().set_read_timeout(Some(PATIENCE)).unwrap();
            let mut goes_on = true;
            while goes_on && !self.over.load(Ordering::Relaxed) {
                let request = format!("GET / HTTP/1.1\r\nHost: {address}\r\n\r\n");
                stream.get_mut().write_all(request.as_bytes()).unwrap();
                goes_on = read_answer(&mut stream);
                self.answers.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Waits for so many answers more.
    fn wait_for(&self, more: usize) {
        let wanted = self.answers.load(Ordering::Relaxed) + more;
        let started = Instant::now();
        while self.answers.load(Ordering::Relaxed) < wanted {
            assert!(started.elapsed() < PATIENCE, "no answers");
            std::thread::yield_now();
        }
    }
}

/// Reads an answer; returns whether the connection goes on.
fn read_answer(stream: &mut BufReader<TcpStream>) -> bool {
    let (mut head, mut line) = (String::new(), String::new());
    while line != "\r\n" {
        line.clear();
        assert_ne!(stream.read_line(&mut line).unwrap(), 0, "closed without an answer: {head:?}");
        head.push_str(&line);
    }
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let mut body = [0; 6];
    stream.read_exact(&mut body).unwrap();
    assert_eq!(&body, b"answer");
    !head.to_ascii_lowercase().contains("connection: close")
}

#[test]
fn upgrades_under_load_lose_no_request() {
    let origin = Origin::start("answer");
    let text = format!(
        "drain-timeout \"20s\"\nadmin \"127.0.0.1:0\"\n\
         site \"http://127.0.0.1:0\" {{ to \"http://{}\" }}\n",
        origin.address
    );
    let file = write("upgrade.kdl", &text);
    let (mut server, address) = Running::server(&["run", file.path(), "--threads", "2"]);
    let admin = admin(&mut server).to_string();
    let load = Load::default();
    let mut process = None;
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| load.ask_on_new_connections(address));
            scope.spawn(|| load.ask_on_kept_connections(address));
        }
        // However this ends, the clients end with it.
        let _stop = Stop(&load.over);
        load.wait_for(50);
        server.signal("USR2");
        process = Some(next_process(&mut server));
        assert_eq!(server.wait(), Some(0), "the first one finished its work");
        load.wait_for(50);
        // Its log goes where that of the first one went.
        let outcome = bifrons(&["upgrade", "--config", file.path(), "--admin", &admin]);
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        process = Some(next_process(&mut server));
        load.wait_for(50);
        signal(process.unwrap(), "USR2");
        process = Some(next_process(&mut server));
        load.wait_for(50);
    });
    let process = process.unwrap();
    signal(process, "TERM");
    let started = Instant::now();
    while TcpStream::connect(address).is_ok() {
        assert!(started.elapsed() < PATIENCE, "still listening");
    }
}

/// Sets a flag when it is dropped.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn what_runs_is_finished_by_the_old_process() {
    let origin = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = format!(
        "admin \"127.0.0.1:0\"\nsite \"http://127.0.0.1:0\" {{ to \"http://{}\" }}\n",
        origin.local_addr().unwrap()
    );
    let file = write("download.kdl", &text);
    let (mut server, address) = Running::server(&["run", file.path(), "--threads", "1"]);
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(format!("GET / HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes()).unwrap();
    let (mut upstream, _) = origin.accept().unwrap();
    let mut request = BufReader::new(upstream.try_clone().unwrap()).lines();
    while request.next().is_some_and(|line| !line.unwrap().is_empty()) {}
    upstream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234").unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"01234") {
        let mut piece = [0; 512];
        let length = client.read(&mut piece).unwrap();
        assert_ne!(length, 0, "{answer:?}");
        answer.extend_from_slice(&piece[..length]);
    }
    server.signal("USR2");
    let process = next_process(&mut server);
    // The new one has not heard of it; the old one waits for it.
    upstream.write_all(b"56789").unwrap();
    let mut rest = [0; 5];
    client.read_exact(&mut rest).unwrap();
    assert_eq!(&rest, b"56789");
    drop((client, upstream));
    assert_eq!(server.wait(), Some(0));
    signal(process, "TERM");
}

#[test]
fn a_new_process_that_cannot_start_leaves_the_old_one_serving() {
    let file = write("broken.kdl", &site("old"));
    let (mut server, address) = Running::server(&["run", file.path(), "--threads", "1"]);
    let admin = admin(&mut server).to_string();
    std::fs::write(file.path(), "site \"http://127.0.0.1:0\" { respnd 200 }").unwrap();
    server.signal("USR2");
    server.wait_for(|line| line.contains("this process goes on").then_some(()));
    assert!(get(address).ends_with("old"));
    std::fs::write(file.path(), site("new")).unwrap();
    let outcome = bifrons(&["upgrade", "--config", file.path(), "--admin", &admin]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(server.wait(), Some(0));
    assert!(get(address).ends_with("new"), "with the same port");
    let process: u32 = server
        .wait_for(|line| line.split_once("upgrade: process ")?.1.split_once(' ')?.0.parse().ok());
    signal(process, "TERM");
}

#[test]
fn a_new_process_may_have_more_cores_and_other_listeners() {
    let second = TcpListener::bind("127.0.0.1:0").unwrap();
    let second_address = second.local_addr().unwrap();
    drop(second);
    let file = write(
        "cores.kdl",
        &format!(
            "threads 1\n{}site \"http://a\" listen=\"{second_address}\" {{ respond 200 \"second\" }}",
            site("old")
        ),
    );
    let (mut server, address) = Running::server(&["run", file.path()]);
    assert!(get(second_address).contains(" 421 "), "the host is another one");
    std::fs::write(file.path(), format!("threads 3\n{}", site("new"))).unwrap();
    server.signal("USR2");
    let process: u32 = server
        .wait_for(|line| line.split_once("upgrade: process ")?.1.split_once(' ')?.0.parse().ok());
    assert_eq!(server.wait(), Some(0));
    for _ in 0..20 {
        assert!(get(address).ends_with("new"));
    }
    let started = Instant::now();
    while TcpStream::connect(second_address).is_ok() {
        assert!(started.elapsed() < PATIENCE, "still listening where nothing is served");
    }
    signal(process, "TERM");
}
