//! Lists that come from URLs, and countries out of a database.

use std::net::{SocketAddr, UdpSocket};

use testkit::geo::{Database, Value};
use testkit::{Origin, Proxy, Scratch, Served};

fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into()
}

/// A server with a list for each path.
fn lists() -> Served {
    Origin::serve(|request| match request.text() {
        text if text.starts_with("GET /ads.txt ") => ok("||ads.example^\n@@||good.ads.example^\n"),
        text if text.starts_with("GET /more.txt ") => ok("0.0.0.0 more.example\n"),
        _ => b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec(),
    })
}

/// A name server that knows no name.
fn no_names() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("bind");
    let address = socket.local_addr().expect("address");
    std::thread::spawn(move || {
        let mut packet = [0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut packet) {
            // A response, recursion available, no such name.
            packet[2..4].copy_from_slice(&[0x81, 0x83]);
            // The question and nothing else.
            packet[6..12].fill(0);
            let end = 12 + packet[12..length].iter().position(|byte| *byte == 0).expect("a name");
            socket.send_to(&packet[..end + 5], client).expect("send");
        }
    });
    address
}

fn denied(proxy: &Proxy, target: &str) -> bool {
    let mut client = proxy.client();
    client.send(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"));
    let head = client.recv_response().text();
    head.starts_with("HTTP/1.1 403 ") && head.contains("denied_by_rule")
}

#[test]
fn a_list_is_there_when_the_proxy_serves() {
    let lists = lists();
    let dns = no_names();
    let config = |name: &str| {
        format!(
            "state \"state\"\nresolver \"{dns}\"\n\
             forward \"127.0.0.1:0\" {{ deny list=\"{}/{name}\" every=\"1h\" }}",
            lists.url()
        )
    };
    let proxy = Proxy::start_in(Scratch::new(), &config("ads.txt"));
    assert!(denied(&proxy, "ads.example:443") && denied(&proxy, "www.ads.example:443"));
    assert!(!denied(&proxy, "good.ads.example:443") && !denied(&proxy, "more.example:443"));
    // Another one comes with a reload; one that is not there leaves all as it was.
    proxy.reload(&config("more.txt"));
    assert!(denied(&proxy, "more.example:443") && !denied(&proxy, "ads.example:443"));
    let error = proxy.try_reload(&config("none.txt")).unwrap_err();
    assert!(error.contains("/none.txt") && error.contains("404"), "{error}");
    assert!(denied(&proxy, "more.example:443"));
    assert_eq!(lists.requests().len(), 3);
}

#[test]
fn without_a_list_nothing_is_served() {
    let lists = lists();
    let config = format!(
        "state \"state\"\nforward \"127.0.0.1:0\" {{ deny list=\"{}/none.txt\" }}",
        lists.url()
    );
    let error = Proxy::try_start_in(Scratch::new(), &config).err().unwrap();
    assert!(error.contains("/none.txt"), "{error}");
}

#[test]
fn a_country_is_that_of_the_address_that_is_connected_to() {
    let origin = Origin::serve(|_| ok("here"));
    let port = origin.address().port();
    let scratch = Scratch::new();
    let database = Database::new("GeoLite2-Country")
        .with("127.0.0.0/8", &Value::place("CA", "", "", ""))
        .with("127.0.0.1/32", &Value::place("KP", "", "", ""));
    scratch.write("geo.mmdb", database.bytes());
    let config = "geoip \"geo.mmdb\"\n\
                  forward \"127.0.0.1:0\" { deny country=\"KP\"; allow \"127.0.0.0/8\" }";
    let proxy = Proxy::start_in(scratch, config);
    assert!(denied(&proxy, &format!("127.0.0.1:{port}")));
    assert!(!denied(&proxy, &format!("127.0.0.2:{port}")));
    assert_eq!(origin.connections(), 0);
}
