//! One account of Binance USD-M futures: [`BinanceExecutionClient`]. An order is submitted once; its state is queried.
//!
//! | file | contents |
//! | --- | --- |
//! | `client`, `settings` | the client of one account |
//! | `execution_client` | its implementation of the trait |
//! | `account` | balance, permissions, positions, open orders, funding, leverage |
//! | `orders` | submission and cancellation |
//! | `order_query` | state of an order |
//! | `trades` | costs of an order, trades of a symbol |
//! | `income` | cash flows: funding of a symbol, transfers of the account |
//! | `conversion` | value of fees in other assets |
//! | `order_answer` | meaning of answers |
//! | `signed_call` | one signed call, and its timestamp |
//! | `user_stream` | the user stream, which only says when to query |

mod account;
mod client;
mod conversion;
mod execution_client;
mod income;
mod order_answer;
mod order_query;
mod orders;
mod settings;
mod signed_call;
mod trades;
mod user_stream;

pub use self::client::BinanceExecutionClient;
pub use self::settings::{ExecutionClientSettings, QueryAges, UserStreamTiming};
