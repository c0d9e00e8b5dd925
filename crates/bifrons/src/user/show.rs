//! Users as text.

use accounts::StoredUser;
use config::show;
use serde_json::{Value, json};

/// How a user is let in, and what it may, on one line.
pub(super) fn line(user: &StoredUser) -> String {
    let mut parts = Vec::new();
    if user.disabled {
        parts.push("disabled".to_owned());
    }
    if user.password.is_some() {
        parts.push("password".to_owned());
    }
    parts.extend(user.keys.iter().map(|key| format!("api-key {}…", key.hint)));
    if !user.from.is_empty() {
        parts.push(format!("from {}", show::list(&user.from)));
    }
    if let Some(expires) = user.expires {
        parts.push(format!("expires {}", show::moment(expires)));
    }
    let limits = &user.limits;
    if let Some(bandwidth) = limits.bandwidth {
        parts.push(format!("bandwidth {}/s", show::bytes(bandwidth)));
    }
    parts.extend(limits.quotas.iter().map(|quota| format!("quota {}", show::quota(quota))));
    parts.extend(limits.budgets.iter().map(|budget| format!("budget {}", show::budget(budget))));
    if let Some(connections) = limits.connections {
        parts.push(format!("connections {connections}"));
    }
    if let Some((amount, per)) = limits.requests {
        parts.push(format!("requests {amount}/{}", show::duration(per)));
    }
    for (name, values) in [
        ("exits", limits.exits.clone()),
        ("countries", limits.countries.iter().map(ToString::to_string).collect()),
        ("hours", limits.hours.iter().map(show::hours).collect()),
    ] {
        if !values.is_empty() {
            parts.push(format!("{name} {}", values.join(" ")));
        }
    }
    parts.join(", ")
}

/// The same. No hash and no digest.
pub(crate) fn to_json(user: &StoredUser) -> Value {
    let limits = &user.limits;
    let keys: Vec<Value> = user
        .keys
        .iter()
        .map(|key| json!({ "hint": key.hint, "created": show::moment(key.created) }))
        .collect();
    let requests = limits
        .requests
        .map(|(amount, per)| json!({ "amount": amount, "per_ms": per.as_millis() as u64 }));
    json!({
        "name": user.name,
        "disabled": user.disabled,
        "created": show::moment(user.created),
        "password": user.password.is_some(),
        "api_keys": keys,
        "from": user.from.iter().map(show::net).collect::<Vec<_>>(),
        "expires": user.expires.map(show::moment),
        "limits": {
            "bandwidth": limits.bandwidth,
            "quota": limits.quotas.iter().map(show::quota).collect::<Vec<_>>(),
            "budget": limits.budgets.iter().map(show::budget).collect::<Vec<_>>(),
            "connections": limits.connections,
            "requests": requests,
            "exits": limits.exits,
            "countries": limits.countries.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "hours": limits.hours.iter().map(show::hours).collect::<Vec<_>>(),
        },
    })
}
