//! Subscribers of the user streams, and the delivery of their events.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::trading::exchange_state::ExchangeState;
use crate::trading::record::{UserNews, UserNotice};
use crate::ws::hub::Subscriber;
use crate::ws::user_event;

/// Subscribers by listen key.
#[derive(Default)]
pub(crate) struct UserStreams {
    listeners: Mutex<BTreeMap<String, Vec<Arc<Subscriber>>>>,
}

impl UserStreams {
    /// Adds a subscriber; adding it twice changes nothing.
    pub(crate) fn join(&self, subscriber: &Arc<Subscriber>, key: &str) {
        let mut listeners = self.lock();
        let of_key = listeners.entry(key.to_owned()).or_default();
        if !of_key.iter().any(|s| Arc::ptr_eq(s, subscriber)) {
            of_key.push(Arc::clone(subscriber));
        }
    }

    /// Ends a subscriber's subscription of one key, or of all.
    pub(crate) fn leave(&self, subscriber: &Subscriber, key: Option<&str>) {
        let mut listeners = self.lock();
        for (of, all) in listeners.iter_mut() {
            if key.is_none_or(|key| key == of) {
                all.retain(|s| !std::ptr::eq(s.as_ref(), subscriber));
            }
        }
        listeners.retain(|_, all| !all.is_empty());
    }

    /// Sends the notices to the subscribers of their accounts, in order.
    pub(crate) fn publish(&self, state: &ExchangeState, notices: &[UserNotice]) {
        let mut listeners = self.lock();
        for notice in notices {
            let key = match &notice.news {
                UserNews::KeyExpired(key) => Some(key.clone()),
                _ => listen_key_of(state, &notice.account),
            };
            let Some(key) = key else { continue };
            let frame = user_event::frame(notice, &key);
            for subscriber in listeners.get(&key).into_iter().flatten() {
                subscriber.enqueue(&frame);
            }
            if matches!(notice.news, UserNews::KeyExpired(_)) {
                listeners.remove(&key);
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Vec<Arc<Subscriber>>>> {
        self.listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn listen_key_of(state: &ExchangeState, account: &str) -> Option<String> {
    let account = state.account(account).ok()?;
    account.listen_key.as_ref().map(|l| l.key.clone())
}
