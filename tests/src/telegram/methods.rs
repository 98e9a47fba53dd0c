//! What a bot can call, and in which order Telegram looks at what it was given: first the text (the
//! server's `get_input_message_text`), then the chat, then what its library makes of the text, then
//! its own limits.

use serde_json::Value;

use super::answers::Refusal;
use super::chats::Chats;
use super::parameters::Parameters;
use super::text::Formatted;
use super::{Button, Trouble, entities, keyboard, photo, text};

/// The server's limit of what it takes into its hands at all.
const MOST_BYTES: usize = 1 << 15;

/// What would change the message that is shown.
const NOT_HERE: [&str; 7] = [
    "business_connection_id",
    "message_thread_id",
    "direct_messages_topic_id",
    "suggested_post_parameters",
    "reply_parameters",
    "reply_to_message_id",
    "message_effect_id",
];

/// What a bot can be seen doing (the server's `get_chat_action`).
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

/// The methods that are here.
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
    /// Names are told apart without regard to case.
    pub(super) fn named(name: &str) -> Option<Self> {
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

/// "typing": only where the bot may write.
pub(super) fn send_chat_action(chats: &Chats, given: &Parameters) -> Result<Value, Refusal> {
    let action = given.get("action").to_ascii_lowercase();
    if !ACTIONS.contains(&action.as_str()) {
        return Err(Refusal::bad_request("wrong parameter action in request"));
    }
    chats.find(given.get("chat_id"))?;
    Ok(Value::Bool(true))
}

/// Shows a message and tells it.
pub(super) fn send_message(
    chats: &Chats,
    given: &Parameters,
    trouble: Option<&Trouble>,
) -> Result<Value, Refusal> {
    let message = input_text(given)?;
    let keyboard = prepared(given)?;
    let chat = chats.find(given.get("chat_id"))?;
    let message = text::cleaned(message)?;
    chats.meet(chat, trouble)?;
    chats.show(chat, message, keyboard, None)
}

/// Shows a picture with a text below it. Only a file that comes along is a picture here, not the id or the
/// address of one.
pub(super) fn send_photo(
    chats: &Chats,
    given: &Parameters,
    trouble: Option<&Trouble>,
) -> Result<Value, Refusal> {
    parse_mode(given.get("parse_mode"))?;
    let caption = Formatted {
        text: given.get("caption").to_owned(),
        entities: entities::read(given.get("caption_entities"))?,
    };
    let keyboard = prepared(given)?;
    let chat = chats.find(given.get("chat_id"))?;
    let attached = given.get("photo").strip_prefix("attach://");
    let Some(photo) = given.file(attached.unwrap_or("photo")) else {
        return Err(match given.get("photo") {
            "" => Refusal::bad_request("there is no photo in the request"),
            _ => Refusal::unsupported("a photo by id or address"),
        });
    };
    let size = photo::size(photo)?;
    let caption = text::cleaned_caption(caption)?;
    chats.meet(chat, trouble)?;
    chats.show(chat, caption, keyboard, Some((size, photo.to_vec())))
}

/// Another keyboard below a message of the bot's, or none. Messages of an inline query are not here.
pub(super) fn edit_message_reply_markup(
    chats: &Chats,
    given: &Parameters,
) -> Result<Value, Refusal> {
    if !given.get("inline_message_id").is_empty() {
        return Err(Refusal::unsupported("inline_message_id"));
    }
    let message_id = given.get("message_id").parse().unwrap_or(0);
    if given.get("chat_id").is_empty() && message_id <= 0 {
        return Err(Refusal::bad_request("message identifier is not specified"));
    }
    let keyboard = prepared(given)?;
    let chat = chats.find(given.get("chat_id"))?;
    if message_id <= 0 {
        return Err(Refusal::bad_request("message identifier is not specified"));
    }
    chats.edit(chat, message_id, keyboard)
}

/// The keyboard, where everything else that would change the message is missing.
fn prepared(given: &Parameters) -> Result<Vec<Vec<Button>>, Refusal> {
    if let Some(name) = NOT_HERE.iter().find(|name| !given.get(name).is_empty()) {
        return Err(Refusal::unsupported(name));
    }
    keyboard::read(given.get("reply_markup"))
}

fn input_text(given: &Parameters) -> Result<Formatted, Refusal> {
    link_preview_options(given.get("link_preview_options"))?;
    let text = given.get("text");
    if text.is_empty() {
        return Err(Refusal::bad_request("message text is empty"));
    }
    if text.len() > MOST_BYTES {
        return Err(Refusal::bad_request("text is too long"));
    }
    if given.get("parse_mode").eq_ignore_ascii_case("html") {
        return plain_html(text);
    }
    parse_mode(given.get("parse_mode"))?;
    Ok(Formatted {
        text: text.to_owned(),
        entities: entities::read(given.get("entities"))?,
    })
}

/// HTML without a tag in it: what is escaped comes back.
fn plain_html(text: &str) -> Result<Formatted, Refusal> {
    if text.contains('<') {
        return Err(Refusal::unsupported("a tag in parse_mode HTML"));
    }
    let text = text.replace("&lt;", "<").replace("&gt;", ">");
    let text = text.replace("&quot;", "\"").replace("&amp;", "&");
    let entities = Vec::new();
    Ok(Formatted { text, entities })
}

/// With one of the known modes the real server does not look at `entities`.
fn parse_mode(mode: &str) -> Result<(), Refusal> {
    match mode.to_ascii_lowercase().as_str() {
        "" | "none" => Ok(()),
        "markdown" | "markdownv2" | "html" => Err(Refusal::unsupported("parse_mode")),
        _ => Err(Refusal::bad_request("unsupported parse_mode")),
    }
}

fn link_preview_options(options: &str) -> Result<(), Refusal> {
    if options.is_empty() {
        return Ok(());
    }
    let parsed: Value = serde_json::from_str(options)
        .map_err(|_| Refusal::bad_request("can't parse link preview options JSON object"))?;
    if parsed.is_object() {
        return Ok(());
    }
    Err(Refusal::bad_request(
        "object expected as link preview options",
    ))
}
