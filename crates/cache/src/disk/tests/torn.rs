//! Files that end or are damaged anywhere: what is given is what was stored, or nothing.

use std::fs;
use std::path::PathBuf;

use super::*;

/// A folder with three answers in one volume, and the two files of it.
fn small() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let disk = open(folder.path());
    put(&disk, stored("gone", "forgotten"));
    put(&disk, with_lifetime("a", "first", 1));
    put(&disk, stored("b", "other"));
    disk.forget(&key("gone"));
    disk.settle();
    put(&disk, with_lifetime("a", "second", 2));
    drop(disk);
    let (data, index) = (folder.path().join("00000000.data"), folder.path().join("00000000.index"));
    (folder, data, index)
}

/// Opens it, and says what there is under `a` and `b`, after making sure that it was stored.
fn look(folder: &Path, about: &str) -> (Option<u64>, bool) {
    let disk = open(folder);
    let a = all(&disk, &key("a"));
    let known = |stored: &Stored| match stored.facts.lifetime {
        1 => body_of(stored) == b"first",
        2 => body_of(stored) == b"second",
        _ => false,
    };
    assert!(a.len() < 2 && a.iter().all(known), "{about}: {a:?}");
    let b = bodies(&disk, "b");
    assert!(b.is_empty() || b == [b"other"], "{about}");
    (a.first().map(|stored| stored.facts.lifetime), !b.is_empty())
}

#[test]
fn data_that_ends_anywhere() {
    let (folder, data, index) = small();
    let (bytes, entries) = (fs::read(&data).unwrap(), fs::read(&index).unwrap());
    let mut seen = Vec::new();
    for end in 0..=bytes.len() {
        fs::write(&data, &bytes[..end]).unwrap();
        fs::write(&index, &entries).unwrap();
        let found = look(folder.path(), &format!("{end}"));
        if seen.last() != Some(&found) {
            seen.push(found);
        }
    }
    let grows = [(None, false), (Some(1), false), (Some(1), true), (Some(2), true)];
    assert_eq!(seen, grows);
}

#[test]
fn an_index_that_ends_anywhere_is_made_again() {
    let (folder, data, index) = small();
    let (bytes, entries) = (fs::read(&data).unwrap(), fs::read(&index).unwrap());
    for end in 0..=entries.len() {
        fs::write(&index, &entries[..end]).unwrap();
        assert_eq!(look(folder.path(), &format!("{end}")), (Some(2), true), "{end}");
        assert_eq!(fs::read(&index).unwrap(), entries, "{end}");
        assert_eq!(fs::read(&data).unwrap(), bytes, "{end}");
    }
    fs::remove_file(&index).unwrap();
    assert_eq!(look(folder.path(), "no index"), (Some(2), true));
}

#[test]
fn any_byte_is_damaged() {
    let (folder, data, index) = small();
    let (bytes, entries) = (fs::read(&data).unwrap(), fs::read(&index).unwrap());
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x41;
        fs::write(&data, &damaged).unwrap();
        fs::write(&index, &entries).unwrap();
        let _ = fs::remove_file(folder.path().join("00000001.data"));
        look(folder.path(), &format!("data {at}"));
        // Nor is it after it was found out.
        look(folder.path(), &format!("data {at} again"));
    }
    for at in 0..entries.len() {
        let mut damaged = entries.clone();
        damaged[at] ^= 0x41;
        fs::write(&data, &bytes).unwrap();
        fs::write(&index, &damaged).unwrap();
        assert_eq!(look(folder.path(), &format!("index {at}")), (Some(2), true), "{at}");
    }
}

#[test]
fn a_damaged_answer_does_not_bring_back_the_older_one() {
    let (folder, data, _) = small();
    let mut bytes = fs::read(&data).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&data, &bytes).unwrap();
    assert_eq!(look(folder.path(), "once"), (None, true));
    assert_eq!(look(folder.path(), "twice"), (None, true));
}

#[test]
fn large_bodies_are_compared_with_their_checksum() {
    let folder = tempfile::tempdir().unwrap();
    let disk = open(folder.path());
    put(&disk, stored("a", noise(1, 300 * KIB)));
    drop(disk);
    let data = folder.path().join("00000000.data");
    let mut bytes = fs::read(&data).unwrap();
    bytes[200 * KIB] ^= 1;
    fs::write(&data, &bytes).unwrap();
    let disk = open(folder.path());
    assert!(all(&disk, &key("a")).is_empty());
    assert_eq!(disk.stats().damaged, 1);
}

#[test]
fn volumes_are_written_on_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..5 {
        let disk = open(folder.path());
        put(&disk, stored(&round.to_string(), "body"));
        assert_eq!((disk.stats().volumes, disk.stats().objects), (1, round + 1));
    }
}

#[test]
fn torn_lines_of_purges_hide_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let disk = open(folder.path());
    disk.note_purge(1, b"first").unwrap();
    disk.note_purge(2, b"second").unwrap();
    drop(disk);
    let file = folder.path().join("purges");
    let bytes = fs::read(&file).unwrap();
    for end in 0..bytes.len() {
        fs::write(&file, &bytes[..end]).unwrap();
        let disk = open(folder.path());
        let whole = usize::from(end >= bytes.len() / 2 - 1);
        assert_eq!(disk.take_purges().len(), whole.min(usize::from(end >= 25)), "{end}");
        disk.note_purge(3, b"third").unwrap();
        drop(disk);
        let numbers: Vec<_> = open(folder.path()).take_purges().iter().map(|p| p.number).collect();
        assert_eq!(numbers.last(), Some(&3), "{end}");
    }
}

#[test]
fn what_was_given_up_is_not_found_by_the_next_start() {
    let size = |folder: &Path| -> u64 {
        let files = fs::read_dir(folder).unwrap();
        files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
    };
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let before = size(other.path());
    assert_eq!(before, 0);
    let disk = open(other.path());
    put(&disk, stored("a", "body"));
    let one = size(other.path());
    put(&disk, stored("b", "body"));
    let record = size(other.path()) - one - 64;
    let faults = Faults::default();
    let disk = open_with(folder.path(), 64 * MIB, &faults);
    put(&disk, stored("a", "body"));
    // There is room for the record, but not for what says where it is.
    faults.room_for(folder.path(), size(folder.path()) + record + 10);
    put(&disk, stored("b", "body"));
    assert!(disk.stats().failing && all(&disk, &key("b")).is_empty());
    // Nobody writes its end: it was never there.
    disk.forget(&key("b"));
    faults.die_after(0);
    drop(disk);
    let disk = open(folder.path());
    assert!(all(&disk, &key("b")).is_empty());
    assert_eq!(bodies(&disk, "a"), [b"body"]);
}
