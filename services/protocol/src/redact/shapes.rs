//! Secrets that their shape gives away: private keys, credentials in URLs, bot tokens, long random texts.

use super::syntax::{REDACTED, is_name, name_length};

/// Shortest second part of a bot token.
const MIN_BOT_TOKEN_LENGTH: usize = 30;
/// Shortest text of mixed letters and digits that counts as a key. Ids of containers and hashes have small letters only.
const MIN_KEY_LENGTH: usize = 48;
/// Length of a seed of a NATS key: `S`, then capitals and digits.
const NKEY_SEED_LENGTH: usize = 58;
/// Beginnings of tokens of GitHub, Slack and others.
const TOKEN_PREFIXES: [&str; 10] = [
    "ghp_",
    "gho_",
    "ghs_",
    "github_pat_",
    "glpat-",
    "xoxb-",
    "xoxp-",
    "xapp-",
    "sk-",
    "sk_live_",
];
/// Shortest token with such a beginning.
const MIN_PREFIXED_LENGTH: usize = 20;
/// Hosts whose paths are secrets.
const SECRET_PATH_HOSTS: [&str; 3] = ["hc-ping.com", "hooks.slack.com", "ntfy.sh"];
/// Shortest line of a key but the last.
const MIN_KEY_LINE_LENGTH: usize = 32;
const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";
const PRIVATE_KEY: &str = "PRIVATE KEY";

/// Redacts the body of every private key in PEM, also if one end is missing.
pub(super) fn redact_private_keys(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    loop {
        let begin = marker(rest, BEGIN);
        let end = marker(rest, END);
        match (begin, end) {
            (Some((_, behind)), end) if end.is_none_or(|(at, _)| at >= behind) => {
                let length = match end {
                    Some((at, _)) => at - behind,
                    // A second redaction leaves the first as it is.
                    None if rest[behind..].starts_with(REDACTED) => REDACTED.len(),
                    None => body_length(&rest[behind..]),
                };
                out.push_str(&rest[..behind]);
                out.push_str(REDACTED);
                rest = &rest[behind + length..];
                // The other end of this key.
                if let Some((_, behind)) = marker(rest, END).filter(|(at, _)| *at == 0) {
                    out.push_str(&rest[..behind]);
                    rest = &rest[behind..];
                }
            }
            (_, Some((at, behind))) => {
                let body = trailing_body_length(&rest[..at]);
                out.push_str(&rest[..at - body]);
                if body > 0 {
                    out.push_str(REDACTED);
                }
                out.push_str(&rest[at..behind]);
                rest = &rest[behind..];
            }
            _ => break,
        }
    }
    out.push_str(rest);
    out
}

/// First marker of a private key with this beginning: where it starts, and where the text behind it starts.
fn marker(text: &str, beginning: &str) -> Option<(usize, usize)> {
    text.match_indices(beginning).find_map(|(at, _)| {
        let label = &text[at + beginning.len()..];
        let length = label.find(DASHES)?;
        label[..length]
            .ends_with(PRIVATE_KEY)
            .then_some((at, at + beginning.len() + length + DASHES.len()))
    })
}

/// Whether a key may contain the character. A line may end with an escaped line feed.
const fn is_key_body(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=' | '\\' | '\r' | '\n')
}

/// Length of the lines of a key at the start of the text.
fn body_length(text: &str) -> usize {
    text.find(|c| !is_key_body(c)).unwrap_or(text.len())
}

/// Length of the lines of a key at the end of the text. The last one may be short.
fn trailing_body_length(text: &str) -> usize {
    let lines = text.trim_end_matches('\n');
    let mut length = text.len() - lines.len();
    for (number, line) in lines.rsplit('\n').enumerate() {
        let body = line.chars().rev().take_while(|c| is_key_body(*c)).count();
        if number > 0 && body < MIN_KEY_LINE_LENGTH {
            // The line feed before the key stays.
            return length.saturating_sub(1);
        }
        length += body;
        if body < line.len() {
            return length;
        }
        length += 1;
    }
    text.len()
}

/// Redacts the credentials of `scheme://user:password@host`, and the paths of webhooks.
pub(super) fn redact_urls(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, behind) = rest.split_at(at + 3);
        out.push_str(before);
        let end = behind
            .find(|c: char| {
                c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>' | '\\' | '\u{1b}')
            })
            .unwrap_or(behind.len());
        out.push_str(&redact_url(&behind[..end]));
        rest = &behind[end..];
    }
    out.push_str(rest);
    out
}

/// A URL without its scheme.
fn redact_url(url: &str) -> String {
    let authority_end = url.find(['/', '?', '#']).unwrap_or(url.len());
    let (credentials, rest) = match url[..authority_end].rfind('@') {
        Some(at) => (REDACTED, &url[at..]),
        None => match unescaped_credentials(url, authority_end) {
            Some(at) => (REDACTED, &url[at..]),
            None => ("", url),
        },
    };
    let host_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (host, path) = rest.split_at(host_end);
    let has_secret_path = SECRET_PATH_HOSTS.iter().any(|known| host.contains(known));
    let hook = path.to_ascii_lowercase().find("hook");
    let shown = match hook.and_then(|at| Some(at + path[at..].find('/')? + 1)) {
        _ if has_secret_path && path.len() > 1 => 1,
        Some(end) if end < path.len() => end,
        _ => return format!("{credentials}{rest}"),
    };
    format!("{credentials}{host}{}{REDACTED}", &path[..shown])
}

/// Where the host begins if a password has a slash: what follows the colon is no port then.
fn unescaped_credentials(url: &str, authority_end: usize) -> Option<usize> {
    let (_, port) = url[..authority_end].split_once(':')?;
    let is_port =
        !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) || port.contains(']');
    (!is_port).then(|| url.rfind('@')).flatten()
}

/// Redacts bot tokens of Telegram, signed tokens, seeds of NATS keys, and other long random texts.
pub(super) fn redact_tokens(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(begin) = rest.find(is_name) {
        let name = &rest[begin..];
        let length = name_length(name);
        let (shown, secret) = secret_in_name(&name[..length], &name[length..]);
        out.push_str(&rest[..begin + shown]);
        if secret > 0 {
            out.push_str(REDACTED);
        }
        rest = &name[shown + secret..];
    }
    out.push_str(rest);
    out
}

/// Length of what may be shown of a name, and of the secret behind it.
fn secret_in_name(name: &str, behind: &str) -> (usize, usize) {
    let digits = name.bytes().rev().take_while(u8::is_ascii_digit).count();
    for colon in [":", "%3A", "%3a"] {
        if digits >= 6
            && let Some(second) = behind.strip_prefix(colon)
            && name_length(second) >= MIN_BOT_TOKEN_LENGTH
        {
            let shown = name.len() - digits;
            return (shown, digits + colon.len() + name_length(second));
        }
    }
    if name.starts_with("eyJ") && name.len() > 10 {
        let parts: Vec<usize> = behind.split('.').take(3).map(name_length).collect();
        if let [0, payload, signature] = parts[..]
            && payload.min(signature) > 0
        {
            return (0, name.len() + payload + signature + 2);
        }
    }
    let is_prefixed = name.len() >= MIN_PREFIXED_LENGTH
        && TOKEN_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    if is_prefixed || is_nkey_seed(name) || is_key(name) {
        return (0, name.len());
    }
    (name.len(), 0)
}

fn is_nkey_seed(name: &str) -> bool {
    name.len() == NKEY_SEED_LENGTH
        && name.starts_with('S')
        && name
            .bytes()
            .all(|b| b.is_ascii_uppercase() || (b'2'..=b'7').contains(&b))
}

fn is_key(name: &str) -> bool {
    name.len() >= MIN_KEY_LENGTH
        && name.bytes().all(|b| b.is_ascii_alphanumeric())
        && name.bytes().any(|b| b.is_ascii_uppercase())
        && name.bytes().any(|b| b.is_ascii_lowercase())
        && name.bytes().any(|b| b.is_ascii_digit())
}
