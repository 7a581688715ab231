//! What was otherwise in Proxmox VE 8.4: methods that were not there, and permissions that were others. One line for each:
//! `METHOD /path -` where there was none, else its permission in the table's notation.

use std::{collections::HashMap, sync::OnceLock};

use super::{Access, Endpoint};

const TABLE: &str = include_str!("before_9.txt");

/// A method as it was before release 9.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Before {
    Absent,
    Access(Access),
}

/// What was otherwise; `None` where nothing was.
pub fn before_9(endpoint: &Endpoint) -> Option<&'static Before> {
    static READ: OnceLock<HashMap<&str, Before>> = OnceLock::new();
    let all = READ.get_or_init(|| {
        let lines = TABLE.lines().filter(|line| !line.starts_with('#'));
        lines
            .filter_map(|line| {
                let (end, _) = line.match_indices(' ').nth(1)?;
                let (method, was) = (&line[..end], &line[end + 1..]);
                Some((method, if was == "-" { Before::Absent } else { Before::Access(Access::read(was)) }))
            })
            .collect()
    });
    all.get(format!("{} {}", endpoint.method, endpoint.path).as_str())
}
