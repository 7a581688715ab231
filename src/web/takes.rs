//! What a client takes, by the headers that list it: `Accept` and its like.

use http::{HeaderMap, HeaderName};

/// The names in such a header, in lower case; what has the quality 0 is refused by it, and left out.
pub fn taken(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = String> {
    let all = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    all.flat_map(|value| value.split(',')).filter_map(|one| {
        let mut parts = one.split(';').map(|part| part.trim().to_ascii_lowercase());
        let name = parts.next()?;
        let refused = |part: String| part.strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0));
        (!parts.any(refused)).then_some(name)
    })
}
