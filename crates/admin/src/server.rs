//! The admin listener's thread.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{self, Runtime};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::Control;
use crate::guard::Guard;
use crate::respond::Responder;

/// A running admin listener. Dropping it stops it.
#[derive(Debug)]
pub struct AdminServer {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl AdminServer {
    /// Serves `listener` on a thread of its own. With a `token`, every request must show it
    /// (`Authorization: Bearer …`, RFC 6750).
    ///
    /// # Errors
    /// The socket cannot be used, or the thread cannot be started.
    pub fn start(
        listener: std::net::TcpListener,
        token: Option<String>,
        control: Arc<dyn Control>,
    ) -> io::Result<Self> {
        Self::start_within(listener, token.as_deref(), control, Limits::default())
    }

    pub(crate) fn start_within(
        listener: std::net::TcpListener,
        token: Option<&str>,
        control: Arc<dyn Control>,
        limits: Limits,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _context = runtime.enter();
            TcpListener::from_std(listener)?
        };
        let responder = Arc::new(Responder { guard: Guard::new(token), control });
        let (stop, stopped) = watch::channel(false);
        let thread = thread::Builder::new()
            .name("admin".into())
            .spawn(move || run(&runtime, &listener, &responder, limits, stopped))?;
        Ok(Self { address, stop, thread: Some(thread) })
    }

    /// The address listened on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops: no more connections; requests that are being answered have a second left.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for AdminServer {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the admin thread ended in a panic");
        }
    }
}

/// What a client may use up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Connections at once. More wait in the socket's backlog.
    pub(crate) connections: usize,
    /// For a whole request head, and for the next one on a connection that is kept.
    pub(crate) header_timeout: Duration,
    /// After this, a connection takes no more requests.
    pub(crate) lifetime: Duration,
    /// For the last answer, after `lifetime` or a stop.
    pub(crate) linger: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 64,
            header_timeout: Duration::from_secs(10),
            lifetime: Duration::from_secs(60),
            linger: Duration::from_secs(1),
        }
    }
}

/// Bytes of a request head.
const HEAD_BYTES: usize = 8 * 1024;
/// Fields of a request head.
const FIELDS: usize = 64;
/// After a failed accept: most often there are no file descriptors left, and there will be
/// none in a microsecond either.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

fn run(
    runtime: &Runtime,
    listener: &TcpListener,
    responder: &Arc<Responder>,
    limits: Limits,
    stopped: watch::Receiver<bool>,
) {
    runtime.block_on(async {
        let mut connections = JoinSet::new();
        let accepting = accept(listener, responder, limits, &stopped, &mut connections);
        tokio::select! {
            () = accepting => {}
            () = wait_for_stop(stopped.clone()) => {}
        }
        let all = async { while connections.join_next().await.is_some() {} };
        // What is still there is aborted when the set is dropped.
        let _ = timeout(limits.linger, all).await;
    });
}

/// Accepts for ever.
async fn accept(
    listener: &TcpListener,
    responder: &Arc<Responder>,
    limits: Limits,
    stopped: &watch::Receiver<bool>,
    connections: &mut JoinSet<()>,
) {
    let slots = Arc::new(Semaphore::new(limits.connections));
    // The semaphore is never closed.
    while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
        // Ended ones are taken out here; their results say nothing.
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                let responder = Arc::clone(responder);
                let stopped = stopped.clone();
                connections.spawn(async move {
                    serve(stream, responder, limits, stopped).await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "admin: cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Answers the requests of one connection.
async fn serve(
    stream: TcpStream,
    responder: Arc<Responder>,
    limits: Limits,
    stopped: watch::Receiver<bool>,
) {
    let service = service_fn(|request| {
        let responder = Arc::clone(&responder);
        async move { Ok::<_, Infallible>(responder.answer(request).await) }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_timeout)
            .max_header_size(HEAD_BYTES)
            .max_buf_size(2 * HEAD_BYTES)
            .max_headers(FIELDS)
            // `nc` and the like close their side behind the request.
            .half_close(true)
            .serve_connection(TokioIo::new(stream), service)
    );
    tokio::select! {
        result = connection.as_mut() => {
            if let Err(error) = result {
                tracing::debug!(%error, "admin: connection ended");
            }
            return;
        }
        () = sleep(limits.lifetime) => {}
        () = wait_for_stop(stopped) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(limits.linger, connection).await;
}

async fn wait_for_stop(mut stopped: watch::Receiver<bool>) {
    // An error is the end of the sender, and as good as a stop.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}
