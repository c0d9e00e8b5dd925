//! What happens: an origin with a few resources, clients, and the steps of a simulation.

use std::collections::HashMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use crate::driver::{Driver, Given, How, Seen};
use crate::naive::{Model, Received, value};

/// Names and values.
pub type Fields = Vec<(String, String)>;

/// What somebody purges (all, or one URL), and whether softly.
pub type Purged = (Option<&'static str>, bool);

/// One thing that happens.
#[derive(Debug, Clone)]
pub enum Step {
    /// A client asks; while the origin answers, somebody may purge.
    Get { url: &'static str, fields: Fields, meanwhile: Option<Purged> },
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
    /// The cache loses its memory.
    Crash,
    /// The origin can be reached, or cannot; and how long it takes to answer.
    Origin { up: bool, takes: u64 },
}

/// What an origin says of a resource. Times are seconds from when it answers.
#[derive(Debug, Clone)]
pub struct Says {
    pub status: u16,
    pub cache_control: Vec<&'static str>,
    pub expires: Option<i64>,
    pub date: Option<i64>,
    pub age: Option<u64>,
    pub modified: Option<i64>,
    pub tagged: bool,
    pub varies: bool,
    pub cookie: bool,
}

const URLS: [&str; 3] = ["http://a/x", "http://b/x", "http://a/y"];
const START: i64 = 1_656_842_400_000;

/// The origin, the cache before it, and the model that watches.
pub struct World {
    now: i64,
    takes: u64,
    up: bool,
    says: HashMap<&'static str, (Says, u32)>,
    driver: Driver,
    model: Model,
}

/// What the origin answers.
#[derive(Debug, Clone)]
pub struct Answered {
    pub status: u16,
    pub fields: Fields,
    pub body: String,
}

impl World {
    pub fn new() -> Self {
        let plain = Says {
            status: 200,
            cache_control: vec!["max-age=60"],
            expires: None,
            date: Some(0),
            age: None,
            modified: None,
            tagged: true,
            varies: false,
            cookie: false,
        };
        let patient = Says {
            cache_control: vec!["max-age=5", "stale-while-revalidate=5", "stale-if-error=40"],
            varies: true,
            ..plain.clone()
        };
        Self {
            now: START,
            takes: 0,
            up: true,
            says: HashMap::from([
                (URLS[0], (plain.clone(), 0)),
                (URLS[1], (patient, 0)),
                (URLS[2], (plain, 0)),
            ]),
            driver: Driver::new(),
            model: Model::default(),
        }
    }

    pub fn seen(&self) -> Seen {
        self.driver.seen
    }

    /// # Errors
    /// What the model has to say against what was given.
    pub fn take(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Get { url, fields, meanwhile } => return self.get(url, fields, *meanwhile),
            Step::Post { url, status } => {
                if self.driver.post(url, *status) != (200..400).contains(status) {
                    return Err(format!("a POST with {status} was taken in the wrong way"));
                }
                if (200..400).contains(status) {
                    self.model.purge(Some(url), false);
                }
            }
            Step::Say { url, says } => {
                let version = self.says[url].1;
                self.says.insert(url, (says.clone(), version));
            }
            Step::Change { url } => {
                if let Some((_, version)) = self.says.get_mut(url) {
                    *version += 1;
                }
            }
            Step::Purge((url, soft)) => {
                self.driver.purge(*url, *soft);
                self.model.purge(*url, *soft);
            }
            Step::Wait(millis) => self.now += i64::try_from(*millis).expect("spans are short"),
            Step::Crash => {
                self.driver.crash();
                self.model.crash();
            }
            Step::Origin { up, takes } => (self.up, self.takes) = (*up, *takes),
        }
        Ok(())
    }

    fn get(
        &mut self,
        url: &'static str,
        fields: &Fields,
        meanwhile: Option<Purged>,
    ) -> Result<(), String> {
        let asked_at = self.now;
        let (says, version) = self.says[url].clone();
        let mut heard = None;
        let (now, up, takes) = (&mut self.now, self.up, self.takes);
        let mut was_asked = false;
        let given = self.driver.get(url, fields, asked_at, meanwhile, |upstream| {
            was_asked = true;
            if !up {
                return None;
            }
            *now += i64::try_from(takes).expect("spans are short");
            let answered = answer(url, &says, version, upstream, *now);
            heard = Some((upstream.clone(), answered.clone()));
            Some((answered, *now))
        });
        let must = self.model.must_give(url, fields, asked_at);
        let meanwhile = meanwhile.filter(|_| was_asked);
        if let Some((purged, soft)) = meanwhile {
            self.model.purge(purged, soft);
        }
        let checked = self.check(url, fields, asked_at, &given, must);
        if let Some((upstream, answered)) = heard {
            let (requested, received) = (asked_at, self.now);
            let replaced = given.how == How::StandIn;
            let received = Received { url, request: upstream, answered, requested, received };
            self.model.hear(received, replaced);
            if let Some((purged, soft)) = meanwhile {
                // It was asked for before that.
                self.model.purge(purged, soft);
            }
        }
        checked
    }

    fn check(
        &self,
        url: &'static str,
        fields: &Fields,
        asked_at: i64,
        given: &Given,
        must: bool,
    ) -> Result<(), String> {
        let (says, version) = &self.says[url];
        let current = body(url, *version, says, fields);
        match given.how {
            How::Stored | How::StandIn => {
                let in_error = given.how == How::StandIn;
                let at = if in_error { self.now } else { asked_at };
                self.model.allows(url, fields, given, in_error, at)
            }
            How::Renewed | How::Fetched if !given.body.is_empty() && given.body != current => {
                Err(format!("{:?} gave {:?}, which is not {current:?}", given.how, given.body))
            }
            _ if must => Err(format!("{:?} instead of what is fresh and stored", given.how)),
            _ => Ok(()),
        }
    }
}

fn answer(url: &str, says: &Says, version: u32, request: &Fields, now: i64) -> Answered {
    let mut fields = Fields::new();
    let mut add = |name: &str, value: String| fields.push((name.to_owned(), value));
    let date = |seconds: i64| {
        cache::rules::http_date(cache::Time(now.div_euclid(1000) * 1000 + seconds * 1000))
    };
    if !says.cache_control.is_empty() {
        add("Cache-Control", says.cache_control.join(", "));
    }
    if let Some(seconds) = says.date {
        add("Date", date(seconds));
    }
    if let Some(seconds) = says.expires {
        add("Expires", date(seconds));
    }
    if let Some(age) = says.age {
        add("Age", age.to_string());
    }
    if let Some(seconds) = says.modified {
        // In the past by version, so that a new one has a new date.
        add("Last-Modified", date_of_version(seconds, version));
    }
    let body = body(url, version, says, request);
    let tag = format!("\"{body}\"");
    if says.tagged {
        add("ETag", tag.clone());
    }
    if says.varies {
        add("Vary", "X-A".into());
    }
    if says.cookie {
        add("Set-Cookie", "id=1".into());
    }
    let asked = value(request, "if-none-match");
    let held = says.status == 200 && says.tagged && asked.is_some_and(|asked| asked == tag);
    if held {
        return Answered { status: 304, fields, body: String::new() };
    }
    Answered { status: says.status, fields, body }
}

fn date_of_version(seconds: i64, version: u32) -> String {
    let from_start = START / 1000 - 1_000_000 + seconds + i64::from(version);
    cache::rules::http_date(cache::Time(from_start * 1000))
}

fn body(url: &str, version: u32, says: &Says, request: &Fields) -> String {
    let variant = if says.varies { value(request, "x-a").unwrap_or("-") } else { "all" };
    format!("{url} {version} {} {variant}", says.status)
}

/// A story.
pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    vec(step(), 1..40)
}

fn step() -> impl Strategy<Value = Step> {
    let url = || select(&URLS[..]);
    prop_oneof![
        12 => (url(), request(), proptest::option::weighted(0.1, purged()))
            .prop_map(|(url, fields, meanwhile)| Step::Get { url, fields, meanwhile }),
        4 => (url(), says()).prop_map(|(url, says)| Step::Say { url, says }),
        2 => url().prop_map(|url| Step::Change { url }),
        6 => prop_oneof![0u64..1500, 0u64..70_000, 5000u64..8000, 60_000u64..65_000]
            .prop_map(Step::Wait),
        1 => (url(), select(&[200u16, 303, 400, 500][..]))
            .prop_map(|(url, status)| Step::Post { url, status }),
        1 => purged().prop_map(Step::Purge),
        2 => (any::<bool>(), 0u64..3000)
            .prop_map(|(up, takes)| Step::Origin { up, takes }),
        1 => Just(Step::Crash),
    ]
}

fn purged() -> impl Strategy<Value = Purged> {
    (proptest::option::of(select(&URLS[..])), any::<bool>())
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
    let wishes = prop_oneof![
        2 => Just(vec![]),
        1 => subsequence(&WISHES[..], 1..3),
    ];
    let variant = select(&[None, Some("1"), Some("2")][..]);
    let of_ten = |chances: u32| (0..10u32).prop_map(move |at| at < chances);
    (wishes, variant, of_ten(1), of_ten(2)).prop_map(|(wishes, variant, login, cookie)| {
        let mut fields = Fields::new();
        let mut add = |name: &str, value: &str| fields.push((name.to_owned(), value.to_owned()));
        if !wishes.is_empty() {
            add("Cache-Control", &wishes.join(","));
        }
        if let Some(variant) = variant {
            add("X-A", variant);
        }
        if login {
            add("Authorization", "Basic eA==");
        }
        if cookie {
            add("Cookie", "id=1");
        }
        fields
    })
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
    (
        status,
        subsequence(&DIRECTIVES[..], 0..4),
        often(-20..100),
        often(-30..10),
        proptest::option::of(0u64..40),
        often(-500..0),
        any::<bool>(),
        any::<bool>(),
        (0..10u8).prop_map(|at| at == 0),
    )
        .prop_map(
            |(status, directives, expires, date, age, modified, tagged, varies, cookie)| Says {
                status,
                cache_control: directives,
                expires,
                date,
                age,
                modified,
                tagged,
                varies,
                cookie,
            },
        )
}
