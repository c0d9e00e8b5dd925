//! RFC 9111 as one would explain it. Everything that the origin ever said is remembered; whether
//! something of that may be given now is worked out from its text each time.

use message::Method;

use super::driver::{Fate, Given, Heard, How};
use super::origin::Fields;
use super::said::{Marks, Said, value};

/// Everything that was ever kept, and what became of it.
#[derive(Debug, Default)]
pub struct Model {
    said: Vec<Said>,
    /// What was heard last, kept or not.
    last: Option<Said>,
    /// What was thought of it all before the step that is being taken.
    before: Vec<Marks>,
}

/// When it is on the disk itself that something ended.
const SYNCED: u64 = 1000;

impl Model {
    /// The origin said something, and the cache did something with it. `roomy`: it cannot have been
    /// given up for want of room.
    pub fn hear(&mut self, what: Heard, roomy: bool) -> Result<(), String> {
        let no = |why: &str, what: &Heard| Err(format!("{why}: {what:?}"));
        let about = what.about.and_then(|serial| self.find(serial));
        if let Some(about) = about.filter(|_| what.fate != Fate::Kept)
            && (about.marks.purged || about.marks.superseded || about.marks.ended.is_some())
        {
            return no("something that is gone was validated", &what);
        }
        let mut said = Said::new(what.clone());
        if let Some(about) = about
            && (what.answered.status == 304 || what.fate != Fate::Passed && what.fate != Fate::Kept)
        {
            if about.what.answered.text != what.answered.text {
                return no("it was put to another one", &what);
            }
            if what.fate == Fate::Combined && !about.is_strongly_of(&what) {
                return no("nobody can say that it is of the same", &what);
            }
            said = about.renewed(&said);
        }
        if what.fate != Fate::Passed
            && let Err(why) = said.may_be_stored()
        {
            return no(&format!("it was stored, though: {why}"), &what);
        }
        let differs =
            about.is_some_and(|about| what.method == Method::Head && about.differs(&what));
        if differs && what.fate == Fate::Renewed {
            return no("HEAD says that it is another one", &what);
        }
        if what.ended || differs {
            self.end(what.about, what.url);
        }
        said.sure = roomy;
        self.last = Some(said.clone());
        if what.fate != Fate::Passed {
            let old = self.said.iter_mut().filter(|old| old.is_for_the_same(&said));
            old.for_each(|old| old.marks.superseded = true);
            self.said.push(said);
        }
        Ok(())
    }

    fn end(&mut self, serial: Option<u64>, url: &str) {
        for said in self.said.iter_mut().filter(|said| said.what.url == url) {
            if Some(said.serial()) == serial {
                said.marks.ended = Some(0);
            }
            // The disk ends all that there is of a URL.
            said.sure = false;
        }
    }

    fn find(&self, serial: u64) -> Option<&Said> {
        self.said.iter().find(|said| said.serial() == serial)
    }

    pub fn purge(&mut self, url: Option<&str>, soft: bool) {
        for said in &mut self.said {
            if url.is_none_or(|url| url == said.what.url) {
                said.marks.softly |= soft;
                said.marks.purged |= !soft;
            }
        }
    }

    /// A step begins.
    pub fn begin(&mut self) {
        self.before = self.said.iter().map(|said| said.marks).collect();
    }

    /// The process died somewhere in the step. Whatever was done in it may be done, or not.
    pub fn died(&mut self) {
        for (at, said) in self.said.iter_mut().enumerate() {
            let before = self.before.get(at);
            said.sure &= before == Some(&said.marks);
            said.marks = before.copied().unwrap_or(said.marks);
        }
        self.killed();
    }

    /// The process was killed after everything was written: nobody brings it to the disk itself.
    pub fn killed(&mut self) {
        for said in &mut self.said {
            said.marks.ended = said.marks.ended.map(|ago| if ago >= SYNCED { ago } else { 0 });
        }
    }

    /// It ended as it is to.
    pub fn closed(&mut self) {
        self.pass(SYNCED);
    }

    /// What was stored may be there or not, in any version. What was purged stays purged.
    pub fn lost_power(&mut self) {
        for said in &mut self.said {
            said.sure = false;
            said.marks.superseded = false;
            said.marks.ended = said.marks.ended.filter(|ago| *ago >= SYNCED);
        }
    }

    /// Something was damaged or could not be written, and others of its URL went with it.
    pub fn lost_some(&mut self) {
        self.said.iter_mut().for_each(|said| said.sure = false);
    }

    pub fn pass(&mut self, millis: u64) {
        for ago in self.said.iter_mut().filter_map(|said| said.marks.ended.as_mut()) {
            *ago += millis;
        }
    }

    /// Whether this may be given to that request, and is what it says.
    pub fn allows(
        &self,
        url: &str,
        (method, request): (Method, &Fields),
        given: &Given,
        now: i64,
    ) -> Result<(), String> {
        let of_url = |said: &&Said| said.what.url == url && Some(said.serial()) == given.serial;
        let said = match given.how {
            How::Renewed => self.last.as_ref().filter(of_url),
            _ => self.said.iter().find(of_url),
        };
        let Some(said) = said else { return Err(format!("nobody said {given:?}")) };
        let checked = said.is_given(method, request, given).and_then(|()| {
            if given.how == How::Renewed {
                return Ok(());
            }
            said.may_be_given(request, given, now)?;
            match self.said.iter().find(|other| other.is_newer(said) && other.selects(request)) {
                Some(newer) => Err(format!("there is a newer one: {newer:#?}")),
                None => Ok(()),
            }
        });
        checked.map_err(|why| {
            format!("{given:?} must not be given to {request:?} at {now}: {why}: {said:#?}")
        })
    }

    /// Whether the last that was said to such a request has to be given: it is fresh, may be
    /// stored, and the client has no wishes.
    pub fn must_give(&self, url: &str, request: &Fields, now: i64) -> bool {
        if value(request, "cache-control").is_some() {
            return false;
        }
        let mut for_it: Vec<&Said> =
            self.said.iter().filter(|said| said.what.url == url && said.selects(request)).collect();
        // §4.1: the newest by date. Where that is not the last one, it may have been replaced.
        let last = for_it.last().copied();
        for_it.sort_by_key(|said| said.moment());
        let newest = for_it.last().copied();
        let last = last.filter(|last| newest.is_some_and(|newest| std::ptr::eq(*last, newest)));
        last.is_some_and(|said| {
            said.sure
                && said.is_there()
                && !said.marks.softly
                && said.may_be_stored().is_ok()
                && said.held == [said.what.answered.text.all()]
                && !said.has("no-cache")
                && said.age(now) < said.lifetime()
        })
    }
}
