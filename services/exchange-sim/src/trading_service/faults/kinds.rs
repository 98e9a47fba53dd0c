//! The table of all faults. The parsing of requests, the list of armed faults and the reference page follow from the
//! table.

use serde_json::{Value, json};

use super::calls::{
    Ban, Delay, EmptyBody, ErrorAnswer, ExhaustLimit, Gzip, HtmlPage, MissingHeaders, NoFields,
    OtherBody, QueryLag, SlowBody, TruncatedBody, Unavailable,
};
use super::content::{MissingField, NewField, OtherValue, SwappedTypes};
use super::fields::{FieldError, Fields, read};
use super::keys::{CallKey, Times};
use super::lasting::{ClockSkew, Close, Switch};
use super::trading::{MissingCandle, RevokeKey};
use crate::trading::fault::{
    AdlFault, AssumedPriceFault, BalanceChangeFault, BracketsFault, ContractStatusFault,
    FeeAssetFault, FillScheduleFault, FilterFault, FundingFault, LiquidateFault, MarkPriceFault,
    PriceGapFault, RejectTriggersFault, RenameFault, SettleFault, TradingFault, UnlistFault,
};

/// What a fault affects. A call takes the first armed fault of each group, and all faults of content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Group {
    /// Time at which a call is executed or answered.
    Latency,
    /// Whether a call is executed, and with which error it is answered.
    Execution,
    /// JSON of answers and of events.
    Content,
    /// What a query shows.
    Query,
    /// Bytes of an answer, and the connection.
    Delivery,
    /// Headers of an answer.
    Headers,
    /// How an order fills.
    Order,
    /// Frames of a stream.
    Stream,
    /// The exchange, until the fault is ended.
    Lasting,
    /// The exchange, once.
    Once,
    /// Accounts, contracts and prices: part of the exchange's state, and stored with it.
    State,
}

impl Group {
    /// All groups in the order of the reference page.
    pub(crate) const ALL: [Self; 11] = [
        Self::Latency,
        Self::Execution,
        Self::Query,
        Self::Content,
        Self::Delivery,
        Self::Headers,
        Self::Order,
        Self::Stream,
        Self::Lasting,
        Self::Once,
        Self::State,
    ];

    /// Heading of the group in the reference page.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Latency => "Latency",
            Self::Execution => "Errors",
            Self::Content => "Content of answers and events",
            Self::Query => "Queries",
            Self::Delivery => "Delivery of answers",
            Self::Headers => "Headers",
            Self::Order => "Orders",
            Self::Stream => "Streams",
            Self::Lasting => "The exchange, until the fault is ended",
            Self::Once => "The exchange, once",
            Self::State => "Accounts, contracts and prices",
        }
    }

    /// Whether its faults are of calls.
    pub(crate) const fn is_of_calls(self) -> bool {
        matches!(
            self,
            Self::Latency
                | Self::Execution
                | Self::Content
                | Self::Query
                | Self::Delivery
                | Self::Headers
                | Self::Order
        )
    }

    /// Whether its faults are of streams, or can be.
    pub(crate) const fn is_of_streams(self) -> bool {
        matches!(self, Self::Content | Self::Stream)
    }
}

/// A row of the table.
pub(crate) struct FaultKind {
    pub(crate) name: &'static str,
    pub(crate) group: Group,
    pub(crate) summary: &'static str,
    /// The fault's own fields with their meanings.
    pub(crate) fields: &'static [(&'static str, &'static str)],
    /// A request that arms it.
    pub(crate) example: &'static str,
    /// Public documentation or field report from which the fault is known.
    pub(crate) source: &'static str,
    /// Reads its own fields.
    pub(super) read: fn(Fields, &FaultKind) -> Result<Fault, FieldError>,
}

impl FaultKind {
    /// Times if the request does not say: lasting faults end with `on`, all others happen once.
    pub(super) fn default_times(&self) -> Times {
        let ends_by_switch = self.fields.iter().any(|(name, _)| *name == "on");
        if ends_by_switch || matches!(self.group, Group::Lasting | Group::Once | Group::State) {
            Times::Unlimited
        } else {
            Times::AtMost(1)
        }
    }
}

macro_rules! fault_table {
    ($($variant:ident($fields:ty) {
        name: $name:literal,
        group: $group:ident,
        summary: $summary:literal,
        fields: $meanings:expr,
        example: $example:literal,
        source: $source:literal,
    })*) => {
        /// A fault with its fields.
        #[derive(Debug, Clone, PartialEq)]
        pub(crate) enum Fault {
            $(
                #[doc = $summary]
                $variant($fields),
            )*
        }

        /// All faults.
        pub(crate) static KINDS: &[FaultKind] = &[$(FaultKind {
            name: $name,
            group: Group::$group,
            summary: $summary,
            fields: $meanings,
            example: $example,
            source: $source,
            read: |fields, kind| read(fields, kind.fields).map(Fault::$variant),
        },)*];

        impl Fault {
            /// Name, and the fields as JSON.
            fn parts(&self) -> (&'static str, serde_json::Result<Value>) {
                match self {
                    $(Self::$variant(fields) => ($name, serde_json::to_value(fields)),)*
                }
            }
        }
    };
}

fault_table! {
    Delay(Delay) {
        name: "delay",
        group: Latency,
        summary: "The call is answered late, or executed late.",
        fields: &[
            ("ms", "wall time in milliseconds, at most an hour"),
            ("when", "`after` (default): executed at once, answered late; `before`: executed late"),
        ],
        example: r#"{"fault": "delay", "ms": 800, "path": "/fapi/v1/userTrades", "times": "unlimited"}"#,
        source: "JKorf/Binance.Net#538; Binance: timing security (a late request is rejected with -1021)",
    }
    FailBefore(ErrorAnswer) {
        name: "fail-before",
        group: Execution,
        summary: "The call is answered with an error and is not executed.",
        fields: &[
            ("status", "HTTP status"),
            ("code", "Binance's error code, such as -1021"),
            ("message", "text of the error; that of the code if not set"),
        ],
        example: r#"{"fault": "fail-before", "status": 400, "code": -1021, "method": "POST"}"#,
        source: "Binance: error codes; hummingbot/hummingbot#6656 (-1021)",
    }
    FailAfter(ErrorAnswer) {
        name: "fail-after",
        group: Execution,
        summary: "The call is executed and answered with an error.",
        fields: &[
            ("status", "HTTP status"),
            ("code", "Binance's error code, such as -1007"),
            ("message", "text of the error; that of the code if not set"),
        ],
        example: r#"{"fault": "fail-after", "status": 408, "code": -1007, "path": "/fapi/v1/order"}"#,
        source: "Binance: error code -1007, execution status unknown",
    }
    Unavailable(Unavailable) {
        name: "unavailable",
        group: Execution,
        summary: "The call is answered with 503 and one of the documented texts, in the JSON in which it arrives.",
        fields: &[
            ("text", "`unknown-error` (without a code), `service-unavailable` or `internal-error` (-1001)"),
            ("executed", "whether the call is executed; false if not set"),
        ],
        example: r#"{"fault": "unavailable", "text": "unknown-error", "executed": true, "path": "/fapi/v1/order"}"#,
        source: "Binance: HTTP return codes; hummingbot/hummingbot#6123 (JSON without a code), ccxt/ccxt#13767 (-1001)",
    }
    Overload(NoFields) {
        name: "overload",
        group: Execution,
        summary: "New orders are answered with 503 and -1008; orders that can only reduce a position are executed.",
        fields: &[],
        example: r#"{"fault": "overload", "times": "unlimited"}"#,
        source: "Binance: error code -1008",
    }
    QueryLag(QueryLag) {
        name: "query-lag",
        group: Query,
        summary: "A query shows the account as it was some time ago: a new order is unknown (-2013), its trades are missing, position and balance are old.",
        fields: &[("ms", "wall time in milliseconds by which the query is late")],
        example: r#"{"fault": "query-lag", "ms": 5000, "path": "/fapi/v1/userTrades", "times": "unlimited"}"#,
        source: "ccxt/ccxt#8403, sammchardy/python-binance#1203, freqtrade/freqtrade#12681",
    }
    EmptyAnswer(NoFields) {
        name: "empty-answer",
        group: Query,
        summary: "A query finds nothing: lists are empty, and a single order does not exist (-2013).",
        fields: &[],
        example: r#"{"fault": "empty-answer", "path": "/fapi/v3/positionRisk", "for_ms": 3000}"#,
        source: "sammchardy/python-binance#916, ccxt/ccxt#5393, ccxt/ccxt#6615 (-2013)",
    }
    OtherValue(OtherValue) {
        name: "other-value",
        group: Content,
        summary: "A field has another value, such as one that no documentation lists.",
        fields: &[
            ("field", "name of the field, at any depth"),
            ("value", "any JSON; \"UNDOCUMENTED\" if not set"),
        ],
        example: r#"{"fault": "other-value", "field": "status", "value": "PENDING_TRADING", "path": "/fapi/v1/exchangeInfo"}"#,
        source: "JKorf/Binance.Net#498 (status), JKorf/Binance.Net#530 and Igosuki/binance-rs-async#108 (contract type)",
    }
    NewField(NewField) {
        name: "new-field",
        group: Content,
        summary: "Every object has one more field.",
        fields: &[
            ("field", "name of the field; `undocumentedField` if not set"),
            ("value", "any JSON; \"UNDOCUMENTED\" if not set"),
        ],
        example: r#"{"fault": "new-field", "to": "user", "times": "unlimited"}"#,
        source: "Binance: change log of USD-M futures, which adds fields without a new version of a path",
    }
    MissingField(MissingField) {
        name: "missing-field",
        group: Content,
        summary: "A field is missing.",
        fields: &[("field", "name of the field, at any depth")],
        example: r#"{"fault": "missing-field", "field": "avgPrice", "path": "/fapi/v1/order"}"#,
        source: "JKorf/Binance.Net#1001 (contract type not set)",
    }
    SwappedTypes(SwappedTypes) {
        name: "swapped-types",
        group: Content,
        summary: "Numbers are strings, and strings with numbers are numbers.",
        fields: &[("field", "name of the field, at any depth; all fields if not set")],
        example: r#"{"fault": "swapped-types", "field": "orderId", "path": "/fapi/v1/order"}"#,
        source: "Binance: leverageBracket and klines mix both forms already",
    }
    DuplicateRows(NoFields) {
        name: "duplicate-rows",
        group: Content,
        summary: "Every row of a list comes twice.",
        fields: &[],
        example: r#"{"fault": "duplicate-rows", "path": "/fapi/v1/userTrades", "symbol": "BTCUSDT"}"#,
        source: "ccxt/ccxt#18078 (a fill delivered twice)",
    }
    ReverseRows(NoFields) {
        name: "reverse-rows",
        group: Content,
        summary: "The rows of a list come in the reverse order.",
        fields: &[],
        example: r#"{"fault": "reverse-rows", "path": "/fapi/v1/allOrders"}"#,
        source: "sammchardy/python-binance#1203",
    }
    HtmlPage(HtmlPage) {
        name: "html-page",
        group: Delivery,
        summary: "The content delivery network answers with an HTML page and without the exchange's headers.",
        fields: &[
            ("status", "HTTP status, also 200"),
            ("executed", "whether the call has been executed; false if not set"),
        ],
        example: r#"{"fault": "html-page", "status": 403, "path": "/fapi/v1/klines"}"#,
        source: "JKorf/Binance.Net#115 (403), binance/binance-futures-connector-python#75 (503)",
    }
    EmptyBody(EmptyBody) {
        name: "empty-body",
        group: Delivery,
        summary: "The call is executed; the answer has no body.",
        fields: &[("status", "HTTP status; 200 if not set")],
        example: r#"{"fault": "empty-body", "path": "/fapi/v1/order", "method": "POST"}"#,
        source: "ccxt/node-binance-api#736",
    }
    OtherBody(OtherBody) {
        name: "other-body",
        group: Delivery,
        summary: "The call is executed; the answer has another body: `{}`, or an error with status 200.",
        fields: &[
            ("body", "any JSON"),
            ("status", "HTTP status; 200 if not set"),
        ],
        example: r#"{"fault": "other-body", "body": {"code": -1000, "msg": "An unknown error occurred while processing the request."}}"#,
        source: "Binance: the batch endpoints answer errors with status 200",
    }
    TruncatedBody(TruncatedBody) {
        name: "truncated-body",
        group: Delivery,
        summary: "The call is executed; the connection ends within the body.",
        fields: &[
            ("bytes", "number of bytes that are sent; half of the body if not set"),
            ("framing", "`content-length` (default): fewer bytes than announced; `chunked`: no last chunk"),
        ],
        example: r#"{"fault": "truncated-body", "bytes": 40, "framing": "chunked", "path": "/fapi/v1/exchangeInfo"}"#,
        source: "ccxt/node-binance-api#736 (unexpected end of JSON)",
    }
    EndlessBody(NoFields) {
        name: "endless-body",
        group: Delivery,
        summary: "The call is executed; the body never ends.",
        fields: &[],
        example: r#"{"fault": "endless-body", "path": "/fapi/v1/klines"}"#,
        source: "RFC 9112, section 7.1: a chunked body has no announced length",
    }
    SlowBody(SlowBody) {
        name: "slow-body",
        group: Delivery,
        summary: "The call is executed; the body comes in small parts.",
        fields: &[
            ("bytes", "bytes of a part; 1 if not set"),
            ("every_ms", "wall time between parts in milliseconds; 1000 if not set"),
        ],
        example: r#"{"fault": "slow-body", "path": "/fapi/v1/openOrders"}"#,
        source: "RFC 9112: a server may send a body at any pace",
    }
    Gzip(Gzip) {
        name: "gzip",
        group: Delivery,
        summary: "The compression of the body is wrong.",
        fields: &[("form", "`unrequested`, `corrupt`, `truncated`, or `plain` (only the header says gzip)")],
        example: r#"{"fault": "gzip", "form": "plain", "path": "/fapi/v3/account"}"#,
        source: "knowm/XChange#2060 (not in gzip format), sjanel/coincenter#626 (compressed)",
    }
    DropResponse(NoFields) {
        name: "drop-response",
        group: Delivery,
        summary: "The call is executed but never answered: the connection stays open.",
        fields: &[],
        example: r#"{"fault": "drop-response", "method": "POST", "path": "/fapi/v1/order"}"#,
        source: "JKorf/Binance.Net#538",
    }
    CutConnection(NoFields) {
        name: "cut-connection",
        group: Delivery,
        summary: "The call is executed; the connection is closed instead of an answer.",
        fields: &[],
        example: r#"{"fault": "cut-connection", "path": "/fapi/v1/algoOrder"}"#,
        source: "JKorf/Binance.Net#712",
    }
    ResetConnection(NoFields) {
        name: "reset-connection",
        group: Delivery,
        summary: "The call is executed; the connection is reset instead of an answer.",
        fields: &[],
        example: r#"{"fault": "reset-connection", "method": "POST", "path": "/fapi/v1/order"}"#,
        source: "JKorf/Binance.Net#712 (connection reset by peer)",
    }
    MissingHeaders(MissingHeaders) {
        name: "missing-headers",
        group: Headers,
        summary: "Headers are missing.",
        fields: &[("names", "names of the headers in lower case; those of the limits if not set")],
        example: r#"{"fault": "missing-headers", "names": ["retry-after"], "times": "unlimited"}"#,
        source: "Binance: rejected orders are not guaranteed to have X-MBX-ORDER-COUNT headers",
    }
    PartialFill(NoFields) {
        name: "partial-fill",
        group: Order,
        summary: "The order fills only half at once.",
        fields: &[],
        example: r#"{"fault": "partial-fill"}"#,
        source: "Binance: status PARTIALLY_FILLED",
    }
    Mute(Switch) {
        name: "mute",
        group: Stream,
        summary: "Streams stay open but send nothing.",
        fields: &[("on", "true begins, false ends it")],
        example: r#"{"fault": "mute", "on": true, "to": "user"}"#,
        source: "JKorf/Binance.Net#1296",
    }
    DuplicateFrames(NoFields) {
        name: "duplicate",
        group: Stream,
        summary: "Frames are sent twice.",
        fields: &[],
        example: r#"{"fault": "duplicate", "times": 9, "to": "user"}"#,
        source: "ccxt/ccxt#18078",
    }
    ReorderFrames(NoFields) {
        name: "reorder",
        group: Stream,
        summary: "Frames are swapped with their successors.",
        fields: &[],
        example: r#"{"fault": "reorder", "event": "ORDER_TRADE_UPDATE", "to": "user"}"#,
        source: "Binance: user data streams; binance-exchange/binance-java-api#162 (not in order during heavy load)",
    }
    SkipFrames(NoFields) {
        name: "skip",
        group: Stream,
        summary: "Frames are left out.",
        fields: &[],
        example: r#"{"fault": "skip", "times": 2, "event": "ORDER_TRADE_UPDATE", "to": "user"}"#,
        source: "JKorf/Binance.Net#1296 (a fill without an event)",
    }
    Maintenance(Switch) {
        name: "maintenance",
        group: Lasting,
        summary: "All calls are answered with 503.",
        fields: &[("on", "true begins, false ends it")],
        example: r#"{"fault": "maintenance", "on": true}"#,
        source: "Binance-docs/Binance_Futures_python#103 (-1016)",
    }
    ClockSkew(ClockSkew) {
        name: "clock-skew",
        group: Lasting,
        summary: "The clock shown to clients, and used to check their timestamps, is off.",
        fields: &[("ms", "milliseconds of exchange time by which it is ahead; 0 ends it")],
        example: r#"{"fault": "clock-skew", "ms": -90000}"#,
        source: "Binance: timing security, -1021",
    }
    RevokeKey(RevokeKey) {
        name: "revoke-key",
        group: Lasting,
        summary: "An API key is rejected by all calls (-2015).",
        fields: &[("key", "the API key"), ("on", "true begins, false ends it")],
        example: r#"{"fault": "revoke-key", "key": "key", "on": true}"#,
        source: "freqtrade/freqtrade#240 (-2015 for a while)",
    }
    ExhaustLimit(ExhaustLimit) {
        name: "exhaust-limit",
        group: Lasting,
        summary: "A limit counts as used until its window ends: 429 with -1003 for weight, with -1015 for orders of all accounts.",
        fields: &[
            ("limit", "`weight`, `orders-10s` or `orders-1m`"),
            ("left", "what remains of the limit; 0 if not set"),
        ],
        example: r#"{"fault": "exhaust-limit", "limit": "orders-10s"}"#,
        source: "Binance: limits; c9s/bbgo#228 (-1015)",
    }
    Ban(Ban) {
        name: "ban",
        group: Lasting,
        summary: "All addresses are banned: 418 with -1003 and the end of the ban.",
        fields: &[("ms", "wall time in milliseconds; 0 ends it")],
        example: r#"{"fault": "ban", "ms": 120000}"#,
        source: "Binance: limits, 418",
    }
    MissingCandle(MissingCandle) {
        name: "missing-candle",
        group: Lasting,
        summary: "Candles are withheld from klines and streams.",
        fields: &[
            ("symbol", "the contract"),
            ("interval", "interval of the candles, such as 1m"),
            ("from", "first open time, UTC ms; the open candle if not set"),
            ("count", "number of candles; 0 restores all"),
        ],
        example: r#"{"fault": "missing-candle", "symbol": "BTCUSDT", "interval": "1m", "count": 2}"#,
        source: "Binance: there are no klines for the time of an outage",
    }
    Close(Close) {
        name: "close",
        group: Once,
        summary: "Streams are closed, or cut without a code.",
        fields: &[("code", "code of the close frame; the connection is cut if not set"), ("to", "`user`, `market` or `all`")],
        example: r#"{"fault": "close", "code": 1001, "to": "market"}"#,
        source: "Binance: a connection lives at most 24 hours",
    }
    Filter(FilterFault) {
        name: "filter",
        group: State,
        summary: "Filters of a contract change; a filter that is not set stays.",
        fields: &[
            ("symbol", "the contract"),
            ("tick", "price step"),
            ("step", "quantity step"),
            ("min_quantity", "smallest quantity"),
            ("max_quantity", "largest quantity"),
            ("notional", "smallest value of an order"),
            (
                "percent_price",
                "largest distance of a price from the mark price, in percent",
            ),
            ("max_orders", "largest number of open orders"),
            ("max_algos", "largest number of waiting conditional orders"),
            ("trading", "false for status SETTLING, true for TRADING"),
        ],
        example: r#"{"fault": "filter", "symbol": "BTCUSDT", "tick": "1", "max_algos": 1}"#,
        source: "exchangeInfo; tick sizes change while orders rest (JKorf/Binance.Net#716)",
    }
    ContractStatus(ContractStatusFault) {
        name: "contract-status",
        group: State,
        summary: "The status of a contract changes: SETTLING rejects orders that open (-4140), CLOSE all (-4141), others all (-4108).",
        fields: &[
            ("symbol", "the contract"),
            (
                "status",
                "PENDING_TRADING, TRADING, PRE_DELIVERING, DELIVERING, DELIVERED, PRE_SETTLE, SETTLING or CLOSE",
            ),
        ],
        example: r#"{"fault": "contract-status", "symbol": "SOLUSDT", "status": "PENDING_TRADING"}"#,
        source: "Binance's enum of contract status and error codes; freqtrade/freqtrade#11414",
    }
    Unlist(UnlistFault) {
        name: "unlist",
        group: State,
        summary: "A contract is missing in exchangeInfo and all lists, and calls get -1121.",
        fields: &[
            ("symbol", "the contract"),
            ("on", "true removes the contract, false restores it"),
        ],
        example: r#"{"fault": "unlist", "symbol": "SOLUSDT", "on": true}"#,
        source: "delisting; -1121 when an order is cancelled (JKorf/Binance.Net#945)",
    }
    Settle(SettleFault) {
        name: "settle",
        group: State,
        summary: "The exchange ends all orders of a contract, closes its positions (`settlement_autoclose-`) and closes the contract, once.",
        fields: &[
            ("symbol", "the contract"),
            ("price", "settlement price; the mark price if not set"),
        ],
        example: r#"{"fault": "settle", "symbol": "SOLUSDT"}"#,
        source: "Binance's user data stream, special client order ids; freqtrade/freqtrade#13165",
    }
    Rename(RenameFault) {
        name: "rename",
        group: State,
        summary: "A contract gets another symbol with its positions and waiting orders, once; the old symbol gets -1121.",
        fields: &[("symbol", "the contract"), ("to", "the new symbol")],
        example: r#"{"fault": "rename", "symbol": "SOLUSDT", "to": "SOLXUSDT"}"#,
        source: "Binance's announcements of symbol changes (DODOUSDT to DODOXUSDT)",
    }
    MarkPrice(MarkPriceFault) {
        name: "mark-price",
        group: State,
        summary: "The mark price leaves the last price; stops on `MARK_PRICE`, liquidation, funding and margin follow the mark price.",
        fields: &[
            ("symbol", "the contract"),
            (
                "percent",
                "distance from the last price, in percent; 0 ends the fault",
            ),
            (
                "path",
                "list of {after_ms, percent}: distances that follow each other",
            ),
        ],
        example: r#"{"fault": "mark-price", "symbol": "BTCUSDT", "path": [{"after_ms": 0, "percent": "-1.5"}, {"after_ms": 60000, "percent": "0"}]}"#,
        source: "Binance's documentation of workingType and mark price",
    }
    PriceGap(PriceGapFault) {
        name: "price-gap",
        group: State,
        summary: "The price jumps at the open of the next candle, through stops that lie between, once.",
        fields: &[("symbol", "the contract"), ("percent", "change in percent")],
        example: r#"{"fault": "price-gap", "symbol": "BTCUSDT", "percent": "-3"}"#,
        source: "Binance's FAQ on stop orders: a triggered stop fills at the market price",
    }
    FillSchedule(FillScheduleFault) {
        name: "fill-schedule",
        group: State,
        summary: "The next orders fill in parts at these times of the exchange, also market orders and triggered stops.",
        fields: &[
            ("account", "account of the orders; any if not set"),
            ("symbol", "contract of the orders; any if not set"),
            (
                "conditional",
                "true for triggered conditional orders, false for all others; both if not set",
            ),
            ("times", "number of orders; 1 if not set"),
            (
                "parts",
                "list of {after_ms, percent}: parts of the quantity, each counted from the one before",
            ),
            (
                "end",
                "{after_ms, status}: the rest ends as EXPIRED, EXPIRED_IN_MATCH or CANCELED",
            ),
        ],
        example: r#"{"fault": "fill-schedule", "symbol": "BTCUSDT", "parts": [{"after_ms": 0, "percent": 40}, {"after_ms": 60000, "percent": 30}], "end": {"after_ms": 120000, "status": "EXPIRED"}}"#,
        source: "Binance's enum of order status; freqtrade/freqtrade#5482",
    }
    RejectTriggers(RejectTriggersFault) {
        name: "reject-triggers",
        group: State,
        summary: "Conditional orders of an account are rejected when they are triggered.",
        fields: &[
            ("account", "the account: its first API key"),
            (
                "code",
                "error code, such as -2019; not set to end the fault",
            ),
        ],
        example: r#"{"fault": "reject-triggers", "account": "key", "code": -2019}"#,
        source: "Binance's ALGO_UPDATE event, status REJECTED",
    }
    Liquidate(LiquidateFault) {
        name: "liquidate",
        group: State,
        summary: "The exchange liquidates a position (`autoclose-`), once.",
        fields: &[("account", "the account: its first API key"), ("symbol", "the contract")],
        example: r#"{"fault": "liquidate", "account": "key", "symbol": "BTCUSDT"}"#,
        source: "Binance's user data stream and forceOrders",
    }
    Adl(AdlFault) {
        name: "adl",
        group: State,
        summary: "The exchange closes a position by auto-deleveraging (`adl_autoclose`), once; orders stay.",
        fields: &[
            ("account", "the account: its first API key"),
            ("symbol", "the contract"),
            ("quantity", "closed quantity; all if not set"),
        ],
        example: r#"{"fault": "adl", "account": "key", "symbol": "BTCUSDT", "quantity": "0.01"}"#,
        source: "Binance's user data stream and forceOrders with autoCloseType ADL",
    }
    AssumedPrice(AssumedPriceFault) {
        name: "assumed-price",
        group: State,
        summary: "The margin of market orders to buy is checked at this distance above the best ask, at Binance 0.05 %.",
        fields: &[("percent", "distance in percent")],
        example: r#"{"fault": "assumed-price", "percent": "0.05"}"#,
        source: "Binance's FAQ on the cost to open a position; JKorf/Binance.Net#746",
    }
    Brackets(BracketsFault) {
        name: "brackets",
        group: State,
        summary: "The leverage brackets of a contract are scaled: larger positions get -2027.",
        fields: &[("symbol", "the contract"), ("scale", "factor of all bounds")],
        example: r#"{"fault": "brackets", "symbol": "BTCUSDT", "scale": "0.01"}"#,
        source: "leverageBracket; Binance's announcements of changed leverage tiers",
    }
    Funding(FundingFault) {
        name: "funding",
        group: State,
        summary: "Funding is booked early or late, listed twice, or missing in lists for a while.",
        fields: &[
            (
                "shift_ms",
                "milliseconds after the full hour, from -60000 to 60000",
            ),
            ("doubled", "true shows each booking twice"),
            (
                "hidden_ms",
                "milliseconds in which lists do not show a booking",
            ),
        ],
        example: r#"{"fault": "funding", "shift_ms": -15000, "hidden_ms": 30000}"#,
        source: "Binance's FAQ on funding: a deviation of 15 s; freqtrade/freqtrade#5364",
    }
    FeeAsset(FeeAssetFault) {
        name: "fee-asset",
        group: State,
        summary: "An account pays fees in this asset while its balance lasts: BNB with a discount of 10 %, others at par.",
        fields: &[
            ("account", "the account: its first API key"),
            ("asset", "the asset, such as BNB or BNFCR; not set for USDT"),
            ("balance", "new balance of the asset"),
        ],
        example: r#"{"fault": "fee-asset", "account": "key", "asset": "BNB", "balance": "0.01"}"#,
        source: "feeBurn; commissionAsset BNFCR (freqtrade/freqtrade#13358)",
    }
    BalanceChange(BalanceChangeFault) {
        name: "balance-change",
        group: State,
        summary: "The balance of an account changes without a trade: a transfer, a rebate, or a change that no list shows. Happens once.",
        fields: &[
            ("account", "the account: its first API key"),
            ("amount", "change of the balance in USDT; negative for a withdrawal"),
            (
                "income",
                "`TRANSFER`, `INTERNAL_TRANSFER` or `COMMISSION_REBATE`; not set if no list shows it",
            ),
            (
                "hidden_ms",
                "milliseconds in which lists do not show it",
            ),
        ],
        example: r#"{"fault": "balance-change", "account": "key", "amount": "-500", "income": "TRANSFER"}"#,
        source: "Binance: Get Income History, incomeType; ACCOUNT_UPDATE with reason DEPOSIT or WITHDRAW",
    }
}

impl Fault {
    /// The fault's row in the table.
    pub(crate) fn kind(&self) -> &'static FaultKind {
        let (name, _) = self.parts();
        KINDS
            .iter()
            .find(|kind| kind.name == name)
            .unwrap_or(&KINDS[0])
    }

    /// The fault of the exchange's state; `None` for others.
    pub(crate) fn of_state(&self) -> Option<TradingFault> {
        Some(match self.clone() {
            Self::Filter(f) => TradingFault::Filter(f),
            Self::ContractStatus(f) => TradingFault::ContractStatus(f),
            Self::Unlist(f) => TradingFault::Unlist(f),
            Self::Settle(f) => TradingFault::Settle(f),
            Self::Rename(f) => TradingFault::Rename(f),
            Self::MarkPrice(f) => TradingFault::MarkPrice(f),
            Self::PriceGap(f) => TradingFault::PriceGap(f),
            Self::FillSchedule(f) => TradingFault::FillSchedule(f),
            Self::RejectTriggers(f) => TradingFault::RejectTriggers(f),
            Self::Liquidate(f) => TradingFault::Liquidate(f),
            Self::Adl(f) => TradingFault::Adl(f),
            Self::AssumedPrice(f) => TradingFault::AssumedPrice(f),
            Self::Brackets(f) => TradingFault::Brackets(f),
            Self::Funding(f) => TradingFault::Funding(f),
            Self::FeeAsset(f) => TradingFault::FeeAsset(f),
            Self::BalanceChange(f) => TradingFault::BalanceChange(f),
            _ => return None,
        })
    }

    /// The fault as it is listed, without its filter.
    pub(super) fn describe(&self) -> Value {
        let (name, fields) = self.parts();
        let mut view = fields.unwrap_or_default();
        view["fault"] = json!(name);
        view
    }

    /// Whether the fault can happen to a call.
    pub(super) fn can_happen_to(&self, call: &CallKey) -> bool {
        let is_query = call.method == "GET";
        match self {
            Self::QueryLag(_)
            | Self::EmptyAnswer(_)
            | Self::DuplicateRows(_)
            | Self::ReverseRows(_) => is_query,
            Self::Overload(_) => {
                let is_order =
                    matches!(call.path.as_str(), "/fapi/v1/order" | "/fapi/v1/algoOrder");
                call.method == "POST" && is_order && !call.is_reducing
            }
            _ => true,
        }
    }
}
