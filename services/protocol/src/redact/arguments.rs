//! Command lines of containers: flags with secrets, also inside of the text that a shell runs.

use super::names::is_secret_setting_name;
use super::syntax::REDACTED;
use super::text::{redact, redact_setting_value};

/// Redacts a command line, one element for each argument.
pub fn redact_arguments<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut next_is_secret = false;
    let mut redacted = Vec::new();
    for argument in arguments {
        let shown = if next_is_secret {
            REDACTED.to_owned()
        } else if argument.contains(char::is_whitespace) {
            redact_command(argument)
        } else {
            redact_argument(argument)
        };
        next_is_secret = !next_is_secret && takes_secret(argument);
        redacted.push(shown);
    }
    redacted
}

/// Redacts a command line in one text. Its blanks are kept.
pub fn redact_command(text: &str) -> String {
    let text = redact(text);
    let mut out = String::with_capacity(text.len());
    let mut next_is_secret = false;
    for part in text.split_inclusive(char::is_whitespace) {
        let bare = part.trim_end();
        let (open, inner, close) = unquote(bare);
        if bare.is_empty() {
            out.push_str(part);
            continue;
        }
        out.push_str(open);
        if next_is_secret {
            out.push_str(REDACTED);
        } else {
            out.push_str(&redact_argument(inner));
        }
        out.push_str(close);
        out.push_str(&part[bare.len()..]);
        next_is_secret = !next_is_secret && takes_secret(inner);
    }
    out
}

/// Quotes and separators of a shell around an argument.
fn unquote(part: &str) -> (&str, &str, &str) {
    let is_mark = |c: char| matches!(c, '"' | '\'' | '`' | '(' | ')' | ';');
    let inner = part.trim_start_matches(is_mark);
    let open = part.len() - inner.len();
    let inner = inner.trim_end_matches(is_mark);
    (&part[..open], inner, &part[open + inner.len()..])
}

/// Whether the next argument is the secret of this flag.
fn takes_secret(argument: &str) -> bool {
    argument.starts_with('-') && !argument.contains('=') && is_secret_setting_name(argument)
}

fn redact_argument(argument: &str) -> String {
    match argument.split_once('=') {
        Some((name, _)) if is_secret_setting_name(name) => {
            return format!("{}={REDACTED}", redact_setting_value(name));
        }
        _ => {}
    }
    // A short flag with its password in one argument.
    if let Some(password) = argument.strip_prefix("-p")
        && !password.is_empty()
    {
        return format!("-p{REDACTED}");
    }
    redact_setting_value(&redact(argument))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_flags_are_redacted_in_every_form() {
        let rows: [(&[&str], &[&str]); 6] = [
            (
                &["--token", "x1", "--paper"],
                &["--token", "***", "--paper"],
            ),
            (
                &["--keyfile=x", "-px1", "--pwd", "x"],
                &["--keyfile=***", "-p***", "--pwd", "***"],
            ),
            (
                &["-c", "exec trader --token ARG1"],
                &["-c", "exec trader --token ***"],
            ),
            (
                &["-c", "A=1 TOKEN=ARG2 app -pX"],
                &["-c", "A=1 TOKEN=*** app -p***"],
            ),
            (
                &[
                    "sh",
                    "-c",
                    "curl -H 'X-MBX-APIKEY: ab1'; 'app' \"--keyfile\" 'x'",
                ],
                &[
                    "sh",
                    "-c",
                    "curl -H 'X-MBX-APIKEY: ***'; 'app' \"--keyfile\" '***'",
                ],
            ),
            (
                &["--infinite", "--max-restarts", "5"],
                &["--infinite", "--max-restarts", "5"],
            ),
        ];
        for (given, expected) in rows {
            assert_eq!(
                redact_arguments(given.iter().copied()),
                expected,
                "{given:?}"
            );
        }
    }
}
