//! Rules of `sendPhoto` for a PNG.

use super::answers::ErrorResponse;

/// "At most 10 MB in size"
const MAX_BYTES: usize = 10 << 20;
/// "The photo's width and height must not exceed 10000 in total"
const MAX_SIDES_SUM: u32 = 10_000;
/// "Width and height ratio must be at most 20"
const MAX_RATIO: u32 = 20;
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

/// Width and height of a PNG. An error for any other file.
pub(super) fn png_size(photo: &[u8]) -> Result<(u32, u32), ErrorResponse> {
    if photo.is_empty() {
        return Err(ErrorResponse::bad_request("file must be non-empty"));
    }
    if photo.len() > MAX_BYTES {
        return Err(ErrorResponse::bad_request("file is too big"));
    }
    let number = |at: usize| {
        let bytes = photo.get(at..at + 4)?;
        Some(u32::from_be_bytes(bytes.try_into().ok()?))
    };
    let ends_well = photo.starts_with(PNG) && photo.windows(4).any(|chunk| chunk == b"IEND");
    let (Some(width), Some(height), true) = (number(16), number(20), ends_well) else {
        return Err(ErrorResponse::bad_request("IMAGE_PROCESS_FAILED"));
    };
    let sides = width.saturating_add(height);
    let long = width.max(height) > MAX_RATIO.saturating_mul(width.min(height));
    if sides > MAX_SIDES_SUM || width.min(height) == 0 || long {
        return Err(ErrorResponse::bad_request("PHOTO_INVALID_DIMENSIONS"));
    }
    Ok((width, height))
}
