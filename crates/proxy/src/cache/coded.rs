//! Stored answers in other codings: each is made once and kept.

use std::sync::Arc;

use bytes::Bytes;
use cache::{Body, Stored};
use coding::Coding;
use message::Block;

use crate::core::Core;
use crate::packing::{self, Choice, Packing};

/// Larger bodies are packed on their way, each time.
const MOST: u64 = 4 << 20;

/// What is packed on the spot: it takes less than to hand it over.
const AT_ONCE: u64 = 16 << 10;

/// The coding that a stored answer has to be made ready in for this request, and was not yet.
pub(super) fn wanted(packing: &Packing, stored: &Stored, request: &Block) -> Option<Coding> {
    let length = stored.length.filter(|length| *length <= MOST)?;
    let head = &stored.head;
    match packing.choose(request, head.status, &head.fields, Some(length)) {
        Choice::Pack(coding) if stored.coded[coding.number()].get().is_none() => {
            stored.is_whole().then_some(coding)
        }
        _ => None,
    }
}

/// Makes a stored answer ready in the coding in which this request gets it.
pub(super) async fn make(core: &Core, packing: &Packing, stored: &Arc<Stored>, request: &Block) {
    let Some(coding) = wanted(packing, stored, request) else { return };
    let (Body::Memory(parts), Some(length)) = (&stored.body, stored.length) else { return };
    let parts: Vec<Bytes> = parts.iter().map(|part| part.bytes.clone()).collect();
    let level = packing.level(coding);
    let pack = move || coding::encode_all(coding, level, &parts.concat());
    let packed = if length <= AT_ONCE {
        pack()
    } else {
        let Ok(packed) = tokio::task::spawn_blocking(pack).await else { return };
        packed
    };
    if let Ok(packed) = packed {
        packing::count(&core.counters, length, packed.len() as u64);
        core.cache.keep_coding(stored, coding.number(), packed.into());
    }
}
