//! Where requests of HTTP/1 are served.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use message::FreeList;

use super::h1::Connection;
use crate::exchange::Next;

/// Free rooms that a core keeps at most.
const FREE: usize = 256;

/// A future that serves one request after the other, each of whatever connection comes in. What
/// a request needs takes kilobytes: idle connections have no room for it, and to allocate and to
/// fill it for each request would cost a good part of what the request costs.
pub(crate) struct Room {
    serving: Pin<Box<dyn Future<Output = Infallible>>>,
    door: Rc<Door>,
}

/// What goes in and comes out.
#[derive(Default)]
struct Door {
    came: Cell<Option<Box<Connection>>>,
    served: Cell<Option<(Box<Connection>, Next)>>,
}

/// Rooms of one core that nobody is in.
#[derive(Debug, Default)]
pub(crate) struct Rooms(FreeList<Room>);

impl Rooms {
    /// Serves the request that has begun to come on this connection, and gives the connection
    /// back. Whoever drops the future drops what is in the room, and the room.
    pub(super) async fn serve(&self, connection: Box<Connection>) -> (Box<Connection>, Next) {
        let mut room = self.0.take().unwrap_or_else(Room::new);
        room.door.came.set(Some(connection));
        let served = poll_fn(|cx| {
            // It never ends: what has come out tells.
            let Poll::Pending = room.serving.as_mut().poll(cx);
            room.door.served.take().map_or(Poll::Pending, Poll::Ready)
        })
        .await;
        self.0.give(room, FREE);
        served
    }

    /// Frees those that nobody needed since the last call.
    pub(crate) fn trim(&self) {
        self.0.trim();
    }
}

impl Room {
    fn new() -> Self {
        let door = Rc::<Door>::default();
        let inside = Rc::clone(&door);
        let serving = Box::pin(async move {
            loop {
                let mut connection = poll_fn(|_| match inside.came.take() {
                    Some(connection) => Poll::Ready(connection),
                    None => Poll::Pending,
                })
                .await;
                let next = connection.request_until_cut().await;
                inside.served.set(Some((connection, next)));
            }
        });
        Self { serving, door }
    }
}

impl std::fmt::Debug for Room {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Room")
    }
}
