//! Names and values of fields, methods, and what else has a grammar of its own in HTTP.

use crate::fault::Fault;
use crate::servers::{ServerUrl, Traffic};
use crate::syntax::quote;

/// `tchar` (RFC 9110 §5.6.2).
fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn token(text: &str, what: &str) -> Result<(), Fault> {
    match text.chars().find(|char| !char.is_ascii() || !is_tchar(*char as u8)) {
        None => Ok(()),
        Some(':') if text.ends_with(':') => Err(Fault::new(format!("`{text}` is not {what}"))
            .label("`:` does not belong to it")
            .help(format!("write {}", quote(text.trim_end_matches(':'))))),
        Some(char) => Err(Fault::new(format!("{} is not {what}", quote(text)))
            .label(format!("{char:?} cannot stand in one"))
            .help("letters, digits and `-` are always right")),
    }
}

/// The name of a field (RFC 9110 §5.1).
pub(crate) fn name(text: &str) -> Result<(), Fault> {
    if text.ends_with('*') {
        return Err(Fault::new("a prefix cannot be set")
            .label("`*` stands for many names")
            .help("only `remove` takes a prefix"));
    }
    token(text, "a field name")
}

/// The name of a field, or a prefix followed by `*`.
pub(crate) fn pattern(text: &str) -> Result<(), Fault> {
    let name = text.strip_suffix('*').unwrap_or(text);
    if name.is_empty() {
        return Err(Fault::new("this would remove every field")
            .label("a prefix is missing")
            .help("name the fields, or write a prefix before the `*`: \"X-Debug-*\""));
    }
    if name.contains('*') {
        return Err(Fault::new("`*` stands only at the end of a name"));
    }
    token(name, "a field name")
}

/// The value of a field (RFC 9110 §5.5).
pub(crate) fn value(text: &str) -> Result<(), Fault> {
    if let Some(bad) = text.chars().find(|char| char.is_ascii_control() && *char != '\t') {
        return Err(Fault::new(format!("{bad:?} cannot stand in a field value"))
            .label("would break the message apart")
            .help("write the value on one line, without control characters"));
    }
    if text.trim_matches([' ', '\t']) != text {
        return Err(Fault::new("a field value with white space around it")
            .label("would not arrive")
            .help(format!("write {}", quote(text.trim_matches([' ', '\t'])))));
    }
    Ok(())
}

/// `type/subtype` and perhaps parameters (RFC 9110 §8.3.1).
pub(crate) fn media_type(text: &str) -> Result<(), Fault> {
    value(text)?;
    let kind = text.split(';').next().unwrap_or(text).trim_end();
    let known = kind.split_once('/').is_some_and(|(kind, subtype)| {
        !kind.is_empty()
            && !subtype.is_empty()
            && token(kind, "a type").is_ok()
            && token(subtype, "a type").is_ok()
    });
    if known {
        return Ok(());
    }
    Err(Fault::new(format!("{} is not a media type", quote(text)))
        .help("write a type and a subtype: \"text/html; charset=utf-8\", \"application/json\""))
}

/// A method (RFC 9110 §9.1), in upper case as all registered ones are.
pub(crate) fn method(text: &str) -> Result<String, Fault> {
    token(text, "a method")?;
    if text.bytes().any(|byte| byte.is_ascii_lowercase()) {
        return Err(Fault::new(format!("the method `{text}` is not in upper case"))
            .label("methods are compared letter by letter")
            .help(format!("write {}", quote(&text.to_ascii_uppercase()))));
    }
    if text == "CONNECT" {
        return Err(Fault::new("a site does not take CONNECT")
            .label("opens tunnels")
            .help("tunnels belong to `forward`"));
    }
    Ok(text.to_owned())
}

/// The name of a cookie (RFC 6265 §4.1.1).
pub(crate) fn cookie_name(text: &str) -> Result<(), Fault> {
    token(text, "the name of a cookie")
}

/// What something that must not be guessed is derived from.
pub(crate) fn secret(text: &str) -> Result<(), Fault> {
    const SHORTEST: usize = 16;
    match text.chars().count() {
        SHORTEST.. => Ok(()),
        length => Err(Fault::new("a secret that is too short")
            .label(format!("{length} characters; at least {SHORTEST} are needed"))
            .help("make one with `openssl rand -base64 24`")),
    }
}

/// `uri-host [":" port]` (RFC 9110 §7.2), told by the reader of server URLs.
pub(crate) fn authority(text: &str) -> Result<(), Fault> {
    let host = !text.contains(['/', '?', '#', '@'])
        && ServerUrl::parse(&format!("http://{text}"), Traffic::Requests).is_ok();
    match host {
        true => Ok(()),
        false => Err(Fault::new(format!("{} is not a host", quote(text)))
            .label("goes into `Host`")
            .help("write a name or an address, perhaps with `:PORT`")),
    }
}

/// What stands for our name in `Via`: a token (RFC 9110 §7.6.3).
pub(crate) fn pseudonym(text: &str) -> Result<(), Fault> {
    token(text, "a pseudonym")
}

/// RFC 7617 §2: no colon, no control characters. 255 bytes is what SOCKS5 can carry
/// (RFC 1929 §2).
pub(crate) fn user_name(text: &str) -> Result<(), Fault> {
    if text.contains(':') {
        return Err(Fault::new("a user name with a colon in it")
            .label("clients end the name at the colon")
            .help("choose a name without one"));
    }
    if text.chars().any(char::is_control) {
        return Err(Fault::new("a user name with a control character in it"));
    }
    if text.len() > 255 {
        return Err(
            Fault::new("a user name of more than 255 bytes").label("SOCKS5 cannot carry it")
        );
    }
    Ok(())
}

/// Whether it is a hash at all; whether it is a good one is found when users are built.
pub(crate) fn password_hash(text: &str) -> Result<(), Fault> {
    let known = ["$argon2id$", "$argon2i$", "$2y$", "$2b$", "$2a$"];
    if known.iter().any(|start| text.starts_with(start)) {
        return Ok(());
    }
    Err(Fault::new("not a password hash that is known")
        .label("neither Argon2 (`$argon2id$…`) nor bcrypt (`$2y$…`)")
        .help("make one with `htpasswd -nB NAME`; a password as it is stands in `password=`"))
}

/// The shortest API key: whoever has it needs no password.
const SHORTEST_KEY: usize = 16;

/// A key as it is (`token68`, RFC 9110 §11.2, since it is shown as a bearer token), or
/// `sha256:` and its digest.
pub(crate) fn api_key(text: &str) -> Result<(), Fault> {
    if let Some(digest) = text.strip_prefix("sha256:") {
        let hex = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
        return match hex {
            true => Ok(()),
            false => Err(Fault::new("not the digest of a key")
                .label("not 64 hexadecimal digits behind `sha256:`")
                .help("make it with `printf %s KEY | sha256sum`")),
        };
    }
    if !is_token68(text) {
        return Err(Fault::new("not an API key")
            .label("has characters that a bearer token cannot have")
            .help("use letters, digits and `-._~+/`, such as `openssl rand -hex 20` makes"));
    }
    if text.len() < SHORTEST_KEY {
        return Err(Fault::new("an API key that can be guessed")
            .label(format!("shorter than {SHORTEST_KEY} characters"))
            .help("make one with `openssl rand -hex 20`"));
    }
    Ok(())
}

/// The shortest token of a `PURGE`: what can be done with it is undone by asking the origin.
const SHORTEST_PURGE_TOKEN: usize = 8;

/// A token as it is shown (`token68`, RFC 9110 §11.2).
pub(crate) fn purge_token(text: &str) -> Result<(), Fault> {
    if !is_token68(text) {
        return Err(Fault::new("not a token")
            .label("has characters that a bearer token cannot have")
            .help("use letters, digits and `-._~+/`, such as `openssl rand -hex 20` makes"));
    }
    if text.len() < SHORTEST_PURGE_TOKEN {
        return Err(Fault::new("a token that can be guessed")
            .label(format!("shorter than {SHORTEST_PURGE_TOKEN} characters"))
            .help("make one with `openssl rand -hex 20`"));
    }
    Ok(())
}

fn is_token68(text: &str) -> bool {
    let bare = text.trim_end_matches('=');
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
    !bare.is_empty() && bare.bytes().all(known)
}

/// `HOST:PORT`, as browsers are told of a proxy.
pub(crate) fn host_port(text: &str) -> Result<(), Fault> {
    authority(text)?;
    let port = text.rsplit_once(':').map_or("", |(_, port)| port);
    match !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) {
        true => Ok(()),
        false => Err(Fault::new(format!("{} has no port", quote(text)))
            .label("the port is missing")
            .help(format!("write {}", quote(&format!("{text}:3128"))))),
    }
}
