//! Sizes a signal: quantity, stop and target, or the reason for which the signal is rejected. Entry point:
//! [`bracket`].

use std::fmt;

use protocol::event::PositionSide;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::fixed_point::{Price, Qty, notional};
use crate::strategy::{Signal, TargetRule};
use crate::symbol_filters::SymbolFilters;

/// Largest loss of an entry at its stop, as a share of the book's equity: 2 %.
pub const RISK_PER_ENTRY: Decimal = Decimal::from_parts(2, 0, 0, false, 2);

/// Maintenance margin as a share of a position's value. Binance's lower tiers require less.
const MAINTENANCE_MARGIN: Decimal = Decimal::from_parts(25, 0, 0, false, 3);

/// Distance between the best price and the price at which the exchange assumes that a market order fills: 0.05 %.
/// Source: Binance, "How to Calculate Cost Required to Open a Position in Perpetual Futures Contracts".
const ASSUMED_DISTANCE: Decimal = Decimal::from_parts(5, 0, 0, false, 4);

/// Reason for which a signal did not become an entry. Journaled, and counted per book.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignalRejection {
    /// The book has a position or a pending entry.
    PositionOpen,
    /// The bar closed more than one base interval before the decision.
    StaleSignal,
    /// An account breaker or the operator has latched the account.
    AccountLatched,
    /// The account report is missing or too old.
    AccountUnknown,
    /// The operator has paused entries.
    EntriesPaused,
    /// The exchange's balance differed from what the books explain.
    BalanceDiffers,
    /// The exchange does not trade the symbol now, or does not list it, or its filters cannot be read.
    SymbolNotTradable,
    /// The symbol was removed from the settings.
    SymbolRemoved,
    /// Leverage, margin type, position mode, margin assets or the asset of the fees on the exchange were not those by which
    /// risk is computed.
    OtherSettings,
    /// The exchange held a position in the symbol that the book had not opened.
    ExternalPosition,
    /// The exchange-errors breaker has tripped: too many calls failed.
    ExchangeErrors,
    /// The stale-data breaker has tripped.
    StaleData,
    /// The consecutive-losses breaker has tripped.
    ConsecutiveLosses,
    /// The protection `CooldownPeriod` has locked entries.
    CooldownPeriod,
    /// The protection `StoplossGuard` has locked entries.
    StoplossGuard,
    /// The protection `MaxDrawdown` has locked entries.
    MaxDrawdown,
    /// The protection `LowProfitPairs` has locked entries.
    LowProfitPairs,
    /// The stop is not on the losing side of the reference price.
    NoStopDistance,
    /// The position would be liquidated before the price reaches its stop.
    StopBeyondLiquidation,
    /// The reward at the target is below what the strategy requires for the risk at the stop.
    RewardBelowRisk,
    /// The quantity is below the exchange's minimum.
    BelowMinQty,
    /// The quantity is above the exchange's maximum.
    AboveMaxQty,
    /// The value of the order is below the exchange's minimum.
    BelowMinNotional,
}

impl SignalRejection {
    /// Code in records, reports and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PositionOpen => "position_open",
            Self::StaleSignal => "stale_signal",
            Self::AccountLatched => "account_latched",
            Self::AccountUnknown => "account_unknown",
            Self::EntriesPaused => "entries_paused",
            Self::BalanceDiffers => "balance_differs",
            Self::SymbolNotTradable => "symbol_not_tradable",
            Self::SymbolRemoved => "symbol_removed",
            Self::OtherSettings => "other_settings",
            Self::ExternalPosition => "external_position",
            Self::ExchangeErrors => "exchange_errors",
            Self::StaleData => "stale_data",
            Self::ConsecutiveLosses => "consecutive_losses",
            Self::CooldownPeriod => "cooldown_period",
            Self::StoplossGuard => "stoploss_guard",
            Self::MaxDrawdown => "max_drawdown",
            Self::LowProfitPairs => "low_profit_pairs",
            Self::NoStopDistance => "no_stop_distance",
            Self::StopBeyondLiquidation => "stop_beyond_liquidation",
            Self::RewardBelowRisk => "reward_below_risk",
            Self::BelowMinQty => "below_min_qty",
            Self::AboveMaxQty => "above_max_qty",
            Self::BelowMinNotional => "below_min_notional",
        }
    }

    /// The reason as a sentence for people.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::PositionOpen => "the book already had a position or a pending entry",
            Self::StaleSignal => "the signal was older than one candle when it arrived",
            Self::AccountLatched => "the account was latched",
            Self::AccountUnknown => "the account report was missing or older than one minute",
            Self::EntriesPaused => "the operator had paused entries",
            Self::BalanceDiffers => {
                "the balance on the exchange differed from what the books explain"
            }
            Self::SymbolNotTradable => "the exchange did not trade the symbol",
            Self::SymbolRemoved => "the symbol was removed from SYMBOLS",
            Self::OtherSettings => {
                "settings on the exchange were not those by which risk is computed"
            }
            Self::ExternalPosition => {
                "a position that this program did not open was held in the symbol"
            }
            Self::ExchangeErrors => "too many calls to the exchange had failed",
            Self::StaleData => "the candles of the symbol were stale",
            Self::ConsecutiveLosses => "entries were locked after five losses in a row",
            Self::CooldownPeriod => "the last trade was too recent (CooldownPeriod)",
            Self::StoplossGuard => "entries were locked after too many stop-losses (StoplossGuard)",
            Self::MaxDrawdown => {
                "entries were locked after a large drawdown of the book (MaxDrawdown)"
            }
            Self::LowProfitPairs => {
                "entries were locked after trades with too little profit (LowProfitPairs)"
            }
            Self::NoStopDistance => "the stop was not on the losing side of the price",
            Self::StopBeyondLiquidation => {
                "the position would have been liquidated before its stop"
            }
            Self::RewardBelowRisk => {
                "the reward at the target was too small for the risk at the stop"
            }
            Self::BelowMinQty => "the quantity was below the minimum of the exchange",
            Self::AboveMaxQty => "the quantity was above the maximum of the exchange",
            Self::BelowMinNotional => {
                "the value of the order was below the minimum of the exchange"
            }
        }
    }
}

impl fmt::Display for SignalRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Quantity and prices of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bracket {
    /// Quantity in base units, a multiple of the lot.
    pub quantity: Qty,
    /// Stop price in the quote currency, on the tick grid.
    pub stop: Price,
    /// Target price in the quote currency, on the tick grid.
    pub target: Price,
}

/// Sizes a signal against the book's equity, and checks every numeric gate.
///
/// Both prices are rounded so that the trade is never better than its formula: the stop away from the reference price,
/// the target towards it.
///
/// # Errors
/// The [`SignalRejection`] of the first gate that fails.
pub fn bracket(
    signal: &Signal,
    equity: Decimal,
    margin: MarginRule,
    filters: &SymbolFilters,
) -> Result<Bracket, SignalRejection> {
    let stop = stop_price(signal, filters.tick).ok_or(SignalRejection::NoStopDistance)?;
    let target = target_price(signal, filters.tick).ok_or(SignalRejection::RewardBelowRisk)?;
    check_reward(signal, stop, target)?;
    check_liquidation(signal.reference_price, stop, margin.leverage)?;
    let halved = equity / Decimal::from(1_u32 << signal.halvings.min(8));
    let quantity = quantity(signal.reference_price, stop, halved, margin, filters)?;
    Ok(Bracket {
        quantity,
        stop,
        target,
    })
}

/// Parts of one unit in which distances are exact: basis points of a price, and tenths of ATR14.
const PARTS: i128 = 10_000;

fn stop_price(signal: &Signal, tick: Price) -> Option<Price> {
    let distances = signal.strategy.distances();
    let by_atr = atr_distance(signal, distances.stop_tenths);
    let distance = match distances.max_stop_bp {
        Some(bp) => by_atr.min(percent_distance(signal, bp)),
        None => by_atr,
    };
    let stop = match signal.side {
        PositionSide::Long => level_at_or_below(signal, -distance, tick)?,
        PositionSide::Short => level_at_or_above(signal, distance, tick)?,
    };
    let on_its_side = match signal.side {
        PositionSide::Long => stop < signal.reference_price && stop > Price::ZERO,
        PositionSide::Short => stop > signal.reference_price,
    };
    on_its_side.then_some(stop)
}

fn target_price(signal: &Signal, tick: Price) -> Option<Price> {
    let distance = match signal.strategy.distances().target {
        TargetRule::Percent(bp) => percent_distance(signal, bp),
        TargetRule::Atr { tenths, min_bp } => {
            atr_distance(signal, tenths).max(percent_distance(signal, min_bp))
        }
    };
    match signal.side {
        PositionSide::Long => level_at_or_below(signal, distance, tick),
        PositionSide::Short => {
            let target = level_at_or_above(signal, -distance, tick)?;
            (target > Price::ZERO).then_some(target)
        }
    }
}

/// Distance of that many tenths of ATR14, in [`PARTS`] of a unit.
fn atr_distance(signal: &Signal, tenths: i64) -> i128 {
    i128::from(signal.atr.units()) * i128::from(tenths) * (PARTS / 10)
}

/// Distance of that many basis points of the reference price, in [`PARTS`] of a unit.
fn percent_distance(signal: &Signal, bp: i64) -> i128 {
    i128::from(signal.reference_price.units()) * i128::from(bp)
}

/// The highest price on the tick grid that is at most the reference price plus `change`, in [`PARTS`] of a unit. This is
/// the only rounding. `None` if it does not fit into a [`Price`].
fn level_at_or_below(signal: &Signal, change: i128, tick: Price) -> Option<Price> {
    let exact = i128::from(signal.reference_price.units()) * PARTS + change;
    let tick = i128::from(tick.units().max(1));
    price(exact.div_euclid(tick * PARTS) * tick)
}

/// The lowest price on the tick grid that is at least the reference price plus `change`; else as [`level_at_or_below`].
fn level_at_or_above(signal: &Signal, change: i128, tick: Price) -> Option<Price> {
    let exact = i128::from(signal.reference_price.units()) * PARTS + change;
    let tick = i128::from(tick.units().max(1));
    price(-(-exact).div_euclid(tick * PARTS) * tick)
}

/// With isolated margin a position is liquidated at a distance of about 1/leverage less the maintenance margin.
fn check_liquidation(
    reference: Price,
    stop: Price,
    leverage: Decimal,
) -> Result<(), SignalRejection> {
    let share = Decimal::ONE.checked_div(leverage).unwrap_or_default();
    let room = share
        .saturating_sub(MAINTENANCE_MARGIN)
        .saturating_mul(reference.to_decimal());
    if reference.distance(stop).to_decimal() >= room {
        return Err(SignalRejection::StopBeyondLiquidation);
    }
    Ok(())
}

/// The target may have been rounded onto or past the reference price; the reward is then zero or negative.
fn check_reward(signal: &Signal, stop: Price, target: Price) -> Result<(), SignalRejection> {
    let reference = i128::from(signal.reference_price.units());
    let (stop, target) = (i128::from(stop.units()), i128::from(target.units()));
    let (reward, risk) = match signal.side {
        PositionSide::Long => (target - reference, reference - stop),
        PositionSide::Short => (reference - target, stop - reference),
    };
    let required = i128::from(signal.strategy.distances().reward_risk_tenths);
    if reward * 10 < risk * required {
        return Err(SignalRejection::RewardBelowRisk);
    }
    Ok(())
}

fn quantity(
    reference: Price,
    stop: Price,
    equity: Decimal,
    margin: MarginRule,
    filters: &SymbolFilters,
) -> Result<Qty, SignalRejection> {
    let at_risk = equity.saturating_mul(RISK_PER_ENTRY);
    let by_risk = max_quantity(at_risk, reference.distance(stop), filters.lot);
    let by_equity = largest_quantity(reference, equity, margin, filters);
    let quantity = match (by_risk, by_equity) {
        (Some(a), Some(b)) => a.min(b),
        (Some(only), None) | (None, Some(only)) => only,
        (None, None) => return Err(SignalRejection::AboveMaxQty),
    };
    if quantity <= Qty::ZERO || quantity < filters.min_qty {
        return Err(SignalRejection::BelowMinQty);
    }
    if quantity > filters.max_qty {
        return Err(SignalRejection::AboveMaxQty);
    }
    if notional(reference, quantity) < filters.min_notional {
        return Err(SignalRejection::BelowMinNotional);
    }
    Ok(quantity)
}

/// What a market order needs from the equity of a book.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MarginRule {
    /// Leverage of the symbol.
    pub leverage: Decimal,
    /// Fee of the fill, as a fraction of its value.
    pub fee_rate: Decimal,
}

impl MarginRule {
    /// The largest value of an order at the best price: its margin at the assumed price, the loss that the exchange
    /// reserves for the distance to that price, and the fee are paid with `equity`.
    fn largest_value(self, equity: Decimal) -> Decimal {
        let assumed = Decimal::ONE + ASSUMED_DISTANCE;
        let margin = assumed.checked_div(self.leverage).unwrap_or(assumed);
        let fee = assumed.saturating_mul(self.fee_rate);
        let needed = margin.saturating_add(fee).saturating_add(ASSUMED_DISTANCE);
        equity.checked_div(needed).unwrap_or_default()
    }
}

/// The largest quantity that `equity` buys at this price; `None` if it does not fit into a [`Qty`].
pub fn largest_quantity(
    price: Price,
    equity: Decimal,
    margin: MarginRule,
    filters: &SymbolFilters,
) -> Option<Qty> {
    max_quantity(margin.largest_value(equity), price, filters.lot)
}

/// The largest multiple of `lot` whose value at `price` is at most `amount`; `None` if it does not fit into a [`Qty`].
fn max_quantity(amount: Decimal, price: Price, lot: Qty) -> Option<Qty> {
    let quotient = amount.checked_div(price.to_decimal())?;
    let quantity = Qty::from_decimal(quotient.trunc_with_scale(crate::fixed_point::SCALE)).ok()?;
    let quantity = quantity.floor_to(lot);
    // The quotient was rounded at its 28th digit, which may have lifted it to the next lot.
    if notional(price, quantity) > amount && quantity > Qty::ZERO {
        return Some(Qty::from_units(
            quantity.units().saturating_sub(lot.units().max(1)),
        ));
    }
    Some(quantity)
}

fn price(units: i128) -> Option<Price> {
    i64::try_from(units).ok().map(Price::from_units)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::Strategy;
    use protocol::time::UtcMs;

    fn dec(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    fn filters() -> SymbolFilters {
        SymbolFilters {
            symbol: "BTCUSDT".parse().unwrap(),
            tick: "0.1".parse().unwrap(),
            lot: "0.001".parse().unwrap(),
            min_qty: "0.001".parse().unwrap(),
            max_qty: "1000".parse().unwrap(),
            min_notional: dec("5"),
        }
    }

    fn signal(strategy: Strategy, reference: &str, atr: &str) -> Signal {
        Signal {
            strategy,
            side: strategy.side(),
            bar_close: UtcMs(0),
            reference_price: reference.parse().unwrap(),
            atr: atr.parse().unwrap(),
            rsi: dec("25"),
            regime: None,
            halvings: 0,
        }
    }

    fn long(reference: &str, atr: &str) -> Signal {
        signal(Strategy::OversoldBounce, reference, atr)
    }

    fn short(reference: &str, atr: &str) -> Signal {
        signal(Strategy::ShortTheRip, reference, atr)
    }

    /// Without a fee, so that the numbers below show the assumed price alone.
    fn margin(leverage: &str) -> MarginRule {
        MarginRule {
            leverage: dec(leverage),
            fee_rate: Decimal::ZERO,
        }
    }

    fn try_bracket(
        signal: &Signal,
        equity: &str,
        filters: &SymbolFilters,
    ) -> Result<[String; 3], SignalRejection> {
        bracket(signal, dec(equity), margin("1"), filters).map(|b| {
            [
                b.quantity.to_string(),
                b.stop.to_string(),
                b.target.to_string(),
            ]
        })
    }

    #[test]
    fn rejection_is_described_in_a_sentence_and_named_by_its_serialized_code() {
        // serde lists every variant in its error.
        let error = serde_json::from_str::<SignalRejection>("\"?\"").unwrap_err();
        let error = error.to_string();
        let mut sentences = Vec::new();
        for code in error.split('`').skip(3).step_by(2) {
            let reason: SignalRejection = serde_json::from_str(&format!("\"{code}\"")).unwrap();
            assert_eq!(reason.as_str(), code);
            let sentence = reason.describe();
            assert!(
                sentence.contains(' ') && !sentence.contains('_'),
                "{sentence}"
            );
            assert!(!sentences.contains(&sentence), "{sentence}");
            sentences.push(sentence);
        }
        assert_eq!(sentences.len(), 23, "{error}");
        assert_eq!(
            SignalRejection::StaleSignal.describe(),
            "the signal was older than one candle when it arrived"
        );
    }

    #[test]
    fn bracket_is_sized_by_risk_or_by_equity_whichever_is_less() {
        // 2 % of 10,000 over a distance of 400 is 0.5, but the equity buys only 0.249: at 0.25 the margin at the assumed
        // price would be 10,005, and 5 the reserved loss.
        let by_equity = try_bracket(&long("40000", "400"), "10000", &filters()).unwrap();
        assert_eq!(by_equity, ["0.249", "39600", "40600"]);
        // The target is 480 away, the stop 1.2 x 400.
        let short_by_equity = try_bracket(&short("40000", "400"), "10000", &filters()).unwrap();
        assert_eq!(short_by_equity, ["0.249", "40480", "39520"]);
        // With more leverage the risk decides.
        let risk = bracket(&long("40000", "400"), dec("10000"), margin("5"), &filters()).unwrap();
        assert_eq!(risk.quantity.to_string(), "0.5");
    }

    #[test]
    fn largest_quantity_leaves_the_margin_at_the_assumed_price_and_the_fee() {
        for leverage in ["1", "2", "3", "5"] {
            let rule = MarginRule {
                fee_rate: dec("0.0006"),
                ..margin(leverage)
            };
            let (price, equity) = ("40000".parse().unwrap(), dec("10000"));
            let quantity = largest_quantity(price, equity, rule, &filters()).unwrap();
            let assumed = dec("40020");
            let needed = |quantity: Decimal| {
                let value = quantity * assumed;
                value / rule.leverage + quantity * dec("20") + value * rule.fee_rate
            };
            let quantity = quantity.to_decimal();
            assert!(needed(quantity) <= equity, "{leverage}: {quantity}");
            assert!(
                needed(quantity + filters().lot.to_decimal()) > equity,
                "{leverage}"
            );
        }
    }

    #[test]
    fn quantities_round_down_to_the_lot() {
        // 40,000 x 1.001 is 40,040.
        for (equity, quantity) in [
            ("10009.9", "0.249"),
            ("10010", "0.25"),
            ("10050.03", "0.25"),
        ] {
            let [made, ..] = try_bracket(&long("40000", "400"), equity, &filters()).unwrap();
            assert_eq!(made, quantity, "{equity}");
        }
    }

    #[test]
    fn a_quotient_that_was_rounded_up_buys_no_lot_too_many() {
        // 2.5e-29 under 0.25: a `Decimal` division says 0.25, which costs more than there is.
        let amount = dec("9999.999999999999999999999999");
        let quantity = max_quantity(amount, "40000".parse().unwrap(), filters().lot);
        assert_eq!(quantity.unwrap().to_string(), "0.249");
    }

    #[test]
    fn bracket_prices_round_fractions_of_a_unit_like_the_tick() {
        let finest = Price::from_units(1);
        let stop = |signal| stop_price(&signal, finest).unwrap().units();
        let target = |signal| target_price(&signal, finest).unwrap().units();
        // In units: 1.2 x 101 is 121.2, 1,011 x 0.988 is 998.868, 1,011 x 1.015 is 1,026.165.
        assert_eq!(stop(short("0.00001", "0.00000101")), 1_000 + 122);
        assert_eq!(target(short("0.00001011", "0")), 999);
        assert_eq!(target(long("0.00001011", "0")), 1_026);
    }

    #[test]
    fn percent_limit_is_rounded_once_at_the_tick() {
        let tick = Price::from_units(10);
        let at = |strategy, reference| signal(strategy, reference, "0.00001");
        // 1.5 % below 9,005 units is 8,869.925: cut to whole units first, it would be the tick 8,870.
        let long = at(Strategy::AdaptiveOversoldBounce, "0.00009005");
        assert_eq!(stop_price(&long, tick), Some(Price::from_units(8_860)));
        // 2 % above 9,001 units is 9,181.02; 2 % above 9,020 is 9,200.4.
        for (reference, stop) in [("0.00009001", 9_190), ("0.0000902", 9_210)] {
            let short = at(Strategy::AdaptiveShortTheRip, reference);
            assert_eq!(stop_price(&short, tick), Some(Price::from_units(stop)));
        }
    }

    #[test]
    fn the_stop_rounds_away_from_the_reference_and_the_target_towards_it() {
        // 40000.1 x 1.015 = 40600.1015; 40000.1 - 400.01 = 39600.09.
        let [_, stop, target] =
            try_bracket(&long("40000.1", "400.01"), "10000", &filters()).unwrap();
        assert_eq!((stop.as_str(), target.as_str()), ("39600", "40600.1"));
        // 40000.1 x 0.988 = 39520.0988; 40000.1 + 1.2 x 300.01 = 40360.112.
        let [_, stop, target] =
            try_bracket(&short("40000.1", "300.01"), "10000", &filters()).unwrap();
        assert_eq!((stop.as_str(), target.as_str()), ("40360.2", "39520.1"));
    }

    #[test]
    fn reward_must_reach_the_risk() {
        // Long: the reward is 600 at a reference of 40,000.
        assert!(try_bracket(&long("40000", "600"), "10000", &filters()).is_ok());
        let refused = try_bracket(&long("40000", "600.1"), "10000", &filters());
        assert_eq!(refused, Err(SignalRejection::RewardBelowRisk));
        // Short: 480, and 1.2 ATR of 400.
        assert!(try_bracket(&short("40000", "400"), "10000", &filters()).is_ok());
        let refused = try_bracket(&short("40000", "400.1"), "10000", &filters());
        assert_eq!(refused, Err(SignalRejection::RewardBelowRisk));
    }

    #[test]
    fn adaptive_bracket_follows_atr_within_percent_limits() {
        let (bounce, rip) = (
            Strategy::AdaptiveOversoldBounce,
            Strategy::AdaptiveShortTheRip,
        );
        for (strategy, atr, expected) in [
            // 1.2 and 2.5 ATR.
            (bounce, "200", Ok(["39760", "40500"])),
            // The target is at least 0.8 %, the stop at most 1.5 %.
            (bounce, "100", Ok(["39880", "40320"])),
            (bounce, "1000", Ok(["39400", "42500"])),
            // 1.5 and 3.0 ATR; at least 1.0 %, at most 2.0 %.
            (rip, "200", Ok(["40300", "39400"])),
            (rip, "100", Ok(["40150", "39600"])),
            (rip, "1000", Ok(["40800", "37000"])),
            (rip, "14000", Err(SignalRejection::RewardBelowRisk)),
        ] {
            let made = try_bracket(&signal(strategy, "40000", atr), "10000", &filters());
            let expected = expected.map(|prices| prices.map(str::to_owned));
            assert_eq!(
                made.map(|[_, stop, target]| [stop, target]),
                expected,
                "{atr}"
            );
        }
    }

    #[test]
    fn adaptive_reward_must_be_one_and_a_half_times_the_risk() {
        // Both prices on coarse ticks: the stop moves away, the target comes nearer.
        let coarse = |tick: &str| SymbolFilters {
            tick: tick.parse().unwrap(),
            ..filters()
        };
        let signal = signal(Strategy::AdaptiveOversoldBounce, "40000", "320");
        // 384 and 800: 400 and 800 on a grid of 100, 500 and 500 on one of 500.
        assert!(try_bracket(&signal, "10000", &coarse("100")).is_ok());
        let refused = try_bracket(&signal, "10000", &coarse("500"));
        assert_eq!(refused, Err(SignalRejection::RewardBelowRisk));
        // Just at it: a risk of 400 and a reward of 600.
        let even = Signal {
            atr: "240".parse().unwrap(),
            ..signal
        };
        assert!(try_bracket(&even, "10000", &coarse("200")).is_ok());
    }

    #[test]
    fn stop_beyond_liquidation_is_rejected() {
        // At five times leverage the position is gone 17.5 % away: at 7,000.
        let far = |atr| Signal {
            reference_price: "40000".parse().unwrap(),
            ..long("40000", atr)
        };
        let check = |stop: &str| {
            check_liquidation(far("1").reference_price, stop.parse().unwrap(), dec("5"))
        };
        assert_eq!(check("33000.1"), Ok(()));
        assert_eq!(check("33000"), Err(SignalRejection::StopBeyondLiquidation));
        assert_eq!(check("47000"), Err(SignalRejection::StopBeyondLiquidation));
    }

    #[test]
    fn volatility_halves_the_size_and_rounds_it_down() {
        for (halvings, quantity) in [(0, "0.25"), (1, "0.125"), (2, "0.062")] {
            let signal = Signal {
                halvings,
                ..long("40000", "400")
            };
            assert_eq!(
                try_bracket(&signal, "10040", &filters()).unwrap()[0],
                quantity
            );
        }
    }

    #[test]
    fn a_tick_wider_than_the_target_leaves_no_reward() {
        let coarse = SymbolFilters {
            tick: "1000".parse().unwrap(),
            ..filters()
        };
        for signal in [long("40000", "1"), short("40000", "1")] {
            let refused = try_bracket(&signal, "10000", &coarse);
            assert_eq!(refused, Err(SignalRejection::RewardBelowRisk));
        }
    }

    #[test]
    fn a_stop_must_be_a_price_beyond_the_reference() {
        for signal in [long("40000", "0"), short("40000", "0"), long("400", "400")] {
            let refused = try_bracket(&signal, "10000", &filters());
            assert_eq!(refused, Err(SignalRejection::NoStopDistance));
        }
    }

    #[test]
    fn symbol_filters_are_inclusive_limits() {
        let with = |change: fn(&mut SymbolFilters)| {
            let mut rules = filters();
            change(&mut rules);
            try_bracket(&long("40000", "400"), "10010", &rules).map(|[quantity, ..]| quantity)
        };
        let quarter = Ok("0.25".to_owned());
        assert_eq!(with(|r| r.min_qty = "0.25".parse().unwrap()), quarter);
        assert_eq!(with(|r| r.max_qty = "0.25".parse().unwrap()), quarter);
        assert_eq!(with(|r| r.min_notional = dec("10000")), quarter);
        assert_eq!(
            with(|r| r.min_qty = "0.251".parse().unwrap()),
            Err(SignalRejection::BelowMinQty)
        );
        assert_eq!(
            with(|r| r.max_qty = "0.249".parse().unwrap()),
            Err(SignalRejection::AboveMaxQty)
        );
        assert_eq!(
            with(|r| r.min_notional = dec("10000.01")),
            Err(SignalRejection::BelowMinNotional)
        );
    }

    #[test]
    fn no_equity_buys_nothing() {
        for equity in ["0", "-5", "39.9"] {
            let free = SymbolFilters {
                min_qty: Qty::ZERO,
                min_notional: Decimal::ZERO,
                ..filters()
            };
            let refused = try_bracket(&long("40000", "400"), equity, &free);
            assert_eq!(refused, Err(SignalRejection::BelowMinQty), "{equity}");
        }
    }

    #[test]
    fn extreme_numbers_are_rejected_without_panic() {
        let max = Price::from_units(i64::MAX);
        for strategy in Strategy::ALL {
            for (reference, atr) in [
                (max, max),
                (max, Price::from_units(1)),
                (Price::from_units(1), max),
            ] {
                let signal = Signal {
                    reference_price: reference,
                    atr,
                    ..signal(strategy, "1", "1")
                };
                for equity in [Decimal::MAX, Decimal::MIN, Decimal::ZERO] {
                    let extreme = MarginRule {
                        leverage: Decimal::MAX,
                        fee_rate: Decimal::MAX,
                    };
                    let _ = bracket(&signal, equity, extreme, &filters());
                }
            }
        }
        let dust = long("0.0000001", "0.00000000");
        assert!(bracket(&dust, Decimal::MAX, margin("1"), &filters()).is_err());
    }
}
