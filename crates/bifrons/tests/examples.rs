//! The examples are configurations that a user can start from.

mod support;

use std::path::{Path, PathBuf};

use support::{Running, bifrons, http, write};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples")
}

fn examples() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder()).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let examples: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "kdl")).collect();
    assert!(examples.len() >= 3, "{examples:?}");
    examples
}

#[test]
fn every_example_passes_check() {
    for example in examples() {
        let outcome = bifrons(&["check", example.to_str().unwrap()]);
        assert_eq!(outcome.code, Some(0), "{}\n{}", example.display(), outcome.stderr);
    }
}

/// What an example leaves out until a file is there is right as well.
#[test]
fn what_is_left_out_can_be_put_in() {
    let mut count = 0;
    for example in examples() {
        let text = std::fs::read_to_string(&example).unwrap();
        count += text.matches("\n/-").count();
        let name = example.display().to_string();
        if let Err(errors) = config::parse(&name, &text.replace("\n/-", "\n"), &folder()) {
            panic!("{errors}");
        }
    }
    assert!(count > 0, "no example leaves anything out");
}

/// Everything but the ports is as in the example.
#[test]
fn the_forward_example_does_what_its_comments_say() {
    let mut text = std::fs::read_to_string(folder().join("forward.kdl")).unwrap();
    for fixed in ["127.0.0.1:3128", "127.0.0.1:3129", "127.0.0.1:9901"] {
        assert!(text.contains(&format!("\"{fixed}\"")), "{fixed}");
        text = text.replace(&format!("\"{fixed}\""), "\"127.0.0.1:0\"");
    }
    let file = write("forward.kdl", &text);
    let list = Path::new(file.path()).with_file_name("blocklist.txt");
    std::fs::copy(folder().join("blocklist.txt"), list).unwrap();
    let (server, address) = Running::server(&["run", file.path()]);

    let status = |target: &str, credentials: &str| {
        let head = format!("GET http://{target}/ HTTP/1.1\r\nHost: {target}");
        let answer = http(address, &format!("{head}\r\nProxy-Authorization: Basic {credentials}"));
        answer.split(' ').nth(1).map(str::to_owned).unwrap_or(answer)
    };
    let (alice, bob) = ("YWxpY2U6Y29ycmVjdC1ob3JzZQ==", "Ym9iOmJhdHRlcnktc3RhcGxl");
    let wrong = "Ym9iOmNvcnJlY3QtaG9yc2U=";
    // This machine is closed, but for some ports.
    assert_eq!(status("127.0.0.1:1", wrong), "407");
    assert_eq!(status("127.0.0.1:1", alice), "403");
    assert_eq!(status("127.0.0.1:1", bob), "403");
    // Listed names are refused before they are looked up.
    for listed in ["ads.example", "x.ads.example", "tracker.example", "telemetry.example"] {
        assert_eq!(status(listed, alice), "403", "{listed}");
    }
    assert_eq!(server.terminate(), Some(0));
}
