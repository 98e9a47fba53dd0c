//! Who listens to which user stream, and what they are told. Not here: sockets (`ws/`) and what events
//! look like (`ws/user_event.rs`).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::trading::record::{News, Notice};
use crate::trading::venue::Venue;
use crate::ws::hub::Subscriber;
use crate::ws::user_event;

/// Listeners by their stream's key.
#[derive(Default)]
pub(crate) struct Users {
    listeners: Mutex<BTreeMap<String, Vec<Arc<Subscriber>>>>,
}

impl Users {
    /// Adds a listener. Joining twice changes nothing.
    pub(crate) fn join(&self, subscriber: &Arc<Subscriber>, key: &str) {
        let mut listeners = self.lock();
        let of_key = listeners.entry(key.to_owned()).or_default();
        if !of_key.iter().any(|s| Arc::ptr_eq(s, subscriber)) {
            of_key.push(Arc::clone(subscriber));
        }
    }

    /// Ends what a listener hears of one key, or of all.
    pub(crate) fn leave(&self, subscriber: &Subscriber, key: Option<&str>) {
        let mut listeners = self.lock();
        for (of, all) in listeners.iter_mut() {
            if key.is_none_or(|key| key == of) {
                all.retain(|s| !std::ptr::eq(s.as_ref(), subscriber));
            }
        }
        listeners.retain(|_, all| !all.is_empty());
    }

    /// Tells the notices to whom they concern, in their order.
    pub(crate) fn tell(&self, venue: &Venue, notices: &[Notice]) {
        let mut listeners = self.lock();
        for notice in notices {
            let key = match &notice.news {
                News::KeyExpired(key) => Some(key.clone()),
                _ => key_of(venue, &notice.account),
            };
            let Some(key) = key else { continue };
            let frame = user_event::frame(notice, &key);
            for subscriber in listeners.get(&key).into_iter().flatten() {
                subscriber.offer(&frame);
            }
            if matches!(notice.news, News::KeyExpired(_)) {
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

fn key_of(venue: &Venue, account: &str) -> Option<String> {
    let account = venue.account(account).ok()?;
    account.listen.as_ref().map(|l| l.key.clone())
}
