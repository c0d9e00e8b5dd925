use proptest::prelude::*;

use super::*;

fn nodes(text: &str) -> Vec<Node> {
    let (nodes, errors) = read(text);
    assert_eq!(errors, [], "{text}");
    nodes
}

fn values(text: &str) -> Vec<Value> {
    let nodes = nodes(&format!("n {text}"));
    nodes[0].entries.iter().map(|entry| entry.value.clone()).collect()
}

/// Where the errors are, as the text that is underlined.
fn faults(text: &str) -> Vec<&str> {
    let (_, errors) = read(text);
    errors
        .iter()
        .map(|error| {
            let span = error.span.unwrap();
            &text[span.offset()..span.offset() + span.len()]
        })
        .collect()
}

fn string(text: &str) -> Value {
    Value::String(text.to_owned())
}

#[test]
fn strings() {
    for (text, value) in [
        ("word", "word"),
        ("\"a\\n\\t\\s\\\"\\\\\\u{e9}\"", "a\n\t \"\\\u{e9}"),
        ("\"a\\   \n  b\"", "ab"),
        ("#\"a\\n\"b\"#", "a\\n\"b"),
        ("##\"a\"#b\"##", "a\"#b"),
        ("\"\"\"\n    one\n      two\n\n    \"\"\"", "one\n  two\n"),
        ("\"\"\"\n  a\\tb \\\"\"\" c\n  \"\"\"", "a\tb \"\"\" c"),
        ("\"\"\"\n\"\"\"", ""),
        ("#\"\"\"\n  a\\n\n  \"\"\"#", "a\\n"),
        ("8000-9999", "8000-9999"),
        ("-", "-"),
        ("-x", "-x"),
        (".x", ".x"),
        ("$argon2id$v", "$argon2id$v"),
    ] {
        assert_eq!(values(text), [string(value)], "{text}");
    }
}

#[test]
fn numbers_and_keywords() {
    for (text, value) in [
        ("0", Value::Integer(0)),
        ("-1_000", Value::Integer(-1000)),
        ("+0xFf", Value::Integer(255)),
        ("0b10_1", Value::Integer(5)),
        ("0o17", Value::Integer(15)),
        ("1.5", Value::Float(1.5)),
        ("2E-3", Value::Float(0.002)),
        ("#true", Value::Bool(true)),
        ("#false", Value::Bool(false)),
        ("#null", Value::Null),
        ("#-inf", Value::Float(f64::NEG_INFINITY)),
    ] {
        assert_eq!(values(text), [value], "{text}");
    }
}

#[test]
fn nodes_and_blocks() {
    let found = nodes(
        "\u{feff}// comment\n/* a /* b */ */ a 1 \\ // more\n  x=2 { b; c }\r\n\
         /- d { e }\nf /-1 2 /- { g } { h } // end",
    );
    let names: Vec<_> = found.iter().map(|node| node.name.value.as_str()).collect();
    assert_eq!(names, ["a", "f"]);
    assert_eq!(found[0].entries.len(), 2);
    assert_eq!(found[0].entries[1].key.as_ref().unwrap().value, "x");
    let inner: Vec<_> =
        found[0].block.as_ref().unwrap().nodes.iter().map(|node| &node.name.value).collect();
    assert_eq!(inner, ["b", "c"]);
    assert_eq!(found[1].entries.len(), 1);
    assert_eq!(found[1].block.as_ref().unwrap().nodes[0].name.value, "h");
    let annotated = nodes("(a)n (b)1 k=(c)2");
    assert!(annotated[0].annotation.is_some());
    assert!(annotated[0].entries.iter().all(|entry| entry.annotation.is_some()));
}

#[test]
fn each_error_is_where_it_belongs() {
    for (text, places) in [
        ("a \"b\nc \"d", vec!["\"b", "\"d"]),
        ("a {\n b {\n }\n", vec!["{"]),
        ("a }\nb\n}", vec!["}", "}"]),
        ("a /api/x", vec!["/api/x"]),
        ("a http://h:1/x", vec!["http://h:1/x"]),
        ("a 127.0.0.1:80 10s", vec!["127.0.0.1:80", "10s"]),
        ("a true", vec!["true"]),
        ("a #yes", vec!["#yes"]),
        ("a \"\\q\" \"\\u{110000}\"", vec!["\\q", "\\u{110000}"]),
        ("a \"b\"\"c\"", vec!["\"c\""]),
        ("a { } b", vec!["b"]),
        ("a { } { }", vec!["{"]),
        ("{ a }", vec!["{"]),
        ("a =1", vec!["=1"]),
        ("a b=", vec!["b"]),
        ("a /* b", vec!["/*"]),
        ("a \"\"\"b\"\"\"", vec!["\"\"\"b\"\"\""]),
        ("a \"\"\"\nb\n  \"\"\"", vec!["\"\"\"\nb\n  \"\"\""]),
        ("a #\"b", vec!["#\"b"]),
        ("1 2", vec!["1"]),
        ("(a", vec!["(a"]),
        ("/-", vec!["/-"]),
        ("a \u{7}", vec!["\u{7}"]),
    ] {
        let found = faults(text);
        let first: Vec<_> = found.iter().take(places.len()).copied().collect();
        assert_eq!(first, places, "{text:?}");
    }
}

#[test]
fn depth_and_errors_are_bounded() {
    for unit in ["a{", "}", "a {b}\n", "/-{", "/- a {", "/*", "\"", "(", "=", "{", "#", "\\"] {
        let (_, errors) = read(&unit.repeat(20_000));
        assert!(errors.len() <= MAX_ERRORS, "{unit}: {}", errors.len());
    }
    let deep = "a {".repeat(MAX_DEPTH + 1);
    assert_eq!(read(&deep).1.len(), 1, "only the depth is reported");
    assert_eq!(read(&format!("/*{}*/ a", "*. / ".repeat(100_000))).1, []);
}

/// The same tree from the other reader, or `None` where it has something that compares ill.
fn same(ours: &[Node], theirs: &[kdl::KdlNode]) -> bool {
    ours.len() == theirs.len()
        && ours.iter().zip(theirs).all(|(ours, theirs)| {
            let block = match (&ours.block, theirs.children()) {
                (None, None) => true,
                (Some(ours), Some(theirs)) => same(&ours.nodes, theirs.nodes()),
                _ => false,
            };
            block
                && ours.name.value == theirs.name().value()
                && ours.entries.len() == theirs.entries().len()
                && ours.entries.iter().zip(theirs.entries()).all(|(ours, theirs)| {
                    ours.key.as_ref().map(|key| key.value.as_str())
                        == theirs.name().map(|name| name.value())
                        && same_value(&ours.value, theirs.value())
                })
        })
}

fn same_value(ours: &Value, theirs: &kdl::KdlValue) -> bool {
    match (ours, theirs) {
        (Value::String(ours), kdl::KdlValue::String(theirs)) => ours == theirs,
        (Value::Integer(ours), kdl::KdlValue::Integer(theirs)) => ours == theirs,
        (Value::Float(ours), kdl::KdlValue::Float(theirs)) => {
            ours == theirs || ours.is_nan() && theirs.is_nan()
        }
        (Value::Bool(ours), kdl::KdlValue::Bool(theirs)) => ours == theirs,
        (Value::Null, kdl::KdlValue::Null) => true,
        _ => false,
    }
}

/// Documents that are KDL by the way they are made.
fn document() -> impl Strategy<Value = String> {
    let space =
        || prop::sample::select(vec![" ", "  ", "\t", " /* c /* d */ */ ", " \\\n ", " \\ // e\n"]);
    let word = || {
        prop::sample::select(vec![
            "a",
            "b-c",
            "é",
            "-",
            ".x",
            "+y",
            "\"s\"",
            "\"\\n\\u{41}\\s\"",
            "#\"r\\\"#",
        ])
    };
    let value = || {
        let others = prop::sample::select(vec![
            "1",
            "-2.5",
            "0x1f",
            "-0b11",
            "1_000e-3",
            "#true",
            "#null",
            "#inf",
            "\"\"",
            "##\"a\"#b\"##",
            "\"\"\"\n  x\n\n   y\\t\n  \"\"\"",
            "#\"\"\"\n\tz\\\n\t\"\"\"#",
            "\"a \\\n  b\"",
        ]);
        prop_oneof![others, word()]
    };
    let entry = (
        space(),
        prop_oneof![3 => Just(""), 1 => Just("/-"), 1 => Just("/- ")],
        prop_oneof![2 => Just(None), 1 => word().prop_map(Some)],
        prop::sample::select(vec!["=", " = "]),
        prop_oneof![3 => Just(""), 1 => Just("(t)")],
        value(),
    )
        .prop_map(|(space, dash, key, equals, annotation, value)| match key {
            Some(key) => format!("{space}{dash}{key}{equals}{annotation}{value}"),
            None => format!("{space}{dash}{annotation}{value}"),
        });
    let line = move || {
        (
            prop_oneof![4 => Just(""), 1 => Just("/-"), 1 => Just("/- \n")],
            word(),
            prop::collection::vec(entry.clone(), 0..4),
        )
            .prop_map(|(dash, name, entries)| format!("{dash}{name}{}", entries.concat()))
    };
    let end = || prop::sample::select(vec!["\n", ";", "\r\n", " // f\n", " ; ", "\n\n \n"]);
    let plain = (line(), end()).prop_map(|(line, end)| (line, end.to_owned()));
    let node = plain.prop_recursive(3, 12, 4, move |inner| {
        (line(), prop::collection::vec(inner, 0..4), space(), end()).prop_map(
            |(line, block, space, end)| {
                let block: String = block.into_iter().flat_map(|(line, end)| [line, end]).collect();
                (format!("{line}{space}{{{block}}}"), end.to_owned())
            },
        )
    });
    prop::collection::vec(node, 0..5)
        .prop_map(|nodes| nodes.into_iter().flat_map(|(line, end)| [line, end]).collect())
}

/// Pieces of which texts are made that are sometimes KDL.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "a", "1", "#true", "\"s\"", "\"", "\"\"\"", "#", "x=", "=", "(t)", "(", "/-", "\\", "//",
        "/*", "*/", "{", "}", "\n", "\r\n", ";", " ", "  ", "-", ".", "é",
    ]);
    prop::collection::vec(piece, 0..16).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Every document is read; and as the `kdl` crate reads it, where that reads it too (it
    /// does not take `/-a;`).
    #[test]
    fn reads_every_document(text in document()) {
        let (ours, errors) = read(&text);
        prop_assert_eq!(&errors, &[], "{:?}", text);
        if let Ok(theirs) = kdl::KdlDocument::parse_v2(&text) {
            prop_assert!(same(&ours, theirs.nodes()), "{:?}\n{:#?}", text, ours);
        }
    }

    /// The other reader takes more than KDL has (`#truea`, two nodes on one line), so this
    /// says only that nothing is read in two ways.
    #[test]
    fn never_reads_differently_from_kdl(text in pieces()) {
        let (ours, errors) = read(&text);
        if let (Ok(theirs), true) = (kdl::KdlDocument::parse_v2(&text), errors.is_empty()) {
            prop_assert!(same(&ours, theirs.nodes()), "{:?}\n{:#?}", text, ours);
        }
    }

    #[test]
    fn quoted_strings_come_back(text in "\\PC{0,20}|[\\x00-\\x7f\u{85}\u{2028}\u{feff}\u{202e}]{0,20}") {
        prop_assert_eq!(values(&quote(&text)), [string(&text)]);
        let theirs: kdl::KdlDocument = format!("n {}", quote(&text)).parse().unwrap();
        prop_assert_eq!(theirs.nodes()[0].entries()[0].value(), &kdl::KdlValue::String(text));
    }
}
