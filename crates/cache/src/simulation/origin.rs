//! An origin with a few resources, which says anything of them.

use std::ops::Range;

use message::Method;

use super::said::value;
use crate::Time;
use crate::rules::http_date;

/// Names and values.
pub type Fields = Vec<(String, String)>;

/// What an origin says of a resource. Times are seconds from when it answers.
#[derive(Debug, Clone)]
pub struct Says {
    pub status: u16,
    pub cache_control: Vec<&'static str>,
    pub expires: Option<i64>,
    pub date: Option<i64>,
    pub age: Option<u64>,
    pub dated: bool,
    pub tag: Tag,
    pub vary: &'static str,
    pub cookie: bool,
    /// It answers requests for a range with one; whether it says of how many bytes.
    pub ranges: Option<bool>,
    /// It says how long bodies are where it sends none.
    pub counts: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    Strong,
    Weak,
    None,
}

/// A body: a line again and again, numbered, so that no two bytes of it are at home in two places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    pub line: String,
    pub length: u64,
}

/// What the origin answers.
#[derive(Debug, Clone)]
pub struct Answered {
    pub status: u16,
    pub fields: Fields,
    /// What the resource is now, whatever is said of it.
    pub text: Text,
    /// The bytes of it that are sent.
    pub sent: Range<u64>,
}

pub const START: i64 = 1_656_842_400_000;

impl Text {
    pub fn all(&self) -> Range<u64> {
        0..self.length
    }

    pub fn bytes(&self, range: Range<u64>) -> Vec<u8> {
        let one = self.line.len() as u64 + 8;
        let lines =
            (range.start / one..=range.end / one).map(|n| format!("{} {n:06}\n", self.line));
        let skipped = usize::try_from(range.start % one).expect("lines are short");
        let bytes = lines.collect::<String>().into_bytes().into_iter().skip(skipped);
        bytes.take(usize::try_from(range.end - range.start).expect("bodies are short")).collect()
    }
}

/// What it says to a request. `serial` is in the answer, and in no other.
pub fn answer(
    resource: (&'static str, &Says, u32),
    method: Method,
    request: &Fields,
    serial: u64,
    now: i64,
) -> Answered {
    let (_, says, version) = resource;
    let variant = Variant::of(says, request);
    let text = text(resource, &variant);
    let tag = tag(says, &text);
    let modified = says.dated.then(|| modified(says, version, &variant));
    let mut fields = fields(says, serial, now);
    let mut add = |name: &str, value: String| fields.push((name.to_owned(), value));
    if let Some(tag) = &tag {
        add("ETag", tag.clone());
    }
    if let Some(modified) = &modified {
        add("Last-Modified", modified.clone());
    }
    let asked = |name| value(request, name);
    let held = match asked("if-none-match") {
        Some(tags) => tag.as_ref().is_some_and(|tag| tags == tag),
        None => modified.is_some() && asked("if-modified-since") == modified.as_deref(),
    };
    if says.status == 200 && held && method == Method::Get {
        return Answered { status: 304, fields, text, sent: 0..0 };
    }
    let length = text.length;
    if method == Method::Head {
        if says.counts {
            add("Content-Length", length.to_string());
        }
        return Answered { status: says.status, fields, text, sent: 0..0 };
    }
    if let (200, Some(counts), Some(range)) = (says.status, says.ranges, asked("range")) {
        let condition = asked("if-range");
        let is_so = |held: &str| {
            (says.tag == Tag::Strong && Some(held) == tag.as_deref())
                || (says.tag == Tag::None && Some(held) == modified.as_deref())
        };
        match single(range, length) {
            Some(sent) if condition.is_none_or(is_so) && sent.is_empty() => {
                return Answered { status: 416, fields, text, sent: 0..0 };
            }
            Some(sent) if condition.is_none_or(is_so) => {
                let whole = if counts { length.to_string() } else { "*".into() };
                add("Content-Range", format!("bytes {}-{}/{whole}", sent.start, sent.end - 1));
                return Answered { status: 206, fields, text, sent };
            }
            _ => {}
        }
    }
    Answered { status: says.status, fields, text, sent: 0..length }
}

/// Which of the answers of a resource a request gets.
struct Variant {
    name: String,
    number: i64,
}

impl Variant {
    fn of(says: &Says, request: &Fields) -> Self {
        let of = |name: &str| {
            if !says.vary.to_ascii_lowercase().contains(name) {
                return ("any".to_owned(), 0);
            }
            match value(request, name).map(|value| value.replace(' ', "")) {
                None => ("none".to_owned(), 1),
                Some(value) => {
                    let number = ["1", "2", "1,2"].iter().position(|known| *known == value);
                    (value, 2 + number.expect("there are no others") as i64)
                }
            }
        };
        let ((a, first), (b, second)) = (of("x-a"), of("x-b"));
        Self { name: format!("{a}/{b}"), number: 5 * first + second }
    }
}

fn text((url, says, version): (&str, &Says, u32), variant: &Variant) -> Text {
    let long = match url.as_bytes().last() {
        Some(b'y') => 70_000,
        Some(b'z') => 3000,
        _ => 90,
    };
    let length = long + 7 * u64::from(version % 3);
    Text { line: format!("{url} {version} {} {}", says.status, variant.name), length }
}

fn tag(says: &Says, text: &Text) -> Option<String> {
    match says.tag {
        Tag::None => None,
        Tag::Strong => Some(format!("\"{}\"", text.line)),
        Tag::Weak => Some(format!("W/\"{}\"", text.line)),
    }
}

/// In the past, and of one text only.
fn modified(says: &Says, version: u32, variant: &Variant) -> String {
    let of_text = 2 * variant.number + i64::from(says.status == 200);
    http_date(Time(START - 5_000_000 + 1000 * (60 * i64::from(version) + of_text)))
}

fn fields(says: &Says, serial: u64, now: i64) -> Fields {
    let date = |seconds: i64| http_date(Time(now.div_euclid(1000) * 1000 + seconds * 1000));
    let mut fields = vec![("X-Serial".to_owned(), serial.to_string())];
    let mut add = |name: &str, value: String| fields.push((name.to_owned(), value));
    if !says.cache_control.is_empty() {
        add("Cache-Control", says.cache_control.join(", "));
    }
    if let Some(seconds) = says.date {
        add("Date", date(seconds));
    }
    if let Some(seconds) = says.expires {
        add("Expires", date(seconds));
    }
    if let Some(age) = says.age {
        add("Age", age.to_string());
    }
    if !says.vary.is_empty() {
        add("Vary", says.vary.into());
    }
    if says.cookie {
        add("Set-Cookie", "id=1".into());
    }
    fields
}

/// The one range that is asked for; empty where there is nothing of it.
fn single(range: &str, length: u64) -> Option<Range<u64>> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    if last.contains(',') {
        return None;
    }
    Some(match (first, last) {
        ("", last) => length.saturating_sub(last.parse().ok()?)..length,
        (first, last) => {
            let first = first.parse::<u64>().ok()?.min(length);
            first..last.parse::<u64>().map_or(length, |last| (last + 1).min(length)).max(first)
        }
    })
}
