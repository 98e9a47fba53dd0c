//! Settings from the environment, through clap: validated before anything starts, refused with a
//! line that names variable, value and what is allowed.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue};
use clap::{Command, Parser};

use crate::process::ExitError;

/// Reads `S` from the environment alone; its flags exist only as names for clap.
/// An empty variable counts as not set, as `.env` files are written.
///
/// # Errors
/// Exit 78 with the variable, its value and what is allowed.
pub fn from_env<S: Parser>() -> Result<S, ExitError> {
    let command = ignore_empty_variables(S::command());
    command
        .try_get_matches_from(["settings"])
        .and_then(|matches| S::from_arg_matches(&matches))
        .map_err(|error| ExitError::config(describe_error(&error)))
}

/// Reads a whole number of this range. Clap's own parser names the range only for what is a number.
pub fn whole_number<T>(
    range: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static
where
    T: TryFrom<u64>,
{
    move |text| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        let number = number.and_then(|number| T::try_from(number).ok());
        let (first, last) = (range.start(), range.end());
        number.ok_or_else(|| format!("allowed are whole numbers from {first} to {last}"))
    }
}

/// Clap takes an empty variable for a value: such an argument forgets its variable here.
pub(crate) fn ignore_empty_variables(command: Command) -> Command {
    command.mut_args(|arg| {
        let empty = arg
            .get_env()
            .and_then(std::env::var_os)
            .is_some_and(|value| value.is_empty());
        if empty { arg.env(None) } else { arg }
    })
}

fn describe_error(error: &clap::Error) -> String {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => Some(texts.join(", ")),
        _ => None,
    };
    let variable = text(ContextKind::InvalidArg).map(|arg| variable_name(&arg));
    let value = text(ContextKind::InvalidValue);
    let allowed = std::error::Error::source(error)
        .map(ToString::to_string)
        .or_else(|| text(ContextKind::ValidValue).map(|valid| format!("allowed are {valid}")));
    match (variable, value, allowed) {
        (Some(variable), Some(value), Some(allowed)) => {
            format!("{variable}={:?}: {allowed}", mask_credentials(&value))
        }
        (Some(variable), None, _) => format!("{variable} is not set, but needed"),
        _ => error.to_string().replace('\n', " "),
    }
}

/// A refused address may hold a password: it must not be printed.
fn mask_credentials(value: &str) -> String {
    match (value.split_once("://"), value.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://***@{host}"),
        _ => value.to_owned(),
    }
}

/// `--nats-url <NATS_URL>` names the variable `NATS_URL`.
fn variable_name(arg: &str) -> String {
    let inside = arg
        .split_once('<')
        .and_then(|(_, rest)| rest.split_once('>'));
    inside.map_or(arg, |(name, _)| name).to_owned()
}

/// A value parser: the path of a Unix socket, spelled as Docker does.
///
/// # Errors
/// What is allowed.
pub fn unix_socket(text: &str) -> Result<PathBuf, String> {
    match text.strip_prefix("unix://") {
        Some(path) if path.starts_with('/') => Ok(PathBuf::from(path)),
        _ => Err("allowed is unix:///path/to/socket".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Parser, Debug)]
    struct Sample {
        #[arg(long, env = "PATH_COUNT_OF_TEST", value_name = "PATH_COUNT_OF_TEST")]
        count: Option<u8>,
    }

    #[test]
    fn rejected_setting_is_named_with_value_and_allowed_values() {
        let error = Sample::try_parse_from(["settings", "--count", "300"]).unwrap_err();
        let line = describe_error(&error);
        assert!(line.starts_with("PATH_COUNT_OF_TEST=\"300\": "), "{line}");
        assert!(line.contains("0..=255"), "{line}");
    }

    #[test]
    fn invalid_whole_number_is_rejected_with_its_range() {
        let leverage = whole_number::<u8>(1..=5);
        assert_eq!(leverage("5"), Ok(5));
        for bad in ["0", "6", "-1", "1.5", "many", "300"] {
            let why = leverage(bad).unwrap_err();
            assert_eq!(why, "allowed are whole numbers from 1 to 5", "{bad}");
        }
    }

    #[test]
    fn unset_optional_variable_is_no_error() {
        assert_eq!(from_env::<Sample>().unwrap().count, None);
    }
}
