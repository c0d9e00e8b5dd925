//! What is known of an exit: countries, words for places, names; and what bans one.

use crate::fault::Fault;
use crate::fields;
use crate::model::{Country, ExitLabels};
use crate::syntax::quote;

/// The longest name or label: a user name has to carry several.
const LONGEST: usize = 64;

/// `CA`.
pub(crate) fn country(text: &str) -> Result<Country, Fault> {
    if text.eq_ignore_ascii_case("uk") {
        return Err(Fault::new("`UK` is not a country of ISO 3166-1").help("write \"GB\""));
    }
    Country::parse(text).ok_or_else(|| {
        Fault::new(format!("{} is not a country", quote(text)))
            .label("not two letters")
            .help("write the two letters of ISO 3166-1: \"CA\"")
    })
}

/// A place or a tag, in the one form in which labels are compared.
pub(crate) fn label(text: &str) -> Result<String, Fault> {
    let joins = |char: char| char == ' ' || matches!(char, '_' | '-' | '.' | '\'' | '’');
    if let Some(bad) = text.chars().find(|char| !char.is_alphanumeric() && !joins(*char)) {
        return Err(Fault::new(format!("{bad:?} cannot stand in a label"))
            .label("could not be asked for in a user name")
            .help("write letters and digits; words are joined by `_`"));
    }
    let label = ExitLabels::word(text);
    if label.is_empty() {
        return Err(Fault::new(format!("{} is no label", quote(text)))
            .label("nothing is left of it")
            .help("write letters and digits"));
    }
    if label.len() > LONGEST {
        return Err(Fault::new("a label of more than 64 bytes").help("write a shorter one"));
    }
    Ok(label)
}

/// The name of an exit.
pub(crate) fn exit_name(text: &str) -> Result<(), Fault> {
    let wrong = |char: &char| !(char.is_ascii_alphanumeric() || matches!(char, '_' | '.' | '-'));
    if let Some(bad) = text.chars().find(wrong) {
        return Err(Fault::new(format!("{bad:?} cannot stand in the name of an exit"))
            .label("could not be asked for in a user name")
            .help("write letters, digits, `_`, `.` and `-`"));
    }
    if text.len() > LONGEST {
        return Err(Fault::new("the name of an exit of more than 64 characters")
            .help("write a shorter one"));
    }
    Ok(())
}

/// `cf-mitigated`, or `x-block: captcha`: a field, and perhaps what its value contains.
pub(crate) fn field_sign(text: &str) -> Result<(String, Option<String>), Fault> {
    let (name, contains) = match text.split_once(':') {
        Some((name, contains)) => (name.trim_end(), Some(contains.trim())),
        None => (text, None),
    };
    if name.is_empty() {
        return Err(Fault::new("a field without a name").help("write `NAME`, or `NAME: TEXT`"));
    }
    fields::name(name)?;
    if contains == Some("") {
        return Err(Fault::new("a field of which every value fits")
            .label("nothing behind the `:`")
            .help(format!("write {} if it only has to be there", quote(name))));
    }
    Ok((name.to_ascii_lowercase(), contains.map(str::to_owned)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels() {
        for (text, made) in [
            ("toronto", "toronto"),
            ("New York", "new_york"),
            ("  Stratford-upon-Avon ", "stratford_upon_avon"),
            ("M5V 1E3", "m5v_1e3"),
            ("Zürich", "zürich"),
            ("St. John’s", "st_johns"),
        ] {
            assert_eq!(label(text).as_deref(), Ok(made), "{text}");
        }
        for text in ["", " ", "-", "a:b", "a/b", "a\nb:", "a@b", &"x".repeat(65)] {
            assert!(label(text).is_err(), "{text}");
        }
    }

    #[test]
    fn countries_and_names() {
        assert_eq!(country("ca").map(|it| it.to_string()).as_deref(), Ok("CA"));
        for text in ["", "C", "CAN", "C1", "uk", "Canada"] {
            assert!(country(text).is_err(), "{text}");
        }
        assert!(exit_name("de-1.b_C").is_ok());
        for text in ["a b", "a:b", "é", "a/b"] {
            assert!(exit_name(text).is_err(), "{text}");
        }
    }

    #[test]
    fn signs() {
        assert_eq!(field_sign("CF-Mitigated"), Ok(("cf-mitigated".into(), None)));
        let sign = ("x-block".to_owned(), Some("captcha now".to_owned()));
        assert_eq!(field_sign("X-Block: captcha now"), Ok(sign));
        for text in [":", "x:", "a b", "x-*", ": y"] {
            assert!(field_sign(text).is_err(), "{text}");
        }
    }
}
