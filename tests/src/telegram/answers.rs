//! How Telegram answers: a result, or a refusal in its words. What is refused, and why, lives where
//! it is found out.

use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// Why a call has no result.
pub(super) enum ErrorResponse {
    /// What the HTTP reader does not take: a status, no content, and the connection is closed.
    Http(StatusCode),
    /// What Telegram does not do.
    Api(StatusCode, String, Value),
}

impl ErrorResponse {
    pub(super) fn new(status: StatusCode, description: &str) -> Self {
        Self::Api(status, description.to_owned(), Value::Null)
    }

    /// Status 400. The open server puts the prefix before what its library says, whose first letter
    /// it makes small.
    pub(super) fn bad_request(why: impl AsRef<str>) -> Self {
        let description = format!("Bad Request: {}", why.as_ref());
        Self::new(StatusCode::BAD_REQUEST, &description)
    }

    /// For what the real one may do, and this one can not.
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

/// The result of a call.
pub(super) fn api_result(result: &Value) -> Response {
    json_response(StatusCode::OK, &json!({ "ok": true, "result": result }))
}

/// What a proxy before Telegram answers when there is nothing behind it.
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
