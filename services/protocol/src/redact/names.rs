//! Names whose values are secret.

/// Parts of names in text, in capitals, whose values are secret.
const SECRET_PARTS: [&str; 14] = [
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
    "LISTENKEY",
    "SESSIONID",
    "SESSION_ID",
    "SESSION-ID",
];
/// Whole segments of names in text, in capitals, whose values are secret: `BINANCE_KEY` and `listenKey`, not `MONKEY`.
const SECRET_SEGMENTS: [&str; 10] = [
    "KEY",
    "KEYS",
    "PASS",
    "PWD",
    "AUTH",
    "AUTHORIZATION",
    "AUTHENTICATION",
    "COOKIE",
    "JWT",
    "BEARER",
];
/// Names that also mean something else: a key of a journal, the directory of a process.
const AMBIGUOUS_NAMES: [&str; 3] = ["KEY", "KEYS", "PWD"];
/// Last segments of names that describe a secret and are none.
const DESCRIPTIONS: [&str; 8] = [
    "FILE", "PATH", "DIR", "COUNT", "TYPE", "LENGTH", "TTL", "AGE",
];
/// Parts of names of settings, in capitals, whose values are secret. Every part and segment of names in text contains
/// one of them.
const SECRET_SETTING_PARTS: [&str; 12] = [
    "AUTH",
    "BEARER",
    "COOKIE",
    "CREDENTIAL",
    "JWT",
    "KEY",
    "PASS",
    "PRIVATE",
    "PWD",
    "SECRET",
    "SIGNATURE",
    "TOKEN",
];

/// What a name in text says about its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Secrecy {
    /// The value is no secret.
    None,
    /// The value is a secret if it is random.
    IfRandom,
    /// The value is a secret.
    Secret,
    /// The value is a header line of credentials, with blanks.
    HeaderLine,
}

/// Secrecy of the value behind this name in text.
pub(super) fn secrecy(name: &str) -> Secrecy {
    let trimmed = name.trim_start_matches('-');
    let upper = trimmed.to_ascii_uppercase();
    let segments = segments(trimmed);
    let is_secret = SECRET_PARTS.iter().any(|part| upper.contains(part))
        || segments
            .iter()
            .any(|segment| SECRET_SEGMENTS.contains(&segment.as_str()));
    let describes = segments.len() > 1
        && segments
            .last()
            .is_some_and(|last| DESCRIPTIONS.contains(&last.as_str()));
    if !is_secret || describes {
        return Secrecy::None;
    }
    match upper.as_str() {
        "AUTHORIZATION" | "PROXY-AUTHORIZATION" | "COOKIE" | "SET-COOKIE" => Secrecy::HeaderLine,
        // A flag of that name has a secret.
        upper if AMBIGUOUS_NAMES.contains(&upper) && !name.starts_with('-') => Secrecy::IfRandom,
        _ => Secrecy::Secret,
    }
}

/// Whether an environment variable, label or argument of this name holds a secret: the name contains a secret part
/// anywhere, so `MYKEY` and `keyfile` count.
pub fn is_secret_setting_name(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let parts = SECRET_SETTING_PARTS.iter().chain(&SECRET_PARTS);
    parts.into_iter().any(|part| name.contains(part))
}

/// Segments of a name in capitals: between separators, and at the humps of `camelCase`.
fn segments(name: &str) -> Vec<String> {
    let mut segments = vec![String::new()];
    let mut was_lower = false;
    for c in name.chars() {
        if !c.is_ascii_alphanumeric() || was_lower && c.is_ascii_uppercase() {
            segments.push(String::new());
        }
        was_lower = c.is_ascii_lowercase();
        if let (true, Some(segment)) = (c.is_ascii_alphanumeric(), segments.last_mut()) {
            segment.push(c.to_ascii_uppercase());
        }
    }
    segments.retain(|segment| !segment.is_empty());
    segments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_text_are_secret_by_part_or_by_whole_segment() {
        for name in [
            "--api-key",
            "token",
            "apiKey",
            "listenKey",
            "nats_passwd",
            "x_auth_y",
            "PRIVATE_X",
            "credentials",
            "X-MBX-APIKEY",
            "--pwd",
            "db_pwd",
            "sessionId",
        ] {
            assert_eq!(secrecy(name), Secrecy::Secret, "{name}");
        }
        for name in ["key", "KEYS", "pwd"] {
            assert_eq!(secrecy(name), Secrecy::IfRandom, "{name}");
        }
        for name in ["Authorization", "cookie", "Set-Cookie"] {
            assert_eq!(secrecy(name), Secrecy::HeaderLine, "{name}");
        }
        for name in [
            "monkey",
            "author",
            "keyfile",
            "oauthid",
            "MYKEY",
            "TOKEN_FILE",
            "token_count",
            "bypass",
            "--paper",
            "",
        ] {
            assert_eq!(secrecy(name), Secrecy::None, "{name}");
        }
    }

    #[test]
    fn names_of_settings_are_secret_by_any_part() {
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
            "--pwd",
            "cookie",
        ] {
            assert!(is_secret_setting_name(name), "{name}");
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

    proptest::proptest! {
        #[test]
        fn name_that_is_secret_in_text_is_secret_as_a_setting(
            name in "[a-zA-Z._-]{0,6}(key|pass|auth|token|api-key|cookie|pwd|sessionId|x)[a-zA-Z._-]{0,6}",
        ) {
            proptest::prop_assert!(secrecy(&name) == Secrecy::None || is_secret_setting_name(&name));
        }
    }
}
