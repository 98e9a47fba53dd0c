//! `trader flatten --exchange`: cancels our orders and closes the positions of our symbols on the exchange
//! itself, with the bus dead or alive. Done twice, or cut in the middle and done again, it does no harm: its
//! orders can only reduce.

use std::time::{Duration, Instant};

use engine::fixed::Qty;
use engine::orders::{ClientId, Kind, Leg, Order, View, Way};
use protocol::exit::ExitCode;
use protocol::ids::{Mode, Token};
use runtime::process::Stop;
use rust_decimal::Decimal;

use crate::market::MarketError;
use crate::settings::Settings;
use crate::start;
use crate::venue::Venue;

/// How long it tries.
const WITHIN: Duration = Duration::from_mins(1);
const AGAIN: Duration = Duration::from_millis(500);

/// Flattens every symbol; a line for each.
///
/// # Errors
/// Exit 69 for what is still open after a minute, 78 for settings or keys that are refused.
pub(super) async fn run(settings: &Settings) -> Result<Vec<String>, Stop> {
    let market = start::market(settings)?;
    let Some(venue) = start::venue(settings, &market, Mode::Live)? else {
        return Err(Stop::internal("bug: live without a venue"));
    };
    let until = Instant::now() + WITHIN;
    let mut lines = Vec::new();
    for symbol in &settings.symbols {
        lines.push(flat(&venue, symbol, settings.recv_window_ms, until).await?);
    }
    Ok(lines)
}

/// Looks, acts, looks again, until nothing of ours is left.
async fn flat(
    venue: &Venue,
    symbol: &Token,
    window_ms: u32,
    until: Instant,
) -> Result<String, Stop> {
    let (mut cancelled, mut closed) = (0, Decimal::ZERO);
    let mut last = "no answer".to_owned();
    while Instant::now() < until {
        match venue.view(symbol).await {
            Ok(view) if is_flat(&view) => {
                return Ok(format!(
                    "{symbol}: flat; {cancelled} orders cancelled, {} closed",
                    closed.normalize()
                ));
            }
            Ok(view) => match step(venue, symbol, window_ms, &view).await {
                Ok((orders, amount)) => {
                    cancelled += orders;
                    closed += amount;
                }
                Err(error) => last = refused(error)?,
            },
            Err(error) => last = refused(error)?,
        }
        tokio::time::sleep(AGAIN).await;
    }
    Err(Stop::new(
        ExitCode::Unavailable,
        format!("{symbol}: not flat after {WITHIN:?} ({last}); try again, or close it by hand"),
    ))
}

/// What will not heal ends it.
fn refused(error: MarketError) -> Result<String, Stop> {
    match error {
        MarketError::Retry { .. } => Ok(error.to_string()),
        refused => Err(Stop::config(refused.to_string())),
    }
}

fn is_ours(client_id: &str) -> bool {
    ClientId::deployment_in(client_id).is_some()
}

fn is_flat(view: &View) -> bool {
    view.position.is_zero() && !view.open.iter().any(|open| is_ours(&open.client_id))
}

/// First the position, so that its stop guards it until then.
async fn step(
    venue: &Venue,
    symbol: &Token,
    window_ms: u32,
    view: &View,
) -> Result<(usize, Decimal), MarketError> {
    if !view.position.is_zero() {
        let order = closing(symbol, view.position, window_ms, venue.now().await?)?;
        let answer = venue.place(symbol, &order).await;
        tracing::info!(%symbol, position = %view.position, %answer, "closing order sent");
        return Ok((0, view.position.abs()));
    }
    let ours = view.open.iter().filter(|open| is_ours(&open.client_id));
    let mut cancelled = 0;
    for open in ours {
        venue.cancel_open(symbol, open).await?;
        cancelled += 1;
    }
    Ok((cancelled, Decimal::ZERO))
}

fn closing(
    symbol: &Token,
    position: Decimal,
    window_ms: u32,
    now: protocol::time::UtcMs,
) -> Result<Order, MarketError> {
    let quantity = Qty::from_decimal(position.abs()).map_err(|error| MarketError::Refused {
        what: "position",
        reason: format!("{symbol}: {error}"),
    })?;
    let way = if position.is_sign_positive() {
        Way::Sell
    } else {
        Way::Buy
    };
    Ok(Order {
        id: ClientId::told(&format!("flatten-{}", now.0)),
        leg: Leg::Exit,
        attempt: 0,
        way,
        kind: Kind::Market { quantity },
        at: now,
        window_ms,
        why: None,
    })
}
