//! What was given up lately.

/// Hashes of what was given up, and when, in the order of giving up. A table of eight buckets
/// and more with four places each; where a bucket is full, its oldest is forgotten. That two
/// answers share a hash costs a place in the wrong queue, no more.
#[derive(Debug, Default)]
pub(super) struct Ghosts {
    places: Vec<[Place; WAYS]>,
    now: u32,
}

const WAYS: usize = 4;

#[derive(Debug, Default, Clone, Copy)]
struct Place {
    print: u32,
    /// 0: free.
    at: u32,
}

impl Ghosts {
    /// Remembers one; `resident` is how many there are that were not given up.
    pub(super) fn note(&mut self, hash: u128, resident: usize) {
        self.make_room_for(resident);
        self.now = match self.now.checked_add(1) {
            Some(now) => now,
            // Once in four billion: all are forgotten.
            None => {
                self.places.fill([Place::default(); WAYS]);
                1
            }
        };
        let now = self.now;
        let print = print(hash);
        let bucket = self.bucket(hash);
        let same = bucket.iter().position(|place| place.at != 0 && place.print == print);
        let oldest = (0..WAYS).min_by_key(|way| bucket[*way].at).unwrap_or(0);
        bucket[same.unwrap_or(oldest)] = Place { print, at: now };
    }

    /// Whether it is among the last `resident` that were given up; it is forgotten then.
    pub(super) fn take(&mut self, hash: u128, resident: usize) -> bool {
        if self.places.is_empty() {
            return false;
        }
        let (now, print) = (self.now, print(hash));
        let lasting = resident.max(WAYS * 8);
        for place in self.bucket(hash) {
            if place.at != 0 && place.print == print {
                let age = now - place.at;
                *place = Place::default();
                return (age as usize) < lasting;
            }
        }
        false
    }

    /// Bytes that it takes.
    pub(super) fn allocated(&self) -> usize {
        self.places.capacity() * size_of::<[Place; WAYS]>()
    }

    fn make_room_for(&mut self, resident: usize) {
        let wanted = (resident / WAYS).next_power_of_two().max(8);
        if self.places.len() >= wanted {
            return;
        }
        // All that is remembered lies in a bucket which splits into two.
        let old = std::mem::take(&mut self.places);
        self.places = vec![[Place::default(); WAYS]; wanted];
        for place in old.into_iter().flatten().filter(|place| place.at != 0) {
            let bucket = place.print as usize & (wanted - 1);
            let bucket = &mut self.places[bucket];
            if let Some(free) = bucket.iter_mut().min_by_key(|place| place.at) {
                *free = place;
            }
        }
    }

    fn bucket(&mut self, hash: u128) -> &mut [Place; WAYS] {
        let index = print(hash) as usize & (self.places.len() - 1);
        &mut self.places[index]
    }
}

/// Other bits of the hash than those that choose a shard.
fn print(hash: u128) -> u32 {
    (hash >> 64) as u32
}
