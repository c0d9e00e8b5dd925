//! RFC 9111 as one would explain it. Everything that the origin ever said is remembered; whether
//! something of that may be given now is worked out from its text each time.

use crate::driver::Given;
use crate::world::{Answered, Fields};

/// What the origin said, and to whom.
#[derive(Debug, Clone)]
pub struct Received {
    pub url: &'static str,
    pub request: Fields,
    pub answered: Answered,
    pub requested: i64,
    pub received: i64,
}

/// All of that.
#[derive(Debug, Default)]
pub struct Model {
    said: Vec<Said>,
}

#[derive(Debug)]
struct Said {
    what: Received,
    /// By a 304: a cookie that came with it is for that client, and for no other.
    renewed: bool,
    purged: bool,
    softly: bool,
    /// Nobody may be blamed for having forgotten it.
    forgotten: bool,
}

impl Model {
    /// Something was given in place of it, or nothing was.
    pub fn hear(&mut self, mut what: Received, replaced: bool) {
        let renewed = what.answered.status == 304;
        if renewed {
            // §4.3.4: it is about the last one with this tag that a cache may have; that one is now
            // as both together say.
            let tag = value(&what.answered.fields, "etag");
            let about = self.said.iter().rev().find(|said| {
                said.what.url == what.url
                    && said.what.answered.status == 200
                    && said.may_be_stored().is_ok()
                    && value(&said.what.answered.fields, "etag") == tag
            });
            let Some(about) = about else { return };
            let old = &about.what.answered;
            let mut fields = what.answered.fields.clone();
            for (name, old) in &old.fields {
                let of_old = ["age", "date"].contains(&&*name.to_ascii_lowercase());
                if value(&fields, name).is_none() && !of_old {
                    fields.push((name.clone(), old.clone()));
                }
            }
            what.answered = Answered { status: 200, fields, body: old.body.clone() };
        }
        self.said.push(Said { what, renewed, purged: false, softly: false, forgotten: replaced });
    }

    pub fn purge(&mut self, url: Option<&str>, soft: bool) {
        for said in &mut self.said {
            if url.is_none_or(|url| url == said.what.url) {
                said.softly |= soft;
                said.purged |= !soft;
            }
        }
    }

    pub fn crash(&mut self) {
        self.said.iter_mut().for_each(|said| said.forgotten = true);
    }

    /// Whether this may be given to that request, and its age is right.
    pub fn allows(
        &self,
        url: &str,
        request: &Fields,
        given: &Given,
        in_error: bool,
        now: i64,
    ) -> Result<(), String> {
        let candidates: Vec<&Said> = self
            .said
            .iter()
            .filter(|said| said.what.url == url && said.what.answered.body == given.body)
            .collect();
        let mut against = vec![];
        for said in &candidates {
            match said.may_be_given(request, given, in_error, now) {
                Ok(()) => return Ok(()),
                Err(why) => against.push(format!("{why}: {said:?}")),
            }
        }
        Err(format!("{given:?} must not be given at {now}: {against:#?}"))
    }

    /// Whether the last that was said to such a request has to be given: it is fresh, may be
    /// stored, and the client has no wishes.
    pub fn must_give(&self, url: &str, request: &Fields, now: i64) -> bool {
        if value(request, "cache-control").is_some() {
            return false;
        }
        let mut for_it: Vec<&Said> =
            self.said.iter().filter(|said| said.what.url == url && said.selects(request)).collect();
        // §4.1: the newest by date. Where that is not the last one, it may have been replaced.
        let last = for_it.last().copied();
        for_it.sort_by_key(|said| said.date().unwrap_or(said.what.received));
        let newest = for_it.last().copied();
        let last = last.filter(|last| newest.is_some_and(|newest| std::ptr::eq(*last, newest)));
        last.is_some_and(|said| {
            !said.forgotten
                && !said.purged
                && !said.softly
                && said.may_be_stored().is_ok()
                && !said.has("no-cache")
                && said.age(now) < said.lifetime()
        })
    }
}

impl Said {
    fn may_be_given(
        &self,
        request: &Fields,
        given: &Given,
        in_error: bool,
        now: i64,
    ) -> Result<(), String> {
        let no = |why: &str| Err(why.to_owned());
        self.may_be_stored()?;
        if self.what.answered.status != given.status {
            return no("another status");
        }
        if self.purged {
            return no("purged");
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
        let fresh = stale_for < 0 && !self.softly;
        if in_error {
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
            Some(most) if !self.is_strict() && !self.softly => {
                let most = most.parse::<i64>().unwrap_or(i64::MAX / 1000);
                if stale_for <= 1000 * most { Ok(()) } else { no("staler than the client takes") }
            }
            _ => no("stale"),
        }
    }

    /// §3, as far as the world of this simulation goes.
    fn may_be_stored(&self) -> Result<(), String> {
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

    fn has_cookie_for_one(&self) -> bool {
        let explicit = self.explicit_lifetime().is_some_and(|span| span > 0);
        let for_all = self.has("public") || (explicit && !self.has("no-cache"));
        self.field("set-cookie").is_some() && !for_all
    }

    /// §4.1: `X-A` is the only field that anything depends on.
    fn selects(&self, request: &Fields) -> bool {
        self.field("vary").is_none() || value(&self.what.request, "x-a") == value(request, "x-a")
    }

    /// §4.2.1 and §4.2.2, in milliseconds.
    fn lifetime(&self) -> i64 {
        if let Some(span) = self.explicit_lifetime() {
            return span;
        }
        let guessable = matches!(self.what.answered.status, 200 | 404) || self.has("public");
        let known = value(&self.what.request, "cookie").is_some() && !self.has("public");
        match self.field("last-modified") {
            Some(modified) if guessable && !known => {
                let since = self.date().unwrap_or(self.what.received) - moment(modified);
                (since / 10).clamp(0, 24 * 3_600_000)
            }
            _ => 0,
        }
    }

    fn explicit_lifetime(&self) -> Option<i64> {
        let said = self.directive("s-maxage").or_else(|| self.directive("max-age"));
        if let Some(seconds) = number(said) {
            return Some(1000 * seconds);
        }
        let expires = moment(self.field("expires")?);
        Some((expires - self.date().unwrap_or(self.what.received)).max(0))
    }

    /// §4.2.3, in milliseconds.
    fn age(&self, now: i64) -> i64 {
        let Received { requested, received, .. } = self.what;
        let apparent = self.date().map_or(0, |date| (received - date).max(0));
        let said = self.field("age").map_or(0, |age| 1000 * age.parse::<i64>().expect("a number"));
        apparent.max(said + (received - requested)) + (now - received).max(0)
    }

    /// The client cannot have it stale (§5.2.2.2, §5.2.2.8, §5.2.2.10).
    fn is_strict(&self) -> bool {
        self.is_strictest() || self.directive("s-maxage").is_some()
    }

    /// Nor by what the origin says beside it.
    fn is_strictest(&self) -> bool {
        self.has("must-revalidate") || self.has("proxy-revalidate") || self.has("no-cache")
    }

    fn date(&self) -> Option<i64> {
        self.field("date").map(moment)
    }

    fn field(&self, name: &str) -> Option<&str> {
        value(&self.what.answered.fields, name)
    }

    fn has(&self, name: &str) -> bool {
        self.directive(name).is_some()
    }

    fn directive(&self, name: &str) -> Option<&str> {
        wish(&self.what.answered.fields, name)
    }
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
