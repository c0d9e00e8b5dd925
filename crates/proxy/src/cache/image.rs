//! Answers that are large and given often are kept as files in memory as well, for connections that
//! the kernel can send those to.

use std::sync::Arc;

use cache::{Body, Stored};

use crate::core::Core;

/// Has an image made of the body of an answer, where that is worthwhile. Nobody waits for it.
pub(super) fn make(core: &Core, stored: &Arc<Stored>) {
    if !core.cache.wants_image(stored) {
        return;
    }
    let (cache, stored) = (Arc::clone(&core.cache), Arc::clone(stored));
    tokio::task::spawn_blocking(move || {
        let Body::Memory(parts) = &stored.body else { return };
        match net::file::image(parts.iter().map(|part| &*part.bytes)) {
            Ok(file) => cache.keep_image(&stored, file),
            Err(error) => tracing::debug!(%error, "an answer is not kept as a file"),
        }
    });
}
