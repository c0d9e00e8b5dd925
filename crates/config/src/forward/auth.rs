//! `auth`: who may use a listener.

use crate::ConfigError;
use crate::build::{Context, resolve};
use crate::model::{AuthScheme, ForwardAuthentication, Password, UserSet};
use crate::suggest::{listed, nearest};
use crate::walk::Item;

/// Builds it.
pub(super) fn auth(item: &Item, context: &mut Context<'_>) -> Option<ForwardAuthentication> {
    let reference = item.one::<String>("users")?;
    let users = resolve(&reference, &context.user_names, "users", context.errors)?;
    let digest = item.one::<bool>("digest").filter(|flag| flag.value);
    if let (Some(digest), Some(set)) = (&digest, context.users.get(users)) {
        let hashed = hashed(set);
        if !hashed.is_empty() {
            let error = ConfigError::at(
                digest.span,
                format!("Digest for users whose password is a hash: {}", listed(&hashed, "and")),
                "needs passwords as they are",
            )
            .also(set.span, "this set")
            .help("write their passwords as `password=`, or leave `digest=` out");
            context.error(error);
        }
    }
    let schemes = match digest {
        Some(_) => vec![AuthScheme::Digest, AuthScheme::Basic],
        None => vec![AuthScheme::Basic],
    };
    let realm = item.get("realm").unwrap_or_else(|| "proxy".to_owned());
    Some(ForwardAuthentication { users, schemes, realm })
}

fn hashed(set: &UserSet) -> Vec<String> {
    let hash = |password: &Option<Password>| matches!(password, Some(Password::Hash(_)));
    let users = set.users.iter().filter(|user| hash(&user.password));
    users.map(|user| format!("\"{}\"", user.name)).collect()
}

/// Reports users in rules that nobody can be.
pub(super) fn check_users(
    item: &Item,
    auth: Option<&ForwardAuthentication>,
    context: &mut Context<'_>,
) {
    let rules = item.block.iter().filter(|rule| matches!(rule.directive.name, "allow" | "deny"));
    let named: Vec<_> = rules.flat_map(|rule| rule.all::<String>("user")).collect();
    let Some(first) = named.first() else { return };
    if item.child("auth").is_none() {
        context.error(
            ConfigError::at(
                first.span,
                "a rule about users, and nobody is asked who they are",
                "never fits",
            )
            .help("add `auth users=\"…\"` to the block"),
        );
        return;
    }
    let Some(set) = auth.and_then(|auth| context.users.get(auth.users)) else { return };
    // Others are known only to files, to databases or to whoever is asked.
    if !set.files.is_empty() || !set.databases.is_empty() || set.callout.is_some() {
        return;
    }
    let known = || set.users.iter().map(|user| user.name.as_str());
    let mut errors = Vec::new();
    for name in named.iter().filter(|name| known().all(|known| known != name.value)) {
        let help = match nearest(&name.value, known()) {
            Some(meant) => format!("did you mean \"{meant}\"?"),
            None => format!("add `user {} …` to the set", crate::quote(&name.value)),
        };
        let message = format!("there is no user \"{}\" in users \"{}\"", name.value, set.name);
        errors.push(
            ConfigError::at(name.span, message, "not known").also(set.span, "this set").help(help),
        );
    }
    context.errors.extend(errors);
}
