//! When there is no more room.

use super::*;

const SIZE: u64 = 4 * MIB;

/// Stores `count` answers of 50 KiB each.
fn fill(disk: &Disk, name: &str, count: u64) {
    for number in 0..count {
        put(disk, stored(&format!("{name}{number}"), noise(number, 50 * KIB)));
    }
}

#[test]
fn the_oldest_volume_goes_and_the_size_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let disk = open_sized(folder.path(), SIZE);
    for number in 0..200 {
        put(&disk, stored(&number.to_string(), noise(number, 50 * KIB)));
        let on_disk: u64 = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().metadata().unwrap().len())
            .sum();
        assert!(on_disk <= SIZE, "{on_disk}");
    }
    let stats = disk.stats();
    assert!(stats.bytes > SIZE / 2, "{stats:?}");
    assert!(stats.evicted > 100 && stats.objects + stats.evicted == 200, "{stats:?}");
    assert_eq!(bodies(&disk, "199"), [noise(199, 50 * KIB)]);
    assert!(all(&disk, &key("0")).is_empty());
}

#[test]
fn the_table_has_a_bound() {
    let folder = tempfile::tempdir().unwrap();
    let disk = open(folder.path());
    disk.shared.most.store(64, Ordering::SeqCst);
    for number in 0..500 {
        put(&disk, stored(&number.to_string(), "body"));
        let objects = disk.stats().objects;
        assert!(objects <= 64, "{objects} after {number}");
    }
    let stats = disk.stats();
    assert!(stats.objects > 48 && stats.objects + stats.evicted == 500, "{stats:?}");
    assert_eq!(bodies(&disk, "499"), [b"body"]);
    assert!(all(&disk, &key("0")).is_empty());
    drop(disk);
    // It has a lower one now, and the newest are kept.
    let disk = Disk::open(folder.path(), 64 * MIB, Arc::new(Recorder::default())).unwrap();
    disk.shared.most.store(16, Ordering::SeqCst);
    disk.start().unwrap();
    disk.settle();
    let objects = disk.stats().objects;
    assert!((9..=24).contains(&objects), "{objects}");
    assert_eq!(bodies(&disk, "499"), [b"body"]);
}

#[test]
fn large_parts_are_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let disk = open(folder.path());
    let part = |length: usize| Stored { length: Some(1 << 20), ..stored("a", noise(1, length)) };
    put(&disk, part(60 * KIB));
    assert_eq!(bodies(&disk, "a").len(), 1);
    put(&disk, part(70 * KIB));
    assert!(all(&disk, &key("a")).is_empty(), "nor what it supersedes given");
    assert_eq!(disk.stats().dropped, 1);
}

#[test]
fn what_is_used_is_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let disk = open_sized(folder.path(), SIZE);
    put(&disk, stored("used", "used"));
    put(&disk, stored("touched", "touched"));
    put(&disk, stored("unused", "unused"));
    for round in 0..10 {
        assert_eq!(bodies(&disk, "used"), [b"used"], "{round}");
        disk.touch(&stored("touched", ""));
        fill(&disk, &round.to_string(), 20);
    }
    assert!(disk.stats().kept >= 2);
    assert!(all(&disk, &key("unused")).is_empty());
    for disk in [disk, open_sized(folder.path(), SIZE)] {
        assert_eq!(bodies(&disk, "touched"), [b"touched"]);
    }
}

#[test]
fn what_was_purged_is_not_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let table = Arc::new(Recorder::default());
    let disk = Disk::open(folder.path(), SIZE, table.clone()).unwrap();
    disk.start().unwrap();
    put(&disk, stored("used", "used"));
    assert_eq!(bodies(&disk, "used"), [b"used"]);
    table.is_purged.store(true, Ordering::SeqCst);
    fill(&disk, "", 150);
    assert_eq!(disk.stats().kept, 0);
    assert!(all(&disk, &key("used")).is_empty());
}

#[test]
fn whoever_reads_a_body_can_go_on_when_its_volume_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let disk = open_sized(folder.path(), SIZE);
    let bytes = noise(1, 300 * KIB);
    put(&disk, stored("a", bytes.clone()));
    let loaded = all(&disk, &key("a")).remove(0);
    disk.shared.index.update(
        &disk.shared.index.get(key("a").hash() as u64, 0).unwrap(),
        // As if it had never been used, so that it goes.
        |place| *place = place.unused(),
    );
    fill(&disk, "", 150);
    assert!(all(&disk, &key("a")).is_empty());
    assert_eq!(body_of(&loaded), bytes);
    // And it can be stored again from there.
    put(&disk, loaded);
    assert_eq!(bodies(&disk, "a"), [bytes]);
}

#[test]
fn a_validated_answer_goes_or_stays_with_its_body() {
    for used in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let disk = open_sized(folder.path(), SIZE);
        let bytes = noise(1, 100 * KIB);
        put(&disk, with_lifetime("a", bytes.clone(), 1));
        fill(&disk, "x", 40);
        put(&disk, with_lifetime("a", bytes.clone(), 2));
        for round in 0..8 {
            if used {
                let found = all(&disk, &key("a"));
                assert_eq!((found.len(), found[0].facts.lifetime), (1, 2), "{round}");
                assert_eq!(body_of(&found[0]), bytes);
            }
            fill(&disk, &round.to_string(), 20);
        }
        assert_eq!(all(&disk, &key("a")).len(), usize::from(used));
        assert_eq!(disk.stats().damaged, 0);
    }
}

#[test]
fn what_is_too_large_is_not_stored_nor_is_what_it_would_replace() {
    let folder = tempfile::tempdir().unwrap();
    let disk = open_sized(folder.path(), SIZE);
    put(&disk, stored("a", "old"));
    put(&disk, stored("a", noise(1, SIZE as usize / 4)));
    disk.settle();
    assert!(all(&disk, &key("a")).is_empty());
    drop(disk);
    assert!(all(&open_sized(folder.path(), SIZE), &key("a")).is_empty());
}

#[test]
fn a_smaller_size_takes_effect() {
    let folder = tempfile::tempdir().unwrap();
    let disk = open_sized(folder.path(), SIZE);
    fill(&disk, "a", 60);
    disk.resize(SIZE / 4);
    put(&disk, stored("b", "body"));
    assert!(disk.stats().bytes <= SIZE / 4, "{:?}", disk.stats());
    drop(disk);
    let disk = open_sized(folder.path(), SIZE / 8);
    put(&disk, stored("c", "body"));
    assert!(disk.stats().bytes <= SIZE / 8, "{:?}", disk.stats());
}

#[test]
fn a_disk_that_is_smaller_than_its_size_is_filled_again_and_again() {
    let folder = tempfile::tempdir().unwrap();
    let faults = Faults::default();
    let disk = open_with(folder.path(), 64 * MIB, &faults);
    faults.room_for(folder.path(), 40 * MIB);
    for number in 0..60 {
        put(&disk, stored(&number.to_string(), noise(number, MIB as usize)));
    }
    let stats = disk.stats();
    assert!(stats.bytes > 16 * MIB && stats.bytes <= 40 * MIB, "{stats:?}");
    assert_eq!((bodies(&disk, "59").len(), stats.failing), (1, false));
}

#[test]
fn the_room_of_a_volume_is_free_as_soon_as_nobody_reads_from_it() {
    let folder = tempfile::tempdir().unwrap();
    let disk = open_sized(folder.path(), SIZE);
    put(&disk, stored("read", noise(1, 100 * KIB)));
    let reads = all(&disk, &key("read"));
    let held = || {
        let files = std::fs::read_dir("/proc/self/fd").unwrap();
        let names = files.filter_map(|file| std::fs::read_link(file.unwrap().path()).ok());
        let gone = names.filter(|name| {
            name.starts_with(folder.path()) && name.to_string_lossy().ends_with(".data (deleted)")
        });
        gone.count()
    };
    fill(&disk, "other", 200);
    assert!(all(&disk, &key("read")).is_empty());
    assert!(disk.stats().evicted > 50 && held() > 0, "it is read from");
    assert_eq!(body_of(&reads[0]), noise(1, 100 * KIB));
    drop(reads);
    put(&disk, stored("last", "body"));
    assert_eq!(held(), 0);
}
