//! Enums of orders with Binance's names on the wire.

use serde::{Deserialize, Serialize};

/// Defines an enum with a name on the wire for each variant.
macro_rules! wire_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$about:meta])* $variant:ident = $wire:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $name { $($(#[$about])* #[serde(rename = $wire)] $variant,)+ }

        impl $name {
            /// Name on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $wire,)+ }
            }

            /// The variant of a name on the wire; `None` if there is none.
            pub fn from_wire(text: &str) -> Option<Self> {
                match text { $($wire => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

wire_enum!(
    /// Side of an order.
    Side {
        /// Buys the base asset.
        Buy = "BUY",
        /// Sells the base asset.
        Sell = "SELL",
    }
);
wire_enum!(
    /// Position of a contract that an order belongs to.
    PositionSide {
        /// The only position in one-way mode.
        Both = "BOTH",
        /// The long position in hedge mode.
        Long = "LONG",
        /// The short position in hedge mode.
        Short = "SHORT",
    }
);
wire_enum!(
    /// Type of an order in the order book.
    OrderType {
        /// Fills at any price.
        Market = "MARKET",
        /// Fills at its price or better.
        Limit = "LIMIT",
        /// Created by the exchange to liquidate a position; clients cannot send it.
        Liquidation = "LIQUIDATION",
    }
);
wire_enum!(
    /// Type of a conditional order.
    AlgoType {
        /// Becomes a market order when the price has moved against the position.
        StopMarket = "STOP_MARKET",
        /// Becomes a market order when the price has moved in favor of the position.
        TakeProfitMarket = "TAKE_PROFIT_MARKET",
    }
);
wire_enum!(
    /// Time in force of an order.
    TimeInForce {
        /// Stays in the order book until canceled.
        Gtc = "GTC",
        /// Fills at once as far as possible; the rest expires.
        Ioc = "IOC",
        /// Fills at once completely, or expires.
        Fok = "FOK",
        /// Expires if it would fill at once.
        Gtx = "GTX",
    }
);
wire_enum!(
    /// Status of an order.
    OrderStatus {
        /// In the order book without fills.
        New = "NEW",
        /// In the order book, partially filled.
        PartiallyFilled = "PARTIALLY_FILLED",
        /// Ended by a complete fill.
        Filled = "FILLED",
        /// Ended by the client.
        Canceled = "CANCELED",
        /// Ended by the exchange.
        Expired = "EXPIRED",
        /// Ended by the exchange, because it would have traded with an order of the same account.
        ExpiredInMatch = "EXPIRED_IN_MATCH",
    }
);
wire_enum!(
    /// Status of a contract.
    ContractStatus {
        /// Listed; trading has not begun.
        PendingTrading = "PENDING_TRADING",
        /// Open for trading.
        Trading = "TRADING",
        /// Delivery is about to begin.
        PreDelivering = "PRE_DELIVERING",
        /// Delivery is in progress.
        Delivering = "DELIVERING",
        /// Settled at its delivery date.
        Delivered = "DELIVERED",
        /// Settlement is about to begin.
        PreSettle = "PRE_SETTLE",
        /// Settlement: positions can only be closed.
        Settling = "SETTLING",
        /// Closed and not opened again.
        Close = "CLOSE",
    }
);
wire_enum!(
    /// Type of a contract.
    ContractType {
        /// Contract without a delivery date.
        Perpetual = "PERPETUAL",
        /// Delivered at the end of this quarter.
        CurrentQuarter = "CURRENT_QUARTER",
        /// Delivered at the end of the next quarter.
        NextQuarter = "NEXT_QUARTER",
    }
);
wire_enum!(
    /// Status of a conditional order.
    AlgoStatus {
        /// Waiting for its trigger.
        New = "NEW",
        /// Triggered; its order is in the order book.
        Triggered = "TRIGGERED",
        /// The order it became has ended.
        Finished = "FINISHED",
        /// Ended by the client.
        Canceled = "CANCELED",
        /// The order it became was rejected.
        Rejected = "REJECTED",
        /// Ended by the exchange.
        Expired = "EXPIRED",
    }
);
wire_enum!(
    /// Price that triggers a conditional order.
    WorkingType {
        /// The price of the last trade.
        Contract = "CONTRACT_PRICE",
        /// The mark price, which equals the last price unless a fault separates them.
        Mark = "MARK_PRICE",
    }
);
wire_enum!(
    /// Margin mode of a position.
    MarginMode {
        /// The whole wallet is margin.
        Cross = "CROSSED",
        /// The position has its own margin.
        Isolated = "ISOLATED",
    }
);
wire_enum!(
    /// Type of a change of the wallet.
    IncomeType {
        /// Profit or loss that a fill realized.
        Pnl = "REALIZED_PNL",
        /// Fee of a fill; negative.
        Commission = "COMMISSION",
        /// Funding of a position; negative if paid.
        Funding = "FUNDING_FEE",
        /// Liquidation fee, paid into the insurance fund.
        Insurance = "INSURANCE_CLEAR",
        /// Transfer from or to another wallet of the user.
        Transfer = "TRANSFER",
        /// Transfer between accounts of the exchange.
        InternalTransfer = "INTERNAL_TRANSFER",
        /// Part of fees that is paid back.
        Rebate = "COMMISSION_REBATE",
    }
);

impl OrderStatus {
    /// Whether an order with this status can still fill.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::New | Self::PartiallyFilled)
    }
}
