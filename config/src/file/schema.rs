//! The schema of the language for editors, made from the same declarations as the reader.
//! It knows shapes and spellings; names that lead nowhere are found only by reading.

use serde_json::{Map, Value, json};

use crate::file::File;

/// The JSON Schema of a configuration.
pub(crate) fn schema() -> Value {
    let mut schema = schemars::schema_for!(File).to_value();
    tidy(&mut schema);
    let Value::Object(mut said) = schema else {
        return schema;
    };
    // Readers of the file meet its name before its thousand lines.
    let mut ordered = Map::new();
    for key in ["$schema", "title", "description"] {
        ordered.extend(said.remove(key).map(|value| (key.to_owned(), value)));
    }
    ordered.insert("title".into(), "Tollgate configuration".into());
    ordered.extend(said);
    Value::Object(ordered)
}

/// A key may be absent but not null, and a choice within a choice is one choice.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(tidy),
        Value::Object(map) => {
            map.values_mut().for_each(tidy);
            if let Some(Value::Array(types)) = map.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    map.insert("type".into(), only);
                }
            }
            if let Some(Value::Array(forms)) = map.shift_remove("anyOf") {
                choose(map, forms);
            }
        }
        _ => {}
    }
}

/// Puts the forms of a choice into the schema that has it.
fn choose(schema: &mut Map<String, Value>, forms: Vec<Value>) {
    let mut flat: Vec<Value> = Vec::new();
    for form in forms {
        match form.get("anyOf") {
            _ if form == json!({ "type": "null" }) => {}
            Some(Value::Array(inner)) => flat.extend(inner.iter().cloned()),
            _ => flat.push(form),
        }
    }
    match flat.as_slice() {
        [Value::Object(only)] => schema.extend(only.clone()),
        _ => {
            schema.insert("anyOf".into(), flat.into());
        }
    }
}
