//! Parses `multipart/form-data`. An error is an empty 400, as in `HttpReader.cpp`.

use axum::http::StatusCode;

use super::answers::ErrorResponse;

/// Longest boundary, by RFC 1341.
const MAX_BOUNDARY_LENGTH: usize = 70;
const BAD_REQUEST: ErrorResponse = ErrorResponse::Http(StatusCode::BAD_REQUEST);

/// An uploaded file.
pub(super) struct File {
    /// Name of the form field.
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
}

type Fields = Vec<(String, String)>;

/// Splits a body into text fields and files.
pub(super) fn parse_parts(
    content_type: &str,
    body: &[u8],
) -> Result<(Fields, Vec<File>), ErrorResponse> {
    let boundary = format!("--{}", boundary(content_type).ok_or(BAD_REQUEST)?);
    let end_of_value = format!("\r\n{boundary}");
    let (_, mut rest) = split_once(body, boundary.as_bytes()).ok_or(BAD_REQUEST)?;
    let (mut fields, mut files) = (Vec::new(), Vec::new());
    while !rest.starts_with(b"--") {
        let part = rest.strip_prefix(b"\r\n").ok_or(BAD_REQUEST)?;
        let (headers, after) = split_once(part, b"\r\n\r\n").ok_or(BAD_REQUEST)?;
        let (value, next) = split_once(after, end_of_value.as_bytes()).ok_or(BAD_REQUEST)?;
        let headers = decode_utf8(headers.to_vec())?;
        let disposition = disposition(&headers).ok_or(BAD_REQUEST)?;
        let name = attribute(disposition, "name").ok_or(BAD_REQUEST)?;
        if attribute(disposition, "filename").is_none() {
            fields.push((name.to_owned(), decode_utf8(value.to_vec())?));
        } else {
            let (name, bytes) = (name.to_owned(), value.to_vec());
            files.push(File { name, bytes });
        }
        rest = next;
    }
    Ok((fields, files))
}

fn boundary(content_type: &str) -> Option<&str> {
    let boundary = attribute(content_type, "boundary")?;
    (1..=MAX_BOUNDARY_LENGTH)
        .contains(&boundary.len())
        .then_some(boundary)
}

fn disposition(headers: &str) -> Option<&str> {
    let named = headers.lines().filter_map(|line| line.split_once(':'));
    let mut found =
        named.filter(|(name, _)| name.trim().eq_ignore_ascii_case("content-disposition"));
    let (_, value) = found.next()?;
    value.trim().starts_with("form-data;").then_some(value)
}

/// Value of an attribute, such as `name` in `form-data; name="value"`.
fn attribute<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    let pairs = header.split(';').filter_map(|part| part.split_once('='));
    let mut found = pairs.filter(|(key, _)| key.trim().eq_ignore_ascii_case(name));
    found
        .next()
        .map(|(_, value)| value.trim().trim_matches('"'))
}

fn split_once<'a>(bytes: &'a [u8], by: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = bytes.windows(by.len()).position(|window| window == by)?;
    Some((&bytes[..at], &bytes[at + by.len()..]))
}

/// Decodes UTF-8. Telegram rejects invalid text only in fields that it uses; here it is always rejected.
pub(super) fn decode_utf8(bytes: Vec<u8>) -> Result<String, ErrorResponse> {
    let wrong = |_| ErrorResponse::bad_request("strings must be encoded in UTF-8");
    String::from_utf8(bytes).map_err(wrong)
}
