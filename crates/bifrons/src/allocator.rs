//! The allocator of the process.

/// The system's allocator keeps what a burst of requests needed, because small things that live
/// on lie between what was freed. This one gives pages back, and is quicker besides.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Gives the pages back that this thread has freed and not used since. The allocator does so by
/// itself only while it is being used: after a burst, a quiet core would keep them for ever.
pub(crate) fn give_back() {
    #[allow(unsafe_code, reason = "the one call of the allocator that no safe crate wraps")]
    // SAFETY: `mi_collect` may be called by any thread at any time; it takes no pointers.
    unsafe {
        libmimalloc_sys::mi_collect(false);
    }
}
