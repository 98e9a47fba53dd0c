//! Methods of the API, with Telegram's order of checks: the text (the server's `get_input_message_text`), the chat, the
//! text after the library's changes, the rate limits.

use serde_json::Value;

use super::answers::ErrorResponse;
use super::chats::Chats;
use super::parameters::Parameters;
use super::text::Formatted;
use super::{Button, TelegramFault, entities, keyboard, photo, text};

/// Largest text that the server accepts at all.
const MAX_TEXT_BYTES: usize = 1 << 15;

/// Parameters that would change the shown message and are not supported.
const UNSUPPORTED_PARAMETERS: [&str; 7] = [
    "business_connection_id",
    "message_thread_id",
    "direct_messages_topic_id",
    "suggested_post_parameters",
    "reply_parameters",
    "reply_to_message_id",
    "message_effect_id",
];

/// Actions of a chat (the server's `get_chat_action`).
const ACTIONS: [&str; 15] = [
    "cancel",
    "typing",
    "record_video",
    "upload_video",
    "record_audio",
    "record_voice",
    "upload_audio",
    "upload_voice",
    "upload_photo",
    "upload_document",
    "choose_sticker",
    "pick_up_location",
    "find_location",
    "record_video_note",
    "upload_video_note",
];

/// Methods that the fake supports.
pub(super) enum Method {
    GetMe,
    GetUpdates,
    AnswerCallbackQuery,
    EditMessageReplyMarkup,
    SendChatAction,
    SendMessage,
    SendPhoto,
}

impl Method {
    /// Method with this name, in any case.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "getme" => Some(Self::GetMe),
            "sendchataction" => Some(Self::SendChatAction),
            "sendmessage" => Some(Self::SendMessage),
            "sendphoto" => Some(Self::SendPhoto),
            "getupdates" => Some(Self::GetUpdates),
            "answercallbackquery" => Some(Self::AnswerCallbackQuery),
            "editmessagereplymarkup" => Some(Self::EditMessageReplyMarkup),
            _ => None,
        }
    }
}

/// `sendChatAction`: an error if the bot may not write to the chat.
pub(super) fn send_chat_action(chats: &Chats, given: &Parameters) -> Result<Value, ErrorResponse> {
    let action = given.get("action").to_ascii_lowercase();
    if !ACTIONS.contains(&action.as_str()) {
        return Err(ErrorResponse::bad_request(
            "wrong parameter action in request",
        ));
    }
    chats.find(given.get("chat_id"))?;
    Ok(Value::Bool(true))
}

/// `sendMessage`: adds the message to its chat and returns it.
pub(super) fn send_message(
    chats: &Chats,
    given: &Parameters,
    trouble: Option<&TelegramFault>,
) -> Result<Value, ErrorResponse> {
    let message = parse_input_text(given)?;
    let keyboard = parse_reply_markup(given)?;
    let chat = chats.find(given.get("chat_id"))?;
    let message = text::clean_message(message)?;
    chats.apply_fault(chat, trouble)?;
    chats.show_message(chat, message, keyboard, None)
}

/// `sendPhoto`: adds a picture with its caption. Only an uploaded file is supported, not the id or the URL of one.
pub(super) fn send_photo(
    chats: &Chats,
    given: &Parameters,
    trouble: Option<&TelegramFault>,
) -> Result<Value, ErrorResponse> {
    check_parse_mode(given.get("parse_mode"))?;
    let caption = Formatted {
        text: given.get("caption").to_owned(),
        entities: entities::parse(given.get("caption_entities"))?,
    };
    let keyboard = parse_reply_markup(given)?;
    let chat = chats.find(given.get("chat_id"))?;
    let attached = given.get("photo").strip_prefix("attach://");
    let Some(photo) = given.file(attached.unwrap_or("photo")) else {
        return Err(match given.get("photo") {
            "" => ErrorResponse::bad_request("there is no photo in the request"),
            _ => ErrorResponse::unsupported("a photo by id or address"),
        });
    };
    let size = photo::png_size(photo)?;
    let caption = text::clean_caption(caption)?;
    chats.apply_fault(chat, trouble)?;
    chats.show_message(chat, caption, keyboard, Some((size, photo.to_vec())))
}

/// `editMessageReplyMarkup`: replaces or removes the keyboard of a message. Messages of inline queries are not
/// supported.
pub(super) fn edit_message_reply_markup(
    chats: &Chats,
    given: &Parameters,
) -> Result<Value, ErrorResponse> {
    if !given.get("inline_message_id").is_empty() {
        return Err(ErrorResponse::unsupported("inline_message_id"));
    }
    let message_id = given.get("message_id").parse().unwrap_or(0);
    if given.get("chat_id").is_empty() && message_id <= 0 {
        return Err(ErrorResponse::bad_request(
            "message identifier is not specified",
        ));
    }
    let keyboard = parse_reply_markup(given)?;
    let chat = chats.find(given.get("chat_id"))?;
    if message_id <= 0 {
        return Err(ErrorResponse::bad_request(
            "message identifier is not specified",
        ));
    }
    chats.edit_buttons(chat, message_id, keyboard)
}

/// Parses the keyboard. An error if a parameter is given that is not supported.
fn parse_reply_markup(given: &Parameters) -> Result<Vec<Vec<Button>>, ErrorResponse> {
    if let Some(name) = UNSUPPORTED_PARAMETERS
        .iter()
        .find(|name| !given.get(name).is_empty())
    {
        return Err(ErrorResponse::unsupported(name));
    }
    keyboard::parse(given.get("reply_markup"))
}

fn parse_input_text(given: &Parameters) -> Result<Formatted, ErrorResponse> {
    check_link_preview_options(given.get("link_preview_options"))?;
    let text = given.get("text");
    if text.is_empty() {
        return Err(ErrorResponse::bad_request("message text is empty"));
    }
    if text.len() > MAX_TEXT_BYTES {
        return Err(ErrorResponse::bad_request("text is too long"));
    }
    if given.get("parse_mode").eq_ignore_ascii_case("html") {
        return parse_plain_html(text);
    }
    check_parse_mode(given.get("parse_mode"))?;
    Ok(Formatted {
        text: text.to_owned(),
        entities: entities::parse(given.get("entities"))?,
    })
}

/// Text of HTML without tags, with entities such as `&amp;` replaced.
fn parse_plain_html(text: &str) -> Result<Formatted, ErrorResponse> {
    if text.contains('<') {
        return Err(ErrorResponse::unsupported("a tag in parse_mode HTML"));
    }
    let text = text.replace("&lt;", "<").replace("&gt;", ">");
    let text = text.replace("&quot;", "\"").replace("&amp;", "&");
    let entities = Vec::new();
    Ok(Formatted { text, entities })
}

/// Checks the parse mode. With a known one the server ignores `entities`.
fn check_parse_mode(mode: &str) -> Result<(), ErrorResponse> {
    match mode.to_ascii_lowercase().as_str() {
        "" | "none" => Ok(()),
        "markdown" | "markdownv2" | "html" => Err(ErrorResponse::unsupported("parse_mode")),
        _ => Err(ErrorResponse::bad_request("unsupported parse_mode")),
    }
}

fn check_link_preview_options(options: &str) -> Result<(), ErrorResponse> {
    if options.is_empty() {
        return Ok(());
    }
    let parsed: Value = serde_json::from_str(options)
        .map_err(|_| ErrorResponse::bad_request("can't parse link preview options JSON object"))?;
    if parsed.is_object() {
        return Ok(());
    }
    Err(ErrorResponse::bad_request(
        "object expected as link preview options",
    ))
}
