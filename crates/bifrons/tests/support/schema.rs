//! JSON Schema, as far as the description of the API uses it.

use serde_json::Value;

/// Whether a value is as a schema says: those words of JSON Schema that the description uses.
pub fn check(document: &Value, schema: &Value, value: &Value, at: &str) {
    if let Some(to) = schema["$ref"].as_str() {
        return check(document, document.pointer(&to[1..]).unwrap(), value, at);
    }
    if let Some(all) = schema["oneOf"].as_array() {
        let null = all.iter().find(|one| one["type"] == "null");
        let other = all.iter().find(|one| one["type"] != "null").unwrap();
        return if value.is_null() {
            assert!(null.is_some())
        } else {
            check(document, other, value, at)
        };
    }
    if let Some(all) = schema["enum"].as_array() {
        return assert!(all.contains(value), "{at}: {value}");
    }
    if let Some(fixed) = schema.get("const") {
        return assert_eq!(fixed, value, "{at}");
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
    };
    let kinds = match &schema["type"] {
        Value::Array(kinds) => kinds.clone(),
        one => vec![one.clone()],
    };
    let fits = kinds.iter().any(|one| one == kind || (one == "number" && kind == "integer"));
    assert!(fits, "{at}: {value} is not {kinds:?}");
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        check(document, &schema["items"], item, &format!("{at}[{index}]"));
    }
    let Some(object) = value.as_object() else { return };
    for name in schema["required"].as_array().into_iter().flatten() {
        assert!(object.contains_key(name.as_str().unwrap()), "{at}: no {name} in {value}");
    }
    for (name, inner) in object {
        match schema["properties"].get(name) {
            Some(schema) => check(document, schema, inner, &format!("{at}.{name}")),
            None => assert_ne!(schema["additionalProperties"], false, "{at}: {name} is not known"),
        }
    }
}
