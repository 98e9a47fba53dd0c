//! Values behind secret names: `name=value`, `name: value`, `--name value`, JSON, also as a text inside of JSON, headers.

use super::names::{Secrecy, secrecy};
use super::syntax::{REDACTED, is_name, name_length};

/// Values that say that there is no secret.
const NO_SECRET: [&str; 8] = [
    "null",
    "none",
    "None",
    "true",
    "false",
    "nil",
    "undefined",
    REDACTED,
];
/// Schemes before the credentials of a header.
const SCHEMES: [&str; 5] = ["bearer", "basic", "digest", "token", "apikey"];
/// Shortest value of an ambiguous name that counts as random.
const MIN_RANDOM_LENGTH: usize = 16;
/// Names behind which a value may follow without a separator.
const PASSWORD_NAMES: [&str; 4] = ["password", "passwd", "passphrase", "pwd"];

/// Redacts the values of secret names.
pub(super) fn redact_named_values(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(begin) = text[at..].find(is_name) {
        let begin = at + begin;
        let end = begin + name_length(&text[begin..]);
        let name = &text[begin..end];
        out.push_str(&text[at..end]);
        at = end;
        let secrecy = secrecy(name);
        if secrecy != Secrecy::None
            && let Some(value) = value_behind(name, secrecy, text, end)
        {
            out.push_str(&text[at..value.begin]);
            out.push_str(&value.replacement);
            at = value.end;
        }
    }
    out.push_str(&text[at..]);
    out
}

/// A secret value in a text.
struct SecretValue {
    begin: usize,
    end: usize,
    replacement: String,
}

/// How a value follows its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    /// `=`, `:`, `=>`.
    Separator,
    /// The next argument of a flag.
    Argument,
    /// `is` or a blank: the value counts if it is random.
    Prose,
}

/// The value of a name that ends at `at`.
fn value_behind(name: &str, secrecy: Secrecy, text: &str, at: usize) -> Option<SecretValue> {
    let (name_quote, link, lead) = link_behind(name, &text[at..])?;
    let mut begin = at + lead;
    begin += skip_blank(&text[begin..]);
    begin += constructor_length(&text[begin..]);
    let rest = &text[begin..end_of_enclosing_text(text, begin)];
    let quote = quote_length(rest);
    let (inner, end) = if quote > 0 {
        (quote, quote + quoted_length(&rest[quote..], &rest[..quote]))
    } else if rest.starts_with(['{', '[']) && !name_quote.is_empty() {
        (0, bracket_length(rest))
    } else if secrecy == Secrecy::HeaderLine {
        (0, header_length(name, rest))
    } else {
        (0, bare_length(name, link, rest))
    };
    let value = &rest[inner..end];
    let counts = match (secrecy, link) {
        (Secrecy::IfRandom, _) => is_random(value),
        (_, Link::Prose) => quote > 0 || has_letter_and_digit(value),
        (_, Link::Argument) => !value.starts_with('-'),
        _ => true,
    };
    let is_value = !value.is_empty() && (quote > 0 || value.contains(char::is_alphanumeric));
    if !counts || !is_value || NO_SECRET.contains(&value) {
        return None;
    }
    // A JSON value without quotes becomes a text.
    let replacement = if quote == 0 && name_quote.ends_with('"') {
        format!("{name_quote}{REDACTED}{name_quote}")
    } else {
        REDACTED.to_owned()
    };
    Some(SecretValue {
        begin: begin + inner,
        end: begin + end,
        replacement,
    })
}

/// Where the text in double quotes ends that `at` is a part of: a value does not reach beyond it. The end of everything if
/// it is part of none, or if the quote there begins the value.
fn end_of_enclosing_text(text: &str, at: usize) -> usize {
    let mut open_levels = 0_u64;
    for quote in double_quotes(text, 0).take_while(|quote| quote.end <= at) {
        open_levels ^= 1_u64.checked_shl(quote.level).unwrap_or_default();
    }
    let Some(enclosing) = open_levels.checked_ilog2() else {
        return text.len();
    };
    let Some(end) = double_quotes(text, at).find(|quote| quote.level <= enclosing) else {
        return text.len();
    };
    let behind = text[end.end..].chars().next();
    let is_end = behind.is_none_or(|c| c.is_whitespace() || ",}]):;.".contains(c));
    if end.begin > at || is_end {
        end.begin
    } else {
        text.len()
    }
}

/// A double quote in a text that may be JSON inside of JSON.
struct DoubleQuote {
    /// Where the quote begins, with the backslashes that belong to it.
    begin: usize,
    end: usize,
    /// How often its text is quoted: each level doubles the backslashes and adds one.
    level: u32,
}

fn double_quotes(text: &str, from: usize) -> impl Iterator<Item = DoubleQuote> {
    text[from..].match_indices('"').map(move |(at, _)| {
        let before = &text[from..from + at];
        let escapes = before.len() - before.trim_end_matches('\\').len();
        let level = escapes.trailing_ones();
        DoubleQuote {
            begin: from + at - own_escapes(level),
            end: from + at + 1,
            level,
        }
    })
}

/// Number of backslashes that belong to a quote of this level.
fn own_escapes(level: u32) -> usize {
    1_usize.checked_shl(level).unwrap_or(usize::MAX) - 1
}

/// Quote behind the name, kind of the link, and length of both.
fn link_behind<'a>(name: &str, behind: &'a str) -> Option<(&'a str, Link, usize)> {
    let is_flag = name.starts_with('-');
    let quote = quote_length(behind);
    let mut at = quote + skip_blank(&behind[quote..]);
    let rest = &behind[at..];
    for separator in ["=>", ":=", "=", "%3D", "%3d", ":"] {
        if let Some(next) = rest.strip_prefix(separator) {
            // A path of Rust, or a scheme.
            let is_value =
                separator != ":" || !next.starts_with([':', '/']) || next.starts_with("/ ");
            let length = at + separator.len();
            return is_value.then_some((&behind[..quote], Link::Separator, length));
        }
    }
    if is_flag {
        let comma = usize::from(quote > 0 && rest.starts_with(','));
        let blank = skip_blank(&rest[comma..]);
        at += comma + blank;
        let is_next = (comma > 0 || at > quote) && !behind[at..].starts_with('-');
        return is_next.then_some(("", Link::Argument, at));
    }
    if quote > 0 || at == 0 {
        return None;
    }
    for verb in ["is ", "was "] {
        if rest.starts_with(verb) {
            return Some(("", Link::Prose, at + verb.len()));
        }
    }
    let is_password = PASSWORD_NAMES.contains(&name.to_ascii_lowercase().as_str());
    is_password.then_some(("", Link::Prose, at))
}

/// Length of blanks and colour codes at the start, in bytes.
fn skip_blank(text: &str) -> usize {
    let mut at = 0;
    loop {
        let rest = &text[at..];
        if rest.starts_with([' ', '\t']) {
            at += 1;
        } else if let Some(code) = rest.strip_prefix("\u{1b}[") {
            let Some(end) = code.find(|c: char| c.is_ascii_alphabetic()) else {
                return at;
            };
            at += 2 + end + 1;
        } else {
            return at;
        }
    }
}

/// Length of `Some(` and the like at the start.
fn constructor_length(text: &str) -> usize {
    let mut at = 0;
    loop {
        let name = name_length(&text[at..]);
        if name == 0 || !text[at + name..].starts_with('(') {
            return at;
        }
        at += name + 1;
    }
}

/// Length of a quote at the start, with the backslashes before it.
fn quote_length(text: &str) -> usize {
    let escapes = text.len() - text.trim_start_matches('\\').len();
    match text[escapes..].chars().next() {
        Some('"' | '\'' | '`') => escapes + 1,
        _ => 0,
    }
}

/// Length of a quoted text up to its closing quote of the same level; to the end if none follows.
fn quoted_length(text: &str, quote: &str) -> usize {
    if !quote.ends_with('"') {
        let mark = &quote[quote.len() - 1..];
        return text.find(mark).unwrap_or(text.len());
    }
    let level = (quote.len() - 1).trailing_ones();
    let closing = double_quotes(text, 0).find(|found| found.level <= level);
    closing.map_or(text.len(), |found| found.begin)
}

/// Length of an object or a list up to its closing bracket, or up to the end of the line.
fn bracket_length(text: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' | '[' => depth += 1,
            '}' | ']' => depth = depth.saturating_sub(1),
            '\n' => return at,
            _ => continue,
        }
        if depth == 0 {
            return at + 1;
        }
    }
    text.len()
}

/// Length of credentials in a header: a scheme and a value, or all cookies.
fn header_length(name: &str, text: &str) -> usize {
    let end = text
        .find(['\n', '\r', '"', '\'', '`', '\\', '\u{1b}'])
        .unwrap_or(text.len());
    let line = &text[..end];
    if name.to_ascii_lowercase().contains("cookie") {
        return line.trim_end().len();
    }
    let first = line.find(char::is_whitespace).unwrap_or(line.len());
    let scheme = line[..first].to_ascii_lowercase();
    if !SCHEMES.contains(&scheme.as_str()) {
        return bare_length(name, Link::Separator, text);
    }
    if scheme == "digest" {
        return line.trim_end().len();
    }
    let blank = skip_blank(&line[first..]);
    first + blank + bare_length(name, Link::Separator, &line[first + blank..])
}

/// Length of a value without quotes. Of a variable or an argument it ends with a blank, of others also with punctuation.
fn bare_length(name: &str, link: Link, text: &str) -> usize {
    let upper = !name.contains(|c: char| c.is_ascii_lowercase());
    let ends_with_blank = link == Link::Argument || upper || name.starts_with('-');
    let mut scheme = 0;
    let first = text.find(char::is_whitespace).unwrap_or(text.len());
    if SCHEMES.contains(&text[..first].to_ascii_lowercase().as_str()) && link == Link::Separator {
        scheme = first + skip_blank(&text[first..]);
    }
    let value = &text[scheme..];
    let ends = |(at, c): &(usize, char)| {
        let next = value[at + c.len_utf8()..].chars().next();
        match c {
            '"' | '\'' | '`' | '\u{1b}' => true,
            '\\' => next.is_some_and(|next| matches!(next, '"' | '\\' | 'n' | 'r' | 't')),
            ',' | ';' | ')' | '}' | ']' if ends_with_blank => {
                next.is_none_or(|next| !is_name(next))
            }
            ',' | ';' | '&' | ')' | '}' | ']' | '<' | '>' | '|' => !ends_with_blank,
            other => other.is_whitespace(),
        }
    };
    let end = value.char_indices().find(ends).map(|(at, _)| at);
    scheme + end.unwrap_or(value.len())
}

fn has_letter_and_digit(value: &str) -> bool {
    value.contains(|c: char| c.is_ascii_digit()) && value.contains(char::is_alphabetic)
}

fn is_random(value: &str) -> bool {
    value.len() >= MIN_RANDOM_LENGTH
        && has_letter_and_digit(value)
        && value
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '='))
}
