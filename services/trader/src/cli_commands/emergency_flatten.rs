//! `trader flatten --direct`: cancels the orders of this program and closes the positions of the traded symbols
//! directly on the exchange, without the bus. Repeating it is safe, because its orders can only reduce a position.

use std::time::{Duration, Instant};

use exchange::{ExchangeError, ExecutionClient};
use protocol::exit_code::ExitCode;
use protocol::ids::SubjectToken;
use runtime::exit_error::ExitError;
use rust_decimal::Decimal;
use serde::Serialize;
use trader_core::fixed_point::Qty;
use trader_core::orders::{ClientOrderId, ExchangeView, Leg, Order, OrderSide, OrderType};

use crate::app::exchange_clients::ExchangeClients;
use crate::settings::Settings;

/// How long it tries to close one account.
const DEADLINE: Duration = Duration::from_mins(1);
const RETRY_DELAY: Duration = Duration::from_millis(500);

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
/// Exit 69 if something is still open after a minute, 78 for invalid settings or a rejected key.
pub(super) async fn run(settings: &Settings) -> Result<Vec<FlattenedSymbol>, ExitError> {
    let client = ExchangeClients::live_execution(settings)?;
    let until = Instant::now() + DEADLINE;
    let mut flattened = Vec::new();
    for symbol in &settings.symbols {
        flattened.push(flatten_symbol(&*client, symbol, settings.recv_window_ms, until).await?);
    }
    Ok(flattened)
}

/// Queries the exchange and closes or cancels, until nothing of this program is left.
async fn flatten_symbol(
    client: &dyn ExecutionClient,
    symbol: &SubjectToken,
    window_ms: u32,
    until: Instant,
) -> Result<FlattenedSymbol, ExitError> {
    let (mut canceled, mut closed) = (0, Decimal::ZERO);
    let mut last = "no answer".to_owned();
    while Instant::now() < until {
        match client.exchange_view(symbol).await {
            Ok(view) if is_flat(&view) => {
                return Ok(FlattenedSymbol {
                    symbol: symbol.clone(),
                    canceled_orders: canceled,
                    closed_quantity: closed,
                });
            }
            Ok(view) => match close_or_cancel(client, symbol, window_ms, &view).await {
                Ok((orders, amount)) => {
                    canceled += orders;
                    closed += amount;
                }
                Err(error) => last = retryable_error(error)?,
            },
            Err(error) => last = retryable_error(error)?,
        }
        tokio::time::sleep(RETRY_DELAY).await;
    }
    Err(ExitError::new(
        ExitCode::Unavailable,
        format!(
            "{symbol}: still open after {DEADLINE:?} ({last}); try again, or close it on the exchange"
        ),
    ))
}

/// The text of an error that a retry may fix.
///
/// # Errors
/// Exit 78 for any other error.
fn retryable_error(error: ExchangeError) -> Result<String, ExitError> {
    match error {
        ExchangeError::Retry { .. } => Ok(error.to_string()),
        rejected @ ExchangeError::Rejected { .. } => Err(ExitError::config(rejected.to_string())),
    }
}

fn is_ours(client_id: &str) -> bool {
    ClientOrderId::installation_in(client_id).is_some()
}

fn is_flat(view: &ExchangeView) -> bool {
    view.position.is_zero()
        && !view
            .open_orders
            .iter()
            .any(|open| is_ours(&open.client_order_id))
}

/// Closes the position first, so that its stop protects it until then; cancels orders afterwards.
async fn close_or_cancel(
    client: &dyn ExecutionClient,
    symbol: &SubjectToken,
    window_ms: u32,
    view: &ExchangeView,
) -> Result<(usize, Decimal), ExchangeError> {
    if !view.position.is_zero() {
        let order = closing_order(symbol, view.position, window_ms, client.now().await?)?;
        let outcome = client.submit_order(symbol, &order).await;
        tracing::info!(%symbol, position = %view.position, %outcome, "closing order sent");
        return Ok((0, view.position.abs()));
    }
    let ours = view
        .open_orders
        .iter()
        .filter(|open| is_ours(&open.client_order_id));
    let mut canceled = 0;
    for open in ours {
        client
            .cancel_order(symbol, &open.client_order_id, open.is_conditional)
            .await?;
        canceled += 1;
    }
    Ok((canceled, Decimal::ZERO))
}

fn closing_order(
    symbol: &SubjectToken,
    position: Decimal,
    window_ms: u32,
    now: protocol::time::UtcMs,
) -> Result<Order, ExchangeError> {
    let quantity = Qty::from_decimal(position.abs()).map_err(|error| ExchangeError::Rejected {
        what: "position",
        reason: format!("{symbol}: {error}"),
    })?;
    let side = if position.is_sign_positive() {
        OrderSide::Sell
    } else {
        OrderSide::Buy
    };
    Ok(Order {
        client_order_id: ClientOrderId::from_exchange(&format!("flatten-{}", now.0)),
        leg: Leg::Exit,
        attempt: 0,
        side,
        order_type: OrderType::Market { quantity },
        at: now,
        recv_window_ms: window_ms,
        reason: None,
    })
}
