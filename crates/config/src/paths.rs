//! Path patterns and templates. Patterns are compared with the canonical path of a request,
//! so only a canonical spelling can ever match; any other is refused with the right one.

use crate::fault::Fault;
use crate::model::{PathPattern, PathTemplate};
use crate::syntax::quote;

/// `/status`, `/api/*` or `*`.
pub(crate) fn pattern(text: &str) -> Result<PathPattern, Fault> {
    if matches!(text, "*" | "/*") {
        return Ok(PathPattern::Prefix(String::new()));
    }
    let (path, rest) = split_star(text)?;
    if !rest {
        plain(path)?;
        return Ok(PathPattern::Exact(path.to_owned()));
    }
    let path = path.strip_suffix('/').unwrap_or(path);
    check(path, canonical(path).trim_end_matches('/'), "/*")?;
    Ok(PathPattern::Prefix(path.to_owned()))
}

/// `/api`, to be taken off.
pub(crate) fn prefix(text: &str) -> Result<String, Fault> {
    let path = text.strip_suffix("/*").or_else(|| text.strip_suffix('/')).unwrap_or(text);
    if path.is_empty() {
        return Err(Fault::new("this takes nothing off").help("leave `strip-prefix` out"));
    }
    plain(path)?;
    if path.len() < text.len() {
        return Err(Fault::new("a prefix ends with its last segment")
            .label(format!("`{}` is too much", &text[path.len()..]))
            .help(format!("write {}", quote(path))));
    }
    Ok(path.to_owned())
}

/// `/v2/*`, in place of the path.
pub(crate) fn template(text: &str) -> Result<PathTemplate, Fault> {
    let (path, rest) = split_star(if text == "*" { "/*" } else { text })?;
    check(path, &canonical(path), if rest { "*" } else { "" })?;
    Ok(PathTemplate { text: path.to_owned(), rest })
}

/// Where a redirect leads: a path, or an absolute URL.
pub(crate) fn location(text: &str) -> Result<PathTemplate, Fault> {
    if text.starts_with("//") {
        return Err(Fault::new("a redirect to another host without its scheme")
            .help(format!("write \"https:{text}\", or one slash for a path")));
    }
    let absolute = ["http://", "https://"].iter().any(|scheme| {
        text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    });
    if !text.starts_with('/') && !absolute {
        return Err(Fault::new(format!("`{text}` is neither a path nor a URL"))
            .help("write a path that begins with `/`, or a URL that begins with `https://`"));
    }
    if let Some(bad) = text.chars().find(|char| !is_uri(*char)) {
        return Err(Fault::new(format!("{bad:?} cannot stand in a URL"))
            .help(format!("write {}", quote(&encoded(text, is_uri)))));
    }
    if absolute
        && text
            .split_once("://")
            .is_none_or(|(_, host)| host.is_empty() || host.starts_with(['/', '?', '#']))
    {
        return Err(Fault::new(format!("`{text}` has no host")));
    }
    let (path, rest) = split_star(text)?;
    if rest && path.contains(['?', '#']) {
        return Err(Fault::new("a `*` behind a query")
            .label("stands for a path")
            .help("a query that the request has is kept: end the path with `/*`"));
    }
    Ok(PathTemplate { text: path.to_owned(), rest })
}

/// Path and query of a request that we make ourselves (RFC 9112 §3.2.1); sent as written.
pub(crate) fn target(text: &str) -> Result<(), Fault> {
    if !text.starts_with('/') {
        return Err(Fault::new(format!("the path `{text}` does not begin with `/`"))
            .help(format!("write {}", quote(&format!("/{text}")))));
    }
    if let Some(at) = text.find('#') {
        return Err(Fault::new("a fragment in a request")
            .label("is never sent")
            .help(format!("write {}", quote(&text[..at]))));
    }
    let stays = |char| is_path(char) || char == '?';
    if let Some(bad) = text.chars().find(|char| !stays(*char)) {
        return Err(Fault::new(format!("{bad:?} cannot stand in a path"))
            .help(format!("write {}", quote(&encoded(text, stays)))));
    }
    let escapes = text.split('%').skip(1);
    let broken = |rest: &str| {
        !rest.get(..2).is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    if escapes.into_iter().any(broken) {
        return Err(Fault::new("a `%` without two digits behind it")
            .help("a `%` itself is written as \"%25\""));
    }
    Ok(())
}

/// Takes the final `*` off, behind `/` and nowhere else.
fn split_star(text: &str) -> Result<(&str, bool), Fault> {
    let (path, rest) = match text.strip_suffix('*') {
        Some(path) if path.ends_with('/') => (path, true),
        _ => (text, false),
    };
    match path.find('*') {
        None => Ok((path, rest)),
        Some(at) => {
            let before = path[..at].trim_end_matches('/');
            Err(Fault::new("`*` stands only at the end of a path, behind `/`")
                .label("takes whole segments")
                .help(format!("write {}", quote(&format!("{before}/*")))))
        }
    }
}

/// Checks that a path is in canonical form.
pub(crate) fn plain(path: &str) -> Result<(), Fault> {
    check(path, &canonical(path), "")
}

/// Compares a path with its canonical form; `star` is what was written behind it.
fn check(path: &str, canonical: &str, star: &str) -> Result<(), Fault> {
    if !path.starts_with('/') {
        let word = path.split("://").last().unwrap_or(path);
        return Err(Fault::new(format!("the path `{path}` does not begin with `/`"))
            .help(format!("write {}", quote(&format!("/{word}{star}")))));
    }
    if let Some(at) = path.find(['?', '#']) {
        return Err(Fault::new("a path without query and fragment belongs here")
            .label(format!("`{}` is too much", &path[at..]))
            .help(format!("write {}", quote(&path[..at]))));
    }
    if let Some(what) = ambiguous(path) {
        return Err(Fault::new(format!("{what} in a path is read in two ways"))
            .label("origins do not agree on it")
            .help("such requests are matched by the path before it: leave it and the rest out"));
    }
    if canonical != path {
        return Err(Fault::new(format!("the path `{path}{star}` is not in canonical form"))
            .label("no request is ever compared with this spelling")
            .help(format!("write {}", quote(&format!("{canonical}{star}")))));
    }
    Ok(())
}

/// Characters that some origins decode, drop or take for a slash.
fn ambiguous(path: &str) -> Option<&'static str> {
    let upper = path.to_ascii_uppercase();
    [
        (";", "`;`"),
        ("%3B", "an encoded `;`"),
        ("%2F", "an encoded `/`"),
        ("%5C", "an encoded `\\`"),
        ("%00", "an encoded NUL"),
    ]
    .into_iter()
    .find_map(|(found, what)| upper.contains(found).then_some(what))
}

/// RFC 3986 §6.2.2: escapes of unreserved characters decoded, others in upper case, what must
/// be escaped escaped; and dot segments resolved, slashes single.
fn canonical(path: &str) -> String {
    let decoded = encoded(&unescaped(&path.replace('\\', "/")), is_path);
    let mut segments: Vec<&str> = Vec::new();
    let directory = decoded.ends_with(['/']) || decoded.ends_with("/.") || decoded.ends_with("/..");
    for segment in decoded.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            _ => segments.push(segment),
        }
    }
    let slash = if directory && !segments.is_empty() { "/" } else { "" };
    format!("/{}{slash}", segments.join("/"))
}

/// Decodes escapes of unreserved characters and gives the others upper-case digits; a `%`
/// without digits becomes `%25`.
fn unescaped(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let digits = rest
            .get(at + 1..at + 3)
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let Some(digits) = digits else {
            out.push_str("%25");
            rest = &rest[at + 1..];
            continue;
        };
        match u8::from_str_radix(digits, 16).map(char::from) {
            Ok(char) if is_unreserved(char) => out.push(char),
            _ => out.push_str(&format!("%{}", digits.to_ascii_uppercase())),
        }
        rest = &rest[at + 3..];
    }
    out.push_str(rest);
    out
}

fn encoded(text: &str, stays: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut buffer = [0; 4];
    for char in text.chars() {
        if stays(char) {
            out.push(char);
        } else {
            for byte in char.encode_utf8(&mut buffer).bytes() {
                out.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    out
}

fn is_unreserved(char: char) -> bool {
    char.is_ascii_alphanumeric() || "-._~".contains(char)
}

/// `pchar` (RFC 3986 §3.3), slash, and the `%` of escapes.
fn is_path(char: char) -> bool {
    is_unreserved(char) || "!$&'()*+,;=:@/%".contains(char)
}

fn is_uri(char: char) -> bool {
    is_path(char) || "?#[]".contains(char)
}

#[cfg(test)]
mod tests;
