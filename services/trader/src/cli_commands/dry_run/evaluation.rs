//! The dry run's checks of what a start would trade with: settings, strategies and circuit breakers are evaluated with
//! the bars of the exchange and the journals of the books, as a start would do it.

use std::collections::BTreeMap;
use std::time::Duration;

use ::exchange::{DataClient, ExchangeError};
use protocol::duration::format_duration;
use protocol::ids::{AccountKey, SubjectToken};
use protocol::time::UtcMs;
use runtime::bus::Bus;
use trader_core::bar_history::BarHistory;
use trader_core::book::{BookConfig, BookState};
use trader_core::candle::Interval;
use trader_core::circuit_breaker::Breaker;
use trader_core::entry::largest_quantity;
use trader_core::fixed_point::Qty;
use trader_core::market_state::{BAR, MarketState, WARM_UP_BARS};
use trader_core::protections::EntryLockKind;
use trader_core::symbol_filters::SymbolFilters;

use crate::account::command_journal::read_account_state;
use crate::app::checks::{Check, CheckResult, check, pass, warn, with_deadline};
use crate::books::book_journal::read_book_state;
use crate::settings::Settings;

/// Bars that show whether strategies and breakers can be evaluated: few, so that a start right after the dry run finds
/// enough request weight.
const BARS: usize = 499;
const HOURS: usize = 99;
/// Age of the newest candle above which the stale-data breaker trips.
const MAX_CANDLE_AGE: Duration = Duration::from_secs(190);

/// What the checks are made of.
pub(super) struct Evaluation<'a> {
    pub(super) client: &'a dyn DataClient,
    pub(super) settings: &'a Settings,
    pub(super) config: &'a BookConfig,
    /// The exchange's time and filters; `None` if it did not answer.
    pub(super) exchange: Option<(UtcMs, &'a BTreeMap<SubjectToken, SymbolFilters>)>,
    pub(super) account: Option<&'a AccountKey>,
    /// The bus; `None` if it did not answer.
    pub(super) bus: Option<&'a Bus>,
}

/// Findings of one row: what is wrong, each with its symbol.
#[derive(Default)]
struct Findings(Vec<String>);

impl Findings {
    fn add(&mut self, about: &str, finding: impl std::fmt::Display) {
        self.0.push(format!("{about}: {finding}"));
    }

    /// A check that passes with `all_good`, or warns with the findings.
    fn into_check(self, name: &'static str, all_good: String, advice: &str) -> Check {
        if self.0.is_empty() {
            pass(name, all_good)
        } else {
            warn(name, format!("{all_good}; {}", self.0.join("; ")), advice)
        }
    }
}

impl Evaluation<'_> {
    /// The rows `settings`, `strategies` and `breakers`.
    pub(super) async fn checks(&self) -> Vec<Check> {
        let Some((now, filters)) = self.exchange else {
            let missing = |name| {
                let finding = "not evaluated: the exchange does not answer";
                check(
                    CheckResult::Missing,
                    name,
                    finding,
                    "see the row of the exchange",
                )
            };
            return ["settings", "strategies", "breakers"].map(missing).to_vec();
        };
        let mut sizes = Findings::default();
        let mut signals = Findings::default();
        let mut breakers = Findings::default();
        for (symbol, filters) in filters {
            match with_deadline(self.warmed_up(symbol, now)).await {
                Ok(market) => {
                    self.check_size(&market, filters, &mut sizes);
                    self.check_strategies(symbol, &market, &mut signals);
                    check_volatility(symbol, &market, &mut breakers);
                }
                Err(error) => signals.add(symbol.as_str(), error),
            }
            self.check_candle_age(symbol, now, &mut breakers).await;
        }
        self.check_journals(&mut breakers).await;
        if let Some(failure) = self.client.feed_stats().exchange_failure() {
            breakers.add(Breaker::ExchangeErrors.as_str(), failure);
        }
        let names: Vec<&str> = self.config.strategies.iter().map(|s| s.as_str()).collect();
        let active = Breaker::ALL.map(Breaker::as_str).join(", ");
        vec![
            sizes.into_check(
                "settings",
                self.describe_settings(),
                "raise CAPITAL_USDT, or trade fewer SYMBOLS",
            ),
            signals.into_check(
                "strategies",
                names.join(", "),
                "a strategy does not signal before it has its bars: wait, or remove the symbol",
            ),
            breakers.into_check(
                "breakers",
                format!("active: {active}"),
                "a start goes through; the breaker limits what it trades",
            ),
        ]
    }

    fn describe_settings(&self) -> String {
        let account = self.account.map(ToString::to_string);
        format!(
            "{}, {} symbols, {} USDT each, leverage {}",
            account.unwrap_or_else(|| "account unknown".to_owned()),
            self.settings.symbols.len(),
            self.settings.slice(),
            self.config.leverage
        )
    }

    /// Whether the newest candle is as old as the stale-data breaker allows.
    async fn check_candle_age(&self, symbol: &SubjectToken, now: UtcMs, findings: &mut Findings) {
        let base = self.config.base;
        let newest = self.client.closed_candles(symbol, base, None, 2, now);
        match with_deadline(newest).await {
            Ok(candles) => {
                let newest = candles.last().map(|last| base.close_of(last.open_time));
                let age = newest.map(|close| now.since(close));
                if age.is_none_or(|age| age > MAX_CANDLE_AGE) {
                    let name = Breaker::StaleData.as_str();
                    let age = age.map_or_else(|| "ever".to_owned(), format_duration);
                    let finding = format!("{name} would trip: no closed candle for {age}");
                    findings.add(symbol.as_str(), finding);
                }
            }
            Err(error) => findings.add(symbol.as_str(), error),
        }
    }

    /// The market state of a symbol after a warm-up with few bars.
    async fn warmed_up(
        &self,
        symbol: &SubjectToken,
        now: UtcMs,
    ) -> Result<MarketState, ExchangeError> {
        let fetch = |interval, count| {
            self.client
                .closed_candles(symbol, interval, None, count, now)
        };
        let history = BarHistory {
            bars: fetch(BAR, BARS).await?,
            hours: fetch(Interval::H1, HOURS).await?,
            four_hours: fetch(Interval::H4, BARS).await?,
        };
        let invalid = |reason: String| ExchangeError::Rejected {
            what: "candles",
            reason,
        };
        let strategies = self.config.strategies.clone();
        let state = MarketState::new(self.config.base, strategies);
        let mut state = state.map_err(|error| invalid(error.to_string()))?;
        let warm = state.warm_up(&history);
        warm.map_err(|error| invalid(error.to_string()))?;
        Ok(state)
    }

    /// Whether the share of the capital buys the exchange's smallest quantity at the newest price.
    fn check_size(&self, market: &MarketState, filters: &SymbolFilters, findings: &mut Findings) {
        let Some(price) = market.last_close() else {
            return;
        };
        let slice = self.settings.slice();
        let largest = largest_quantity(price, slice, self.config.margin_rule(), filters);
        if largest.is_some_and(|quantity| quantity < filters.min_qty.max(filters.lot)) {
            let buys = largest.unwrap_or(Qty::ZERO);
            findings.add(
                filters.symbol.as_str(),
                format_args!(
                    "{slice} USDT buy {buys} at {price}, the smallest order is {}",
                    filters.min_qty
                ),
            );
        }
    }

    /// Whether every strategy has the bars that it needs.
    fn check_strategies(
        &self,
        symbol: &SubjectToken,
        market: &MarketState,
        findings: &mut Findings,
    ) {
        match market.strategy_inputs() {
            None => findings.add(
                symbol.as_str(),
                format_args!(
                    "no strategy can signal: fewer than {} bars of 30 minutes",
                    WARM_UP_BARS + 1
                ),
            ),
            Some(inputs) if inputs.regime.is_none() => {
                let adaptive = self.config.strategies.iter().filter(|s| s.is_adaptive());
                let adaptive: Vec<&str> = adaptive.map(|s| s.as_str()).collect();
                if !adaptive.is_empty() {
                    let names = adaptive.join(", ");
                    findings.add(
                        symbol.as_str(),
                        format_args!("{names} cannot signal: fewer than 200 bars of 4 hours"),
                    );
                }
            }
            Some(_) => {}
        }
    }

    /// The breakers that follow from the journals: a latch, a lock, an equity of which no share can be computed.
    async fn check_journals(&self, findings: &mut Findings) {
        let (Some(bus), Some(account)) = (self.bus, self.account) else {
            let unknown = "not evaluated: the bus or the account is unknown";
            return findings.add(
                "daily_loss, drawdown, position_loss, consecutive_losses",
                unknown,
            );
        };
        match read_account_state(bus, account).await {
            Ok(state) => {
                if let Some(latch) = state.latch {
                    findings.add(
                        latch.trigger.as_str(),
                        format_args!("tripped: {}", latch.latch_id),
                    );
                }
            }
            Err(error) => findings.add(
                "daily_loss, drawdown",
                format_args!("not evaluated: {error}"),
            ),
        }
        for symbol in &self.settings.symbols {
            match read_book_state(bus, &account.book(symbol.clone())).await {
                Ok(state) => {
                    check_book(symbol, &state, self.exchange.map(|(now, _)| now), findings);
                }
                Err(error) => {
                    findings.add(
                        symbol.as_str(),
                        format_args!("breakers not evaluated: {error}"),
                    );
                }
            }
        }
    }
}

fn check_volatility(symbol: &SubjectToken, market: &MarketState, findings: &mut Findings) {
    if market.is_volatility_breaker_tripped() {
        let finding = "volatility is tripped or has too few bars: sizes are halved";
        findings.add(symbol.as_str(), finding);
    }
}

fn check_book(
    symbol: &SubjectToken,
    state: &BookState,
    now: Option<UtcMs>,
    findings: &mut Findings,
) {
    let until = state.locks.get(&EntryLockKind::ConsecutiveLosses);
    if let (Some(until), Some(now)) = (until, now)
        && *until > now
    {
        findings.add(
            symbol.as_str(),
            format_args!("consecutive_losses is tripped until {until}"),
        );
    }
    for breaker in &state.tripped_breakers {
        if matches!(breaker, Breaker::StaleData | Breaker::ExchangeErrors) {
            let finding = format_args!("{breaker} was tripped when its trader ended").to_string();
            findings.add(symbol.as_str(), finding);
        }
    }
    let is_opened = !state.capital.is_zero();
    if is_opened && state.equity <= rust_decimal::Decimal::ZERO {
        let finding = "position_loss cannot be evaluated: the book has no equity";
        findings.add(symbol.as_str(), finding);
    }
}
