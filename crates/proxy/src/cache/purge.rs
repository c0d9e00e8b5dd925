//! `PURGE`: what is stored is taken out, by whoever has the token.

use cache::{Purge, What};
use coding::Dictionaries;
use message::{Block, FieldId};
use subtle::ConstantTimeEq;

use super::{CachePlan, Place};
use crate::exchange::Exchange;
use crate::failure::{Failure, Kind};
use crate::respond::Answer;

/// Whether a request is a purge, where there are any.
pub(crate) fn is_asked_for(method: &[u8], plan: &CachePlan) -> bool {
    plan.purge_token.is_some() && method == b"PURGE"
}

/// Whether it shows the token.
pub(crate) fn admit(fields: &Block, plan: &CachePlan) -> Result<(), Failure> {
    let token = plan.purge_token.as_deref().unwrap_or_default().as_bytes();
    match shown(fields) {
        Some(shown) if bool::from(shown.ct_eq(token)) => Ok(()),
        _ => Err(Failure::with(Kind::Denied, "purge token")),
    }
}

/// Purges by tags of the site (`Surrogate-Key`, `Cache-Tag`), else by prefix (a path that ends with `*`),
/// else the URL of the request. `Soft-Purge: 1` leaves what was stored to stand in for errors, and to serve as a
/// dictionary.
pub(super) async fn serve<'a>(x: &mut Exchange<'a>, place: &Place<'a, '_>) -> Result<(), Failure> {
    let fields = &x.request.fields;
    admit(fields, place.plan)?;
    let flag = |name: &[u8]| fields.values_named(name).any(|value| value == b"1");
    let soft = flag(b"soft-purge") || flag(b"fastly-soft-purge");
    let tags = cache::rules::tags_of(fields);
    let url = place.url(x);
    let cache = &x.core.cache;
    // After the cache: what is kept as a dictionary meanwhile looks whether its answer is there.
    let forget = |forget: &dyn Fn(&Dictionaries)| (!soft).then(|| forget(&x.core.dictionaries));
    let purge = |what| cache.purge(&Purge { what, soft }).objects;
    let objects: u64 = if !tags.is_empty() {
        // Of this site: what others keep by the same name is not touched.
        let face = place.key(x).face().to_vec();
        let objects = tags.iter().map(|tag| purge(What::TagAt(*tag, face.clone().into()))).sum();
        forget(&|known| known.forget_word(&face));
        objects
    } else if let Some(prefix) = url.strip_suffix(b"*") {
        let objects = purge(What::Prefix(prefix.into()));
        forget(&|known| known.forget_origin(prefix));
        objects
    } else {
        let objects = cache.purge_url(&url, soft).objects + purge(What::Key(place.key(x).hash()));
        forget(&|known| known.forget(&url));
        objects
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
fn shown(fields: &Block) -> Option<&[u8]> {
    let bearer = fields.get(FieldId::Authorization).and_then(|value| {
        let (scheme, token) = value.split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
    });
    bearer.or_else(|| fields.values_named(b"purge-token").next()).map(<[u8]>::trim_ascii)
}
