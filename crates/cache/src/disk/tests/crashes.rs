//! Random work, random crashes, and a model that is easy to believe.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const SIZE: u64 = MIB;

#[derive(Debug, Clone)]
enum Op {
    /// Key, kind, length of the body.
    Store(u8, u8, usize),
    /// The same body, but validated.
    Validate(u8, u8),
    Forget(u8),
    Load,
    /// The process ends, and another begins.
    Restart,
    /// The process is killed after so many bytes, and another begins after so many more steps.
    Crash(i64),
}

/// Which body, and how often it was validated.
type Version = (u64, u64);

#[derive(Default)]
struct Model {
    /// What there is while the process lives; it may be gone, but nothing else may be there.
    now: BTreeMap<(u8, u8), Version>,
    /// What there may be after a restart.
    then: BTreeMap<(u8, u8), BTreeSet<Version>>,
    next: u64,
    is_dying: bool,
}

impl Model {
    fn store(&mut self, slot: (u8, u8), version: Version) {
        self.now.insert(slot, version);
        let then = self.then.entry(slot).or_default();
        if !self.is_dying {
            then.clear();
        }
        then.insert(version);
    }

    fn forget(&mut self, key: u8) {
        self.now.retain(|slot, _| slot.0 != key);
        if !self.is_dying {
            self.then.retain(|slot, _| slot.0 != key);
        }
    }
}

/// The answer of this version.
fn made(slot: (u8, u8), (seed, lifetime): Version, length: usize) -> Stored {
    let mut body = noise(seed, length);
    body.extend(seed.to_le_bytes());
    let facts = Facts { lifetime, ..Facts::default() };
    Stored { facts, ..of_kind(&slot.0.to_string(), &slot.1.to_string(), body) }
}

/// Which version this is, after making sure that nothing of it is wrong.
fn version(stored: &Stored) -> Version {
    let body = body_of(stored);
    let (noise_part, seed) = body.split_at(body.len() - 8);
    let seed = u64::from_le_bytes(seed.try_into().unwrap());
    assert_eq!(noise_part, noise(seed, noise_part.len()));
    assert_eq!(stored.length, Some(body.len() as u64));
    (seed, stored.facts.lifetime)
}

fn kind_of(stored: &Stored) -> u8 {
    let value = stored.vary.fields[0].1.as_deref().unwrap();
    std::str::from_utf8(value).unwrap().parse().unwrap()
}

fn check(disk: &Disk, model: &Model, name: u8) {
    for stored in all(disk, &key(&name.to_string())) {
        let slot = (name, kind_of(&stored));
        assert_eq!(Some(&version(&stored)), model.now.get(&slot), "{slot:?}");
    }
}

/// Another process begins: what it finds has to be something that it may find.
fn restart(folder: &Path, model: &mut Model) -> (Arc<Disk>, Faults) {
    let faults = Faults::default();
    let disk = open_with(folder, SIZE, &faults);
    model.is_dying = false;
    model.now.clear();
    let then = std::mem::take(&mut model.then);
    for name in 0..4 {
        for stored in all(&disk, &key(&name.to_string())) {
            let (slot, version) = ((name, kind_of(&stored)), version(&stored));
            assert!(then.get(&slot).is_some_and(|then| then.contains(&version)), "{slot:?}");
            model.store(slot, version);
        }
    }
    assert_eq!(disk.stats().damaged, 0, "a crash is no damage");
    (disk, faults)
}

fn run(ops: &[Op]) {
    let folder = tempfile::tempdir().unwrap();
    let mut model = Model::default();
    let (mut disk, mut faults) = restart(folder.path(), &mut model);
    let mut steps = 0;
    for op in ops {
        steps += 1;
        let is_over = model.is_dying && faults.is_dead() && steps % 3 == 0;
        match op {
            Op::Store(name, kind, length) => {
                model.next += 1;
                let version = (model.next, 0);
                disk.store(Arc::new(made((*name, *kind), version, *length)));
                model.store((*name, *kind), version);
            }
            Op::Validate(name, kind) => {
                let loaded = all(&disk, &key(&name.to_string()));
                if let Some(mut stored) = loaded.into_iter().find(|one| kind_of(one) == *kind) {
                    model.next += 1;
                    stored.facts.lifetime = model.next;
                    let version = version(&stored);
                    disk.store(Arc::new(stored));
                    model.store((*name, *kind), version);
                }
            }
            Op::Forget(name) => {
                disk.forget(&key(&name.to_string()));
                model.forget(*name);
                assert!(all(&disk, &key(&name.to_string())).is_empty());
            }
            Op::Load => {}
            Op::Crash(bytes) if !model.is_dying => {
                model.is_dying = true;
                faults.die_after(*bytes);
            }
            Op::Restart | Op::Crash(_) => {
                drop(disk);
                (disk, faults) = restart(folder.path(), &mut model);
                continue;
            }
        }
        disk.settle();
        (0..4).for_each(|name| check(&disk, &model, name));
        if is_over {
            drop(disk);
            (disk, faults) = restart(folder.path(), &mut model);
        }
    }
    drop(disk);
    restart(folder.path(), &mut model);
}

fn op() -> impl Strategy<Value = Op> {
    let length = prop_oneof![
        5 => 0..300_usize,
        3 => 0..30_000_usize,
        2 => 60_000..200_000_usize,
    ];
    prop_oneof![
        8 => (0..4_u8, 0..2_u8, length).prop_map(|(key, kind, length)| Op::Store(key, kind, length)),
        3 => (0..4_u8, 0..2_u8).prop_map(|(key, kind)| Op::Validate(key, kind)),
        2 => (0..4_u8).prop_map(Op::Forget),
        2 => Just(Op::Load),
        1 => Just(Op::Restart),
        2 => prop_oneof![0..1000_i64, 0..400_000_i64].prop_map(Op::Crash),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_given_that_was_not_stored(ops in prop::collection::vec(op(), 1..80)) {
        run(&ops);
    }
}

#[test]
fn what_was_forgotten_in_a_volume_that_is_done_outlives_a_loss_of_power() {
    let folder = tempfile::tempdir().unwrap();
    let faults = Faults::default();
    let disk = open_with(folder.path(), SIZE, &faults);
    let forget = |name| {
        disk.forget(&key(name));
        disk.settle();
    };
    put(&disk, stored("gone", "body"));
    put(&disk, stored("other", "body"));
    forget("other");
    disk.pass(1000);
    disk.settle_all();
    forget("gone");
    (0..4).for_each(|number| put(&disk, stored(&number.to_string(), noise(number, 100 * KIB))));
    disk.pass(1000);
    disk.settle_all();
    assert!(disk.stats().volumes > 1);
    faults.die_after(0);
    drop(disk);
    faults.lose_power(folder.path(), |bytes, synced| bytes.truncate(synced));
    let disk = open(folder.path());
    assert!(bodies(&disk, "gone").is_empty());
}
