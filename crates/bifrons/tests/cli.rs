//! The binary, as a person or a service manager meets it.

mod support;

use std::os::unix::fs::PermissionsExt;

use support::{Origin, Running, bifrons, http, write};

#[test]
fn help_of_every_subcommand_says_what_it_is_for() {
    let wanted: [(&[&str], &[&str]); 9] = [
        (&["--help"], &["reverse", "forward", "run", "check", "demo", "Try it:"]),
        (&["run", "--help"], &["--threads", "--access-log", "--admin", "SIGTERM", "drain-timeout"]),
        (&["check", "--help"], &["<FILE>", "All errors are shown at once", "exit status"]),
        (&["reverse", "--help"], &["--to", "--tls-cert", "bifrons reverse --to http://"]),
        (&["forward", "--help"], &["--user", "--allow", "--client", "--anonymity", "curl -x"]),
        (&["endpoints", "--help"], &["--country", "--sticky", "--format", "--config", "--dialect"]),
        (&["snippet", "--help"], &["playwright", "--user", "--listener", "curl --config"]),
        (&["leak-check", "--help"], &["--expect", "--target", "exit status is 1"]),
        (&["demo", "--help"], &["--once", "exit status 1"]),
    ];
    for (arguments, words) in wanted {
        let outcome = bifrons(arguments);
        assert_eq!(outcome.code, Some(0), "{arguments:?}: {}", outcome.stderr);
        for word in words {
            assert!(outcome.stdout.contains(word), "{arguments:?} {word:?}\n{}", outcome.stdout);
        }
        let longest = outcome.stdout.lines().map(|line| line.chars().count()).max();
        assert!(longest <= Some(106), "{arguments:?}: {longest:?} columns");
    }
}

#[test]
fn a_wrong_option_ends_with_status_2() {
    let outcome = bifrons(&["forward", "--user", "alice"]);
    assert_eq!(outcome.code, Some(2));
    assert!(outcome.stderr.contains("NAME:PASSWORD"), "{}", outcome.stderr);
}

#[test]
fn check_shows_all_errors_with_their_lines() {
    let wrong = write(
        "wrong.kdl",
        "site \"http://127.0.0.1:8080\" {\n    to \"ftp://127.0.0.1\"\n}\n\nforwart \"127.0.0.1:3128\"\n",
    );
    let outcome = bifrons(&["check", wrong.path()]);
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    for word in ["wrong.kdl:2:", "wrong.kdl:5:", "`ftp`", "`forwart`", "`forward`"] {
        assert!(outcome.stderr.contains(word), "{word:?}\n{}", outcome.stderr);
    }
    assert_eq!(outcome.stdout, "");
}

#[test]
fn check_looks_at_the_files_that_are_named() {
    let wrong = write(
        "missing.kdl",
        "site \"https://localhost:8443\" {\n    tls cert=\"none.pem\" key=\"none.key\"\n    \
         to \"http://127.0.0.1:9\"\n}\n",
    );
    let outcome = bifrons(&["check", wrong.path()]);
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    for word in ["missing.kdl:2:", "none.pem", "none.key"] {
        assert!(outcome.stderr.contains(word), "{word:?}\n{}", outcome.stderr);
    }
}

#[test]
fn what_is_wrong_with_a_site_is_said_once() {
    let page =
        "site \"http://a\" { error-page 404 file=\"none.html\"; to \"http://127.0.0.1:9\"; }";
    let outcome = bifrons(&["check", write("page.kdl", page).path()]);
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    assert_eq!(outcome.stderr.matches("cannot read").count(), 1, "{}", outcome.stderr);
}

#[test]
fn check_of_a_good_file_says_so() {
    let good = write(
        "good.kdl",
        "forward \"127.0.0.1:3128\"\ntunnel \"127.0.0.1:3129\" { to \"tcp://127.0.0.1:9\" }\n",
    );
    let outcome = bifrons(&["check", good.path()]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let counts = "good.kdl: fine (0 sites, 1 forward listeners, 1 tunnels)";
    assert!(outcome.stdout.contains(counts), "{}", outcome.stdout);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    for command in ["check", "run"] {
        let outcome = bifrons(&[command, "/nonexistent/bifrons.kdl"]);
        assert_eq!(outcome.code, Some(1));
        assert!(outcome.stderr.contains("/nonexistent/bifrons.kdl"), "{}", outcome.stderr);
    }
}

#[test]
fn run_serves_a_file_until_sigterm() {
    let origin = Origin::start("from the origin");
    let text =
        format!("site \"http://127.0.0.1:0\" {{\n    to \"http://{}\"\n}}\n", origin.address);
    let file = write("run.kdl", &text);
    let (server, address) = Running::server(&["run", file.path(), "--threads", "1"]);
    let answer = http(address, &format!("GET /x HTTP/1.1\r\nHost: {address}"));
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.ends_with("from the origin"), "{answer}");
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn reverse_relays_to_its_servers() {
    let origin = Origin::start("from the origin");
    let to = format!("http://{}", origin.address);
    let (server, address) = Running::server(&["reverse", "--listen", "127.0.0.1:0", "--to", &to]);
    let answer = http(address, "GET /x HTTP/1.1\r\nHost: whatever.example");
    assert!(answer.ends_with("from the origin"), "{answer}");
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn forward_fetches_for_its_users_only() {
    let origin = Origin::start("from the origin");
    let (server, address) = Running::server(&[
        "forward",
        "--listen",
        "127.0.0.1:0",
        "--user",
        "alice:wonderland",
        "--allow",
        "127.0.0.1/32",
    ]);
    let request = format!("GET http://{0}/x HTTP/1.1\r\nHost: {0}", origin.address);
    let answer = http(address, &request);
    assert!(answer.starts_with("HTTP/1.1 407 "), "{answer}");
    let credentials = "Proxy-Authorization: Basic YWxpY2U6d29uZGVybGFuZA==";
    let answer = http(address, &format!("{request}\r\n{credentials}"));
    assert!(answer.ends_with("from the origin"), "{answer}");
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn an_open_proxy_is_refused_and_the_remedy_named() {
    let outcome = bifrons(&["forward", "--listen", "0.0.0.0:0"]);
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    for word in ["open proxy", "--user NAME:PASSWORD", "--client", "127.0.0.1:0"] {
        assert!(outcome.stderr.contains(word), "{word:?}\n{}", outcome.stderr);
    }
}

#[test]
fn an_address_in_use_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let outcome = bifrons(&["forward", "--listen", &address]);
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    let wanted = format!("cannot listen on {address}");
    assert!(outcome.stderr.contains(&wanted), "{}", outcome.stderr);
}

#[test]
fn the_demo_goes_well() {
    let outcome = bifrons(&["demo", "--once"]);
    let shown = format!("{}\n{}", outcome.stdout, outcome.stderr);
    assert_eq!(outcome.code, Some(0), "{shown}");
    assert!(outcome.stdout.contains("all went well"), "{shown}");
    assert!(!outcome.stdout.contains('\x1b'), "colour where there is no terminal");
    assert_eq!(outcome.stderr, "", "a warning during the tour");
}

#[test]
fn the_demo_stays_up_until_sigterm_and_leaves_nothing_behind() {
    let mut demo = Running::demo(&["demo"]);
    let folder = demo.wait_for(|line| {
        let path = line.strip_prefix("The configuration (")?.strip_suffix("/bifrons.kdl)")?;
        Some(path.to_owned())
    });
    assert!(std::path::Path::new(&folder).join("bifrons.kdl").exists(), "{folder}");
    let mode = std::fs::metadata(&folder).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "there is a private key in it");
    let site: std::net::SocketAddr = demo.wait_for(|line| {
        let url = line.split("curl http://").nth(1)?;
        url.strip_suffix("/api/hello")?.parse().ok()
    });
    demo.wait_for(|line| line.starts_with("Ctrl-C ends").then_some(()));
    let answer = http(site, &format!("GET /api/hello HTTP/1.1\r\nHost: {site}"));
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(demo.terminate(), Some(0));
    assert!(!std::path::Path::new(&folder).exists(), "{folder}");
}

#[test]
fn an_authority_is_made_once_and_shown() {
    let folder = tempfile::tempdir().expect("folder");
    let state = folder.path().join("state");
    let file = folder.path().join("bifrons.kdl");
    let text = "state \"state\"\nforward \"127.0.0.1:0\" { intercept }\n";
    std::fs::write(&file, text).expect("configuration");
    let file = file.to_str().expect("UTF-8");
    let before = bifrons(&["check", file]);
    assert_eq!(before.code, Some(1), "{}", before.stderr);
    let made = bifrons(&["ca", "init", "--config", file, "--name", "Ours", "--days", "30"]);
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let mode = |name: &str| {
        std::fs::metadata(state.join(name)).expect("file").permissions().mode() & 0o777
    };
    assert_eq!((mode("ca.key"), mode("ca.pem")), (0o600, 0o644));
    for word in ["CN=Ours", "SHA-256", "for 29 more days", "anything", "--cacert", "Firefox"] {
        assert!(made.stdout.contains(word), "{word}\n{}", made.stdout);
    }
    assert!(!made.stdout.contains("PRIVATE"), "{}", made.stdout);
    assert_eq!(bifrons(&["check", file]).code, Some(0));
    let again = bifrons(&["ca", "init", "--dir", state.to_str().expect("UTF-8")]);
    assert_eq!(again.code, Some(1));
    assert!(again.stderr.contains("--force"), "{}", again.stderr);
    let place = ["--config", file, "--force", "--constrain", "shop.example"];
    let forced = bifrons(&[&["ca", "init"], &place[..]].concat());
    assert_eq!(forced.code, Some(0), "{}", forced.stderr);
    let shown = bifrons(&["ca", "show", "--config", file]);
    assert!(shown.stdout.contains("shop.example"), "{}", shown.stdout);
}

#[test]
fn endpoints_and_snippets_take_what_the_configuration_says() {
    let file = write(
        "gateway.kdl",
        "users \"staff\" { user \"alice\" password=\"p:w\"; }
        forward \"127.0.0.1:7000\" { auth users=\"staff\"; exit \"world\"; }
        exits \"world\" { address \"127.0.0.2\" country=\"CA\"; dialect \"decodo\"; \
         sticky max-ttl=\"1h\"; }\n",
    );
    let common = ["--config", file.path(), "--user", "alice", "--country", "ca"];
    let outcome = bifrons(&[&["endpoints"], &common[..]].concat());
    assert_eq!(outcome.stdout, "http://user-alice-country-ca:p%3Aw@127.0.0.1:7000\n");
    let many = ["endpoints", "--sticky", "10m", "--count", "3", "--format", "json"];
    let outcome = bifrons(&[&many[..], &common].concat());
    let all: serde_json::Value = serde_json::from_str(&outcome.stdout).expect("JSON");
    let names: Vec<&str> = all
        .as_array()
        .expect("array")
        .iter()
        .map(|one| one["username"].as_str().unwrap())
        .collect();
    assert_eq!(names.len(), 3);
    for name in &names {
        assert!(name.starts_with("user-alice-country-ca-session-"), "{name}");
        assert!(name.ends_with("-sessionduration-10"), "{name}");
        assert_eq!(names.iter().filter(|other| *other == name).count(), 1, "{name}");
    }
    let outcome = bifrons(&[&["snippet", "curl"], &common[..]].concat());
    assert!(outcome.stdout.contains("\"user-alice-country-ca:p:w\""), "{}", outcome.stdout);
    let outcome = bifrons(&[&["endpoints", "--sticky", "2h"], &common[..]].concat());
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.stderr.contains("last 1h at most"), "{}", outcome.stderr);
}
