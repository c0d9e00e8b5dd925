//! Flights that are short of room.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;

/// How long a reader that does not move is waited for, in milliseconds.
const GRACE: u64 = 5000;

/// Whether a lead takes more, at this time.
pub(super) fn is_there(lead: &mut Lead, now: u64) -> bool {
    let waits = &mut Context::from_waker(Waker::noop());
    lead.poll_room(waits, Pace { now, grace: GRACE }).is_ready()
}

/// The piece of a body at this place, of so many bytes.
fn text(from: u64, length: usize) -> Bytes {
    static TEXT: LazyLock<Bytes> =
        LazyLock::new(|| (0..300_000).map(|at| (at % 253) as u8).collect());
    let from = (from % 253) as usize;
    TEXT.slice(from..from + length)
}

/// A lead that takes 100 kB, if there is room, at this time.
fn take(lead: &mut Lead, sent: &mut u64, now: u64) -> bool {
    let takes = is_there(lead, now);
    if takes {
        lead.push(text(*sent, 100_000));
        *sent += 100_000;
    }
    takes
}

/// Reads one piece, which has to be there.
fn step(reader: &mut FlightReader, at: &mut u64) {
    let Poll::Ready(Ok(Some(piece))) = piece(reader, *at) else { panic!("nothing at {at}") };
    assert!(piece == text(*at, piece.len()), "other bytes at {at}");
    *at += piece.len() as u64;
}

#[test]
fn more_than_may_be_stored_passes_through_a_window() {
    let cache = cache(64 * MIB);
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(Arc::clone(&bell));
    let mut lead = lead(&cache, "a");
    let mut waiting = follow(&cache, "a", "");
    let mut reader = lead.begin(draft("a", None, None)).unwrap();
    let mut at = 0;
    let piece = || Bytes::from(vec![b'x'; 100_000]);
    let pace = Pace { now: 0, grace: GRACE };
    while lead.poll_room(&mut Context::from_waker(&waker), pace).is_ready() {
        lead.push(piece());
    }
    assert!(matches!(join(&cache, "a", ""), Role::Lead(_)), "nobody enters any more");
    // The only one who reads is waited for.
    let mut moved = 0;
    while bell.rings() == 0 || lead.poll_room(&mut Context::from_waker(&waker), pace).is_pending() {
        let Poll::Ready(Ok(Some(piece))) = self::piece(&mut reader, at) else { panic!() };
        at += piece.len() as u64;
        moved += piece.len() as u64;
    }
    assert!((15 * MIB..18 * MIB).contains(&moved), "{moved}");
    assert!(cache.stats().in_flight < 2 * MIB, "{:?}", cache.stats());
    // What is gone is not for those who have not begun.
    assert!(matches!(poll(&mut waiting, &waker, ""), Poll::Ready(Followed::Free)));
    _ = read(&mut reader, &mut at);
    assert!(lead.finish(None).is_none());
    assert_eq!(read(&mut reader, &mut at), (vec![], Poll::Ready(Ok(()))));
    drop(reader);
    assert!(!has(&cache, "a"));
    assert_eq!((cache.stats().in_flight, cache.stats().bytes), (0, 0));
}

#[test]
fn who_lags_by_less_than_could_be_stored_gets_all_of_it() {
    let cache = cache(64 * MIB);
    let mut lead = lead(&cache, "a");
    let mut slow = lead.begin(draft("a", None, None)).unwrap();
    let mut fast = reader(&mut follow(&cache, "a", ""));
    let (mut slow_at, mut fast_at) = (0, 0);
    for round in 0..400 {
        assert!(is_there(&mut lead, 0));
        lead.push(vec![b'x'; 100_000].into());
        assert_eq!(read(&mut fast, &mut fast_at).0.len(), 100_000);
        if round >= 150 {
            let Poll::Ready(Ok(Some(piece))) = piece(&mut slow, slow_at) else { panic!("{round}") };
            slow_at += piece.len() as u64;
        }
    }
    assert!(lead.finish(None).is_none());
    assert_eq!(read(&mut slow, &mut slow_at).1, Poll::Ready(Ok(())));
    assert_eq!(slow_at, 40_000_000);
}

#[test]
fn what_is_coming_is_bounded_for_all_together() {
    let cache = cache(8 * MIB);
    let (mut leads, mut readers, mut refused) = (Vec::new(), Vec::new(), 0);
    for path in 0..60 {
        let path = path.to_string();
        let mut lead = lead(&cache, &path);
        match lead.begin(draft(&path, None, None)) {
            Ok(reader) => {
                leads.push(lead);
                readers.push(reader);
            }
            Err(why) => {
                assert_eq!(why, Refused::NoRoom);
                refused += 1;
                // Those who wait go on by themselves, and nothing is remembered.
                lead.free(None);
            }
        }
    }
    assert!(leads.len() >= 12 && refused >= 20, "{} begin, {refused} do not", leads.len());
    let mut pushed = 0;
    for _ in 0..30 {
        for lead in &mut leads {
            if is_there(lead, 0) {
                lead.push(vec![b'x'; 50_000].into());
                pushed += 50_000;
            }
        }
    }
    // Half of the memory, whatever comes.
    assert!(cache.stats().in_flight <= 4 * MIB, "{:?}", cache.stats());
    assert!(pushed > 2_000_000, "{pushed}");
    drop(leads);
    readers.iter_mut().for_each(|reader| _ = read(reader, &mut 0));
    drop(readers);
    assert_eq!((cache.stats().in_flight, cache.stats().bytes), (0, 0));
}

/// A flight that keeps as much as could be stored: its lead, how much was sent, the one who reads
/// for it, and a fast one, who have read nothing and all.
fn full(cache: &Arc<Cache>) -> (Lead, u64, FlightReader, (FlightReader, u64)) {
    let mut lead = lead(cache, "a");
    let own = lead.begin(draft("a", None, None)).unwrap();
    let mut fast = reader(&mut follow(cache, "a", ""));
    let (mut sent, mut fast_at) = (0, 0);
    while take(&mut lead, &mut sent, 0) {
        step(&mut fast, &mut fast_at);
    }
    (lead, sent, own, (fast, fast_at))
}

#[test]
fn what_there_is_room_for_comes_at_once_and_then_the_one_who_leads_is_waited_for() {
    let cache = cache(64 * MIB);
    let (mut lead, mut sent, mut own, (mut fast, mut fast_at)) = full(&cache);
    let mut own_at = 0;
    assert!((15 * MIB..17 * MIB).contains(&sent), "{sent}");
    assert!(piece(&mut fast, fast_at).is_pending());
    assert!(fast.is_held());
    assert!(!is_there(&mut lead, 1000 * GRACE));
    for round in 1..100 {
        step(&mut own, &mut own_at);
        while take(&mut lead, &mut sent, 1000 * GRACE * round) {
            step(&mut fast, &mut fast_at);
        }
        assert!(sent - own_at <= 16 * MIB, "{own_at} of {sent}");
    }
    assert!(sent > 26_000_000, "{sent}");
    // Once it is gone, there is room.
    drop(own);
    assert!(take(&mut lead, &mut sent, 0) && !fast.is_held());
    assert_eq!(read(&mut fast, &mut fast_at).0.len(), 100_000);
    assert!(lead.finish(None).is_none());
    assert_eq!(read(&mut fast, &mut fast_at).1, Poll::Ready(Ok(())));
    drop(fast);
    assert_eq!((cache.stats().in_flight, cache.stats().bytes), (0, 0));
}

#[test]
fn another_is_waited_for_as_long_as_it_moves() {
    let cache = cache(64 * MIB);
    let mut lead = lead(&cache, "a");
    let mut own = lead.begin(draft("a", None, None)).unwrap();
    let mut slow = reader(&mut follow(&cache, "a", ""));
    let (mut sent, mut own_at, mut slow_at, mut now) = (0, 0, 0, 0);
    for _ in 0..20 {
        while take(&mut lead, &mut sent, now) {
            step(&mut own, &mut own_at);
        }
        now += GRACE - 1;
        assert!(!is_there(&mut lead, now));
        step(&mut slow, &mut slow_at);
    }
    assert!(sent > 17 * MIB, "{sent}");
    while take(&mut lead, &mut sent, now) {
        step(&mut own, &mut own_at);
    }
    assert!(!is_there(&mut lead, now + GRACE - 1));
    for _ in 0..20 {
        assert!(take(&mut lead, &mut sent, now + GRACE), "it is left behind");
        step(&mut own, &mut own_at);
    }
    assert_eq!(read(&mut slow, &mut slow_at).1, Poll::Ready(Err(Broken::Behind)));
}

#[test]
fn who_takes_a_little_of_a_piece_is_waited_for() {
    let cache = cache(64 * MIB);
    let mut lead = lead(&cache, "a");
    let mut own = lead.begin(draft("a", None, None)).unwrap();
    let mut slow = reader(&mut follow(&cache, "a", ""));
    let (mut sent, mut own_at, mut slow_at) = (0, 0, 0);
    step(&mut own, {
        take(&mut lead, &mut sent, 0);
        &mut own_at
    });
    step(&mut slow, &mut slow_at);
    while take(&mut lead, &mut sent, 0) {
        step(&mut own, &mut own_at);
    }
    for round in 1..10 {
        slow.note_progress();
        assert!(!is_there(&mut lead, round * (GRACE - 1)));
    }
    slow_at = 100_000;
    while slow_at < sent {
        step(&mut slow, &mut slow_at);
    }
    assert!(is_there(&mut lead, 9 * GRACE));
}

#[test]
fn who_is_left_behind_may_go_on_while_there_is_what_it_needs() {
    let cache = cache(64 * MIB);
    let mut lead = lead(&cache, "a");
    let mut own = lead.begin(draft("a", None, None)).unwrap();
    let mut other = reader(&mut follow(&cache, "a", ""));
    let (mut sent, mut own_at, mut other_at) = (0, 0, 0);
    while take(&mut lead, &mut sent, 0) {}
    assert!(!is_there(&mut lead, 0) && !is_there(&mut lead, 2 * GRACE));
    // Nothing of it is gone: the one who leads has read nothing either.
    while other_at < sent {
        step(&mut other, &mut other_at);
    }
    step(&mut own, &mut own_at);
    while !take(&mut lead, &mut sent, 2 * GRACE) {
        step(&mut own, &mut own_at);
    }
    step(&mut other, &mut other_at);
}

#[test]
fn flights_that_are_short_of_room_do_not_wait_for_one_another() {
    let cache = cache(4 * MIB);
    let paths = ["a", "b", "c", "d", "e", "f"];
    let mut flights: Vec<_> = paths
        .iter()
        .map(|path| {
            let mut lead = lead(&cache, path);
            let own = lead.begin(draft(path, None, None)).unwrap();
            (lead, own, reader(&mut follow(&cache, path, "")), (0, 0, 0))
        })
        .collect();
    let mut rounds = 0;
    while flights.iter().any(|(.., (_, own_at, _))| *own_at < 10_000_000) {
        for (lead, slow, fast, (sent, slow_at, fast_at)) in &mut flights {
            while take(lead, sent, 0) {}
            while *fast_at < *sent {
                step(fast, fast_at);
            }
            if slow_at < sent {
                step(slow, slow_at);
            }
        }
        // Half of the memory, and nobody is cut: the slow ones get every byte.
        assert!(cache.stats().in_flight <= 2 * MIB, "{:?}", cache.stats());
        rounds += 1;
        assert!(rounds < 1000, "{flights:?}");
    }
}

#[test]
fn on_many_threads_no_wakeup_is_lost() {
    const PIECES: u64 = 300;
    let cache = cache(2 * MIB);
    let read_all = |mut reader: FlightReader, until: u64| {
        let mut at = 0;
        while at < until {
            match wait(|cx| reader.poll_piece(cx, at)) {
                Ok(Some(piece)) => {
                    assert!(piece == text(at, piece.len()), "other bytes at {at}");
                    at += piece.len() as u64;
                }
                other => panic!("{other:?} at {at}"),
            }
        }
    };
    let begun = ["a", "b", "c"].map(|path| {
        let mut lead = lead(&cache, path);
        let own = lead.begin(draft(path, None, None)).unwrap();
        let others = [(); 2].map(|()| reader(&mut follow(&cache, path, "")));
        (lead, own, others)
    });
    thread::scope(|scope| {
        for (mut lead, own, [other, leaver]) in begun {
            scope.spawn(move || read_all(own, PIECES * 50_000));
            scope.spawn(move || read_all(other, PIECES * 50_000));
            scope.spawn(move || read_all(leaver, PIECES * 20_000));
            scope.spawn(move || {
                for number in 0..PIECES {
                    // No time passes: whoever waits is woken.
                    wait(|cx| lead.poll_room(cx, Pace { now: 0, grace: GRACE }));
                    lead.push(text(number * 50_000, 50_000));
                }
                assert!(lead.finish(None).is_none());
            });
        }
    });
    assert_eq!((cache.stats().in_flight, cache.stats().bytes), (0, 0));
}

#[test]
fn small_pieces_in_front_of_a_window_are_let_go() {
    let cache = cache(MIB);
    let mut lead = lead(&cache, "a");
    let mut own = lead.begin(draft("a", None, None)).unwrap();
    lead.push("one".into());
    lead.push("two".into());
    assert_eq!(read(&mut own, &mut 0).0, b"onetwo");
    cache.resize(&crate::Settings { memory: 0, max_object: 0 });
    let mut at = 6;
    for _ in 0..20 {
        assert!(is_there(&mut lead, 0));
        lead.push(text(0, 50_000));
        assert_eq!(read(&mut own, &mut at).0.len(), 50_000);
    }
    assert!(lead.finish(None).is_none());
    assert_eq!(read(&mut own, &mut at).1, Poll::Ready(Ok(())));
}

#[test]
fn what_nobody_reads_and_nobody_stores_is_in_vain() {
    let cache = cache(64 * MIB);
    let mut lead = lead(&cache, "a");
    let own = lead.begin(draft("a", None, None)).unwrap();
    let mut other = reader(&mut follow(&cache, "a", ""));
    drop(own);
    let mut sent = 0;
    assert!(!lead.is_in_vain());
    while take(&mut lead, &mut sent, 0) {}
    assert!(!lead.is_in_vain());
    // Whoever is left behind is no reason to go on.
    assert!(!is_there(&mut lead, 0));
    assert!(is_there(&mut lead, GRACE));
    assert!(lead.is_in_vain());
    drop(lead);
    assert_eq!(read(&mut other, &mut 0).1, Poll::Ready(Err(Broken::Behind)));
    // What may be stored is fetched to its end, whoever reads it.
    let mut lead = self::lead(&cache, "b");
    drop(lead.begin(draft("b", None, None)).unwrap());
    lead.push("text".into());
    assert!(!lead.is_in_vain());
    lead.finish(None);
    assert!(has(&cache, "b"));
}

/// One step of somebody.
#[derive(Debug, Clone, Copy)]
enum Move {
    Take(usize),
    Read(usize, usize),
    Leave(usize, usize),
    Pass(u64),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        8 => (0..3_usize).prop_map(Move::Take),
        12 => (0..3_usize, 0..3_usize).prop_map(|(flight, who)| Move::Read(flight, who)),
        1 => (0..3_usize, 0..3_usize).prop_map(|(flight, who)| Move::Leave(flight, who)),
        2 => (1..GRACE).prop_map(Move::Pass),
    ];
    prop::collection::vec(one, 1..600)
}

struct Reading {
    reader: Option<FlightReader>,
    at: u64,
    moved: u64,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn nobody_is_cut_who_reads_and_nobody_waits_for_ever(moves in moves()) {
        let cache = cache(2 * MIB);
        let mut flights: Vec<_> = ["a", "b", "c"]
            .iter()
            .map(|path| {
                let mut lead = lead(&cache, path);
                let own = lead.begin(draft(path, None, None)).unwrap();
                let others = [(); 2].map(|()| reader(&mut follow(&cache, path, "")));
                let all: Vec<_> = std::iter::once(own)
                    .chain(others)
                    .map(|reader| Reading { reader: Some(reader), at: 0, moved: 0 })
                    .collect();
                (lead, all, 0)
            })
            .collect();
        let mut now = 0;
        for one in moves {
            match one {
                Move::Take(flight) => {
                    let (lead, _, sent) = &mut flights[flight];
                    take(lead, sent, now);
                }
                Move::Read(flight, who) => {
                    let reading = &mut flights[flight].1[who];
                    let Some(reader) = &mut reading.reader else { continue };
                    match piece(reader, reading.at) {
                        Poll::Ready(Ok(Some(piece))) => {
                            prop_assert!(piece == text(reading.at, piece.len()));
                            reading.at += piece.len() as u64;
                        }
                        Poll::Pending => {}
                        Poll::Ready(Err(Broken::Behind)) => {
                            prop_assert!(who > 0, "the one who leads");
                            prop_assert!(now >= reading.moved + GRACE);
                            reading.reader = None;
                            continue;
                        }
                        Poll::Ready(other) => prop_assert!(false, "{:?}", other),
                    }
                    reading.moved = now;
                }
                Move::Leave(flight, who) => flights[flight].1[who].reader = None,
                Move::Pass(time) => now += time,
            }
            prop_assert!(cache.stats().in_flight <= MIB, "{:?}", cache.stats());
        }
        // Once all have read what there is, or the time of those who do not is over, all go on.
        for (lead, readings, sent) in &mut flights {
            let own = &mut readings[0];
            if let Some(reader) = &mut own.reader {
                _ = read(reader, &mut own.at);
            }
            if !take(lead, sent, now) {
                prop_assert!(take(lead, sent, now + GRACE));
            }
        }
    }
}
