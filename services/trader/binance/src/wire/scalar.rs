//! Decimals, ids, times, flags and texts in every form that the exchange uses: as strings and as numbers. For
//! `#[serde(deserialize_with = "...")]`.

use std::borrow::Cow;
use std::fmt::Display;
use std::str::FromStr;

use protocol::time::UtcMs;
use rust_decimal::Decimal;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// Most characters of a value that an error shows.
const SHOWN: usize = 40;

/// A decimal, exact: from a string or a number.
///
/// # Errors
/// For any other value, and for more digits than a [`Decimal`] has.
pub fn decimal<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Decimal, D::Error> {
    let text = scalar(deserializer)?;
    parse_decimal(&text).ok_or_else(|| unexpected(&text, "a decimal"))
}

/// A decimal that may be missing, `null` or an empty string.
///
/// # Errors
/// As [`decimal`].
pub fn optional_decimal<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Decimal>, D::Error> {
    let Some(text) = optional_scalar(deserializer)? else {
        return Ok(None);
    };
    let parsed = parse_decimal(&text).ok_or_else(|| unexpected(&text, "a decimal"))?;
    Ok(Some(parsed))
}

/// A whole number: from a string or a number.
///
/// # Errors
/// For any other value.
pub fn integer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    parsed(deserializer, "a whole number")
}

/// An id that is missing, `null`, empty or zero while there is none.
///
/// # Errors
/// For a value that is no whole number.
pub fn optional_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    let Some(text) = optional_scalar(deserializer)? else {
        return Ok(None);
    };
    let id: i64 = text.parse().map_err(|_| unexpected(&text, "an id"))?;
    Ok(Some(id).filter(|id| *id != 0))
}

/// A time in milliseconds since the epoch: from a string or a number.
///
/// # Errors
/// For any other value.
pub fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<UtcMs, D::Error> {
    parsed(deserializer, "milliseconds").map(UtcMs)
}

/// A flag: from a Boolean or a string.
///
/// # Errors
/// For any other value.
pub fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    let text = scalar(deserializer)?;
    let lower = text.to_ascii_lowercase();
    lower
        .parse()
        .map_err(|_| unexpected(&text, "true or false"))
}

/// A text; a number becomes its digits.
///
/// # Errors
/// For a list, an object or `null`.
pub fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    scalar(deserializer).map(Cow::into_owned)
}

/// A text that may be missing or `null`.
///
/// # Errors
/// As [`text`].
pub fn optional_text<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    Ok(optional_scalar(deserializer)?.map(Cow::into_owned))
}

fn parsed<'de, T: FromStr, D: Deserializer<'de>>(
    deserializer: D,
    expected: &str,
) -> Result<T, D::Error> {
    let text = scalar(deserializer)?;
    text.parse().map_err(|_| unexpected(&text, expected))
}

fn parse_decimal(text: &str) -> Option<Decimal> {
    // Zero is also written as `0E-8`.
    Decimal::from_str_exact(text)
        .or_else(|_| Decimal::from_scientific(text))
        .ok()
}

/// The characters of a string, a number or a Boolean.
fn scalar<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Cow<'de, str>, D::Error> {
    let raw = <&'de RawValue>::deserialize(deserializer)?.get();
    match raw.as_bytes().first() {
        Some(b'"') => serde_json::from_str(raw)
            .map(|text: Unescaped<'de>| text.0)
            .map_err(D::Error::custom),
        Some(b'[' | b'{' | b'n') | None => Err(unexpected(raw, "a string, a number or a flag")),
        Some(_) => Ok(Cow::Borrowed(raw)),
    }
}

fn optional_scalar<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Cow<'de, str>>, D::Error> {
    let raw = <&'de RawValue>::deserialize(deserializer)?;
    if matches!(raw.get(), "null" | "\"\"") {
        return Ok(None);
    }
    scalar(raw).map(Some).map_err(D::Error::custom)
}

/// A string that is only copied if it has escapes.
#[derive(Deserialize)]
struct Unescaped<'a>(#[serde(borrow)] Cow<'a, str>);

fn unexpected<E: Error>(value: &str, expected: impl Display) -> E {
    let shown: String = value.chars().take(SHOWN).collect();
    E::custom(format!("{shown:?}: expected {expected}"))
}

/// An enumeration of the exchange: known values, and every other one as text.
macro_rules! text_enum {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum $name {
            $($(#[$doc])* $variant,)+
            /// A value that this version does not know.
            Other(String),
        }

        impl $name {
            /// Name on the exchange.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)+
                    Self::Other(text) => text,
                }
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                match text.as_str() {
                    $($text => Self::$variant,)+
                    _ => Self::Other(text),
                }
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::wire::scalar::text(deserializer).map(Self::from)
            }
        }
    };
}
pub(crate) use text_enum;

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Amount(#[serde(deserialize_with = "decimal")] Decimal);
    #[derive(Debug, PartialEq, Deserialize)]
    struct Flag(#[serde(deserialize_with = "flag")] bool);
    #[derive(Debug, PartialEq, Deserialize)]
    struct Id(#[serde(deserialize_with = "optional_id")] Option<i64>);
    #[derive(Debug, PartialEq, Deserialize)]
    struct Name(#[serde(deserialize_with = "text")] String);
    #[derive(Debug, PartialEq, Deserialize)]
    struct Price {
        #[serde(default, deserialize_with = "optional_decimal")]
        price: Option<Decimal>,
    }

    fn read<'de, T: Deserialize<'de>>(text: &'de str) -> Result<T, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn decimal_is_exact_from_strings_and_numbers() {
        for (text, decimal) in [
            (r#""0.10""#, "0.10"),
            ("0.1", "0.1"),
            ("123456789.123456789", "123456789.123456789"),
            ("-7", "-7"),
            (r#""0E-8""#, "0.00000000"),
            ("1e-7", "0.0000001"),
            (r#""\u0031""#, "1"),
        ] {
            let Amount(read) = read(text).unwrap();
            assert_eq!(read.to_string(), decimal, "{text}");
        }
        for text in [
            r#""""#,
            r#""NaN""#,
            "null",
            "true",
            "[1]",
            r#"{"a":1}"#,
            r#""1 ""#,
            r#""1e99""#,
        ] {
            let error = read::<Amount>(text).unwrap_err();
            assert!(error.contains("expected"), "{text}: {error}");
        }
    }

    #[test]
    fn ids_flags_and_texts_are_read_in_each_form() {
        assert_eq!(read("12"), Ok(Id(Some(12))));
        assert_eq!(read(r#""12""#), Ok(Id(Some(12))));
        for none in ["0", r#""0""#, r#""""#, "null"] {
            assert_eq!(read(none), Ok(Id(None)), "{none}");
        }
        assert!(read::<Id>(r#""x""#).is_err() && read::<Id>("1.5").is_err());
        assert_eq!(read("true"), Ok(Flag(true)));
        assert_eq!(read(r#""FALSE""#), Ok(Flag(false)));
        assert!(read::<Flag>("1").is_err());
        assert_eq!(read("5"), Ok(Name("5".to_owned())));
        assert!(read::<Name>("null").is_err());
    }

    #[test]
    fn missing_price_is_none_and_a_wrong_one_is_an_error() {
        for text in ["{}", r#"{"price":null}"#, r#"{"price":""}"#] {
            assert_eq!(read(text), Ok(Price { price: None }), "{text}");
        }
        assert_eq!(
            read(r#"{"price":1}"#),
            Ok(Price {
                price: Some(Decimal::ONE)
            })
        );
        assert!(read::<Price>(r#"{"price":"x"}"#).is_err());
    }

    #[test]
    fn error_shows_a_bounded_part_of_the_value() {
        let long = format!(r#""{}""#, "x".repeat(5_000));
        assert!(read::<Amount>(&long).unwrap_err().len() < 200);
    }
}
