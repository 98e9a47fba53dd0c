//! Removal of secrets from text before it is stored, sent or shown: values whose names look secret, bot tokens, and
//! credentials in URLs. [`redact`] is for free text, [`is_secret_name`] for names with a value beside them.

/// Text in place of a secret.
pub const REDACTED: &str = "***";
/// Parts of names, in capitals, whose values are secret.
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
/// Whole segments of names, in capitals, whose values are secret: `KEY`, `BINANCE_KEY`, not `MONKEY`.
const SECRET_SEGMENTS: [&str; 6] = [
    "KEY",
    "KEYS",
    "PASS",
    "AUTH",
    "AUTHORIZATION",
    "AUTHENTICATION",
];
/// Shortest second part of a bot token.
const MIN_BOT_TOKEN_LENGTH: usize = 30;

/// The text without its secrets.
pub fn redact(text: &str) -> String {
    redact_bot_tokens(&redact_userinfo(&redact_values(text)))
}

/// Whether the value of this name is a secret.
pub fn is_secret_name(name: &str) -> bool {
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
        if is_secret_name(name.get(begin..).unwrap_or_default()) {
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
pub fn redact_userinfo(text: &str) -> String {
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
    fn secret_names_are_recognized_in_any_spelling() {
        for name in [
            "--api-key",
            "api.token",
            "apiKey",
            "nats_passwd",
            "x.auth.y",
            "KEY",
        ] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in ["monkey", "author", "bearish-alpha.supervise", "--paper", ""] {
            assert!(!is_secret_name(name), "{name}");
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
    }
}
