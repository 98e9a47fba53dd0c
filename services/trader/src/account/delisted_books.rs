//! Books of the account whose symbol is not in SYMBOLS any more. Their profit and loss still belongs to the
//! account; without it, removing a symbol would look like a loss or hide one.

use protocol::ids::SubjectToken;
use rust_decimal::Decimal;
use trader_core::book::{BookPhase, BookState};

use crate::app::context::Context;
use crate::books::book_journal::{account_books, read_book_state};

/// Totals of the delisted books.
#[derive(Debug, Default)]
pub(super) struct DelistedBooks {
    /// Profit of all closed positions in USDT, after fees and funding.
    pub(super) realized_pnl: Decimal,
    /// Symbols with an open position, which no process manages and whose value is unknown.
    pub(super) open: Vec<SubjectToken>,
}

/// Reads the journals of all delisted books.
///
/// # Errors
/// One line, if the bus does not answer or a journal cannot be read.
pub(super) async fn read(ctx: &Context) -> Result<DelistedBooks, String> {
    let mut delisted = DelistedBooks::default();
    for key in account_books(&ctx.bus, &ctx.account).await? {
        if !ctx.is_managed(&key.symbol) {
            let state = read_book_state(&ctx.bus, &key).await?;
            delisted.add(key.symbol, &state);
        }
    }
    Ok(delisted)
}

impl DelistedBooks {
    fn add(&mut self, symbol: SubjectToken, state: &BookState) {
        let realized_pnl = state.equity.saturating_sub(state.capital);
        self.realized_pnl = self.realized_pnl.saturating_add(realized_pnl);
        if matches!(state.phase, BookPhase::Open(_)) {
            tracing::error!(%symbol, %realized_pnl,
                "delisted book has an open position that nothing manages; add the symbol to SYMBOLS again");
            self.open.push(symbol);
        } else {
            tracing::info!(%symbol, %realized_pnl, "delisted book counted in the account");
        }
    }
}
