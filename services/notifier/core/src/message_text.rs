//! Text of the notification for each kind of event: a heading with state, mode and object, then `Key: value` lines,
//! then what to do. Warnings and critical notifications name their section of the runbook.
//!
//! `tests/core/golden/catalogue.txt` shows all of them.

mod account;
mod balance;
mod hints;
mod layout;
mod service;

use protocol::duration::format_ms;
use protocol::event::{EventBody, PositionSide, Severity};
use protocol::exit_code::ExitCode;
use protocol::host_command;
use protocol::ids::{AccountKey, BookKey, SubjectToken};
use protocol::unit_remedy::UnitRemedy;
use rust_decimal::Decimal;

use self::account::account_text;
use self::balance::balance_text;
use self::hints::{
    breaker_consequence, health_consequence, rejected_order_hints, stopped_trader_hints,
    unknown_order_consequence, unmanaged_positions,
};
use self::layout::{Text, row};
use self::service::service_text;
use crate::command_hints::CommandHints;
use crate::formatting::{
    field, format_after, format_amount, format_percent, format_pnl, format_time, mode_label,
    trader_label,
};
use crate::model::Sender;

/// Text of an event that `sender` published.
pub(crate) fn event_text(sender: &Sender<'_>, body: &EventBody, hints: CommandHints) -> Text {
    let text = match body {
        EventBody::TraderStarted { .. } | EventBody::TraderStopped { .. } => {
            trader_text(sender, body, hints)
        }
        EventBody::BookAcquired { .. }
        | EventBody::BookLost { .. }
        | EventBody::BookHalted { .. }
        | EventBody::BookUnhalted { .. } => book_text(sender, body, hints),
        EventBody::EntryDropped { .. }
        | EventBody::EntriesLocked { .. }
        | EventBody::PositionOpened { .. }
        | EventBody::PositionClosed { .. }
        | EventBody::BreakerTripped { .. }
        | EventBody::BreakerReset { .. } => trading_text(body),
        EventBody::OrderOutcomeUnknown { .. } | EventBody::OrderRejected { .. } => {
            order_text(body, hints)
        }
        EventBody::PositionUnprotected { .. } | EventBody::PositionProtected { .. } => {
            protection_text(body, hints)
        }
        EventBody::AccountLatched { .. }
        | EventBody::AccountFlattened { .. }
        | EventBody::AccountStillOpen { .. }
        | EventBody::AccountUnlatched { .. } => account_text(body, hints),
        EventBody::BalanceDiffers { .. }
        | EventBody::BalanceExplained { .. }
        | EventBody::DifferenceAccepted { .. }
        | EventBody::FundsTransferred { .. } => balance_text(body),
        EventBody::EntriesPaused { .. } | EventBody::EntriesResumed { .. } => {
            pause_text(body, hints)
        }
        EventBody::HealthChanged { .. }
        | EventBody::ComponentFailed { .. }
        | EventBody::ComponentRecovered { .. } => process_text(sender, body, hints),
        EventBody::ServiceRestartScheduled { .. }
        | EventBody::ServiceRecovered { .. }
        | EventBody::ServiceStarted { .. }
        | EventBody::ServiceQuarantined { .. }
        | EventBody::WatchdogStarted { .. }
        | EventBody::WatchdogClockStepped { .. }
        | EventBody::WatchdogBlindnessEnded { .. } => service_text(body, hints),
        EventBody::UnitRestartScheduled { .. }
        | EventBody::UnitCycleFinished { .. }
        | EventBody::UnitRecovered { .. } => unit_text(body, hints),
        EventBody::UnitQuarantined { .. }
        | EventBody::UnitStopped { .. }
        | EventBody::UnitRestartSkipped { .. }
        | EventBody::UnitHealthCritical { .. } => unit_state_text(body, hints),
        EventBody::UnitWarning { .. } | EventBody::UnitStopFailed { .. } => {
            unit_attention_text(body, hints)
        }
        EventBody::UnitCommandExecuted { .. }
        | EventBody::OperatorCommandExecuted { .. }
        | EventBody::UnauthorizedCommand { .. } => command_text(body, hints),
    };
    // A test shows that every kind has a text.
    let (title, mut lines) = text.unwrap_or_else(|| row(body.kind(), []));
    if body.severity() != Severity::Info {
        // The action is the last thing that is read.
        let is_action = |line: &String| line.starts_with("Action: ");
        let at = lines.iter().position(is_action).unwrap_or(lines.len());
        lines.insert(at, runbook_line(body.kind()));
    }
    (title, lines)
}

/// Names the section of the runbook with this anchor. A test shows that the sections exist.
pub(crate) fn runbook_line(anchor: &str) -> String {
    field(
        "Runbook",
        format_args!("docs/operations/runbook.md#{anchor}"),
    )
}

fn trader_text(sender: &Sender<'_>, body: &EventBody, hints: CommandHints) -> Option<Text> {
    let text = match body {
        EventBody::TraderStarted {
            mode,
            symbols,
            flags,
            version,
            missed_signals,
        } => {
            let missed = (!missed_signals.is_empty()).then(|| {
                let symbols = join_symbols(missed_signals);
                let missed = format!(
                    "{}, before the books were ready: {symbols}",
                    missed_signals.len()
                );
                field("Signals missed", missed)
            });
            let lines = [
                field("Mode", mode),
                field("Symbols", join_symbols(symbols)),
                field("Flags", flags.join(" ")),
                field("Version", version),
            ];
            row(
                format!("🚀 STARTED: {} {}", mode_label(*mode), sender.instance),
                lines.into_iter().chain(missed),
            )
        }
        EventBody::TraderStopped {
            reason,
            exit_code,
            uptime_ms,
        } => {
            let name = sender.instance.as_str();
            let lines = [
                field("Reason", reason),
                field("Exit", describe_exit((*exit_code).into())),
                field("Uptime", format_ms(*uptime_ms)),
            ];
            let more = stopped_trader_hints(name, (*exit_code).into(), hints);
            row(
                format!("🛑 SHUTDOWN: {}", trader_label(name)),
                lines.into_iter().chain(more),
            )
        }
        _ => return None,
    };
    Some(text)
}

fn book_text(sender: &Sender<'_>, body: &EventBody, hints: CommandHints) -> Option<Text> {
    let text = match body {
        EventBody::BookAcquired {
            book,
            instance,
            previous,
            config_changes,
        } => {
            let trader = instance.as_ref().unwrap_or(sender.instance);
            let other = previous.iter().filter(|previous| *previous != trader);
            let changes = config_changes.iter();
            row(
                heading("📘 BOOK ACQUIRED", book),
                std::iter::once(field("Trader", trader))
                    .chain(other.map(|other| field("Previous trader", other)))
                    .chain([field("Account", &book.account)])
                    .chain(changes.map(|change| field("Configuration changed", change))),
            )
        }
        EventBody::BookLost { book, reason } => row(
            heading("⚠️ BOOK LOST", book),
            [
                field("Trader", sender.instance),
                field("Account", &book.account),
                field("Reason", reason),
                field(
                    "Open positions",
                    "managed by the trader that acquires the book next",
                ),
                format!(
                    "Action: none if a BOOK ACQUIRED message follows within a minute; else check with {}",
                    hints.status()
                ),
            ],
        ),
        EventBody::BookHalted { book, reason } => row(
            heading("🚨 BOOK HALTED", book),
            [
                field("Trader", sender.instance),
                field("Account", &book.account),
                field("Reason", reason),
                field(
                    "Open positions",
                    unmanaged_positions(Some(book.account.mode), "you unhalt the book"),
                ),
                field(
                    "Next",
                    "the book stays halted; other books continue to trade",
                ),
                format!(
                    "Action: check position and orders, find the cause, then run: {}",
                    host_command::unhalt(book.account.mode, &book.symbol)
                ),
            ],
        ),
        EventBody::BookUnhalted { book, by, reason } => row(
            heading("🔓 BOOK UNHALTED", book),
            [
                field("Account", &book.account),
                field("By", by),
                field("Reason", reason),
                field("Next", "the book may trade again"),
            ],
        ),
        _ => return None,
    };
    Some(text)
}

fn trading_text(body: &EventBody) -> Option<Text> {
    let text = match body {
        EventBody::EntryDropped {
            book,
            reason,
            code,
            text,
        } => {
            let rejection = code.zip(text.as_ref());
            let rejection =
                rejection.map(|(code, text)| field("Exchange", format_args!("{text} ({code})")));
            row(
                heading("↩️ ENTRY DROPPED", book),
                [field("Account", &book.account), field("Reason", reason)]
                    .into_iter()
                    .chain(rejection)
                    .chain([
                        field("Open positions", "unchanged"),
                        field("Next", "the book waits for the next signal"),
                    ]),
            )
        }
        EventBody::EntriesLocked {
            book,
            lock,
            reason,
            until,
        } => row(
            heading("⏸️ ENTRIES LOCKED", book),
            [
                field("Account", &book.account),
                field("Lock", lock),
                field("Reason", reason),
                field("Until", format!("{} (exchange time)", format_time(*until))),
                field("Open positions", "managed as before"),
            ],
        ),
        EventBody::PositionOpened { .. } | EventBody::PositionClosed { .. } => {
            return position_text(body);
        }
        EventBody::BreakerTripped {
            scope,
            breaker,
            reason,
        } => {
            let lines = [
                field("Breaker", breaker),
                field("Scope", scope),
                field("Reason", reason),
            ];
            row(
                format!("⚠️ CIRCUIT BREAKER TRIPPED: {}", scope_label(scope)),
                lines.into_iter().chain(breaker_consequence(breaker)),
            )
        }
        EventBody::BreakerReset { scope, breaker } => row(
            format!("✅ CIRCUIT BREAKER RESET: {}", scope_label(scope)),
            [field("Breaker", breaker), field("Scope", scope)],
        ),
        _ => return None,
    };
    Some(text)
}

fn position_text(body: &EventBody) -> Option<Text> {
    let text = match body {
        EventBody::PositionOpened {
            book,
            strategy,
            side,
            quantity,
            entry_price,
            stop_price,
            target_price,
        } => row(
            format!(
                "{} {side}",
                heading(&format!("{} OPENED", side_sign(*side)), book)
            ),
            [
                field("Strategy", strategy),
                field("Entry", format!("{quantity} at {entry_price}")),
                field("Stop", stop_price),
                field("Target", target_price),
                field("Size", format_amount(quantity * entry_price)),
                field(
                    "Loss at the stop",
                    format_amount(quantity * (entry_price - stop_price).abs()),
                ),
                field("Account", &book.account),
            ],
        ),
        EventBody::PositionClosed {
            book,
            strategy,
            side,
            quantity,
            entry_price,
            exit_price,
            reason,
            pnl,
            equity,
        } => row(
            format!(
                "{} {side}, {}",
                heading(&format!("{} CLOSED", pnl_sign(*pnl)), book),
                format_pnl(*pnl)
            ),
            [
                field("Strategy", strategy),
                field("Entry", format!("{quantity} at {entry_price}")),
                field("Exit", format!("{exit_price} ({reason})")),
                field(
                    "Profit",
                    format!(
                        "{}{}",
                        format_pnl(*pnl),
                        format_percent(*pnl, quantity * entry_price)
                    ),
                ),
                field("Equity", format_amount(*equity)),
                field("Account", &book.account),
            ],
        ),
        _ => return None,
    };
    Some(text)
}

fn order_text(body: &EventBody, hints: CommandHints) -> Option<Text> {
    let text = match body {
        EventBody::OrderOutcomeUnknown {
            book,
            leg,
            client_order_id,
            error,
        } => row(
            heading(
                &format!("❓ {} ORDER OUTCOME UNKNOWN", leg.to_uppercase()),
                book,
            ),
            [
                field("Order", client_order_id),
                field("Account", &book.account),
                field("Error", error),
                field("Open positions", unknown_order_consequence(leg)),
                field(
                    "Next",
                    "the exchange is queried until the outcome is known; the order is not resubmitted before",
                ),
                format!(
                    "Action: none; if no result follows within 5 minutes, check the position on the exchange \
                     and with {}",
                    hints.positions()
                ),
            ],
        ),
        EventBody::OrderRejected {
            book,
            leg,
            client_order_id,
            code,
            reason,
        } => {
            let lines = [
                field("Order", client_order_id),
                field("Account", &book.account),
                field("Reason", format!("{reason} ({code})")),
            ];
            row(
                heading(&format!("⛔ {} ORDER REJECTED", leg.to_uppercase()), book),
                lines.into_iter().chain(rejected_order_hints(leg, hints)),
            )
        }
        _ => return None,
    };
    Some(text)
}

fn protection_text(body: &EventBody, hints: CommandHints) -> Option<Text> {
    let text = match body {
        EventBody::PositionUnprotected {
            book,
            quantity,
            unprotected_ms,
        } => row(
            heading("🚨 POSITION WITHOUT STOP", book),
            [
                field("Account", &book.account),
                field("Position", quantity.normalize()),
                field("Without stop for", format_ms(*unprotected_ms)),
                field(
                    "Open positions",
                    "this one has no stop on the exchange: nothing limits its loss",
                ),
                field(
                    "Next",
                    "the trader places a stop every second until one rests, and reports it",
                ),
                format!(
                    "Action: if no PROTECTED message follows within a minute, place a stop or close the position on the \
                     exchange; state: {}",
                    hints.positions()
                ),
            ],
        ),
        EventBody::PositionProtected {
            book,
            unprotected_ms,
        } => row(
            heading("🛡 POSITION PROTECTED", book),
            [
                field("Account", &book.account),
                field("Without stop for", format_ms(*unprotected_ms)),
                field(
                    "Open positions",
                    "a stop rests on the exchange, or the position is closed",
                ),
            ],
        ),
        _ => return None,
    };
    Some(text)
}

fn pause_text(body: &EventBody, hints: CommandHints) -> Option<Text> {
    let text = match body {
        EventBody::EntriesPaused {
            account,
            symbol,
            by,
            reason,
        } => {
            let end = hints.resume(account, symbol.as_ref());
            row(
                pause_heading("⏸️ ENTRIES PAUSED", account, symbol.as_ref()),
                pause_fields(account, by, reason).into_iter().chain([
                    field("Open positions", "managed as before"),
                    format!("Action: none; to allow entries again, {end}"),
                ]),
            )
        }
        EventBody::EntriesResumed {
            account,
            symbol,
            by,
            reason,
        } => row(
            pause_heading("▶️ ENTRIES RESUMED", account, symbol.as_ref()),
            pause_fields(account, by, reason)
                .into_iter()
                .chain([field("Next", "entries are allowed again")]),
        ),
        _ => return None,
    };
    Some(text)
}

fn process_text(sender: &Sender<'_>, body: &EventBody, hints: CommandHints) -> Option<Text> {
    let text = match body {
        EventBody::HealthChanged { from, to, reason } => {
            let lines = [
                field("Process", sender),
                field("Before", from),
                field("Reason", reason),
            ];
            row(
                format!(
                    "{} HEALTH {}: {}",
                    health_sign(to),
                    to.to_uppercase(),
                    sender.label()
                ),
                lines
                    .into_iter()
                    .chain(health_consequence(sender, to, hints)),
            )
        }
        EventBody::ComponentFailed { component, error } => row(
            format!("⚠️ COMPONENT FAILED: {} {component}", sender.label()),
            [
                field("Process", sender),
                field("Component", component),
                field("Error", error),
                field("Next", "the component is retried until it recovers"),
                field("Action", "none"),
            ],
        ),
        EventBody::ComponentRecovered {
            component,
            after_ms,
        } => row(
            format!("✅ COMPONENT RECOVERED: {} {component}", sender.label()),
            [
                field("Process", sender),
                field("Component", component),
                field("After", format_after(*after_ms)),
            ],
        ),
        _ => return None,
    };
    Some(text)
}

/// AUTO-RESTART TRIGGERED begins with the specified fields, in their order.
fn unit_text(body: &EventBody, hints: CommandHints) -> Option<Text> {
    let text = match body {
        EventBody::UnitRestartScheduled {
            unit,
            attempt,
            max_restarts,
            reason,
            consecutive_failures,
            uptime_ms,
            delay_ms,
            exit_code: _,
            last_error,
        } => {
            let attempt = match attempt {
                0 => "not counted".to_owned(),
                counted => format!("{counted}/{max_restarts}"),
            };
            let lines = [
                Some(field("Attempt", attempt)),
                Some(field("Reason", reason)),
                Some(field("Consecutive Failures", consecutive_failures)),
                Some(field("Uptime", format_ms(*uptime_ms))),
                Some(field("Next restart in", format_ms(*delay_ms))),
                last_error.as_ref().map(|error| field("Last error", error)),
                Some(field(
                    "Open positions",
                    unmanaged_positions(mode_of(unit), "the restart"),
                )),
                Some(format!(
                    "Action: none; if it repeats, check with {}",
                    hints.explain(unit)
                )),
            ];
            row(
                format!("🔄 AUTO-RESTART TRIGGERED: {}", trader_label(unit.as_str())),
                lines.into_iter().flatten(),
            )
        }
        EventBody::UnitCycleFinished {
            unit,
            attempt,
            max_restarts,
            uptime_ms,
            delay_ms,
        } => row(
            format!("🔁 CYCLE FINISHED: {}", trader_label(unit.as_str())),
            [
                field("Restarts used", format!("{attempt}/{max_restarts}")),
                field("Uptime", format_ms(*uptime_ms)),
                field("Next cycle in", format_ms(*delay_ms)),
                field(
                    "Open positions",
                    unmanaged_positions(mode_of(unit), "the next cycle"),
                ),
            ],
        ),
        EventBody::UnitRecovered { unit, after_ms } => row(
            format!("✅ TRADER RECOVERED: {}", trader_label(unit.as_str())),
            [
                field("After", format_after(*after_ms)),
                field("Open positions", "managed again"),
            ],
        ),
        _ => return None,
    };
    Some(text)
}

fn unit_state_text(body: &EventBody, hints: CommandHints) -> Option<Text> {
    let text = match body {
        EventBody::UnitQuarantined {
            unit,
            reason,
            restarts,
            consecutive_failures,
            exit_code,
            remedy,
        } => {
            let action = hints.remedy(unit, remedy);
            let lines = [
                Some(field("Reason", reason)),
                Some(field("Restarts", restarts)),
                Some(field("Consecutive Failures", consecutive_failures)),
                exit_code.map(|exit| field("Last exit", describe_exit(exit))),
                Some(field(
                    "Open positions",
                    unmanaged_positions(mode_of(unit), "the trader runs again"),
                )),
                Some(field("Next", "the trader stays stopped")),
                Some(match remedy {
                    UnitRemedy::Reconfigure => format!("Action: {action}"),
                    _ => format!("Action: fix the cause, then {action}"),
                }),
            ];
            row(
                format!(
                    "🚨 MANUAL INTERVENTION REQUIRED: {}",
                    trader_label(unit.as_str())
                ),
                lines.into_iter().flatten(),
            )
        }
        EventBody::UnitStopped { unit, reason } => row(
            format!("🛑 STOPPED: {}", trader_label(unit.as_str())),
            [
                field("Reason", reason),
                field(
                    "Open positions",
                    unmanaged_positions(mode_of(unit), "the trader runs again"),
                ),
                field("Next", "the trader stays stopped"),
                format!("Action: none; to start it, {}", hints.start(unit.as_str())),
            ],
        ),
        EventBody::UnitRestartSkipped {
            unit,
            reason,
            remedy,
        } => row(
            format!("⚠️ RESTART SKIPPED: {}", trader_label(unit.as_str())),
            [
                field("Reason", reason),
                field("Open positions", "managed only while the trader runs"),
                format!(
                    "Action: check with {}; to bring it back, {}",
                    hints.explain(unit),
                    hints.remedy(unit, remedy)
                ),
            ],
        ),
        EventBody::UnitHealthCritical {
            unit,
            for_ms,
            reason,
        } => row(
            format!(
                "⚠️ CRITICAL FOR {}: {}",
                format_ms(*for_ms),
                trader_label(unit.as_str())
            ),
            [
                field("Reason", reason),
                field(
                    "Open positions",
                    unmanaged_positions(mode_of(unit), "the trader recovers"),
                ),
                format!("Action: check with {}", hints.explain(unit)),
            ],
        ),
        _ => return None,
    };
    Some(text)
}

fn unit_attention_text(body: &EventBody, hints: CommandHints) -> Option<Text> {
    let text = match body {
        EventBody::UnitWarning { unit, reason } => row(
            format!("⚠️ ATTENTION: {}", trader_label(unit.as_str())),
            [
                field("Reason", reason),
                format!("Action: check with {}", hints.explain(unit)),
            ],
        ),
        EventBody::UnitStopFailed { unit, error } => row(
            format!("🚨 CANNOT BE STOPPED: {}", trader_label(unit.as_str())),
            [
                field(
                    "Reason",
                    format!("the unit hangs, and Docker cannot stop it: {error}"),
                ),
                field(
                    "Open positions",
                    unmanaged_positions(mode_of(unit), "the restart"),
                ),
                "Next: the watchdog continues to try; other units are not affected".to_owned(),
                "Action: restart Docker or the host, if it lasts".to_owned(),
            ],
        ),
        _ => return None,
    };
    Some(text)
}

fn command_text(body: &EventBody, hints: CommandHints) -> Option<Text> {
    let text = match body {
        EventBody::UnitCommandExecuted {
            unit,
            command,
            by,
            reason,
        } => {
            let lines = [
                Some(field("Command", format!("{command} {unit}"))),
                Some(field("By", by)),
                reason.as_ref().map(|reason| field("Reason", reason)),
                (command == "hold").then(|| {
                    format!(
                        "Next: the watchdog only watches the unit; to end this, {}",
                        hints.release(unit)
                    )
                }),
            ];
            row(
                format!("👤 COMMAND EXECUTED: {}", trader_label(unit.as_str())),
                lines.into_iter().flatten(),
            )
        }
        EventBody::OperatorCommandExecuted {
            by,
            command,
            result,
        } => row(
            "👤 COMMAND EXECUTED",
            [
                field("Command", command),
                field("By", by),
                field("Result", result),
            ],
        ),
        EventBody::UnauthorizedCommand { by, command } => row(
            "⚠️ UNAUTHORIZED COMMAND IGNORED",
            [
                field("By", by),
                field("Text", command),
                "Action: none if it was not you; if it was you, add your user id to TELEGRAM_ALLOWED_USERS in \
                 .env, then run: scripts/up"
                    .to_owned(),
            ],
        ),
        _ => return None,
    };
    Some(text)
}

/// State, mode and symbol of a book.
fn heading(state: &str, book: &BookKey) -> String {
    format!("{state}: {} {}", mode_label(book.account.mode), book.symbol)
}

fn pause_heading(state: &str, account: &AccountKey, symbol: Option<&SubjectToken>) -> String {
    let symbol = symbol.map_or("all symbols", SubjectToken::as_str);
    format!("{state}: {} {symbol}", mode_label(account.mode))
}

fn pause_fields(account: &AccountKey, by: &str, reason: &str) -> [String; 3] {
    [
        field("Account", account),
        field("By", by),
        field("Reason", reason),
    ]
}

/// Mode and symbol if the scope of a breaker is a book; else the scope as it is.
fn scope_label(scope: &str) -> String {
    match scope.parse::<BookKey>() {
        Ok(book) => format!("{} {}", mode_label(book.account.mode), book.symbol),
        Err(_) => scope.to_owned(),
    }
}

fn mode_of(unit: &SubjectToken) -> Option<protocol::ids::Mode> {
    crate::formatting::mode_of_trader(unit.as_str())
}

fn join_symbols(symbols: &[SubjectToken]) -> String {
    let symbols: Vec<&str> = symbols.iter().map(SubjectToken::as_str).collect();
    symbols.join(", ")
}

const fn side_sign(side: PositionSide) -> &'static str {
    match side {
        PositionSide::Long => "📈",
        PositionSide::Short => "📉",
    }
}

fn health_sign(to: &str) -> &'static str {
    match to {
        "healthy" => "✅",
        "critical" => "🚨",
        _ => "⚠️",
    }
}

fn pnl_sign(pnl: Decimal) -> &'static str {
    if pnl > Decimal::ZERO { "💰" } else { "🔻" }
}

fn describe_exit(exit: i64) -> String {
    match ExitCode::from_number(exit) {
        Some(code) => code.to_string(),
        None => exit.to_string(),
    }
}
