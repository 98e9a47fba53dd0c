//! What an account may change about itself: leverage, margin mode, position mode, its user stream's
//! key. Not here: orders.

use super::bracket::{self, BRACKETS};
use super::record::{ListenKey, News, Record, Settings};
use super::refusal::Refusal;
use super::terms::Margin;
use super::venue::Venue;

/// How long a user stream's key lives after it was last heard of.
const KEY_LIVES_MS: i64 = 3_600_000;

impl Venue {
    /// Changes a contract's leverage.
    ///
    /// # Errors
    /// If it is not allowed, or not now.
    pub fn set_leverage(
        &mut self,
        account: &str,
        symbol: &str,
        leverage: u32,
        at_ms: i64,
    ) -> Result<(), Refusal> {
        self.rules(symbol)?;
        let [first, ..] = BRACKETS;
        if !(1..=first.leverage).contains(&leverage) {
            let words = format!("Leverage {leverage} is not valid");
            return Err(Refusal::new(-4028, words));
        }
        let state = self.account(account)?;
        let held = state.held().filter(|p| p.symbol == symbol);
        let worth = held.map(|p| p.amount.abs() * p.entry).max();
        let before = state.settings(symbol);
        if worth.is_some() && before.margin == Margin::Isolated && leverage < before.leverage {
            return Err(Refusal::of(-4161));
        }
        if worth.is_some_and(|worth| worth > bracket::most(leverage)) {
            return Err(Refusal::of(-2027));
        }
        let settings = Settings { leverage, ..before };
        self.keep(account, Record::Settings(symbol.to_owned(), settings));
        if leverage != before.leverage {
            let symbol = symbol.to_owned();
            self.tell(account, at_ms, News::Leverage { symbol, leverage });
        }
        Ok(())
    }

    /// Changes a contract's margin mode.
    ///
    /// # Errors
    /// If it is that already, or orders or a position are open.
    pub fn set_margin(
        &mut self,
        account: &str,
        symbol: &str,
        margin: Margin,
    ) -> Result<(), Refusal> {
        self.rules(symbol)?;
        let state = self.account(account)?;
        let before = state.settings(symbol);
        if before.margin == margin {
            return Err(Refusal::of(-4046));
        }
        let waiting = state.waiting.values().any(|a| a.symbol == symbol);
        if waiting || state.open.values().any(|o| o.symbol == symbol) {
            return Err(Refusal::of(-4047));
        }
        if state.held().any(|p| p.symbol == symbol) {
            return Err(Refusal::of(-4048));
        }
        let settings = Settings { margin, ..before };
        self.keep(account, Record::Settings(symbol.to_owned(), settings));
        Ok(())
    }

    /// Changes between one-way and hedge mode.
    ///
    /// # Errors
    /// If it is that already, or orders or positions are open.
    pub fn set_dual(&mut self, account: &str, dual: bool) -> Result<(), Refusal> {
        let state = self.account(account)?;
        if state.dual == dual {
            return Err(Refusal::of(-4059));
        }
        if !state.open.is_empty() || !state.waiting.is_empty() {
            return Err(Refusal::of(-4067));
        }
        if state.held().next().is_some() {
            return Err(Refusal::of(-4068));
        }
        self.keep(account, Record::Dual(dual));
        Ok(())
    }

    /// Gives the user stream's key, `fresh` if there is none, and prolongs it.
    ///
    /// # Errors
    /// If there is no such account.
    pub fn listen(&mut self, account: &str, fresh: &str, at_ms: i64) -> Result<String, Refusal> {
        let listen = self.account(account)?.listen.as_ref();
        let key = listen.map_or(fresh, |l| &l.key).to_owned();
        let prolonged = ListenKey {
            key: key.clone(),
            ends_ms: at_ms + KEY_LIVES_MS,
        };
        self.keep(account, Record::Listen(Some(prolonged)));
        Ok(key)
    }

    /// Prolongs the user stream's key.
    ///
    /// # Errors
    /// If there is none.
    pub fn keep_listening(&mut self, account: &str, at_ms: i64) -> Result<String, Refusal> {
        if self.account(account)?.listen.is_none() {
            return Err(Refusal::of(-1125));
        }
        self.listen(account, "", at_ms)
    }

    /// Ends the user stream's key; the key, if there was one.
    ///
    /// # Errors
    /// If there is no such account.
    pub fn stop_listening(&mut self, account: &str) -> Result<Option<String>, Refusal> {
        let key = self.account(account)?.listen.as_ref();
        let key = key.map(|l| l.key.clone());
        if key.is_some() {
            self.keep(account, Record::Listen(None));
        }
        Ok(key)
    }

    /// Whose user stream has this key.
    pub fn listener(&self, key: &str) -> Option<&str> {
        let has = |l: &ListenKey| l.key == key;
        let mut accounts = self.accounts.iter();
        let found = accounts.find(|(_, a)| a.listen.as_ref().is_some_and(has));
        found.map(|(name, _)| name.as_str())
    }

    /// Ends the keys whose time is over.
    pub(super) fn expire_keys(&mut self, now_ms: i64) {
        let over = |l: &&ListenKey| l.ends_ms <= now_ms;
        let listening = self.accounts.iter();
        let listening = listening.filter_map(|(name, a)| {
            let listen = a.listen.as_ref().filter(over)?;
            Some((name.clone(), listen.key.clone()))
        });
        for (name, key) in listening.collect::<Vec<_>>() {
            self.keep(&name, Record::Listen(None));
            self.tell(&name, now_ms, News::KeyExpired(key));
        }
    }
}
