//! What there is, described for programs (OpenAPI 3.1), from the table that the router uses.

mod schemas;

use serde_json::{Map, Value, json};

use crate::routes::{Media, Operation, Parameter, ROUTES, Route};

/// The description.
pub(crate) fn document(version: &str) -> Value {
    let mut paths = Map::new();
    for route in ROUTES {
        let mut add = |path: &str, deprecated: bool| {
            let item = paths.entry(path).or_insert_with(|| json!({}));
            item[route.verb.as_str().to_ascii_lowercase()] = operation(route, path, deprecated);
        };
        add(route.path, false);
        if let Some(path) = route.old_path {
            add(path, true);
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Bifrons",
            "version": version,
            "description": "The admin listener of a proxy that runs. It answers to addresses and \
                `localhost` only. Every GET may be a HEAD. Requests that come from the page of \
                another site are refused.",
        },
        "servers": [{ "url": "/" }],
        "security": [{}, { "token": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Needed where the configuration has a `token` for `admin`.",
                },
            },
            "responses": {
                "Error": {
                    "description": "What is wrong, and what can be done about it.",
                    "content": { "application/json": { "schema": reference("Error") } },
                },
            },
            "schemas": schemas::all(),
        },
    })
}

fn operation(route: &Route, path: &str, deprecated: bool) -> Value {
    let in_path = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut parameters: Vec<Value> = in_path
        .map(|name| {
            json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } })
        })
        .collect();
    parameters.extend(route.query.iter().map(in_query));
    let mut answers = Map::new();
    answers.insert("200".to_owned(), answer(route.answer));
    if route.operation == Operation::Health {
        let text = json!({ "text/plain": { "schema": { "type": "string" } } });
        answers.insert("503".to_owned(), json!({ "description": "It drains.", "content": text }));
    }
    answers.insert("default".to_owned(), json!({ "$ref": "#/components/responses/Error" }));
    let mut described = json!({
        "operationId": id(route, deprecated),
        "summary": route.summary,
        "parameters": parameters,
        "responses": answers,
    });
    if deprecated {
        described["deprecated"] = true.into();
    }
    if let Some(schema) = route.content {
        described["requestBody"] = json!({
            "required": true,
            "content": { "application/json": { "schema": reference(schema) } },
        });
    }
    described
}

fn in_query(parameter: &Parameter) -> Value {
    json!({
        "name": parameter.name,
        "in": "query",
        "required": parameter.required,
        "description": parameter.meaning,
        "schema": { "type": "string" },
    })
}

/// Of all operations different, and made of the name that the code has for it.
fn id(route: &Route, deprecated: bool) -> String {
    let mut name = format!("{:?}", route.operation);
    name[..1].make_ascii_lowercase();
    if deprecated { name + "Unversioned" } else { name }
}

fn answer(media: Media) -> Value {
    let list = |name| json!({ "type": "array", "items": reference(name) });
    let content = match media {
        Media::Text(kind) => json!({ kind: { "schema": { "type": "string" } } }),
        Media::Json(name) => json!({ "application/json": { "schema": reference(name) } }),
        Media::List(name) => json!({ "application/json": { "schema": list(name) } }),
        Media::Table(name) => json!({
            "application/json": { "schema": list(name) },
            "text/csv": { "schema": { "type": "string" } },
        }),
    };
    json!({ "description": "As asked.", "content": content })
}

fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_reference_leads_somewhere_and_every_schema_is_used() {
        let document = document("1.2.3");
        let mut named = HashSet::new();
        let mut left = vec![&document];
        while let Some(value) = left.pop() {
            match value {
                Value::Object(object) => {
                    if let Some(Value::String(to)) = object.get("$ref") {
                        let pointer = to.strip_prefix('#').unwrap();
                        assert!(document.pointer(pointer).is_some(), "{to}");
                        named.insert(to.rsplit('/').next().unwrap());
                    }
                    left.extend(object.values());
                }
                Value::Array(array) => left.extend(array),
                _ => {}
            }
        }
        for schema in document["components"]["schemas"].as_object().unwrap().keys() {
            assert!(named.contains(&**schema), "nobody uses {schema}");
        }
    }

    #[test]
    fn operations_have_names_of_their_own() {
        let document = document("1.2.3");
        let mut ids = HashSet::new();
        for item in document["paths"].as_object().unwrap().values() {
            for operation in item.as_object().unwrap().values() {
                assert!(ids.insert(operation["operationId"].as_str().unwrap()));
            }
        }
        assert_eq!(
            ids.len(),
            ROUTES.len() + ROUTES.iter().filter(|it| it.old_path.is_some()).count()
        );
    }
}
