//! Inline keyboards with buttons that send data. Other keyboards and buttons are not supported.

use serde_json::{Value, json};

use super::answers::ErrorResponse;

/// "Data to be sent in a callback query [...], 1-64 bytes"
const MAX_DATA_BYTES: usize = 64;

/// A button below a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Button {
    /// Label of the button.
    pub text: String,
    /// Data that the bot receives when the button is pressed.
    pub data: String,
}

/// Parses rows of buttons. Empty without a keyboard.
pub(super) fn parse(markup: &str) -> Result<Vec<Vec<Button>>, ErrorResponse> {
    if markup.is_empty() {
        return Ok(Vec::new());
    }
    let markup: Value = serde_json::from_str(markup)
        .map_err(|_| ErrorResponse::bad_request("can't parse reply keyboard markup JSON object"))?;
    let fields = markup
        .as_object()
        .ok_or_else(|| ErrorResponse::bad_request("object expected as reply markup"))?;
    let Some(rows) = fields.get("inline_keyboard") else {
        return match fields.len() {
            0 => Ok(Vec::new()),
            _ => Err(ErrorResponse::unsupported("a keyboard that is not inline")),
        };
    };
    let rows = rows.as_array().ok_or_else(|| {
        ErrorResponse::bad_request(
            "field \"inline_keyboard\" of the InlineKeyboardMarkup must be an Array of Arrays",
        )
    })?;
    rows.iter().map(parse_row).collect()
}

fn parse_row(row: &Value) -> Result<Vec<Button>, ErrorResponse> {
    let buttons = row.as_array().ok_or_else(|| {
        ErrorResponse::bad_request(
            "can't parse inline keyboard button: expected an Array of Buttons",
        )
    })?;
    buttons.iter().map(parse_button).collect()
}

fn parse_button(button: &Value) -> Result<Button, ErrorResponse> {
    let text = button["text"].as_str().unwrap_or_default();
    if text.is_empty() {
        return Err(ErrorResponse::bad_request(
            "can't parse inline keyboard button: Text buttons are unallowed in the inline keyboard",
        ));
    }
    let Some(data) = button["callback_data"].as_str() else {
        return Err(ErrorResponse::unsupported("a button without callback_data"));
    };
    if data.is_empty() || data.len() > MAX_DATA_BYTES {
        return Err(ErrorResponse::bad_request("BUTTON_DATA_INVALID"));
    }
    let (text, data) = (text.to_owned(), data.to_owned());
    Ok(Button { text, data })
}

pub(super) fn to_json(rows: &[Vec<Button>]) -> Value {
    let button = |button: &Button| json!({ "text": button.text, "callback_data": button.data });
    let row = |row: &Vec<Button>| row.iter().map(button).collect::<Vec<_>>();
    json!({ "inline_keyboard": rows.iter().map(row).collect::<Vec<_>>() })
}
