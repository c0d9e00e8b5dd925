//! What changes of the forward face: users, pools of exits, listeners.

use super::facts::{self, Facts};
use super::{Both, Change, Pairs, Sign, or_something};
use crate::model::*;
use crate::show;

impl Both<'_> {
    pub(super) fn users(&self) -> Vec<Change> {
        let pairs = Pairs::of(&self.old.users, &self.new.users, |set| set.name.as_str());
        let name = |_, set: &UserSet| format!("users {}", set.name);
        pairs.changes(name, |old, new| {
            let mut changes = facts::compare(set(old, self.old), set(new, self.new));
            let defaults = facts::compare(limits(&old.defaults), limits(&new.defaults));
            let defaults = or_something(defaults, old.defaults == new.defaults);
            if !defaults.is_empty() {
                let what = "default".to_owned();
                changes.push(Change { sign: Sign::Changed, what, inner: defaults });
            }
            let users = Pairs::of(&old.users, &new.users, |user| user.name.as_str());
            let name = |_, user: &User| format!("user {}", user.name);
            changes.extend(users.changes(name, |old, new| {
                or_something(facts::compare(user(old), user(new)), old == new)
            }));
            let callout = |set: &UserSet| {
                set.callout.clone().map(|callout| Callout { upstream: 0, ..callout })
            };
            or_something(changes, callout(old) == callout(new))
        })
    }

    pub(super) fn exits(&self) -> Vec<Change> {
        let pairs = Pairs::of(&self.old.exits, &self.new.exits, |pool| pool.name.as_str());
        let name = |sign, pool: &ExitPool| match (sign, pool.exits.len()) {
            (Sign::Added, 1) => format!("exits {}: 1 exit", pool.name),
            (Sign::Added, count) => format!("exits {}: {count} exits", pool.name),
            _ => format!("exits {}", pool.name),
        };
        pairs.changes(name, |old, new| {
            let mut changes = facts::compare(pool(old), pool(new));
            let exits = Pairs::of(&old.exits, &new.exits, |exit| exit.name.as_str());
            let shown = |sign, exit: &Exit| {
                let config = if sign == Sign::Removed { self.old } else { self.new };
                match sign {
                    Sign::Changed => format!("exit {}", exit.name),
                    _ => format!("exit {}: {}", exit.name, show::exit_kind(&exit.kind, config)),
                }
            };
            changes.extend(exits.changes(shown, |old, new| {
                let changes = facts::compare(exit(old, self.old), exit(new, self.new));
                or_something(changes, bare_exit(old) == bare_exit(new))
            }));
            if exits.in_another_order {
                changes.push(Change::new(Sign::Changed, "exits stand in another order"));
            }
            let bare = |pool: &ExitPool| ExitPool { exits: Vec::new(), ..pool.clone() };
            or_something(changes, bare(old) == bare(new))
        })
    }

    pub(super) fn forwards(&self) -> Vec<Change> {
        let pairs = Pairs::of(&self.old.forwards, &self.new.forwards, |forward| forward.listen);
        let name = |_, forward: &Forward| format!("forward {}", forward.listen);
        pairs.changes(name, |old, new| {
            let changes =
                facts::compare(facts::forward(old, self.old), facts::forward(new, self.new));
            or_something(changes, bare_forward(old) == bare_forward(new))
        })
    }
}

/// Without places in lists.
fn bare_forward(forward: &Forward) -> Forward {
    let bare = |way| match way {
        WayOut::Pool(_) => WayOut::Pool(0),
        WayOut::Direct => WayOut::Direct,
    };
    let mut forward = Forward { name: String::new(), exit: bare(forward.exit), ..forward.clone() };
    if let Some(auth) = &mut forward.auth {
        auth.users = 0;
    }
    for rule in &mut forward.rules {
        rule.exit = rule.exit.map(bare);
    }
    forward
}

fn bare_exit(exit: &Exit) -> Exit {
    let mut exit = exit.clone();
    if let ExitKind::Pool(at) = &mut exit.kind {
        *at = 0;
    }
    exit
}

fn set(set: &UserSet, config: &Config) -> Facts {
    let mut facts = Facts::default();
    let paths = |files: &[Spanned<std::path::PathBuf>]| -> Vec<String> {
        files.iter().map(|file| file.value.display().to_string()).collect()
    };
    facts.many("file", paths(&set.files));
    facts.many("database", paths(&set.databases));
    facts.maybe("time-zone", set.time_zone.clone());
    let callout = set.callout.as_ref().map(|callout| {
        let group = config.upstreams.get(callout.upstream);
        let server =
            group.and_then(|group| group.servers.first()).map_or_else(String::new, show::server);
        let path = callout.target.split('?').next().unwrap_or_default();
        let (keep, refused) = (show::duration(callout.keep), show::duration(callout.keep_refused));
        format!("{server}{path}, keep {keep}, keep-refused {refused}")
    });
    facts.maybe("callout", callout);
    facts
}

fn user(user: &User) -> Facts {
    let mut facts = Facts::default();
    let password = user.password.as_ref().map(|password| match password {
        Password::Plain(text) => format!("plain {text}"),
        Password::Hash(text) => format!("hash {text}"),
    });
    facts.secret("password", password.as_ref());
    let keys = (!user.keys.is_empty()).then(|| user.keys.join("\n"));
    facts.secret("api-key", keys.as_ref());
    facts.many("from", user.from.iter().map(show::net));
    facts.maybe("expires", user.expires.map(show::moment));
    limits_of(&user.limits, &mut facts);
    facts
}

fn limits(limits: &UserLimits) -> Facts {
    let mut facts = Facts::default();
    limits_of(limits, &mut facts);
    facts
}

fn limits_of(limits: &UserLimits, facts: &mut Facts) {
    facts.maybe("bandwidth", limits.bandwidth.map(|rate| format!("{}/s", show::bytes(rate))));
    facts.many("quota", limits.quotas.iter().map(show::quota));
    facts.many("budget", limits.budgets.iter().map(show::budget));
    facts.maybe("connections", limits.connections.map(|count| count.to_string()));
    let requests =
        limits.requests.map(|(count, time)| format!("{count} in {}", show::duration(time)));
    facts.maybe("requests", requests);
    facts.many("exits", &limits.exits);
    facts.many("countries", &limits.countries);
    facts.many("hours", limits.hours.iter().map(show::hours));
    facts.many("rule", limits.rules.iter().map(show::target_rule));
}

fn pool(pool: &ExitPool) -> Facts {
    let mut facts = Facts::default();
    facts.one("rotate", show::rotate(pool.rotate));
    facts.one("choose", show::choose(pool.choose));
    facts.one("sticky", show::sessions(&pool.sessions));
    facts.one("dialect", show::dialect(pool.dialect));
    facts.maybe("health", pool.health.as_ref().map(show::exit_health));
    facts.many("ban", pool.bans.iter().map(show::ban));
    facts.one("retry attempts", pool.attempts.to_string());
    facts.maybe("max connections", pool.max_per_exit.map(|max| max.to_string()));
    facts.maybe("max per-host", pool.max_per_host.map(|max| max.to_string()));
    facts.maybe("pace", pool.pacing.as_ref().map(show::pacing));
    facts.one("exclusive", if pool.exclusive { "on" } else { "off" });
    let resolve = pool.resolve.map(|place| match place {
        ResolveAt::Here => "here".to_owned(),
        ResolveAt::Exit => "exit".to_owned(),
    });
    facts.maybe("resolve", resolve);
    facts.maybe("prefer", pool.prefer.map(|family| show::preference(family).to_owned()));
    facts
}

fn exit(exit: &Exit, config: &Config) -> Facts {
    let mut facts = Facts::default();
    facts.one("is", show::exit_kind(&exit.kind, config));
    let credentials = match &exit.kind {
        ExitKind::Chain(hops) => {
            let all = hops.iter().map(|hop| match &hop.credentials {
                Some((user, password)) => format!("{user}\n{password}"),
                None => String::new(),
            });
            Some(all.collect::<Vec<_>>().join("\n\n"))
        }
        _ => None,
    };
    facts.secret("credentials", credentials.as_ref());
    // A change of the query of a URL, which is not told.
    let url = match &exit.kind {
        ExitKind::List { source, .. } => match &source.value {
            ListSource::Url { url, .. } => url.split_once('?').map(|(_, query)| query.to_owned()),
            ListSource::File(_) => None,
        },
        _ => None,
    };
    facts.secret("query of the URL", url.as_ref());
    facts.maybe("labels", Some(show::labels(&exit.labels)).filter(|labels| !labels.is_empty()));
    facts.one("weight", exit.weight.to_string());
    facts.maybe("max", exit.max.map(|max| max.to_string()));
    facts
}
