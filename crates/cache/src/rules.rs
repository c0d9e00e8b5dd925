//! What may be stored, whether it may be used, and what becomes of it: RFC 9111 and what belongs
//! to it (5861, 8246, 9110 §13 and §14, 9211, 9213), for a shared cache. Pure.
//!
//! - An exchange asks in this order: [`Asked::of`] a request; [`judge`] of what is stored for it;
//!   [`answer_to`] for what is sent of it; [`validators`] for a request that validates it, and
//!   [`may_stand_in`] when that fails.
//! - Of an answer: [`storable`], then [`kept`]; [`freshened`] for a 304, [`freshened_by_head`]
//!   for an answer to HEAD, [`combine`] for parts; [`invalidates`] for what changes things.
//!
//! In doubt an answer is stale, and not stored. Nothing here panics on what peers send.

mod altering;
mod answer;
mod asked;
mod combine;
mod date;
mod directives;
mod entity_tag;
mod invalidate;
mod range;
mod slice;
mod status;
mod storable;
mod suspicion;
mod tags;
mod targeted;
#[cfg(test)]
mod tests;
mod usable;
mod validate;
pub mod vary;

pub use altering::{Sender, alters};
pub use answer::{Answer, Kept, answer_to};
pub use asked::Asked;
pub use combine::{combine, gap, if_range};
pub use date::{http_date, parse_date};
pub use entity_tag::EntityTag;
pub use invalidate::{Invalidated, invalidated_uris, invalidates};
pub use range::{AskedFor, ContentRange, MAX_RANGES, Multipart, Ranges};
pub use slice::SliceVersion;
pub use status::{CacheStatus, Forwarded};
pub use storable::{NotStored, Terms, for_one, kept, storable};
pub use suspicion::{Reflections, deceives};
pub use tags::{tag_texts, tags_of};
pub use usable::{Miss, Use, age, judge, may_stand_in, ttl};
pub use validate::{ByHead, freshened, freshened_by_head, selected_by, validators};
