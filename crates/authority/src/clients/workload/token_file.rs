//! A bearer token in a file, such as a projected service-account token: read for each request, because it is replaced.

use axum::http::{HeaderMap, HeaderValue, header};
use std::{fs::File, io::Read as _, path::Path};

/// Longest token, in bytes.
const LIMIT: u64 = 64 << 10;

/// The `Authorization` header with the token of this file.
///
/// # Errors
/// The file cannot be read, or holds no token. The text is for the log.
pub(super) fn bearer(file: &Path) -> Result<HeaderMap, String> {
    let mut text = String::new();
    let read = File::open(file).and_then(|file| file.take(LIMIT).read_to_string(&mut text));
    read.map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    let value = HeaderValue::from_str(&format!("Bearer {}", text.trim()));
    let mut value = value.map_err(|_| format!("{} does not hold a token", file.display()))?;
    value.set_sensitive(true);
    Ok(HeaderMap::from_iter([(header::AUTHORIZATION, value)]))
}
