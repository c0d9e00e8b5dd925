//! Users as programs say them.

use accounts::StoredUser;
use serde_json::Value;

use super::options::{Changes, Field, Secrets};
use super::{Shown, give, now};
use crate::program::words;

/// A user of this name, with what an object says of it.
///
/// # Errors
/// What is wrong, in words.
pub(crate) fn new_from_json(name: &str, asked: &Value) -> Result<(StoredUser, Shown), String> {
    accounts::check_user_name(name).map_err(|error| error.to_string())?;
    let mut user = StoredUser { name: name.to_owned(), created: now(), ..StoredUser::default() };
    let shown = change_by_json(&mut user, asked)?;
    if user.password.is_none() && user.keys.is_empty() && user.from.is_empty() {
        return Err("nothing would let it in: say `password`, `generate_password`, `api_key` or \
                    `from`"
            .to_owned());
    }
    Ok((user, shown))
}

/// What is given takes the place of what there was; null, or an empty list, takes it away.
///
/// # Errors
/// What is wrong, in words.
pub(crate) fn change_by_json(user: &mut StoredUser, asked: &Value) -> Result<Shown, String> {
    let object = asked.as_object().ok_or("a user is an object")?;
    let (mut secrets, mut changes) = (Secrets::default(), Changes::default());
    let mut forgotten = Vec::new();
    for (name, value) in object {
        let field = match &**name {
            "password" => Field::Password,
            "generate_password" => {
                secrets.generate = flag(name, value)?;
                continue;
            }
            "api_key" => {
                secrets.api_key = flag(name, value)?;
                if !secrets.api_key {
                    forgotten.push(Field::ApiKeys);
                }
                continue;
            }
            "disabled" => {
                user.disabled = flag(name, value)?;
                continue;
            }
            "from" => Field::From,
            "expires" => Field::Expires,
            "bandwidth" => Field::Bandwidth,
            "quota" => Field::Quota,
            "budget" => Field::Budget,
            "connections" => Field::Connections,
            "requests" => Field::Requests,
            "exits" => Field::Exits,
            "countries" => Field::Countries,
            "hours" => Field::Hours,
            _ => return Err(format!("`{name}` is not known of users")),
        };
        let is_empty = value.as_array().is_some_and(Vec::is_empty);
        if value.is_null() || is_empty {
            forgotten.push(field);
            continue;
        }
        let (word, list) = (|| text(name, value).map(Some), || texts(name, value));
        match field {
            Field::Password => secrets.password = word()?,
            Field::ApiKeys => {}
            Field::From => changes.from = list()?,
            Field::Expires => changes.expires = word()?,
            Field::Bandwidth => changes.bandwidth = word()?,
            Field::Quota => changes.quota = list()?,
            Field::Budget => changes.budget = list()?,
            Field::Connections => changes.connections = Some(number(name, value)?),
            Field::Requests => changes.requests = word()?,
            Field::Exits => changes.exits = list()?,
            Field::Countries => changes.countries = list()?,
            Field::Hours => changes.hours = list()?,
        }
    }
    if secrets.generate && secrets.password.is_some() {
        return Err("`password` and `generate_password` exclude each other".to_owned());
    }
    for field in forgotten {
        field.clear(user);
    }
    changes.apply(user).map_err(|report| words(&report))?;
    give(&secrets, user).map_err(|report| words(&report))
}

fn flag(name: &str, value: &Value) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| format!("`{name}` is true or false"))
}

fn text(name: &str, value: &Value) -> Result<String, String> {
    value.as_str().map(str::to_owned).ok_or_else(|| format!("`{name}` is a string"))
}

fn texts(name: &str, value: &Value) -> Result<Vec<String>, String> {
    let all: Option<Vec<_>> = value
        .as_array()
        .and_then(|all| all.iter().map(|one| one.as_str().map(str::to_owned)).collect());
    all.ok_or_else(|| format!("`{name}` is a list of strings"))
}

fn number(name: &str, value: &Value) -> Result<u32, String> {
    let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
    number.ok_or_else(|| format!("`{name}` is a whole number"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_given_takes_the_place_of_what_there_was() {
        let asked = json!({
            "api_key": true, "quota": ["1GiB/day"], "countries": ["ca"], "connections": 3,
            "requests": "5/s", "expires": "2027-01-31",
        });
        let (mut user, shown) = new_from_json("alice", &asked).unwrap();
        assert!(shown.key.is_some() && shown.password.is_none());
        assert_eq!((user.keys.len(), user.limits.connections), (1, Some(3)));
        let changes = json!({ "quota": [], "expires": null, "disabled": true, "api_key": false });
        change_by_json(&mut user, &changes).unwrap();
        assert!(user.limits.quotas.is_empty() && user.expires.is_none() && user.disabled);
        assert!(user.keys.is_empty());
        assert_eq!((user.limits.countries.len(), user.limits.connections), (1, Some(3)));
        for (asked, words) in [
            (json!([]), "an object"),
            (json!({ "colour": 1 }), "`colour` is not known"),
            (json!({ "quota": "1GiB/day" }), "`quota` is a list"),
            (json!({ "quota": ["1GiB/week"] }), "nor `month`"),
            (json!({ "connections": -1 }), "whole number"),
            (json!({ "disabled": null }), "true or false"),
            (json!({ "bandwidth": 5 }), "`bandwidth` is a string"),
            (json!({ "password": "" }), "empty"),
            (json!({ "password": "x", "generate_password": true }), "exclude"),
        ] {
            let before = user.clone();
            let problem = change_by_json(&mut user, &asked).map(drop).unwrap_err();
            assert!(problem.contains(words), "{asked}: {problem}");
            user = before;
        }
        assert!(new_from_json("a:b", &json!({ "api_key": true })).is_err());
        assert!(new_from_json("bob", &json!({})).is_err());
    }
}
