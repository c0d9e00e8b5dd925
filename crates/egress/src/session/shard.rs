//! One part of the table of sessions. All under one lock; times are given.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

use hashbrown::HashTable;
use slab::Slab;

use super::{Id, Key, Pinned, Terms, Turn};
use crate::choose::Whose;
use crate::registry::SessionStatus;

/// A session.
pub(super) struct Session {
    serial: u64,
    hash: u64,
    user_hash: u64,
    pool: Arc<str>,
    set: Box<str>,
    user: Box<str>,
    id: OwnedId,
    pinned: Pinned,
    strict: bool,
    began_ms: u64,
    /// The end of its time.
    ends_ms: u64,
    idle_ms: Option<u64>,
    used_ms: u64,
    /// Those in it.
    inside: u32,
    requests: u64,
    moves: u32,
    turn: Turn,
    /// When the rotation chooses anew, by time.
    turn_ms: u64,
    /// After how many requests more it does, by number.
    turn_left: u32,
}

enum OwnedId {
    Named(Box<str>),
    Rotation(u64),
}

impl OwnedId {
    fn is(&self, id: Id<'_>) -> bool {
        match (self, id) {
            (Self::Named(known), Id::Named(name)) => **known == *name,
            (Self::Rotation(known), Id::Rotation(hash)) => *known == hash,
            _ => false,
        }
    }
}

impl Session {
    /// One more is in it. Whether its rotation is to choose anew.
    pub(super) fn enter(&mut self, now: u64) -> bool {
        self.inside += 1;
        self.requests += 1;
        self.used_ms = self.used_ms.max(now);
        match self.turn {
            Turn::Never => false,
            Turn::AfterMs(_) => now >= self.turn_ms,
            Turn::Every(_) if self.turn_left == 0 => true,
            Turn::Every(_) => {
                self.turn_left -= 1;
                false
            }
        }
    }

    pub(super) fn leave(&mut self, unused: bool, now: u64) {
        self.inside = self.inside.saturating_sub(1);
        self.used_ms = self.used_ms.max(now);
        if unused {
            self.requests = self.requests.saturating_sub(1);
            if let Turn::Every(number) = self.turn {
                self.turn_left = (self.turn_left + 1).min(number);
            }
        }
    }

    /// Whether it had `from` until now.
    pub(super) fn move_on(&mut self, from: Pinned, to: Pinned, now: u64) -> bool {
        if self.pinned != from {
            return false;
        }
        self.pinned = to;
        self.moves = self.moves.saturating_add(1);
        self.begin_turn(now);
        true
    }

    fn begin_turn(&mut self, now: u64) {
        match self.turn {
            Turn::Never => {}
            Turn::AfterMs(time) => self.turn_ms = now.saturating_add(time),
            // The request that moves it is the first of the next turn.
            Turn::Every(number) => self.turn_left = number.saturating_sub(1),
        }
    }

    /// When it ends if nothing happens to it.
    fn deadline(&self) -> u64 {
        match self.idle_ms {
            // Only those in it keep it from being idle; its time runs all the same.
            Some(idle) if self.inside == 0 => self.ends_ms.min(self.used_ms.saturating_add(idle)),
            _ => self.ends_ms,
        }
    }

    /// When to look at it next.
    fn look_at(&self, now: u64) -> u64 {
        match self.idle_ms {
            Some(idle) if self.inside > 0 => self.ends_ms.min(now.saturating_add(idle)),
            _ => self.deadline(),
        }
    }

    pub(super) fn left_ms(&self, now: u64) -> u64 {
        self.ends_ms.saturating_sub(now)
    }

    pub(super) fn serial(&self) -> u64 {
        self.serial
    }

    pub(super) fn pinned(&self) -> Pinned {
        self.pinned
    }

    pub(super) fn strict(&self) -> bool {
        self.strict
    }

    pub(super) fn moves(&self) -> u32 {
        self.moves
    }

    fn is(&self, key: &Key<'_>) -> bool {
        self.id.is(key.id)
            && Whose { set: &self.set, user: &self.user } == key.whose
            && *self.pool == **key.pool
    }
}

#[derive(Default)]
pub(super) struct Shard {
    sessions: Slab<Session>,
    /// Slots, by the hash of the key.
    by_key: HashTable<usize>,
    /// When to look whether a session has ended: time, slot and serial. One entry for each
    /// session, and one for each that was ended before its time.
    ends: BinaryHeap<Reverse<(u64, usize, u64)>>,
    /// Sessions of each user that were named by a client, by the user's hash.
    by_user: HashMap<u64, u32>,
    made: u64,
}

impl Shard {
    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    pub(super) fn find(&mut self, hash: u64, key: &Key<'_>) -> Option<(usize, &mut Session)> {
        let same = |slot: &usize| self.sessions.get(*slot).is_some_and(|known| known.is(key));
        let slot = *self.by_key.find(hash, same)?;
        self.sessions.get_mut(slot).map(|session| (slot, session))
    }

    pub(super) fn at(&mut self, slot: usize, serial: u64) -> Option<&mut Session> {
        self.sessions.get_mut(slot).filter(|session| session.serial == serial)
    }

    /// `None`: the user has as many as it may.
    pub(super) fn begin(
        &mut self,
        hash: u64,
        user_hash: u64,
        key: &Key<'_>,
        pinned: Pinned,
        terms: &Terms,
        now: u64,
    ) -> Option<(usize, &mut Session)> {
        let id = match key.id {
            Id::Named(name) => OwnedId::Named(name.into()),
            Id::Rotation(hash) => OwnedId::Rotation(hash),
        };
        if matches!(id, OwnedId::Named(_)) {
            let count = self.by_user.get(&user_hash).copied().unwrap_or_default();
            if count >= terms.max_per_user {
                return None;
            }
            self.by_user.insert(user_hash, count + 1);
        }
        self.made += 1;
        let mut session = Session {
            serial: self.made,
            hash,
            user_hash,
            pool: Arc::clone(key.pool),
            set: key.whose.set.into(),
            user: key.whose.user.into(),
            id,
            pinned,
            strict: terms.strict,
            began_ms: now,
            ends_ms: now.saturating_add(terms.ttl_ms),
            idle_ms: terms.idle_ms,
            used_ms: now,
            inside: 0,
            requests: 0,
            moves: 0,
            turn: terms.turn,
            turn_ms: 0,
            turn_left: 0,
        };
        session.begin_turn(now);
        if let Turn::Every(number) = terms.turn {
            // Entering counts the first.
            session.turn_left = number;
        }
        let look_at = session.deadline();
        let slot = self.sessions.insert(session);
        self.ends.push(Reverse((look_at, slot, self.made)));
        let sessions = &self.sessions;
        let hash_of = |slot: &usize| sessions.get(*slot).map_or(0, |session| session.hash);
        self.by_key.insert_unique(hash, slot, hash_of);
        self.sessions.get_mut(slot).map(|session| (slot, session))
    }

    /// Whether there was one.
    pub(super) fn end(&mut self, hash: u64, key: &Key<'_>) -> bool {
        let Some((slot, _)) = self.find(hash, key) else { return false };
        self.remove(slot);
        // Entries of sessions that were ended by hand must not outgrow the others.
        if self.ends.len() > 2 * self.sessions.len() + 64 {
            let sessions = &self.sessions;
            self.ends.retain(|Reverse((_, slot, serial))| {
                sessions.get(*slot).is_some_and(|session| session.serial == *serial)
            });
        }
        true
    }

    /// Removes what has ended.
    pub(super) fn expire(&mut self, now: u64) {
        while let Some(&Reverse((time, slot, serial))) = self.ends.peek()
            && time <= now
        {
            self.ends.pop();
            let Some(session) = self.at(slot, serial) else { continue };
            if session.deadline() <= now {
                self.remove(slot);
            } else {
                let look_at = session.look_at(now).max(now.saturating_add(1));
                self.ends.push(Reverse((look_at, slot, serial)));
            }
        }
    }

    fn remove(&mut self, slot: usize) {
        let Some(session) = self.sessions.try_remove(slot) else { return };
        if let Ok(entry) = self.by_key.find_entry(session.hash, |known| *known == slot) {
            entry.remove();
        }
        if matches!(session.id, OwnedId::Named(_))
            && let Some(count) = self.by_user.get_mut(&session.user_hash)
        {
            *count -= 1;
            if *count == 0 {
                self.by_user.remove(&session.user_hash);
            }
        }
    }

    pub(super) fn named(&self) -> usize {
        let is_named = |session: &Session| matches!(session.id, OwnedId::Named(_));
        self.sessions.iter().filter(|(_, session)| is_named(session)).count()
    }

    pub(super) fn list(&self, now: u64, names: &HashMap<u64, Arc<str>>) -> Vec<SessionStatus> {
        let status = |session: &Session| {
            let OwnedId::Named(id) = &session.id else { return None };
            Some(SessionStatus {
                pool: Arc::clone(&session.pool),
                set: session.set.clone(),
                user: session.user.clone(),
                id: id.clone(),
                exit: names.get(&session.pinned.exit).cloned(),
                source: session.pinned.source,
                age_ms: now.saturating_sub(session.began_ms),
                left_ms: session.left_ms(now),
                strict: session.strict,
                requests: session.requests,
                under_way: session.inside,
                moves: session.moves,
            })
        };
        self.sessions.iter().filter_map(|(_, session)| status(session)).collect()
    }
}
