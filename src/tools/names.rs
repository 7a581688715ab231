//! Arguments that are lists of names, and what is said of names that do not exist.

use crate::arguments::nearest;

/// The names in a list; some callers give one text with commas.
pub fn names(given: Option<&Vec<String>>) -> Vec<&str> {
    let given = given.into_iter().flatten();
    given.flat_map(|item| item.split([',', ';', ' '])).filter(|name| !name.is_empty()).collect()
}

/// `there is no role 'PVEAudit' (did you mean 'PVEAuditor'?)`
pub fn no_such<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str>) -> String {
    match nearest(name, known) {
        Some(near) => format!("there is no {what} '{name}' (did you mean '{near}'?)"),
        None => format!("there is no {what} '{name}'"),
    }
}
