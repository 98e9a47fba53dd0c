//! A signed client of the exchange's REST API for audits and for orders that are not the trader's. It signs by
//! itself and returns plain JSON, so that it shares no code and no assumption with the trader's adapter.
//! Entry point: [`ExchangeClient`].

use std::net::SocketAddr;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use rust_decimal::Decimal;
use serde_json::Value;
use sha2::Sha256;
use tokio::time::timeout;

use crate::exchange::{Exchange, send_request};

/// `recvWindow` of every call in milliseconds. It is Binance's maximum: at a speed of 30, exchange time passes fast.
const RECV_WINDOW_MS: i64 = 60_000;
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(20);
/// Most rows of one page.
const PAGE_SIZE: usize = 1_000;

/// Client of one account.
#[derive(Debug, Clone)]
pub struct ExchangeClient {
    address: SocketAddr,
    key: String,
    secret: String,
}

/// An error response of the exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallRejected {
    /// HTTP status of the response.
    pub status: u16,
    /// Error code of Binance; `None` if the body has none.
    pub code: Option<i64>,
    /// Body of the response as text.
    pub body: String,
}

impl ExchangeClient {
    /// A client with this key; it connects with each call.
    pub fn new(exchange: &Exchange, key: &str, secret: &str) -> Self {
        Self {
            address: exchange.address(),
            key: key.to_owned(),
            secret: secret.to_owned(),
        }
    }

    /// Makes a signed call, dated by the exchange's time. `path` begins with `/fapi/`.
    ///
    /// # Errors
    /// [`CallRejected`] for every status other than 200.
    pub async fn call(&self, method: &str, path: &str, query: &str) -> Result<Value, CallRejected> {
        let now = self.time().await;
        let joint = if query.is_empty() { "" } else { "&" };
        let payload = format!("{query}{joint}recvWindow={RECV_WINDOW_MS}&timestamp={now}");
        let target = format!("{path}?{payload}&signature={}", self.signature(&payload));
        self.send(method, &target).await
    }

    /// Makes a signed GET that must succeed.
    pub async fn get(&self, path: &str, query: &str) -> Value {
        let answer = self.call("GET", path, query).await;
        answer.unwrap_or_else(|rejected| panic!("GET {path}?{query}: {rejected:?}"))
    }

    /// Reads a list that is paged by `id_field`: all rows of `symbol`, oldest first.
    pub async fn list(&self, path: &str, symbol: &str, page: Page) -> Vec<Value> {
        let mut rows: Vec<Value> = Vec::new();
        let mut next = 1;
        loop {
            let query = format!(
                "symbol={symbol}&limit={PAGE_SIZE}&{}={next}",
                page.parameter
            );
            let answer = self.get(path, &query).await;
            let page_rows = answer.as_array().unwrap();
            let last = page_rows.iter().filter_map(|row| row[page.field].as_i64());
            next = last.max().map_or(next, |last| last + 1);
            rows.extend(page_rows.iter().cloned());
            if page_rows.len() < PAGE_SIZE {
                return rows;
            }
        }
    }

    /// Places a market order, as a second client of the account could.
    pub async fn place_market_order(&self, symbol: &str, side: &str, quantity: Decimal) {
        let query = format!("symbol={symbol}&side={side}&type=MARKET&quantity={quantity}");
        let placed = self.call("POST", "/fapi/v1/order", &query).await;
        placed.unwrap_or_else(|rejected| panic!("{query}: {rejected:?}"));
    }

    /// Exchange time in UTC ms, as this client's calls are dated.
    pub async fn time(&self) -> i64 {
        let answer = self.send("GET", "/fapi/v1/time").await.unwrap();
        answer["serverTime"].as_i64().unwrap()
    }

    fn signature(&self, payload: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.secret.as_bytes()).unwrap();
        mac.update(payload.as_bytes());
        hex::encode(mac.finalize().into_bytes())
    }

    async fn send(&self, method: &str, target: &str) -> Result<Value, CallRejected> {
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: sim\r\nConnection: close\r\nX-MBX-APIKEY: {}\r\n\
             Content-Length: 0\r\n\r\n",
            self.key
        );
        let answer = timeout(RESPONSE_TIMEOUT, send_request(self.address, &request)).await;
        let answer = answer.unwrap_or_else(|_| panic!("{method} {target}: no response"));
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
        let json: Option<Value> = serde_json::from_str(body).ok();
        match json {
            Some(json) if status == 200 => Ok(json),
            json => Err(CallRejected {
                status,
                code: json.and_then(|json| json["code"].as_i64()),
                body: body.to_owned(),
            }),
        }
    }
}

/// How a list is paged.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    /// Parameter with the id of the first row.
    pub parameter: &'static str,
    /// Field of a row with its id.
    pub field: &'static str,
}

/// Pages of `/fapi/v1/allOrders`.
pub const ORDER_PAGES: Page = Page {
    parameter: "orderId",
    field: "orderId",
};
/// Pages of `/fapi/v1/allAlgoOrders`.
pub const ALGO_PAGES: Page = Page {
    parameter: "algoId",
    field: "algoId",
};
/// Pages of `/fapi/v1/userTrades`.
pub const TRADE_PAGES: Page = Page {
    parameter: "fromId",
    field: "id",
};

/// A decimal field of a row. Panics if it is none.
pub fn decimal(row: &Value, field: &str) -> Decimal {
    let text = row[field].as_str();
    let parsed = text.and_then(|text| text.parse().ok());
    parsed.unwrap_or_else(|| panic!("{field} is no decimal: {row}"))
}

/// A text field of a row. Panics if it is none.
pub fn text<'a>(row: &'a Value, field: &str) -> &'a str {
    row[field]
        .as_str()
        .unwrap_or_else(|| panic!("{field} is no text: {row}"))
}
