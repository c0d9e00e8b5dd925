//! Large answers in slices: each is asked for with `Range`, kept for itself, and shared by all
//! who wait for it. A client gets them one after the other.
//!
//! All slices of one answer are of one version ([`SliceVersion`]). What the origin does not give
//! in slices goes as without them, which is remembered for a while. An answer that has begun is
//! cut where the rest of its version is gone: nobody gets a mix of two.

mod course;
mod intake;

use ::cache::rules::{self, AskedFor, Use, judge, vary};
use ::cache::{Cache, Found, Key, Time, Vary};
use message::{FieldId, Method};
use telemetry::CacheResult;

use super::giving::Giving;
use super::reader::{From, SliceBody};
use super::{Origin, Turns, find};
use crate::exchange::Exchange;
use crate::failure::Failure;
use course::{Course, sliced};
pub(super) use intake::{SliceIntake, Sliced};

/// How long it is believed that an answer does not come in slices, in milliseconds.
const KNOWN_WHOLE: u64 = 120_000;

/// Slices that are looked for to say whether all of an answer is there. It takes a moment on the
/// core, for each request.
const LOOKED_FOR: u64 = 64;

impl<'a, O: Origin<'a>> Turns<'_, 'a, '_, O> {
    /// Answers a request with slices of so many bytes; `false`: it is to be answered without.
    pub(super) async fn by_slices(&self, x: &mut Exchange<'a>, size: u64) -> Result<bool, Failure> {
        let extent = AskedFor::of(&x.request.fields);
        let cache = &x.core.cache;
        if self.asked.no_store
            || self.may_differ(x)
            || extent == AskedFor::Several
            || cache.is_known_miss(&marker(&self.key), Time::now())
            || self.is_there_whole(x).await
        {
            return Ok(false);
        }
        if self.asked.method == Method::Head {
            return self.head_of_slices(x, size).await;
        }
        let request = x.request.fields.clone();
        let mut course = Course::new(self, &request, size, extent);
        let outcome = course.run(x).await;
        x.request.fields = request;
        outcome
    }

    /// Whether the request says something by which a slice that is fetched for it might not be
    /// kept: an answer that began with slices of others would come to no end.
    fn may_differ(&self, x: &Exchange<'_>) -> bool {
        let (plan, fields) = (self.place.plan, &x.request.fields);
        let sender = plan.sender(x.client.trusted);
        self.asked.authorization
            || rules::alters(fields, &Vary::of(&[], fields), plan.keyed(), sender)
    }

    /// Whether the whole of it is kept as one.
    async fn is_there_whole(&self, x: &mut Exchange<'a>) -> bool {
        let variants = x.core.cache.variants(&self.key);
        let fields = &x.request.fields;
        if !variants.is_empty() {
            return variants.iter().any(|it| it.is_whole() && vary::matches(&it.vary, fields));
        }
        matches!(find(x, &self.key).await, Found::Here(stored) if stored.is_whole())
    }

    /// What slices say of the whole answers HEAD as well.
    async fn head_of_slices(&self, x: &mut Exchange<'a>, size: u64) -> Result<bool, Failure> {
        let Found::Here(stored) = find(x, &slice_key(&self.key, size, 0)).await else {
            return Ok(false);
        };
        let usable = matches!(
            judge(&stored.facts, &self.asked, Time::now()),
            Use::Fresh | Use::Stale { revalidate: false }
        );
        let Some((version, range)) = sliced(&stored).filter(|_| usable) else {
            return Ok(false);
        };
        x.record.cache = Some(CacheResult::Hit);
        let slice = SliceBody::new(From::Stored(stored), range, version.complete);
        let request = x.request.fields.clone();
        let status = ::cache::rules::CacheStatus { hit: true, ..Default::default() };
        let dress = |x: &mut Exchange<'_>, head: &mut message::ResponseHead| {
            self.origin.dress(x, head);
        };
        let gift = self.gift(&request, status, Time::now(), &dress);
        let mut begun = Giving::begin(x, From::Slice(Box::new(slice)), &gift)?;
        self.finish(x, &mut begun).await?;
        Ok(true)
    }
}

/// The key of one slice. What is kept without slices, or in others, has another one: no key of
/// either ends like this.
fn slice_key(whole: &Key, size: u64, number: u64) -> Key {
    let end = format!(" \n/slice={size}:{number}");
    Key::new(&[whole.text(), end.as_bytes()].concat())
}

/// What is remembered of an answer that does not come in slices.
fn marker(whole: &Key) -> Key {
    Key::new(&[whole.text(), b" \n/whole"].concat())
}

fn remember_whole(cache: &Cache, whole: &Key) {
    cache.note_miss(&marker(whole), Time::now().after(KNOWN_WHOLE));
}

/// Whether a request says on which condition it wants a part.
fn has_if_range(request: &message::Block) -> bool {
    request.get(FieldId::IfRange).is_some()
}
