use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::purge::{Purge, What};
use crate::samples::{MIB, body, cache, fields, found, has, key, stored, url, variant};

fn kind(cache: &Cache, path: &str, kind: &str) -> Option<Arc<Stored>> {
    match cache.find(&key(path), &fields(&[("x-kind", kind)])) {
        Found::Here(stored) => Some(stored),
        Found::OtherVariants | Found::Nothing => None,
    }
}

fn tagged(path: &str, tags: &[u128], text: &str) -> Stored {
    Stored { tags: tags.into(), ..stored(path, text.to_owned()) }
}

fn purge(cache: &Cache, what: What) -> u64 {
    cache.purge(&Purge { what, soft: false }).objects
}

#[test]
fn an_answer_is_found_by_its_key() {
    let cache = cache(MIB);
    assert!(matches!(cache.find(&key("a"), &Block::default()), Found::Nothing));
    cache.insert(stored("a", "one"));
    cache.insert(stored("b", "two"));
    assert_eq!(body(&found(&cache, "a").unwrap()), b"one");
    assert_eq!(body(&found(&cache, "b").unwrap()), b"two");
    assert!(!has(&cache, "c"));
    assert_eq!(found(&cache, "a").unwrap().hits.load(Ordering::Relaxed), 2);
    cache.insert(stored("a", "three"));
    assert_eq!(body(&found(&cache, "a").unwrap()), b"three");
    assert_eq!(cache.stats().objects, 2);
}

#[test]
fn a_request_selects_among_variants_and_gets_the_newest() {
    let cache = cache(MIB);
    cache.insert(variant("a", "red", 1));
    cache.insert(variant("a", "blue", 2));
    assert_eq!(body(&kind(&cache, "a", "red").unwrap()), b"red");
    assert_eq!(body(&kind(&cache, "a", "blue").unwrap()), b"blue");
    assert!(matches!(cache.find(&key("a"), &fields(&[("x-kind", "green")])), Found::OtherVariants));
    // One for all requests, by its date between the two.
    let facts = crate::Facts { date: Time(2), ..Default::default() };
    cache.insert(Stored { facts, ..stored("a", "all") });
    assert_eq!(body(&kind(&cache, "a", "red").unwrap()), b"all");
    assert_eq!(body(&kind(&cache, "a", "blue").unwrap()), b"all", "the later of two as old");
    cache.insert(variant("a", "blue", 3));
    assert_eq!(body(&kind(&cache, "a", "blue").unwrap()), b"blue");
    let dates: Vec<_> = cache.variants(&key("a")).iter().map(|s| s.facts.date.0).collect();
    assert_eq!(dates, [3, 2, 1]);
}

#[test]
fn variants_are_bounded_and_the_oldest_goes() {
    let cache = cache(MIB);
    for date in 0..100 {
        cache.insert(variant("a", &format!("kind {date}"), date));
    }
    assert_eq!(cache.variants(&key("a")).len(), shard::MAX_VARIANTS);
    assert!(kind(&cache, "a", "kind 0").is_none());
    assert!(kind(&cache, "a", "kind 99").is_some());
}

#[test]
fn memory_is_counted_to_the_byte_and_given_back() {
    let cache = cache(MIB);
    let mut held = Vec::new();
    let mut weights = 0;
    for path in 0..10 {
        held.push(cache.insert(stored(&path.to_string(), vec![b'x'; 1000])));
        weights += held[path].held.bytes();
        assert_eq!(held[path].held.bytes(), weight::of(&held[path]));
    }
    let tables: usize = cache.shards.iter().map(|shard| shard.lock().allocated()).sum();
    assert!(weights > 10_000 && tables > 0);
    assert_eq!(cache.stats().bytes, weights + tables as u64);
    assert_eq!(purge(&cache, What::All), 10);
    assert!(cache.stats().bytes >= weights, "they are held yet");
    held.clear();
    let tables: usize = cache.shards.iter().map(|shard| shard.lock().allocated()).sum();
    assert_eq!(cache.stats().bytes, tables as u64);
}

#[test]
fn memory_is_bounded() {
    let cache = cache(MIB);
    for path in 0..5000 {
        cache.insert(stored(&path.to_string(), vec![b'x'; path % 3000]));
        assert!(cache.stats().bytes <= MIB);
    }
    let stats = cache.stats();
    assert!(stats.bytes > MIB * 9 / 10, "{stats:?}");
    assert_eq!(stats.inserted, stats.objects + stats.evicted);
    cache.resize(&Settings { memory: MIB / 2, max_object: MIB / 8 });
    assert!(cache.stats().bytes <= MIB / 2);
    assert!(cache.stats().objects > 100);
}

#[test]
fn an_answer_may_be_larger_than_a_part_of_the_table() {
    let cache = cache(MIB);
    for path in 0..500 {
        cache.insert(stored(&path.to_string(), vec![b'x'; 2000]));
    }
    cache.insert(stored("large", vec![b'x'; MIB as usize / 4]));
    assert!(has(&cache, "large"));
    assert!(cache.stats().objects > 200);
    let kept = cache.insert(stored("too large", vec![b'x'; MIB as usize + 1]));
    assert_eq!(kept.length, Some(MIB + 1), "whoever waits gets it all the same");
    assert!(!has(&cache, "too large"));
    assert!(cache.stats().bytes >= MIB);
    drop(kept);
    assert!(cache.stats().bytes <= MIB);
}

#[test]
fn what_is_asked_for_again_outlives_a_scan() {
    let cache = cache(MIB);
    for path in 0..100 {
        cache.insert(stored(&format!("hot {path}"), vec![b'x'; 1000]));
        assert!(has(&cache, &format!("hot {path}")));
    }
    for path in 0..10_000 {
        cache.insert(stored(&format!("scan {path}"), vec![b'x'; 1000]));
    }
    let left = (0..100).filter(|path| has(&cache, &format!("hot {path}"))).count();
    assert!(left > 95, "{left}");
}

#[test]
fn what_somebody_sends_counts_until_it_is_sent() {
    let cache = cache(MIB);
    let sent: Vec<_> =
        (0..3).map(|path| cache.insert(stored(&format!("{path}"), vec![b'x'; 250_000]))).collect();
    for path in 0..2000 {
        cache.insert(stored(&format!("other {path}"), vec![b'x'; 1000]));
        assert!(cache.stats().bytes <= MIB);
    }
    let room = MIB - 3 * 250_000;
    assert!(cache.stats().objects < room / 1000, "{:?}", cache.stats());
    drop(sent);
    purge(&cache, What::All);
    assert!(cache.stats().bytes < 100_000);
}

#[test]
fn codings_are_kept_while_there_is_room_and_count() {
    let cache = cache(MIB);
    let kept = cache.insert(stored("a", vec![b'x'; 1000]));
    let before = cache.stats().bytes;
    cache.keep_coding(&kept, 1, vec![b'y'; 500].into());
    assert_eq!(kept.coded[1].get().unwrap().len(), 500);
    assert_eq!(cache.stats().bytes, before + weight::bytes(&vec![b'y'; 500].into()) as u64);
    assert_eq!(kept.held.bytes(), weight::of(&kept));
    cache.keep_coding(&kept, 1, vec![b'z'; 700].into());
    assert_eq!(kept.held.bytes(), weight::of(&kept), "the first stays");
    cache.keep_by_dictionary(&kept, (&[1; 32], 0), vec![b'y'; 100].into());
    cache.keep_by_dictionary(&kept, (&[1; 32], 0), vec![b'z'; 100].into());
    assert_eq!(kept.coded.by_dictionary(&[1; 32], 0).as_deref(), Some(&[b'y'; 100][..]));
    assert_eq!(kept.held.bytes(), weight::of(&kept));
    cache.keep_coding(&kept, 2, vec![b'y'; 2 * MIB as usize].into());
    assert!(kept.coded[2].get().is_none());
    cache.remove(&kept);
    cache.keep_coding(&kept, 0, vec![b'y'; 500].into());
    assert!(kept.coded[0].get().is_none(), "it is not kept itself");
}

#[test]
fn known_misses_last_and_are_bounded() {
    let cache = cache(MIB);
    assert!(!cache.is_known_miss(&key("a"), Time(0)));
    cache.note_miss(&key("a"), Time(10));
    assert!(cache.is_known_miss(&key("a"), Time(9)));
    assert!(!cache.is_known_miss(&key("a"), Time(10)));
    assert!(!cache.is_known_miss(&key("b"), Time(9)));
    for path in 0..100_000 {
        cache.note_miss(&key(&path.to_string()), Time(path));
    }
    let known = cache.stats().known_misses;
    assert!((30_000..=65_536).contains(&known), "{known}");
    assert!(cache.is_known_miss(&key("99999"), Time(0)));
}

#[test]
fn each_kind_of_purge_finds_its_own() {
    let all = || {
        let cache = cache(MIB);
        let other = Key::new(b"r https://b.example:8443/x/1 \nv=2 ");
        cache.insert(tagged("x/1", &[1, 2], ""));
        cache.insert(tagged("x/2", &[2], ""));
        cache.insert(tagged("y/1", &[], ""));
        cache.insert(Stored { key: other.clone(), url: 9, ..stored("", "") });
        (cache, other)
    };
    let left = |what| {
        let (cache, other) = all();
        let purged = purge(&cache, what);
        let left: String = ["x/1", "x/2", "y/1"]
            .iter()
            .map(|path| if has(&cache, path) { '+' } else { '-' })
            .chain([if cache.variants(&other).is_empty() { '-' } else { '+' }])
            .collect();
        assert_eq!(purged, left.matches('-').count() as u64);
        assert_eq!(cache.stats().purged, purged);
        left
    };
    let text = |text: &str| text.as_bytes().into();
    assert_eq!(left(What::Url(url("x/1"))), "-+++");
    assert_eq!(left(What::Url(9)), "+++-");
    assert_eq!(left(What::Key(key("y/1").hash())), "++-+");
    assert_eq!(left(What::Prefix(text("http://a.example/x"))), "--++");
    assert_eq!(left(What::Prefix(text("https://b.example:8443/x/1"))), "+++-");
    assert_eq!(left(What::Tag(2)), "--++");
    assert_eq!(left(What::Tag(3)), "++++");
    assert_eq!(left(What::Host(text("a.example"))), "---+");
    assert_eq!(left(What::Host(text("b.example"))), "+++-");
    assert_eq!(left(What::Host(text("b.example:8443"))), "+++-");
    assert_eq!(left(What::Host(text("example"))), "++++");
    assert_eq!(left(What::All), "----");
}

#[test]
fn a_soft_purge_leaves_it_stale() {
    let cache = cache(MIB);
    let before = cache.insert(tagged("a", &[1], "text"));
    cache.insert(stored("b", "text"));
    assert_eq!(cache.purge(&Purge { what: What::Tag(1), soft: true }).objects, 1);
    let stale = found(&cache, "a").unwrap();
    assert!(stale.facts.marked_stale && !before.facts.marked_stale);
    assert_eq!(body(&stale), b"text");
    assert!(!found(&cache, "b").unwrap().facts.marked_stale);
    assert!(Arc::ptr_eq(&stale, &found(&cache, "a").unwrap()), "it is made once");
    drop((before, stale));
    let weights: u64 = [found(&cache, "a"), found(&cache, "b")]
        .iter()
        .flatten()
        .map(|stored| weight::of(stored))
        .sum();
    let tables: usize = cache.shards.iter().map(|shard| shard.lock().allocated()).sum();
    assert_eq!(cache.stats().bytes, weights + tables as u64);
    // Validated, it is good again; a purge that came in between is obeyed.
    let stale = found(&cache, "a").unwrap();
    cache.insert(stale.with_facts(crate::Facts::default()));
    assert!(!found(&cache, "a").unwrap().facts.marked_stale);
    let good = found(&cache, "a").unwrap();
    cache.purge(&Purge { what: What::All, soft: true });
    cache.insert(good.with_facts(crate::Facts::default()));
    assert!(found(&cache, "a").unwrap().facts.marked_stale);
}

#[test]
fn what_was_asked_for_before_a_purge_is_not_stored_after_it() {
    let cache = cache(MIB);
    let since = cache.newest_purge();
    let late = |path, tags: &[u128]| Stored { purged_by: since.into(), ..tagged(path, tags, "") };
    purge(&cache, What::Tag(1));
    cache.purge(&Purge { what: What::Url(url("b")), soft: true });
    let given = cache.insert(late("a", &[1]));
    assert!(!has(&cache, "a") && given.key == key("a"));
    cache.insert(late("b", &[]));
    assert!(found(&cache, "b").unwrap().facts.marked_stale);
    cache.insert(late("c", &[2]));
    assert!(has(&cache, "c"));
    cache.insert(Stored { purged_by: cache.newest_purge().into(), ..tagged("a", &[1], "") });
    assert!(has(&cache, "a"));
    // What is made of a found one after a purge of it is not stored either.
    let old = found(&cache, "a").unwrap();
    purge(&cache, What::Tag(1));
    cache.insert(old.with_facts(crate::Facts::default()));
    assert!(!has(&cache, "a"));
}

#[test]
fn too_many_purges_count_for_all_that_is_older() {
    let cache = cache(MIB);
    let since = cache.newest_purge();
    for number in 0..300_000 {
        cache
            .purges
            .note(&Purge { what: What::Url(number), soft: false }, crate::purge::Lasting::Disk(0));
    }
    cache.insert(Stored { purged_by: since.into(), ..stored("a", "") });
    assert!(!has(&cache, "a"));
    cache.insert(Stored { purged_by: cache.newest_purge().into(), ..stored("a", "") });
    assert!(has(&cache, "a"));
}

#[test]
fn a_hundred_thousand_are_purged_by_tag_at_once() {
    let cache = cache(400 * MIB);
    for path in 0..100_000_u32 {
        cache.insert(tagged(&path.to_string(), &[u128::from(path % 2), 7], ""));
    }
    assert_eq!(cache.stats().objects, 100_000);
    assert_eq!(purge(&cache, What::Tag(1)), 50_000);
    assert_eq!(cache.stats().objects, 50_000);
    assert!(has(&cache, "0") && !has(&cache, "1"));
}

#[test]
fn the_top_are_those_given_most() {
    let cache = cache(MIB);
    for path in 0..20 {
        cache.insert(stored(&path.to_string(), ""));
        (0..path).for_each(|_| drop(found(&cache, &path.to_string())));
    }
    let top = cache.top(3);
    let hits: Vec<_> = top.iter().map(|top| top.hits).collect();
    assert_eq!(hits, [19, 18, 17]);
    assert_eq!(&*top[0].url, b"http://a.example/19");
    assert!(top[0].bytes > 100);
}

#[derive(Debug, Clone)]
enum Step {
    Insert { path: u8, kind: u8, tags: Vec<u8>, late: bool },
    Find { path: u8, kind: u8 },
    Purge(Purge),
    Remove { path: u8, kind: u8 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let what = prop_oneof![
        (0..6_u8).prop_map(|path| What::Url(url(&path.to_string()))),
        (0..6_u8).prop_map(|path| What::Key(key(&path.to_string()).hash())),
        (0..4_u8).prop_map(|tag| What::Tag(tag.into())),
        Just(What::Prefix(b"http://a.example/1"[..].into())),
        Just(What::Host(b"a.example"[..].into())),
        Just(What::All),
    ];
    let purge = (what, any::<bool>()).prop_map(|(what, soft)| Step::Purge(Purge { what, soft }));
    let tags = proptest::collection::btree_set(0..4_u8, 0..3);
    let insert = (0..16_u8, 0..3_u8, tags, any::<bool>());
    let insert = insert.prop_map(|(path, kind, tags, late)| {
        let tags = tags.into_iter().collect();
        Step::Insert { path, kind, tags, late }
    });
    let find = (0..16_u8, 0..3_u8).prop_map(|(path, kind)| Step::Find { path, kind });
    let remove = (0..16_u8, 0..3_u8).prop_map(|(path, kind)| Step::Remove { path, kind });
    proptest::collection::vec(prop_oneof![4 => insert, 4 => find, 2 => purge, 1 => remove], 1..80)
}

proptest! {
    #[test]
    fn it_has_what_a_naive_one_has(steps in steps()) {
        let cache = cache(64 * MIB);
        // By path and kind: the tags, whether it is stale, and what tells it apart.
        let mut naive: HashMap<(u8, u8), (Vec<u8>, bool, i64)> = HashMap::new();
        let mut since = cache.newest_purge();
        let mut purges_since = Vec::new();
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Insert { path, kind, tags, late } => {
                    let purged_by = if late { since } else { cache.newest_purge() };
                    let mut new = variant(&path.to_string(), &kind.to_string(), number as i64);
                    new.purged_by = purged_by.into();
                    new.tags = tags.iter().map(|tag| u128::from(*tag)).collect();
                    let about = |purge: &&Purge| late && covers(&purge.what, path, &tags);
                    let purges: Vec<&Purge> = purges_since.iter().filter(about).collect();
                    let gone = purges.iter().any(|purge| !purge.soft);
                    let stale = !purges.is_empty();
                    cache.insert(new);
                    if !gone {
                        naive.insert((path, kind), (tags, stale, number as i64));
                    }
                }
                Step::Find { path, kind } => {
                    let found = self::kind(&cache, &path.to_string(), &kind.to_string());
                    let expected = naive.get(&(path, kind));
                    prop_assert_eq!(
                        found.map(|found| (found.facts.marked_stale, found.facts.date.0)),
                        expected.map(|(_, stale, number)| (*stale, *number))
                    );
                }
                Step::Purge(purge) => {
                    let about = |at: &(u8, u8), tags: &[u8]| covers(&purge.what, at.0, tags);
                    let count = naive.iter().filter(|(at, what)| about(at, &what.0)).count();
                    prop_assert_eq!(cache.purge(&purge).objects, count as u64);
                    if purge.soft {
                        naive.iter_mut().for_each(|(at, what)| what.1 |= about(at, &what.0));
                    } else {
                        naive.retain(|at, what| !about(at, &what.0));
                    }
                    purges_since.push(purge);
                    if purges_since.len() > 3 {
                        since = cache.newest_purge();
                        purges_since.clear();
                    }
                }
                Step::Remove { path, kind } => {
                    let found = self::kind(&cache, &path.to_string(), &kind.to_string());
                    found.iter().for_each(|found| cache.remove(found));
                    naive.remove(&(path, kind));
                }
            }
            prop_assert_eq!(cache.stats().objects, naive.len() as u64);
        }
    }

    #[test]
    fn a_small_one_never_has_what_was_not_put_in_last(
        steps in proptest::collection::vec((any::<bool>(), 0..200_u16, 0..3000_usize), 1..600),
    ) {
        let cache = cache(100_000);
        let mut naive: HashMap<u16, usize> = HashMap::new();
        for (is_find, path, size) in steps {
            let path_text = path.to_string();
            if is_find {
                if let Some(found) = found(&cache, &path_text) {
                    prop_assert_eq!(Some(&body(&found).len()), naive.get(&path));
                }
            } else {
                cache.insert(stored(&path_text, vec![0; size]));
                naive.insert(path, size);
            }
            prop_assert!(cache.stats().bytes <= 100_000);
        }
    }
}

fn covers(what: &What, path: u8, tags: &[u8]) -> bool {
    let text = path.to_string();
    match what {
        What::Url(url) => *url == crate::samples::url(&text),
        What::Key(hash) => *hash == key(&text).hash(),
        What::Tag(tag) => tags.iter().any(|own| u128::from(*own) == *tag),
        What::Prefix(_) => text.starts_with('1'),
        What::TagAt(..) | What::Host(_) | What::All => true,
    }
}

#[test]
fn images_count_as_memory_for_as_long_as_their_answers_are_there() {
    let cache = cache(4 * MIB);
    let large = cache.insert(stored("large", vec![b'x'; 200_000]));
    cache.insert(stored("small", vec![b'x'; 20_000]));
    let file = || File::open("/dev/null").unwrap();
    let wanted = |path: &str| cache.wants_image(&found(&cache, path).unwrap());
    let wanted_large: Vec<_> = (1..=20).filter(|_| wanted("large")).collect();
    assert_eq!(wanted_large, [8, 16]);
    assert!(!(1..=20).any(|_| wanted("small")));
    let before = cache.stats().bytes;
    cache.keep_image(&large, file());
    assert_eq!(large.coded.image().unwrap().length(), 200_000);
    assert_eq!((cache.stats().images, cache.stats().bytes), (1, before + weight::image(200_000)));
    cache.keep_image(&large, file());
    assert_eq!((cache.stats().images, cache.stats().bytes), (1, before + weight::image(200_000)));
    assert!(!(21..=40).any(|_| wanted("large")), "it has one");
    // No more than a quarter of the memory.
    let mut made = 0;
    for path in 0..9 {
        let stored = cache.insert(stored(&path.to_string(), vec![b'x'; 200_000]));
        cache.keep_image(&stored, file());
        made += u32::from(stored.coded.image().is_some());
    }
    assert_eq!(made, 4);
    drop(large);
    purge(&cache, What::All);
    let tables: usize = cache.shards.iter().map(|shard| shard.lock().allocated()).sum();
    assert_eq!((cache.stats().images, cache.stats().bytes), (0, tables as u64));
}
