//! A large set of domain names, and the question whether a name is under one of them.

use std::fmt;

use ahash::RandomState;

/// Longest name in the textual form without a trailing dot (RFC 1035 §3.1).
pub(crate) const MAX_NAME: usize = 253;

/// Longest label (RFC 1035 §3.1).
const MAX_LABEL: usize = 63;

/// Which names an entry stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The name alone, as in a hosts file.
    Name,
    /// Its subdomains alone (`*.example.com`).
    Subdomains,
    /// Both (`example.com`).
    Domain,
}

impl Scope {
    fn bits(self) -> u64 {
        match self {
            Self::Name => COVERS_NAME,
            Self::Subdomains => COVERS_BELOW,
            Self::Domain => COVERS_NAME | COVERS_BELOW,
        }
    }
}

/// A set of domains: about 12 bytes for each besides its text, one probe for each label of
/// a look-up.
///
/// The names lie in one arena, each behind a byte with its length. An open-addressed table
/// (linear probing) of one word an entry points into it; a hit of the hash is always
/// confirmed by comparing the text, so no name is ever taken for another. The hash is
/// keyed, so a list made by a stranger cannot pile its entries up in one place.
#[derive(Clone)]
pub struct DomainSet {
    hasher: RandomState,
    /// One unused byte first, so that no entry stands at 0.
    arena: Vec<u8>,
    /// 0, or [`TAG`] of the hash, scope bits, and the entry's place in the arena.
    slots: Vec<u64>,
    len: usize,
    /// Labels of the longest entry: a look-up need not try more.
    depth: usize,
}

const PLACE: u64 = u32::MAX as u64;
const COVERS_NAME: u64 = 1 << 32;
const COVERS_BELOW: u64 = 1 << 33;
const TAG: u64 = !(PLACE | COVERS_NAME | COVERS_BELOW);

/// An arena that outgrew its 32-bit places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLarge;

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("more than 4 GiB of names")
    }
}

impl std::error::Error for TooLarge {}

impl Default for DomainSet {
    fn default() -> Self {
        Self { hasher: RandomState::new(), arena: vec![0], slots: Vec::new(), len: 0, depth: 0 }
    }
}

impl fmt::Debug for DomainSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DomainSet").field("len", &self.len).finish_non_exhaustive()
    }
}

impl DomainSet {
    /// Number of different names.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no name.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes held on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.arena.capacity() + self.slots.capacity() * size_of::<u64>()
    }

    /// Whether an entry covers this name: the name itself, or a domain it lies under.
    /// The name is in lower case, IDNA-encoded and without a trailing dot.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        if self.slots.is_empty() || name.len() > MAX_NAME {
            return false;
        }
        let mut rest = name.as_bytes();
        let mut wanted = COVERS_NAME;
        // Else a name of 127 labels would cost as many probes.
        let mut labels = labels(rest);
        loop {
            if labels <= self.depth
                && self.find(rest).is_some_and(|slot| self.slots[slot] & wanted != 0)
            {
                return true;
            }
            match rest.iter().position(|byte| *byte == b'.') {
                Some(dot) => rest = &rest[dot + 1..],
                None => return false,
            }
            labels -= 1;
            wanted = COVERS_BELOW;
        }
    }

    /// Adds a name in the form that [`domain_name`] gives. A name that is there already
    /// then covers what either of the two does.
    ///
    /// # Errors
    /// When all names together pass 4 GiB.
    pub(crate) fn insert(&mut self, name: &str, scope: Scope) -> Result<(), TooLarge> {
        debug_assert!(!name.is_empty() && name.len() <= MAX_NAME);
        if self.slots.len() < self.len + self.len / 2 + 4 {
            self.resize(self.len * 3 + 16);
        }
        let name = name.as_bytes();
        if let Some(slot) = self.find(name) {
            self.slots[slot] |= scope.bits();
            return Ok(());
        }
        let place = self.arena.len() as u64;
        let Ok(length) = u8::try_from(name.len()) else { return Ok(()) };
        if place + name.len() as u64 > PLACE {
            return Err(TooLarge);
        }
        self.arena.push(length);
        self.arena.extend_from_slice(name);
        self.place(self.hash(name), scope.bits() | place);
        self.len += 1;
        self.depth = self.depth.max(labels(name));
        Ok(())
    }

    /// Gives back what growing left over. Two thirds of the table are then full.
    pub(crate) fn shrink(&mut self) {
        self.arena.shrink_to_fit();
        self.resize(self.len + self.len / 2 + 4);
    }

    /// Where this name's entry is.
    fn find(&self, name: &[u8]) -> Option<usize> {
        let hash = self.hash(name);
        let mut slot = self.home(hash);
        loop {
            let word = self.slots[slot];
            if word == 0 {
                return None;
            }
            if (word ^ hash) & TAG == 0 && self.text(word) == name {
                return Some(slot);
            }
            slot = self.next(slot);
        }
    }

    /// Puts a new entry into the first free slot; there always is one.
    fn place(&mut self, hash: u64, entry: u64) {
        let mut slot = self.home(hash);
        while self.slots[slot] != 0 {
            slot = self.next(slot);
        }
        self.slots[slot] = (hash & TAG) | entry;
    }

    fn resize(&mut self, slots: usize) {
        let old = std::mem::replace(&mut self.slots, vec![0; slots]);
        for word in old.into_iter().filter(|word| *word != 0) {
            let hash = self.hash(self.text(word));
            self.place(hash, word & !TAG);
        }
    }

    fn text(&self, word: u64) -> &[u8] {
        let place = (word & PLACE) as usize;
        let length = usize::from(self.arena[place]);
        &self.arena[place + 1..place + 1 + length]
    }

    fn hash(&self, name: &[u8]) -> u64 {
        self.hasher.hash_one(name)
    }

    /// Maps the low half of the hash onto the table by multiplication, so that the table
    /// can have any size; the tag is of the high half.
    fn home(&self, hash: u64) -> usize {
        (((hash & PLACE) * self.slots.len() as u64) >> 32) as usize
    }

    fn next(&self, slot: usize) -> usize {
        if slot + 1 == self.slots.len() { 0 } else { slot + 1 }
    }
}

fn labels(name: &[u8]) -> usize {
    1 + name.iter().filter(|byte| **byte == b'.').count()
}

/// Brings a domain name into the form in which names are compared: lower case,
/// IDNA-encoded (UTS 46, non-transitional), without the trailing dot. `None`: it is not one.
///
/// Letters, digits, `-` and `_` make a label (RFC 1123 §2.1; `_` since real names have it).
pub(crate) fn domain_name(text: &str, buffer: &mut String) -> Option<()> {
    buffer.clear();
    let text = text.strip_suffix('.').unwrap_or(text);
    if text.is_ascii() {
        buffer.push_str(text);
        buffer.make_ascii_lowercase();
    } else {
        let encoded = idna::domain_to_ascii(text).ok()?;
        buffer.push_str(encoded.strip_suffix('.').unwrap_or(&encoded));
    }
    let is_label = |label: &str| {
        (1..=MAX_LABEL).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    (buffer.len() <= MAX_NAME && buffer.split('.').all(is_label)).then_some(())
}

#[cfg(test)]
mod tests;
