//! Heads of requests, and what becomes of their fields.

use message::{Block, FieldId, RequestHead};

use super::listener::Place;
use super::{Question, Step, refused, text};
use crate::failure::{Failure, Kind};

/// The head that a client would send over HTTP/1.1, read as it is read from a connection.
pub(super) fn head(question: &Question, place: &Place<'_>) -> Step<RequestHead> {
    let mut bytes = format!("{} {} HTTP/1.1\r\n", question.method, place.target);
    let has_host = question.fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("host"));
    if let Some(host) = place.host.as_ref().filter(|_| !has_host) {
        bytes += &format!("Host: {host}\r\n");
    }
    for (name, value) in &question.fields {
        bytes += &format!("{name}: {value}\r\n");
    }
    bytes += "\r\n";
    // Whoever could write a line end here would ask about two requests.
    let lines = bytes.matches('\n').count();
    let expected = 2 + question.fields.len() + usize::from(!has_host && place.host.is_some());
    let parsed = match lines == expected {
        true => h1::parse_request(Block::over(bytes.into_bytes()), place.listener.heads())
            .map_err(Failure::of_request),
        false => Err(Failure::with(Kind::RequestError, "a line end in a field")),
    };
    parsed.map_err(|failure| refused(&failure))
}

/// The fields as lines.
pub(super) fn lines(fields: &Block) -> Vec<String> {
    let line = |field| format!("{}: {}", text(fields.name(field)), shown(fields, field));
    fields.iter().map(line).collect()
}

/// The value of a field; of credentials only that they are there.
fn shown(fields: &Block, field: &message::Field) -> String {
    match field.id {
        FieldId::Authorization | FieldId::ProxyAuthorization => "…".to_owned(),
        _ => text(fields.value(field)),
    }
}

/// What a step makes of the fields: lines that go, and lines that come.
pub(super) fn change(before: &[String], after: &[String]) -> (Vec<String>, Vec<String>) {
    let left = |of: &[String], mut other: Vec<&String>| -> Vec<String> {
        let stays = |line: &&String| match other.iter().position(|known| known == line) {
            Some(at) => {
                other.swap_remove(at);
                false
            }
            None => true,
        };
        of.iter().filter(stays).cloned().collect()
    };
    (left(before, after.iter().collect()), left(after, before.iter().collect()))
}

/// One step in words: before → after.
pub(super) fn told(gone: &[String], come: &[String]) -> String {
    match (gone, come) {
        ([], []) => "nothing to do".to_owned(),
        ([], come) => format!("nothing → {}", come.join("; ")),
        (gone, []) => format!("{} → nothing", gone.join("; ")),
        (gone, come) => format!("{} → {}", gone.join("; "), come.join("; ")),
    }
}
