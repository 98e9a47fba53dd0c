//! Messages and button presses for the bot, kept until the bot confirms them, and one poller at a time. Follows the
//! open server's `process_get_updates_query` and `do_get_updates`: a request with an offset deletes the updates before
//! it, and a second poller ends the first one's request with a 409.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use axum::http::StatusCode;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::answers::ErrorResponse;
use super::parameters::Parameters;

const MAX_UPDATES: usize = 100;
/// Longest time of a poll, as in the server's `LONG_POLL_MAX_TIMEOUT`.
const MAX_POLL_SECS: u64 = 50;
const FIRST_UPDATE_ID: i64 = 900_000_001;
const CONFLICT: &str = "Conflict: terminated by other getUpdates request; make sure that only one bot \
                        instance is running";

/// Updates that the bot has not confirmed.
pub(super) struct Updates {
    state: Mutex<UpdatesState>,
    changed: Notify,
}

struct UpdatesState {
    pending: VecDeque<(i64, Value)>,
    next: i64,
    poller: u64,
    /// Button presses by id, with the bot's answer. `None` while it is not answered.
    presses: BTreeMap<String, Option<String>>,
}

impl Updates {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::new(UpdatesState {
                pending: VecDeque::new(),
                next: FIRST_UPDATE_ID,
                poller: 0,
                presses: BTreeMap::new(),
            }),
            changed: Notify::new(),
        }
    }

    /// Adds an update of this kind. Returns its number.
    pub(super) fn push(&self, kind: &str, content: Value) -> i64 {
        let mut inside = self.state.lock().unwrap();
        let id = inside.next;
        inside.next += 1;
        let mut update = json!({ "update_id": id });
        update[kind] = content;
        inside.pending.push_back((id, update));
        drop(inside);
        self.changed.notify_waiters();
        id
    }

    /// Adds a button press that waits for an answer. Returns its id.
    pub(super) fn add_press(&self) -> String {
        let mut inside = self.state.lock().unwrap();
        let call = format!("press-{}", inside.presses.len());
        inside.presses.insert(call.clone(), None);
        call
    }

    /// Answers to button presses so far.
    pub(super) fn callback_answers(&self) -> Vec<String> {
        let inside = self.state.lock().unwrap();
        inside.presses.values().flatten().cloned().collect()
    }

    pub(super) fn pending_count(&self) -> usize {
        self.state.lock().unwrap().pending.len()
    }

    pub(super) async fn get_updates(&self, given: &Parameters) -> Result<Value, ErrorResponse> {
        let number = |name: &str| given.get(name).parse::<i64>().unwrap_or(0);
        let limit = usize::try_from(number("limit")).unwrap_or(0);
        let limit = if (1..=MAX_UPDATES).contains(&limit) {
            limit
        } else {
            MAX_UPDATES
        };
        let wait = u64::try_from(number("timeout")).unwrap_or(0);
        let until = Instant::now() + Duration::from_secs(wait.min(MAX_POLL_SECS));
        let own = self.begin_poll(number("offset"))?;
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(found) = self.take_pending(own, limit)? {
                return Ok(found);
            }
            if timeout_at(until, changed).await.is_err() {
                return Ok(json!([]));
            }
        }
    }

    /// Begins a poll. An earlier poll that still waits is answered with a conflict.
    fn begin_poll(&self, offset: i64) -> Result<u64, ErrorResponse> {
        if offset < 0 {
            return Err(ErrorResponse::unsupported("a negative offset"));
        }
        let mut inside = self.state.lock().unwrap();
        inside.pending.retain(|(id, _)| *id >= offset);
        inside.poller += 1;
        let own = inside.poller;
        drop(inside);
        self.changed.notify_waiters();
        Ok(own)
    }

    fn take_pending(&self, own: u64, limit: usize) -> Result<Option<Value>, ErrorResponse> {
        let inside = self.state.lock().unwrap();
        if inside.poller != own {
            return Err(ErrorResponse::new(StatusCode::CONFLICT, CONFLICT));
        }
        let found = inside.pending.iter().take(limit).map(|(_, update)| update);
        let found: Vec<&Value> = found.collect();
        Ok((!found.is_empty()).then(|| json!(found)))
    }

    /// `answerCallbackQuery`: accepts one answer per press. Telegram accepts it for a few seconds only ("query is too
    /// old"), the fake at any time.
    pub(super) fn answer_callback(&self, given: &Parameters) -> Result<Value, ErrorResponse> {
        let mut inside = self.state.lock().unwrap();
        let text = given.get("text");
        if text.chars().count() > 200 {
            return Err(ErrorResponse::bad_request("MESSAGE_TOO_LONG"));
        }
        match inside.presses.get_mut(given.get("callback_query_id")) {
            Some(answer @ None) => {
                *answer = Some(text.to_owned());
                Ok(Value::Bool(true))
            }
            _ => Err(ErrorResponse::bad_request(
                "query is too old and response timeout expired or query ID is invalid",
            )),
        }
    }
}
