//! Parameters of a call, which arrive in one of four ways: query, form, multipart form or JSON. All are texts by name,
//! as in the open server's `HttpReader.cpp`; the methods parse them.

use axum::body::{Body, HttpBody, to_bytes};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use serde_json::Value;

use super::answers::ErrorResponse;
use super::multipart::{self, File, decode_utf8};

/// Limit of all names and values of one call, in bytes on the wire: `MAX_TOTAL_PARAMETERS_LENGTH`.
const MAX_PARAMETER_BYTES: usize = 1 << 20;

/// Parameters of one call. Of two with the same name the first one counts; the query comes before the body.
pub(super) struct Parameters {
    fields: Vec<(String, String)>,
    files: Vec<File>,
}

impl Parameters {
    /// Reads the rest of the request.
    pub(super) async fn read(head: &Parts, body: Body) -> Result<Self, ErrorResponse> {
        let query = head.uri.query().unwrap_or_default();
        let room = MAX_PARAMETER_BYTES.saturating_sub(query.len());
        let too_large = || ErrorResponse::Http(StatusCode::PAYLOAD_TOO_LARGE);
        if body.size_hint().lower() > room as u64 {
            return Err(too_large());
        }
        let body = to_bytes(body, room).await.map_err(|_| too_large())?;
        let mut given = Self {
            fields: parse_form(query.as_bytes())?,
            files: Vec::new(),
        };
        if !body.is_empty() {
            given.parse_body(content_type(head), &body)?;
        }
        Ok(given)
    }

    /// Parses a body by its content type. A body of another type is a file without parameters.
    fn parse_body(&mut self, content_type: &str, body: &[u8]) -> Result<(), ErrorResponse> {
        let kind = content_type.to_ascii_lowercase();
        if kind.contains("multipart/form-data") {
            let (fields, files) = multipart::parse_parts(content_type, body)?;
            self.fields.extend(fields);
            self.files = files;
        } else if kind.contains("application/x-www-form-urlencoded") {
            self.fields.extend(parse_form(body)?);
        } else if kind.contains("application/json") {
            self.fields.extend(parse_json(body));
        }
        Ok(())
    }

    /// Content of the file with this field name.
    pub(super) fn file(&self, name: &str) -> Option<&[u8]> {
        let found = self.files.iter().find(|file| file.name == name);
        found.map(|file| file.bytes.as_slice())
    }

    /// Value of a parameter. Empty if it is missing, which Telegram treats alike.
    pub(super) fn get(&self, name: &str) -> &str {
        let found = self.fields.iter().find(|(given, _)| given == name);
        found.map_or("", |(_, value)| value)
    }
}

fn content_type(head: &Parts) -> &str {
    let value = head.headers.get(header::CONTENT_TYPE);
    value
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

fn parse_form(text: &[u8]) -> Result<Vec<(String, String)>, ErrorResponse> {
    let pairs = text
        .split(|byte| *byte == b'&')
        .filter(|pair| !pair.is_empty());
    let split = |pair: &[u8]| {
        let mut halves = pair.splitn(2, |byte| *byte == b'=');
        let mut half = || decode_percent(halves.next().unwrap_or_default());
        Ok((half()?, half()?))
    };
    pairs.map(split).collect()
}

/// Decodes percent-encoding. A `%` without two hexadecimal digits stands for itself.
fn decode_percent(text: &[u8]) -> Result<String, ErrorResponse> {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text);
    while let [first, after @ ..] = rest {
        let escaped = after
            .get(..2)
            .filter(|_| *first == b'%')
            .and_then(parse_hex_byte);
        bytes.push(escaped.unwrap_or(if *first == b'+' { b' ' } else { *first }));
        rest = if escaped.is_some() {
            &after[2..]
        } else {
            after
        };
    }
    decode_utf8(bytes)
}

fn parse_hex_byte(digits: &[u8]) -> Option<u8> {
    let digits = digits.iter().all(u8::is_ascii_hexdigit).then_some(digits)?;
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// Parameters of a JSON object; none if the body is something else. As in Telegram, the fields before an error are
/// kept. Strings lose their quotes; other values stay JSON.
fn parse_json(body: &[u8]) -> Vec<(String, String)> {
    let Ok(Value::Object(fields)) = serde_json::from_slice(body) else {
        return Vec::new();
    };
    let plain = |value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    let named = fields.into_iter().map(|(name, value)| (name, plain(value)));
    named.collect()
}
