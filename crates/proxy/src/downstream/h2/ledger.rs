//! What a connection of HTTP/2 has cost and what it was good for.
//!
//! Most attacks on HTTP/2 are frames that cost their sender little and us much: resets, pings,
//! settings, empty frames, windows that open by a byte. They are all answered in one way: each
//! frame is a withdrawal or a deposit, and a connection without credit is closed. The ledger
//! looks at the headers of frames only, in both directions, so that it sees what the library
//! makes of a frame (a reset that we send costs as much as one that we get).

use std::cell::Cell;

use super::frames::{FrameHeader, flag, kind};

/// The most that a connection can have to its credit, and what it begins with.
const FULL: i64 = 1_000;
/// What time alone gives, for each second.
const PER_SECOND: i64 = 100;
/// Bytes of a body in a frame of which little else can be said than that it costs us.
const TINY: u32 = 6;
/// Bytes of bodies that give a credit of one.
const BODY_PER_CREDIT: i64 = 1_024;
/// Bytes of fields in a message that are free of charge; those beyond it cost one for
/// [`FIELDS_PER_CHARGE`].
const FREE_FIELDS: u32 = 8 * 1_024;
const FIELDS_PER_CHARGE: u32 = 512;

/// The credit of one connection.
#[derive(Debug)]
pub(super) struct Ledger {
    credit: Cell<i64>,
    /// When time was last paid for, in milliseconds.
    at: Cell<u64>,
    /// Bytes of bodies that have not made a whole credit yet.
    bytes: Cell<i64>,
    /// Frames that have not cost a whole credit yet.
    tiny: Cell<u32>,
}

impl Ledger {
    pub(super) fn new(now_ms: u64) -> Self {
        Self {
            credit: Cell::new(FULL),
            at: Cell::new(now_ms),
            bytes: Cell::new(0),
            tiny: Cell::new(0),
        }
    }

    /// Whether nothing is left.
    pub(super) fn is_overdrawn(&self) -> bool {
        self.credit.get() <= 0
    }

    /// Takes note of the time.
    pub(super) fn tick(&self, now_ms: u64) {
        let passed = now_ms.saturating_sub(self.at.get());
        // Whole credits only: what is left of the time counts the next time.
        let earned = i64::try_from(passed).unwrap_or(i64::MAX).saturating_mul(PER_SECOND) / 1000;
        if earned > 0 {
            self.at.set(now_ms);
            self.deposit(earned);
        }
    }

    /// Takes note of a frame that came.
    pub(super) fn received(&self, frame: FrameHeader) {
        match frame.kind {
            kind::DATA if frame.length == 0 && frame.flags & flag::END_STREAM == 0 => {
                self.withdraw(10)
            }
            kind::DATA if frame.length < TINY && frame.flags & flag::END_STREAM == 0 => {
                self.withdraw_part();
            }
            kind::DATA => self.carried(frame.length),
            kind::HEADERS => {
                self.withdraw(i64::from(
                    frame.length.saturating_sub(FREE_FIELDS) / FIELDS_PER_CHARGE,
                ));
            }
            kind::CONTINUATION => {
                self.withdraw(10 + i64::from(frame.length / FIELDS_PER_CHARGE));
            }
            kind::SETTINGS | kind::PING if frame.flags & flag::ACK != 0 => self.withdraw(1),
            kind::SETTINGS => self.withdraw(20),
            kind::PING => self.withdraw(5),
            kind::RST_STREAM => self.withdraw(5),
            kind::WINDOW_UPDATE | kind::PRIORITY => self.withdraw(1),
            _ => self.withdraw(5),
        }
    }

    /// Takes note of a frame that we sent.
    pub(super) fn sent(&self, frame: FrameHeader) {
        match frame.kind {
            // A stream that came to its end.
            kind::DATA | kind::HEADERS if frame.flags & flag::END_STREAM != 0 => {
                self.deposit(5);
                if frame.kind == kind::DATA {
                    self.carried(frame.length);
                }
            }
            // A window that is opened by a byte makes frames of a byte: they earn nothing.
            kind::DATA if frame.length < TINY => {}
            kind::DATA => {
                self.deposit(1);
                self.carried(frame.length);
            }
            // Resets that we are made to send cost as much as those that we get.
            kind::RST_STREAM => self.withdraw(5),
            _ => {}
        }
    }

    fn carried(&self, length: u32) {
        let bytes = self.bytes.get() + i64::from(length);
        self.deposit(bytes / BODY_PER_CREDIT);
        self.bytes.set(bytes % BODY_PER_CREDIT);
    }

    fn deposit(&self, amount: i64) {
        // A debt is not forgiven.
        if !self.is_overdrawn() {
            self.credit.set(self.credit.get().saturating_add(amount).min(FULL));
        }
    }

    /// One of four: the smallest messages of the protocols that ride on streams are larger.
    fn withdraw_part(&self) {
        self.tiny.set((self.tiny.get() + 1) % 4);
        if self.tiny.get() == 0 {
            self.withdraw(1);
        }
    }

    fn withdraw(&self, amount: i64) {
        self.credit.set(self.credit.get() - amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, length: u32) -> FrameHeader {
        FrameHeader { length, kind, flags, stream: 1 }
    }

    /// How many of these a connection may send in no time.
    fn lasts(frame: FrameHeader) -> Option<usize> {
        let ledger = Ledger::new(0);
        (1..100_000).find(|_| {
            ledger.received(frame);
            ledger.is_overdrawn()
        })
    }

    #[test]
    fn what_costs_us_and_not_the_sender_is_bounded() {
        assert_eq!(lasts(frame(kind::RST_STREAM, 0, 4)), Some(200));
        assert_eq!(lasts(frame(kind::SETTINGS, 0, 0)), Some(50));
        assert_eq!(lasts(frame(kind::PING, 0, 8)), Some(200));
        assert_eq!(lasts(frame(kind::DATA, 0, 0)), Some(100));
        assert_eq!(lasts(frame(kind::WINDOW_UPDATE, 0, 4)), Some(1000));
        assert!(lasts(frame(kind::CONTINUATION, 0, 16_384)).is_some_and(|frames| frames < 30));
        assert_eq!(lasts(frame(kind::DATA, 0, 16_384)), None);
        assert_eq!(lasts(frame(kind::HEADERS, 5, 4_000)), None);
    }

    #[test]
    fn a_talk_of_many_small_messages_goes_on() {
        let ledger = Ledger::new(0);
        for _ in 0..100_000 {
            // Each message is answered; both sides open the window for each.
            ledger.received(frame(kind::DATA, 0, 10));
            ledger.received(frame(kind::WINDOW_UPDATE, 0, 4));
            ledger.sent(frame(kind::DATA, 0, 10));
            assert!(!ledger.is_overdrawn());
        }
    }

    #[test]
    fn resets_of_ours_cost_as_much_as_those_that_come() {
        let ledger = Ledger::new(0);
        (0..200).for_each(|_| ledger.sent(frame(kind::RST_STREAM, 0, 4)));
        assert!(ledger.is_overdrawn());
    }

    #[test]
    fn a_busy_browser_that_changes_its_mind_stays() {
        let ledger = Ledger::new(0);
        let mut now = 0;
        for _ in 0..1_000 {
            now += 1_000;
            ledger.tick(now);
            // Each second: twenty requests, ten of them given up, and what comes with it.
            for _ in 0..20 {
                ledger.received(frame(kind::HEADERS, 5, 400));
                ledger.received(frame(kind::WINDOW_UPDATE, 0, 4));
            }
            (0..10).for_each(|_| ledger.received(frame(kind::RST_STREAM, 0, 4)));
            (0..10).for_each(|_| ledger.sent(frame(kind::DATA, 1, 10_000)));
            ledger.received(frame(kind::PING, 0, 8));
            assert!(!ledger.is_overdrawn());
        }
    }

    #[test]
    fn time_gives_back_what_was_spent_but_no_more() {
        let ledger = Ledger::new(0);
        ledger.withdraw(900);
        ledger.tick(9);
        assert_eq!(ledger.credit.get(), 100);
        ledger.tick(1_009);
        assert_eq!(ledger.credit.get(), 200);
        ledger.tick(100_000);
        assert_eq!(ledger.credit.get(), FULL);
    }
}
