//! What is fetched or searched with: lists, URLs of the web, regular expressions.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::fault::Fault;
use crate::model::ListSource;
use crate::servers::RequestUrl;
use crate::syntax::quote;

/// How often a list is fetched where nothing is said.
const EVERY: Duration = Duration::from_secs(3600);

/// The path of a file, relative to `base`, or an `http` or `https` URL.
pub(crate) fn list(text: &str, base: &Path) -> Result<ListSource, Fault> {
    if !text.contains("://") {
        return file(text, base).map(ListSource::File);
    }
    web_url(text)?;
    Ok(ListSource::Url { url: text.to_owned(), every: EVERY })
}

/// The path of a file, relative to `base`.
pub(crate) fn file(text: &str, base: &Path) -> Result<PathBuf, Fault> {
    if text.contains('\0') {
        return Err(Fault::new("a path with a NUL in it"));
    }
    Ok(base.join(text))
}

/// `http://host[:port]/path?query`, or `https`.
pub(crate) fn web_url(text: &str) -> Result<(), Fault> {
    let scheme = text.split("://").next().unwrap_or("").to_ascii_lowercase();
    if text.contains("://") && !matches!(scheme.as_str(), "http" | "https") {
        return Err(Fault::new(format!("the scheme {} is not known here", quote(&scheme)))
            .label("neither `http` nor `https`")
            .help("write a URL such as \"https://lists.example/ads.txt\""));
    }
    let authority = text.split("://").nth(1).unwrap_or("").split(['/', '?', '#']).next();
    if authority.is_some_and(|authority| authority.contains('@')) {
        return Err(Fault::new("a URL with a user name in it").label("`@` is not taken").help(
            "leave it out; where what is fetched must be secret, put a token into the path or \
             the query",
        ));
    }
    RequestUrl::parse(text).map(|_| ())
}

/// A regular expression of the `regex` crate, which takes time linear in what it searches.
pub(crate) fn regex(text: &str) -> Result<(), Fault> {
    let Err(error) = regex::Regex::new(text) else { return Ok(()) };
    // The library draws a picture of several lines; its last one says what is wrong.
    let error = error.to_string();
    let what = error.lines().last().unwrap_or_default();
    Err(Fault::new(format!("{} is not a regular expression", quote(text)))
        .label(what.trim_start_matches("error: ").to_owned())
        .help("look at the syntax of the Rust crate `regex`: there is no look-around and there are no back-references"))
}

/// `/dns-query`, `video/*`: a media type, or all of a kind. In lower case.
pub(crate) fn media_range(text: &str) -> Result<String, Fault> {
    let concrete = match text.strip_suffix("/*") {
        Some(kind) => format!("{kind}/x"),
        None => text.to_owned(),
    };
    if text.contains(';') {
        return Err(Fault::new("a media type with parameters")
            .label("only types are compared")
            .help(format!("write {}", quote(text.split(';').next().unwrap_or("").trim()))));
    }
    if concrete.contains('*') {
        return Err(Fault::new(format!("{} is not a media type", quote(text)))
            .help("`*` stands for all subtypes only: \"video/*\""));
    }
    crate::fields::media_type(&concrete)?;
    Ok(text.to_ascii_lowercase())
}

/// `text/html`, `text/*`, `*/*+json`: a media type, or a pattern for such types. In lower case.
pub(crate) fn type_pattern(text: &str) -> Result<String, Fault> {
    let suffix = text.rsplit_once("*+").filter(|(kind, _)| kind.ends_with('/'));
    let (kind, suffix) = match suffix {
        Some((kind, suffix)) => (kind.trim_end_matches('/'), suffix),
        None => match text.strip_suffix("/*") {
            Some(kind) => (kind, "x"),
            None => (text, ""),
        },
    };
    let kind = if kind == "*" { "x" } else { kind };
    let concrete = match suffix {
        "" => kind.to_owned(),
        _ => format!("{kind}/{suffix}"),
    };
    match media_range(&concrete) {
        Ok(_) if !text.ends_with('+') => Ok(text.to_ascii_lowercase()),
        _ => Err(Fault::new(format!("{} is not a pattern for media types", quote(text)))
            .help("write \"text/html\", \"text/*\", or \"*/*+json\" for all with this suffix")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        let base = Path::new("/etc/bifrons");
        assert_eq!(list("a.txt", base), Ok(ListSource::File("/etc/bifrons/a.txt".into())));
        let url = "https://lists.example/ads.txt?token=x".to_owned();
        assert_eq!(list(&url, base), Ok(ListSource::Url { url: url.clone(), every: EVERY }));
        for text in
            ["ftp://a/b", "http://u@a/b", "https://", "http://a:0/", "h2://a/", "http://a/#x"]
        {
            assert!(list(text, base).is_err(), "{text}");
        }
        assert!(web_url("a.txt").is_err());
    }

    #[test]
    fn expressions_and_types() {
        assert!(regex("^ads[0-9]+\\.").is_ok());
        for text in ["(", "a{99999999}", "(?=x)", "\\1"] {
            assert!(regex(text).is_err(), "{text}");
        }
        assert_eq!(media_range("Video/*").as_deref(), Ok("video/*"));
        assert_eq!(media_range("text/html").as_deref(), Ok("text/html"));
        for text in ["text/html", "text/*", "*/*", "*/*+json", "application/*+xml"] {
            assert_eq!(type_pattern(text).as_deref(), Ok(text));
        }
        for text in ["*", "*/json", "te*t/html", "*/*+", "*/*+a/b", "text/x*", "text/html;q=1"] {
            assert!(type_pattern(text).is_err(), "{text}");
        }
        for text in ["*/*", "video", "video/", "/x", "text/*l", "text/html; q=1"] {
            assert!(media_range(text).is_err(), "{text}");
        }
    }
}
