//! What the texts hold, and that nothing of a password breaks out of them.

use clap::{Parser, ValueEnum as _};

use super::{Client, Snippet, fill, text};
use crate::endpoints::make;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    snippet: Snippet,
}

const NASTY: &str = ":@%/+\"'$ \\<<URL>>${x}`é😀";

fn written(client: &str, more: &[&str]) -> Result<String, String> {
    let options = ["x", client, "--user", "al-ice", "--password", NASTY];
    let line = Line::try_parse_from(options.iter().chain(more)).expect("options").snippet;
    let endpoint = make(&line.access, 1).map_err(|error| error.to_string())?.remove(0);
    text(line.client, &endpoint).map_err(|error| error.to_string())
}

#[test]
fn every_client_has_a_text_that_is_filled() {
    for client in Client::value_variants() {
        let name = client.to_possible_value().expect("a name").get_name().to_owned();
        let text = written(&name, &[]).expect("a text");
        assert!(text.contains("al-ice"), "{name}");
        assert!(text.contains("THIS-FILE"), "{name} does not say how it is used");
        assert!(text.ends_with('\n') && !text.contains("<<PASSWORD"), "{name}");
        // Only curl is given the password as it is, and only it reads UTF-8 whatever happens.
        assert!(name == "curl" || text.is_ascii(), "{name}");
    }
}

#[test]
fn passwords_are_written_as_each_wants_them() {
    let url = "http://al-ice:%3A%40%25%2F%2B%22%27%24%20%5C%3C%3CURL%3E%3E%24%7Bx%7D%60%C3%A9%F0%9F%98%80@127.0.0.1:3128";
    for client in ["python", "scrapy", "git", "apt"] {
        let text = written(client, &[]).expect("a text");
        assert!(text.contains(&format!("\"{url}\"")), "{client}: {text}");
    }
    let escaped = r#":@%/+\"'$ \\<<URL>>${x}`"#;
    for (client, tail) in [
        ("playwright", r#"\u00e9\ud83d\ude00"#),
        ("node", r#"\u00e9\ud83d\ude00"#),
        ("java", r#"\u00e9\ud83d\ude00"#),
        ("go", r#"\U000000e9\U0001f600"#),
    ] {
        let text = written(client, &[]).expect("a text");
        assert!(text.contains(&format!("{escaped}{tail}\"")), "{client}: {text}");
    }
    let text = written("curl", &[]).expect("a text");
    assert!(text.contains(&format!("proxy-user = \"al-ice:{escaped}é😀\"\n")), "{text}");
}

#[test]
fn what_a_client_cannot_speak_is_said() {
    let cases = [
        ("node", "socks5h", "undici has no SOCKS"),
        ("playwright", "socks5h", "Chromium shows SOCKS no password"),
        ("scrapy", "https", "Scrapy has neither SOCKS nor TLS to a proxy"),
        ("java", "socks5h", "Java's client has neither SOCKS nor TLS to a proxy"),
        ("go", "socks5", "Go has the proxy resolve names"),
    ];
    for (client, scheme, expected) in cases {
        assert_eq!(written(client, &["--scheme", scheme]).expect_err(client), expected);
    }
    let text = written("go", &["--scheme", "socks5h"]).expect("a text");
    assert!(text.contains("Scheme: \"socks5\","), "{text}");
}

#[test]
fn a_value_is_never_a_template() {
    let values = [("A", "<<B>>".to_owned()), ("B", "x".to_owned())];
    assert_eq!(fill("<<A>>-<<B>>;", &values), "<<B>>-x;");
}
