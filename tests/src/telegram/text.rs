//! How Telegram changes a text: replaced and dropped characters, trimmed white space, and the positions of entities
//! afterwards. Follows `fix_formatted_text` of tdlib's `MessageEntity.cpp`. Entities that Telegram finds by itself
//! (links, commands, hashtags, cashtags) are not supported.

use super::Entity;
use super::answers::ErrorResponse;
use super::entities;

/// The documented limit of 4,096 characters, counted in UTF-16 units. Telegram counts code points (as of 2026): it
/// accepts 4,096 emoji, which are 8,192 units. The fake is stricter, because clients may count units.
const MAX_MESSAGE_UNITS: usize = 4_096;

/// The documented limit of 1,024 characters of a caption, counted in UTF-16 units.
const MAX_CAPTION_UNITS: usize = 1_024;

/// Number of entities that are shown.
const MAX_ENTITIES: usize = 100;

/// A text with its entities.
pub(super) struct Formatted {
    pub(super) text: String,
    pub(super) entities: Vec<Entity>,
}

/// The message as it will be shown. An error if it is empty or too long.
pub(super) fn clean_message(message: Formatted) -> Result<Formatted, ErrorResponse> {
    let message = clean_formatted(message)?;
    if message.text.is_empty() {
        return Err(ErrorResponse::bad_request("text must be non-empty"));
    }
    if utf16_units(&message.text) > MAX_MESSAGE_UNITS {
        return Err(ErrorResponse::bad_request("message is too long"));
    }
    Ok(message)
}

/// The caption as it will be shown; it may be empty. An error if it is too long.
pub(super) fn clean_caption(caption: Formatted) -> Result<Formatted, ErrorResponse> {
    let caption = clean_formatted(caption)?;
    if utf16_units(&caption.text) > MAX_CAPTION_UNITS {
        return Err(ErrorResponse::bad_request("message caption is too long"));
    }
    Ok(caption)
}

fn clean_formatted(message: Formatted) -> Result<Formatted, ErrorResponse> {
    let entities = entities::sort_and_check_nesting(message.entities)?;
    let (text, places) = replace_controls(&message.text);
    let moved = entities
        .into_iter()
        .map(|entity| move_entity(entity, &places));
    let entities = moved.collect::<Result<_, _>>()?;
    Ok(trim_whitespace(Formatted { text, entities }))
}

/// A position between two characters: in UTF-16 units and bytes of the original, and in units of the result.
struct CharBoundary {
    original_units: usize,
    at_byte: usize,
    cleaned_units: usize,
}

fn replace_controls(text: &str) -> (String, Vec<CharBoundary>) {
    let mut kept = String::with_capacity(text.len());
    let (mut places, mut was, mut is) = (Vec::new(), 0, 0);
    for (at_byte, character) in text.char_indices() {
        places.push(CharBoundary {
            original_units: was,
            at_byte,
            cleaned_units: is,
        });
        was += character.len_utf16();
        if let Some(character) = displayed_character(character) {
            is += character.len_utf16();
            kept.push(character);
        }
    }
    let at_byte = text.len();
    places.push(CharBoundary {
        original_units: was,
        at_byte,
        cleaned_units: is,
    });
    (kept, places)
}

/// Character as shown. Control characters become spaces; carriage returns, bidirectional controls and three combining
/// strokes are dropped (`None`).
fn displayed_character(character: char) -> Option<char> {
    match character {
        '\n' => Some('\n'),
        '\r' | '\u{2028}'..='\u{202e}' | '\u{30a}' | '\u{333}' | '\u{33f}' => None,
        '\0'..='\u{1f}' => Some(' '),
        other => Some(other),
    }
}

fn move_entity(entity: Entity, places: &[CharBoundary]) -> Result<Entity, ErrorResponse> {
    let (begin, end) = (entity.offset, entity.end());
    let middle = |byte| format!("in a middle of a UTF-16 symbol at byte offset {byte}");
    let after = "after the end of the text at UTF-16 offset";
    let begins = match find_boundary(places, begin) {
        Ok(is) => is,
        Err(Some(byte)) => return bad_request(format!("entity begins {}", middle(byte))),
        Err(None) => return bad_request(format!("entity begins {after} {begin}")),
    };
    let beginning = format!("entity beginning at UTF-16 offset {begin} ends");
    let ends = match find_boundary(places, end) {
        Ok(is) => is,
        Err(Some(byte)) => return bad_request(format!("{beginning} {}", middle(byte))),
        Err(None) => return bad_request(format!("{beginning} {after} {end}")),
    };
    Ok(Entity {
        offset: begins,
        length: ends - begins,
        ..entity
    })
}

/// Converts a unit of the original to one of the result. The error is the byte after a character that contains it.
fn find_boundary(places: &[CharBoundary], unit: usize) -> Result<usize, Option<usize>> {
    match places.binary_search_by_key(&unit, |place| place.original_units) {
        Ok(index) => Ok(places[index].cleaned_units),
        Err(next) => Err(places.get(next).map(|place| place.at_byte)),
    }
}

fn bad_request<T>(why: String) -> Result<T, ErrorResponse> {
    Err(ErrorResponse::bad_request(why))
}

/// Trims all white space at the end, and at the beginning only what is before the first entity.
fn trim_whitespace(message: Formatted) -> Formatted {
    let blank = [' ', '\n'];
    let text = message.text.trim_end_matches(blank);
    let end = utf16_units(text);
    let mut entities = message.entities;
    for entity in &mut entities {
        entity.length = entity.end().min(end).saturating_sub(entity.offset);
    }
    entities.retain(|entity| entity.length > 0);
    entities.truncate(MAX_ENTITIES);
    let leading = text.len() - text.trim_start_matches(blank).len();
    let leading = entities
        .first()
        .map_or(leading, |first| leading.min(first.offset));
    for entity in &mut entities {
        entity.offset -= leading;
    }
    Formatted {
        text: text[leading..].to_owned(),
        entities,
    }
}

fn utf16_units(text: &str) -> usize {
    text.encode_utf16().count()
}
