//! The words of orders as Binance writes them. Not here: what orders do.

use serde::{Deserialize, Serialize};

/// An enum whose variants are words on the wire.
macro_rules! wire_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$about:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $name { $($(#[$about])* #[serde(rename = $word)] $variant,)+ }

        impl $name {
            /// The word.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// The variant of this word.
            pub fn from_wire(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

wire_enum!(
    /// Which way an order trades.
    Side {
        /// Buys.
        Buy = "BUY",
        /// Sells.
        Sell = "SELL",
    }
);
wire_enum!(
    /// Which position of a contract is meant.
    PositionSide {
        /// The only one, in one-way mode.
        Both = "BOTH",
        /// The long one, in hedge mode.
        Long = "LONG",
        /// The short one, in hedge mode.
        Short = "SHORT",
    }
);
wire_enum!(
    /// What the matching engine has.
    OrderType {
        /// At any price.
        Market = "MARKET",
        /// At a price or better.
        Limit = "LIMIT",
        /// The exchange's own, which closes a lost position; no client may ask for it.
        Liquidation = "LIQUIDATION",
    }
);
wire_enum!(
    /// What the algo service takes.
    AlgoType {
        /// A market order once the price went against the position.
        StopMarket = "STOP_MARKET",
        /// A market order once the price went with it.
        TakeProfitMarket = "TAKE_PROFIT_MARKET",
    }
);
wire_enum!(
    /// How long an order stays.
    TimeInForce {
        /// Until it is cancelled.
        Gtc = "GTC",
        /// What fills at once; the rest expires.
        Ioc = "IOC",
        /// All at once or nothing.
        Fok = "FOK",
        /// Only as a maker.
        Gtx = "GTX",
    }
);
wire_enum!(
    /// How an order stands.
    OrderStatus {
        /// Resting.
        New = "NEW",
        /// Resting, a part is filled.
        PartiallyFilled = "PARTIALLY_FILLED",
        /// Filled.
        Filled = "FILLED",
        /// Ended by the client.
        Canceled = "CANCELED",
        /// Ended by the exchange.
        Expired = "EXPIRED",
    }
);
wire_enum!(
    /// How a conditional order stands.
    AlgoStatus {
        /// Waiting.
        New = "NEW",
        /// Its condition is met; its order is in the matching engine.
        Triggered = "TRIGGERED",
        /// Its order has ended.
        Finished = "FINISHED",
        /// Ended by the client.
        Canceled = "CANCELED",
        /// Its order was refused.
        Rejected = "REJECTED",
        /// Ended by the exchange.
        Expired = "EXPIRED",
    }
);
wire_enum!(
    /// Which price triggers.
    WorkingType {
        /// The last price.
        Contract = "CONTRACT_PRICE",
        /// The mark price, here the same.
        Mark = "MARK_PRICE",
    }
);
wire_enum!(
    /// Where a position's margin comes from.
    MarginMode {
        /// The whole wallet.
        Cross = "CROSSED",
        /// Its own share.
        Isolated = "ISOLATED",
    }
);
wire_enum!(
    /// Why a wallet changed.
    IncomeType {
        /// A position was closed.
        Pnl = "REALIZED_PNL",
        /// A trade's fee.
        Commission = "COMMISSION",
        /// Funding.
        Funding = "FUNDING_FEE",
        /// What liquidation costs beyond the trade.
        Insurance = "INSURANCE_CLEAR",
    }
);

impl OrderStatus {
    /// Whether such an order may still trade.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::New | Self::PartiallyFilled)
    }
}
