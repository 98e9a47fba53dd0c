//! Sends a message with a picture by `sendPhoto`, the only call that is not JSON.

use notifier_core::message::Message;
use notifier_core::model::Outcome;
use reqwest::header::CONTENT_TYPE;

use super::client::{Keyboard, Telegram, entities};
use crate::telegram_error::TelegramError;

/// Occurs in no parameter, and almost certainly in no PNG.
const BOUNDARY: &str = "bearish-alpha-5f2c1b9a7d3e4086";

impl Telegram {
    /// Sends one message with a PNG once.
    pub(super) async fn post_photo(
        &self,
        chat: i64,
        message: &Message,
        png: &[u8],
    ) -> (Outcome, Option<TelegramError>) {
        let mut fields = vec![
            ("chat_id", chat.to_string()),
            ("caption", message.text.clone()),
        ];
        let entities = serde_json::to_string(&entities(message));
        fields.extend(entities.ok().map(|json| ("caption_entities", json)));
        let keyboard =
            Keyboard::for_message(message).map(|keyboard| serde_json::to_string(&keyboard));
        fields.extend(
            keyboard
                .and_then(Result::ok)
                .map(|json| ("reply_markup", json)),
        );
        let request = self
            .client
            .post(self.method_url("sendPhoto"))
            .header(
                CONTENT_TYPE,
                format!("multipart/form-data; boundary={BOUNDARY}"),
            )
            .body(multipart_body(&fields, png));
        self.call(chat, request).await
    }
}

fn multipart_body(fields: &[(&str, String)], png: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(png.len() + 4_096);
    for (name, value) in fields {
        let head = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
        );
        body.extend_from_slice(head.as_bytes());
    }
    let head = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"photo\"; filename=\"equity.png\"\r\n\
         Content-Type: image/png\r\n\r\n"
    );
    body.extend_from_slice(head.as_bytes());
    body.extend_from_slice(png);
    body.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
    body
}
