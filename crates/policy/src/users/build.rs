//! How a set of users is put together.

use std::collections::HashMap;
use std::sync::Arc;

use ahash::RandomState;
use config::{ConfigError, Password, Span, TargetRule, User, UserLimits, UserSet};
use jiff::tz::TimeZone;
use sha2::{Digest as _, Sha256};

use super::{KeyDigest, Permissions, Record, UserId, Users};
use crate::hours::time_zone;
use crate::htpasswd;
use crate::nets::NetMap;
use crate::passwords::{Cost, REMEDY, Stored};
use crate::rule_set::{RuleSet, RuleSources};

pub(super) fn build(
    set: &UserSet,
    rows: &[User],
    sources: &mut RuleSources,
) -> Result<Users, Vec<ConfigError>> {
    let mut errors = Vec::new();
    let zone = zone(set, rows, &mut errors);
    let mut builder = Builder {
        records: Vec::new(),
        by_name: HashMap::default(),
        by_key: HashMap::default(),
        by_address: NetMap::default(),
        defaults: Permissions {
            limits: Arc::new(set.defaults.clone()),
            rules: rules(&set.defaults.rules, &zone, sources, &mut errors),
        },
        errors,
    };
    for user in &set.users {
        builder.add_user(user, "here", &zone, sources);
    }
    for user in rows {
        builder.add_user(user, "in a database", &zone, sources);
    }
    for file in &set.files {
        for line in htpasswd::read(file, &mut builder.errors) {
            let place = format!("line {}", line.number);
            let record = Record {
                name: line.name.into(),
                stored: Some(line.stored),
                keys: Box::default(),
                expires: None,
                permissions: builder.defaults.clone(),
            };
            builder.add(record, file.span, &place);
        }
    }
    builder.finish(set)
}

/// The zone of hours in rules. Where there are none, nobody needs it.
fn zone(set: &UserSet, rows: &[User], errors: &mut Vec<ConfigError>) -> TimeZone {
    let limits = set.users.iter().chain(rows).map(|user| &user.limits).chain([&set.defaults]);
    if limits.flat_map(|limits| &limits.rules).all(|rule| rule.context.hours.is_empty()) {
        return TimeZone::UTC;
    }
    time_zone(set.time_zone.as_deref()).unwrap_or_else(|reason| {
        let message = format!("the time zone of `{}` cannot be had: {reason}", set.name);
        errors.push(
            ConfigError::at(set.span, message, "this set")
                .help("a name as `America/Toronto`; the system's tzdata must have it"),
        );
        TimeZone::UTC
    })
}

fn rules(
    rules: &[TargetRule],
    zone: &TimeZone,
    sources: &mut RuleSources,
    errors: &mut Vec<ConfigError>,
) -> Option<Arc<RuleSet>> {
    (!rules.is_empty()).then(|| Arc::new(RuleSet::build(rules, zone, sources, errors)))
}

/// What is said of one user, and else what is said of all.
fn merge(own: &UserLimits, all: &UserLimits) -> UserLimits {
    fn some<T: Clone>(own: &[T], all: &[T]) -> Vec<T> {
        (if own.is_empty() { all } else { own }).to_vec()
    }
    UserLimits {
        bandwidth: own.bandwidth.or(all.bandwidth),
        quotas: some(&own.quotas, &all.quotas),
        budgets: some(&own.budgets, &all.budgets),
        connections: own.connections.or(all.connections),
        requests: own.requests.or(all.requests),
        exits: some(&own.exits, &all.exits),
        countries: some(&own.countries, &all.countries),
        hours: some(&own.hours, &all.hours),
        rules: some(&own.rules, &all.rules),
    }
}

/// A key as it is, or its digest.
fn key_digest(text: &str) -> Option<KeyDigest> {
    let Some(digits) = text.strip_prefix("sha256:") else {
        return Some(Sha256::digest(text).into());
    };
    let mut digest = KeyDigest::default();
    if digits.len() != 2 * digest.len() || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (index, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(digest)
}

struct Builder {
    records: Vec<Record>,
    by_name: HashMap<Box<[u8]>, UserId, RandomState>,
    by_key: HashMap<KeyDigest, UserId, RandomState>,
    by_address: NetMap<UserId>,
    defaults: Permissions,
    errors: Vec<ConfigError>,
}

impl Builder {
    fn add_user(&mut self, user: &User, place: &str, zone: &TimeZone, sources: &mut RuleSources) {
        let mut fail = |message: String| {
            self.errors.push(ConfigError::at(user.span, message, "this user").help(REMEDY));
        };
        let stored = match &user.password {
            Some(Password::Plain(password)) => Some(Stored::plain(password)),
            Some(Password::Hash(hash)) => match Stored::hash(hash) {
                Ok(stored) => Some(stored),
                Err(error) => return fail(format!("user `{}` has {error}", user.name)),
            },
            None => None,
        };
        let mut keys = Vec::new();
        for key in &user.keys {
            match key_digest(key) {
                Some(digest) => keys.push(digest),
                None => self.errors.push(ConfigError::at(
                    user.span,
                    format!("a key of user `{}` is no SHA-256", user.name),
                    "`sha256:` is followed by 64 hexadecimal digits",
                )),
            }
        }
        let permissions = self.permissions(&user.limits, zone, sources);
        let record = Record {
            name: user.name.as_str().into(),
            stored,
            keys: keys.into(),
            expires: user.expires,
            permissions,
        };
        let Some(id) = self.add(record, user.span, place) else { return };
        for net in &user.from {
            if let Some(other) = self.by_address.insert(*net, id)
                && *other != id
            {
                let message = format!("`{net}` is already that of another user");
                let error = ConfigError::at(user.span, message, "this user");
                self.errors.push(error.help("an address can be known as one user only"));
            }
        }
    }

    fn permissions(
        &mut self,
        own: &UserLimits,
        zone: &TimeZone,
        sources: &mut RuleSources,
    ) -> Permissions {
        if *own == UserLimits::default() {
            return self.defaults.clone();
        }
        let own_rules = rules(&own.rules, zone, sources, &mut self.errors);
        Permissions {
            limits: Arc::new(merge(own, &self.defaults.limits)),
            rules: own_rules.or_else(|| self.defaults.rules.clone()),
        }
    }

    fn add(&mut self, record: Record, span: Span, place: &str) -> Option<UserId> {
        let Ok(id) = u32::try_from(self.records.len()).map(UserId) else {
            self.errors.push(ConfigError::at(span, "more than 2^32 users", "here"));
            return None;
        };
        if self.by_name.contains_key(record.name.as_bytes()) {
            let message = format!("user `{}` is there twice", record.name);
            self.errors.push(
                ConfigError::at(span, message, format!("the second time: {place}"))
                    .help("remove one of the two"),
            );
            return None;
        }
        for key in &record.keys {
            if self.by_key.insert(*key, id).is_some_and(|other| other != id) {
                let message =
                    format!("a key of user `{}` is that of another user too", record.name);
                self.errors.push(ConfigError::at(span, message, "this user"));
            }
        }
        self.by_name.insert(record.name.as_bytes().into(), id);
        self.records.push(record);
        Some(id)
    }

    fn finish(self, set: &UserSet) -> Result<Users, Vec<ConfigError>> {
        if !self.errors.is_empty() {
            return Err(self.errors);
        }
        let mut stand_ins: Vec<(Cost, usize)> = Vec::new();
        for (index, record) in self.records.iter().enumerate() {
            let Some(cost) = record.stored.as_ref().map(Stored::cost) else { continue };
            if stand_ins.iter().all(|(other, _)| *other != cost) {
                stand_ins.push((cost, index));
            }
        }
        let lists = self.records.iter().filter_map(|record| record.permissions.rules.as_deref());
        let lists = lists.chain(self.defaults.rules.as_deref()).flat_map(RuleSet::lists);
        let mut sources: Vec<_> = lists.map(|list| list.path().to_owned()).collect();
        sources.extend(set.files.iter().chain(&set.databases).map(|file| file.value.clone()));
        sources.sort_unstable();
        sources.dedup();
        Ok(Users {
            records: self.records,
            by_name: self.by_name,
            by_key: self.by_key,
            by_address: self.by_address,
            stand_ins: stand_ins.into_iter().map(|(_, index)| index).collect(),
            asks_elsewhere: set.callout.is_some(),
            defaults: self.defaults,
            sources,
        })
    }
}
