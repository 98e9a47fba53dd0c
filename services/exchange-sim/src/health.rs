//! `exchange-sim health` for Docker's HEALTHCHECK: one HTTP request to the exchange's own port, without a client
//! library.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Time limit of the response.
const DEADLINE: Duration = Duration::from_secs(3);
const REQUEST: &[u8] =
    b"GET /fapi/v1/ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// Requests the time from the exchange at `listen`.
///
/// # Errors
/// What happened instead of a response, in one line.
pub async fn check(listen: SocketAddr) -> Result<String, String> {
    let target = reachable_address(listen);
    match timeout(DEADLINE, fetch_status_line(target)).await {
        Ok(Ok(status)) if status.starts_with("HTTP/1.1 200") => {
            Ok(format!("healthy: {target} answers"))
        }
        Ok(Ok(status)) => Err(format!("unhealthy: {target} answers {status:?}")),
        Ok(Err(error)) => Err(format!("unhealthy: {target}: {error}")),
        Err(_) => Err(format!("unhealthy: {target}: no answer within 3 s")),
    }
}

/// The unspecified address is reached over the loopback interface.
fn reachable_address(listen: SocketAddr) -> SocketAddr {
    if listen.ip().is_unspecified() {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), listen.port())
    } else {
        listen
    }
}

/// Status line of the response.
async fn fetch_status_line(target: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(target).await?;
    stream.write_all(REQUEST).await?;
    let mut answer = Vec::new();
    stream.take(1_024).read_to_end(&mut answer).await?;
    let text = String::from_utf8_lossy(&answer);
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
