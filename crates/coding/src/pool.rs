//! Contexts of the libraries that are kept for the next body. Making one costs more than packing a
//! small body with it: hundreds of KiB that have to be fetched and cleared.
//!
//! They are kept per thread, a few of each kind, and only what is not too large. What a thread
//! makes and another one drops is kept by the other one.

use std::cell::RefCell;

use flate2::Compress;
use zstd::zstd_safe::{CCtx, DCtx, ResetDirective};

/// Contexts kept of one kind.
const MOST: usize = 4;
/// Larger ones are given back to the system: 4 MiB is what level 3 takes with its full window.
const MOST_BYTES: usize = 5 << 20;

thread_local! {
    static SPARES: RefCell<Spares> = RefCell::default();
}

#[derive(Default)]
struct Spares {
    /// Each with its level, which cannot be changed without cost.
    deflate: Vec<(u8, Compress)>,
    zstd: Vec<CCtx<'static>>,
    unzstd: Vec<DCtx<'static>>,
}

/// A deflate context of this level, reset.
pub fn deflate(level: u8) -> Option<Compress> {
    with(|spares| {
        let at = spares.deflate.iter().rposition(|(of, _)| *of == level)?;
        Some(spares.deflate.swap_remove(at).1)
    })
}

/// Keeps it. It is reset here, so that it is when it is taken.
pub fn keep_deflate(level: u8, mut context: Compress) {
    context.reset();
    with(|spares| {
        if spares.deflate.len() == MOST {
            // Of another level, it may be, that the configuration does not have any more.
            spares.deflate.remove(0);
        }
        spares.deflate.push((level, context));
        Some(())
    });
}

/// A context of zstd, reset.
pub fn zstd() -> Option<CCtx<'static>> {
    with(|spares| spares.zstd.pop())
}

/// Keeps it, if it is not too large without the dictionary that it may have had.
pub fn keep_zstd(mut context: CCtx<'static>) {
    if context.reset(ResetDirective::SessionAndParameters).is_ok() {
        with(|spares| keep(&mut spares.zstd, context.sizeof(), context));
    }
}

/// As [`zstd`], for unpacking.
pub fn unzstd() -> Option<DCtx<'static>> {
    with(|spares| spares.unzstd.pop())
}

/// As [`keep_zstd`], for unpacking.
pub fn keep_unzstd(mut context: DCtx<'static>) {
    if context.reset(ResetDirective::SessionAndParameters).is_ok() {
        with(|spares| keep(&mut spares.unzstd, context.sizeof(), context));
    }
}

fn keep<T>(kept: &mut Vec<T>, size: usize, context: T) -> Option<()> {
    (kept.len() < MOST && size <= MOST_BYTES).then(|| kept.push(context))
}

/// Nothing is kept while the thread ends, nor found.
fn with<T>(ask: impl FnOnce(&mut Spares) -> Option<T>) -> Option<T> {
    SPARES.try_with(|spares| ask(&mut spares.borrow_mut())).ok().flatten()
}
