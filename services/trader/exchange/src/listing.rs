//! What the exchange lists about one symbol: [`SymbolListing`].

use trader_core::symbol_filters::SymbolFilters;

/// What the exchange lists about one symbol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SymbolListing {
    /// The symbol's filters; `None` if it is not listed, or they cannot be read. They are there also while it cannot be
    /// traded: a position is still closed by them.
    pub filters: Option<SymbolFilters>,
    /// Why no position may be opened now; `None` if one may.
    pub obstacle: Option<ListingObstacle>,
}

/// Why no position may be opened in a symbol, in one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListingObstacle {
    /// The exchange does not list the symbol: it was removed or renamed, or never existed.
    #[error(
        "SYMBOLS=\"{symbol}\": expected listed symbols such as {examples}; {symbol} is not listed on this exchange"
    )]
    NotListed {
        /// The symbol.
        symbol: String,
        /// A few symbols that can be traded, the most similar first.
        examples: String,
    },
    /// The symbol is listed, and cannot be traded now.
    #[error("{symbol} is listed with {reason}")]
    NotTradable {
        /// The symbol.
        symbol: String,
        /// What the exchange lists, and what is expected.
        reason: String,
    },
    /// The symbol's filters cannot be read.
    #[error("the filters of {symbol} cannot be read: {reason}")]
    Unreadable {
        /// The symbol.
        symbol: String,
        /// The cause.
        reason: String,
    },
}
