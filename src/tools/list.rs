//! What lists have in common: a page of rows, a cursor for the rest, sizes in units a reader can compare. 10,000 guests
//! must not flood a model.

use std::{cmp::Ordering, str::FromStr};

use crate::tool::{Deserialize, Error, JsonSchema, Result};

/// A part of a list.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Page {
    /// Most rows to return.
    #[serde(default = "hundred")]
    #[schemars(range(min = 1, max = 10_000))]
    limit: usize,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

fn hundred() -> usize {
    100
}

impl Page {
    pub fn is_first(&self) -> bool {
        self.cursor.is_none()
    }

    /// Sorts the rows by their key and cuts out this page. The cursor is the key of the last row shown, so that a row
    /// that comes or goes between two pages shifts nothing.
    ///
    /// # Errors
    /// A cursor that no page gave.
    pub fn of<T, K: Ord + FromStr + ToString>(
        &self,
        mut rows: Vec<T>,
        key: impl Fn(&T) -> K,
    ) -> Result<(Vec<T>, Option<String>)> {
        rows.sort_by_key(&key);
        if let Some(cursor) = &self.cursor {
            let after: K = cursor.parse().map_err(|_| {
                Error::bad_argument(format!("cursor: expected the next_cursor of the page before, got '{cursor}'"))
            })?;
            let skip = rows.partition_point(|row| key(row).cmp(&after) != Ordering::Greater);
            rows.drain(..skip);
        }
        let more = rows.len() > self.limit;
        rows.truncate(self.limit);
        let next = rows.last().filter(|_| more).map(|row| key(row).to_string());
        Ok((rows, next))
    }
}

/// Bytes as whole MiB.
pub fn mib(bytes: u64) -> u64 {
    bytes >> 20
}

/// Bytes as GiB with two decimals.
pub fn gib(bytes: u64) -> f64 {
    round(bytes as f64 / f64::from(1 << 30))
}

/// A fraction of one as percent with one decimal.
pub fn percent(fraction: f64) -> f64 {
    (fraction * 1000.0).round() / 10.0
}

pub fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_one_another_without_gap_or_overlap() -> Result<()> {
        let (mut seen, mut cursor) = (Vec::new(), None);
        loop {
            let page = Page { limit: 2, cursor };
            let (rows, next) = page.of(vec![100_u32, 12, 9, 101, 5], |n| *n)?;
            seen.push(rows);
            cursor = next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(seen, [vec![5, 9], vec![12, 100], vec![101]]);
        Ok(())
    }

    #[test]
    fn a_cursor_that_is_none_is_refused() {
        let page = Page { limit: 2, cursor: Some("x".to_owned()) };
        let error = page.of(vec![1_u32], |n| *n).map(|_| ()).map_err(|e| e.to_string());
        assert_eq!(error, Err("cursor: expected the next_cursor of the page before, got 'x'".to_owned()));
    }
}
