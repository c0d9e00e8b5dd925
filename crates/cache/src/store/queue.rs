//! Queues through the slots of a shard.

use super::shard::{NONE, Slot};

/// A queue of slots: the newest enters at the head, the oldest leaves at the tail.
#[derive(Debug)]
pub(super) struct Queue {
    head: u32,
    pub(super) tail: u32,
    /// What the answers in it weigh.
    pub(super) bytes: u64,
}

impl Default for Queue {
    fn default() -> Self {
        Self { head: NONE, tail: NONE, bytes: 0 }
    }
}

impl Queue {
    pub(super) fn push(&mut self, slots: &mut [Slot], index: u32) {
        let slot = &mut slots[index as usize];
        (slot.newer, slot.older) = (NONE, self.head);
        self.bytes += slot.weight;
        match self.head {
            NONE => self.tail = index,
            head => slots[head as usize].newer = index,
        }
        self.head = index;
    }

    pub(super) fn remove(&mut self, slots: &mut [Slot], index: u32) {
        let Slot { newer, older, weight, .. } = slots[index as usize];
        match newer {
            NONE => self.head = older,
            newer => slots[newer as usize].older = older,
        }
        match older {
            NONE => self.tail = newer,
            older => slots[older as usize].newer = newer,
        }
        self.bytes -= weight;
    }
}
