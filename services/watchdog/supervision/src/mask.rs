//! Secrets are taken out of what containers say before it is stored or shown: values of names that sound
//! like one, bot tokens, passwords in URLs. What is masked cannot be told from its value any more.

/// Written in place of a secret.
const MASK: &str = "***";
/// Parts of names, in capitals, whose values are nobody's business.
const SECRET: [&str; 8] = [
    "TOKEN",
    "PASSWORD",
    "PASSWD",
    "SECRET",
    "APIKEY",
    "API_KEY",
    "API-KEY",
    "SIGNATURE",
];
/// Names that are such a part by themselves or after an underscore: `KEY`, `BINANCE_KEY`, not `MONKEY`.
const WHOLE: [&str; 3] = ["KEY", "PASS", "AUTHORIZATION"];
/// Fewer characters behind the colon are no bot token.
const TOKEN_LENGTH: usize = 30;

/// The text without its secrets.
pub fn mask(text: &str) -> String {
    bot_tokens(&userinfo(&values(text)))
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let last = name.rsplit(['_', '-']).next().unwrap_or_default();
    SECRET.iter().any(|word| name.contains(word)) || WHOLE.contains(&last)
}

/// `NAME=value`, `name: value`, `"name":"value"`.
fn values(text: &str) -> String {
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
        if is_secret(name.get(begin..).unwrap_or_default()) {
            rest = hide_value(rest, &mut out);
        }
    }
    out.push_str(rest);
    out
}

/// Writes the mask for the value that `rest` begins with; returns what is behind it.
fn hide_value<'a>(rest: &'a str, out: &mut String) -> &'a str {
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
        out.push_str(MASK);
    }
    &value[end..]
}

/// `scheme://user:password@host`.
fn userinfo(text: &str) -> String {
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
                out.push_str(MASK);
                out.push_str(&authority[at..]);
            }
            None => out.push_str(authority),
        }
        rest = &behind[end..];
    }
    out.push_str(rest);
    out
}

/// Telegram's: a number, a colon, 35 letters; also behind `bot` in an address.
fn bot_tokens(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(':') {
        let digits = rest[..at]
            .bytes()
            .rev()
            .take_while(u8::is_ascii_digit)
            .count();
        let length = rest[at + 1..].chars().take_while(|c| is_name(*c)).count();
        if digits >= 6 && length >= TOKEN_LENGTH {
            out.push_str(&rest[..at - digits]);
            out.push_str(MASK);
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
    fn what_sounds_like_a_secret_is_masked() {
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
            ("SECRET=", "SECRET="),
            ("PASSWORD", "PASSWORD"),
            ("at 11:10:44 price=40008.1", "at 11:10:44 price=40008.1"),
            ("größe=3 schlüssel: ö", "größe=3 schlüssel: ö"),
        ];
        for (text, expected) in rows {
            assert_eq!(mask(text), expected, "{text}");
        }
        let said = format!("POST https://api.telegram.org/bot{token}/getMe: 401");
        assert_eq!(
            mask(&said),
            "POST https://api.telegram.org/bot***/getMe: 401"
        );
        assert_eq!(mask(&token), "***");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_taken(text in ".{0,200}") {
            let _ = mask(&text);
        }

        #[test]
        fn a_secret_behind_its_name_never_shows(before in "[a-z ]{0,20}", value in "[A-Z0-9]{8,20}") {
            let text = format!("{before} API_SECRET={value} end");
            proptest::prop_assert!(!mask(&text).contains(&value));
        }
    }
}
