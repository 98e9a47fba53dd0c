//! Responses: a result, or an error with Telegram's text. The caller decides which error applies.

use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// Response to a call that fails.
pub(super) enum ErrorResponse {
    /// Error of the HTTP reader: a status without content; the connection is closed.
    Http(StatusCode),
    /// Error of the Bot API, with its description and parameters.
    Api(StatusCode, String, Value),
}

impl ErrorResponse {
    pub(super) fn new(status: StatusCode, description: &str) -> Self {
        Self::Api(status, description.to_owned(), Value::Null)
    }

    /// Error with status 400. As the open server does, it puts a prefix before the library's text, and makes the first
    /// letter of that text small.
    pub(super) fn bad_request(why: impl AsRef<str>) -> Self {
        let description = format!("Bad Request: {}", why.as_ref());
        Self::new(StatusCode::BAD_REQUEST, &description)
    }

    /// Error for a request that Telegram may support and this fake does not.
    pub(super) fn unsupported(what: &str) -> Self {
        Self::bad_request(format!("{what} is not supported by this fake"))
    }

    pub(super) fn retry_after(seconds: u32) -> Self {
        Self::Api(
            StatusCode::TOO_MANY_REQUESTS,
            format!("Too Many Requests: retry after {seconds}"),
            json!({ "retry_after": seconds }),
        )
    }

    pub(super) fn migrated(to: i64) -> Self {
        Self::Api(
            StatusCode::BAD_REQUEST,
            "Bad Request: group chat was upgraded to a supergroup chat".to_owned(),
            json!({ "migrate_to_chat_id": to }),
        )
    }
}

impl IntoResponse for ErrorResponse {
    fn into_response(self) -> Response {
        match self {
            Self::Http(status) => (status, [(header::CONNECTION, "close")]).into_response(),
            Self::Api(status, description, parameters) => {
                api_error(status, &description, parameters)
            }
        }
    }
}

fn api_error(status: StatusCode, description: &str, parameters: Value) -> Response {
    let mut body =
        json!({ "ok": false, "error_code": status.as_u16(), "description": description });
    let retry_after = parameters["retry_after"].as_u64();
    if !parameters.is_null() {
        body["parameters"] = parameters;
    }
    let mut response = json_response(status, &body);
    if let Some(seconds) = retry_after {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// Response with the result of a call.
pub(super) fn api_result(result: &Value) -> Response {
    json_response(StatusCode::OK, &json!({ "ok": true, "result": result }))
}

/// Page of a proxy in front of Telegram that does not reach Telegram.
pub(super) fn proxy_page(status: u16) -> Response {
    let status = StatusCode::from_u16(status).unwrap();
    let page = format!(
        "<html>\r\n<head><title>{status}</title></head>\r\n<body>\r\n</body>\r\n</html>\r\n"
    );
    (status, [(header::CONTENT_TYPE, "text/html")], page).into_response()
}

fn json_response(status: StatusCode, body: &Value) -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (status, kind, Body::from(body.to_string())).into_response()
}
