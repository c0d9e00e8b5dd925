//! What the cache would do with a request, and codings with what comes of it.

use cache::rules::Asked;
use config::{CacheRules, show};
use message::framing::BodyLength;
use message::{Block, Method, RequestHead};

use super::{Outcome, Step, Told, refused};
use crate::cache::{CachePlan, Effective, ask_origin, purge};
use crate::packing::Packing;

/// The cache of a route, or of a listener of the forward face.
pub(super) struct Kept<'a> {
    pub(super) plan: &'a CachePlan,
    pub(super) rules: &'a CacheRules,
    /// The request as its key has it, but for its fields.
    pub(super) effective: Effective<'a>,
}

impl Kept<'_> {
    /// Whether the request is looked for, and by what. Its head becomes that by which a server is
    /// asked where nothing is kept.
    pub(super) fn tell(
        &self,
        told: &mut Told,
        head: &mut RequestHead,
        body: BodyLength,
        upgrade: bool,
    ) -> Step<Option<Outcome>> {
        if purge::is_asked_for(head.method_text(), self.plan) {
            told.part("cache", "a purge");
            purge::admit(&head.fields, self.plan).map_err(|failure| refused(&failure))?;
            return Ok(Some(Outcome::Answered { status: 200, why: "a purge".to_owned() }));
        }
        let passed_by = match head.method {
            Method::Get | Method::Head if body != BodyLength::None => Some("it has content"),
            Method::Get | Method::Head if upgrade => Some("it asks for another protocol"),
            Method::Get | Method::Head => None,
            _ => Some("its method is not GET or HEAD"),
        };
        if let Some(why) = passed_by {
            told.part("cache", format!("the request is not looked for: {why}"));
            return Ok(None);
        }
        told.part("cache", "the request is looked for before a server is asked");
        told.note(show::cache(self.rules));
        let key = self.plan.key(&Effective { fields: &head.fields, ..self.effective });
        told.note(format!("its key: {}", key.for_people()));
        let asked = Asked::of(head.method, &head.fields);
        for (is_so, note) in [
            (asked.no_cache, "no-cache: what is kept is validated before it is used"),
            (asked.no_store, "no-store: what a server answers is not kept"),
            (asked.only_if_cached, "only-if-cached: no server is asked"),
            (
                asked.authorization,
                "with credentials: the answer is kept only where the server allows that expressly",
            ),
        ] {
            if is_so {
                told.note(note);
            }
        }
        if head.method == Method::Get {
            ask_origin(&mut head.fields, self.effective.side, &asked, None);
        }
        Ok(None)
    }
}

/// In which coding an answer would go out, if it is one that is packed.
pub(super) fn tell_packing(told: &mut Told, packing: &Packing, request: &Block) {
    match packing.offer(request) {
        Ok(coding) => told.note(format!("this client would get it as {}", coding.as_str())),
        Err(why) => told.note(format!("this client would get it as it is: {why}")),
    }
}
