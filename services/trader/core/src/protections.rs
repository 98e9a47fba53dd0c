//! Protections, named as in freqtrade: rules that lock entries of a book after bad trades. The consecutive-losses breaker
//! works alike and is evaluated here too. Locks depend only on the book's newest trades.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use protocol::duration::parse_duration;
use protocol::time::UtcMs;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::book::ExitReason;
use crate::entry::SignalRejection;

/// Number of trades that a book remembers for its protections.
pub const MAX_REMEMBERED_TRADES: usize = 64;

/// Losses in a row at which the breaker trips, and the duration of its lock.
const CONSECUTIVE_LOSSES_LIMIT: u32 = 5;
const CONSECUTIVE_LOSSES_LOCK: MarketMinutes = MarketMinutes(60);

/// Kind of an entry lock: the protection or breaker that imposes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum EntryLockKind {
    /// Circuit breaker: five losses in a row.
    ConsecutiveLosses,
    /// Protection: locks after every trade.
    CooldownPeriod,
    /// Protection: too many stops within a time.
    StoplossGuard,
    /// Protection: too large a drawdown of the book's equity within a time.
    MaxDrawdown,
    /// Protection: too little profit within a time.
    LowProfitPairs,
}

impl EntryLockKind {
    /// Name in settings, records and notifications.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConsecutiveLosses => "ConsecutiveLosses",
            Self::CooldownPeriod => "CooldownPeriod",
            Self::StoplossGuard => "StoplossGuard",
            Self::MaxDrawdown => "MaxDrawdown",
            Self::LowProfitPairs => "LowProfitPairs",
        }
    }

    /// The reason with which a signal is rejected during this lock.
    pub const fn rejection(self) -> SignalRejection {
        match self {
            Self::ConsecutiveLosses => SignalRejection::ConsecutiveLosses,
            Self::CooldownPeriod => SignalRejection::CooldownPeriod,
            Self::StoplossGuard => SignalRejection::StoplossGuard,
            Self::MaxDrawdown => SignalRejection::MaxDrawdown,
            Self::LowProfitPairs => SignalRejection::LowProfitPairs,
        }
    }
}

impl fmt::Display for EntryLockKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The fields of a closed trade that protections use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosedTradeView {
    /// Open time of the candle in which the position was closed.
    pub at: UtcMs,
    /// Reason for which the position was closed.
    pub reason: ExitReason,
    /// Profit after fees and funding, in the quote currency.
    pub pnl: Decimal,
    /// Equity of the book after the trade, in the quote currency.
    pub equity: Decimal,
}

/// A duration of market time in whole minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MarketMinutes(u32);

impl MarketMinutes {
    const fn millis(self) -> i64 {
        self.0 as i64 * 60_000
    }
}

/// The active protections with their limits. The text form is that of the setting `PROTECTIONS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Protections {
    cooldown: Option<MarketMinutes>,
    stoploss_guard: Option<ProtectionRule>,
    max_drawdown: Option<(ProtectionRule, Decimal)>,
    low_profit: Option<(ProtectionRule, Decimal)>,
}

/// Applies from `trades` trades within `lookback`, and locks entries for `stop_duration`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ProtectionRule {
    trades: u32,
    lookback: MarketMinutes,
    stop_duration: MarketMinutes,
}

impl Default for Protections {
    /// Half an hour after each trade; 4 hours after 4 stops in a day; 12 hours after a drawdown of more than 10 % in two
    /// days; 6 hours after 3 trades in a day that lost more than 1 % together.
    fn default() -> Self {
        let rule = |trades, lookback: u32, stop: u32| ProtectionRule {
            trades,
            lookback: MarketMinutes(lookback * 60),
            stop_duration: MarketMinutes(stop * 60),
        };
        Self {
            cooldown: Some(MarketMinutes(30)),
            stoploss_guard: Some(rule(4, 24, 4)),
            max_drawdown: Some((rule(4, 48, 12), Decimal::from(10))),
            low_profit: Some((rule(3, 24, 6), Decimal::NEGATIVE_ONE)),
        }
    }
}

/// An entry lock that a trade causes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryLock {
    /// Kind of the lock.
    pub lock: EntryLockKind,
    /// Market time at which the lock ends.
    pub until: UtcMs,
    /// Reason as text for the operator.
    pub reason: String,
}

impl Protections {
    /// No protections. Circuit breakers stay active.
    pub const NONE: Self = Self {
        cooldown: None,
        stoploss_guard: None,
        max_drawdown: None,
        low_profit: None,
    };

    /// The locks that the newest of these trades causes. `trades` are ordered oldest first; `losses` is the number of losses
    /// in a row.
    pub fn locks_after(&self, trades: &VecDeque<ClosedTradeView>, losses: u32) -> Vec<EntryLock> {
        let Some(newest) = trades.back() else {
            return Vec::new();
        };
        let lock = |lock, stop: MarketMinutes, reason: String| EntryLock {
            lock,
            until: UtcMs(newest.at.0.saturating_add(stop.millis())),
            reason,
        };
        let mut locks = Vec::new();
        if losses >= CONSECUTIVE_LOSSES_LIMIT {
            let reason = format!("{losses} losses in a row");
            locks.push(lock(
                EntryLockKind::ConsecutiveLosses,
                CONSECUTIVE_LOSSES_LOCK,
                reason,
            ));
        }
        if let Some(stop) = self.cooldown {
            locks.push(lock(
                EntryLockKind::CooldownPeriod,
                stop,
                "after a trade".to_owned(),
            ));
        }
        if let Some(rule) = self.stoploss_guard {
            let stops = rule
                .within(trades)
                .filter(|t| t.reason == ExitReason::Stop)
                .count();
            if rule.is_met_by(stops) {
                let reason = format!("{stops} stops within {}", rule.lookback);
                locks.push(lock(
                    EntryLockKind::StoplossGuard,
                    rule.stop_duration,
                    reason,
                ));
            }
        }
        if let Some((rule, most)) = self.max_drawdown {
            let fall = percent(deepest_drawdown(rule.within(trades)));
            if rule.is_met_by(rule.within(trades).count()) && fall > most {
                let reason = format!("equity fell by {fall:.2} % within {}", rule.lookback);
                locks.push(lock(EntryLockKind::MaxDrawdown, rule.stop_duration, reason));
            }
        }
        if let Some((rule, least)) = self.low_profit {
            let profit = percent(profit_share(rule.within(trades)));
            if rule.is_met_by(rule.within(trades).count()) && profit < least {
                let reason = format!("profit of {profit:.2} % within {}", rule.lookback);
                locks.push(lock(
                    EntryLockKind::LowProfitPairs,
                    rule.stop_duration,
                    reason,
                ));
            }
        }
        locks
    }
}

impl ProtectionRule {
    fn is_met_by(self, trades: usize) -> bool {
        trades >= self.trades as usize
    }

    /// The trades that closed within the lookback before the newest one, itself included.
    fn within(self, trades: &VecDeque<ClosedTradeView>) -> impl Iterator<Item = &ClosedTradeView> {
        let newest = trades.back().map_or(0, |t| t.at.0);
        let since = newest.saturating_sub(self.lookback.millis());
        trades.iter().filter(move |t| t.at.0 > since)
    }
}

/// Largest fall of the equity from a peak within these trades, as a share of the peak.
fn deepest_drawdown<'a>(trades: impl Iterator<Item = &'a ClosedTradeView>) -> Decimal {
    let (mut peak, mut deepest) = (Decimal::ZERO, Decimal::ZERO);
    for trade in trades {
        peak = peak
            .max(trade.equity.saturating_sub(trade.pnl))
            .max(trade.equity);
        let fall = peak.saturating_sub(trade.equity).checked_div(peak);
        deepest = deepest.max(fall.unwrap_or_default());
    }
    deepest
}

/// Total profit of these trades, as a share of the equity before the first one.
fn profit_share<'a>(trades: impl Iterator<Item = &'a ClosedTradeView>) -> Decimal {
    let mut before = None;
    let mut profit = Decimal::ZERO;
    for trade in trades {
        before.get_or_insert(trade.equity.saturating_sub(trade.pnl));
        profit = profit.saturating_add(trade.pnl);
    }
    let share = before.and_then(|before| profit.checked_div(before));
    share.unwrap_or_default()
}

fn percent(share: Decimal) -> Decimal {
    share.saturating_mul(Decimal::ONE_HUNDRED)
}

/// A text that is not a valid list of [`Protections`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?}: expected none, or a list of CooldownPeriod:STOP, \
     StoplossGuard:TRADES/LOOKBACK/STOP, MaxDrawdown:TRADES/LOOKBACK/PERCENT%/STOP, \
     LowProfitPairs:TRADES/LOOKBACK/PERCENT%/STOP, each at most once, with times like 30m or 4h up \
     to 720h and 1 to {MAX_REMEMBERED_TRADES} trades"
)]
pub struct InvalidProtections(String);

impl FromStr for Protections {
    type Err = InvalidProtections;

    fn from_str(text: &str) -> Result<Self, InvalidProtections> {
        let mut all = Self::NONE;
        if text == "none" {
            return Ok(all);
        }
        for item in text.split(',') {
            all.add(item.trim())
                .ok_or_else(|| InvalidProtections(item.to_owned()))?;
        }
        Ok(all)
    }
}

impl Protections {
    fn add(&mut self, item: &str) -> Option<()> {
        let (name, numbers) = item.split_once(':')?;
        let numbers: Vec<&str> = numbers.split('/').collect();
        let once = match (name, numbers[..].as_ref()) {
            ("CooldownPeriod", [stop]) => self.cooldown.replace(stop.parse().ok()?).is_none(),
            ("StoplossGuard", [trades, lookback, stop]) => {
                let rule = ProtectionRule::parse(trades, lookback, stop)?;
                self.stoploss_guard.replace(rule).is_none()
            }
            ("MaxDrawdown", [trades, lookback, share, stop]) => {
                let rule = ProtectionRule::parse(trades, lookback, stop)?;
                self.max_drawdown
                    .replace((rule, parse_percent(share)?))
                    .is_none()
            }
            ("LowProfitPairs", [trades, lookback, share, stop]) => {
                let rule = ProtectionRule::parse(trades, lookback, stop)?;
                self.low_profit
                    .replace((rule, parse_percent(share)?))
                    .is_none()
            }
            _ => return None,
        };
        once.then_some(())
    }
}

impl ProtectionRule {
    fn parse(trades: &str, lookback: &str, stop: &str) -> Option<Self> {
        let trades: u32 = trades.parse().ok()?;
        (1..=MAX_REMEMBERED_TRADES)
            .contains(&(trades as usize))
            .then_some(())?;
        Some(Self {
            trades,
            lookback: lookback.parse().ok()?,
            stop_duration: stop.parse().ok()?,
        })
    }
}

fn parse_percent(text: &str) -> Option<Decimal> {
    let value = Decimal::from_str_exact(text.strip_suffix('%')?).ok()?;
    (value.abs() <= Decimal::ONE_HUNDRED).then_some(value)
}

impl FromStr for MarketMinutes {
    type Err = ();

    /// Parses whole minutes, up to 30 days.
    fn from_str(text: &str) -> Result<Self, ()> {
        let range = Duration::from_mins(1)..=Duration::from_hours(30 * 24);
        let length = parse_duration(text, range).map_err(|_| ())?;
        let minutes = u32::try_from(length.as_secs() / 60).map_err(|_| ())?;
        (length == Duration::from_mins(u64::from(minutes)))
            .then_some(Self(minutes))
            .ok_or(())
    }
}

impl fmt::Display for MarketMinutes {
    /// The form of the settings, with all its digits: `90m`, `48h`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_multiple_of(60) {
            write!(f, "{}h", self.0 / 60)
        } else {
            write!(f, "{}m", self.0)
        }
    }
}

impl fmt::Display for Protections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut items = Vec::new();
        if let Some(stop) = self.cooldown {
            items.push(format!("CooldownPeriod:{stop}"));
        }
        if let Some(rule) = self.stoploss_guard {
            items.push(format!(
                "StoplossGuard:{}/{}/{}",
                rule.trades, rule.lookback, rule.stop_duration
            ));
        }
        for (name, rule) in [
            ("MaxDrawdown", self.max_drawdown),
            ("LowProfitPairs", self.low_profit),
        ] {
            if let Some((rule, share)) = rule {
                let ProtectionRule {
                    trades,
                    lookback,
                    stop_duration: stop,
                } = rule;
                items.push(format!("{name}:{trades}/{lookback}/{share}%/{stop}"));
            }
        }
        if items.is_empty() {
            return f.write_str("none");
        }
        f.write_str(&items.join(","))
    }
}

impl TryFrom<String> for Protections {
    type Error = InvalidProtections;

    fn try_from(text: String) -> Result<Self, InvalidProtections> {
        text.parse()
    }
}

impl From<Protections> for String {
    fn from(protections: Protections) -> Self {
        protections.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    /// Trades `(hour, stopped, pnl)` from an equity of 1,000.
    fn trades(list: &[(i64, bool, i64)]) -> VecDeque<ClosedTradeView> {
        let mut equity = Decimal::from(1_000);
        let outcome = |&(hour, stopped, pnl): &(i64, bool, i64)| {
            let pnl = Decimal::from(pnl);
            equity += pnl;
            ClosedTradeView {
                at: UtcMs(hour * HOUR),
                reason: if stopped {
                    ExitReason::Stop
                } else {
                    ExitReason::Target
                },
                pnl,
                equity,
            }
        };
        list.iter().map(outcome).collect()
    }

    fn locks(text: &str, list: &[(i64, bool, i64)], losses: u32) -> Vec<(EntryLockKind, i64)> {
        let protections: Protections = text.parse().unwrap();
        let locked = protections.locks_after(&trades(list), losses);
        locked
            .into_iter()
            .map(|l| (l.lock, l.until.0 / HOUR))
            .collect()
    }

    #[test]
    fn each_protection_locks_at_its_limit_and_not_before() {
        use EntryLockKind::*;
        let guard = "StoplossGuard:2/10h/4h";
        assert_eq!(
            locks(guard, &[(1, true, -1), (11, true, -1)], 0),
            [],
            "10 h apart"
        );
        assert_eq!(
            locks(guard, &[(2, true, -1), (11, true, -1)], 0),
            [(StoplossGuard, 15)]
        );
        assert_eq!(
            locks(guard, &[(2, false, -1), (11, true, -1)], 0),
            [],
            "one stop"
        );
        let fall = "MaxDrawdown:2/10h/10%/3h";
        assert_eq!(
            locks(fall, &[(1, true, -50), (2, true, -50)], 0),
            [],
            "just 10 %"
        );
        assert_eq!(
            locks(fall, &[(1, true, -50), (2, true, -51)], 0),
            [(MaxDrawdown, 5)]
        );
        assert_eq!(locks(fall, &[(2, true, -101)], 0), [], "one trade");
        let low = "LowProfitPairs:2/10h/-1%/6h";
        assert_eq!(
            locks(low, &[(1, true, -15), (2, false, 5)], 0),
            [],
            "just -1 %"
        );
        assert_eq!(
            locks(low, &[(1, true, -15), (2, false, 4)], 0),
            [(LowProfitPairs, 8)]
        );
        assert_eq!(
            locks("CooldownPeriod:2h", &[(1, false, 4)], 0),
            [(CooldownPeriod, 3)]
        );
    }

    #[test]
    fn consecutive_losses_breaker_is_armed_without_any_protection() {
        let last = [(7, true, -1)];
        assert_eq!(locks("none", &last, 4), []);
        assert_eq!(
            locks("none", &last, 5),
            [(EntryLockKind::ConsecutiveLosses, 8)]
        );
    }

    #[test]
    fn protections_text_round_trips_and_invalid_text_is_named() {
        for text in [
            Protections::default().to_string(),
            "none".to_owned(),
            "CooldownPeriod:90m".to_owned(),
        ] {
            let read: Protections = text.parse().unwrap();
            assert_eq!(read.to_string(), text);
        }
        for bad in [
            "",
            "Cooldown:30m",
            "CooldownPeriod:0m",
            "CooldownPeriod:721h",
            "CooldownPeriod:é",
            "StoplossGuard:0/1h/1h",
            "StoplossGuard:65/1h/1h",
            "MaxDrawdown:4/48h/10/12h",
            "MaxDrawdown:4/48h/101%/12h",
            "CooldownPeriod:30m,CooldownPeriod:30m",
        ] {
            let refused = bad.parse::<Protections>().unwrap_err().to_string();
            assert!(refused.contains("expected none"), "{refused}");
        }
    }
}
