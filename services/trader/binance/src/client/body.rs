//! Bodies of limited size that must make progress: [`read`].

use std::time::Duration;

use reqwest::Response;
use tokio::time::timeout;

/// Reads a body to its end, decompressed.
///
/// # Errors
/// One line, if the body is longer than `most` bytes after decompression, if no part arrives for `between`, or
/// if it breaks off or cannot be decompressed.
pub(super) async fn read(
    mut response: Response,
    most: usize,
    between: Duration,
) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    loop {
        let chunk = match timeout(between, response.chunk()).await {
            Ok(Ok(Some(chunk))) => chunk,
            Ok(Ok(None)) => return Ok(body),
            Ok(Err(error)) => {
                let error = super::error::with_causes(&error.without_url());
                return Err(format!(
                    "body broke off after {} bytes: {error}",
                    body.len()
                ));
            }
            Err(_) => {
                let seconds = between.as_secs_f32();
                let read = body.len();
                return Err(format!(
                    "body stopped after {read} bytes: nothing for {seconds} s"
                ));
            }
        };
        if body.len() + chunk.len() > most {
            return Err(format!("body is longer than {most} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
}
