//! The reference manual in `docs/` is that of the directive table.

use std::path::Path;

const REMEDY: &str = "run `cargo run --quiet -- reference > docs/reference.md`";

#[test]
fn the_manual_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference.md");
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    let made = config::reference();
    if let Some((at, (there, made))) =
        there.lines().zip(made.lines()).enumerate().find(|(_, (there, made))| there != made)
    {
        panic!(
            "docs/reference.md differs from the directive table in line {}: {REMEDY}\n\
             there: {there}\n made: {made}",
            at + 1
        );
    }
    assert!(there == made, "docs/reference.md is not complete: {REMEDY}");
}

#[test]
fn links_in_the_manual_lead_somewhere() {
    let text = config::reference();
    let mut anchors: Vec<String> = Vec::new();
    for heading in text.lines().filter_map(|line| line.strip_prefix("### ")) {
        let plain = heading.replace('`', "");
        let same = anchors
            .iter()
            .filter(|known| {
                **known == plain
                    || known
                        .strip_prefix(&format!("{plain}-"))
                        .is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()))
            })
            .count();
        anchors.push(if same == 0 { plain } else { format!("{plain}-{same}") });
    }
    let mut links = 0;
    for link in text.split("](#").skip(1) {
        let link = link.split(')').next().unwrap();
        assert!(anchors.iter().any(|anchor| anchor == link), "{link} in {anchors:?}");
        links += 1;
    }
    assert!(links > 5, "{links}");
}
