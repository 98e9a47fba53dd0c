//! What Telegram takes for a photo: the rules of `sendPhoto` that a PNG can break.

use super::answers::Refusal;

/// "At most 10 MB in size"
const MOST_BYTES: usize = 10 << 20;
/// "The photo's width and height must not exceed 10000 in total"
const MOST_SIDES: u32 = 10_000;
/// "Width and height ratio must be at most 20"
const MOST_RATIO: u32 = 20;
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

/// Width and height. Only PNG is read here.
pub(super) fn size(photo: &[u8]) -> Result<(u32, u32), Refusal> {
    if photo.is_empty() {
        return Err(Refusal::bad_request("file must be non-empty"));
    }
    if photo.len() > MOST_BYTES {
        return Err(Refusal::bad_request("file is too big"));
    }
    let number = |at: usize| {
        let bytes = photo.get(at..at + 4)?;
        Some(u32::from_be_bytes(bytes.try_into().ok()?))
    };
    let ends_well = photo.starts_with(PNG) && photo.windows(4).any(|word| word == b"IEND");
    let (Some(width), Some(height), true) = (number(16), number(20), ends_well) else {
        return Err(Refusal::bad_request("IMAGE_PROCESS_FAILED"));
    };
    let sides = width.saturating_add(height);
    let long = width.max(height) > MOST_RATIO.saturating_mul(width.min(height));
    if sides > MOST_SIDES || width.min(height) == 0 || long {
        return Err(Refusal::bad_request("PHOTO_INVALID_DIMENSIONS"));
    }
    Ok((width, height))
}
