//! `PURGE`: what is stored is taken out, by whoever has the token.

use cache::{Purge, What};
use message::FieldId;
use subtle::ConstantTimeEq;

use super::{CachePlan, Place};
use crate::exchange::Exchange;
use crate::failure::{Failure, Kind};
use crate::respond::Answer;

/// Whether a request is a purge, where there are any.
pub(super) fn is_asked_for(x: &Exchange<'_>, plan: &CachePlan) -> bool {
    plan.purge_token.is_some() && x.request.method_text() == b"PURGE"
}

/// Purges by tags (`Surrogate-Key`, `Cache-Tag`), else by prefix (a path that ends with `*`),
/// else the URL of the request. `Soft-Purge: 1` leaves what was stored to stand in for errors.
pub(super) async fn serve<'a>(x: &mut Exchange<'a>, place: &Place<'a, '_>) -> Result<(), Failure> {
    let shown = token(x);
    let token = place.plan.purge_token.as_deref().unwrap_or_default().as_bytes();
    if shown.is_none_or(|shown| !bool::from(shown.ct_eq(token))) {
        return Err(Failure::with(Kind::Denied, "purge token"));
    }
    let fields = &x.request.fields;
    let flag = |name: &[u8]| fields.values_named(name).any(|value| value == b"1");
    let soft = flag(b"soft-purge") || flag(b"fastly-soft-purge");
    let tags = cache::rules::tags_of(fields);
    let url = place.url(x);
    let cache = &x.core.cache;
    let purge = |what| cache.purge(&Purge { what, soft }).objects;
    let objects: u64 = if !tags.is_empty() {
        tags.iter().map(|tag| purge(What::Tag(*tag))).sum()
    } else if let Some(prefix) = url.strip_suffix(b"*") {
        purge(What::Prefix(prefix.into()))
    } else {
        cache.purge_url(&url, soft).objects + purge(What::Key(place.key(x).hash()))
    };
    let body = format!("{{\"purged\":{objects},\"soft\":{soft}}}\n");
    let answer = Answer {
        content_type: "application/json",
        body: body.into_bytes().into(),
        ..Answer::new(200)
    };
    x.answer(answer).await
}

/// `Authorization: Bearer …`, or `Purge-Token`.
fn token<'x>(x: &'x Exchange<'_>) -> Option<&'x [u8]> {
    let fields = &x.request.fields;
    let bearer = fields.get(FieldId::Authorization).and_then(|value| {
        let (scheme, token) = value.split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
    });
    bearer.or_else(|| fields.values_named(b"purge-token").next()).map(<[u8]>::trim_ascii)
}
