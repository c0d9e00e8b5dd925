//! What an answer costs in memory.

use bytes::Bytes;
use message::Block;

use crate::{Body, Part, Stored};

/// The counts in front of what an `Arc` holds.
const COUNTS: usize = 16;

/// What `Bytes` keeps beside the bytes once they are shared.
const SHARED: usize = 32;

/// All bytes that an answer takes outside of the table, as the allocator rounds them.
pub(crate) fn of(stored: &Stored) -> u64 {
    let vary = &stored.vary.fields;
    let values = vary.iter().map(|(name, value)| {
        allocation(name.len()) + value.as_ref().map_or(0, |value| allocation(value.len()))
    });
    let unshown = &stored.facts.unshown;
    let sum = allocation(COUNTS + size_of::<Stored>())
        + allocation(stored.key.text().len())
        + allocation(size_of_val(&**vary))
        + values.sum::<usize>()
        + allocation(size_of_val(&*stored.tags))
        + allocation(size_of_val(&**unshown))
        + unshown.iter().map(|name| allocation(name.len())).sum::<usize>()
        + block(&stored.head.fields)
        + stored.trailers.as_ref().map_or(0, block)
        + body(&stored.body);
    sum as u64 + stored.coded.weight()
}

fn block(fields: &Block) -> usize {
    fields.allocated().into_iter().map(allocation).sum()
}

fn body(body: &Body) -> usize {
    match body {
        Body::Memory(parts) => {
            allocation(parts.len() * size_of::<Part>())
                + parts.iter().map(|part| bytes(&part.bytes)).sum::<usize>()
        }
        // The file and its counts; what the kernel keeps of it is the kernel's.
        Body::Disk(_) => 32,
    }
}

/// What a run of bytes costs that is alone in its allocation.
pub(crate) fn bytes(bytes: &Bytes) -> usize {
    allocation(bytes.len()) + SHARED
}

/// What one costs that was made by a dictionary, with its place in the list of them.
pub(crate) fn by_dictionary(bytes: &Bytes) -> u64 {
    self::bytes(bytes) as u64 + 128
}

/// What one costs that is a file: its pages, and what the kernel keeps of it.
pub(crate) fn image(length: u64) -> u64 {
    length.next_multiple_of(4096) + 4096
}

/// What the allocator takes for so many bytes: steps of 16 up to 128, then four for each
/// doubling, then pages.
fn allocation(bytes: usize) -> usize {
    match bytes {
        0 => 0,
        1..=128 => bytes.next_multiple_of(16),
        129..=32768 => bytes.next_multiple_of(bytes.next_power_of_two() / 8),
        _ => bytes.next_multiple_of(4096),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allocations_are_rounded_as_the_allocator_does() {
        let of = [0, 1, 16, 17, 128, 129, 161, 257, 1000, 1025, 32768, 32769];
        let taken = [0, 16, 16, 32, 128, 160, 192, 320, 1024, 1280, 32768, 36864];
        assert_eq!(of.map(allocation), taken);
    }
}
