//! What Telegram makes of a text: characters that it replaces or drops, white space at both ends,
//! and where entities are after that. Follows `fix_formatted_text` of tdlib's `MessageEntity.cpp`.
//! Not supported: what it finds in a text by itself (links, commands, hashtags, cashtags) and adds to
//! the entities.

use super::Entity;
use super::answers::ErrorResponse;
use super::entities;

/// The documented 4,096 characters, counted as UTF-16 units. The real one counts code points, as of
/// 2026: it takes 4,096 emoji, which are 8,192 units. We are stricter, so that a message may also
/// be shown where units count.
const MAX_MESSAGE_UNITS: usize = 4_096;

/// The documented 1,024 characters below a picture, counted in the same way.
const MAX_CAPTION_UNITS: usize = 1_024;

/// Entities beyond these are not shown.
const MAX_ENTITIES: usize = 100;

/// A text and its format.
pub(super) struct Formatted {
    pub(super) text: String,
    pub(super) entities: Vec<Entity>,
}

/// As it will be shown.
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

/// The same below a picture, where there may be none.
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

/// Between two characters: where it was in UTF-16 units and bytes, and where it is now in units.
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

/// Controls become spaces; carriage returns, bidirectional controls and three combining strokes
/// vanish.
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

/// Where this is now. An error is the first byte after it, for what is inside of a character.
fn find_boundary(places: &[CharBoundary], unit: usize) -> Result<usize, Option<usize>> {
    match places.binary_search_by_key(&unit, |place| place.original_units) {
        Ok(index) => Ok(places[index].cleaned_units),
        Err(next) => Err(places.get(next).map(|place| place.at_byte)),
    }
}

fn bad_request<T>(why: String) -> Result<T, ErrorResponse> {
    Err(ErrorResponse::bad_request(why))
}

/// The end loses all of its white space, the beginning only what lies before the first entity.
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
