//! The per-core runtime.

use std::future::Future;

use tokio::runtime::{Builder, LocalOptions};

/// Runs `future` to its end on a new runtime of this thread and returns its output.
///
/// The runtime is single threaded, so `tokio::task::spawn_local` works anywhere
/// inside without a `LocalSet`. Tasks that still live when `future` ends are dropped.
///
/// # Panics
///
/// If the kernel grants no epoll instance: a core without one can do nothing,
/// and this is called while the process starts.
pub fn run_local<F: Future>(future: F) -> F::Output {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())
        .expect("the kernel grants an epoll instance to each core");
    runtime.block_on(future)
}
