//! What an answer says of the exit that it came by.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use egress::{BodySearch, ExitKey, ExitLease, Marks, Pool, Sign};
use message::ResponseHead;

use super::leave::{self, Aimed};
use crate::exchange::Exchange;
use crate::failure::{Failure, Kind, Retry};
use crate::pump::{Watch, Watcher};
use crate::relay::Elsewhere;

/// A longer `Retry-After` closes an exit for no longer than this.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);

/// Judges an exit by one answer.
#[derive(Debug)]
pub(crate) struct ExitVerdict<'a> {
    lease: Rc<ExitLease>,
    sent: Instant,
    now_ms: u64,
    /// Those that may be tried after it. `None`: none will.
    rivals: Option<Rivals<'a>>,
    noted: Cell<bool>,
    bans: Cell<bool>,
    body: Option<BodyWatch>,
}

/// The exits that a request may be made by again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rivals<'a> {
    pub(super) pool: &'a Arc<Pool>,
    pub(super) aimed: &'a Aimed<'a>,
    pub(super) tried: &'a [ExitKey],
}

#[derive(Debug)]
struct BodyWatch {
    lease: Rc<ExitLease>,
    search: RefCell<BodySearch>,
    now_ms: u64,
}

impl<'a> ExitVerdict<'a> {
    /// `None`: the request goes by no exit of a pool.
    pub(crate) fn of(x: &Exchange<'_>, rivals: Option<Rivals<'a>>) -> Option<Self> {
        let lease = x.guest.as_ref()?.lease.clone()?;
        Some(Self::over(lease, x.core.clock.now_ms(), rivals))
    }

    /// Of a request that goes by this exit.
    pub(crate) fn over(lease: Rc<ExitLease>, now_ms: u64, rivals: Option<Rivals<'a>>) -> Self {
        let body = lease.bans_on().body().map(|search| BodyWatch {
            lease: Rc::clone(&lease),
            search: RefCell::new(search),
            now_ms,
        });
        let (sent, noted, bans) = (Instant::now(), Cell::new(false), Cell::new(false));
        Self { lease, sent, now_ms, rivals, noted, bans, body }
    }

    /// Whether what was seen so far bans the exit.
    pub(crate) fn bans(&self) -> bool {
        self.bans.get()
    }

    /// Who looks at the body, if somebody has to.
    pub(crate) fn watch(&self) -> Option<&Watch> {
        self.body.as_ref().map(|body| body as &Watch)
    }

    /// Takes note of the head of an answer, once. Returns whether it bans the exit.
    pub(crate) fn note(&self, head: &ResponseHead) -> bool {
        if self.noted.replace(true) {
            return false;
        }
        let bans = self.lease.bans_on();
        let marks = match bans.wants_fields() {
            true => bans.fields(
                head.fields.iter().map(|field| (head.fields.name(field), head.fields.value(field))),
            ),
            false => Marks::default(),
        };
        let retry_after = head.fields.values_named(b"retry-after").next().and_then(retry_after);
        let first_byte = self.sent.elapsed();
        let sign = Sign::Answer { status: head.status, first_byte, retry_after, marks };
        let bans = self.lease.report(&sign, self.now_ms);
        self.bans.set(bans);
        bans
    }

    /// Takes note of an answer that did not come.
    pub(crate) fn failed(&self, failure: &Failure) {
        if failure.kind == Kind::ExitFailed {
            self.noted.set(true);
            self.lease.report(&Sign::Unreachable, self.now_ms);
        }
        let silent = matches!(failure.kind, Kind::ConnectionTerminated | Kind::ResponseIncomplete);
        if silent && failure.retry != Retry::Stale && !self.noted.replace(true) {
            self.lease.report(&Sign::Reset, self.now_ms);
        }
    }
}

impl Elsewhere for ExitVerdict<'_> {
    fn is_better_than(&self, x: &Exchange<'_>, head: &ResponseHead) -> bool {
        // Where no other exit would do, a bad answer is better than none.
        self.note(head)
            && self.rivals.is_some_and(|Rivals { pool, aimed, tried }| {
                let tried: Vec<_> = tried.iter().copied().chain([self.lease.key()]).collect();
                leave::has_another(x, pool, aimed, &tried)
            })
    }
}

impl Watcher for BodyWatch {
    fn see(&self, piece: &[u8]) -> bool {
        let mut search = self.search.borrow_mut();
        let marks = search.feed(self.lease.bans_on(), piece);
        if !marks.is_empty() {
            self.lease.report(&Sign::Body(marks), self.now_ms);
            return false;
        }
        !search.is_over()
    }
}

/// `Retry-After` (RFC 9110 §10.2.3): seconds or a date.
fn retry_after(value: &[u8]) -> Option<Duration> {
    let text = std::str::from_utf8(value).ok()?.trim();
    let after = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = httpdate::parse_http_date(text).ok()?;
            date.duration_since(SystemTime::now()).unwrap_or_default()
        }
    };
    Some(after.min(LONGEST_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date_and_bounded() {
        assert_eq!(retry_after(b"120"), Some(Duration::from_secs(120)));
        assert_eq!(retry_after(b" 0 "), Some(Duration::ZERO));
        assert_eq!(retry_after(b"99999999999"), Some(LONGEST_RETRY_AFTER));
        assert_eq!(retry_after(b"Thu, 01 Jan 1970 00:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(retry_after(b"soon"), None);
        assert_eq!(retry_after(b"-1"), None);
    }
}
