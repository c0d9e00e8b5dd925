//! Which resources are versions of one another, by their names.

/// Longer targets have none.
const MOST: usize = 512;
/// What names of files end with, that are built and deployed as versions.
const BUILT: [&str; 8] = ["js", "mjs", "cjs", "css", "wasm", "map", "svg", "json"];
/// Parameters that are nothing but a version.
const PARAMETERS: [&str; 8] = ["v", "ver", "version", "rev", "hash", "h", "build", "cb"];

/// The pattern that this target (`/path[?query]`) and its next version have in common, to be sent
/// as `match` of `Use-As-Dictionary`: the version in it is replaced by `*`.
///
/// `None`: nothing in it is a version for certain. A resource that is missed costs some bytes; a
/// pattern that says too much makes clients offer dictionaries that are of no use.
///
/// - `/app.3f9ac1d2.js`, `/jquery-3.7.1.min.js`: a hash or a number in the name of the file;
/// - `/v12/app.js`, `/3.7.1/app.css`, `/3f9ac1d2e5/app.js`: a directory;
/// - `/app.js?v=3`, `/app.js?3f9ac1d2`: the query, if it is nothing else.
#[must_use]
pub fn pattern_for(target: &str) -> Option<String> {
    // What has a meaning in a pattern would have to be escaped, and does not occur in such names.
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"*:{}()+\\\"#".contains(&byte);
    if target.len() > MOST || !target.starts_with('/') || !target.bytes().all(plain) {
        return None;
    }
    match target.split_once('?') {
        None => path(target),
        Some((file, query)) => {
            let (_, extension) = file.rsplit('/').next()?.rsplit_once('.')?;
            (BUILT.contains(&extension) && is_clean(file)).then_some(())?;
            // A version in the path as well is left to say itself: the query decides.
            Some(format!("{file}?{}*", parameter(query)?))
        }
    }
}

/// The part of a query that stays, if the rest is a version.
fn parameter(query: &str) -> Option<String> {
    match query.split_once('=') {
        Some((name, value)) if PARAMETERS.contains(&name) => {
            let version = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            (!value.is_empty() && value.bytes().all(version)).then(|| format!("{name}="))
        }
        None if is_hash(query) || is_number(query) => Some(String::new()),
        _ => None,
    }
}

/// Without empty segments and those that a client takes away.
fn is_clean(path: &str) -> bool {
    path[1..].split('/').all(|segment| !matches!(segment, "" | "." | ".."))
}

fn path(path: &str) -> Option<String> {
    if !is_clean(path) {
        return None;
    }
    let (folder, file) = path.rsplit_once('/')?;
    let (stem, extension) = file.rsplit_once('.')?;
    if stem.is_empty() || !BUILT.contains(&extension) {
        return None;
    }
    if let Some(stem) = name(stem) {
        // The directory is left as it is: with a version in the name, it seldom has another.
        return Some(format!("{folder}/{stem}.{extension}"));
    }
    // `/v1/` in front of JSON is an interface, and not a version of the data.
    if extension == "json" {
        return None;
    }
    let mut found = false;
    let folder: Vec<&str> = folder
        .split('/')
        .map(|segment| match directory(segment) {
            // One is enough.
            Some(replaced) if !found => {
                found = true;
                replaced
            }
            _ => segment,
        })
        .collect();
    found.then(|| format!("{}/{file}", folder.join("/")))
}

/// A directory that is a version, replaced.
fn directory(segment: &str) -> Option<&'static str> {
    match segment.strip_prefix('v') {
        Some(number) if is_number(number) => Some("v*"),
        _ if is_hash(segment) || (is_number(segment) && segment.contains('.')) => Some("*"),
        _ => None,
    }
}

/// The name of a file without its extension, its version replaced.
fn name(stem: &str) -> Option<String> {
    let separator = |byte: u8| b".-_@~".contains(&byte);
    // From the end: that is where versions stand. Something must be in front of them.
    let mut end = stem.len();
    while end > 0 {
        let from = stem[..end].bytes().rposition(separator)?;
        if from == 0 {
            return None;
        }
        let part = &stem[from + 1..end];
        if is_hash(part) {
            return Some(format!("{}*{}", &stem[..=from], &stem[end..]));
        }
        if let Some(start) = number_ending_at(stem, end) {
            return (start > 0).then(|| format!("{}*{}", &stem[..start], &stem[end..]));
        }
        end = from;
    }
    None
}

/// Where `1.2.3` begins, which ends here: behind a separator, or behind a `v` behind one. Numbers
/// without a dot are no versions (`chapter-2`).
fn number_ending_at(stem: &str, end: usize) -> Option<usize> {
    let digits = |byte: &u8| byte.is_ascii_digit() || *byte == b'.';
    let length = stem[..end].bytes().rev().take_while(digits).count();
    let mut start = end - length;
    // A dot in front belongs to what is before.
    start += stem[start..end].bytes().take_while(|byte| *byte == b'.').count();
    let number = &stem[start..end];
    if !is_number(number) || !number.contains('.') {
        return None;
    }
    let before = stem[..start].strip_suffix('v').unwrap_or(&stem[..start]);
    before.ends_with(['.', '-', '_', '@', '~']).then_some(start)
}

/// `1`, `1.2`, `1.2.3`: numbers of at most six digits.
fn is_number(text: &str) -> bool {
    text.split('.')
        .all(|part| matches!(part.len(), 1..=6) && part.bytes().all(|byte| byte.is_ascii_digit()))
}

/// What nobody writes by hand: hexadecimal digits, six or more and both kinds of them; or letters
/// of both cases and digits, eight or more.
fn is_hash(text: &str) -> bool {
    let has = |test: fn(&u8) -> bool| text.bytes().any(|byte| test(&byte));
    let all = |test: fn(&u8) -> bool| text.bytes().all(|byte| test(&byte));
    let hex = text.len() >= 6 && all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let mixed = text.len() >= 8 && all(u8::is_ascii_alphanumeric);
    has(u8::is_ascii_digit)
        && ((hex && has(u8::is_ascii_lowercase))
            || (mixed && has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dictionary::Pattern;

    #[test]
    fn versions_are_found() {
        for (target, pattern) in [
            ("/app.a1b2c3.js", "/app.*.js"),
            ("/assets/index-DkX9aB2q.css", "/assets/index-*.css"),
            ("/static/js/main.8d3f2b1c.chunk.js", "/static/js/main.*.chunk.js"),
            ("/static/js/main.8d3f2b1c.js.map", "/static/js/main.*.js.map"),
            ("/lib/jquery-3.7.1.min.js", "/lib/jquery-*.min.js"),
            ("/lib/app-v2.0.js", "/lib/app-v*.js"),
            ("/lib/app@1.2.3.js", "/lib/app@*.js"),
            ("/lib/app.1.2.3.js", "/lib/app.*.js"),
            ("/v12/app.js", "/v*/app.js"),
            ("/v1.2.3/css/app.css", "/v*/css/app.css"),
            ("/lib/3.7.1/app.js", "/lib/*/app.js"),
            ("/b/3f9ac1d2e5/app.wasm", "/b/*/app.wasm"),
            ("/app.js?v=3", "/app.js?v=*"),
            ("/app.js?ver=6.4.2-a", "/app.js?ver=*"),
            ("/app.js?3f9ac1d2", "/app.js?*"),
            ("/app.js?17", "/app.js?*"),
            ("/data.3f9ac1d2.json", "/data.*.json"),
        ] {
            assert_eq!(pattern_for(target).as_deref(), Some(pattern), "{target}");
        }
    }

    #[test]
    fn what_is_none_for_certain_is_left() {
        for target in [
            "",
            "/",
            "app.a1b2c3.js",
            "/app.js",
            "/index.html",
            "/chapter-2.js",
            "/img/photo-3f9ac1d2.jpg",
            "/decade.js",
            "/a-facade.js",
            "/app-effaced.css",
            "/api/v1/users.json",
            "/v1/users",
            "/2024/app.js",
            "/app.js?v=",
            "/app.js?v=3&user=5",
            "/app.js?user=5",
            "/app.js?v=a%20b",
            "/page?v=3",
            "/a*/app.a1b2c3.js",
            "/(a)/app.a1b2c3.js",
            "//evil.test/app.a1b2c3.js",
            "/../app.a1b2c3.js",
            "/.a1b2c3.js",
            "/a1b2c3.js",
            "/app.js?v=3?x",
        ] {
            assert_eq!(pattern_for(target), None, "{target}");
        }
        assert_eq!(pattern_for(&format!("/{}/app.a1b2c3.js", "x".repeat(600))), None);
    }

    proptest! {
        /// A pattern is understood, and fits the resource that it was made of.
        #[test]
        fn a_pattern_fits_its_own(target in "/[a-f0-9A-Zv./@~?=_-]{0,30}(\\.|-)[a-f0-9.]{4,9}\\.(js|css|json)(\\?v=[0-9]{1,4})?") {
            if let Some(text) = pattern_for(&target) {
                let pattern = Pattern::parse(&text, "https://a.test", "/other/").expect(&text);
                prop_assert!(pattern.fits(target.as_bytes()), "{} {}", text, target);
                prop_assert!(text.contains('*'));
            }
        }
    }
}
