//! `trader flatten --direct`: cancels our orders and closes the positions of our symbols on the exchange
//! itself, with the bus dead or alive. Done twice, or cut in the middle and done again, it does no harm: its
//! orders can only reduce.

use std::time::{Duration, Instant};

use protocol::exit_code::ExitCode;
use protocol::ids::{Mode, SubjectToken};
use runtime::process::ExitError;
use rust_decimal::Decimal;
use trader_core::fixed_point::Qty;
use trader_core::orders::{ClientOrderId, ExchangeView, Leg, Order, OrderSide, OrderType};

use crate::market::MarketError;
use crate::settings::Settings;
use crate::startup;
use crate::venue::BinanceExecutionClient;

/// How long it tries.
const DEADLINE: Duration = Duration::from_mins(1);
const RETRY_DELAY: Duration = Duration::from_millis(500);

/// Flattens every symbol; a line for each.
///
/// # Errors
/// Exit 69 for what is still open after a minute, 78 for settings or keys that are refused.
pub(super) async fn run(settings: &Settings) -> Result<Vec<String>, ExitError> {
    let market = startup::data_client(settings)?;
    let Some(venue) = startup::execution_client(settings, &market, Mode::Live)? else {
        return Err(ExitError::internal("bug: live without a venue"));
    };
    let until = Instant::now() + DEADLINE;
    let mut lines = Vec::new();
    for symbol in &settings.symbols {
        lines.push(flatten_symbol(&venue, symbol, settings.recv_window_ms, until).await?);
    }
    Ok(lines)
}

/// Looks, acts, looks again, until nothing of ours is left.
async fn flatten_symbol(
    venue: &BinanceExecutionClient,
    symbol: &SubjectToken,
    window_ms: u32,
    until: Instant,
) -> Result<String, ExitError> {
    let (mut cancelled, mut closed) = (0, Decimal::ZERO);
    let mut last = "no answer".to_owned();
    while Instant::now() < until {
        match venue.exchange_view(symbol).await {
            Ok(view) if is_flat(&view) => {
                return Ok(format!(
                    "{symbol}: flat; {cancelled} orders cancelled, {} closed",
                    closed.normalize()
                ));
            }
            Ok(view) => match close_or_cancel(venue, symbol, window_ms, &view).await {
                Ok((orders, amount)) => {
                    cancelled += orders;
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
        format!("{symbol}: not flat after {DEADLINE:?} ({last}); try again, or close it by hand"),
    ))
}

/// What will not heal ends it.
fn retryable_error(error: MarketError) -> Result<String, ExitError> {
    match error {
        MarketError::Retry { .. } => Ok(error.to_string()),
        refused => Err(ExitError::config(refused.to_string())),
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

/// First the position, so that its stop guards it until then.
async fn close_or_cancel(
    venue: &BinanceExecutionClient,
    symbol: &SubjectToken,
    window_ms: u32,
    view: &ExchangeView,
) -> Result<(usize, Decimal), MarketError> {
    if !view.position.is_zero() {
        let order = closing_order(symbol, view.position, window_ms, venue.now().await?)?;
        let answer = venue.place(symbol, &order).await;
        tracing::info!(%symbol, position = %view.position, %answer, "closing order sent");
        return Ok((0, view.position.abs()));
    }
    let ours = view
        .open_orders
        .iter()
        .filter(|open| is_ours(&open.client_order_id));
    let mut cancelled = 0;
    for open in ours {
        venue.cancel_open(symbol, open).await?;
        cancelled += 1;
    }
    Ok((cancelled, Decimal::ZERO))
}

fn closing_order(
    symbol: &SubjectToken,
    position: Decimal,
    window_ms: u32,
    now: protocol::time::UtcMs,
) -> Result<Order, MarketError> {
    let quantity = Qty::from_decimal(position.abs()).map_err(|error| MarketError::Refused {
        what: "position",
        reason: format!("{symbol}: {error}"),
    })?;
    let way = if position.is_sign_positive() {
        OrderSide::Sell
    } else {
        OrderSide::Buy
    };
    Ok(Order {
        client_order_id: ClientOrderId::from_exchange(&format!("flatten-{}", now.0)),
        leg: Leg::Exit,
        attempt: 0,
        side: way,
        order_type: OrderType::Market { quantity },
        at: now,
        recv_window_ms: window_ms,
        reason: None,
    })
}
