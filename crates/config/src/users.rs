//! `users`: named sets of users.

use std::collections::HashMap;

use crate::ConfigError;
use crate::build::Context;
use crate::model::{Password, User, UserSet};
use crate::walk::Item;

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
        if let Some(password) = password(user, context) {
            let password = Some(password);
            users.push(User { password, ..User::new(&name.value, user.span) });
        }
    }
    let mut files: Vec<_> = item.one("file").into_iter().collect();
    files.extend(item.children("file").filter_map(|file| file.one("path")));
    let empty = item.child("user").is_none()
        && item.child("file").is_none()
        && item.written("file").is_none();
    if empty && !item.flawed {
        context.error(
            ConfigError::at(item.span, "a set of users without a user", "nobody could log in")
                .help("add `user \"alice\" password=\"…\"`, or file=\"users.htpasswd\""),
        );
    }
    let set = UserSet::new(&item.get::<String>("name")?, item.span);
    Some(UserSet { users, files, ..set })
}

fn password(user: &Item, context: &mut Context<'_>) -> Option<Password> {
    match (user.written("password"), user.written("password-hash")) {
        (Some(plain), Some(hash)) => {
            context.error(
                ConfigError::at(hash, "a user with a password and a hash", "and a hash")
                    .also(plain, "a password")
                    .help("keep the hash"),
            );
            None
        }
        (None, None) => {
            context.error(
                ConfigError::at(user.span, "a user without a password", "no password")
                    .help("add password=\"…\", or password-hash=\"…\" (`htpasswd -nB NAME`)"),
            );
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
            Some(Password::Plain(plain))
        }
        (None, Some(_)) => user.get("password-hash").map(Password::Hash),
    }
}
