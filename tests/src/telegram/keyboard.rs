//! Inline keyboards, with buttons that send data back; other kinds of keyboards and buttons are not here.

use serde_json::{Value, json};

use super::answers::Refusal;

/// "Data to be sent in a callback query [...], 1-64 bytes"
const MOST_DATA: usize = 64;

/// A button below a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Button {
    /// What it says.
    pub text: String,
    /// What the bot is sent when it is pressed.
    pub data: String,
}

/// Rows of buttons; none without a keyboard.
pub(super) fn read(markup: &str) -> Result<Vec<Vec<Button>>, Refusal> {
    if markup.is_empty() {
        return Ok(Vec::new());
    }
    let markup: Value = serde_json::from_str(markup)
        .map_err(|_| Refusal::bad_request("can't parse reply keyboard markup JSON object"))?;
    let fields = markup
        .as_object()
        .ok_or_else(|| Refusal::bad_request("object expected as reply markup"))?;
    let Some(rows) = fields.get("inline_keyboard") else {
        return match fields.len() {
            0 => Ok(Vec::new()),
            _ => Err(Refusal::unsupported("a keyboard that is not inline")),
        };
    };
    let rows = rows.as_array().ok_or_else(|| {
        Refusal::bad_request(
            "field \"inline_keyboard\" of the InlineKeyboardMarkup must be an Array of Arrays",
        )
    })?;
    rows.iter().map(row).collect()
}

fn row(row: &Value) -> Result<Vec<Button>, Refusal> {
    let buttons = row.as_array().ok_or_else(|| {
        Refusal::bad_request("can't parse inline keyboard button: expected an Array of Buttons")
    })?;
    buttons.iter().map(button).collect()
}

fn button(button: &Value) -> Result<Button, Refusal> {
    let text = button["text"].as_str().unwrap_or_default();
    if text.is_empty() {
        return Err(Refusal::bad_request(
            "can't parse inline keyboard button: Text buttons are unallowed in the inline keyboard",
        ));
    }
    let Some(data) = button["callback_data"].as_str() else {
        return Err(Refusal::unsupported("a button without callback_data"));
    };
    if data.is_empty() || data.len() > MOST_DATA {
        return Err(Refusal::bad_request("BUTTON_DATA_INVALID"));
    }
    let (text, data) = (text.to_owned(), data.to_owned());
    Ok(Button { text, data })
}

pub(super) fn told(rows: &[Vec<Button>]) -> Value {
    let button = |button: &Button| json!({ "text": button.text, "callback_data": button.data });
    let row = |row: &Vec<Button>| row.iter().map(button).collect::<Vec<_>>();
    json!({ "inline_keyboard": rows.iter().map(row).collect::<Vec<_>>() })
}
