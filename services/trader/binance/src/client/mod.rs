//! Transport to the exchange. It knows signatures, limits, deadlines and failures, and no endpoint.
//!
//! [`HttpClient::call`] makes one [`Call`] and reads its answer; [`StreamConnection`] is one WebSocket connection.
//! Nothing here retries: only the caller knows whether a call may be repeated.
//!
//! | file | contents |
//! | --- | --- |
//! | `http` | one connection pool, and the way of a call through limits, deadlines and decoding |
//! | `call` | one call: method, path, parameters, authentication, bounds |
//! | `sign` | the signature of a query |
//! | `body` | bodies of limited size that must make progress |
//! | `error` | what a failure means for an order and for a call that may be repeated |
//! | `limits` | request weight and order counts, and the pauses that follow from them |
//! | `date` | the exchange's own date in headers |
//! | `tls` | certificates and cryptography of calls and streams |
//! | `websocket` | one connection for market streams or a user stream |

mod body;
mod call;
mod date;
mod error;
mod http;
mod limits;
mod sign;
mod tls;
mod websocket;

pub use call::{Auth, Call, Deadline};
pub use error::{CallError, Failure, LimitScope, Retry, code, one_line};
pub use http::HttpClient;
pub use limits::{Limits, Priority};
pub use websocket::{StreamConnection, StreamEvent, StreamTiming, TooManyStreams};
