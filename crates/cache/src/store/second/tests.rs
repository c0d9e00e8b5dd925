use std::path::Path;

use super::*;
use crate::purge::What;
use crate::samples::{MIB, body, fields, found, has, key, stored, url, variant};

impl Cache {
    /// The disk below it.
    pub(crate) fn lower(&self) -> &Disk {
        self.disk.get().expect("it was made with one")
    }
}

fn open(folder: &Path) -> Arc<Cache> {
    open_sized(folder, 8 * MIB, 64 * MIB)
}

fn open_sized(folder: &Path, memory: u64, size: u64) -> Arc<Cache> {
    let settings = Settings { memory, max_object: memory };
    let cache = Cache::with_disk(&settings, folder, size).unwrap();
    cache.settle_disk();
    cache
}

/// Keeps an answer that was asked for just now, and waits until it is written.
fn keep(cache: &Cache, stored: Stored) -> Arc<Stored> {
    let stored = cache.insert(Stored { purged_by: cache.newest_purge().into(), ..stored });
    cache.settle_disk();
    stored
}

fn load(cache: &Cache, path: &str) -> Option<Arc<Stored>> {
    match cache.load(&key(path), &Block::default()) {
        Found::Here(stored) => Some(stored),
        Found::OtherVariants | Found::Nothing => None,
    }
}

fn tagged(path: &str, tag: u128) -> Stored {
    Stored { tags: [tag].into(), ..stored(path, path.to_owned()) }
}

#[test]
fn what_was_loaded_is_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(folder.path());
    keep(&cache, stored("a", "body"));
    keep(&cache, stored("large", vec![7; 100_000]));
    drop(cache);
    let cache = open(folder.path());
    assert!(!has(&cache, "a") && cache.may_load(&key("a")) && !cache.may_load(&key("b")));
    assert_eq!(body(&load(&cache, "a").unwrap()), b"body");
    assert_eq!(body(&found(&cache, "a").unwrap()), b"body");
    assert!(matches!(load(&cache, "large").unwrap().body, Body::Disk(_)));
    assert!(has(&cache, "large"));
    assert!(load(&cache, "b").is_none());
    let disk = cache.stats().disk.unwrap();
    assert_eq!((disk.written, disk.loaded, cache.stats().objects), (0, 2, 2));
}

#[test]
fn only_what_a_request_selects_is_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(folder.path());
    keep(&cache, variant("a", "red", 1));
    keep(&cache, variant("a", "blue", 2));
    drop(cache);
    let cache = open(folder.path());
    let of = |kind: &str| match cache.load(&key("a"), &fields(&[("x-kind", kind)])) {
        Found::Here(stored) => Some(body(&stored)),
        _ => None,
    };
    assert_eq!(of("red").as_deref(), Some(&b"red"[..]));
    assert_eq!(cache.stats().objects, 1);
    assert_eq!((of("blue").as_deref(), of("green")), (Some(&b"blue"[..]), None));
}

#[test]
fn what_is_superseded_is_not_given_while_the_newer_one_waits() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(folder.path());
    for round in 0..200 {
        let text = format!("{round}");
        let kept = cache
            .insert(Stored { purged_by: cache.newest_purge().into(), ..stored("a", text.clone()) });
        // As if there had been no room for it.
        let slot = { cache.shard(kept.key.hash()).slot_of(&kept).unwrap() };
        drop(cache.shard(kept.key.hash()).remove(slot));
        if let Some(loaded) = load(&cache, "a") {
            assert_eq!(body(&loaded), text.as_bytes());
            let slot = { cache.shard(loaded.key.hash()).slot_of(&loaded).unwrap() };
            drop(cache.shard(loaded.key.hash()).remove(slot));
        }
    }
    cache.settle_disk();
    assert_eq!(body(&load(&cache, "a").unwrap()), b"199");
}

#[test]
fn purges_are_about_what_is_on_the_disk_now_and_later() {
    let folder = tempfile::tempdir().unwrap();
    for lives in [1, 2] {
        for soft in [false, true] {
            let cache = open(folder.path());
            keep(&cache, tagged("tag", 5));
            keep(&cache, tagged("other", 6));
            drop(cache);
            let cache = open(folder.path());
            cache.purge(&Purge { what: What::Tag(5), soft });
            let cache = if lives == 1 {
                cache
            } else {
                drop(cache);
                open(folder.path())
            };
            let tag = load(&cache, "tag");
            let stale = tag.as_ref().map(|stored| stored.facts.marked_stale);
            assert_eq!(stale, soft.then_some(true), "{lives}");
            assert!(!load(&cache, "other").unwrap().facts.marked_stale);
            // What is asked for after it is not about it.
            keep(&cache, tagged("tag", 5));
            drop(cache);
            assert!(!load(&open(folder.path()), "tag").unwrap().facts.marked_stale);
        }
    }
}

#[test]
fn what_is_taken_out_is_not_on_the_disk_either() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(folder.path());
    let kept = keep(&cache, stored("a", "body"));
    cache.remove(&kept);
    assert!(load(&cache, "a").is_none());
    drop(cache);
    assert!(load(&open(folder.path()), "a").is_none());
}

#[test]
fn what_was_never_kept_is_invalid_without_a_trace() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(folder.path());
    keep(&cache, stored("kept", "body"));
    let length = || std::fs::metadata(folder.path().join("purges")).unwrap().len();
    let before = length();
    for number in 0..1000 {
        cache.invalidate(format!("http://a.example/{number}").as_bytes());
    }
    cache.close_disk();
    // Of a thousand one may seem to be there.
    assert!(length() < before + 1000, "{}", length() - before);
    drop(cache);
    let cache = open(folder.path());
    assert!(load(&cache, "kept").is_some());
    cache.invalidate(b"http://a.example/kept");
    assert!(load(&cache, "kept").is_none());
    drop(cache);
    assert!(load(&open(folder.path()), "kept").is_none());
}

#[test]
fn bodies_in_a_volume_that_goes_are_let_go_of() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open_sized(folder.path(), 64 * MIB, 4 * MIB);
    keep(&cache, stored("first", vec![1; 100_000]));
    drop(cache);
    let cache = open_sized(folder.path(), 64 * MIB, 4 * MIB);
    let loaded = load(&cache, "first").unwrap();
    let Body::Disk(on_disk) = &loaded.body else { panic!("it is large") };
    let file = Arc::downgrade(&on_disk.file);
    drop(loaded);
    for number in 0..45 {
        keep(&cache, stored(&number.to_string(), vec![2; 100_000]));
    }
    assert!(file.upgrade().is_none(), "nobody has the file any more");
    // It was used, and so it was written again.
    assert!(load(&cache, "first").is_some());
}

#[test]
fn numbers_of_purges_go_on_behind_those_of_every_other_process() {
    let folder = tempfile::tempdir().unwrap();
    let old = open(folder.path());
    old.purge(&Purge { what: What::Url(url("x")), soft: false });
    let new = open(folder.path());
    assert!(new.newest_purge() > old.newest_purge() + 1_000_000);
    let third = open(folder.path());
    assert!(third.newest_purge() > new.newest_purge() + 1_000_000);
}

#[test]
fn one_that_is_retired_has_nothing_and_tells_the_other_what_changes() {
    let folder = tempfile::tempdir().unwrap();
    let old = open(folder.path());
    keep(&old, stored("a", "body"));
    let new = open(folder.path());
    assert_eq!(body(&load(&new, "a").unwrap()), b"body");
    assert!(!new.is_retired());
    old.retire();
    assert!(old.is_retired());
    assert!(!has(&old, "a") && !old.may_load(&key("a")) && load(&old, "a").is_none());
    assert!(old.variants(&key("a")).is_empty());
    let given = keep(&old, stored("b", "for who waits for it"));
    assert_eq!(body(&given), b"for who waits for it");
    assert!(!has(&old, "b"));
    old.invalidate(b"http://a.example/a");
    let purged = new.stats().purged;
    while new.stats().purged == purged {
        std::thread::yield_now();
    }
    assert!(!has(&new, "a") && load(&new, "a").is_none());
    drop((old, new));
    assert!(load(&open(folder.path()), "a").is_none());
}

#[test]
fn large_answers_on_a_disk_that_hangs_are_not_found() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(folder.path());
    keep(&cache, stored("large", vec![7; 100_000]));
    keep(&cache, stored("small", "body"));
    drop(cache);
    let cache = open(folder.path());
    assert!(load(&cache, "large").is_some() && load(&cache, "small").is_some());
    assert!(cache.bytes_to_load(&key("large")) >= 100_000);
    cache.note_hanging_disk();
    assert!(!has(&cache, "large"), "its body cannot be read");
    assert!(has(&cache, "small"));
}

/// The body of what there is for requests of a kind.
fn of_kind(found: Found) -> Option<Vec<u8>> {
    match found {
        Found::Here(stored) => Some(body(&stored)),
        Found::OtherVariants | Found::Nothing => None,
    }
}

#[test]
fn what_was_loaded_for_others_hides_nothing_newer_on_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(folder.path());
    keep(&cache, stored("a", "for all"));
    keep(&cache, variant("a", "red", 2));
    drop(cache);
    let cache = open(folder.path());
    let of = |kind| fields(&[("x-kind", kind)]);
    assert_eq!(of_kind(cache.load(&key("a"), &of("blue"))).as_deref(), Some(&b"for all"[..]));
    assert_eq!(of_kind(cache.find(&key("a"), &of("red"))).as_deref(), Some(&b"red"[..]));
}

#[test]
fn what_is_given_up_in_memory_is_hidden_by_nothing_older() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(folder.path());
    keep(&cache, variant("a", "red", 2));
    keep(&cache, stored("a", "for all"));
    let red = fields(&[("x-kind", "red")]);
    assert_eq!(cache.stats().objects, 2);
    while cache.stats().evicted == 0 {
        cache.evict();
    }
    assert_eq!(of_kind(cache.find(&key("a"), &red)), None);
    assert_eq!(of_kind(cache.load(&key("a"), &red)).as_deref(), Some(&b"red"[..]));
}
