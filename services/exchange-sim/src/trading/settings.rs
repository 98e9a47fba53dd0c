//! Settings of an account: leverage, margin mode, position mode, listen key.

use super::enums::MarginMode;
use super::error::ExchangeError;
use super::exchange_state::ExchangeState;
use super::leverage_brackets;
use super::record::{ListenKey, Record, SymbolConfig, UserNews};

/// Lifetime of a listen key after its last renewal, in milliseconds.
const LISTEN_KEY_LIFETIME_MS: i64 = 3_600_000;

impl ExchangeState {
    /// Changes the leverage of a contract.
    ///
    /// # Errors
    /// [`ExchangeError`] if the leverage is not allowed, or not with the current position.
    pub fn set_leverage(
        &mut self,
        account: &str,
        symbol: &str,
        leverage: u32,
        at_ms: i64,
    ) -> Result<(), ExchangeError> {
        let filters = self.filters(symbol)?;
        if !(1..=filters.max_leverage).contains(&leverage) {
            let message = format!("Leverage {leverage} is not valid");
            return Err(ExchangeError::new(-4028, message));
        }
        let state = self.account(account)?;
        let held = state.open_positions().filter(|p| p.symbol == symbol);
        let worth = held.map(|p| p.amount.abs() * p.entry_price).max();
        let before = state.symbol_config(symbol);
        if worth.is_some()
            && before.margin_mode == MarginMode::Isolated
            && leverage < before.leverage
        {
            return Err(ExchangeError::from_code(-4161));
        }
        if worth.is_some_and(|worth| {
            worth > leverage_brackets::max_notional(&filters.brackets(), leverage)
        }) {
            return Err(ExchangeError::from_code(-2027));
        }
        let settings = SymbolConfig { leverage, ..before };
        self.record(account, Record::SymbolConfig(symbol.to_owned(), settings));
        if leverage != before.leverage {
            let symbol = symbol.to_owned();
            self.notify(account, at_ms, UserNews::Leverage { symbol, leverage });
        }
        Ok(())
    }

    /// Changes the margin mode of a contract.
    ///
    /// # Errors
    /// [`ExchangeError`] if the mode is set already, or if orders or a position are open.
    pub fn set_margin_mode(
        &mut self,
        account: &str,
        symbol: &str,
        margin: MarginMode,
    ) -> Result<(), ExchangeError> {
        self.filters(symbol)?;
        let state = self.account(account)?;
        let before = state.symbol_config(symbol);
        if before.margin_mode == margin {
            return Err(ExchangeError::from_code(-4046));
        }
        if margin == MarginMode::Isolated && state.multi_assets {
            return Err(ExchangeError::from_code(-4168));
        }
        let waiting = state.waiting_algos.values().any(|a| a.symbol == symbol);
        if waiting || state.open_orders.values().any(|o| o.symbol == symbol) {
            return Err(ExchangeError::from_code(-4047));
        }
        if state.open_positions().any(|p| p.symbol == symbol) {
            return Err(ExchangeError::from_code(-4048));
        }
        let settings = SymbolConfig {
            margin_mode: margin,
            ..before
        };
        self.record(account, Record::SymbolConfig(symbol.to_owned(), settings));
        Ok(())
    }

    /// Changes between one-way and hedge mode.
    ///
    /// # Errors
    /// [`ExchangeError`] if the mode is set already, or if orders or positions are open.
    pub fn set_hedge_mode(&mut self, account: &str, dual: bool) -> Result<(), ExchangeError> {
        let state = self.account(account)?;
        if state.hedge_mode == dual {
            return Err(ExchangeError::from_code(-4059));
        }
        if !state.open_orders.is_empty() || !state.waiting_algos.is_empty() {
            return Err(ExchangeError::from_code(-4067));
        }
        if state.open_positions().next().is_some() {
            return Err(ExchangeError::from_code(-4068));
        }
        self.record(account, Record::HedgeMode(dual));
        Ok(())
    }

    /// Changes between single-asset and multi-assets mode.
    ///
    /// # Errors
    /// [`ExchangeError`] if the mode is set already, if orders are open, or if a contract has isolated margin.
    pub fn set_multi_assets(&mut self, account: &str, on: bool) -> Result<(), ExchangeError> {
        let state = self.account(account)?;
        if state.multi_assets == on {
            return Err(ExchangeError::from_code(-4171));
        }
        if !state.open_orders.is_empty() || !state.waiting_algos.is_empty() {
            return Err(ExchangeError::from_code(-4170));
        }
        let mut configs = state.symbol_configs.values();
        if on && configs.any(|config| config.margin_mode == MarginMode::Isolated) {
            return Err(ExchangeError::from_code(-4167));
        }
        self.record(account, Record::MultiAssets(on));
        Ok(())
    }

    /// Pays fees in BNB from now on, or in USDT.
    ///
    /// # Errors
    /// [`ExchangeError`] if there is no such account.
    pub fn set_fee_burn(&mut self, account: &str, on: bool) -> Result<(), ExchangeError> {
        self.account(account)?;
        self.record(account, Record::FeeAsset(on.then(|| "BNB".to_owned())));
        Ok(())
    }

    /// Returns and renews the listen key; `new_listen_key` if there is none.
    ///
    /// # Errors
    /// [`ExchangeError`] if there is no such account.
    pub fn open_listen_key(
        &mut self,
        account: &str,
        fresh: &str,
        at_ms: i64,
    ) -> Result<String, ExchangeError> {
        let listen = self.account(account)?.listen_key.as_ref();
        let key = listen.map_or(fresh, |l| &l.key).to_owned();
        let prolonged = ListenKey {
            key: key.clone(),
            expires_ms: at_ms + LISTEN_KEY_LIFETIME_MS,
        };
        self.record(account, Record::ListenKey(Some(prolonged)));
        Ok(key)
    }

    /// Renews the listen key.
    ///
    /// # Errors
    /// [`ExchangeError`] if there is no listen key.
    pub fn keep_listen_key_alive(
        &mut self,
        account: &str,
        at_ms: i64,
    ) -> Result<String, ExchangeError> {
        if self.account(account)?.listen_key.is_none() {
            return Err(ExchangeError::from_code(-1125));
        }
        self.open_listen_key(account, "", at_ms)
    }

    /// Ends the listen key; returns it, or `None` if there was none.
    ///
    /// # Errors
    /// [`ExchangeError`] if there is no such account.
    pub fn close_listen_key(&mut self, account: &str) -> Result<Option<String>, ExchangeError> {
        let key = self.account(account)?.listen_key.as_ref();
        let key = key.map(|l| l.key.clone());
        if key.is_some() {
            self.record(account, Record::ListenKey(None));
        }
        Ok(key)
    }

    /// Account of the user stream with this listen key.
    pub fn account_of_listen_key(&self, key: &str) -> Option<&str> {
        let has = |l: &ListenKey| l.key == key;
        let mut accounts = self.accounts.iter();
        let found = accounts.find(|(_, a)| a.listen_key.as_ref().is_some_and(has));
        found.map(|(name, _)| name.as_str())
    }

    /// Ends the expired listen keys.
    pub(super) fn expire_listen_keys(&mut self, now_ms: i64) {
        let over = |l: &&ListenKey| l.expires_ms <= now_ms;
        let listening = self.accounts.iter();
        let listening = listening.filter_map(|(name, a)| {
            let listen = a.listen_key.as_ref().filter(over)?;
            Some((name.clone(), listen.key.clone()))
        });
        for (name, key) in listening.collect::<Vec<_>>() {
            self.record(&name, Record::ListenKey(None));
            self.notify(&name, now_ms, UserNews::KeyExpired(key));
        }
    }
}
