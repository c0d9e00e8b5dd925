//! What an origin of the reverse face learns of the client, and what a client cannot make it
//! believe.

use testkit::{Message, Origin, Proxy, Served};

/// What a client may try to tell about itself; each in the spellings that some program behind a
/// gateway takes for the same.
const TOLD: &str = "X-Forwarded-For: 6.6.6.6\r\nx-forwarded-for: 6.6.6.7\r\nX_Forwarded_For: 6.6.6.6\r\n\
    X-Forwarded_For: 6.6.6.6\r\nX-Forwarded-Proto: gopher\r\nX_FORWARDED_PROTO: gopher\r\n\
    X-Forwarded-Host: evil.example\r\nX-Forwarded-Port: 666\r\nX-Real-IP: 6.6.6.6\r\n\
    x_real_ip: 6.6.6.6\r\nForwarded: for=6.6.6.6;host=evil.example\r\nProxy: http://6.6.6.6\r\n";

fn origin() -> Served {
    Origin::serve(|_| b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec())
}

/// The request as the origin sees it, with these rules at the top and in the site.
fn seen(top: &str, site: &str, fields: &str) -> Message {
    let origin = origin();
    let proxy = Proxy::start(&format!(
        "{top}\nsite \"http://127.0.0.1:0\" {{ to \"{}\"\n{site} }}",
        origin.url()
    ));
    let mut client = proxy.client();
    client.send(format!("GET / HTTP/1.1\r\nHost: site.example:81\r\n{fields}\r\n"));
    assert_eq!(client.recv_response().status(), 200);
    origin.request()
}

fn untold(request: &Message) {
    let text = request.text();
    for word in ["6.6.6", "evil", "gopher", "666", "Proxy:"] {
        assert!(!text.contains(word), "{word}: {text}");
    }
}

#[test]
fn a_stranger_is_not_believed() {
    let request = seen("", "", TOLD);
    untold(&request);
    assert_eq!(request.all("X-Forwarded-For"), ["127.0.0.1"]);
    assert_eq!(request.all("X-Forwarded-Proto"), ["http"]);
    assert_eq!(request.all("X-Forwarded-Host"), ["site.example:81"]);
    assert!(!request.has("Forwarded"));
    assert_eq!(request.all("Via"), ["1.1 bifrons"]);
    assert_eq!(request.all("Host"), ["site.example:81"]);
}

#[test]
fn every_mode_for_a_stranger() {
    for mode in ["append", "set", "replace"] {
        let site = format!("forwarded {{ x-forwarded \"{mode}\"; rfc7239 \"{mode}\" }}");
        let request = seen("", &site, TOLD);
        untold(&request);
        assert_eq!(request.all("X-Forwarded-For"), ["127.0.0.1"], "{mode}");
        let forwarded = "for=127.0.0.1;host=\"site.example:81\";proto=http";
        assert_eq!(request.all("Forwarded"), [forwarded], "{mode}");
    }
    let request = seen("", "forwarded { x-forwarded \"off\"; rfc7239 \"off\"; via #false }", TOLD);
    untold(&request);
    assert_eq!(request.lines(), ["Host: site.example:81"]);
}

#[test]
fn a_trusted_peer_is_believed_by_rule() {
    let told = "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 2.2.2.2\r\nX-Forwarded-Proto: https\r\n\
                X-Forwarded-Host: outer.example\r\nX-Real-IP: 1.1.1.1\r\nForwarded: for=1.1.1.1;proto=https\r\n\
                X_Forwarded_For: 6.6.6.6\r\nProxy: x\r\n";
    let seen = |mode: &str| {
        let site = format!("forwarded {{ x-forwarded \"{mode}\"; rfc7239 \"{mode}\" }}");
        seen("trust \"10.0.0.0/8\" \"127.0.0.0/8\"", &site, told)
    };
    let ours = "for=127.0.0.1;host=\"site.example:81\";proto=http";
    let append = seen("append");
    untold(&append);
    assert_eq!(append.all("X-Forwarded-For"), ["1.1.1.1, 2.2.2.2, 127.0.0.1"]);
    assert_eq!(append.all("X-Forwarded-Proto"), ["https"]);
    assert_eq!(append.all("X-Forwarded-Host"), ["outer.example"]);
    assert_eq!(append.all("Forwarded"), [format!("for=1.1.1.1;proto=https, {ours}")]);
    let set = seen("set");
    assert_eq!(set.all("X-Forwarded-For"), ["1.1.1.1", "2.2.2.2"]);
    assert_eq!(set.all("Forwarded"), ["for=1.1.1.1;proto=https"]);
    let replace = seen("replace");
    assert_eq!(replace.all("X-Forwarded-For"), ["127.0.0.1"]);
    assert_eq!(replace.all("X-Forwarded-Proto"), ["http"]);
    assert_eq!(replace.all("Forwarded"), [ours]);
    let off = seen("off");
    assert!(!off.text().contains("1.1.1.1"), "{}", off.text());
    // A trusted network that is not the client's changes nothing.
    let other = self::seen("trust \"10.0.0.0/8\"", "", told);
    assert_eq!(other.all("X-Forwarded-For"), ["127.0.0.1"]);
}

#[test]
fn naming_a_field_in_connection_does_not_remove_ours() {
    let request = seen(
        "",
        "forwarded { rfc7239 \"set\" }\nrequest-header { set \"X-User\" \"nobody\" }",
        "Connection: close, X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host, Forwarded, Via, X-User, Host\r\n",
    );
    for name in ["X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Forwarded", "X-User"]
    {
        assert_eq!(request.all(name).len(), 1, "{name}: {}", request.text());
    }
    assert_eq!(request.all("Via"), ["1.1 bifrons"]);
    assert_eq!(request.all("Host"), ["site.example:81"]);
}

#[test]
fn via_tells_the_way() {
    let request =
        seen("", "forwarded { via \"edge1\" }", "Via: 1.0 fred, 1.1 p.example\r\nVia: 1.1 q\r\n");
    assert_eq!(request.all("Via"), ["1.0 fred, 1.1 p.example, 1.1 q, 1.1 edge1"]);
    let request = seen("", "forwarded { via #false }", "Via: 1.0 fred\r\n");
    assert_eq!(request.all("Via"), ["1.0 fred"]);
}

#[test]
fn proxy_credentials_stop_at_a_site_too() {
    let request = seen(
        "",
        "",
        "Proxy-Authorization: Basic c2VjcmV0\r\nProxy_Authorization: Basic c2VjcmV0\r\n\
         Authorization: Basic b3JpZ2lu\r\n",
    );
    assert!(!request.text().contains("c2VjcmV0"), "{}", request.text());
    // What is meant for the origin reaches it.
    assert_eq!(request.all("Authorization"), ["Basic b3JpZ2lu"]);
}

#[test]
fn ipv6_clients_are_written_as_rfc_7239_has_them() {
    let origin = origin();
    let proxy = Proxy::start(&format!(
        "site \"http://[::1]:0\" {{ to \"{}\"; forwarded {{ rfc7239 \"set\" }} }}",
        origin.url()
    ));
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: [::1]\r\n\r\n");
    assert_eq!(client.recv_response().status(), 200);
    let request = origin.request();
    assert_eq!(request.all("X-Forwarded-For"), ["::1"]);
    assert_eq!(request.all("Forwarded"), ["for=\"[::1]\";host=\"[::1]\";proto=http"]);
}

#[test]
fn the_default_of_all_sites_is_set_at_the_top() {
    let request = seen("forwarded { x-forwarded \"off\"; rfc7239 \"set\" }", "", "");
    assert!(!request.has("X-Forwarded-For") && request.has("Forwarded"), "{}", request.text());
    let request = seen(
        "forwarded { x-forwarded \"off\"; rfc7239 \"set\" }",
        "forwarded { x-forwarded \"set\" }",
        "",
    );
    assert!(request.has("X-Forwarded-For") && request.has("Forwarded"), "{}", request.text());
}
