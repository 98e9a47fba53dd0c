//! Our Telegram over bare HTTP: the four ways to pass parameters, and what no library would send.

use bearish_tests::telegram::{RateLimits, Telegram, TelegramFault};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{REQUEST_TIMEOUT, entity};

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

/// Status and JSON of the answer to one request; null if it has no content.
async fn send_raw(telegram: &Telegram, request: String) -> (u16, Value) {
    let asking = async {
        let mut stream = TcpStream::connect(("127.0.0.1", telegram.port()))
            .await
            .unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let answer = timeout(REQUEST_TIMEOUT, asking).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head["HTTP/1.1 ".len()..][..3].parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or_default())
}

async fn get(telegram: &Telegram, path: &str) -> (u16, Value) {
    send_raw(
        telegram,
        format!("GET {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n"),
    )
    .await
}

async fn post(telegram: &Telegram, kind: &str, body: &str) -> (u16, Value) {
    let (path, length) = (path(telegram, "sendMessage"), body.len());
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\nContent-Type: {kind}\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    );
    send_raw(telegram, request).await
}

fn path(telegram: &Telegram, method: &str) -> String {
    format!("/bot{}/{method}", telegram.token())
}

fn error_response(code: u16, description: &str) -> (u16, Value) {
    (
        code,
        json!({ "ok": false, "error_code": code, "description": description }),
    )
}

/// An entity as it is on the wire.
fn entity_json((kind, offset, length): (&str, i32, i32)) -> Value {
    json!({ "type": kind, "offset": offset, "length": length })
}

/// Sends JSON of which `text` and `chat_id` are in order unless they are given.
async fn send_json(telegram: &Telegram, mut with: Value) -> (u16, Value) {
    let mut body = json!({ "chat_id": telegram.private_chat(), "text": "a 🐻!" });
    let (body_fields, given) = (body.as_object_mut().unwrap(), with.as_object_mut().unwrap());
    body_fields.append(given);
    post(telegram, JSON, &body.to_string()).await
}

#[tokio::test]
async fn too_many_requests_response_is_complete() {
    let telegram = Telegram::start().await;
    telegram.prepare_fault(TelegramFault::TooManyRequests { retry_after: 7 });
    let (status, mut answer) = send_json(&telegram, json!({})).await;
    let parameters = answer
        .as_object_mut()
        .unwrap()
        .remove("parameters")
        .unwrap();
    assert_eq!(
        (status, answer),
        error_response(429, "Too Many Requests: retry after 7")
    );
    assert_eq!(parameters, json!({ "retry_after": 7 }));
}

#[tokio::test]
async fn server_error_is_no_json() {
    let telegram = Telegram::start().await;
    telegram.prepare_fault(TelegramFault::ServerError(502));
    assert_eq!(send_json(&telegram, json!({})).await, (502, Value::Null));
    assert!(telegram.shown().is_empty());
}

/// That the one message arrived which the four ways of passing parameters are tried with.
fn assert_message_shown(telegram: &Telegram, (status, answer): &(u16, Value)) {
    assert_eq!(*status, 200, "{answer}");
    assert_eq!(answer["result"]["text"], "a 🐻 & b+");
    let shown = telegram.shown().pop().unwrap();
    assert_eq!(shown.text, "a 🐻 & b+");
    assert_eq!(shown.entities, [entity("bold", 2, 2)]);
}

const AS_FORM: &str = "text=a+%F0%9F%90%BB%20%26%20b%2b&\
                       entities=%5B%7B%22type%22:%22bold%22,%22offset%22:2,%22length%22:%222%22%7D%5D";

#[tokio::test]
async fn query_parameters_are_accepted_in_any_method_case() {
    let telegram = Telegram::start().await;
    let path = path(&telegram, "sEnDmEsSaGe");
    let answer = get(
        &telegram,
        &format!("{path}?chat_id={}&{AS_FORM}", telegram.private_chat()),
    )
    .await;
    assert_message_shown(&telegram, &answer);
}

#[tokio::test]
async fn form_is_accepted() {
    let telegram = Telegram::start().await;
    let body = format!("chat_id={}&{AS_FORM}", telegram.private_chat());
    assert_message_shown(&telegram, &post(&telegram, FORM, &body).await);
}

#[tokio::test]
async fn multipart_form_is_accepted_and_its_files_are_ignored() {
    let telegram = Telegram::start().await;
    let chat = telegram.private_chat().to_string();
    let entities = r#"[{"type":"bold","offset":2,"length":2}]"#;
    let mut body = String::from("before the first\r\n");
    for (name, value) in [
        ("chat_id\"", chat.as_str()),
        ("thing\"; filename=\"t.txt\"", "a file"),
        ("empty\"", ""),
        ("text\"", "a 🐻 & b+"),
        ("entities\"", entities),
    ] {
        let header = "Content-Type: text/plain\r\nContent-Disposition: form-data; name=\"";
        body += &["--abc\r\n", header, name, "\r\n\r\n", value, "\r\n"].concat();
    }
    body += "--abc--\r\n";
    let kind = "multipart/form-data; boundary=\"abc\"";
    assert_message_shown(&telegram, &post(&telegram, kind, &body).await);
    let unfinished = post(&telegram, kind, body.trim_end_matches("--abc--\r\n")).await;
    assert_eq!(unfinished, (400, Value::Null));
    let without_boundary = post(&telegram, "multipart/form-data", &body).await;
    assert_eq!(without_boundary, (400, Value::Null));
}

#[tokio::test]
async fn json_is_accepted_with_values_as_they_are_or_as_text() {
    let telegram = Telegram::start().await;
    let chat = telegram.private_chat();
    let entities = json!([{ "type": "bold", "offset": 2, "length": 2 }]);
    for (chat, entities) in [
        (json!(chat), entities.clone()),
        (json!(chat.to_string()), json!(entities.to_string())),
    ] {
        let message = json!({ "chat_id": chat, "text": "a 🐻 & b+", "entities": entities });
        assert_message_shown(&telegram, &send_json(&telegram, message).await);
    }
}

#[tokio::test]
async fn unknown_method_is_not_found() {
    let telegram = Telegram::start().await;
    let no_method = error_response(404, "Not Found: method not found");
    assert_eq!(
        get(&telegram, &path(&telegram, "sendMessages")).await,
        no_method
    );
    for path in [
        "/",
        "/bot",
        "/bot12/getMe",
        "/botx:AA/getMe",
        "/bot12:/getMe",
        "/getMe",
    ] {
        assert_eq!(
            get(&telegram, path).await,
            error_response(404, "Not Found"),
            "{path}"
        );
    }
    assert_eq!(
        get(&telegram, "/bot12:AA/getMe").await,
        error_response(401, "Unauthorized")
    );
    let put = format!(
        "PUT {} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n",
        path(&telegram, "getMe")
    );
    assert_eq!(send_raw(&telegram, put).await, (501, Value::Null));
}

#[tokio::test]
async fn body_of_more_than_a_mebibyte_is_rejected_unread() {
    let telegram = Telegram::start().await;
    let path = path(&telegram, "sendMessage");
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: t\r\nContent-Type: {JSON}\r\nContent-Length: 1048577\r\n\r\n"
    );
    assert_eq!(send_raw(&telegram, head).await, (413, Value::Null));
}

#[tokio::test]
async fn invalid_message_is_rejected_with_telegrams_text() {
    let telegram = Telegram::start().await;
    for (with, why) in [
        (
            json!({ "text": "", "chat_id": "" }),
            "message text is empty",
        ),
        (json!({ "chat_id": "" }), "chat_id is empty"),
        (json!({ "chat_id": "@unknown" }), "chat not found"),
        (json!({ "text": " \n\r\n " }), "text must be non-empty"),
        (json!({ "text": "a".repeat(32_769) }), "text is too long"),
        (json!({ "parse_mode": "bbcode" }), "unsupported parse_mode"),
        (
            json!({ "parse_mode": "HTML", "text": "<b>bold</b>" }),
            "a tag in parse_mode HTML is not supported by this fake",
        ),
        (
            json!({ "parse_mode": "MarkdownV2" }),
            "parse_mode is not supported by this fake",
        ),
        (
            json!({ "reply_parameters": {} }),
            "reply_parameters is not supported by this fake",
        ),
        (
            json!({ "reply_markup": { "keyboard": [] } }),
            "a keyboard that is not inline is not supported by this fake",
        ),
        (
            json!({ "reply_markup": { "inline_keyboard": [[{ "text": "a", "callback_data": "" }]] } }),
            "BUTTON_DATA_INVALID",
        ),
        (
            json!({ "reply_markup": {
                "inline_keyboard": [[{ "text": "a", "callback_data": "x".repeat(65) }]]
            } }),
            "BUTTON_DATA_INVALID",
        ),
        (
            json!({ "link_preview_options": "x" }),
            "can't parse link preview options JSON object",
        ),
        (
            json!({ "link_preview_options": [] }),
            "object expected as link preview options",
        ),
    ] {
        let expected = error_response(400, &format!("Bad Request: {why}"));
        assert_eq!(send_json(&telegram, with).await, expected);
    }
    let no_json = post(&telegram, JSON, "{\"chat_id\":").await;
    assert_eq!(
        no_json,
        error_response(400, "Bad Request: message text is empty")
    );
    let no_text = post(&telegram, FORM, "text=%ff").await;
    assert_eq!(
        no_text,
        error_response(400, "Bad Request: strings must be encoded in UTF-8")
    );
    assert!(telegram.shown().is_empty());
}

#[tokio::test]
async fn invalid_entity_is_rejected_with_telegrams_text() {
    let telegram = Telegram::start().await;
    let one = |kind| entity_json((kind, 0, 1));
    for (entity, why) in [
        (json!("bold"), "expected an Object"),
        (json!({ "type": "bold" }), "Can't find field \"offset\""),
        (
            json!({ "type": "bold", "offset": [] }),
            "Field \"offset\" must be a Number",
        ),
        (
            json!({ "type": "bold", "offset": 0.5 }),
            "Field \"offset\" must be a valid Number",
        ),
        (one("loud"), "Unsupported type specified"),
        (one(""), "Type is not specified"),
        (one("text_link"), "Can't find field \"url\""),
    ] {
        let sent = send_json(&telegram, json!({ "entities": [entity] })).await;
        let why = format!("Bad Request: can't parse MessageEntity: {why}");
        assert_eq!(sent, error_response(400, &why));
    }
    let mut link = one("text_link");
    link["url"] = "http://x/".into();
    let sent = send_json(&telegram, json!({ "entities": [link] })).await;
    let why = "Bad Request: entity URL 'http://x/' is invalid: Wrong HTTP URL";
    assert_eq!(sent, error_response(400, why));
}

#[tokio::test]
async fn entity_outside_the_text_is_rejected_with_telegrams_text() {
    let telegram = Telegram::start().await;
    let middle = "in a middle of a UTF-16 symbol at byte offset 6";
    let after = "after the end of the text at UTF-16 offset";
    let ends = |offset| format!("entity beginning at UTF-16 offset {offset} ends");
    for (offset, length, why) in [
        (-1, 1, "receive an entity with incorrect offset -1".into()),
        (
            0,
            1_000_001,
            "receive an entity with incorrect length 1000001".into(),
        ),
        (3, 1, format!("entity begins {middle}")),
        (0, 3, format!("{} {middle}", ends(0))),
        (5, 1, format!("{} {after} 6", ends(5))),
        (6, 1, format!("entity begins {after} 6")),
        (4, 2, format!("{} {after} 6", ends(4))),
    ] {
        let entities = json!({ "entities": [entity_json(("bold", offset, length))] });
        let sent = send_json(&telegram, entities).await;
        assert_eq!(sent, error_response(400, &format!("Bad Request: {why}")));
    }
    assert!(telegram.shown().is_empty());
}

#[tokio::test]
async fn entities_nest_as_the_documentation_allows() {
    let telegram = Telegram::start().await;
    telegram.set_limits(RateLimits::UNLIMITED);
    for (first, second, allowed) in [
        (("bold", 0, 5), ("italic", 1, 1), true),
        (("blockquote", 0, 5), ("pre", 0, 5), true),
        (("bold", 0, 2), ("code", 2, 2), true),
        (("bold", 0, 2), ("italic", 1, 3), false),
        (("bold", 0, 5), ("bold", 1, 1), false),
        (("bold", 0, 5), ("code", 0, 5), false),
        (("code", 0, 5), ("italic", 1, 1), false),
        (("blockquote", 0, 5), ("blockquote", 0, 2), false),
    ] {
        let entities = json!({ "entities": [entity_json(second), entity_json(first)] });
        let (status, answer) = send_json(&telegram, entities).await;
        assert_eq!(status == 200, allowed, "{first:?} {second:?}: {answer}");
    }
}

#[tokio::test]
async fn text_is_cleaned_and_its_entities_move_with_it() {
    let telegram = Telegram::start().await;
    let message = json!({
        "text": "\n\r\n\u{202e}a\tb\r\u{0}🐻 \n",
        "entities": [
            { "type": "italic", "offset": 6, "length": 6 },
            { "type": "bold", "offset": 4, "length": 1 },
            { "type": "code", "offset": 0, "length": 0 },
            { "type": "hashtag", "offset": 90, "length": 1 },
        ],
    });
    assert_eq!(send_json(&telegram, message).await.0, 200);
    let shown = telegram.shown().pop().unwrap();
    assert_eq!(shown.text, "a b 🐻");
    assert_eq!(
        shown.entities,
        [entity("bold", 0, 1), entity("italic", 2, 4)]
    );
}

#[tokio::test]
async fn white_space_before_the_first_entity_is_trimmed_and_in_it_stays() {
    let telegram = Telegram::start().await;
    let message = json!({ "text": " \n a", "entities": [entity_json(("bold", 1, 3))] });
    assert_eq!(send_json(&telegram, message).await.0, 200);
    let shown = telegram.shown().pop().unwrap();
    assert_eq!(shown.text, "\n a");
    assert_eq!(shown.entities, [entity("bold", 0, 3)]);
}

#[tokio::test]
async fn hundred_entities_are_shown_and_no_more() {
    let telegram = Telegram::start().await;
    let entities: Vec<_> = (0..101)
        .map(|index| entity_json(("bold", index * 2, 1)))
        .collect();
    let message = json!({ "text": "a ".repeat(101), "entities": entities });
    assert_eq!(send_json(&telegram, message).await.0, 200);
    assert_eq!(telegram.shown().pop().unwrap().entities.len(), 100);
}

#[tokio::test]
async fn entities_that_are_no_list_are_ignored() {
    let telegram = Telegram::start().await;
    for entities in [json!("no JSON"), json!({ "type": "bold" })] {
        let (status, _) = send_json(&telegram, json!({ "entities": entities })).await;
        assert_eq!(status, 200);
        assert!(telegram.shown().pop().unwrap().entities.is_empty());
    }
}
