//! Delivers answers: compression, and the armed faults of latency, delivery and headers. Whatever a network between
//! the exchange and a client can do to an answer happens here.

use std::convert::Infallible;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::{StreamExt, stream};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::call_key::{FAULT_API_PATH, read_call_key};
use super::execution_faults::MAX_ANSWER_BYTES;
use crate::connection::Peer;
use crate::trading_service::TradingService;
use crate::trading_service::faults::calls::{
    BodyFraming, DelayPosition, GzipForm, HtmlPage, SlowBody, TruncatedBody,
};
use crate::trading_service::faults::kinds::{Fault, Group};

/// Longest time for which the connection of a dropped response stays open.
const DROPPED_RESPONSE_TIMEOUT: Duration = Duration::from_mins(1);
/// Time in which the bytes before a cut leave the server.
const FLUSH_TIME: Duration = Duration::from_millis(50);
/// Shortest body that is compressed: the limit of Amazon `CloudFront`.
const MIN_COMPRESSED_BYTES: usize = 1_000;
/// Part of an endless body: rows of a list without an end.
const ENDLESS_PART_BYTES: usize = 16 * 1024;

/// Serves a call and delivers its answer.
pub(super) async fn deliver(
    State(trading_service): State<Arc<TradingService>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
    next: Next,
) -> Response {
    let offers_gzip = offers_gzip(request.headers());
    let faults = &trading_service.faults;
    if request.uri().path() == FAULT_API_PATH || faults.is_empty() {
        return compressed(next.run(request).await, offers_gzip).await;
    }
    let (call, request) = read_call_key(request).await;
    let delay = match faults.take(Group::Latency, &call) {
        Some(Fault::Delay(delay)) => Some((Duration::from_millis(delay.ms.0), delay.when)),
        _ => None,
    };
    let delivery = faults.take(Group::Delivery, &call);
    let headers = faults.take(Group::Headers, &call);
    if let Some((wait, DelayPosition::Before)) = delay {
        sleep(wait).await;
    }
    let response = match &delivery {
        Some(Fault::HtmlPage(page)) if !page.executed => html_page(page),
        _ => next.run(request).await,
    };
    if let Some((wait, DelayPosition::After)) = delay {
        sleep(wait).await;
    }
    let mut response = match delivery {
        None => compressed(response, offers_gzip).await,
        Some(fault) => spoiled(response, &fault, &peer).await,
    };
    if let Some(Fault::MissingHeaders(missing)) = headers {
        for name in missing.names {
            response.headers_mut().remove(name);
        }
    }
    response
}

/// The answer after a fault of delivery.
async fn spoiled(response: Response, fault: &Fault, peer: &Peer) -> Response {
    let is_opened_stream = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    match fault {
        Fault::HtmlPage(page) => html_page(page),
        Fault::EmptyBody(_)
        | Fault::OtherBody(_)
        | Fault::TruncatedBody(_)
        | Fault::EndlessBody(_)
        | Fault::SlowBody(_)
        | Fault::Gzip(_)
            if is_opened_stream =>
        {
            // The answer that opens a stream has no body.
            response
        }
        Fault::EmptyBody(empty) => with_body(response, empty.status.0, Body::empty()),
        Fault::OtherBody(other) => {
            with_body(response, other.status.0, Body::from(other.body.to_string()))
        }
        Fault::TruncatedBody(truncated) => truncated_body(response, truncated).await,
        Fault::EndlessBody(_) => {
            let rows = Bytes::from("[0],".repeat(ENDLESS_PART_BYTES / 4));
            let parts =
                stream::once(async { Bytes::from_static(b"[") }).chain(stream::repeat(rows));
            let status = u64::from(response.status().as_u16());
            with_body(
                response,
                status,
                Body::from_stream(parts.map(Ok::<_, Infallible>)),
            )
        }
        Fault::SlowBody(slow) => slow_body(response, slow).await,
        Fault::Gzip(gzip) => wrongly_compressed(response, gzip.form).await,
        Fault::DropResponse(_) => {
            sleep(DROPPED_RESPONSE_TIMEOUT).await;
            connection_cut()
        }
        Fault::CutConnection(_) => connection_cut(),
        Fault::ResetConnection(_) => {
            peer.reset();
            connection_cut()
        }
        _ => response,
    }
}

/// An answer with another status and body. The exchange's headers stay, except those of the old body.
fn with_body(response: Response, status: u64, body: Body) -> Response {
    let (mut head, _) = response.into_parts();
    head.headers.remove(header::CONTENT_LENGTH);
    let status = u16::try_from(status).ok();
    let status = status.and_then(|status| StatusCode::from_u16(status).ok());
    head.status = status.unwrap_or(head.status);
    Response::from_parts(head, body)
}

/// A page of the content delivery network, as clients have received it.
fn html_page(page: &HtmlPage) -> Response {
    let status = u16::try_from(page.status.0).ok();
    let status = status.and_then(|status| StatusCode::from_u16(status).ok());
    let status = status.unwrap_or(StatusCode::BAD_GATEWAY);
    let number = status.as_u16();
    let text = format!(
        "<!DOCTYPE HTML PUBLIC \"-//W3C//DTD HTML 4.01 Transitional//EN\" \"http://www.w3.org/TR/html4/loose.dtd\">\n\
         <HTML><HEAD><META HTTP-EQUIV=\"Content-Type\" CONTENT=\"text/html; charset=iso-8859-1\">\n\
         <TITLE>ERROR: The request could not be satisfied</TITLE>\n</HEAD><BODY>\n<H1>{number} ERROR</H1>\n\
         <H2>The request could not be satisfied.</H2>\n<HR noshade size=\"1px\">\nRequest blocked.\n\
         We can't connect to the server for this app or website at this time.\n<BR clear=\"all\">\n\
         <HR noshade size=\"1px\">\n<PRE>\nGenerated by cloudfront (CloudFront)\n</PRE>\n</BODY></HTML>\n"
    );
    let headers = [
        (header::CONTENT_TYPE, "text/html"),
        (header::SERVER, "CloudFront"),
        (HeaderName::from_static("x-cache"), "Error from cloudfront"),
    ];
    (status, headers, text).into_response()
}

/// The head and the bytes of an answer.
async fn parts(response: Response) -> (axum::http::response::Parts, Bytes) {
    let (mut head, body) = response.into_parts();
    head.headers.remove(header::CONTENT_LENGTH);
    let body = to_bytes(body, MAX_ANSWER_BYTES).await.unwrap_or_default();
    (head, body)
}

async fn truncated_body(response: Response, fault: &TruncatedBody) -> Response {
    let (mut head, body) = parts(response).await;
    let wanted = fault.bytes.map_or(body.len() / 2, |n| {
        usize::try_from(n.0).unwrap_or(usize::MAX)
    });
    let sent = body.slice(..wanted.min(body.len()));
    if fault.framing == BodyFraming::ContentLength {
        // Longer than what is sent, even if all of the body is sent.
        let announced = body.len().max(sent.len() + 1);
        head.headers
            .insert(header::CONTENT_LENGTH, HeaderValue::from(announced));
    }
    let broken = || io::Error::new(io::ErrorKind::ConnectionReset, "cut by a fault");
    let cut = stream::once(async move {
        sleep(FLUSH_TIME).await;
        Err(broken())
    });
    let parts = stream::once(async { Ok(sent) }).chain(cut);
    Response::from_parts(head, Body::from_stream(parts))
}

async fn slow_body(response: Response, fault: &SlowBody) -> Response {
    let (mut head, body) = parts(response).await;
    head.headers
        .insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    let size = usize::try_from(fault.bytes.0).unwrap_or(1);
    let wait = Duration::from_millis(fault.every_ms.0);
    let slow = stream::unfold(body, move |mut left| async move {
        if left.is_empty() {
            return None;
        }
        sleep(wait).await;
        let part = left.split_to(size.min(left.len()));
        Some((Ok::<_, Infallible>(part), left))
    });
    Response::from_parts(head, Body::from_stream(slow))
}

/// Whether the client accepts a compressed body.
fn offers_gzip(headers: &HeaderMap) -> bool {
    let offers = headers.get_all(header::ACCEPT_ENCODING).iter();
    let mut codings = offers
        .filter_map(|offer| offer.to_str().ok())
        .flat_map(|offer| offer.split(','));
    codings.any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let is_gzip = parts
            .next()
            .is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        is_gzip && parts.all(|weight| !matches!(weight, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}

/// The answer, compressed if the client offers it and the body is JSON and not short.
async fn compressed(response: Response, offers_gzip: bool) -> Response {
    let kind = response.headers().get(header::CONTENT_TYPE);
    let is_json = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    if !offers_gzip || !is_json {
        return response;
    }
    let (head, body) = parts(response).await;
    if body.len() < MIN_COMPRESSED_BYTES {
        return Response::from_parts(head, Body::from(body));
    }
    let whole = body.clone();
    // A list of all contracts has megabytes: other calls must not wait for it.
    match spawn_blocking(move || gzip(&whole)).await {
        Ok(Ok(packed)) => with_gzip_header(Response::from_parts(head, Body::from(packed))),
        Ok(Err(_)) | Err(_) => Response::from_parts(head, Body::from(body)),
    }
}

async fn wrongly_compressed(response: Response, form: GzipForm) -> Response {
    let (head, body) = parts(response).await;
    let mut bytes = match form {
        GzipForm::Plain => body.to_vec(),
        _ => gzip(&body).unwrap_or_default(),
    };
    let middle = bytes.len() / 2;
    match form {
        GzipForm::Corrupt => bytes
            .iter_mut()
            .skip(middle)
            .for_each(|byte| *byte = !*byte),
        GzipForm::Truncated => bytes.truncate(middle),
        GzipForm::Plain | GzipForm::Unrequested => {}
    }
    with_gzip_header(Response::from_parts(head, Body::from(bytes)))
}

fn with_gzip_header(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    response
}

fn gzip(body: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body)?;
    encoder.finish()
}

/// A response that breaks off before its body: the server closes the connection.
fn connection_cut() -> Response {
    let broken = io::Error::new(io::ErrorKind::ConnectionReset, "cut by a fault");
    let body = Body::from_stream(stream::iter([Err::<Vec<u8>, _>(broken)]));
    body.into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_offered_by_name_unless_its_weight_is_zero() {
        for (offer, expected) in [
            ("gzip, deflate, br", true),
            ("br, GZIP;q=0.5", true),
            ("deflate", false),
            ("gzip;q=0", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(offer));
            assert_eq!(offers_gzip(&headers), expected, "{offer}");
        }
        assert!(!offers_gzip(&HeaderMap::new()));
    }
}
