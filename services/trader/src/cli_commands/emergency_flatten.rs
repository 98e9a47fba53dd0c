//! `trader flatten --direct`: cancels the orders of this program and closes the positions of the traded symbols
//! directly on the exchange, without the bus. Repeating it is safe, because its orders can only reduce a position.
//!
//! An odd answer ends nothing: each symbol is tried until it is flat or a minute is over, and none waits for another.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use exchange::{DataClient, ExchangeError, ExecutionClient};
use protocol::exit_code::ExitCode;
use protocol::ids::{Mode, SubjectToken};
use protocol::time::UtcMs;
use runtime::exit_error::ExitError;
use rust_decimal::Decimal;
use serde::Serialize;
use trader_core::fixed_point::Qty;
use trader_core::orders::{
    ClientOrderId, ExchangeView, Leg, Order, OrderCallOutcome, OrderSide, OrderType,
};
use trader_core::symbol_filters::{SymbolFilters, is_filter_error};

use crate::app::exchange_clients::ExchangeClients;
use crate::app::patience::say_waiting;
use crate::settings::Settings;

/// How long it tries to close one account.
const DEADLINE: Duration = Duration::from_mins(1);
const RETRY_DELAY: Duration = Duration::from_millis(500);
/// How long the exchange must show no position before it is believed. A list can be empty for a moment, and the stop of a
/// position must not be canceled then.
const NO_POSITION_FOR: Duration = Duration::from_secs(3);

/// What was done for one symbol.
#[derive(Debug, Serialize)]
pub(super) struct FlattenedSymbol {
    symbol: SubjectToken,
    canceled_orders: usize,
    closed_quantity: Decimal,
}

/// One line for each symbol.
pub(super) fn describe(symbols: &[FlattenedSymbol]) -> String {
    let line = |flat: &FlattenedSymbol| {
        format!(
            "{}: flat; {} orders canceled, {} closed",
            flat.symbol,
            flat.canceled_orders,
            flat.closed_quantity.normalize()
        )
    };
    symbols.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Flattens every traded symbol.
///
/// # Errors
/// Exit 69 if something is still open after a minute, 78 for invalid settings, and if the exchange refused the calls to
/// the end.
pub(super) async fn run(settings: &Settings) -> Result<Vec<FlattenedSymbol>, ExitError> {
    let clients = ExchangeClients::new(settings, Mode::Live, None)?;
    let Some(execution) = &clients.execution else {
        return Err(ExitError::internal("bug: live without an execution client"));
    };
    let flatten = Flatten {
        data: &*clients.data,
        execution: &**execution,
        window_ms: settings.recv_window_ms,
    };
    let mut open: Vec<OpenSymbol> = settings.symbols.iter().map(OpenSymbol::new).collect();
    let until = Instant::now() + DEADLINE;
    let mut flattened = BTreeMap::new();
    loop {
        for symbol in &mut open {
            match flatten.step(symbol).await {
                Ok(true) => {
                    let flat = symbol.flattened();
                    flattened.insert(flat.symbol.clone(), flat);
                }
                Ok(false) => {}
                Err(error) => symbol.note_error(error),
            }
        }
        open.retain(|symbol| !flattened.contains_key(&symbol.symbol));
        if open.is_empty() {
            return Ok(flattened.into_values().collect());
        }
        if Instant::now() >= until {
            return Err(still_open(&open));
        }
        tokio::time::sleep(RETRY_DELAY).await;
    }
}

/// The error that names each symbol that is not flat.
fn still_open(open: &[OpenSymbol]) -> ExitError {
    let describe = |symbol: &OpenSymbol| {
        let reason = symbol.error.as_ref().map(ToString::to_string);
        let reason = reason.unwrap_or_else(|| "the orders had no effect".to_owned());
        format!("{}: still open ({reason})", symbol.symbol)
    };
    let lines: Vec<String> = open.iter().map(describe).collect();
    let is_refused =
        |symbol: &OpenSymbol| matches!(symbol.error, Some(ExchangeError::Rejected { .. }));
    let code = if open.iter().all(is_refused) {
        ExitCode::Config
    } else {
        ExitCode::Unavailable
    };
    ExitError::new(
        code,
        format!(
            "not flat after {DEADLINE:?}: {}; try again, or close it on the exchange",
            lines.join("; ")
        ),
    )
}

/// A symbol that is not known to be flat.
struct OpenSymbol {
    symbol: SubjectToken,
    canceled_orders: usize,
    /// Largest position that was seen, in base units.
    largest_position: Decimal,
    /// Since when the exchange shows no position; `None` while it shows one.
    no_position_since: Option<Instant>,
    /// The filters, read after an order that broke one; `None` before that.
    filters: Option<SymbolFilters>,
    /// Error of the last try; `None` if it had none.
    error: Option<ExchangeError>,
}

impl OpenSymbol {
    fn new(symbol: &SubjectToken) -> Self {
        Self {
            symbol: symbol.clone(),
            canceled_orders: 0,
            largest_position: Decimal::ZERO,
            no_position_since: None,
            filters: None,
            error: None,
        }
    }

    fn flattened(&self) -> FlattenedSymbol {
        FlattenedSymbol {
            symbol: self.symbol.clone(),
            canceled_orders: self.canceled_orders,
            closed_quantity: self.largest_position,
        }
    }

    /// Says what is waited for, once for each reason.
    fn note_error(&mut self, error: ExchangeError) {
        if self.error.as_ref() != Some(&error) {
            say_waiting(self.symbol.as_str(), &error);
        }
        self.error = Some(error);
    }
}

struct Flatten<'a> {
    data: &'a dyn DataClient,
    execution: &'a dyn ExecutionClient,
    window_ms: u32,
}

impl Flatten<'_> {
    /// Queries the symbol once and closes or cancels. Returns whether it is flat.
    async fn step(&self, symbol: &mut OpenSymbol) -> Result<bool, ExchangeError> {
        let view = self.execution.exchange_view(&symbol.symbol).await?;
        symbol.largest_position = symbol.largest_position.max(view.position.abs());
        symbol.error = None;
        // Closes the position first, so that its stop protects it until then; cancels orders afterwards.
        if !view.position.is_zero() {
            symbol.no_position_since = None;
            self.close(symbol, view.position).await?;
            return Ok(false);
        }
        let since = symbol.no_position_since.get_or_insert_with(Instant::now);
        if since.elapsed() < NO_POSITION_FOR {
            return Ok(false);
        }
        self.cancel_orders(symbol, &view).await?;
        Ok(!has_own_orders(&view))
    }

    async fn close(&self, open: &mut OpenSymbol, position: Decimal) -> Result<(), ExchangeError> {
        let symbol = &open.symbol;
        let now = self.execution.now().await?;
        let order = self.closing_order(open, position, now)?;
        let outcome = self.execution.submit_order(symbol, &order).await;
        tracing::info!(%symbol, %position, %outcome, "closing order sent");
        match outcome {
            OrderCallOutcome::Rejected { code, reason } => {
                if is_filter_error(code) {
                    open.filters = self.filters(symbol).await?;
                }
                let reason = format!("{reason} ({code})");
                Err(ExchangeError::rejected("closing order", reason))
            }
            OrderCallOutcome::Unknown { error } => {
                Err(ExchangeError::retry("closing order", error))
            }
            OrderCallOutcome::Reported(_) | OrderCallOutcome::NotFound => Ok(()),
        }
    }

    async fn filters(&self, symbol: &SubjectToken) -> Result<Option<SymbolFilters>, ExchangeError> {
        let wanted = std::slice::from_ref(symbol);
        let mut listings = self.data.symbol_listings(wanted).await?;
        Ok(listings.remove(symbol).and_then(|listing| listing.filters))
    }

    fn closing_order(
        &self,
        open: &OpenSymbol,
        position: Decimal,
        now: UtcMs,
    ) -> Result<Order, ExchangeError> {
        let held = Qty::from_decimal(position.abs()).map_err(|error| {
            ExchangeError::rejected("position", format!("{}: {error}", open.symbol))
        })?;
        let filters = open.filters.as_ref();
        Ok(Order {
            client_order_id: ClientOrderId::from_exchange(&format!("flatten-{}", now.0)),
            leg: Leg::Exit,
            attempt: 0,
            side: if position.is_sign_positive() {
                OrderSide::Sell
            } else {
                OrderSide::Buy
            },
            order_type: OrderType::Market {
                quantity: filters.map_or(held, |filters| filters.exit_quantity(held)),
            },
            at: now,
            recv_window_ms: self.window_ms,
            reason: None,
        })
    }

    async fn cancel_orders(
        &self,
        open: &mut OpenSymbol,
        view: &ExchangeView,
    ) -> Result<(), ExchangeError> {
        let orders = view.open_orders.iter();
        for order in orders.filter(|order| is_ours(&order.client_order_id)) {
            let id = &order.client_order_id;
            let cancel = self
                .execution
                .cancel_order(&open.symbol, id, order.is_conditional);
            cancel.await?;
            open.canceled_orders += 1;
        }
        Ok(())
    }
}

fn is_ours(client_id: &str) -> bool {
    ClientOrderId::installation_in(client_id).is_some()
}

fn has_own_orders(view: &ExchangeView) -> bool {
    let mut orders = view.open_orders.iter();
    orders.any(|open| is_ours(&open.client_order_id))
}
