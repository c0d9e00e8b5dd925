//! What may happen: the steps of a simulation, made by chance.

use message::Method;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::origin::{Fields, Says, Tag};

/// What there is room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// For all, in memory and on the disk.
    Roomy,
    /// For all, on the disk.
    LittleMemory,
    /// For little.
    Little,
}

#[derive(Debug, Clone)]
pub struct Story {
    pub size: Size,
    pub steps: Vec<Step>,
}

/// What somebody purges (all, or one URL), and whether softly.
pub type Purged = (Option<&'static str>, bool);

/// One thing that happens.
#[derive(Debug, Clone)]
pub enum Step {
    /// A client asks.
    Ask(Ask),
    /// A client changes something; the origin says this status.
    Post { url: &'static str, status: u16 },
    /// From now on, the origin says this of a resource.
    Say { url: &'static str, says: Says },
    /// The resource is another one now.
    Change { url: &'static str },
    /// Somebody purges.
    Purge(Purged),
    /// Milliseconds pass.
    Wait(u64),
    /// Somebody sets the clock back by so many.
    Back(u64),
    /// The process ends, and another begins.
    Restart(End),
    /// The process is to be killed once it has written so many bytes.
    Doom(i64),
    /// The origin can be reached, or cannot; and how long it takes to answer. Where that is
    /// negative, somebody sets the clock back meanwhile.
    Origin { up: bool, takes: i64 },
}

/// How a process ends.
#[derive(Debug, Clone, Copy)]
pub enum End {
    /// As it is to.
    Orderly,
    /// It is killed.
    Killed,
    /// It is killed, and the next one is as well, after so many bytes.
    KilledTwice(i64),
    /// The power is lost, and with it, by this chance, what was not brought to the disk itself.
    PowerLost(u64),
}

#[derive(Debug, Clone)]
pub struct Ask {
    pub method: Method,
    pub url: &'static str,
    pub fields: Fields,
    /// Somebody purges while the origin answers.
    pub meanwhile: Option<Purged>,
    /// Where parts are stored, only what is missing is asked for.
    pub fills: bool,
}

pub const URLS: [&str; 4] = ["http://a/x", "http://b/x", "http://a/y", "http://a/z"];

pub fn stories(size: Size) -> impl Strategy<Value = Story> {
    vec(step(), 1..100).prop_map(move |steps| Story { size, steps })
}

fn url() -> impl Strategy<Value = &'static str> {
    select(&URLS[..])
}

fn one_of(chances: u32) -> impl Strategy<Value = bool> {
    (0..chances).prop_map(|at| at == 0)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        40 => ask().prop_map(Step::Ask),
        6 => (url(), says()).prop_map(|(url, says)| Step::Say { url, says }),
        3 => url().prop_map(|url| Step::Change { url }),
        9 => prop_oneof![0u64..1500, 0u64..70_000, 5000u64..8000, 60_000u64..65_000]
            .prop_map(Step::Wait),
        1 => (0u64..30_000).prop_map(Step::Back),
        2 => (url(), select(&[200u16, 303, 400, 500][..]))
            .prop_map(|(url, status)| Step::Post { url, status }),
        2 => purged().prop_map(Step::Purge),
        4 => (any::<bool>(), -500i64..3000)
            .prop_map(|(up, takes)| Step::Origin { up, takes }),
        4 => end().prop_map(Step::Restart),
        2 => prop_oneof![0i64..300, 0i64..3000, 0i64..200_000].prop_map(Step::Doom),
    ]
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        1 => Just(End::Orderly),
        1 => Just(End::Killed),
        1 => (0i64..200).prop_map(End::KilledTwice),
        2 => any::<u64>().prop_map(End::PowerLost),
    ]
}

fn purged() -> impl Strategy<Value = Purged> {
    (proptest::option::of(url()), any::<bool>())
}

fn ask() -> impl Strategy<Value = Ask> {
    let method = prop_oneof![7 => Just(Method::Get), 1 => Just(Method::Head)];
    let meanwhile = proptest::option::weighted(0.1, purged());
    (method, url(), request(), meanwhile, any::<bool>()).prop_map(
        |(method, url, fields, meanwhile, fills)| Ask { method, url, fields, meanwhile, fills },
    )
}

fn request() -> impl Strategy<Value = Fields> {
    const WISHES: [&str; 9] = [
        "no-cache",
        "no-store",
        "max-age=0",
        "max-age=10",
        "max-stale",
        "max-stale=20",
        "min-fresh=5",
        "only-if-cached",
        "stale-if-error=30",
    ];
    const RANGES: [&str; 8] = [
        "bytes=0-9",
        "bytes=10-40",
        "bytes=30-",
        "bytes=-20",
        "bytes=2000-2999",
        "bytes=100000-",
        "bytes=0-4,20-24",
        "bytes=5-60000",
    ];
    let wishes = prop_oneof![
        4 => Just(vec![]),
        1 => subsequence(&WISHES[..], 1..3),
    ];
    let a = prop_oneof![
        2 => Just(None),
        1 => select(&[Some("1"), Some("2"), Some("1,2"), Some("1, 2")][..]),
    ];
    let b = proptest::option::weighted(0.2, Just("1"));
    let range = proptest::option::weighted(0.2, select(&RANGES[..]));
    // The tag of what was asked for last is put in place of these by the world.
    let held = proptest::option::weighted(0.1, select(&["If-None-Match", "If-Range"][..]));
    (wishes, a, b, range, held, one_of(10), one_of(5)).prop_map(
        |(wishes, a, b, range, held, login, cookie)| {
            let mut fields = Fields::new();
            let mut add = |name: &str, value: Option<&str>| {
                fields.extend(value.map(|value| (name.to_owned(), value.to_owned())));
            };
            let wishes = (!wishes.is_empty()).then(|| wishes.join(","));
            add("Cache-Control", wishes.as_deref());
            add("X-A", a);
            add("X-B", b);
            add("Range", range);
            if let Some(held) = held.filter(|held| *held == "If-None-Match" || range.is_some()) {
                add(held, Some(""));
            }
            add("Authorization", login.then_some("Basic eA=="));
            add("Cookie", cookie.then_some("id=1"));
            fields
        },
    )
}

fn says() -> impl Strategy<Value = Says> {
    const DIRECTIVES: [&str; 17] = [
        "max-age=60",
        "max-age=5",
        "max-age=0",
        "s-maxage=30",
        "public",
        "private",
        "no-store",
        "no-cache",
        "must-revalidate",
        "proxy-revalidate",
        "stale-while-revalidate=20",
        "stale-if-error=40",
        "immutable",
        "must-understand",
        "x-unknown=\"no-store\"",
        "max-age=120",
        "stale-if-error=10",
    ];
    let status = prop_oneof![6 => Just(200u16), 1 => select(&[404u16, 302, 500, 503, 599][..])];
    let often = |range: std::ops::Range<i64>| proptest::option::of(range);
    let times = (often(-20..100), often(-30..10), proptest::option::of(0u64..40));
    let tag = select(&[Tag::Strong, Tag::Strong, Tag::Weak, Tag::None][..]);
    let vary = select(&["", "", "", "X-A", "x-a", "X-B, X-A", "x-a,x-b", "X-B", "X-A, *"][..]);
    let directives = prop_oneof![
        2 => subsequence(&DIRECTIVES[..], 0..4),
        1 => Just(vec!["max-age=60"]),
        2 => Just(vec!["max-age=5", "stale-while-revalidate=20", "stale-if-error=40"]),
    ];
    let ranges = select(&[None, Some(true), Some(true), Some(false)][..]);
    (status, directives, times, (any::<bool>(), tag, vary), one_of(10), (ranges, any::<bool>()))
        .prop_map(|(status, directives, times, (dated, tag, vary), cookie, (ranges, counts))| {
            let (expires, date, age) = times;
            Says {
                status,
                cache_control: directives,
                expires,
                date,
                age,
                dated,
                tag,
                vary,
                cookie,
                ranges,
                counts,
            }
        })
}
