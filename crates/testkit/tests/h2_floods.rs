//! Attacks on HTTP/2, and what becomes of everybody else meanwhile.

mod h2;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use h2::Front;
use testkit::Message;
use testkit::h2::flood::{Attack, End, Report, Stall, Target, stall};
use testkit::h2::{Client, Event, Frame, Outcome, code, flag, setting};

/// Frames that no honest client sends in a row.
const FRAMES: u64 = 20_000;
/// Requests of one attacker that may reach the origin before it is turned out.
const REACHED: usize = 2_000;
/// What an attack may cost in memory, for the process that is attacked and attacks.
const MEMORY: u64 = 64 << 20;

/// Tests that look at the memory of the process run one by one.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Resident memory of this process, in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").expect("statm");
    let pages: u64 = status.split(' ').nth(1).and_then(|text| text.parse().ok()).expect("pages");
    pages * 4096
}

/// Runs an attack beside an honest client that was there before, and one that comes after.
fn attacked(attack: Attack, frames: u64) -> Report {
    let _alone = alone();
    let front = Front::start();
    let target = Target::from(front.proxy.first());
    let mut honest = front.client();
    assert_eq!(honest.get("/honest").status, 200);
    let before = resident();
    let report = attack.run(&target, frames);
    let grown = resident().saturating_sub(before);
    assert!(grown < MEMORY, "{attack:?}: {} MiB more; {report:?}", grown >> 20);
    assert_eq!(honest.get("/honest").status, 200, "{attack:?}: who was there before");
    let mut late = front.client();
    assert_eq!(late.get("/honest").status, 200, "{attack:?}: who came later");
    drop((honest, late));
    let requests = front.finish();
    let of_attack = requests.iter().filter(|request| request.target() == "/attack").count();
    assert!(of_attack <= REACHED, "{attack:?}: {of_attack} requests reached the origin");
    report
}

/// The server ends the connection.
fn is_ended(attack: Attack) {
    let report = attacked(attack, FRAMES);
    match report.end {
        End::Goaway(code::ENHANCE_YOUR_CALM) | End::Closed => {}
        // One frame of it is against the rules already.
        End::Goaway(code) if may_be_an_error(attack).contains(&code) => {}
        end => panic!("{attack:?}: {end:?} after {FRAMES} frames; {report:?}"),
    }
}

/// With which connection errors the first frame of an attack may be answered.
fn may_be_an_error(attack: Attack) -> &'static [u32] {
    match attack {
        Attack::ResetByDataAfterEnd | Attack::ResetByHeadersAfterEnd => {
            // The second is what the h2 crate says.
            &[code::STREAM_CLOSED, code::PROTOCOL_ERROR]
        }
        Attack::ResetByZeroWindow | Attack::ResetBySelfDependency | Attack::MalformedRequests => {
            &[code::PROTOCOL_ERROR]
        }
        Attack::ResetByWindowOverflow => &[code::FLOW_CONTROL_ERROR],
        Attack::ResetByPriorityLength => &[code::FRAME_SIZE_ERROR, code::PROTOCOL_ERROR],
        _ => &[],
    }
}

#[test]
fn rapid_reset() {
    is_ended(Attack::RapidReset);
}

#[test]
fn resets_that_the_server_is_made_to_send() {
    is_ended(Attack::ResetByZeroWindow);
    is_ended(Attack::ResetByWindowOverflow);
    is_ended(Attack::ResetByDataAfterEnd);
    is_ended(Attack::ResetByHeadersAfterEnd);
    is_ended(Attack::ResetByPriorityLength);
    is_ended(Attack::ResetByShortBody);
    is_ended(Attack::MalformedRequests);
}

#[test]
fn a_stream_that_depends_on_itself() {
    // Priorities mean nothing any more (RFC 9113, section 5.3.2): either it is ignored, and all
    // of these are requests like any other, or it costs what other errors cost.
    let report = attacked(Attack::ResetBySelfDependency, 2_000);
    if report.end == End::Survived {
        assert_eq!(report.resets, 0, "{report:?}");
    }
}

#[test]
fn header_blocks_without_end() {
    is_ended(Attack::Continuations);
    is_ended(Attack::EmptyContinuations);
}

#[test]
fn settings() {
    is_ended(Attack::Settings);
}

#[test]
fn pings() {
    is_ended(Attack::Pings);
}

#[test]
fn data_that_carries_nothing() {
    is_ended(Attack::EmptyData);
    is_ended(Attack::TinyData);
}

#[test]
fn windows_that_open_by_one() {
    is_ended(Attack::WindowByOne);
}

#[test]
fn priorities() {
    is_ended(Attack::Priorities);
}

#[test]
fn header_bombs() {
    // 2 000 requests of 15 000 fields that are an octet each: 120 GB, 1 GB and 1 GB.
    for attack in [Attack::HeaderBomb, Attack::TinyFields, Attack::CookieCrumbs] {
        let report = attacked(attack, 2_000);
        match report.end {
            End::Goaway(code::ENHANCE_YOUR_CALM) | End::Closed => {}
            // Each of them may be answered with an error instead; that none of them reached
            // the origin and what they may cost has been looked at.
            End::Survived => {}
            end => panic!("{attack:?}: {end:?}; {report:?}"),
        }
    }
}

#[test]
fn no_field_of_a_bomb_reaches_the_origin() {
    // Just over what a head may have of fields, and of octets: the count is that of the fields
    // as they are decoded, with their overhead (RFC 9113, section 6.5.2).
    let front = Front::start();
    for (name, value, times) in [("x", "", 15_000), ("x", "a", 1_000), ("cookie", "a", 1_000)] {
        let mut client = front.client();
        let block = testkit::h2::Block::get("/never").keep(name, value).raw(vec![0xbe; times]);
        let stream = client.take_stream();
        client.send(&Frame::headers(stream, block, true));
        match client.outcome(stream) {
            Outcome::Response(response) => assert_eq!(response.status, 431, "{name} × {times}"),
            Outcome::Reset(_) | Outcome::Goaway(_) | Outcome::Closed => {}
        }
    }
    front.finish();
}

/// What the origin answers is in the memory of this process as well.
const BIG: usize = 256 << 10;

fn big(_: &Message) -> Vec<u8> {
    let mut response = format!("HTTP/1.1 200 OK\r\nContent-Length: {BIG}\r\n\r\n").into_bytes();
    response.resize(response.len() + BIG, b'a');
    response
}

const HURRIED: &str = "limits { min-rate \"1KiB/s\" grace=\"500ms\" }";

#[test]
fn who_asks_for_much_and_takes_nothing() {
    let _alone = alone();
    for how in [Stall::Streams, Stall::Connection, Stall::Dribble] {
        let front = Front::answering(HURRIED, big);
        let target = Target::from(front.proxy.first());
        let before = resident();
        let mut client = stall(&target, how, 100);
        // Meanwhile, others are served.
        let mut honest = front.client();
        assert_eq!(honest.get("/honest").body.len(), BIG);
        // All streams end, by a reset or with the connection; none with a whole response.
        let mut open: Vec<u32> = (0..100).map(|number| 2 * number + 1).collect();
        let mut largest = 0;
        while !open.is_empty() {
            largest = largest.max(resident());
            match client.recv() {
                None => break,
                Some(Event::Reset { stream, .. }) => open.retain(|&other| other != stream),
                Some(Event::Data { end: true, stream, .. }) => panic!("{how:?}: {stream} is whole"),
                Some(_) => {}
            }
        }
        let grown = largest.saturating_sub(before);
        assert!(grown < MEMORY, "{how:?}: {} MiB more", grown >> 20);
        drop((client, honest));
        front.finish();
    }
}

#[test]
fn who_opens_windows_by_an_octet_again_and_again() {
    // Each octet is a frame of the server's: it is cut by the rate or by what it costs.
    let front = Front::answering(HURRIED, big);
    let settings = [(setting::INITIAL_WINDOW_SIZE, 0)];
    let mut client = Client::connect_with(front.proxy.first(), &settings);
    client.habits.open_windows = false;
    let stream = client.open_get("/dribble");
    client.expect_headers(stream);
    let mut octets = 0;
    while client.try_send(&Frame::window_update(stream, 1)).is_ok() && octets < FRAMES {
        match client.recv() {
            Some(Event::Data { bytes, .. }) => octets += bytes.len() as u64,
            Some(Event::Reset { .. }) | None => break,
            Some(_) => {}
        }
    }
    assert!(octets < FRAMES, "{octets} octets were sent one by one");
    drop(client);
    front.finish();
}

#[test]
fn others_are_served_while_attacks_go_on() {
    let _alone = alone();
    let front = Front::start();
    let target = Target::from(front.proxy.first());
    let before = resident();
    for &attack in Attack::ALL {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let attacker = scope.spawn(|| attack.run_until(&target, &stop));
            let mut honest = front.client();
            for number in 0..50 {
                assert_eq!(honest.get("/honest").status, 200, "{attack:?}: request {number}");
                let mut fresh = front.client();
                assert_eq!(fresh.get("/honest").status, 200, "{attack:?}: client {number}");
            }
            stop.store(true, Ordering::Relaxed);
            let (sent, connections) = attacker.join().expect("attacker");
            assert!(sent > 0 && connections > 0, "{attack:?}");
        });
    }
    let grown = resident().saturating_sub(before);
    // The origin of the test remembers all that reached it.
    assert!(grown < 2 * MEMORY, "{} MiB more after all attacks", grown >> 20);
}

/// A field block that is larger than any may be must not be a way past the ledger.
#[test]
fn a_broken_field_block_ends_the_connection() {
    let _alone = alone();
    let front = Front::start();
    let mut client = front.client();
    let updates = vec![0x20; 34_000];
    client.send(&Frame::headers(1, &updates, true).without(flag::END_HEADERS));
    client.send(&Frame::continuation(1, &updates, true));
    assert!(!client.sync(), "it goes on");
}
