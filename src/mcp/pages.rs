//! What all lists have in common: pages, refused cursors, and how long a client may keep them.

use rmcp::{
    ErrorData,
    model::{CacheScope, PaginatedRequestParams},
};

/// Lists are made of the settings alone and stay as they are while the process runs. A client that outlives it, over
/// HTTP, looks again after this time.
pub const LISTED_MS: u64 = 300_000;
/// The state of a cluster is old as soon as it is read: the client's next call may change it.
pub const STATE_MS: u64 = 0;
/// What is listed and read depends on the policy and on the credentials: nobody else's cache may keep it.
pub const SCOPE: CacheScope = CacheScope::Private;
/// Rows of a page.
pub const PAGE: usize = 100;

/// The part of a list that a request asks for, and the cursor of the next. A cursor is the key of the last row shown.
///
/// # Errors
/// Invalid parameters, for a cursor that no page gave.
pub fn page<T: Clone>(
    rows: &[T],
    size: usize,
    request: Option<PaginatedRequestParams>,
    key: impl Fn(&T) -> String,
) -> Result<(Vec<T>, Option<String>), ErrorData> {
    let start = match request.and_then(|request| request.cursor) {
        None => 0,
        // The last row's key is no cursor: nothing follows it.
        Some(cursor) => match rows.iter().position(|row| key(row) == cursor) {
            Some(at) if (at + 1) % size == 0 && at + 1 < rows.len() => at + 1,
            _ => {
                let shown: String = cursor.chars().take(80).collect();
                let words = format!("cursor: expected the nextCursor of the page before, got '{shown}'");
                return Err(ErrorData::invalid_params(words, None));
            }
        },
    };
    let end = rows.len().min(start.saturating_add(size));
    let next = (end < rows.len()).then(|| key(&rows[end - 1]));
    Ok((rows[start..end].to_vec(), next))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(rows: &[u32], cursor: Option<&str>) -> Result<(Vec<u32>, Option<String>), i32> {
        let request = cursor.map(|cursor| PaginatedRequestParams::default().with_cursor(Some(cursor.to_owned())));
        page(rows, 2, request, u32::to_string).map_err(|e| e.code.0)
    }

    #[test]
    fn pages_follow_one_another_and_end() {
        let rows = [7, 8, 9, 10];
        assert_eq!(of(&rows, None), Ok((vec![7, 8], Some("8".to_owned()))));
        assert_eq!(of(&rows, Some("8")), Ok((vec![9, 10], None)));
    }

    #[test]
    fn a_cursor_that_no_page_gave_is_refused() {
        for cursor in ["7", "10", "11", "", "x"] {
            assert_eq!(of(&[7, 8, 9, 10], Some(cursor)), Err(-32602), "{cursor}");
        }
    }
}
