//! What is stored is loaded, now and after a restart.

use std::sync::atomic::Ordering;

use super::*;
use crate::disk::queue::Admission;
use crate::{Part, StoredHead, Time};

/// An answer in which nothing is left out.
fn rich() -> Stored {
    let parts = [Part { offset: 3, bytes: "abc".into() }, Part { offset: 10, bytes: "de".into() }];
    Stored {
        purged_by: 7.into(),
        url: 99,
        vary: Vary {
            fields: [("accept".into(), Some(b"x"[..].into())), ("b".into(), None)].into(),
        },
        tags: [1, 2, u128::MAX].into(),
        head: StoredHead {
            status: 203,
            fields: fields(&[("A", "1"), ("Odd", "x: y"), ("Empty", ""), ("A", "2")]),
        },
        facts: Facts {
            requested: Time(-5),
            received: Time(6),
            date: Time(7),
            initial_age: 8,
            lifetime: 9,
            heuristic: true,
            while_revalidate: 10,
            if_error: 11,
            no_cache: false,
            must_revalidate: true,
            immutable: false,
            marked_stale: true,
            unshown: ["set-cookie".into()].into(),
        },
        length: None,
        body: Body::Memory(parts.into()),
        trailers: Some(fields(&[("T", "t")])),
        ..stored("rich", "")
    }
}

/// All of it as text, but for what is counted.
fn shown(stored: &Stored) -> String {
    let lines = |block: &message::Block| {
        let mut out = Vec::new();
        block.write_lines(&mut out, |_| false);
        String::from_utf8(out).unwrap()
    };
    let Stored { key, url, vary, head, facts, tags, length, body, trailers, purged_by, .. } =
        stored;
    let body = match body {
        Body::Memory(parts) => format!("{parts:?}"),
        Body::Disk(_) => format!("{:?}", body_of(stored)),
    };
    let trailers = trailers.as_ref().map(lines);
    let fields = lines(&head.fields);
    let purged_by = purged_by.load(Ordering::SeqCst);
    format!(
        "{key:?} {url} {vary:?} {} {fields:?} {facts:?} {tags:?} {length:?} {body} {trailers:?} {purged_by}",
        head.status
    )
}

#[test]
fn an_answer_comes_back_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let disk = open(folder.path());
    put(&disk, rich());
    assert!(disk.may_have(rich().key.hash()));
    assert!(!disk.may_have(key("other").hash()));
    let once = all(&disk, &rich().key);
    assert_eq!(shown(&once[0]), shown(&rich()));
    drop(disk);
    let disk = open(folder.path());
    let again = all(&disk, &rich().key);
    assert_eq!((again.len(), shown(&again[0])), (1, shown(&rich())));
    assert!(all(&disk, &key("other")).is_empty());
}

#[test]
fn bodies_of_all_sizes_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let sizes = [0, 1, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, 128 * KIB + 1, 3 << 20];
    let disk = open(folder.path());
    for size in sizes {
        put(&disk, stored(&size.to_string(), noise(size as u64, size)));
    }
    for disk in [disk, open(folder.path())] {
        for size in sizes {
            let found = all(&disk, &key(&size.to_string()));
            assert_eq!(found.len(), 1, "{size}");
            assert_eq!(body_of(&found[0]), noise(size as u64, size), "{size}");
            let on_disk = matches!(found[0].body, Body::Disk(_));
            assert_eq!(on_disk, size > 64 * KIB, "{size}");
        }
    }
}

#[test]
fn parts_of_a_body_are_read_into_memory() {
    let folder = tempfile::tempdir().unwrap();
    let disk = open(folder.path());
    let bytes = noise(1, 60 * KIB);
    let parts = [
        Part { offset: 0, bytes: bytes[..40 * KIB].to_vec().into() },
        Part { offset: 1 << 20, bytes: bytes[40 * KIB..].to_vec().into() },
    ];
    let length = Some(2 << 20);
    put(&disk, Stored { length, body: Body::Memory(parts.into()), ..stored("a", "") });
    let found = all(&disk, &key("a"));
    assert_eq!(body_of(&found[0]), bytes);
    assert!(!found[0].is_whole());
    assert!(found[0].body.covers(1 << 20, (1 << 20) + 20 * KIB as u64));
}

#[test]
fn a_newer_answer_takes_the_place_of_the_older_one_of_its_kind() {
    let folder = tempfile::tempdir().unwrap();
    let disk = open(folder.path());
    for body in ["old", "new"] {
        put(&disk, of_kind("a", "x", format!("x {body}")));
        put(&disk, of_kind("a", "y", format!("y {body}")));
    }
    assert_eq!(disk.stats().objects, 2);
    for disk in [disk, open(folder.path())] {
        let mut found = bodies(&disk, "a");
        found.sort();
        assert_eq!(found, [b"x new", b"y new"]);
    }
}

#[test]
fn a_key_has_no_more_than_so_many_answers() {
    let folder = tempfile::tempdir().unwrap();
    let disk = open(folder.path());
    for kind in 0..200 {
        assert!(disk.store(Arc::new(of_kind("a", &kind.to_string(), "body"))));
    }
    disk.settle();
    assert_eq!(all(&disk, &key("a")).len(), 64);
    assert_eq!(disk.stats().objects, 64);
    assert_eq!(all(&open_after(disk, &folder), &key("a")).len(), 64);
}

fn open_after(disk: Arc<Disk>, folder: &tempfile::TempDir) -> Arc<Disk> {
    drop(disk);
    open(folder.path())
}

#[test]
fn what_is_forgotten_stays_so() {
    let folder = tempfile::tempdir().unwrap();
    let disk = open(folder.path());
    put(&disk, stored("a", "old"));
    put(&disk, of_kind("a", "x", "older"));
    put(&disk, stored("b", "stays"));
    disk.forget(&key("a"));
    assert!(all(&disk, &key("a")).is_empty(), "at once");
    let disk = open_after(disk, &folder);
    assert!(all(&disk, &key("a")).is_empty(), "after a restart");
    assert_eq!(bodies(&disk, "b"), [b"stays"]);
    put(&disk, stored("a", "new"));
    assert_eq!(bodies(&disk, "a"), [b"new"]);
    let disk = open_after(disk, &folder);
    assert_eq!(bodies(&disk, "a"), [b"new"]);
}

#[test]
fn what_still_waits_is_forgotten_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let disk = open(folder.path());
    for round in 0..200 {
        let path = format!("{round}");
        assert!(disk.store(Arc::new(stored(&path, noise(round, 10 * KIB)))));
        disk.forget(&key(&path));
        assert!(all(&disk, &key(&path)).is_empty(), "{round}");
    }
    disk.settle();
    let disk = open_after(disk, &folder);
    assert_eq!(disk.stats().objects, 0);
}

#[test]
fn forgetting_what_nobody_knows_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let disk = open(folder.path());
    for path in 0..100 {
        disk.forget(&key(&path.to_string()));
        disk.settle();
    }
    assert_eq!(disk.stats().bytes, 0);
}

#[test]
fn a_validated_answer_keeps_its_body_where_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let disk = open(folder.path());
    let bytes = noise(1, 500 * KIB);
    put(&disk, with_lifetime("a", bytes.clone(), 1));
    let written = disk.stats().written_bytes;
    // Once with the body in memory, once as it was loaded.
    put(&disk, with_lifetime("a", bytes.clone(), 2));
    let mut loaded = all(&disk, &key("a")).remove(0);
    assert_eq!(loaded.facts.lifetime, 2);
    loaded.facts.lifetime = 3;
    put(&disk, loaded);
    assert!(disk.stats().written_bytes < written + 1000, "{:?}", disk.stats());
    for disk in [disk, open(folder.path())] {
        let found = all(&disk, &key("a"));
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].facts.lifetime, body_of(&found[0])), (3, bytes.clone()));
    }
    let disk = open(folder.path());
    put(&disk, with_lifetime("a", noise(2, 500 * KIB), 4));
    assert_eq!(bodies(&disk, "a"), [noise(2, 500 * KIB)]);
}

#[test]
fn another_answer_whose_hash_begins_alike_is_not_given() {
    let folder = tempfile::tempdir().unwrap();
    let disk = open(folder.path());
    put(&disk, stored("a", "body"));
    // The table knows only half of the hash: here is a record under the half of another.
    let hash = key("b").hash() as u64;
    let mut place = disk.shared.index.get(key("a").hash() as u64, 0).unwrap();
    place.hash = hash;
    disk.shared.index.insert(place, || Admission::Yes);
    assert!(disk.may_have(key("b").hash()));
    assert!(all(&disk, &key("b")).is_empty());
}

#[test]
fn purges_are_known_after_a_restart_until_no_record_is_older() {
    let folder = tempfile::tempdir().unwrap();
    let disk = open_sized(folder.path(), 4 * MIB);
    assert_eq!(disk.take_purges(), []);
    for number in 1..=3000 {
        disk.note_purge(number, format!("what {number} is about").as_bytes()).unwrap();
    }
    put(&disk, Stored { purged_by: 100.into(), ..stored("a", "body") });
    assert_eq!(disk.oldest(), Some(100));
    let disk = open_after_sized(disk, &folder);
    let purges = disk.take_purges();
    assert_eq!(purges.len(), 2900);
    assert_eq!(&*purges[2899].what, b"what 3000 is about");
    assert_eq!((purges[2899].number, disk.take_purges().len()), (3000, 0));
    // Volumes go, and with the first of them the last that is older than most purges.
    for round in 0..100 {
        put(&disk, Stored { purged_by: 3000.into(), ..stored("b", noise(round, 100 * KIB)) });
    }
    assert_eq!(disk.oldest(), Some(3000));
    let disk = open_after_sized(disk, &folder);
    let purges = disk.take_purges();
    assert_eq!(purges.iter().map(|purge| purge.number).collect::<Vec<_>>(), [3000]);
}

fn open_after_sized(disk: Arc<Disk>, folder: &tempfile::TempDir) -> Arc<Disk> {
    drop(disk);
    open_sized(folder.path(), 4 * MIB)
}
