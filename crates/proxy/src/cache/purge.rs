//! `PURGE`: what is stored is taken out, by whoever has the token.

use std::sync::Arc;
use std::time::Duration;

use cache::{Cache, Purge, What};
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

/// How long a purge may take. It looks at all that is in memory, and is written to the disk.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why nothing is purged here.
const ELSEWHERE: &str = "another process serves now: purge by another connection\n";

/// What is purged.
enum Order {
    /// What has one of these tags, of one site: what others keep by the same name is not touched.
    Tags {
        tags: Vec<u128>,
        face: Vec<u8>,
    },
    Prefix(Vec<u8>),
    /// A URL, and the key of this very request.
    Url {
        url: Vec<u8>,
        key: u128,
    },
}

/// Purges by tags of the site (`Surrogate-Key`, `Cache-Tag`), else by prefix (a path that ends with `*`),
/// else the URL of the request. `Soft-Purge: 1` leaves what was stored to stand in for errors, and to serve as a
/// dictionary.
pub(super) async fn serve<'a>(x: &mut Exchange<'a>, place: &Place<'a, '_>) -> Result<(), Failure> {
    admit(&x.request.fields, place.plan)?;
    if x.core.cache.is_retired() {
        return refuse(x, ELSEWHERE).await;
    }
    let flag = |name: &[u8]| x.request.fields.values_named(name).any(|value| value == b"1");
    let soft = flag(b"soft-purge") || flag(b"fastly-soft-purge");
    let order = Order::of(x, place);
    let (cache, known) = (Arc::clone(&x.core.cache), Arc::clone(&x.core.dictionaries));
    // It looks at much, and waits for the disk: the core serves others meanwhile.
    let purging = tokio::task::spawn_blocking(move || order.carry_out(soft, &cache, &known));
    let objects = match x.guard.within(PATIENCE, purging).await {
        // It may have come too late for the other one to hear of it before this is answered.
        Ok(Ok(_)) if x.core.cache.is_retired() => return refuse(x, ELSEWHERE).await,
        Ok(Ok(objects)) => objects,
        Ok(Err(_)) => return Err(Failure::internal("a purge has failed")),
        Err(_) => return refuse(x, "the purge takes long, and may not outlive a restart\n").await,
    };
    let body = format!("{{\"purged\":{objects},\"soft\":{soft}}}\n");
    let answer = Answer {
        content_type: "application/json",
        body: body.into_bytes().into(),
        ..Answer::new(200)
    };
    x.answer(answer).await
}

async fn refuse(x: &mut Exchange<'_>, why: &str) -> Result<(), Failure> {
    x.answer(Answer::text(503, why).field("Retry-After", "1")).await
}

impl Order {
    fn of<'a>(x: &Exchange<'a>, place: &Place<'a, '_>) -> Self {
        let tags = cache::rules::tags_of(&x.request.fields);
        if !tags.is_empty() {
            return Self::Tags { tags: tags.to_vec(), face: place.key(x).face().to_vec() };
        }
        let url = place.url(x);
        match url.strip_suffix(b"*") {
            Some(prefix) => Self::Prefix(prefix.to_vec()),
            None => Self::Url { key: place.key(x).hash(), url: url.to_vec() },
        }
    }

    /// Purges, and says how much that was. Blocks.
    fn carry_out(self, soft: bool, cache: &Cache, dictionaries: &Dictionaries) -> u64 {
        let purge = |what| cache.purge(&Purge { what, soft }).objects;
        // After the cache: what is kept as a dictionary meanwhile looks whether its answer is there.
        let forget = |forget: &dyn Fn(&Dictionaries)| (!soft).then(|| forget(dictionaries));
        match self {
            Self::Tags { tags, face } => {
                let of = |tag| purge(What::TagAt(tag, face.clone().into()));
                let objects = tags.into_iter().map(of).sum();
                forget(&|known| known.forget_word(&face));
                objects
            }
            Self::Prefix(prefix) => {
                let objects = purge(What::Prefix(prefix.clone().into()));
                forget(&|known| known.forget_origin(&prefix));
                objects
            }
            Self::Url { url, key } => {
                let objects = cache.purge_url(&url, soft).objects + purge(What::Key(key));
                forget(&|known| known.forget(&url));
                objects
            }
        }
    }
}

/// `Authorization: Bearer …`, or `Purge-Token`.
fn shown(fields: &Block) -> Option<&[u8]> {
    let bearer = fields.get(FieldId::Authorization).and_then(|value| {
        let (scheme, token) = value.split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
    });
    bearer.or_else(|| fields.values_named(b"purge-token").next()).map(<[u8]>::trim_ascii)
}
