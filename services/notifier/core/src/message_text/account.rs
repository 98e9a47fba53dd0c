//! Texts of the events of an account's latch.

use protocol::duration::format_ms;
use protocol::event::{EventBody, OpenPosition};
use protocol::host_command;
use protocol::ids::Mode;
use rust_decimal::Decimal;

use super::layout::{Text, row};
use crate::command_hints::CommandHints;
use crate::formatting::{field, format_amount, format_percent, format_pnl, mode_label};

/// Most positions that a message lists.
const MAX_POSITIONS_LISTED: usize = 20;

pub(super) fn account_text(body: &EventBody, hints: CommandHints) -> Option<Text> {
    let text = match body {
        EventBody::AccountLatched { .. } => return latched_text(body, hints),
        EventBody::AccountFlattened {
            account,
            latch_id,
            trades,
            pnl,
            equity,
        } => {
            let result = match trades {
                0 => "no position was open".to_owned(),
                1 => format!("1 position closed, {}", format_pnl(*pnl)),
                more => format!("{more} positions closed, {}", format_pnl(*pnl)),
            };
            let checked = match account.mode {
                Mode::Paper => "flat by every journal",
                Mode::Live => "flat by every journal and by the exchange",
            };
            row(
                format!("🏁 ALL CLOSED: {}", mode_label(account.mode)),
                [
                    field("Account", account),
                    field("Result", result),
                    field("Equity", format_amount(*equity)),
                    field("Latch", latch_id),
                    field("Open positions", format_args!("none, {checked}")),
                    field("Next", "no new entries until you unlatch the account"),
                    format!(
                        "Action: find the cause, then {}",
                        hints.unlatch(account, latch_id)
                    ),
                ],
            )
        }
        EventBody::AccountStillOpen { .. } => return still_open_text(body, hints),
        EventBody::AccountUnlatched {
            account,
            latch_id,
            by,
            reason,
        } => {
            let lines = [
                field("Account", account),
                field("Latch", latch_id),
                field("By", by),
                field("Reason", reason),
                field(
                    "Next",
                    "entries are allowed again; the watchdog starts traders that the latch stopped",
                ),
            ];
            let breaker = breaker_of_latch(latch_id);
            let reset = breaker.map(|breaker| field("Circuit breaker reset", breaker));
            row(
                format!("🔓 ACCOUNT UNLATCHED: {}", mode_label(account.mode)),
                reset.into_iter().chain(lines),
            )
        }
        _ => return None,
    };
    Some(text)
}

fn still_open_text(body: &EventBody, hints: CommandHints) -> Option<Text> {
    let EventBody::AccountStillOpen {
        account,
        latch_id,
        reminder,
        after_ms,
        positions,
    } = body
    else {
        return None;
    };
    let mode = account.mode;
    let lines = [
        field("Account", account),
        field("Latch", latch_id),
        field("After", format_ms(*after_ms)),
        field("Reminder", reminder),
        field("Open positions", positions.len()),
    ];
    let closing = [
        field(
            "Next",
            "the trader continues to close; this message is repeated until everything is closed",
        ),
        format!(
            "Action: check with {}{}",
            hints.positions(),
            closing_commands(mode, positions)
        ),
    ];
    let text = row(
        format!(
            "🚨 STILL OPEN AFTER {}: {}",
            format_ms(*after_ms),
            mode_label(mode)
        ),
        lines
            .into_iter()
            .chain(position_lines(mode, positions))
            .chain(closing),
    );
    Some(text)
}

/// Commands that close what is still open: each halted book is closed after its unhalt.
fn closing_commands(mode: Mode, positions: &[OpenPosition]) -> String {
    let halted = positions.iter().filter(|position| position.is_halted());
    let unhalt = halted.take(MAX_POSITIONS_LISTED).map(|position| {
        let unhalt = host_command::unhalt(mode, &position.symbol);
        format!("; to close {}, run: {unhalt}", position.symbol)
    });
    let direct = (mode == Mode::Live).then(|| {
        let flatten = host_command::flatten_direct(mode);
        format!("; close them on the exchange, or run: {flatten}")
    });
    unhalt.chain(direct).collect()
}

/// The breaker that a latch is named after; `None` for a latch of the operator.
fn breaker_of_latch(latch_id: &str) -> Option<&str> {
    let (trigger, _) = latch_id.rsplit_once('-')?;
    (trigger != "operator").then_some(trigger)
}

fn latched_text(body: &EventBody, hints: CommandHints) -> Option<Text> {
    let EventBody::AccountLatched {
        account,
        latch_id,
        trigger,
        equity,
        peak,
        positions,
        by,
        reason,
    } = body
    else {
        return None;
    };
    let (sign, cause) = match by {
        Some(by) => ("🛑 FLATTEN", field("By", by)),
        None => (
            "🛑 EMERGENCY STOP",
            field("Circuit breaker tripped", trigger),
        ),
    };
    let reason = reason.as_ref().map(|reason| field("Reason", reason));
    let lines = [
        field("Account", account),
        field(
            "Equity",
            format!(
                "{}{}",
                format_amount(*equity),
                format_percent(equity - peak, *peak)
            ),
        ),
        field("Peak", format_amount(*peak)),
        field("Latch", latch_id),
        field(
            "Open positions",
            match positions.len() {
                0 => "no position is open".to_owned(),
                1 => "closing 1 position at market price".to_owned(),
                more => format!("closing {more} positions at market price"),
            },
        ),
    ];
    let closing = [
        field(
            "Next",
            "a message follows when everything is closed, or after 60s with what is still open; no new \
             entries until you unlatch the account",
        ),
        format!(
            "Action: find the cause, then {}",
            hints.unlatch(account, latch_id)
        ),
    ];
    let text = row(
        format!("{sign}: {}", mode_label(account.mode)),
        std::iter::once(cause)
            .chain(reason)
            .chain(lines)
            .chain(position_lines(account.mode, positions))
            .chain(closing),
    );
    Some(text)
}

/// One line for each position: its size, and what protects it.
fn position_lines(mode: Mode, positions: &[OpenPosition]) -> Vec<String> {
    let listed = positions.iter().take(MAX_POSITIONS_LISTED);
    let mut lines: Vec<String> = listed.map(|p| position_line(mode, p)).collect();
    if positions.len() > MAX_POSITIONS_LISTED {
        lines.push(format!(
            "… and {} more",
            positions.len() - MAX_POSITIONS_LISTED
        ));
    }
    lines
}

fn position_line(mode: Mode, position: &OpenPosition) -> String {
    let OpenPosition {
        symbol,
        quantity,
        stop_price,
        note,
    } = position;
    let note = note.as_ref().map(|note| format!(" ({note})"));
    let note = note.unwrap_or_default();
    if quantity.is_zero() {
        return format!("{symbol}: no position known{note}");
    }
    let side = if *quantity > Decimal::ZERO {
        "long"
    } else {
        "short"
    };
    let protection = match (stop_price, mode) {
        (Some(price), Mode::Live) => format!("stop at {} on the exchange", price.normalize()),
        (Some(price), Mode::Paper) => format!("stop at {} in the trader", price.normalize()),
        (None, Mode::Live) => "no stop at a fixed price protects it".to_owned(),
        (None, Mode::Paper) => "nothing protects it".to_owned(),
    };
    format!(
        "{symbol}: {side} {}, {protection}{note}",
        quantity.abs().normalize()
    )
}
