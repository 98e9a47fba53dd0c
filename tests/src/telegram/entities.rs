//! Message entities: parsing (the server's `get_text_entity`) and nesting. `text.rs` moves them with the text. Mentions
//! of users, custom emoji and formatted dates are not supported.

use serde_json::{Map, Value, json};

use super::answers::ErrorResponse;

/// Limit of offsets and lengths in tdlib.
const MAX_OFFSET: i32 = 1_000_000;

/// Format of a part of a text. Positions count UTF-16 units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entity {
    /// Telegram's name: `bold`, `code`, ...
    pub kind: String,
    /// First unit, counted from 0.
    pub offset: usize,
    /// Number of units.
    pub length: usize,
    /// Address of a `text_link`; `None` for others.
    pub url: Option<String>,
    /// Language of a `pre`; `None` if it names none.
    pub language: Option<String>,
}

impl Entity {
    /// First unit after the part.
    pub const fn end(&self) -> usize {
        self.offset + self.length
    }

    pub(super) fn to_json(&self) -> Value {
        let mut reply = json!({ "type": self.kind, "offset": self.offset, "length": self.length });
        if let Some(url) = &self.url {
            reply["url"] = url.as_str().into();
        }
        if let Some(language) = &self.language {
            reply["language"] = language.as_str().into();
        }
        reply
    }
}

/// Parses entities. As in Telegram, a value that is not a JSON array counts as no entities. Empty entities are dropped,
/// and so are kinds that Telegram finds by itself (`url`, `hashtag`, ...).
pub(super) fn parse(entities: &str) -> Result<Vec<Entity>, ErrorResponse> {
    let Ok(Value::Array(entities)) = serde_json::from_str(entities) else {
        return Ok(Vec::new());
    };
    let mut read = Vec::new();
    for entity in &entities {
        read.extend(parse_entity(entity)?);
    }
    read.retain(|entity| entity.length > 0);
    Ok(read)
}

fn parse_entity(entity: &Value) -> Result<Option<Entity>, ErrorResponse> {
    let fields = entity
        .as_object()
        .ok_or_else(|| parse_error("expected an Object"))?;
    let (offset, length) = (
        integer_field(fields, "offset")?,
        integer_field(fields, "length")?,
    );
    let kind = text_field(fields, "type")?.ok_or_else(|| missing_field("type"))?;
    let (mut url, mut language) = (None, None);
    match kind.as_str() {
        "" => return Err(parse_error("Type is not specified")),
        "bold"
        | "italic"
        | "underline"
        | "strikethrough"
        | "spoiler"
        | "code"
        | "blockquote"
        | "expandable_blockquote" => {}
        "pre" => language = text_field(fields, "language")?.filter(|language| !language.is_empty()),
        "text_link" => {
            url = Some(validate_link(
                text_field(fields, "url")?.ok_or_else(|| missing_field("url"))?,
            )?);
        }
        "mention" | "hashtag" | "cashtag" | "bot_command" | "url" | "email" | "phone_number"
        | "bank_card_number" => return Ok(None),
        "text_mention" | "custom_emoji" | "date_time" => {
            return Err(ErrorResponse::unsupported(&kind));
        }
        _ => return Err(parse_error("Unsupported type specified")),
    }
    Ok(Some(Entity {
        kind,
        offset: bounded_units("offset", offset)?,
        length: bounded_units("length", length)?,
        url,
        language,
    }))
}

fn parse_error(why: &str) -> ErrorResponse {
    ErrorResponse::bad_request(format!("can't parse MessageEntity: {why}"))
}

fn missing_field(field: &str) -> ErrorResponse {
    parse_error(&format!("Can't find field \"{field}\""))
}

fn integer_field(fields: &Map<String, Value>, name: &str) -> Result<i32, ErrorResponse> {
    let text = match fields.get(name) {
        None => return Err(missing_field(name)),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        Some(_) => return Err(parse_error(&format!("Field \"{name}\" must be a Number"))),
    };
    let wrong = |_| parse_error(&format!("Field \"{name}\" must be a valid Number"));
    text.parse().map_err(wrong)
}

fn text_field(fields: &Map<String, Value>, name: &str) -> Result<Option<String>, ErrorResponse> {
    match fields.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(Value::Number(number)) => Ok(Some(number.to_string())),
        Some(_) => Err(parse_error(&format!(
            "Field \"{name}\" must be of type String"
        ))),
    }
}

fn bounded_units(what: &str, value: i32) -> Result<usize, ErrorResponse> {
    let wrong =
        || ErrorResponse::bad_request(format!("receive an entity with incorrect {what} {value}"));
    let bounded = usize::try_from(value).ok().filter(|_| value <= MAX_OFFSET);
    bounded.ok_or_else(wrong)
}

/// Accepts web links whose host name has a dot.
fn validate_link(url: String) -> Result<String, ErrorResponse> {
    let rest = ["https://", "http://"]
        .iter()
        .find_map(|scheme| url.strip_prefix(scheme));
    let host = rest.and_then(|rest| rest.split(['/', '?', '#']).next());
    if host.is_some_and(|host| host.contains('.')) {
        return Ok(url);
    }
    Err(ErrorResponse::bad_request(format!(
        "entity URL '{url}' is invalid: Wrong HTTP URL"
    )))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum EntityClass {
    Quote,
    Verbatim,
    Link,
    Style,
}

/// Class of a kind, and its rank among entities that cover the same text: the outer one first, as in tdlib.
fn entity_class(kind: &str) -> (EntityClass, u8) {
    match kind {
        "blockquote" | "expandable_blockquote" => (EntityClass::Quote, 0),
        "pre" => (EntityClass::Verbatim, 10),
        "code" => (EntityClass::Verbatim, 20),
        "text_link" => (EntityClass::Link, 49),
        "bold" => (EntityClass::Style, 90),
        "italic" => (EntityClass::Style, 91),
        "underline" => (EntityClass::Style, 92),
        "strikethrough" => (EntityClass::Style, 93),
        _ => (EntityClass::Style, 94),
    }
}

/// Sorts entities in Telegram's order. The Bot API allows them to nest, not to overlap, and forbids some kinds inside
/// others. Telegram repairs such entities silently (tdlib's `fix_entities`); here they are an error, because their
/// sender has a bug.
pub(super) fn sort_and_check_nesting(
    mut entities: Vec<Entity>,
) -> Result<Vec<Entity>, ErrorResponse> {
    entities.sort_by_key(|entity| {
        let (_, order) = entity_class(&entity.kind);
        (entity.offset, std::cmp::Reverse(entity.length), order)
    });
    let mut around: Vec<&Entity> = Vec::new();
    for entity in &entities {
        around.retain(|outer| entity.offset < outer.end());
        let wrong = around
            .iter()
            .find(|outer| entity.end() > outer.end() || !may_contain(&outer.kind, &entity.kind));
        if let Some(outer) = wrong {
            let (kind, outer) = (&entity.kind, &outer.kind);
            return Err(ErrorResponse::unsupported(&format!(
                "{kind} across or in {outer}"
            )));
        }
        around.push(entity);
    }
    Ok(entities)
}

fn may_contain(outer: &str, inner: &str) -> bool {
    match (entity_class(outer).0, entity_class(inner).0) {
        (EntityClass::Verbatim, _) => false,
        (EntityClass::Quote, inner) => inner != EntityClass::Quote,
        (EntityClass::Link, inner) => inner == EntityClass::Style,
        (EntityClass::Style, EntityClass::Style) => outer != inner,
        (EntityClass::Style, inner) => inner != EntityClass::Verbatim,
    }
}
