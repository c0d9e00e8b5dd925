//! What happens: the origin, the cache before it, and the model that watches.

use std::collections::HashMap;

use message::Method;

use super::driver::{Driver, Event, Given, How, Seen};
use super::naive::Model;
use super::origin::{Fields, START, Says, Tag, answer};
use super::said::value;
use super::story::{Ask, End, Size, Step, URLS};

pub struct World {
    now: i64,
    takes: i64,
    up: bool,
    says: HashMap<&'static str, (Says, u32)>,
    /// The tag that the origin said last, for clients that have something.
    tag: Option<String>,
    serial: u64,
    size: Size,
    driver: Driver,
    model: Model,
}

impl World {
    pub fn new(size: Size) -> Self {
        let plain = Says {
            status: 200,
            cache_control: vec!["max-age=60"],
            expires: None,
            date: Some(0),
            age: None,
            dated: false,
            tag: Tag::Strong,
            vary: "",
            cookie: false,
            ranges: Some(true),
            counts: true,
        };
        let patient = Says {
            cache_control: vec!["max-age=5", "stale-while-revalidate=5", "stale-if-error=40"],
            vary: "X-A",
            ..plain.clone()
        };
        let mut says = HashMap::from(URLS.map(|url| (url, (plain.clone(), 0))));
        says.insert(URLS[1], (patient, 0));
        let (driver, model) = (Driver::new(size), Model::default());
        Self { now: START, takes: 0, up: true, says, tag: None, serial: 0, size, driver, model }
    }

    pub fn seen(&self) -> Seen {
        self.driver.seen
    }

    /// # Errors
    /// What the model has to say against what was given.
    pub fn take(&mut self, step: &Step) -> Result<(), String> {
        self.model.begin();
        let lost = self.driver.lost();
        match step {
            Step::Ask(ask) => self.ask(ask)?,
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
                self.driver.purge((*url, *soft));
                self.model.purge(*url, *soft);
            }
            Step::Wait(millis) => {
                self.now += i64::try_from(*millis).expect("spans are short");
                self.driver.pass(*millis);
                self.model.pass(*millis);
            }
            Step::Back(millis) => self.now -= i64::try_from(*millis).expect("spans are short"),
            Step::Restart(end) => return self.restart(*end),
            Step::Doom(bytes) => self.driver.faults.die_after(*bytes),
            Step::Origin { up, takes } => (self.up, self.takes) = (*up, *takes),
        }
        if matches!(step, Step::Ask(_) | Step::Post { .. } | Step::Purge(_) | Step::Wait(_)) {
            self.driver.settle();
            if self.driver.lost() > lost {
                self.model.lost_some();
            }
        }
        if self.driver.faults.is_dead() {
            // What it gave before that was right.
            self.driver.kill();
            self.model.died();
            self.driver.start(None);
        }
        Ok(())
    }

    fn restart(&mut self, end: End) -> Result<(), String> {
        if let End::Orderly = end {
            self.driver.close();
            if self.driver.faults.is_dead() {
                self.model.killed();
            } else {
                self.model.closed();
            }
        } else {
            self.driver.kill();
            self.model.killed();
        }
        match end {
            End::KilledTwice(bytes) => {
                self.driver.start(Some(bytes));
                self.driver.kill();
            }
            End::PowerLost(chance) => {
                self.driver.lose_power(chance);
                self.model.lost_power();
            }
            End::Orderly | End::Killed => {}
        }
        self.driver.start(None);
        Ok(())
    }

    fn ask(&mut self, ask: &Ask) -> Result<(), String> {
        let ask = &Ask { fields: self.with_tag(&ask.fields), ..ask.clone() };
        let must = self.model.must_give(ask.url, &ask.fields, self.now);
        let (asked_at, lost) = (self.now, self.driver.lost());
        let (says, version) = self.says[ask.url].clone();
        let (now, up, takes) = (&mut self.now, self.up, self.takes);
        let (serial, tag) = (&mut self.serial, &mut self.tag);
        let given = self.driver.ask(ask, asked_at, &mut |method, upstream| {
            if !up {
                return None;
            }
            *now += takes;
            *serial += 1;
            let answered = answer((ask.url, &says, version), method, upstream, *serial, *now);
            *tag = value(&answered.fields, "etag").map(str::to_owned);
            Some((answered, *now))
        });
        let request = (ask.method, &ask.fields);
        if given.how == How::Stored {
            self.model.allows(ask.url, request, &given, asked_at)?;
        } else if must && self.driver.lost() == lost {
            return Err(format!("{given:?} instead of what is fresh and stored, at {asked_at}"));
        }
        self.hear(ask.url, request, &given)?;
        if given.how == How::StandIn {
            self.model.allows(ask.url, request, &given, self.now)?;
        }
        Ok(())
    }

    /// What the driver did, in its order.
    fn hear(&mut self, url: &str, request: (Method, &Fields), given: &Given) -> Result<(), String> {
        let events = std::mem::take(&mut self.driver.events);
        let last = events.iter().rposition(|event| matches!(event, Event::Heard(_)));
        for (at, event) in events.into_iter().enumerate() {
            match event {
                Event::Purged((url, soft)) => self.model.purge(url, soft),
                Event::Heard(heard) => self.model.hear(*heard, self.size != Size::Little)?,
            }
            if given.how == How::Renewed && Some(at) == last {
                self.model.allows(url, request, given, self.now)?;
            }
        }
        Ok(())
    }

    /// A client that has something has what was said last.
    fn with_tag(&self, fields: &Fields) -> Fields {
        let mut fields = fields.clone();
        for (name, value) in &mut fields {
            if name.starts_with("If-") {
                value.push_str(self.tag.as_deref().unwrap_or("\"none\""));
            }
        }
        fields
    }
}
