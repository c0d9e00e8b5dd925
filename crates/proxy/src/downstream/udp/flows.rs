//! Whose datagrams are let back in: only those of targets that the client has sent to.

use std::collections::HashMap;
use std::net::SocketAddr;

/// Targets of one association; one more forgets the one that was quiet for longest.
const MAX_FLOWS: usize = 1024;

/// How long a target may answer after the last datagram to or from it: more than the two
/// minutes that RFC 4787 §4.3 asks of those who stand between.
const MAX_QUIET_MS: u64 = 5 * 60 * 1000;

/// The targets that a client has sent to, by address and port (address- and port-dependent
/// filtering, RFC 4787 §5).
#[derive(Debug, Default)]
pub(super) struct Flows {
    known: HashMap<SocketAddr, Flow>,
}

#[derive(Debug)]
struct Flow {
    /// The port of the client that sent to it last.
    client: u16,
    /// When something last went through, in milliseconds.
    active: u64,
}

impl Flows {
    /// Takes note that a client sent to a target, from this port of its.
    pub(super) fn sent(&mut self, target: SocketAddr, client: u16, now: u64) {
        if let Some(flow) = self.known.get_mut(&target) {
            *flow = Flow { client, active: now };
            return;
        }
        if self.known.len() >= MAX_FLOWS {
            self.make_room(now);
        }
        self.known.insert(target, Flow { client, active: now });
    }

    /// The port of the client that a datagram from `source` is for, if it is for any.
    pub(super) fn answered(&mut self, source: SocketAddr, now: u64) -> Option<u16> {
        let flow = self.known.get_mut(&source)?;
        if now.saturating_sub(flow.active) > MAX_QUIET_MS {
            self.known.remove(&source);
            return None;
        }
        flow.active = now;
        Some(flow.client)
    }

    /// Forgets what is over, or else the quarter that is quiet for longest, so that a flood of
    /// targets costs a look through all of them only now and then.
    fn make_room(&mut self, now: u64) {
        let mut times: Vec<u64> = self.known.values().map(|flow| flow.active).collect();
        let quarter = times.len() / 4;
        let (_, oldest, _) = times.select_nth_unstable(quarter);
        let last = (*oldest).max(now.saturating_sub(MAX_QUIET_MS));
        let mut surplus = quarter + 1;
        self.known.retain(|_, flow| {
            let goes = flow.active <= last && surplus > 0;
            surplus -= usize::from(goes);
            !goes
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    #[test]
    fn only_who_was_sent_to_may_answer() {
        let mut flows = Flows::default();
        flows.sent(target(53), 4000, 1);
        assert_eq!(flows.answered(target(53), 2), Some(4000));
        assert_eq!(flows.answered(target(54), 2), None, "another port");
        let other = SocketAddr::from(([192, 0, 2, 2], 53));
        assert_eq!(flows.answered(other, 2), None, "another address");
        flows.sent(target(53), 4001, 3);
        assert_eq!(flows.answered(target(53), 3), Some(4001), "whoever sent last");
    }

    #[test]
    fn a_quiet_target_is_forgotten() {
        let mut flows = Flows::default();
        flows.sent(target(53), 4000, 1);
        assert_eq!(flows.answered(target(53), MAX_QUIET_MS), Some(4000));
        assert_eq!(flows.answered(target(53), 2 * MAX_QUIET_MS), Some(4000), "an answer counts");
        assert_eq!(flows.answered(target(53), 3 * MAX_QUIET_MS + 1), None);
        assert!(flows.known.is_empty());
    }

    #[test]
    fn there_are_never_too_many() {
        let mut flows = Flows::default();
        for port in 1..=20_000 {
            flows.sent(target(port), 4000, u64::from(port));
            assert!(flows.known.len() <= MAX_FLOWS);
        }
        assert_eq!(flows.answered(target(20_000), 20_000), Some(4000), "the newest is there");
        // All at the same time: some go nevertheless, and not all of them.
        let mut flows = Flows::default();
        for port in 1..=5000 {
            flows.sent(target(port), 4000, 7);
            assert!(flows.known.len() <= MAX_FLOWS);
        }
        assert!(flows.known.len() > MAX_FLOWS / 2);
    }
}
