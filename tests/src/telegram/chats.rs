//! The bot, its chats, their messages, and prepared faults. The rules of messages are in `methods.rs`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::answers::ErrorResponse;
use super::limits::{RateLimiter, RateLimits, Recipient};
use super::text::Formatted;
use super::updates::Updates;
use super::{Button, Entity, ShownMessage, TelegramFault, keyboard};

/// Private chat of a user who has started the bot; also the id of that user.
pub(super) const USER: i64 = 700_000_001;
/// Group of which the bot is a member.
pub(super) const GROUP: i64 = -400_000_001;
const BOT: i64 = 123_456_789;

#[derive(Clone, Copy)]
enum Chat {
    Private,
    Group,
    Supergroup,
    /// The group became the supergroup with this id.
    Migrated(i64),
}

/// State of one bot.
pub(super) struct Chats {
    state: Mutex<ChatsState>,
    updates: Updates,
}

struct ChatsState {
    token: &'static str,
    revoked: bool,
    requests: usize,
    faults: VecDeque<TelegramFault>,
    chats: BTreeMap<i64, Chat>,
    flood: RateLimiter,
    shown: Vec<ShownMessage>,
    /// All buttons so far, with the index of their message: a user may press a button that was removed.
    buttons: Vec<(usize, String)>,
}

impl Chats {
    pub(super) fn new(token: &'static str) -> Self {
        let inside = ChatsState {
            token,
            revoked: false,
            requests: 0,
            faults: VecDeque::new(),
            chats: BTreeMap::from([(USER, Chat::Private), (GROUP, Chat::Group)]),
            flood: RateLimiter::default(),
            shown: Vec::new(),
            buttons: Vec::new(),
        };
        Self {
            state: Mutex::new(inside),
            updates: Updates::new(),
        }
    }

    pub(super) const fn updates(&self) -> &Updates {
        &self.updates
    }

    /// Lets a user write to a chat, with a time this many seconds ago.
    pub(super) fn receive_text(
        &self,
        user: i64,
        chat_id: i64,
        text: &str,
        seconds_ago: u64,
    ) -> i64 {
        let kind = self.lock_state().chats.get(&chat_id).copied();
        let message = json!({
            "message_id": 1_000_000 + self.updates.pending_count(),
            "from": user_json(user),
            "chat": chat_json(chat_id, kind.unwrap_or(Chat::Private)),
            "date": unix_now() - seconds_ago,
            "text": text,
        });
        self.updates.push("message", message)
    }

    /// Lets a user press the button with this data, below the newest message that has it.
    pub(super) fn receive_press(&self, user: i64, data: &str) -> i64 {
        let inside = self.lock_state();
        let mut keys = inside.buttons.iter().rev();
        let (place, _) = keys.find(|(_, key)| key == data).unwrap();
        let shown = &inside.shown[*place];
        let message = message_json(shown, inside.chats[&shown.chat]);
        drop(inside);
        let press = json!({
            "id": self.updates.add_press(),
            "from": user_json(user),
            "message": message,
            "chat_instance": "1",
            "data": data,
        });
        self.updates.push("callback_query", press)
    }

    fn lock_state(&self) -> MutexGuard<'_, ChatsState> {
        self.state.lock().unwrap()
    }

    pub(super) fn shown(&self) -> Vec<ShownMessage> {
        self.lock_state().shown.clone()
    }

    pub(super) fn shown_count(&self) -> usize {
        self.lock_state().shown.len()
    }

    pub(super) fn shown_at(&self, place: usize) -> Instant {
        self.lock_state().shown[place].shown_at
    }

    pub(super) fn count_request(&self) {
        self.lock_state().requests += 1;
    }

    pub(super) fn request_count(&self) -> usize {
        self.lock_state().requests
    }

    pub(super) fn prepare_fault(&self, trouble: TelegramFault) {
        self.lock_state().faults.push_back(trouble);
    }

    pub(super) fn pending_faults(&self) -> usize {
        self.lock_state().faults.len()
    }

    pub(super) fn next_fault(&self) -> Option<TelegramFault> {
        self.lock_state().faults.pop_front()
    }

    pub(super) fn token(&self) -> &'static str {
        self.lock_state().token
    }

    pub(super) fn replace_token(&self, token: &'static str) {
        let mut inside = self.lock_state();
        (inside.token, inside.revoked) = (token, false);
    }

    pub(super) fn revoke_token(&self) {
        self.lock_state().revoked = true;
    }

    pub(super) fn restore_token(&self) {
        self.lock_state().revoked = false;
    }

    pub(super) fn set_limits(&self, limits: RateLimits) {
        self.lock_state().flood = RateLimiter::new(limits);
    }

    pub(super) fn authorize(&self, token: &str) -> Result<(), ErrorResponse> {
        let inside = self.lock_state();
        if token == inside.token && !inside.revoked {
            return Ok(());
        }
        Err(ErrorResponse::new(StatusCode::UNAUTHORIZED, "Unauthorized"))
    }

    /// Chat with this id. An error if the bot may not send there.
    pub(super) fn find(&self, chat_id: &str) -> Result<i64, ErrorResponse> {
        if chat_id.is_empty() {
            return Err(ErrorResponse::bad_request("chat_id is empty"));
        }
        let known = chat_id.parse().ok().and_then(|id| {
            let chat = self.lock_state().chats.get(&id).copied()?;
            Some((id, chat))
        });
        match known {
            None => Err(ErrorResponse::bad_request("chat not found")),
            Some((_, Chat::Migrated(to))) => Err(ErrorResponse::migrated(to)),
            Some((id, _)) => Ok(id),
        }
    }

    /// Applies the fault to a message that is valid otherwise.
    pub(super) fn apply_fault(
        &self,
        chat: i64,
        trouble: Option<&TelegramFault>,
    ) -> Result<(), ErrorResponse> {
        let mut inside = self.lock_state();
        match trouble {
            Some(TelegramFault::TooManyRequests { retry_after }) => {
                inside.flood.close_chat(chat, *retry_after, Instant::now());
                Err(ErrorResponse::retry_after(*retry_after))
            }
            Some(TelegramFault::Blocked) => {
                let description = "Forbidden: bot was blocked by the user";
                Err(ErrorResponse::new(StatusCode::FORBIDDEN, description))
            }
            Some(TelegramFault::Kicked) => {
                let description = "Forbidden: bot was kicked from the group chat";
                Err(ErrorResponse::new(StatusCode::FORBIDDEN, description))
            }
            Some(TelegramFault::NoRights) => Err(ErrorResponse::bad_request(
                "not enough rights to send text messages to the chat",
            )),
            Some(TelegramFault::InvalidEntities) => Err(ErrorResponse::bad_request(
                "can't parse entities: unsupported start tag",
            )),
            Some(TelegramFault::ChatNotFound) => Err(ErrorResponse::bad_request("chat not found")),
            Some(TelegramFault::Migrated { to }) => {
                inside.chats.insert(chat, Chat::Migrated(*to));
                inside.chats.insert(*to, Chat::Supergroup);
                Err(ErrorResponse::migrated(*to))
            }
            _ => Ok(()),
        }
    }

    /// Adds the message to its chat and returns it as the API's `Message`. An error if a rate limit is exceeded.
    pub(super) fn show_message(
        &self,
        chat: i64,
        message: Formatted,
        buttons: Vec<Vec<Button>>,
        photo: Option<((u32, u32), Vec<u8>)>,
    ) -> Result<Value, ErrorResponse> {
        let mut inside = self.lock_state();
        let at = Instant::now();
        let kind = inside.chats[&chat];
        let is_group = !matches!(kind, Chat::Private);
        let admitted = inside.flood.admit(Recipient { chat, is_group }, at);
        admitted.map_err(ErrorResponse::retry_after)?;
        let place = inside.shown.len();
        let message_id = i64::try_from(place).unwrap() + 1;
        let keys = buttons.iter().flatten();
        let keys: Vec<_> = keys.map(|key| (place, key.data.clone())).collect();
        inside.buttons.extend(keys);
        let shown = ShownMessage {
            chat,
            message_id,
            text: message.text,
            entities: message.entities,
            buttons,
            photo: photo.as_ref().map(|(_, bytes)| bytes.clone()),
            size: photo.map(|(size, _)| size),
            shown_at: at,
        };
        let reply = message_json(&shown, kind);
        inside.shown.push(shown);
        Ok(reply)
    }

    /// Replaces the buttons below a message. Error texts: `check_message` and `on_message_edit` of the open server.
    pub(super) fn edit_buttons(
        &self,
        chat: i64,
        message_id: i64,
        buttons: Vec<Vec<Button>>,
    ) -> Result<Value, ErrorResponse> {
        let mut inside = self.lock_state();
        let kind = inside.chats[&chat];
        let mut all = inside.shown.iter_mut();
        let Some(shown) = all.find(|shown| shown.chat == chat && shown.message_id == message_id)
        else {
            return Err(ErrorResponse::bad_request("message to edit not found"));
        };
        if shown.buttons == buttons {
            return Err(ErrorResponse::bad_request(
                "message is not modified: specified new message content and reply markup are exactly the same \
                 as a current content and reply markup of the message",
            ));
        }
        shown.buttons = buttons;
        let mut reply = message_json(shown, kind);
        reply["edit_date"] = unix_now().into();
        Ok(reply)
    }

    /// Response to `getMe`. Takes no lock.
    #[expect(clippy::unused_self, reason = "a bot belongs to one Telegram")]
    pub(super) fn bot_info(&self) -> Value {
        let mut me = bot_json();
        for (name, can) in [
            ("can_join_groups", true),
            ("can_read_all_group_messages", false),
            ("supports_inline_queries", false),
            ("supports_guest_queries", false),
            ("can_connect_to_business", false),
            ("has_main_web_app", false),
            ("has_topics_enabled", false),
            ("allows_users_to_create_topics", false),
            ("can_manage_bots", false),
        ] {
            me[name] = can.into();
        }
        me
    }
}

fn bot_json() -> Value {
    json!({ "id": BOT, "is_bot": true, "first_name": "Bearish Alpha", "username": "bearish_alpha_bot" })
}

fn user_json(id: i64) -> Value {
    json!({ "id": id, "is_bot": false, "first_name": "Ursa", "username": "ursa_minor" })
}

fn unix_now() -> u64 {
    runtime::clock::now().0.unsigned_abs() / 1_000
}

fn message_json(message: &ShownMessage, kind: Chat) -> Value {
    let mut reply = json!({
        "message_id": message.message_id,
        "from": bot_json(),
        "chat": chat_json(message.chat, kind),
        "date": unix_now(),
    });
    let (text, entities) = match message.size {
        None => ("text", "entities"),
        Some((width, height)) => {
            reply["photo"] = json!([{
                "file_id": format!("photo-{}", message.message_id),
                "file_unique_id": format!("unique-{}", message.message_id),
                "width": width, "height": height,
                "file_size": message.photo.as_ref().map_or(0, Vec::len),
            }]);
            ("caption", "caption_entities")
        }
    };
    if !message.text.is_empty() {
        reply[text] = message.text.as_str().into();
    }
    if !message.entities.is_empty() {
        reply[entities] = message.entities.iter().map(Entity::to_json).collect();
    }
    if !message.buttons.is_empty() {
        reply["reply_markup"] = keyboard::to_json(&message.buttons);
    }
    reply
}

fn chat_json(id: i64, kind: Chat) -> Value {
    match kind {
        Chat::Private => json!({
            "id": id, "first_name": "Ursa", "username": "ursa_minor", "type": "private",
        }),
        Chat::Group => json!({
            "id": id, "title": "Bears", "type": "group", "all_members_are_administrators": true,
            "accepted_gift_types": {
                "unlimited_gifts": false, "limited_gifts": false, "unique_gifts": false,
                "premium_subscription": false, "gifts_from_channels": false,
            },
        }),
        Chat::Supergroup | Chat::Migrated(_) => json!({
            "id": id, "title": "Bears", "type": "supergroup",
        }),
    }
}
