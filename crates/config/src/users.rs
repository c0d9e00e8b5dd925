//! `users`: named sets of users.

mod callout;
mod limits;

use std::collections::HashMap;

use crate::build::{Context, values};
use crate::model::{ExitKind, ExitPool, Password, User, UserSet};
use crate::suggest::nearest;
use crate::walk::Item;
use crate::{ConfigError, Span, Spanned};

/// Builds a set.
pub(crate) fn set(item: &Item, context: &mut Context<'_>) -> Option<UserSet> {
    let mut users = Vec::new();
    let mut seen = HashMap::new();
    for user in item.children("user") {
        let Some(name) = user.one::<String>("name") else { continue };
        if let Some(first) = seen.insert(name.value.clone(), name.span) {
            context.error(
                ConfigError::at(
                    name.span,
                    format!("the user \"{}\" stands twice", name.value),
                    "the second",
                )
                .also(first, "the first")
                .help("keep one of the two"),
            );
        }
        users.extend(self::user(user, &name.value, context));
    }
    check_known_by_one(item, "api-key", "key", "an API key", context);
    check_known_by_one(item, "from", "network", "a network", context);
    let mut files: Vec<_> = item.one("file").into_iter().collect();
    files.extend(item.children("file").filter_map(|file| file.one("path")));
    let sources = ["user", "file", "database", "callout"];
    let empty = sources.iter().all(|name| item.child(name).is_none());
    if empty && item.written("file").is_none() && !item.flawed {
        context.error(
            ConfigError::at(item.span, "a set of users without a user", "nobody could log in")
                .help("add `user \"alice\" password=\"…\"`, or file=\"users.htpasswd\""),
        );
    }
    let name = item.get::<String>("name").unwrap_or_default();
    let callout = item.child("callout").and_then(|it| callout::callout(it, &name, context));
    let defaults = item.child("default").map(|it| limits::limits(it, context));
    let set = UserSet::new(&item.get::<String>("name")?, item.span);
    Some(UserSet {
        users,
        files,
        databases: item.children("database").filter_map(|file| file.one("path")).collect(),
        callout,
        defaults: defaults.unwrap_or_default(),
        time_zone: item.child("time-zone").and_then(|zone| zone.get("name")),
        ..set
    })
}

/// One user; `None` where something is wrong with its password.
fn user(item: &Item, name: &str, context: &mut Context<'_>) -> Option<User> {
    let password = password(item, context);
    let limits = limits::limits(item, context);
    Some(User {
        password: password?,
        keys: item.children("api-key").flat_map(|keys| values(keys, "key")).collect(),
        from: item.children("from").flat_map(|from| values(from, "network")).collect(),
        expires: limits::single(item, "expires", "moment", context),
        limits,
        ..User::new(name, item.span)
    })
}

/// The password, where there is one. `None`: something is wrong with it.
fn password(user: &Item, context: &mut Context<'_>) -> Option<Option<Password>> {
    match (user.written("password"), user.written("password-hash")) {
        (Some(plain), Some(hash)) => {
            context.error(
                ConfigError::at(hash, "a user with a password and a hash", "and a hash")
                    .also(plain, "a password")
                    .help("keep the hash"),
            );
            None
        }
        (None, None) if user.child("api-key").is_some() || user.child("from").is_some() => {
            Some(None)
        }
        (None, None) => {
            if !user.flawed {
                context.error(
                    ConfigError::at(user.span, "a user without a password", "no password").help(
                        "add password=\"…\", or password-hash=\"…\" (`htpasswd -nB NAME`), or \
                         `api-key` or `from` in its block",
                    ),
                );
            }
            None
        }
        (Some(span), None) => {
            let plain = user.get::<String>("password")?;
            if plain.starts_with("$2y$") || plain.starts_with("$argon2") {
                context.error(
                    ConfigError::at(span, "a password that looks like a hash", "taken as it is")
                        .help("write it as `password-hash=`"),
                );
            }
            Some(Some(Password::Plain(plain)))
        }
        (None, Some(_)) => Some(user.get("password-hash").map(Password::Hash)),
    }
}

/// Who shows a key, or comes from an address, is one user.
fn check_known_by_one(
    set: &Item,
    directive: &str,
    value: &'static str,
    what: &str,
    context: &mut Context<'_>,
) {
    let mut seen: HashMap<String, (Span, Span)> = HashMap::new();
    for user in set.children("user") {
        for item in user.children(directive) {
            let texts: Vec<Spanned<String>> = match value {
                "key" => item.all(value),
                _ => shown(item.all::<ipnet::IpNet>(value)),
            };
            for text in texts {
                let (owner, first) = *seen.entry(text.value).or_insert((user.span, text.span));
                if owner != user.span {
                    context.error(
                        ConfigError::at(text.span, format!("{what} of two users"), "the second")
                            .also(first, "the first")
                            .help("it tells who asks: give it to one of them"),
                    );
                }
            }
        }
    }
}

fn shown(nets: Vec<Spanned<ipnet::IpNet>>) -> Vec<Spanned<String>> {
    let text =
        |net: Spanned<ipnet::IpNet>| Spanned { value: net.value.to_string(), span: net.span };
    nets.into_iter().map(text).collect()
}

/// Reports names in `exits` of users that neither an exit nor a pool has. Exits of lists are known
/// only when those are read.
pub(crate) fn check_exits(top: &[Item], pools: &[ExitPool], errors: &mut Vec<ConfigError>) {
    let exits = || pools.iter().flat_map(|pool| &pool.exits);
    if exits().any(|exit| matches!(exit.kind, ExitKind::List { .. })) {
        return;
    }
    let known = || pools.iter().map(|pool| &pool.name).chain(exits().map(|exit| &exit.name));
    let sets = top.iter().filter(|item| item.directive.name == "users");
    let owners = sets.flat_map(|set| set.children("user").chain(set.children("default")));
    for name in owners.flat_map(|it| it.children("exits")).flat_map(|it| it.all::<String>("name")) {
        if known().any(|known| *known == name.value) {
            continue;
        }
        let help = match nearest(&name.value, known().map(String::as_str)) {
            Some(meant) => format!("did you mean \"{meant}\"?"),
            None => "write the name of an `exits`, or that of an exit in one".to_owned(),
        };
        errors.push(
            ConfigError::at(
                name.span,
                format!("there is no exit and no pool named \"{}\"", name.value),
                "not known",
            )
            .help(help),
        );
    }
}
