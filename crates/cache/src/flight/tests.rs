mod room;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use bytes::Bytes;

use super::*;
use crate::purge::{Purge, What};
use crate::samples::{MIB, body, cache, draft, fields, found, has, key, stored, url, variant};
use crate::{Cache, Stored, Time};

/// Counts how often it was woken.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Bell {
    fn rings(&self) -> usize {
        self.0.swap(0, Ordering::SeqCst)
    }
}

fn join(cache: &Arc<Cache>, path: &str, kind: &str) -> Role {
    cache.join(&key(path), url(path), &fields(&[("x-kind", kind)]), None)
}

fn lead(cache: &Arc<Cache>, path: &str) -> Lead {
    match join(cache, path, "") {
        Role::Lead(lead) => lead,
        role => panic!("{role:?}"),
    }
}

fn follow(cache: &Arc<Cache>, path: &str, kind: &str) -> Follower {
    match join(cache, path, kind) {
        Role::Follow(follower) => follower,
        role => panic!("{role:?}"),
    }
}

fn poll(follower: &mut Follower, waker: &Waker, kind: &str) -> Poll<Followed> {
    follower.poll_head(&mut Context::from_waker(waker), &fields(&[("x-kind", kind)]))
}

fn reader(follower: &mut Follower) -> FlightReader {
    match poll(follower, Waker::noop(), "") {
        Poll::Ready(Followed::Read(reader)) => reader,
        other => panic!("{other:?}"),
    }
}

fn piece(reader: &mut FlightReader, at: u64) -> Poll<Result<Option<Bytes>, Broken>> {
    reader.poll_piece(&mut Context::from_waker(Waker::noop()), at)
}

/// What a reader gets until it has to wait, and how that ends.
fn read(reader: &mut FlightReader, at: &mut u64) -> (Vec<u8>, Poll<Result<(), Broken>>) {
    let mut out = Vec::new();
    loop {
        match piece(reader, *at) {
            Poll::Ready(Ok(Some(piece))) => {
                *at += piece.len() as u64;
                out.extend_from_slice(&piece);
            }
            Poll::Ready(Ok(None)) => return (out, Poll::Ready(Ok(()))),
            Poll::Ready(Err(broken)) => return (out, Poll::Ready(Err(broken))),
            Poll::Pending => return (out, Poll::Pending),
        }
    }
}

/// Waits as a task does.
fn wait<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
    struct Thread(thread::Thread);
    impl Wake for Thread {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Thread(thread::current())).into();
    loop {
        if let Poll::Ready(ready) = poll(&mut Context::from_waker(&waker)) {
            return ready;
        }
        thread::park();
    }
}

#[test]
fn one_leads_and_the_others_read_as_it_comes() {
    let cache = cache(MIB);
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(Arc::clone(&bell));
    let mut lead = lead(&cache, "a");
    let mut follower = follow(&cache, "a", "");
    assert!(poll(&mut follower, &waker, "").is_pending());
    let mut own = lead.begin(draft("a", None, None)).unwrap();
    assert_eq!(bell.rings(), 1);
    let mut other = reader(&mut follower);
    assert_eq!(other.head().head.status, 200);
    assert!(other.poll_piece(&mut Context::from_waker(&waker), 0).is_pending());
    lead.push("one ".into());
    assert_eq!(bell.rings(), 1);
    let (mut at, mut own_at) = (0, 0);
    assert_eq!(read(&mut other, &mut at), (b"one ".into(), Poll::Pending));
    // Who comes late reads from the beginning.
    let mut late = reader(&mut follow(&cache, "a", ""));
    lead.push("two".into());
    assert_eq!(read(&mut late, &mut 0).0, b"one two");
    assert_eq!(read(&mut other, &mut at), (b"two".into(), Poll::Pending));
    assert!(!has(&cache, "a"));
    let trailers = fields(&[("x-end", "1")]);
    let kept = lead.finish(Some(trailers)).unwrap();
    assert_eq!(body(&kept), b"one two");
    assert_eq!(read(&mut other, &mut at), (vec![], Poll::Ready(Ok(()))));
    assert_eq!(read(&mut own, &mut own_at), (b"one two".into(), Poll::Ready(Ok(()))));
    assert_eq!(other.trailers().unwrap().values_named(b"x-end").count(), 1);
    assert!(Arc::ptr_eq(own.stored().unwrap(), &found(&cache, "a").unwrap()));
    assert_eq!((cache.stats().flights, cache.stats().in_flight), (0, 0));
}

#[test]
fn a_thousand_waiters_on_many_threads_have_one_lead() {
    const THREADS: usize = 8;
    let cache = cache(64 * MIB);
    let text: Vec<u8> = (0..1_000_000_u32).map(|at| at as u8).collect();
    let barrier = Barrier::new(THREADS);
    let leads = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                barrier.wait();
                let mut followers = Vec::new();
                for _ in 0..125 {
                    match join(&cache, "a", "") {
                        Role::Follow(follower) => followers.push(follower),
                        Role::Stored(stored) => assert_eq!(body(&stored), text),
                        Role::Lead(mut lead) => {
                            leads.fetch_add(1, Ordering::SeqCst);
                            drop(lead.begin(draft("a", None, None)).unwrap());
                            for piece in text.chunks(50_000) {
                                lead.push(Bytes::copy_from_slice(piece));
                            }
                            lead.finish(None);
                        }
                    }
                }
                for mut follower in followers {
                    let followed = wait(|cx| follower.poll_head(cx, &Block::default()));
                    let Followed::Read(mut reader) = followed else { panic!("{followed:?}") };
                    let mut got = Vec::new();
                    while let Some(piece) =
                        wait(|cx| reader.poll_piece(cx, got.len() as u64)).unwrap()
                    {
                        got.extend_from_slice(&piece);
                    }
                    assert!(got == text);
                }
            });
        }
    });
    assert_eq!(leads.load(Ordering::SeqCst), 1);
}

#[test]
fn an_abandoned_flight_gets_another_lead() {
    let cache = cache(MIB);
    let bells: [Arc<Bell>; 3] = Default::default();
    let wakers = bells.clone().map(Waker::from);
    let first = lead(&cache, "a");
    let mut followers: Vec<_> = (0..3).map(|_| follow(&cache, "a", "")).collect();
    for (follower, waker) in followers.iter_mut().zip(&wakers) {
        assert!(poll(follower, waker, "").is_pending());
    }
    drop(first);
    let rings: Vec<_> = bells.iter().map(|bell| bell.rings()).collect();
    assert_eq!(rings.iter().sum::<usize>(), 1, "{rings:?}");
    // The one that was woken goes as well: another is woken.
    let woken = rings.iter().position(|rings| *rings == 1).unwrap();
    drop(followers.remove(woken));
    let rings: Vec<_> = bells.iter().map(|bell| bell.rings()).collect();
    assert_eq!(rings.iter().sum::<usize>(), 1, "{rings:?}");
    let Poll::Ready(Followed::Lead(mut lead)) = poll(&mut followers[0], &wakers[0], "") else {
        panic!("nobody leads");
    };
    assert!(poll(&mut followers[1], &wakers[2], "").is_pending());
    drop(lead.begin(draft("a", None, None)).unwrap());
    lead.push("text".into());
    assert_eq!(read(&mut reader(&mut followers[1]), &mut 0).0, b"text");
    lead.finish(None);
    assert!(has(&cache, "a"));
}

#[test]
fn who_comes_while_a_flight_has_no_lead_leads_it() {
    let cache = cache(MIB);
    let first = lead(&cache, "a");
    let mut follower = follow(&cache, "a", "");
    drop(first);
    let second = lead(&cache, "a");
    assert!(poll(&mut follower, Waker::noop(), "").is_pending());
    drop(second);
    assert!(matches!(poll(&mut follower, Waker::noop(), ""), Poll::Ready(Followed::Lead(_))));
}

#[test]
fn nothing_is_left_of_an_abandoned_flight_without_waiters() {
    let cache = cache(MIB);
    drop(lead(&cache, "a"));
    assert_eq!(cache.stats().flights, 0);
    let first = lead(&cache, "a");
    let follower = follow(&cache, "a", "");
    drop(first);
    assert_eq!(cache.stats().flights, 1);
    drop(follower);
    assert_eq!(cache.stats().flights, 0);
}

#[test]
fn an_answer_that_is_of_no_use_sets_all_free() {
    let cache = cache(MIB);
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(Arc::clone(&bell));
    let lead = lead(&cache, "a");
    let mut followers: Vec<_> = (0..100).map(|_| follow(&cache, "a", "")).collect();
    followers.iter_mut().for_each(|follower| assert!(poll(follower, &waker, "").is_pending()));
    lead.free(Some(Time(10)));
    assert_eq!(bell.rings(), 100);
    for follower in &mut followers {
        assert!(matches!(poll(follower, &waker, ""), Poll::Ready(Followed::Free)));
    }
    assert!(cache.is_known_miss(&key("a"), Time(9)));
    let mut lead = self::lead(&cache, "a");
    drop(lead.begin(draft("a", None, None)).unwrap());
    assert!(!cache.is_known_miss(&key("a"), Time(9)), "it can be stored after all");
}

#[test]
fn those_who_wait_get_what_was_validated() {
    let cache = cache(MIB);
    let stale = cache.insert(stored("a", "text"));
    let role = cache.join(&key("a"), url("a"), &Block::default(), Some(&stale));
    let Role::Lead(lead) = role else { panic!("{role:?}") };
    let role = cache.join(&key("a"), url("a"), &Block::default(), Some(&stale));
    let Role::Follow(mut follower) = role else { panic!("{role:?}") };
    let fresh = cache.insert(stale.with_facts(Facts::default()));
    lead.settle(Arc::clone(&fresh));
    let Poll::Ready(Followed::Stored(got)) = poll(&mut follower, Waker::noop(), "") else {
        panic!("nothing");
    };
    assert!(Arc::ptr_eq(&fresh, &got));
}

#[test]
fn who_looked_before_it_was_stored_does_not_fetch_it_again() {
    let cache = cache(MIB);
    let stale = cache.insert(stored("a", "old"));
    let join = |found| cache.join(&key("a"), url("a"), &Block::default(), found);
    let Role::Lead(mut lead) = join(Some(&stale)) else { panic!("nobody leads") };
    drop(lead.begin(draft("a", None, None)).unwrap());
    lead.push("new".into());
    let fresh = lead.finish(None).unwrap();
    match join(Some(&stale)) {
        Role::Stored(found) => assert_eq!(body(&found), b"new"),
        role => panic!("{role:?}"),
    }
    assert!(matches!(join(Some(&fresh)), Role::Lead(_)));
}

#[test]
fn a_failure_midway_is_told_to_all_who_read_and_nothing_is_stored() {
    let cache = cache(MIB);
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(Arc::clone(&bell));
    let mut lead = lead(&cache, "a");
    let mut reading = follow(&cache, "a", "");
    let mut waiting = follow(&cache, "a", "");
    drop(lead.begin(draft("a", Some(10), None)).unwrap());
    let mut reader = reader(&mut reading);
    lead.push("half".into());
    let mut at = 0;
    assert_eq!(read(&mut reader, &mut at).0, b"half");
    assert!(reader.poll_piece(&mut Context::from_waker(&waker), at).is_pending());
    drop(lead);
    assert_eq!(bell.rings(), 1);
    assert_eq!(read(&mut reader, &mut at), (vec![], Poll::Ready(Err(Broken::Off))));
    // Who had not begun to read may look again.
    assert!(matches!(poll(&mut waiting, &waker, ""), Poll::Ready(Followed::Again)));
    drop((reader, reading, waiting));
    assert!(!has(&cache, "a"));
    assert_eq!((cache.stats().flights, cache.stats().in_flight), (0, 0));
    // An end before the end is a failure too.
    let mut lead = self::lead(&cache, "a");
    let mut reader = lead.begin(draft("a", Some(10), None)).unwrap();
    lead.push("half".into());
    assert!(lead.finish(None).is_none());
    assert_eq!(read(&mut reader, &mut 0), (b"half".into(), Poll::Ready(Err(Broken::Off))));
    assert!(!has(&cache, "a"));
}

#[test]
fn what_turned_out_not_to_be_storable_is_read_to_its_end() {
    let cache = cache(MIB);
    let mut lead = lead(&cache, "a");
    let mut reader = lead.begin(draft("a", None, None)).unwrap();
    lead.push("text".into());
    lead.discard(Some(fields(&[("x-end", "1")])));
    assert_eq!(read(&mut reader, &mut 0), (b"text".into(), Poll::Ready(Ok(()))));
    assert!(reader.trailers().is_some());
    assert!(!has(&cache, "a"));
    drop(reader);
    assert_eq!(cache.stats().in_flight, 0);
}

#[test]
fn a_variant_for_others_is_not_followed() {
    let cache = cache(MIB);
    let mut red = lead(&cache, "a");
    let mut blue = follow(&cache, "a", "blue");
    let mut second_blue = follow(&cache, "a", "blue");
    drop(red.begin(draft("a", None, Some("red"))).unwrap());
    assert!(matches!(poll(&mut blue, Waker::noop(), "blue"), Poll::Ready(Followed::Again)));
    let Role::Lead(mut blue) = join(&cache, "a", "blue") else { panic!("nobody leads") };
    assert!(matches!(poll(&mut second_blue, Waker::noop(), "blue"), Poll::Ready(Followed::Again)));
    let mut second_blue = follow(&cache, "a", "blue");
    assert!(poll(&mut second_blue, Waker::noop(), "blue").is_pending());
    let mut second_red = follow(&cache, "a", "red");
    assert!(matches!(poll(&mut second_red, Waker::noop(), "red"), Poll::Ready(Followed::Read(_))));
    drop(blue.begin(draft("a", None, Some("blue"))).unwrap());
    red.push("r".into());
    blue.push("b".into());
    blue.finish(None);
    red.finish(None);
    assert_eq!(cache.variants(&key("a")).len(), 2);
}

#[test]
fn who_knows_that_answers_vary_does_not_wait_for_another() {
    let cache = cache(MIB);
    cache.insert(variant("a", "green", 1));
    let Role::Lead(red) = join(&cache, "a", "red") else { panic!("nobody leads") };
    let Role::Lead(_blue) = join(&cache, "a", "blue") else { panic!("nobody leads") };
    let mut second_red = follow(&cache, "a", "red");
    drop(red);
    let followed = poll(&mut second_red, Waker::noop(), "red");
    assert!(matches!(followed, Poll::Ready(Followed::Lead(_))));
    assert_eq!(cache.stats().flights, 2);
}

#[test]
fn a_slow_reader_holds_back_nobody() {
    let cache = cache(64 * MIB);
    let mut lead = lead(&cache, "a");
    let mut slow = lead.begin(draft("a", None, None)).unwrap();
    let mut fast = reader(&mut follow(&cache, "a", ""));
    let mut at = 0;
    for _ in 0..80 {
        assert!(room::is_there(&mut lead, 0));
        lead.push(vec![b'x'; 100_000].into());
        assert_eq!(read(&mut fast, &mut at).0.len(), 100_000);
    }
    lead.finish(None);
    assert_eq!(read(&mut slow, &mut 0).0.len(), 8_000_000);
}

#[test]
fn what_is_known_to_be_too_large_is_in_no_flight() {
    let cache = cache(8 * MIB);
    let mut lead = lead(&cache, "a");
    let mut follower = follow(&cache, "a", "");
    let begun = lead.begin(draft("a", Some(3 * MIB), None));
    assert_eq!(begun.err(), Some(Refused::TooLarge));
    lead.free(None);
    assert!(matches!(poll(&mut follower, Waker::noop(), ""), Poll::Ready(Followed::Free)));
    assert_eq!((cache.stats().in_flight, cache.stats().bytes), (0, 0));
}

#[test]
fn small_pieces_are_put_together() {
    let cache = cache(16 * MIB);
    let text: Vec<u8> = (0..1_200_000_u32).map(|at| (at / 7) as u8).collect();
    let sizes = [1, 700, 40_000, 20_000, 20_000, 100_000, 5];
    let mut lead = lead(&cache, "a");
    let mut reader = lead.begin(draft("a", Some(text.len() as u64), None)).unwrap();
    let (mut at, mut read_at, mut got) = (0, 0, Vec::new());
    for size in sizes.into_iter().cycle() {
        let end = (at + size).min(text.len());
        lead.push(Bytes::copy_from_slice(&text[at..end]));
        if size == 5 {
            got.extend(read(&mut reader, &mut read_at).0);
        }
        at = end;
        if at == text.len() {
            break;
        }
    }
    let kept = lead.finish(None).unwrap();
    got.extend(read(&mut reader, &mut read_at).0);
    assert!(got == text && body(&kept) == text);
    let crate::Body::Memory(parts) = &kept.body else { panic!() };
    assert!(parts.len() < 30, "{}", parts.len());
    assert!(kept.is_whole());
    assert_eq!(kept.held.bytes(), crate::store::weight::of(&kept));
}

#[test]
fn a_purge_reaches_what_is_under_way() {
    let purge = |cache: &Cache, what, soft| cache.purge(&Purge { what, soft });
    let cache = cache(MIB);
    let mut first = lead(&cache, "a");
    let mut follower = follow(&cache, "a", "");
    purge(&cache, What::Url(url("a")), false);
    // Who asks after the purge does not get what was asked for before it.
    let mut second = lead(&cache, "a");
    drop(first.begin(draft("a", None, None)).unwrap());
    first.push("old".into());
    drop(second.begin(draft("a", None, None)).unwrap());
    second.push("new".into());
    assert_eq!(read(&mut reader(&mut follower), &mut 0).0, b"old");
    assert_eq!(read(&mut reader(&mut follow(&cache, "a", "")), &mut 0).0, b"new");
    first.finish(None);
    assert!(!has(&cache, "a"));
    second.finish(None);
    assert_eq!(body(&found(&cache, "a").unwrap()), b"new");

    let mut lead = lead(&cache, "b");
    let tagged = Draft { tags: [5].into(), ..draft("b", None, None) };
    drop(lead.begin(tagged).unwrap());
    purge(&cache, What::Tag(6), false);
    assert!(matches!(join(&cache, "b", ""), Role::Follow(_)));
    purge(&cache, What::Tag(5), true);
    assert!(matches!(join(&cache, "b", ""), Role::Lead(_)));
    lead.finish(None);
    assert!(found(&cache, "b").unwrap().facts.marked_stale);
}

#[test]
fn a_lead_by_succession_asked_after_the_purge() {
    let cache = cache(MIB);
    let first = lead(&cache, "a");
    let mut follower = follow(&cache, "a", "");
    cache.purge(&Purge { what: What::All, soft: false });
    drop(first);
    let Poll::Ready(Followed::Lead(mut lead)) = poll(&mut follower, Waker::noop(), "") else {
        panic!("nobody leads");
    };
    drop(lead.begin(draft("a", None, None)).unwrap());
    lead.push("text".into());
    lead.finish(None);
    assert!(has(&cache, "a"));
}

#[test]
fn purges_and_inserts_of_many_threads_leave_nothing_old() {
    let cache = cache(64 * MIB);
    let (report, reports) = mpsc::channel();
    thread::scope(|scope| {
        for worker in 0..4 {
            let (cache, report) = (&cache, report.clone());
            scope.spawn(move || {
                for round in 0..300_u64 {
                    let path = format!("{}", (round + worker) % 50);
                    let since = cache.newest_purge();
                    // Whoever purges says what is new with the number of its purge.
                    let new =
                        Stored { purged_by: since.into(), ..stored(&path, since.to_string()) };
                    cache.insert(Stored { tags: [1].into(), ..new });
                    if round % 3 == 0 {
                        cache.purge(&Purge { what: What::Tag(1), soft: false });
                        let purged = cache.newest_purge();
                        for path in 0..50 {
                            if let Some(found) = found(cache, &path.to_string()) {
                                let at: u64 =
                                    String::from_utf8(body(&found)).unwrap().parse().unwrap();
                                report.send((at, purged)).unwrap();
                            }
                        }
                    }
                }
            });
        }
        drop(report);
        for (at, purged) in reports {
            // Others purge meanwhile, at most one each.
            assert!(at + 4 >= purged, "asked for after {at}, found after {purged}");
        }
    });
}
