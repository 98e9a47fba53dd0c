//! Settings of a process, read from the environment through clap and validated before anything starts.
//!
//! Every error has the form `NAME="value": expected ...`; the value of a secret is not shown.

use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue};
use clap::{Command, Parser};
use protocol::redact::redact_setting_value;

use crate::exit_error::ExitError;

/// Reads `S` from the environment alone; its flags exist only as names for clap. An empty variable counts as not set.
///
/// # Errors
/// Exit 78 with the variable, its value and what is expected.
pub fn from_env<S: Parser>() -> Result<S, ExitError> {
    let command = ignore_empty_variables(S::command());
    command
        .try_get_matches_from(["settings"])
        .and_then(|matches| S::from_arg_matches(&matches))
        .map_err(|error| ExitError::config(describe_error(&error)))
}

/// Error of a variable with an invalid value: exit 78.
pub fn invalid_setting(name: &str, value: &str, expected: &str) -> ExitError {
    ExitError::config(format!(
        "{name}={:?}: {expected}",
        redact_setting_value(value)
    ))
}

/// The error of a variable, if the rejected value came from the environment and not from the command line.
pub(crate) fn variable_error(
    command: &Command,
    error: &clap::Error,
    arguments: &[OsString],
) -> Option<ExitError> {
    let Some(ContextValue::String(rejected)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let value = error.get(ContextKind::InvalidValue)?;
    let flag = rejected.split([' ', '=']).next()?;
    let arg = command.get_arguments().find(|arg| {
        arg.get_long()
            .is_some_and(|long| flag == format!("--{long}"))
    })?;
    let variable = arg.get_env()?.to_str()?;
    std::env::var_os(variable)?;
    let is_typed = |argument: &OsString| {
        let argument = argument.to_string_lossy();
        argument == flag || argument.starts_with(&format!("{flag}="))
    };
    if arguments.iter().any(is_typed) {
        return None;
    }
    let ContextValue::String(value) = value else {
        return None;
    };
    let expected = describe_expected(error, value)?;
    Some(invalid_setting(variable, value, &expected))
}

/// Value parser for a whole number of this range.
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
        number.ok_or_else(|| format!("expected a whole number from {first} to {last}"))
    }
}

/// The command without the variables that are empty: clap would take an empty variable for a value.
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
    match (variable, text(ContextKind::InvalidValue)) {
        (Some(variable), Some(value)) => match describe_expected(error, &value) {
            Some(expected) => format!("{variable}={:?}: {expected}", redact_setting_value(&value)),
            None => format!(
                "{variable}={:?}: invalid value",
                redact_setting_value(&value)
            ),
        },
        (Some(variable), None) => format!("{variable} is not set: it is required"),
        _ => error.to_string().replace('\n', " "),
    }
}

/// What a value parser expected, or the values that are possible. A parser's own `"value": ` is left out.
fn describe_expected(error: &clap::Error, value: &str) -> Option<String> {
    let quoted = format!("{value:?}: ");
    let own = std::error::Error::source(error).map(ToString::to_string);
    let own = own.map(|text| text.strip_prefix(&quoted).unwrap_or(&text).to_owned());
    let possible = || match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(values)) => Some(format!("expected {}", values.join(", "))),
        _ => None,
    };
    own.or_else(possible)
}

/// Variable that clap names: `NATS_URL` of `--nats-url <NATS_URL>`.
fn variable_name(arg: &str) -> String {
    let inside = arg
        .split_once('<')
        .and_then(|(_, rest)| rest.split_once('>'));
    inside.map_or(arg, |(name, _)| name).to_owned()
}

/// Value parser for the path of a Unix socket, with the prefix that Docker uses.
///
/// # Errors
/// What is expected, if the text has no such prefix or no absolute path.
pub fn unix_socket(text: &str) -> Result<PathBuf, String> {
    match text.strip_prefix("unix://") {
        Some(path) if path.starts_with('/') => Ok(PathBuf::from(path)),
        _ => Err("expected unix:///path/to/socket".to_owned()),
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
    fn invalid_name_is_rejected_in_the_form_of_all_settings() {
        #[derive(Parser, Debug)]
        struct Named {
            #[arg(long, value_name = "NAME")]
            name: Option<protocol::ids::SubjectToken>,
        }
        let error = Named::try_parse_from(["settings", "--name", "a.b"]).unwrap_err();
        let line = describe_error(&error);
        assert_eq!(line, "NAME=\"a.b\": expected 1 to 64 of A-Z a-z 0-9 _ -");
    }

    #[test]
    fn rejected_url_is_shown_without_its_credentials() {
        let error = invalid_setting("X", "http://u:p@h", "expected http://host");
        assert_eq!(error.message, "X=\"http://***@h\": expected http://host");
    }

    #[test]
    fn invalid_whole_number_is_rejected_with_its_range() {
        let leverage = whole_number::<u8>(1..=5);
        assert_eq!(leverage("5"), Ok(5));
        for bad in ["0", "6", "-1", "1.5", "many", "300"] {
            let error = leverage(bad).unwrap_err();
            assert_eq!(error, "expected a whole number from 1 to 5", "{bad}");
        }
    }

    #[test]
    fn unset_optional_variable_is_no_error() {
        assert_eq!(from_env::<Sample>().unwrap().count, None);
    }
}
