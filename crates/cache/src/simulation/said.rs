//! What one answer says: whether it may be kept, for whom it is, how old it is, what of it is given.

use std::ops::Range;

use message::Method;

use super::driver::{Given, Heard, How};
use super::origin::Fields;

/// Something that was kept, and what became of it.
#[derive(Debug, Clone)]
pub struct Said {
    pub what: Heard,
    /// The bytes that there are of it.
    pub held: Vec<Range<u64>>,
    /// By an answer without a body: a cookie that came with it is for that client, and for no
    /// other.
    pub renewed: bool,
    pub marks: Marks,
    /// It is certain that it was kept, and was not forgotten.
    pub sure: bool,
}

/// What may not be forgotten.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Marks {
    pub purged: bool,
    pub softly: bool,
    /// There is a newer one for the same requests.
    pub superseded: bool,
    /// It turned out to be no answer any more: so many milliseconds ago.
    pub ended: Option<u64>,
}

impl Said {
    pub fn new(what: Heard) -> Self {
        let held = vec![what.answered.sent.clone()];
        Self { what, held, renewed: false, marks: Marks::default(), sure: false }
    }

    /// §3.2 and §4.3.4: as both together say. What is about the body is as it was.
    pub fn renewed(&self, by: &Self) -> Self {
        let mut new = by.clone();
        let fields = &mut new.what.answered.fields;
        fields.retain(|(name, _)| name != "ETag");
        for (name, old) in &self.what.answered.fields {
            if value(fields, name).is_none() && name != "Age" && name != "Date" {
                fields.push((name.clone(), old.clone()));
            }
        }
        new.what.answered.status = self.what.answered.status;
        new.held = united(self.held.iter().chain(&by.held).cloned().collect());
        new.renewed = true;
        new
    }

    pub fn serial(&self) -> u64 {
        let serial = self.field("x-serial").and_then(|serial| serial.parse().ok());
        serial.expect("everything has a number")
    }

    /// Whether something may be put to it (RFC 9110 §15.3.7.3).
    pub fn is_strongly_of(&self, other: &Heard) -> bool {
        let other = &other.answered.fields;
        match (self.field("etag"), value(other, "etag")) {
            (Some(tag), Some(other)) => tag == other && !tag.starts_with("W/"),
            (None, None) => {
                let modified = self.field("last-modified");
                modified.is_some() && modified == value(other, "last-modified")
            }
            _ => false,
        }
    }

    /// Whether an answer to HEAD says that this is not what there is now (§4.3.5).
    pub fn differs(&self, head: &Heard) -> bool {
        let fields = &head.answered.fields;
        let differs = |name| value(fields, name).is_some_and(|new| self.field(name) != Some(new));
        let length = number(value(fields, "content-length"));
        (self.what.answered.status, head.answered.status) == (200, 200)
            && (differs("etag")
                || differs("last-modified")
                || length.is_some_and(|length| length != self.what.answered.text.length as i64))
    }

    pub fn is_for_the_same(&self, other: &Self) -> bool {
        self.what.url == other.what.url
            && self.names() == other.names()
            && self.selects(&other.what.request)
    }

    pub fn is_there(&self) -> bool {
        !self.marks.purged && !self.marks.superseded && self.marks.ended.is_none()
    }

    /// §4: the most recent one is given.
    pub fn is_newer(&self, other: &Self) -> bool {
        self.what.url == other.what.url
            && self.sure
            && self.is_there()
            && self.serial() > other.serial()
            && (self.moment(), self.what.received) > (other.moment(), other.what.received)
    }

    /// Whether what was given is of this, and what was asked for.
    pub fn is_given(&self, method: Method, request: &Fields, given: &Given) -> Result<(), String> {
        let no = |why: &str| Err(why.to_owned());
        let text = &self.what.answered.text;
        if given.parts.iter().any(|part| text.bytes(part.range.clone()) != part.bytes) {
            return no("other bytes");
        }
        let of_parts: Vec<_> = given.parts.iter().map(|part| part.range.clone()).collect();
        let is_held = |part: &Range<u64>| {
            self.held.iter().any(|held| held.start <= part.start && part.end <= held.end)
        };
        if !of_parts.iter().all(is_held) {
            return no("bytes that nobody sent");
        }
        let tag = self.field("etag");
        let is_success = self.what.answered.status == 200 || self.what.answered.status == 206;
        let weak = |tag: &str| tag.trim_start_matches("W/").to_owned();
        if let Some(tags) = value(request, "if-none-match").filter(|_| is_success) {
            let is_held = tag.is_some_and(|tag| weak(tag) == weak(tags));
            if is_held != (given.status == 304) {
                return no("the client has it, or not");
            }
            if is_held {
                return if of_parts.is_empty() { Ok(()) } else { no("the client has that") };
            }
        }
        let if_range = value(request, "if-range");
        let applies = if_range.is_none_or(|is| tag == Some(is) && !is.starts_with("W/"));
        let range = value(request, "range").filter(|_| applies && method == Method::Get);
        let whole = if method == Method::Head { vec![] } else { vec![text.all()] };
        let status = if self.what.answered.status == 206 { 200 } else { self.what.answered.status };
        if given.status == status && of_parts == whole {
            return Ok(());
        }
        let wanted = range.filter(|_| status == 200).map(|range| wanted(range, text.length));
        match (given.status, wanted) {
            (206, Some(wanted)) if wanted == united(of_parts) && !wanted.is_empty() => Ok(()),
            (416, Some(wanted)) if wanted.is_empty() && given.parts.is_empty() => Ok(()),
            _ => no("not what was asked for"),
        }
    }

    pub fn may_be_given(&self, request: &Fields, given: &Given, now: i64) -> Result<(), String> {
        let no = |why: &str| Err(why.to_owned());
        self.may_be_stored()?;
        if !self.is_there() {
            return no("it is gone");
        }
        if given.cookie && self.has_cookie_for_one() {
            return no("with the cookie of another user");
        }
        if !self.selects(request) {
            return no("for another request");
        }
        if self.age(now) / 1000 != i64::try_from(given.age).unwrap_or(i64::MAX) {
            return Err(format!("its age is {} ms", self.age(now)));
        }
        if self.has("no-cache") || wish(request, "no-cache").is_some() {
            return no("it has to be validated");
        }
        let (age, lifetime) = (self.age(now), self.lifetime());
        let stale_for = age - lifetime;
        let fresh = stale_for < 0 && !self.marks.softly;
        if given.how == How::StandIn {
            // RFC 5861 §4. The client's word does not go against that of the origin.
            let theirs = number(wish(request, "stale-if-error")).filter(|_| !self.is_strict());
            let ours = number(self.directive("stale-if-error")).filter(|_| !self.is_strictest());
            let window = 1000 * theirs.unwrap_or(0).max(ours.unwrap_or(0));
            return if fresh || stale_for < window { Ok(()) } else { no("stale, in an error") };
        }
        if let Some(most) = number(wish(request, "max-age")) {
            let reload = most == 0 && self.has("immutable") && fresh;
            if age > 1000 * most && !reload {
                return no("older than the client wishes");
            }
        }
        if let Some(least) = number(wish(request, "min-fresh"))
            && -stale_for < 1000 * least
        {
            return no("not fresh for as long as the client wishes");
        }
        if fresh {
            return Ok(());
        }
        // RFC 5861 §3, by the word of the origin alone.
        let window = number(self.directive("stale-while-revalidate")).unwrap_or(0);
        if !self.is_strictest() && stale_for < 1000 * window {
            return Ok(());
        }
        match wish(request, "max-stale") {
            Some(most) if !self.is_strict() && !self.marks.softly => {
                let most = most.parse::<i64>().unwrap_or(i64::MAX / 1000);
                if stale_for <= 1000 * most { Ok(()) } else { no("staler than the client takes") }
            }
            _ => no("stale"),
        }
    }

    /// §3, as far as the world of this simulation goes.
    pub fn may_be_stored(&self) -> Result<(), String> {
        let no = |why: &str| Err(why.to_owned());
        let status = self.what.answered.status;
        if self.has("must-understand") && status == 599 {
            return no("nobody understands 599");
        }
        if self.has("no-store") && !self.has("must-understand") {
            return no("no-store");
        }
        if wish(&self.what.request, "no-store").is_some() {
            return no("no-store in the request");
        }
        if self.has("private") {
            return no("private");
        }
        if self.names().contains(&"*".to_owned()) {
            return no("for no other request");
        }
        let shared = ["public", "must-revalidate"].iter().any(|name| self.has(name))
            || self.directive("s-maxage").is_some();
        if value(&self.what.request, "authorization").is_some() && !shared {
            return no("for one user");
        }
        if self.has_cookie_for_one() && !self.renewed {
            return no("a cookie for one user");
        }
        Ok(())
    }

    pub fn has_cookie_for_one(&self) -> bool {
        let explicit = self.explicit_lifetime().is_some_and(|span| span > 0);
        let for_all = self.has("public") || (explicit && !self.has("no-cache"));
        self.field("set-cookie").is_some() && !for_all
    }

    /// §4.1.
    pub fn selects(&self, request: &Fields) -> bool {
        let said = |request, name| value(request, name).map(|value| value.replace(' ', ""));
        self.names().iter().all(|name| said(&self.what.request, name) == said(request, name))
    }

    pub fn names(&self) -> Vec<String> {
        let names = self.field("vary").unwrap_or_default().to_ascii_lowercase();
        let mut names: Vec<_> = names.split(',').map(|name| name.trim().to_owned()).collect();
        names.retain(|name| !name.is_empty());
        names.sort();
        names
    }

    /// §4.2.1 and §4.2.2, in milliseconds.
    pub fn lifetime(&self) -> i64 {
        if let Some(span) = self.explicit_lifetime() {
            return span;
        }
        let guessable = matches!(self.what.answered.status, 200 | 206 | 404) || self.has("public");
        let known = value(&self.what.request, "cookie").is_some() && !self.has("public");
        match self.field("last-modified") {
            Some(modified) if guessable && !known => {
                let since = self.moment() - moment(modified);
                (since / 10).clamp(0, 24 * 3_600_000)
            }
            _ => 0,
        }
    }

    pub fn explicit_lifetime(&self) -> Option<i64> {
        let said = self.directive("s-maxage").or_else(|| self.directive("max-age"));
        if let Some(seconds) = number(said) {
            return Some(1000 * seconds);
        }
        let expires = moment(self.field("expires")?);
        Some((expires - self.moment()).max(0))
    }

    /// §4.2.3, in milliseconds.
    pub fn age(&self, now: i64) -> i64 {
        let Heard { requested, received, .. } = self.what;
        let apparent = self.date().map_or(0, |date| (received - date).max(0));
        let said = self.field("age").map_or(0, |age| 1000 * age.parse::<i64>().expect("a number"));
        apparent.max(said + (received - requested).max(0)) + (now - received).max(0)
    }

    /// The client cannot have it stale (§5.2.2.2, §5.2.2.8, §5.2.2.10).
    pub fn is_strict(&self) -> bool {
        self.is_strictest() || self.directive("s-maxage").is_some()
    }

    /// Nor by what the origin says beside it.
    pub fn is_strictest(&self) -> bool {
        self.has("must-revalidate") || self.has("proxy-revalidate") || self.has("no-cache")
    }

    /// When it was made, as far as anybody knows.
    pub fn moment(&self) -> i64 {
        self.date().unwrap_or(self.what.received)
    }

    pub fn date(&self) -> Option<i64> {
        self.field("date").map(moment)
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        value(&self.what.answered.fields, name)
    }

    pub fn has(&self, name: &str) -> bool {
        self.directive(name).is_some()
    }

    pub fn directive(&self, name: &str) -> Option<&str> {
        wish(&self.what.answered.fields, name)
    }
}

/// The same bytes in as few ranges as there can be, in order.
fn united(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.retain(|range| !range.is_empty());
    ranges.sort_by_key(|range| range.start);
    let mut united: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match united.last_mut().filter(|last| range.start <= last.end) {
            Some(last) => last.end = last.end.max(range.end),
            None => united.push(range),
        }
    }
    united
}

/// The bytes that a `Range` is about (RFC 9110 §14.1.2).
fn wanted(range: &str, length: u64) -> Vec<Range<u64>> {
    let specs = range.trim_start_matches("bytes=").split(',');
    let ranges = specs.map(|spec| match spec.split_once('-').expect("it is one") {
        ("", last) => length.saturating_sub(last.parse().expect("a number"))..length,
        (first, "") => first.parse().expect("a number")..length,
        (first, last) => {
            let last: u64 = last.parse().expect("a number");
            first.parse().expect("a number")..length.min(last + 1)
        }
    });
    united(ranges.collect())
}

/// The value of the first field of this name.
pub fn value<'a>(fields: &'a Fields, name: &str) -> Option<&'a str> {
    fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
}

/// The argument of the first directive of this name; empty where it has none.
fn wish<'a>(fields: &'a Fields, name: &str) -> Option<&'a str> {
    value(fields, "cache-control")?.split(',').find_map(|directive| {
        let (known, argument) = directive.trim().split_once('=').unwrap_or((directive.trim(), ""));
        (known == name).then_some(argument)
    })
}

fn number(text: Option<&str>) -> Option<i64> {
    text?.parse().ok()
}

/// A date in milliseconds. Only those are written here that this can read.
fn moment(date: &str) -> i64 {
    let time = httpdate::parse_http_date(date).expect("dates are in order here");
    let since = time.duration_since(std::time::UNIX_EPOCH).expect("they are after 1970");
    i64::try_from(since.as_millis()).expect("they are not that late")
}
