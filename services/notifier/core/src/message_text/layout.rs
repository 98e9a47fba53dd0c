//! The shape of a notification: one heading, and lines.

/// Longest heading in characters. A heading is one line, also if a field of the event is not.
const MAX_TITLE_CHARS: usize = 160;

/// Heading and lines of one notification.
pub(super) type Text = (String, Vec<String>);

pub(super) fn row(title: impl Into<String>, lines: impl IntoIterator<Item = String>) -> Text {
    let title: String = title.into();
    let parts: Vec<&str> = title.split_whitespace().collect();
    let title = parts.join(" ").chars().take(MAX_TITLE_CHARS).collect();
    (title, lines.into_iter().collect())
}
