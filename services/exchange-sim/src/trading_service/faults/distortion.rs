//! Applies faults of content to JSON.

use serde_json::{Number, Value};

use super::content::{MissingField, NewField, OtherValue, SwappedTypes};
use super::kinds::Fault;

/// Applies a fault of content to a document.
pub(crate) fn distort(fault: &Fault, document: &mut Value) {
    match fault {
        Fault::OtherValue(OtherValue { field, value }) => {
            for_each_object(document, &mut |object| {
                if let Some(found) = object.get_mut(field) {
                    found.clone_from(value);
                }
            });
        }
        Fault::NewField(NewField { field, value }) => {
            for_each_object(document, &mut |object| {
                object.insert(field.clone(), value.clone());
            });
        }
        Fault::MissingField(MissingField { field }) => {
            for_each_object(document, &mut |object| {
                object.remove(field);
            });
        }
        Fault::SwappedTypes(SwappedTypes { field: None }) => swap_all(document),
        Fault::SwappedTypes(SwappedTypes { field: Some(field) }) => {
            for_each_object(document, &mut |object| {
                if let Some(found) = object.get_mut(field) {
                    swap_type(found);
                }
            });
        }
        Fault::DuplicateRows(_) => {
            if let Value::Array(rows) = document {
                let twice = std::mem::take(rows)
                    .into_iter()
                    .flat_map(|row| [row.clone(), row]);
                *rows = twice.collect();
            }
        }
        Fault::ReverseRows(_) => {
            if let Value::Array(rows) = document {
                rows.reverse();
            }
        }
        Fault::EmptyAnswer(_) => empty(document),
        _ => {}
    }
}

fn for_each_object(
    document: &mut Value,
    change: &mut impl FnMut(&mut serde_json::Map<String, Value>),
) {
    match document {
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| for_each_object(item, change)),
        Value::Object(object) => {
            object
                .values_mut()
                .for_each(|value| for_each_object(value, change));
            change(object);
        }
        _ => {}
    }
}

/// Swaps the types of all values below `document`.
fn swap_all(document: &mut Value) {
    match document {
        Value::Array(items) => items.iter_mut().for_each(swap_all),
        Value::Object(object) => object.values_mut().for_each(swap_all),
        value => swap_type(value),
    }
}

/// A number becomes a string, a string with a number becomes a number; other values stay.
fn swap_type(value: &mut Value) {
    let swapped = match &*value {
        Value::Number(number) => Some(Value::String(number.to_string())),
        Value::String(text) => text.parse::<Number>().ok().map(Value::Number),
        _ => None,
    };
    if let Some(swapped) = swapped {
        *value = swapped;
    }
}

/// Empties a list, or the lists within an object.
fn empty(document: &mut Value) {
    match document {
        Value::Array(rows) => rows.clear(),
        Value::Object(object) => {
            for value in object.values_mut() {
                if let Value::Array(rows) = value {
                    rows.clear();
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trading_service::faults::calls::NoFields;
    use serde_json::json;

    fn distorted(fault: &Fault, mut document: Value) -> Value {
        distort(fault, &mut document);
        document
    }

    #[test]
    fn fields_change_at_any_depth() {
        let event = json!({"e": "ORDER_TRADE_UPDATE", "o": {"X": "NEW", "q": "0.010"}});
        let status = Fault::OtherValue(OtherValue {
            field: "X".to_owned(),
            value: json!("UNDOCUMENTED"),
        });
        assert_eq!(distorted(&status, event.clone())["o"]["X"], "UNDOCUMENTED");
        let missing = Fault::MissingField(MissingField {
            field: "q".to_owned(),
        });
        assert_eq!(distorted(&missing, event.clone())["o"], json!({"X": "NEW"}));
        let new = Fault::NewField(NewField {
            field: "n".to_owned(),
            value: json!({"a": 1}),
        });
        let changed = distorted(&new, event);
        assert_eq!(
            (&changed["n"], &changed["o"]["n"]),
            (&json!({"a": 1}), &json!({"a": 1}))
        );
    }

    #[test]
    fn numbers_and_strings_swap() {
        let rows = json!([{"id": 7, "qty": "0.25", "side": "BUY", "maker": true}]);
        let all = Fault::SwappedTypes(SwappedTypes { field: None });
        assert_eq!(
            distorted(&all, rows.clone()),
            json!([{"id": "7", "qty": 0.25, "side": "BUY", "maker": true}])
        );
        let one = Fault::SwappedTypes(SwappedTypes {
            field: Some("id".to_owned()),
        });
        assert_eq!(distorted(&one, rows)[0]["qty"], "0.25");
    }

    #[test]
    fn rows_are_doubled_reversed_and_emptied() {
        let rows = json!([1, 2]);
        let none = || NoFields {};
        assert_eq!(
            distorted(&Fault::DuplicateRows(none()), rows.clone()),
            json!([1, 1, 2, 2])
        );
        assert_eq!(
            distorted(&Fault::ReverseRows(none()), rows.clone()),
            json!([2, 1])
        );
        assert_eq!(distorted(&Fault::EmptyAnswer(none()), rows), json!([]));
        let account = json!({"availableBalance": "1", "positions": [{}]});
        assert_eq!(
            distorted(&Fault::EmptyAnswer(none()), account),
            json!({"availableBalance": "1", "positions": []})
        );
    }
}
