use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::*;

/// Runs this on a clock that stands still while there is anything to do.
fn run<F: Future>(test: F) -> F::Output {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().start_paused(true).build().unwrap().block_on(test)
}

async fn look<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

#[test]
fn first_come_first_served() {
    run(async {
        let queue = Queue::new(2);
        let (free, order) = (Cell::new(0), RefCell::new(Vec::new()));
        let take = |name: &'static str| {
            let (free, order) = (&free, &order);
            move || {
                let left = free.get() - 1;
                if left < 0 {
                    return Err(Want::Any);
                }
                free.set(left);
                order.borrow_mut().push(name);
                Ok(())
            }
        };
        let mut first = pin!(queue.wait(Want::Any, take("first")));
        let mut second = pin!(queue.wait(Want::Any, take("second")));
        assert!(look(first.as_mut()).await.is_pending());
        assert!(look(second.as_mut()).await.is_pending());
        let third = pin!(queue.wait(Want::Any, take("third")));
        assert_eq!(look(third).await, Poll::Ready(Err(QueueFull)));
        free.set(1);
        queue.wake(1);
        assert!(look(second.as_mut()).await.is_pending(), "it is not its turn");
        assert!(look(first.as_mut()).await.is_ready());
        assert_eq!(queue.len(), 1);
        free.set(1);
        queue.wake(1);
        assert!(look(second.as_mut()).await.is_ready());
        assert_eq!(*order.borrow(), ["first", "second"]);
        assert_eq!(queue.len(), 0);
        assert!(!queue.is_contended());
    });
}

#[test]
fn who_cannot_use_a_place_holds_nobody_up() {
    run(async {
        let queue = Queue::new(9);
        let free = Cell::new(false);
        let take = || if free.get() { Ok(()) } else { Err(Want::Any) };
        let mut choosy = pin!(queue.wait(Want::Other, || Err::<(), _>(Want::Other)));
        let mut other = pin!(queue.wait(Want::Any, take));
        assert!(look(choosy.as_mut()).await.is_pending());
        assert!(!queue.is_contended(), "it would not take just any");
        assert!(look(other.as_mut()).await.is_pending());
        assert!(queue.is_contended());
        free.set(true);
        queue.wake(1);
        assert!(look(choosy.as_mut()).await.is_pending());
        assert!(look(other.as_mut()).await.is_ready());
    });
}

#[test]
fn who_leaves_passes_its_turn_on() {
    run(async {
        let queue = Queue::new(9);
        let free = Cell::new(false);
        let take = || if free.get() { Ok(()) } else { Err(Want::Any) };
        let mut second = pin!(queue.wait(Want::Any, take));
        {
            let mut first = pin!(queue.wait(Want::Other, || Err::<(), _>(Want::Other)));
            assert!(look(first.as_mut()).await.is_pending());
            assert!(look(second.as_mut()).await.is_pending());
            free.set(true);
            queue.wake(1);
        }
        assert!(look(second.as_mut()).await.is_ready());
    });
}

#[test]
fn those_for_one_server_have_a_lane_of_their_own() {
    run(async {
        let queue = Queue::new(4);
        let looks = [Cell::new(0), Cell::new(0)];
        let take = |server: usize| {
            let looks = &looks[server];
            move || {
                looks.set(looks.get() + 1);
                Err::<(), _>(Want::One(server))
            }
        };
        let mut zero = pin!(queue.wait(Want::One(0), take(0)));
        let mut one = pin!(queue.wait(Want::One(1), take(1)));
        assert!(look(zero.as_mut()).await.is_pending());
        assert!(look(one.as_mut()).await.is_pending());
        assert!(!queue.is_contended());
        let more = pin!(queue.wait(Want::One(1), take(1)));
        assert_eq!(look(more).await, Poll::Ready(Err(QueueFull)), "half of the line is theirs");
        let called = |queue: &Queue| -> Vec<bool> {
            queue.line().waiters.values().map(|waiter| waiter.called).collect()
        };
        queue.wake(1);
        assert_eq!(called(&queue), [false, true], "the other one is left alone");
        queue.wake_all();
        assert_eq!(called(&queue), [true, true]);
    });
}

#[test]
fn who_wants_something_else_changes_lanes_and_keeps_its_number() {
    run(async {
        let queue = Queue::new(4);
        let (want, free) = (Cell::new(Want::One(7)), Cell::new(false));
        let take = || if free.get() { Ok(()) } else { Err(want.get()) };
        let mut pinned = pin!(queue.wait(want.get(), take));
        let mut other = pin!(queue.wait(Want::Any, || Err::<(), _>(Want::Any)));
        assert!(look(pinned.as_mut()).await.is_pending());
        assert!(look(other.as_mut()).await.is_pending());
        want.set(Want::Any);
        assert!(look(pinned.as_mut()).await.is_pending());
        assert_eq!(queue.line().pinned, 0);
        let first = queue.line().head(Lane::Open).map(|spot| spot.number);
        assert_eq!(first, Some(0), "it came before the other one");
        free.set(true);
        queue.wake(3);
        assert!(look(pinned.as_mut()).await.is_ready());
    });
}

#[test]
fn room_that_nobody_tells_of_is_found() {
    run(async {
        let queue = Arc::new(Queue::new(4));
        let free = Arc::new(AtomicBool::new(false));
        let begin = Instant::now();
        // Tasks of their own: nothing else wakes them.
        let waiters = [0, 1].map(|_| {
            let (queue, free) = (Arc::clone(&queue), Arc::clone(&free));
            let take = move || {
                if free.load(Ordering::SeqCst) { Ok(begin.elapsed()) } else { Err(Want::Any) }
            };
            tokio::spawn(async move { queue.wait(Want::Any, take).await })
        });
        // A look of the first finds nothing; the second never looks until it is called.
        // sleep: it is the time itself that nothing may come of.
        sleep(LOOK_EVERY * 3 / 2).await;
        assert_eq!(queue.len(), 2);
        free.store(true, Ordering::SeqCst);
        for waiter in waiters {
            let waited = tokio::time::timeout(4 * LOOK_EVERY, waiter).await;
            let waited = waited.expect("in time").unwrap().unwrap();
            assert!(waited < 3 * LOOK_EVERY, "{waited:?}");
        }
    });
}

#[test]
fn whoever_joins_lets_the_first_look() {
    run(async {
        let queue = Queue::new(4);
        let free = Cell::new(false);
        let take = || if free.get() { Ok(()) } else { Err(Want::Any) };
        let mut first = pin!(queue.wait(Want::Any, take));
        assert!(look(first.as_mut()).await.is_pending());
        let mut second = pin!(queue.wait(Want::Any, take));
        assert!(look(second.as_mut()).await.is_pending());
        let called = queue.line().waiters.values().next().unwrap().called;
        assert!(called);
    });
}

#[test]
fn nothing_is_lost_between_threads() {
    let queue = Arc::new(Queue::new(1000));
    let places = Arc::new(AtomicUsize::new(3));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (queue, places) = (queue.clone(), places.clone());
            std::thread::spawn(move || {
                let mut runtime = tokio::runtime::Builder::new_current_thread();
                let runtime = runtime.enable_time().build().unwrap();
                runtime.block_on(async {
                    for _ in 0..2000 {
                        let take = || {
                            places
                                .try_update(Ordering::SeqCst, Ordering::SeqCst, |free| {
                                    free.checked_sub(1)
                                })
                                .map_err(|_| Want::Any)
                        };
                        queue.wait(Want::Any, take).await.unwrap();
                        tokio::task::yield_now().await;
                        places.fetch_add(1, Ordering::SeqCst);
                        queue.wake(1);
                    }
                });
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(places.load(Ordering::SeqCst), 3);
    assert_eq!(queue.len(), 0);
}
