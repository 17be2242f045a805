//! Holds JSON against the schema.

use serde_json::Value;

/// Whether a value is as a schema says, by the words that ours is written in.
pub fn complain(root: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    for (word, what) in schema.as_object().expect("an object") {
        let wrong = || Err(format!("{word} {what}: {value}"));
        match word.as_str() {
            "$ref" => {
                let name =
                    what.as_str().and_then(|name| name.strip_prefix('#')).expect("a place in it");
                complain(root, root.pointer(name).expect("it is there"), value)?;
            }
            "type" => {
                let types = what.as_array().cloned().unwrap_or_else(|| vec![what.clone()]);
                if !types.iter().any(|name| is_a(value, name.as_str().expect("a name"))) {
                    return wrong();
                }
            }
            "const" if what == value => {}
            "enum" if what.as_array().expect("a list").contains(value) => {}
            "minItems"
                if value
                    .as_array()
                    .is_none_or(|list| list.len() as u64 >= what.as_u64().unwrap()) => {}
            "maxItems"
                if value
                    .as_array()
                    .is_none_or(|list| list.len() as u64 <= what.as_u64().unwrap()) => {}
            "const" | "enum" | "minItems" | "maxItems" => return wrong(),
            "oneOf" => {
                let all: Vec<_> =
                    what.as_array().unwrap().iter().map(|one| complain(root, one, value)).collect();
                if all.iter().filter(|found| found.is_ok()).count() != 1 {
                    return Err(format!("not one of these: {value}: {all:?}"));
                }
            }
            "items" => {
                let mut list = value.as_array().into_iter().flatten();
                list.try_for_each(|item| complain(root, what, item))?;
            }
            "prefixItems" => {
                let mut pairs =
                    what.as_array().unwrap().iter().zip(value.as_array().into_iter().flatten());
                pairs.try_for_each(|(one, item)| complain(root, one, item))?;
            }
            "required" => {
                for name in what.as_array().unwrap() {
                    value
                        .get(name.as_str().unwrap())
                        .ok_or_else(|| format!("{name} is missing: {value}"))?;
                }
            }
            // Stricter than the words are: what is not described is wrong.
            "properties" => {
                for (name, member) in value.as_object().into_iter().flatten() {
                    let known = what
                        .get(name)
                        .ok_or_else(|| format!("{name} is not described: {value}"))?;
                    complain(root, known, member)?;
                }
            }
            "additionalProperties" => {
                for member in value.as_object().into_iter().flat_map(|members| members.values()) {
                    complain(root, what, member)?;
                }
            }
            "description" | "$schema" | "title" | "$defs" => {}
            other => panic!("a word that this test does not know: {other}"),
        }
    }
    Ok(())
}

fn is_a(value: &Value, name: &str) -> bool {
    match name {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("a type that this test does not know: {other}"),
    }
}

/// Each line is an object of this kind, and of no other.
#[track_caller]
pub fn check(root: &Value, text: &str, kinds: &[&str]) {
    let lines: Vec<Value> =
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert_eq!(lines.len(), kinds.len(), "{text}");
    for (line, kind) in lines.iter().zip(kinds) {
        assert_eq!(complain(root, root, line), Ok(()), "{line}");
        assert_eq!(complain(root, &root["$defs"][*kind], line), Ok(()), "{kind}");
    }
}
