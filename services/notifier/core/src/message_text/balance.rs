//! Texts of the events of an account's balance on the exchange.

use protocol::event::EventBody;
use protocol::host_command;
use rust_decimal::Decimal;

use super::layout::{Text, row};
use crate::formatting::{field, format_amount, format_pnl, mode_label};

pub(super) fn balance_text(body: &EventBody) -> Option<Text> {
    let text = match body {
        EventBody::BalanceDiffers { .. } => return differs_text(body),
        EventBody::BalanceExplained {
            account,
            difference_id,
            balance,
        } => row(
            format!("✅ BALANCE EXPLAINED: {}", mode_label(account.mode)),
            [
                field("Account", account),
                field("Difference", difference_id),
                field("Balance", format_amount(*balance)),
                field("Next", "entries are allowed again"),
            ],
        ),
        EventBody::DifferenceAccepted {
            account,
            difference_id,
            amount,
            by,
            reason,
        } => row(
            format!("☑️ DIFFERENCE ACCEPTED: {}", mode_label(account.mode)),
            [
                field("Account", account),
                field("Difference", difference_id),
                field("Amount", format_pnl(*amount)),
                field("By", by),
                field("Reason", reason),
                field("Next", "entries are allowed again"),
            ],
        ),
        EventBody::FundsTransferred {
            account,
            amount,
            name,
            balance,
            equity,
        } => {
            let heading = if *amount > Decimal::ZERO {
                "💰 DEPOSIT"
            } else {
                "💸 WITHDRAWAL"
            };
            let missing = equity.filter(|equity| equity > balance).map(|equity| {
                let equity = format_amount(equity);
                let text = format_args!(
                    "the books count with {equity}; the exchange may reject entries until CAPITAL_USDT is lower"
                );
                field("Attention", text)
            });
            let lines = [
                field("Account", account),
                field("Amount", format_pnl(*amount)),
                field("Kind", name),
                field("Balance", format_amount(*balance)),
                field("Profit and breakers", "unchanged"),
            ];
            row(
                format!("{heading}: {}", mode_label(account.mode)),
                lines.into_iter().chain(missing),
            )
        }
        _ => return None,
    };
    Some(text)
}

fn differs_text(body: &EventBody) -> Option<Text> {
    let EventBody::BalanceDiffers {
        account,
        difference_id,
        balance,
        amount,
        unbooked,
    } = body
    else {
        return None;
    };
    let lines = [
        field("Account", account),
        field("Balance", format_amount(*balance)),
        field("Unexplained", format_pnl(*amount)),
        field("Difference", difference_id),
    ];
    let unbooked = unbooked.iter().map(|(symbol, amount)| {
        let amount = format_pnl(*amount);
        format!("{symbol}: the exchange lists {amount} that its journal does not have")
    });
    let closing = [
        field(
            "Next",
            "no new entries; open positions are managed as before; entries are allowed again if the difference \
             explains itself",
        ),
        format!(
            "Action: find the cause, then run: {}",
            // The bot does not accept differences.
            host_command::accept(account.mode, difference_id)
        ),
    ];
    let text = row(
        format!("🚨 BALANCE DIFFERS: {}", mode_label(account.mode)),
        lines.into_iter().chain(unbooked).chain(closing),
    );
    Some(text)
}
