//! proxychains4, which leads programs that know of no proxy through several kinds of them.

use super::{CANADA, Gateway, SIMPLE};
use crate::curl::curl;
use crate::program::Run;
use crate::program_or_skip;

#[test]
fn programs_are_led_through() {
    let program = program_or_skip!("BIFRONS_TEST_PROXYCHAINS", "proxychains4");
    let curl_program = program_or_skip!("BIFRONS_TEST_CURL", "curl");
    // Unlike curl, it asks the resolver of the C library, which proxychains takes the place of.
    let wget = program_or_skip!("BIFRONS_TEST_WGET", "wget");
    drop(curl(&curl_program));
    let gateway = Gateway::new();
    let (asked, open) = (gateway.proxy.address("127.0.0.1:"), gateway.proxy.address("127.0.0.7:"));
    let run = |line: &str, command: &[&str]| {
        let run = Run::new(&program);
        let file = run.folder().join("chain.conf");
        let settings = "strict_chain\nproxy_dns\nquiet_mode\nremote_dns_subnet 224\n\
            tcp_read_time_out 60000\ntcp_connect_time_out 60000\n[ProxyList]\n";
        std::fs::write(&file, format!("{settings}{line}\n")).expect("write");
        run.arg("-f").arg(&file).args(command).finish()
    };
    let at = |kind: &str, password: &str| {
        format!("{kind} {} {} bob-country-ca-session-b1 {password}", asked.ip(), asked.port())
    };
    let curl_path = super::text(&curl_program);
    let by_address = gateway.plain.url("/from");
    let by_name = gateway.plain.url_of("origin.localhost", "/from");
    for kind in ["http", "socks5"] {
        let with_curl = [curl_path, "--disable", "--silent", "--show-error", &by_address];
        let with_wget = [super::text(&wget), "--no-config", "--tries=1", "-qO-", &by_name];
        for command in [with_curl, with_wget] {
            let said = run(&at(kind, SIMPLE), &command).ok();
            assert!(CANADA.contains(&&*said), "{kind}: {said}");
            let refused = run(&at(kind, "wrong"), &command);
            assert_ne!(refused.code, Some(0), "{kind}: {}", refused.text());
        }
    }
    assert_eq!(gateway.check_origins(), 4);
    let line = format!("socks4 {} {}", open.ip(), open.port());
    let said = run(&line, &[curl_path, "--disable", "--silent", "--show-error", &by_address]);
    assert!(said.text().contains("127.0.0."), "{}", said.text());
    assert_eq!(gateway.plain.callers().len(), 5);
    let log = gateway.proxy.stop_and_read();
    let of_bob = log.iter().filter(|line| line["user"] == "bob" && line["status"] == 200);
    assert_eq!(of_bob.count(), 4, "{log:?}");
    let named = |line: &&serde_json::Value| line.to_string().contains("origin.localhost");
    assert!(log.iter().any(|line| named(&line)), "the proxy resolves the name: {log:?}");
}
