//! Holds the exchange's positions against the stops that work there, whatever the books believe, and places a stop where one
//! is missing.
//!
//! The check knows no causes. It trusts the exchange's lists alone; of a book it only asks for which side and at which price
//! a position would need its stop. A position of the other side, and one in a symbol whose book cannot have a position, are
//! another client's. A stop placed here is not in a book's journal: the book leaves it in place while it has no other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use exchange::{ExchangeError, ExchangePosition, ExecutionClient};
use protocol::event::{Event, EventBody, PositionSide};
use protocol::heartbeat::ComponentState;
use protocol::ids::SubjectToken;
use runtime::clock;
use runtime::components::ComponentHandle;
use runtime::exit_error::ExitError;
use rust_decimal::Decimal;
use tokio_util::sync::CancellationToken;
use trader_core::fixed_point::{Price, Qty};
use trader_core::orders::{
    ClientOrderId, Leg, Order, OrderCallOutcome, OrderSide, OrderType, WorkingStop,
};
use trader_core::symbol_filters::SymbolFilters;

use crate::app::context::Context;
use crate::books::book_registry::StopRequirement;

/// Time between two checks.
const INTERVAL: Duration = Duration::from_secs(5);
/// The same while a position has no stop.
const URGENT_INTERVAL: Duration = Duration::from_secs(1);
/// The same while only the reserve of the request weight is left.
const SCARCE_INTERVAL: Duration = Duration::from_secs(30);
/// How long a position may be without a stop before the check acts: its book is placing one.
const GRACE: Duration = Duration::from_secs(3);
/// Positions up to which the orders of each symbol are queried. Beyond, all orders of the account cost less weight.
const MOST_SYMBOLS: usize = 8;
/// Distance of a stop from the entry price if the book's journal cannot be read.
const UNKNOWN_STOP_DISTANCE: Decimal = Decimal::from_parts(5, 0, 0, false, 2);
/// Binance's code for a trigger price that is already reached.
const WOULD_TRIGGER: i64 = -2021;

/// A position without a stop that works.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Unprotected {
    symbol: SubjectToken,
    /// Quantity in base units: positive long, negative short.
    quantity: Decimal,
    /// Price at which the stop belongs; `None` if the price is unknown.
    stop_price: Option<Price>,
}

/// Checks the positions of the books of this process until `shutdown`. Returns at once on paper.
///
/// # Errors
/// Never.
pub async fn run(ctx: Arc<Context>, shutdown: CancellationToken) -> Result<(), ExitError> {
    let Some(client) = ctx.execution_client.clone() else {
        shutdown.cancelled().await;
        return Ok(());
    };
    let component = ctx.process_status.component("protection-check");
    component.set_deadline(SCARCE_INTERVAL * 4);
    let mut check = ProtectionCheck {
        ctx: &ctx,
        client: &*client,
        reported: BTreeMap::new(),
        is_scarce: false,
        differences: BTreeMap::new(),
    };
    let checking = async {
        loop {
            let next = check.pass(&component).await;
            tokio::time::sleep(next).await;
        }
    };
    let _: Option<()> = shutdown.run_until_cancelled(checking).await;
    Ok(())
}

struct ProtectionCheck<'a> {
    ctx: &'a Context,
    client: &'a dyn ExecutionClient,
    /// Positions of which the operator knows that they have, or had, no stop, with the time since when.
    reported: BTreeMap<SubjectToken, Instant>,
    is_scarce: bool,
    /// Positions of the last check that differ from the books, by symbol.
    differences: BTreeMap<SubjectToken, Decimal>,
}

impl ProtectionCheck<'_> {
    /// Checks once. Returns the time until the next check.
    async fn pass(&mut self, component: &ComponentHandle) -> Duration {
        match self.find_unprotected().await {
            Ok(unprotected) => {
                component.set_state(ComponentState::Ok);
                component.record_iteration();
                self.note(&unprotected);
                self.protect(&unprotected).await;
                if !unprotected.is_empty() {
                    return URGENT_INTERVAL;
                }
            }
            Err(error) => {
                component.set_state(ComponentState::Retrying);
                let status = &self.ctx.process_status;
                status.record_error("protection-check", error.to_string());
                tracing::warn!(%error, "stops of the positions not checked");
            }
        }
        self.interval()
    }

    fn interval(&mut self) -> Duration {
        let is_scarce = self.client.is_request_weight_scarce();
        if std::mem::replace(&mut self.is_scarce, is_scarce) != is_scarce {
            let seconds = if is_scarce { SCARCE_INTERVAL } else { INTERVAL }.as_secs();
            tracing::warn!(
                seconds,
                is_scarce,
                "interval of the protection check changed"
            );
        }
        if is_scarce { SCARCE_INTERVAL } else { INTERVAL }
    }

    async fn find_unprotected(&mut self) -> Result<Vec<Unprotected>, ExchangeError> {
        let positions = self.client.positions().await?;
        self.note_differences(&positions);
        let requirements = self.ctx.book_registry.stop_requirements();
        let ours: Vec<Unprotected> = positions
            .iter()
            .filter_map(|position| {
                let symbol: SubjectToken = position.symbol.parse().ok()?;
                let requirement = *requirements.get(&symbol)?;
                let stop_price = required_price(position, requirement)?;
                Some(Unprotected {
                    symbol,
                    quantity: position.quantity,
                    stop_price,
                })
            })
            .collect();
        if ours.is_empty() {
            return Ok(ours);
        }
        let stops = self.working_stops(&ours).await?;
        let is_unprotected = |position: &Unprotected| {
            let of_symbol = stops
                .iter()
                .filter(|(symbol, _)| *symbol == position.symbol.as_str());
            !WorkingStop::protect(of_symbol.map(|(_, stop)| *stop), position.quantity)
        };
        Ok(ours.into_iter().filter(is_unprotected).collect())
    }

    /// Wakes the books whose position on the exchange has become another one than they know of.
    fn note_differences(&mut self, positions: &[ExchangePosition]) {
        let known = self.ctx.book_registry.summaries().into_iter();
        let differences: BTreeMap<SubjectToken, Decimal> = known
            .map(|book| {
                let symbol = book.book.symbol;
                let of_symbol = positions.iter().filter(|p| p.symbol == symbol.as_str());
                let held: Decimal = of_symbol.map(|position| position.quantity).sum();
                (symbol, held - book.position_quantity)
            })
            .filter(|(_, difference)| !difference.is_zero())
            .collect();
        for (symbol, difference) in &differences {
            if self.differences.get(symbol) != Some(difference) {
                self.client.hint(symbol);
            }
        }
        self.differences = differences;
    }

    async fn working_stops(
        &self,
        ours: &[Unprotected],
    ) -> Result<Vec<(String, WorkingStop)>, ExchangeError> {
        let mut stops = Vec::new();
        if ours.len() > MOST_SYMBOLS {
            let orders = self.client.open_orders().await?;
            stops.extend(
                orders
                    .into_iter()
                    .filter_map(|o| Some((o.symbol, o.order.stop?))),
            );
            return Ok(stops);
        }
        for position in ours {
            let view = self.client.exchange_view(&position.symbol).await?;
            let of_symbol = view.open_orders.into_iter().filter_map(|order| order.stop);
            stops.extend(of_symbol.map(|stop| (position.symbol.to_string(), stop)));
        }
        Ok(stops)
    }

    /// Notes since when positions are without a stop, and reports the end of what was reported.
    fn note(&mut self, unprotected: &[Unprotected]) {
        let mut known = self.ctx.protection_status.lock();
        known.retain(|symbol, _| unprotected.iter().any(|u| u.symbol == *symbol));
        for position in unprotected {
            known
                .entry(position.symbol.clone())
                .or_insert_with(Instant::now);
        }
        drop(known);
        let is_over = |symbol: &SubjectToken| unprotected.iter().all(|u| u.symbol != *symbol);
        let over: Vec<SubjectToken> = self
            .reported
            .keys()
            .filter(|s| is_over(s))
            .cloned()
            .collect();
        for symbol in over {
            let Some(since) = self.reported.remove(&symbol) else {
                continue;
            };
            let unprotected_ms = millis(since.elapsed());
            tracing::warn!(%symbol, unprotected_ms, "position has a stop again, or is closed");
            let book = self.ctx.account.book(symbol);
            self.publish(EventBody::PositionProtected {
                book,
                unprotected_ms,
            });
        }
    }

    async fn protect(&mut self, unprotected: &[Unprotected]) {
        for position in unprotected {
            let symbol = &position.symbol;
            self.client.hint(symbol);
            let since = self.ctx.protection_status.lock().get(symbol).copied();
            let Some(since) = since.filter(|since| since.elapsed() >= GRACE) else {
                continue;
            };
            if !self.reported.contains_key(symbol) {
                self.reported.insert(symbol.clone(), since);
                let unprotected_ms = millis(since.elapsed());
                tracing::error!(%symbol, quantity = %position.quantity, unprotected_ms, "position has no stop");
                self.publish(EventBody::PositionUnprotected {
                    book: self.ctx.account.book(symbol.clone()),
                    quantity: position.quantity,
                    unprotected_ms,
                });
            }
            if let Err(error) = self.place_stop(position).await {
                tracing::error!(%symbol, %error, "stop not placed; trying again");
            }
        }
    }

    /// Places a stop that closes the position, or closes it if the stop would trigger at once.
    async fn place_stop(&self, position: &Unprotected) -> Result<(), ExchangeError> {
        let Unprotected {
            symbol,
            quantity,
            stop_price,
        } = position;
        let entry_price = match stop_price {
            Some(_) => None,
            None => self.client.exchange_view(symbol).await?.entry_price,
        };
        let filters = self.ctx.symbol_rules.filters(symbol);
        let filters = filters.as_ref();
        let tick = filters.map_or(Price::ZERO, |filters| filters.tick);
        let price = stop_price.or_else(|| distant_stop(entry_price?, *quantity, tick));
        let order_type = match price {
            Some(price) => OrderType::Trigger { price },
            None => market_close(*quantity, filters)?,
        };
        let outcome = self.submit(symbol, *quantity, order_type).await?;
        tracing::warn!(%symbol, %outcome, "stop of an unprotected position sent");
        if let OrderCallOutcome::Rejected {
            code: WOULD_TRIGGER,
            ..
        } = outcome
        {
            let closed = self
                .submit(symbol, *quantity, market_close(*quantity, filters)?)
                .await?;
            tracing::warn!(%symbol, outcome = %closed, "unprotected position beyond its stop closed");
        }
        Ok(())
    }

    async fn submit(
        &self,
        symbol: &SubjectToken,
        quantity: Decimal,
        order_type: OrderType,
    ) -> Result<OrderCallOutcome, ExchangeError> {
        let Some(live) = &self.ctx.config.live else {
            return Err(ExchangeError::rejected("stop", "no live configuration"));
        };
        let at = self.client.now().await?;
        let order = Order {
            client_order_id: ClientOrderId::for_emergency_stop(&live.installation_id, at),
            leg: match order_type {
                OrderType::Trigger { .. } => Leg::Stop,
                OrderType::Market { .. } => Leg::Exit,
            },
            attempt: 0,
            side: if quantity.is_sign_negative() {
                OrderSide::Buy
            } else {
                OrderSide::Sell
            },
            order_type,
            at,
            recv_window_ms: live.recv_window_ms,
            reason: None,
        };
        Ok(self.client.submit_order(symbol, &order).await)
    }

    fn publish(&self, body: EventBody) {
        let at = clock::now();
        let boot = &self.ctx.identity.boot;
        let id = format!("{boot}:protection:{}:{}", body.kind(), at.0);
        self.ctx.outbox.enqueue(Event::new(id, at, body));
    }
}

/// The price at which this position's stop belongs, `Some(None)` if it is ours and the price is not known; `None` if the
/// position is not ours.
#[expect(clippy::option_option, reason = "whose it is, and at which price")]
fn required_price(
    position: &ExchangePosition,
    requirement: StopRequirement,
) -> Option<Option<Price>> {
    match requirement {
        StopRequirement::NoPosition => None,
        StopRequirement::Unknown => Some(None),
        StopRequirement::At { side, price } => {
            let is_long = position.quantity.is_sign_positive();
            (is_long == (side == PositionSide::Long)).then_some(Some(price))
        }
    }
}

/// A stop at the usual distance from the entry price, rounded towards it to the tick.
fn distant_stop(entry_price: Decimal, quantity: Decimal, tick: Price) -> Option<Price> {
    let distance = entry_price.checked_mul(UNKNOWN_STOP_DISTANCE)?;
    let is_long = quantity.is_sign_positive();
    let exact = if is_long {
        entry_price.checked_sub(distance)?
    } else {
        entry_price.checked_add(distance)?
    };
    let price = Price::from_decimal(exact.round_dp(trader_core::fixed_point::SCALE)).ok()?;
    Some(if is_long {
        price.ceil_to(tick)
    } else {
        price.floor_to(tick)
    })
}

/// An order that closes the position, or as much as one order allows: the next check closes the rest.
fn market_close(
    quantity: Decimal,
    filters: Option<&SymbolFilters>,
) -> Result<OrderType, ExchangeError> {
    let open = Qty::from_decimal(quantity.abs());
    let open = open.map_err(|error| ExchangeError::retry("position", error.to_string()))?;
    Ok(OrderType::Market {
        quantity: filters.map_or(open, |filters| filters.exit_quantity(open)),
    })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(quantity: &str) -> ExchangePosition {
        ExchangePosition {
            symbol: "BTCUSDT".to_owned(),
            quantity: quantity.parse().unwrap(),
            entry_price: None,
        }
    }

    #[test]
    fn position_is_ours_if_the_book_may_have_one_of_its_side() {
        let price: Price = "39600".parse().unwrap();
        let at = StopRequirement::At {
            side: PositionSide::Long,
            price,
        };
        assert_eq!(required_price(&position("0.2"), at), Some(Some(price)));
        assert_eq!(required_price(&position("-0.2"), at), None);
        let unknown = required_price(&position("-0.2"), StopRequirement::Unknown);
        assert_eq!(unknown, Some(None));
        let none = required_price(&position("0.2"), StopRequirement::NoPosition);
        assert_eq!(none, None);
    }

    #[test]
    fn stop_without_a_known_price_is_five_percent_from_the_entry() {
        let tick: Price = "0.1".parse().unwrap();
        let stop = |quantity: &str| {
            let entry = "40000.13".parse().unwrap();
            distant_stop(entry, quantity.parse().unwrap(), tick).unwrap()
        };
        assert_eq!(stop("0.5"), "38000.2".parse().unwrap());
        assert_eq!(stop("-0.5"), "42000.1".parse().unwrap());
        assert_eq!(distant_stop(Decimal::MAX, Decimal::ONE, tick), None);
    }
}
