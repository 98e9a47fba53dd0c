//! Lines of a notification that say what an event means for open positions and what the operator can do.

use protocol::exit_code::ExitCode;
use protocol::ids::{Mode, Service};

use crate::command_hints::CommandHints;
use crate::formatting::{field, mode_of_trader};
use crate::model::Sender;

/// What happens to open positions while no trader manages them, until `end`.
pub(super) fn unmanaged_positions(mode: Option<Mode>, end: &str) -> String {
    match mode {
        Some(Mode::Paper) => format!("kept, not managed until {end}"),
        Some(Mode::Live) => {
            format!("stay open, not managed until {end}; stop orders on the exchange stay active")
        }
        None => format!(
            "not managed until {end}; in live mode, stop orders on the exchange stay active"
        ),
    }
}

/// What follows from the end of a trader with this exit code.
pub(super) fn stopped_trader_hints(name: &str, exit_code: i64, hints: CommandHints) -> Vec<String> {
    let positions = field(
        "Open positions",
        unmanaged_positions(mode_of_trader(name), "a trader runs again"),
    );
    match ExitCode::from_number(exit_code) {
        Some(ExitCode::Success) => vec![
            positions,
            format!(
                "Action: none if you stopped it; else, to start it, {}",
                hints.start(name)
            ),
        ],
        Some(ExitCode::CycleFinished) => {
            vec![
                positions,
                field("Next", "the watchdog starts the next cycle"),
            ]
        }
        Some(ExitCode::AccountLatched) => vec![field(
            "Next",
            "the trader stays stopped until you unlatch the account",
        )],
        Some(ExitCode::Usage | ExitCode::Config) => vec![
            positions,
            field("Next", "the trader stays stopped"),
            field(
                "Action",
                "correct the setting that the reason names, then run: scripts/up",
            ),
        ],
        _ => vec![
            positions,
            field(
                "Next",
                "the watchdog restarts the trader if it has --auto-restart",
            ),
        ],
    }
}

/// What an unknown outcome of an order means for the position.
pub(super) fn unknown_order_consequence(leg: &str) -> &'static str {
    match leg {
        "entry" => "a position may have been opened",
        "stop" => "the position may have no stop order until the outcome is known",
        "target" => "unchanged; the target order may be missing",
        _ => "the position may still be open",
    }
}

/// What a rejected order means for the position, and what the trader does next.
pub(super) fn rejected_order_hints(leg: &str, hints: CommandHints) -> [String; 3] {
    let check = || {
        format!(
            "Action: check the position on the exchange and with {}",
            hints.positions()
        )
    };
    let none = || field("Action", "none");
    let (positions, next, action) = match leg {
        "entry" => ("no position was opened", "the entry is dropped", none()),
        "stop" => (
            "the position may have no stop order now",
            "the trader places the stop again or closes the position at market price",
            check(),
        ),
        "target" => (
            "the position stays open without a target order; its stop is unchanged",
            "the trader places the target again; without a target, stop and breakers end the position",
            none(),
        ),
        _ => (
            "the position is still open",
            "the trader tries again to close it",
            check(),
        ),
    };
    [
        field("Open positions", positions),
        field("Next", next),
        action,
    ]
}

/// What the health of a process means. Nothing if it is healthy.
pub(super) fn health_consequence(
    sender: &Sender<'_>,
    to: &str,
    hints: CommandHints,
) -> Vec<String> {
    if to == "healthy" {
        return Vec::new();
    }
    if sender.service != Service::Trader {
        return vec![format!("Action: check with {}", hints.status())];
    }
    let positions = if to == "critical" {
        unmanaged_positions(
            mode_of_trader(sender.instance.as_str()),
            "the trader recovers",
        )
    } else {
        "managed as before".to_owned()
    };
    vec![
        field("Open positions", positions),
        field(
            "Next",
            "the trader continues; the watchdog restarts it if it hangs",
        ),
        format!(
            "Action: none; if it lasts, check with {}",
            hints.explain(sender.instance)
        ),
    ]
}

/// What the failure of a service means; nothing for services that trading does not need.
pub(super) fn service_consequence(service: &str) -> Option<String> {
    if service.starts_with("nats") {
        Some(field(
            "Open positions",
            "no trader decides while the bus is down; stop orders on the exchange stay active",
        ))
    } else if service.starts_with("exchange-sim") {
        Some(field(
            "Open positions",
            "paper positions are not managed until the simulator runs",
        ))
    } else {
        None
    }
}

/// What a breaker does to positions and entries, and how it ends.
pub(super) fn breaker_consequence(breaker: &str) -> Vec<String> {
    let (positions, next) = match breaker {
        "position_loss" => (
            "this position is being closed at market price",
            "the book continues to trade",
        ),
        "volatility" => (
            "managed as before",
            "new positions have half the size until the breaker resets by itself",
        ),
        "consecutive_losses" => (
            "managed as before",
            "no new entries for an hour; the breaker resets by itself",
        ),
        "stale_data" => (
            "not managed until candles arrive; stop orders on the exchange stay active",
            "no new entries until candles arrive; the breaker resets by itself",
        ),
        "exchange_errors" => (
            "managed as far as the exchange answers; stop orders on the exchange stay active",
            "no new entries until a call succeeds; the breaker resets by itself",
        ),
        _ => ("managed as before", "the breaker resets by itself"),
    };
    vec![
        field("Open positions", positions),
        field("Next", next),
        field("Action", "none"),
    ]
}
