//! Two processes on one folder: here two tiers, whose locks exclude each other all the same.

use super::*;

fn wait_for(condition: impl Fn() -> bool) {
    while !condition() {
        std::thread::yield_now();
    }
}

#[test]
fn the_newcomer_reads_and_takes_over_when_it_may() {
    let folder = tempfile::tempdir().unwrap();
    let old = open(folder.path());
    put(&old, stored("a", "first"));
    put(&old, stored("b", "first"));
    put(&old, stored("c", "first"));
    let new = open(folder.path());
    assert!(!new.stats().writes && old.stats().writes);
    assert_eq!(bodies(&new, "a"), [b"first"]);
    assert!(!new.store(Arc::new(stored("d", "not written"))));
    new.forget(&key("c"));
    // What the old one does meanwhile.
    put(&old, stored("a", "second"));
    put(&old, stored("e", "only the old one knows"));
    old.forget(&key("b"));
    old.hand_over();
    assert!(!old.store(Arc::new(stored("f", "too late"))));
    wait_for(|| new.stats().writes);
    new.settle();
    put(&new, stored("g", "written"));
    for disk in [&new, &old] {
        assert_eq!(bodies(disk, "a"), [b"second"]);
        assert!(all(disk, &key("b")).is_empty());
    }
    assert_eq!(bodies(&new, "e").len(), 1);
    assert!(all(&new, &key("c")).is_empty(), "what it forgot before it could write");
    drop((old, new));
    let disk = open(folder.path());
    assert!(all(&disk, &key("b")).is_empty() && all(&disk, &key("c")).is_empty());
    assert_eq!(bodies(&disk, "g"), [b"written"]);
}

#[test]
fn the_newcomer_takes_over_from_one_that_was_killed() {
    let folder = tempfile::tempdir().unwrap();
    let faults = Faults::default();
    let old = open_with(folder.path(), 64 * MIB, &faults);
    put(&old, stored("a", "first"));
    let new = open(folder.path());
    faults.die_after(300);
    assert!(old.store(Arc::new(stored("b", noise(1, 5000)))));
    drop(old);
    wait_for(|| new.stats().writes);
    put(&new, stored("c", "after"));
    drop(new);
    let disk = open(folder.path());
    assert_eq!((bodies(&disk, "a").len(), bodies(&disk, "b").len()), (1, 0));
    assert_eq!(bodies(&disk, "c"), [b"after"]);
}

#[test]
fn each_learns_what_the_other_purged() {
    let folder = tempfile::tempdir().unwrap();
    let old = open(folder.path());
    old.note_purge(1, b"known to both").unwrap();
    let table = Arc::new(Recorder::default());
    let new = Disk::open(folder.path(), 64 * MIB, table.clone()).unwrap();
    new.start().unwrap();
    assert_eq!(new.take_purges().len(), 1);
    old.note_purge(2, b"by the old one").unwrap();
    new.note_purge(2, b"by the new one").unwrap();
    drop(old);
    wait_for(|| !table.learned.lock().is_empty());
    assert_eq!(&*table.learned.lock()[0].what, b"by the old one");
    assert_eq!(table.learned.lock().len(), 1);
    drop(new);
    let purges = open(folder.path()).take_purges();
    let mut what: Vec<_> = purges.iter().map(|purge| &*purge.what).collect();
    what.sort_unstable();
    assert_eq!(what, [&b"by the new one"[..], b"by the old one", b"known to both"]);
}

#[test]
fn one_that_never_writes_again_can_be_closed() {
    let folder = tempfile::tempdir().unwrap();
    let disk = open(folder.path());
    put(&disk, stored("a", "body"));
    disk.hand_over();
    assert_eq!(bodies(&disk, "a"), [b"body"]);
    disk.forget(&key("a"));
    assert!(all(&disk, &key("a")).is_empty());
    disk.settle();
    drop(disk);
}

fn lates(folder: &Path) -> usize {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().starts_with("late-")).count()
}

fn open_recorded(folder: &Path) -> (Arc<Recorder>, Disk) {
    let recorder = Arc::new(Recorder::default());
    let disk = Disk::open(folder, 64 * MIB, recorder.clone()).unwrap();
    disk.start().unwrap();
    (recorder, disk)
}

#[test]
fn what_one_that_has_left_purges_reaches_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let old = open(folder.path());
    let (recorder, new) = open_recorded(folder.path());
    assert!(old.hand_over());
    wait_for(|| new.stats().writes);
    for number in 1..=3 {
        old.note_purge_later(number, format!("late {number}").as_bytes());
        wait_for(|| {
            later(&new, 201);
            recorder.purged.lock().len() == number as usize
        });
    }
    assert_eq!(&*recorder.purged.lock()[2], b"late 3");
    assert_eq!(lates(folder.path()), 1, "as long as more may come");
    old.note_purge_later(4, b"the last one");
    drop(old);
    wait_for(|| {
        later(&new, 201);
        lates(folder.path()) == 0
    });
    assert_eq!(recorder.purged.lock().len(), 4);
    drop(new);
    let (recorder, _disk) = open_recorded(folder.path());
    assert!(recorder.purged.lock().is_empty());
}

#[test]
fn what_one_that_has_left_purged_is_known_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let old = open(folder.path());
    put(&old, stored("a", "body"));
    assert!(old.hand_over());
    old.note_purge_later(1, b"late");
    drop(old);
    let (recorder, disk) = open_recorded(folder.path());
    disk.settle();
    assert_eq!(*recorder.purged.lock(), [b"late"[..].into()]);
    wait_for(|| {
        later(&disk, 201);
        lates(folder.path()) == 0
    });
}

#[test]
fn what_the_one_that_writes_has_purged_is_known_before_anything_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let old = open(folder.path());
    put(&old, stored("a", "body"));
    let (recorder, new) = open_recorded(folder.path());
    new.settle();
    for number in 1..=3 {
        old.note_purge(number, format!("purge {number}").as_bytes()).unwrap();
        let _ = all(&new, &key("a"));
        let learned = recorder.learned.lock();
        assert_eq!(learned.iter().filter(|purge| purge.number == number).count(), 1);
    }
    drop(old);
    wait_for(|| new.stats().writes);
    assert_eq!(recorder.learned.lock().len(), 3, "and once only");
}
