//! Every `diff/*.old.kdl` and `diff/*.new.kdl` beside the exact text of their difference.
//! `UPDATE_GOLDEN=1` writes what is there anew: read the diff.

use std::fs;
use std::path::Path;

use config::diff::{Change, Difference, diff};

fn parse(text: &str) -> config::Config {
    config::parse("test.kdl", text, Path::new("/etc/bifrons")).unwrap()
}

fn shown(difference: &Difference) -> String {
    fn lines(changes: &[Change], depth: usize, out: &mut String) {
        for change in changes {
            let (sign, indent) = (change.sign.as_char(), "  ".repeat(depth));
            *out += &format!("{indent}{sign} {}\n", change.what);
            lines(&change.inner, depth + 1, out);
        }
    }
    let mut out = String::new();
    lines(&difference.changes, 0, &mut out);
    for (name, all) in [("drained", &difference.drained), ("restart", &difference.restart)] {
        out.extend(all.iter().map(|line| format!("{name}: {line}\n")));
    }
    out
}

#[test]
fn goldens() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/diff");
    let (mut seen, mut wrong) = (0, Vec::new());
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let Some(case) = name.strip_suffix(".old.kdl") else { continue };
        seen += 1;
        let read = |end: &str| fs::read_to_string(folder.join(format!("{case}{end}")));
        let old = parse(&read(".old.kdl").unwrap());
        let new = parse(&read(".new.kdl").unwrap());
        let made = shown(&diff(&old, &new));
        let there = read(".txt").unwrap_or_default();
        if made != there && std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(folder.join(format!("{case}.txt")), made).unwrap();
        } else if made != there {
            wrong.push(format!("{case}\n--- there\n{there}--- made\n{made}"));
        }
        assert!(diff(&old, &old).is_empty() && diff(&new, &new).is_empty(), "{case}");
    }
    assert!(seen >= 4, "{seen} cases");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn where_things_stand_makes_no_difference() {
    let one = r#"
        site "http://a.example:8080" {
            route "/x/*" { to upstream="one" }
            route "/*" { to upstream="two" }
        }
        upstream "one" { server "http://127.0.0.1:1"; }
        upstream "two" { server "http://127.0.0.1:2"; }
    "#;
    let other = r#"
        // Moved about.
        upstream "two" { server "http://127.0.0.1:2"; }
        upstream "one" { server "http://127.0.0.1:1"; }

        site "http://a.example:8080" {
            route "/*" { to upstream="two" }
            route "/x/*" { to upstream="one" }
        }
    "#;
    assert_eq!(diff(&parse(one), &parse(other)), Difference::default());
}

#[test]
fn no_secret_is_told() {
    let text = |secret: &str| {
        format!(
            r#"
            admin "127.0.0.1:9901" token="{secret}-admin-token-of-enough-length"
            users "staff" {{
                user "alice" password="{secret}" {{ api-key "{secret}-of-the-api-key"; }}
                callout "http://127.0.0.1:9000/check?token={secret}"
            }}
            exits "world" {{
                proxy "http://alice:{secret}@10.0.0.1" "socks5://{secret}@10.0.0.2"
                list "https://lists.example/proxies?token={secret}"
                health target="https://ip.example/?key={secret}"
            }}
            state "/var/lib/bifrons"
            site "http://a.example:8080" {{
                to "http://127.0.0.1:1" {{ sticky cookie="c" secret="{secret}-of-the-cookie-that-is-long-enough"; }}
            }}
            forward "127.0.0.1:3128" {{ auth users="staff"; }}
            "#
        )
    };
    let difference = diff(&parse(&text("hunter2")), &parse(&text("correct-horse")));
    let shown = format!("{difference:?}{}", shown(&difference));
    for word in ["admin token", "password", "sticky secret", "api-key", "credentials"] {
        assert!(shown.contains(word), "{word}: {shown}");
    }
    assert!(!shown.contains("hunter2") && !shown.contains("correct-horse"), "{shown}");
}
