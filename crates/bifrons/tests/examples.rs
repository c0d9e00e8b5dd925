//! The examples are configurations that a user can start from.

use std::path::{Path, PathBuf};
use std::process::Command;

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
        let outcome = Command::new(env!("CARGO_BIN_EXE_bifrons"))
            .arg("check")
            .arg(&example)
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&outcome.stderr);
        assert!(outcome.status.success(), "{}\n{stderr}", example.display());
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

#[test]
fn the_example_password_is_what_its_comment_says() {
    let text = std::fs::read_to_string(folder().join("forward.kdl")).unwrap();
    assert!(text.contains("This one is of \"battery-staple\""));
    let config = config::parse("forward.kdl", &text, &folder()).unwrap();
    let hashed = config.users[0].users.iter().find(|user| user.name == "bob").unwrap();
    let config::Password::Hash(hash) = &hashed.password else { panic!("not a hash") };
    assert!(hash.starts_with("$2y$10$"), "{hash}");
}
