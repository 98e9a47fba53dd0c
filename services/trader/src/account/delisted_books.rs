//! Books of an account that is not traded with their symbol any more. What they earned or lost is the
//! account's all the same: without it, a symbol taken away would look like a loss, or hide one.

use protocol::ids::{BookKey, SubjectToken};
use protocol::subject::filter;
use runtime::streams;
use rust_decimal::Decimal;
use trader_core::book::{BookPhase, BookState};

use crate::book_task;
use crate::context::Context;

/// Profit and loss that stay, and positions that nobody manages.
#[derive(Debug, Default)]
pub(super) struct DelistedBooks {
    /// Of all their closed positions, after fees and funding.
    pub(super) realized_pnl: Decimal,
    /// Those whose worth nobody knows, as they still hold something.
    pub(super) open: Vec<SubjectToken>,
}

/// Reads their journals.
///
/// # Errors
/// One line.
pub(super) async fn read(ctx: &Context) -> Result<DelistedBooks, String> {
    let filter = filter::account_book_journals(&ctx.account);
    let subjects = ctx.bus.subjects(streams::JOURNAL, &filter).await?;
    let key = |subject: &String| subject.strip_prefix("journal.v1.book.")?.parse().ok();
    let mut keys: Vec<BookKey> = subjects.iter().filter_map(key).collect();
    keys.retain(|key| !ctx.symbol_filters.contains_key(&key.symbol));
    keys.sort();
    let mut retired = DelistedBooks::default();
    for key in keys {
        let state = book_task::read_book_state(&ctx.bus, &key).await?;
        retired.add(key.symbol, &state);
    }
    Ok(retired)
}

impl DelistedBooks {
    fn add(&mut self, symbol: SubjectToken, state: &BookState) {
        let earned = state.equity.saturating_sub(state.capital);
        self.realized_pnl = self.realized_pnl.saturating_add(earned);
        if matches!(state.phase, BookPhase::Open(_)) {
            tracing::error!(%symbol, %earned,
                "not in SYMBOLS any more and not closed: nobody manages it; put the symbol back");
            self.open.push(symbol);
        } else {
            tracing::info!(%symbol, %earned, "not in SYMBOLS any more; what it earned still counts");
        }
    }
}
