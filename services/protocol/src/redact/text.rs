//! Redaction of text and of JSON: all rules one after the other.

use serde_json::Value;

use super::syntax::REDACTED;
use super::{shapes, values};

/// The text without its secrets. JSON stays JSON.
pub fn redact(text: &str) -> String {
    let text = shapes::redact_private_keys(text);
    let text = values::redact_named_values(&text);
    let text = shapes::redact_urls(&text);
    shapes::redact_tokens(&text)
}

/// Redacts every text of a JSON value. Names stay.
pub fn redact_json(value: &mut Value) {
    match value {
        Value::String(text) => *text = redact(text),
        Value::Array(values) => values.iter_mut().for_each(redact_json),
        Value::Object(fields) => fields.values_mut().for_each(redact_json),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Redacts everything between the first `://` and the last `@` of an environment value, label or argument. A password
/// may contain `/`, spaces and quotes.
pub fn redact_setting_value(value: &str) -> String {
    let Some((scheme, rest)) = value.split_once("://") else {
        return value.to_owned();
    };
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://{REDACTED}@{host}"),
        None => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_in_a_setting_value_are_redacted_up_to_the_last_at_sign() {
        for (value, expected) in [
            ("nats://u:p@host:4222", "nats://***@host:4222"),
            ("nats://u:p/w@host", "nats://***@host"),
            ("x://u:p'q r@s\"@host/y", "x://***@host/y"),
            ("a://u:p@h b://v:q@i", "a://***@i"),
            ("https://host/x", "https://host/x"),
            ("u@host", "u@host"),
            ("u@x://host", "u@x://host"),
            ("", ""),
        ] {
            assert_eq!(redact_setting_value(value), expected, "{value}");
        }
    }

    #[test]
    fn texts_of_a_json_value_are_redacted_and_its_names_are_kept() {
        let mut value =
            serde_json::json!({"password": 1, "a": ["token=x1", {"b": "nats://u:p@h"}]});
        redact_json(&mut value);
        let expected =
            serde_json::json!({"password": 1, "a": ["token=***", {"b": "nats://***@h"}]});
        assert_eq!(value, expected);
    }

    proptest::proptest! {
        #[test]
        fn redaction_accepts_any_text(text in ".{0,200}") {
            let _ = redact(&text);
        }

        #[test]
        fn redaction_accepts_any_mixture_of_separators(
            parts in proptest::collection::vec("(token|--key|[=:\"'\\\\ \\[{(%]{1,3}|-----BEGIN PRIVATE KEY-----|https?://|@|\u{1b}\\[3m|ü|a1)", 0..20),
        ) {
            let once = redact(&parts.concat());
            proptest::prop_assert_eq!(redact(&once), once.clone());
        }

        #[test]
        fn secret_after_its_name_is_never_shown(before in "[a-z ]{0,20}", value in "[A-Z0-9]{8,20}") {
            let text = format!("{before} API_SECRET={value} end");
            proptest::prop_assert!(!redact(&text).contains(&value));
        }

        /// However often the object is a text of another.
        #[test]
        fn secret_in_json_is_never_shown_and_json_stays_json(
            value in "[a-zA-Z0-9\"'\\\\ ,}:=@/-]{0,10}q1w2", depth in 0_usize..3,
        ) {
            let mut text = serde_json::json!({"a": 1, "apiKey": value, "b": [true, "x"]}).to_string();
            for _ in 0..depth {
                text = serde_json::json!({"message": text}).to_string();
            }
            let shown = redact(&text);
            proptest::prop_assert!(!shown.contains("q1w2"), "{}", shown);
            let parsed: Result<Value, _> = serde_json::from_str(&shown);
            proptest::prop_assert!(parsed.is_ok(), "{}", shown);
        }
    }
}
