//! What the parts of redaction share: the sign of a secret, and what a name is.

/// Text in place of a secret.
pub const REDACTED: &str = "***";

/// Whether the character belongs to a name.
pub(super) const fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

/// Length of the name at the start of the text, in bytes.
pub(super) fn name_length(text: &str) -> usize {
    text.find(|c| !is_name(c)).unwrap_or(text.len())
}
