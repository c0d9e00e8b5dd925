//! Whose folder it is, and what happens when it fails.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::disk::DiskError;

fn refusal(folder: &Path) -> DiskError {
    Disk::open(folder, MIB, Arc::new(Recorder::default())).err().unwrap()
}

#[test]
fn only_its_owner_may_look_at_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/b");
    let disk = open(&path);
    put(&disk, stored("a", "body"));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    let files: Vec<_> = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 5);
    for file in files {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[test]
fn a_folder_of_somebody_else_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("thesis.txt");
    fs::write(&file, "mine").unwrap();
    let refused = refusal(folder.path());
    assert!(matches!(&refused, DiskError::Foreign { found, .. } if found == "thesis.txt"));
    assert!(refused.to_string().contains("thesis.txt"));
    assert_eq!(fs::read(&file).unwrap(), b"mine");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn another_format_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("format"), "bifrons cache 2\n").unwrap();
    fs::write(folder.path().join("00000000.data"), "better").unwrap();
    assert!(matches!(refusal(folder.path()), DiskError::Version { .. }));
    assert_eq!(fs::read(folder.path().join("00000000.data")).unwrap(), b"better");
    fs::write(folder.path().join("format"), "something else").unwrap();
    assert!(matches!(refusal(folder.path()), DiskError::Foreign { .. }));
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(refusal(&file.join("cache")), DiskError::Io { .. }));
}

#[test]
fn a_full_disk_is_left_alone_for_a_while() {
    let folder = tempfile::tempdir().unwrap();
    let faults = Faults::default();
    let disk = open_with(folder.path(), 64 * MIB, &faults);
    put(&disk, stored("a", "body"));
    faults.fail_writes(Some(ErrorKind::StorageFull));
    put(&disk, stored("b", noise(1, 2000)));
    assert!(!disk.store(Arc::new(stored("c", "body"))), "no more until it is tried again");
    assert!(disk.stats().failing);
    assert_eq!(disk.stats().dropped, 2);
    assert_eq!(bodies(&disk, "a"), [b"body"]);
    assert!(all(&disk, &key("b")).is_empty());
    disk.forget(&key("a"));
    assert!(all(&disk, &key("a")).is_empty());
    faults.fail_writes(None);
    later(&disk, 10_001);
    put(&disk, stored("d", "later"));
    assert!(!disk.stats().failing);
    drop(disk);
    // What was forgotten while nothing could be written is, too.
    let disk = open(folder.path());
    assert!(all(&disk, &key("a")).is_empty());
    assert!(all(&disk, &key("b")).is_empty());
    assert_eq!(bodies(&disk, "d"), [b"later"]);
}

#[test]
fn what_could_not_be_written_does_not_leave_the_older_one() {
    let folder = tempfile::tempdir().unwrap();
    let faults = Faults::default();
    let disk = open_with(folder.path(), 64 * MIB, &faults);
    put(&disk, stored("a", "old"));
    faults.fail_writes(Some(ErrorKind::Other));
    put(&disk, stored("a", "new"));
    assert!(all(&disk, &key("a")).is_empty());
    faults.fail_writes(None);
    later(&disk, 10_001);
    disk.settle();
    put(&disk, stored("b", "later"));
    drop(disk);
    assert!(all(&open(folder.path()), &key("a")).is_empty());
}

#[test]
fn a_purge_that_cannot_be_written_is_written_before_the_next_record() {
    let folder = tempfile::tempdir().unwrap();
    let faults = Faults::default();
    let disk = open_with(folder.path(), 64 * MIB, &faults);
    faults.fail_writes(Some(ErrorKind::StorageFull));
    assert!(disk.note_purge(1, b"all").is_err());
    faults.fail_writes(None);
    later(&disk, 10_001);
    put(&disk, stored("a", "body"));
    drop(disk);
    let purges = open(folder.path()).take_purges();
    assert_eq!(purges, [NotedPurge { number: 1, what: b"all"[..].into() }]);
}

#[test]
fn a_disk_that_cannot_be_read_is_left_alone_for_a_while() {
    let folder = tempfile::tempdir().unwrap();
    let faults = Faults::default();
    let disk = open_with(folder.path(), 64 * MIB, &faults);
    for path in ["a", "b", "c"] {
        put(&disk, stored(path, "body"));
    }
    faults.fail_reads(true);
    assert!(all(&disk, &key("c")).is_empty());
    assert!(disk.may_have(key("a").hash()) && !disk.stats().failing, "it may be that one only");
    assert!(all(&disk, &key("b")).is_empty());
    assert!(!disk.may_have(key("a").hash()) && disk.stats().failing);
    assert_eq!(disk.stats().errors, 2);
    faults.fail_reads(false);
    assert!(all(&disk, &key("a")).is_empty(), "not yet");
    later(&disk, 10_001);
    assert!(disk.may_have(key("a").hash()));
    assert_eq!((bodies(&disk, "a").len(), bodies(&disk, "b").len()), (1, 1));
    assert!(all(&disk, &key("c")).is_empty(), "nobody tries that one again");
    drop(disk);
    assert!(all(&open(folder.path()), &key("c")).is_empty());
}

#[test]
fn a_disk_that_hangs_is_left_alone_for_a_while() {
    let folder = tempfile::tempdir().unwrap();
    let disk = open(folder.path());
    put(&disk, stored("a", noise(1, 100 * KIB)));
    let bytes = disk.bytes_of(key("a").hash());
    assert!((100 * KIB as u64..110 * KIB as u64).contains(&bytes), "{bytes}");
    assert_eq!(disk.bytes_of(key("b").hash()), 0);
    disk.note_hanging();
    assert!(disk.is_left_alone() && disk.stats().failing && disk.stats().errors == 1);
    assert!(!disk.may_have(key("a").hash()));
    later(&disk, 10_001);
    assert!(!disk.is_left_alone() && disk.may_have(key("a").hash()));
}

#[test]
fn what_is_purged_over_and_over_is_noted_once() {
    let folder = tempfile::tempdir().unwrap();
    let disk = open(folder.path());
    put(&disk, stored("a", "body"));
    let what = |number: u64| format!("{:>40}", number % 10).into_bytes();
    for number in 1..=20_000 {
        disk.note_purge_later(number, &what(number));
        if number % 500 == 0 {
            put(&disk, stored("b", "body"));
        }
    }
    put(&disk, stored("b", "body"));
    let length = fs::metadata(folder.path().join("purges")).unwrap().len();
    assert!(length < 200_000, "{length} bytes of {}", 20_000 * 60);
    assert_eq!(bodies(&disk, "a"), [b"body"]);
    drop(disk);
    let mut newest = std::collections::HashMap::new();
    for purge in open(folder.path()).take_purges() {
        let number = newest.entry(purge.what).or_insert(0);
        *number = purge.number.max(*number);
    }
    assert_eq!(newest.len(), 10);
    for number in 19_991..=20_000 {
        assert_eq!(newest.get(&*what(number)), Some(&number));
    }
}

#[test]
fn warnings_are_a_minute_apart() {
    use crate::disk::trouble::{Attempt, Trouble};
    let trouble = Trouble::default();
    let times = [5, 6, 60_004, 60_005, 60_006, 200_000];
    let warned = times.map(|now| trouble.note(Attempt::Read, now));
    assert_eq!(warned, [true, false, false, true, false, true]);
    assert!(trouble.is_paused(Attempt::Read, 209_999));
    assert!(!trouble.is_paused(Attempt::Read, 210_000));
    assert!(!trouble.is_paused(Attempt::Write, 5));
}
