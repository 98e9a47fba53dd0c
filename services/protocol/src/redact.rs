//! Removal of secrets from text before it is stored, sent or shown: values whose names suggest a secret, bot tokens,
//! and credentials in URLs.
//!
//! [`redact`] is for log text. [`is_secret_setting_name`] and [`redact_setting_value`] are for names and values of
//! environment variables, labels and arguments; these two hide too much rather than too little.

/// Text in place of a secret.
pub const REDACTED: &str = "***";
/// Parts of names in log text, in capitals, whose values are secret.
const SECRET_PARTS: [&str; 10] = [
    "TOKEN",
    "PASSW",
    "PASSPHRASE",
    "SECRET",
    "CREDENTIAL",
    "PRIVATE",
    "SIGNATURE",
    "APIKEY",
    "API_KEY",
    "API-KEY",
];
/// Whole segments of names in log text, in capitals, whose values are secret: `KEY`, `BINANCE_KEY`, not `MONKEY`.
const SECRET_SEGMENTS: [&str; 6] = [
    "KEY",
    "KEYS",
    "PASS",
    "AUTH",
    "AUTHORIZATION",
    "AUTHENTICATION",
];
/// Parts of names of settings, in capitals, whose values are secret. Every part and segment of log text contains one
/// of them.
const SECRET_SETTING_PARTS: [&str; 8] = [
    "AUTH",
    "CREDENTIAL",
    "KEY",
    "PASS",
    "PRIVATE",
    "SECRET",
    "SIGNATURE",
    "TOKEN",
];
/// Shortest second part of a bot token.
const MIN_BOT_TOKEN_LENGTH: usize = 30;

/// The log text without its secrets. `key`, `pass` and `auth` count as whole segments of a name only, so that names
/// such as `author` keep their values.
pub fn redact(text: &str) -> String {
    redact_bot_tokens(&redact_userinfo(&redact_values(text)))
}

/// Whether an environment variable, label or argument of this name holds a secret: the name contains a secret part
/// anywhere, so `MYKEY` and `keyfile` count.
pub fn is_secret_setting_name(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    SECRET_SETTING_PARTS.iter().any(|part| name.contains(part))
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

/// Whether log text behind this name is a secret.
fn is_secret_log_name(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let mut segments = name.split(|c: char| !c.is_ascii_alphanumeric());
    SECRET_PARTS.iter().any(|part| name.contains(part))
        || segments.any(|segment| SECRET_SEGMENTS.contains(&segment))
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

/// Redacts `NAME=value`, `name: value` and `"name":"value"`.
fn redact_values(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['=', ':']) {
        let (before, behind) = rest.split_at(at);
        out.push_str(before);
        let name = before.trim_end_matches(['"', '\'', ' ']);
        let begin = name.rfind(|c| !is_name(c)).map_or(0, |at| at + 1);
        // A colon or an equals sign is one byte.
        out.push_str(&behind[..1]);
        rest = &behind[1..];
        if is_secret_log_name(name.get(begin..).unwrap_or_default()) {
            rest = redact_value(rest, &mut out);
        }
    }
    out.push_str(rest);
    out
}

/// Writes [`REDACTED`] for the value at the start of `rest`; returns the text behind the value.
fn redact_value<'a>(rest: &'a str, out: &mut String) -> &'a str {
    let lead = rest.len() - rest.trim_start_matches([' ', '"', '\'', '=']).len();
    out.push_str(&rest[..lead]);
    let quoted = rest[..lead].contains(['"', '\'']);
    let mut value = &rest[lead..];
    for scheme in ["Bearer ", "Basic ", "bearer ", "basic "] {
        value = value.strip_prefix(scheme).unwrap_or(value);
    }
    let end = value.find(|c: char| {
        matches!(c, '"' | '\'')
            || !quoted && (c.is_whitespace() || matches!(c, ',' | ';' | '&' | ')' | '}'))
    });
    let end = end.unwrap_or(value.len());
    if end > 0 {
        out.push_str(REDACTED);
    }
    &value[end..]
}

/// Redacts the credentials of `scheme://user:password@host`.
fn redact_userinfo(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, behind) = rest.split_at(at + 3);
        out.push_str(before);
        let end = behind
            .find(|c: char| c.is_whitespace() || matches!(c, '/' | '"' | '\''))
            .unwrap_or(behind.len());
        let authority = &behind[..end];
        match authority.rfind('@') {
            Some(at) => {
                out.push_str(REDACTED);
                out.push_str(&authority[at..]);
            }
            None => out.push_str(authority),
        }
        rest = &behind[end..];
    }
    out.push_str(rest);
    out
}

/// Redacts bot tokens of Telegram: a number, a colon, 35 characters; also behind `bot` in a URL.
fn redact_bot_tokens(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(':') {
        let digits = rest[..at]
            .bytes()
            .rev()
            .take_while(u8::is_ascii_digit)
            .count();
        let length = rest[at + 1..].chars().take_while(|c| is_name(*c)).count();
        if digits >= 6 && length >= MIN_BOT_TOKEN_LENGTH {
            out.push_str(&rest[..at - digits]);
            out.push_str(REDACTED);
            rest = &rest[at + 1 + length..];
        } else {
            out.push_str(&rest[..=at]);
            rest = &rest[at + 1..];
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_secret_names_are_redacted() {
        let token = format!("123456789:{}", "AAbbCC_dd-".repeat(4));
        let rows = [
            ("TELEGRAM_BOT_TOKEN=abc next", "TELEGRAM_BOT_TOKEN=*** next"),
            ("nats_password: hunter2, retry", "nats_password: ***, retry"),
            (r#"{"apiKey":"a b","x":1}"#, r#"{"apiKey":"***","x":1}"#),
            ("api-key = 'k e y' ok", "api-key = '***' ok"),
            ("BINANCE_KEY=1 MONKEY=2", "BINANCE_KEY=*** MONKEY=2"),
            (
                "url?symbol=X&signature=ab12&y=2",
                "url?symbol=X&signature=***&y=2",
            ),
            ("Authorization: Bearer ey.abc", "Authorization: ***"),
            ("nats://u:p@host:4222/x", "nats://***@host:4222/x"),
            ("credentials=abc123", "credentials=***"),
            ("credential: abc", "credential: ***"),
            ("PRIVATE=abc", "PRIVATE=***"),
            ("auth: abc", "auth: ***"),
            ("passphrase=abc", "passphrase=***"),
            ("author=abc", "author=abc"),
            ("keyfile=abc", "keyfile=abc"),
            ("oauthid: abc", "oauthid: abc"),
            ("MYKEY=abc bypass=1", "MYKEY=abc bypass=1"),
            ("SECRET=", "SECRET="),
            ("PASSWORD", "PASSWORD"),
            ("at 11:10:44 price=40008.1", "at 11:10:44 price=40008.1"),
            ("größe=3 schlüssel: ö", "größe=3 schlüssel: ö"),
        ];
        for (text, expected) in rows {
            assert_eq!(redact(text), expected, "{text}");
        }
        let said = format!("POST https://api.telegram.org/bot{token}/getMe: 401");
        assert_eq!(
            redact(&said),
            "POST https://api.telegram.org/bot***/getMe: 401"
        );
        assert_eq!(redact(&token), "***");
    }

    #[test]
    fn log_names_are_secret_by_part_or_by_whole_segment() {
        for name in [
            "--api-key",
            "api.token",
            "apiKey",
            "nats_passwd",
            "x.auth.y",
            "KEY",
        ] {
            assert!(is_secret_log_name(name), "{name}");
        }
        for name in ["monkey", "author", "keyfile", "oauthid", "MYKEY", ""] {
            assert!(!is_secret_log_name(name), "{name}");
        }
    }

    #[test]
    fn setting_names_are_secret_by_any_part() {
        for name in [
            "--api-key",
            "--keyfile",
            "oauthid",
            "MYKEY",
            "author",
            "BYPASS",
            "nats_passwd",
            "Passphrase",
            "credentials",
            "private.pem",
            "x-signature",
            "app.tokens",
            "client_secret",
        ] {
            assert!(is_secret_setting_name(name), "{name}");
        }
        for part in SECRET_PARTS.iter().chain(&SECRET_SEGMENTS) {
            assert!(is_secret_setting_name(part), "{part}");
        }
        for name in [
            "bearish-alpha.supervise",
            "com.docker.compose.project",
            "--paper",
            "--max-restarts",
            "",
        ] {
            assert!(!is_secret_setting_name(name), "{name}");
        }
    }

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

    proptest::proptest! {
        #[test]
        fn redaction_accepts_any_text(text in ".{0,200}") {
            let _ = redact(&text);
        }

        #[test]
        fn secret_after_its_name_is_never_shown(before in "[a-z ]{0,20}", value in "[A-Z0-9]{8,20}") {
            let text = format!("{before} API_SECRET={value} end");
            proptest::prop_assert!(!redact(&text).contains(&value));
        }

        #[test]
        fn name_that_is_secret_in_log_text_is_secret_as_a_setting(
            name in "[a-zA-Z._-]{0,6}(key|pass|auth|token|api-key|x)[a-zA-Z._-]{0,6}",
        ) {
            proptest::prop_assert!(!is_secret_log_name(&name) || is_secret_setting_name(&name));
        }
    }
}
