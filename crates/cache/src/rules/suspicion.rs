//! Answers that somebody may have made to be stored for others: deception (a private page under
//! a name that looks like a file) and poisoning (what one client sent comes back to all).

use memchr::memmem;
use message::{Block, FieldId};

use crate::Vary;

/// Whether the path of a request looks like that of a file of some kind, and what came with
/// success is a page: what is behind it may be private, and somebody may have been led to it so
/// that it would be stored. The path is that of the target as received.
#[must_use]
pub fn deceives(path: &[u8], status: u16, content_type: Option<&[u8]>) -> bool {
    (200..300).contains(&status) && content_type.is_none_or(is_page) && looks_like_file(path)
}

fn is_page(content_type: &[u8]) -> bool {
    let end = memchr::memchr(b';', content_type).unwrap_or(content_type.len());
    let kind = content_type[..end].trim_ascii().to_ascii_lowercase();
    PAGES.contains(&&kind[..]) || kind.ends_with(b"+json")
}

/// By its own end, or by what stands before something that an origin may take for the end.
fn looks_like_file(path: &[u8]) -> bool {
    let lower = path.to_ascii_lowercase();
    let mut rest = &lower[..];
    loop {
        if has_file_suffix(rest) {
            return true;
        }
        let cut = DELIMITERS.iter().filter_map(|end| memmem::rfind(rest, end)).max();
        match cut {
            Some(at) => rest = &rest[..at],
            None => return false,
        }
    }
}

fn has_file_suffix(path: &[u8]) -> bool {
    let from = path.len().saturating_sub(8);
    memchr::memrchr(b'.', &path[from..])
        .is_some_and(|dot| SUFFIXES.contains(&&path[from + dot + 1..]))
}

const PAGES: [&[u8]; 6] = [
    b"",
    b"text/html",
    b"application/xhtml+xml",
    b"application/json",
    b"text/json",
    b"text/event-stream",
];

const DELIMITERS: [&[u8]; 9] =
    [b";", b"%00", b"%0a", b"%0d", b"%09", b"%23", b"%3b", b"%3f", b"\\"];

const SUFFIXES: [&[u8]; 48] = [
    b"7z", b"avi", b"avif", b"bmp", b"br", b"bz2", b"class", b"css", b"csv", b"doc", b"docx",
    b"ejs", b"eot", b"eps", b"exe", b"flac", b"gif", b"gz", b"ico", b"iso", b"jar", b"jpeg",
    b"jpg", b"js", b"map", b"mid", b"midi", b"mjs", b"mkv", b"mp3", b"mp4", b"ogg", b"otf", b"pdf",
    b"png", b"svg", b"swf", b"tif", b"tiff", b"ttf", b"txt", b"wasm", b"wav", b"webm", b"webp",
    b"woff", b"woff2", b"zip",
];

/// Looks in an answer for what the request said in fields that are not in the key.
#[derive(Debug, Default)]
pub struct Reflections {
    needles: Vec<Needle>,
    /// The end of what was seen, as long as a needle may begin in it.
    tail: Vec<u8>,
    seen: usize,
    found: bool,
}

#[derive(Debug)]
struct Needle {
    text: Vec<u8>,
    /// Many programs repeat it in a field, for the log.
    only_in_body: bool,
}

/// What is shorter is found by chance.
const SHORTEST: usize = 8;
const SHORTEST_COOKIE: usize = 12;
const LONGEST: usize = 256;
const MOST_NEEDLES: usize = 24;
/// How much of a body is looked through.
const MOST_SEEN: usize = 64 << 10;

impl Reflections {
    /// Looks for what these fields say, but for those that select the answer (`vary`) and those
    /// of `keyed`, names in lower case.
    #[must_use]
    pub fn of(request: &Block, vary: &Vary, keyed: &[Box<str>]) -> Self {
        let host = request.get(FieldId::Host).unwrap_or_default();
        let mut all = Self::default();
        for field in request.iter() {
            let (name, value) = (request.name(field), request.value(field));
            let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
            let selects = vary.fields.iter().any(|(known, _)| is(known));
            if selects || keyed.iter().any(|known| is(known)) || is_harmless(field.id, name) {
                continue;
            }
            if field.id == FieldId::Cookie {
                all.add_cookies(value);
            } else if matches!(field.id, FieldId::UserAgent | FieldId::Authorization) {
                all.add(value, SHORTEST, false);
            } else if !is_of(value, host) {
                all.add(core(value), SHORTEST, ECHOED.iter().any(|known| is(known)));
            }
        }
        all
    }

    fn add(&mut self, text: &[u8], shortest: usize, only_in_body: bool) {
        if text.len() >= shortest && self.needles.len() < MOST_NEEDLES {
            let text = text[..text.len().min(LONGEST)].to_vec();
            self.needles.push(Needle { text, only_in_body });
        }
    }

    fn add_cookies(&mut self, value: &[u8]) {
        for cookie in value.split(|&byte| byte == b';') {
            let from = memchr::memchr(b'=', cookie).map_or(0, |at| at + 1);
            self.add(cookie[from..].trim_ascii(), SHORTEST_COOKIE, false);
        }
    }

    /// Looks at the fields of the answer.
    pub fn see_fields(&mut self, fields: &Block) {
        self.found |= fields.iter().any(|field| {
            let value = fields.value(field);
            let there = |needle: &Needle| memmem::find(value, &needle.text).is_some();
            self.needles.iter().any(|needle| !needle.only_in_body && there(needle))
        });
    }

    /// Whether the body is worth to be looked at: it is text, and there is something to look for.
    #[must_use]
    pub fn wants_body(&self, content_type: Option<&[u8]>) -> bool {
        !self.needles.is_empty() && !self.found && content_type.is_none_or(is_text)
    }

    /// Looks at the next bytes of the body. False: it has seen enough.
    pub fn see(&mut self, bytes: &[u8]) -> bool {
        if self.found || self.seen >= MOST_SEEN {
            return false;
        }
        let bytes = &bytes[..bytes.len().min(MOST_SEEN - self.seen)];
        self.seen += bytes.len();
        let longest = self.needles.iter().map(|needle| needle.text.len()).max().unwrap_or(0);
        // What begins in the tail ends within `longest` bytes of what came now.
        let begun = self.tail.len();
        self.tail.extend_from_slice(&bytes[..bytes.len().min(longest)]);
        let (seam, text) = (&self.tail[..], bytes);
        self.found = self.needles.iter().any(|needle| {
            (begun > 0 && memmem::find(seam, &needle.text).is_some())
                || memmem::find(text, &needle.text).is_some()
        });
        if bytes.len() >= longest {
            self.tail.clear();
            self.tail.extend_from_slice(&bytes[bytes.len() - longest.saturating_sub(1)..]);
        } else {
            let excess = self.tail.len().saturating_sub(longest.saturating_sub(1));
            self.tail.drain(..excess);
        }
        !self.found && self.seen < MOST_SEEN
    }

    /// Whether something was found.
    #[must_use]
    pub fn found(&self) -> bool {
        self.found
    }
}

/// What has a meaning of its own in answers, or comes from a small set of values.
fn is_harmless(id: FieldId, name: &[u8]) -> bool {
    const STARTS: [&[u8]; 5] = [b"accept", b"sec-", b"if-", b"content-", b"access-control-"];
    const NAMES: [&[u8]; 8] = [
        b"priority",
        b"dnt",
        b"upgrade-insecure-requests",
        b"x-requested-with",
        b"early-data",
        b"dictionary-id",
        b"available-dictionary",
        b"save-data",
    ];
    matches!(
        id,
        FieldId::Host
            | FieldId::CacheControl
            | FieldId::Pragma
            | FieldId::Range
            | FieldId::Connection
            | FieldId::Te
            | FieldId::TransferEncoding
            | FieldId::Via
            | FieldId::Expect
            | FieldId::MaxForwards
    ) || STARTS
        .iter()
        .any(|start| name.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start)))
        || NAMES.iter().any(|known| name.eq_ignore_ascii_case(known))
}

const ECHOED: [&str; 8] = [
    "x-request-id",
    "x-correlation-id",
    "x-amzn-trace-id",
    "traceparent",
    "tracestate",
    "x-b3-traceid",
    "b3",
    "x-cloud-trace-context",
];

/// Whether a value is the host that was asked, or a URL there: pages name their own host.
fn is_of(value: &[u8], host: &[u8]) -> bool {
    let after = memmem::find(value, b"://").map_or(value, |at| &value[at + 3..]);
    let end = memchr::memchr(b'/', after).unwrap_or(after.len());
    let name = |text: &[u8]| {
        text[..memchr::memrchr(b':', text).unwrap_or(text.len())].to_ascii_lowercase()
    };
    !host.is_empty() && name(&after[..end]) == name(host)
}

/// Of a value in one piece (a host, a path, an identifier), the longest run that no escaping
/// changes, if it is long enough; else the value. Words of a sentence are found by chance.
fn core(value: &[u8]) -> &[u8] {
    if value.iter().any(u8::is_ascii_whitespace) {
        return value;
    }
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    let longest = value.split(|byte| !plain(byte)).max_by_key(|run| run.len()).unwrap_or_default();
    if longest.len() >= SHORTEST { longest } else { value }
}

fn is_text(content_type: &[u8]) -> bool {
    let lower = content_type.to_ascii_lowercase();
    lower.starts_with(b"text/")
        || [&b"json"[..], b"xml", b"javascript"]
            .iter()
            .any(|kind| memmem::find(&lower, kind).is_some())
}
