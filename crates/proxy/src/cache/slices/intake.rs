//! What comes when a slice was asked for.

use std::cell::{Cell, RefCell};
use std::ops::{ControlFlow, Range};

use ::cache::rules::{self, Asked, CacheStatus, ContentRange, Reflections, SliceVersion, vary};
use ::cache::{Draft, Facts, Key, Role, Time, Vary};
use message::framing::BodyLength;
use message::{FieldId, ResponseHead};

use super::super::giving::{Gift, Giving};
use super::super::intake::{Filling, Intake, Offer, is_by_dictionary};
use super::super::reader::{From, SliceBody};
use super::{has_if_range, remember_whole};
use crate::exchange::Exchange;
use crate::failure::Failure;

/// The slice that is asked for, and the answer that waits for it.
#[derive(Debug)]
pub(in crate::cache) struct SliceIntake<'c> {
    key: &'c Key,
    /// The bytes that were asked for; there may be less.
    range: Range<u64>,
    /// The client has a head: this is no answer of its own.
    is_within: bool,
    version: RefCell<Option<SliceVersion>>,
    giving: RefCell<Option<Giving>>,
    told: Cell<Told>,
}

/// What the response told that was not taken, and not given to the client.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Told {
    /// Nothing: it was taken, or given to the client.
    #[default]
    Nothing,
    /// The answer does not come in slices.
    Unfit,
    /// This client is to get it without slices: there is no room for one, or the request made the
    /// response what it is.
    Apart,
    /// There is another version than the one that the client has the beginning of, or none.
    OtherVersion,
    /// This slice did not come.
    Failed,
}

/// Why a response is not the slice that was asked for, to be kept.
enum NoSlice {
    /// It is of another version.
    OtherVersion,
    /// The origin gives none, or none that may be kept.
    ByOrigin,
    /// The request made it what it is. It says nothing of what others get.
    ByRequest,
}

/// What becomes of a response; `Continue`: it is one of the whole, to be looked at as that.
pub(in crate::cache) type Sliced = ControlFlow<Offer, ResponseHead>;

/// A response that is the slice which was asked for.
struct Slice {
    version: SliceVersion,
    range: Range<u64>,
    facts: Facts,
    vary: Vary,
    reflections: Option<Reflections>,
    received: Time,
}

impl<'c> SliceIntake<'c> {
    /// Of an answer that has not begun.
    pub(super) fn first(key: &'c Key, range: Range<u64>) -> Self {
        let (version, giving, told) = (RefCell::default(), RefCell::default(), Cell::default());
        Self { key, range, is_within: false, version, giving, told }
    }

    /// Of one that has.
    pub(super) fn within(
        key: &'c Key,
        range: Range<u64>,
        (giving, version): (Giving, SliceVersion),
    ) -> Self {
        let mut within = Self::first(key, range);
        within.is_within = true;
        within.version.replace(Some(version));
        within.giving.replace(Some(giving));
        within
    }

    /// The answer, if it is not elsewhere by now.
    pub(super) fn into_parts(self) -> (Option<Giving>, Option<SliceVersion>, Told) {
        (self.giving.into_inner(), self.version.into_inner(), self.told.get())
    }

    /// Whether the client has a head already.
    pub(in crate::cache) fn is_within(&self) -> bool {
        self.is_within
    }

    /// Nothing of the response goes anywhere.
    fn not_taken(&self, why: Told) -> Sliced {
        self.told.set(why);
        Sliced::Break(Offer::Kept)
    }
}

impl Intake<'_> {
    /// Decides about the response to a request for a slice.
    pub(in crate::cache) fn offer_slice(
        &self,
        x: &mut Exchange<'_>,
        mut head: ResponseHead,
        length: BodyLength,
        slice: &SliceIntake<'_>,
        dress: &dyn Fn(&mut Exchange<'_>, &mut ResponseHead),
    ) -> Result<Sliced, Failure> {
        if head.status != 206 {
            return Ok(self.no_part(head, slice));
        }
        let told = match self.read_slice(x, &head, length, slice) {
            Ok(came) => return self.take_slice(x, &mut head, came, slice, dress),
            Err(NoSlice::ByRequest) if !slice.is_within => Told::Apart,
            Err(_) if !slice.is_within => Told::Unfit,
            Err(NoSlice::OtherVersion) => Told::OtherVersion,
            Err(NoSlice::ByRequest) => Told::Failed,
            Err(NoSlice::ByOrigin) => {
                // Whoever comes next is not to be cut here as well.
                remember_whole(self.cache, self.key);
                Told::Failed
            }
        };
        Ok(slice.not_taken(told))
    }

    /// What came in place of a part.
    fn no_part(&self, head: ResponseHead, slice: &SliceIntake<'_>) -> Sliced {
        // One client does not switch slices off for others by what it says of itself.
        if head.status == 200 && !self.request.has(FieldId::Cookie) {
            remember_whole(self.cache, self.key);
        }
        if slice.is_within {
            let is_other = matches!(head.status, 200 | 404 | 410 | 412 | 416);
            return slice.not_taken(if is_other { Told::OtherVersion } else { Told::Failed });
        }
        match head.status {
            // What the client asked for is behind the end as well.
            416 if self.asked.range && !self.asked.conditional && !has_if_range(self.request) => {
                self.free(false);
                Sliced::Break(self.decline(head, None))
            }
            304 | 412 | 416 => slice.not_taken(Told::Apart),
            _ => {
                self.lead_the_whole();
                Sliced::Continue(head)
            }
        }
    }

    /// Those who waited for a slice can wait for the whole.
    fn lead_the_whole(&self) {
        let url = self.plan.filed_under(self.url);
        let lead = match self.cache.join(self.key, url, self.request, None) {
            // A purge since the request was sent is about what comes.
            Role::Lead(lead) if self.cache.newest_purge() == self.since => Some(lead),
            _ => None,
        };
        self.free(false);
        self.lead.replace(lead);
    }

    /// Whether it is the slice that was asked for, to be kept, of the right version.
    fn read_slice(
        &self,
        x: &Exchange<'_>,
        head: &ResponseHead,
        length: BodyLength,
        slice: &SliceIntake<'_>,
    ) -> Result<Slice, NoSlice> {
        let received = Time::now();
        let (version, range) = SliceVersion::of(&head.fields).ok_or(NoSlice::OtherVersion)?;
        if slice.version.borrow().as_ref().is_some_and(|begun| *begun != version) {
            return Err(NoSlice::OtherVersion);
        }
        let end = slice.range.end.min(version.complete);
        let long = BodyLength::Known(end.saturating_sub(slice.range.start));
        if range != (slice.range.start..end) || length != long {
            return Err(NoSlice::ByOrigin);
        }
        // The request was one for a part, whatever the client asked for.
        let asked = Asked { range: true, ..*self.asked };
        let terms = &self.plan.terms;
        let facts = rules::storable(terms, self.request, &asked, head, self.requested, received)
            .map_err(|why| match why.is_of_request() {
                true => NoSlice::ByRequest,
                false => NoSlice::ByOrigin,
            })?;
        let vary = Vary::of_answer(&head.fields, self.request).ok_or(NoSlice::ByOrigin)?;
        let suspects = self.look_for_suspects(x, head, &vary);
        let reflections = suspects.map_err(|_| NoSlice::ByRequest)?;
        // What we say of the client selects the answer, and is in no key.
        let selects_ours = !vary::matches(&vary, &x.request.fields);
        let unsaid = is_by_dictionary(&head.fields)
            && !vary.fields.iter().any(|(name, _)| **name == *"available-dictionary");
        if selects_ours || unsaid {
            return Err(NoSlice::ByOrigin);
        }
        Ok(Slice { version, range, facts, vary, reflections, received })
    }

    /// The slice goes to those who wait for it, and on with the answer of this client.
    fn take_slice(
        &self,
        x: &mut Exchange<'_>,
        head: &mut ResponseHead,
        came: Slice,
        slice: &SliceIntake<'_>,
        dress: &dyn Fn(&mut Exchange<'_>, &mut ResponseHead),
    ) -> Result<Sliced, Failure> {
        let waiting = slice.giving.take();
        let lead = self.lead.take().filter(|_| waiting.is_some() == slice.is_within);
        let Some(mut lead) = lead else {
            return Ok(slice.not_taken(if slice.is_within { Told::Failed } else { Told::Apart }));
        };
        let Slice { version, range, facts, vary, reflections, received } = came;
        let complete = version.complete;
        let field = ContentRange { range: range.clone(), complete: Some(complete) };
        let draft = Draft {
            key: slice.key.clone(),
            url: self.plan.filed_under(self.url),
            vary,
            head: rules::kept(&self.plan.terms, head, received).of_slice(&field),
            facts,
            tags: rules::tags_of(&head.fields),
            length: Some(range.end - range.start),
        };
        // What has begun goes on, with no more than any relay takes.
        let reader = match slice.is_within {
            true => lead.begin_anyway(draft),
            false => match lead.begin(draft) {
                Ok(reader) => reader,
                Err(_) => return Ok(slice.not_taken(Told::Apart)),
            },
        };
        slice.version.replace(Some(version));
        let own = rules::for_one(&self.plan.terms, head);
        x.core.blocks.give(std::mem::take(&mut head.fields));
        let body = SliceBody::new(From::Flight(reader), range, complete);
        let giving = match waiting {
            Some(mut giving) => {
                giving.supply(body);
                // What the client gets of it now is not asked for again.
                x.head_sent = true;
                Some(giving)
            }
            None => {
                let status = CacheStatus {
                    forwarded: Some(self.forwarded),
                    forwarded_status: self.stale.is_some().then_some(206),
                    stored: true,
                    ..CacheStatus::default()
                };
                let gift = Gift {
                    request: self.request,
                    asked: self.asked,
                    packing: self.packing,
                    versions: self.versions,
                    status,
                    now: received,
                    led: true,
                    own: own.as_ref(),
                    tells: self.plan.status_field,
                    dress,
                };
                Giving::begin(x, From::Slice(Box::new(body)), &gift)?
            }
        };
        Ok(Sliced::Break(Offer::Filling(Filling { lead, reflections, giving })))
    }
}
