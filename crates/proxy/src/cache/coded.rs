//! Stored answers in other codings: each is made once and kept.

use std::sync::Arc;

use bytes::Bytes;
use cache::{Body, Stored};
use message::Block;

use crate::core::Core;
use crate::packing::{self, Choice, Packing};

/// Larger bodies are packed on their way, each time.
const MOST: u64 = 4 << 20;

/// What is packed on the spot: it takes less than to hand it over.
const AT_ONCE: u64 = 16 << 10;

/// Makes a stored answer ready in the coding in which this request gets it.
pub(super) async fn make(core: &Core, packing: &Packing, stored: &Arc<Stored>, request: &Block) {
    let Some(length) = stored.length.filter(|length| *length <= MOST) else { return };
    let head = &stored.head;
    let choice = packing.choose(request, head.status, &head.fields, Some(length));
    let Choice::Pack(coding) = choice else { return };
    if stored.coded[coding.number()].get().is_some() || !stored.is_whole() {
        return;
    }
    let Body::Memory(parts) = &stored.body else { return };
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
