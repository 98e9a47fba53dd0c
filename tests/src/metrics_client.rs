//! A plain TCP client of `/metrics`.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::wait::{DEFAULT_TIMEOUT, eventually};

/// An HTTP response: head and body as text.
pub struct HttpResponse {
    /// Status line and headers.
    pub head: String,
    /// Body as text.
    pub body: String,
}

/// Sends a request, such as `GET /metrics`; `None` if nothing listens.
pub async fn send_request(address: SocketAddr, request: &str) -> Option<HttpResponse> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = format!("{request} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    Some(HttpResponse {
        head: head.to_owned(),
        body: body.to_owned(),
    })
}

/// The metrics of a process; waits until it serves them.
pub async fn scrape(address: SocketAddr) -> String {
    let answer = eventually("a response", DEFAULT_TIMEOUT, async || {
        send_request(address, "GET /metrics").await
    })
    .await;
    assert!(
        answer.head.starts_with("HTTP/1.1 200 OK"),
        "{}",
        answer.head
    );
    let kind = "content-type: text/plain; version=0.0.4";
    assert!(answer.head.contains(kind), "{}", answer.head);
    answer.body
}
