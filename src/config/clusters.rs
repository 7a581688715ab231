//! Several clusters: their names, the prefixes of their settings, and what is said about names that nothing reads.

use std::collections::BTreeSet;

use super::{
    sources::{Found, Inputs, Lookup, Origin, ending},
    table::{self, SETTINGS, Scope, Setting, WITHOUT_EFFECT},
    value,
};
use crate::error::{Error, Result};

const PREFIX: &str = "PROXMOX_CLUSTER_";

/// The names in `PROXMOX_CLUSTERS`, in order.
pub(super) fn names(found: &Found) -> Result<Vec<String>> {
    let mut seen = BTreeSet::new();
    let mut names = Vec::new();
    for name in found.text().split(',').map(str::trim).filter(|name| !name.is_empty()) {
        if !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')) {
            return Err(found.bad("names of letters, digits, - and _, separated by commas"));
        }
        if name == super::ALL_CLUSTERS {
            return Err(found.bad("names other than all, which stands for every one"));
        }
        if !seen.insert(as_variable(name).to_ascii_uppercase()) {
            return Err(found.bad("names that differ in more than case, - and _"));
        }
        names.push(name.to_owned());
    }
    if names.is_empty() {
        return Err(found.bad("at least one name"));
    }
    Ok(names)
}

/// The spellings of a cluster's prefix: as given, in capitals, and with `_` for the `-` that no shell variable may have.
pub(super) fn prefixes(name: &str) -> Vec<String> {
    let mut spellings: Vec<String> = Vec::new();
    for spelling in
        [name.to_owned(), as_variable(name), name.to_ascii_uppercase(), as_variable(name).to_ascii_uppercase()]
    {
        let prefix = format!("{PREFIX}{spelling}_");
        if !spellings.contains(&prefix) {
            spellings.push(prefix);
        }
    }
    spellings
}

/// A setting under the cluster's prefix, in the spelling that shells and `.env` files take too.
pub(super) fn own_name(name: &str, setting: &str) -> String {
    format!("{PREFIX}{}_{}", as_variable(name), ending(setting))
}

fn as_variable(name: &str) -> String {
    name.replace('-', "_")
}

/// Plain settings that none of several clusters takes: a flag is refused, the rest is worth a word.
///
/// # Errors
/// When an endpoint or a credential is given as a flag, which would silently have no effect.
pub(super) fn refuse_plain_settings(lookup: &mut Lookup<'_>, first: &str) -> Result<()> {
    let first_prefix = prefixes(first).into_iter().next().unwrap_or_default();
    for setting in SETTINGS.iter().filter(|setting| setting.scope == Scope::Own) {
        let Some(found) = lookup.find_shared(setting)? else { continue };
        let instead = format!("{first_prefix}{}", ending(setting.name));
        if found.origin == Origin::Flag {
            return Err(Error::bad_setting(format!(
                "{}: expected no such flag beside {}, which names several clusters: set {instead} and its like",
                found.name(),
                table::CLUSTERS.name
            )));
        }
        lookup.warnings.push(format!(
            "{} is not used: {} names several clusters, which take {instead} and its like",
            found.name(),
            table::CLUSTERS.name
        ));
    }
    Ok(())
}

/// One line for each `PROXMOX_…` name that nothing reads, with the nearest name that something would.
pub(super) fn unknown_names(inputs: &Inputs, clusters: &[String]) -> Vec<String> {
    let prefixes: Vec<String> = clusters.iter().flat_map(|name| prefixes(name)).collect();
    let given: BTreeSet<&str> = inputs
        .env
        .keys()
        .chain(inputs.dotenv.iter().flat_map(|file| file.values.keys()))
        .map(String::as_str)
        .filter(|name| name.starts_with("PROXMOX_"))
        .collect();
    given.into_iter().filter_map(|name| about(name, &prefixes, clusters.is_empty())).collect()
}

fn about(name: &str, prefixes: &[String], single: bool) -> Option<String> {
    let plain: Vec<String> = SETTINGS.iter().flat_map(|setting| spellings(setting)).collect();
    if plain.iter().any(|known| known == name) {
        return None;
    }
    if WITHOUT_EFFECT.contains(&name) {
        return Some(format!("{name} has no effect here: it belongs to another server"));
    }
    if let Some((prefix, rest)) = prefixes.iter().find_map(|prefix| Some((prefix, name.strip_prefix(prefix.as_str())?)))
    {
        let own: Vec<String> = SETTINGS
            .iter()
            .filter(|setting| setting.per_cluster())
            .flat_map(|setting| spellings(setting))
            .map(|known| ending(&known).to_owned())
            .collect();
        if own.iter().any(|known| known == rest) {
            return None;
        }
        if WITHOUT_EFFECT.iter().any(|known| ending(known) == rest) {
            return Some(format!("{name} has no effect here: it belongs to another server"));
        }
        let nearest = nearest(rest, &own).map(|known| format!("{prefix}{known}"));
        return Some(unknown(name, nearest));
    }
    if name.starts_with(PREFIX) {
        let reason = if single { "is not set" } else { "does not name its cluster" };
        return Some(format!("{name} is not used: {} {reason}", table::CLUSTERS.name));
    }
    Some(unknown(name, nearest(name, &plain)))
}

fn spellings(setting: &Setting) -> Vec<String> {
    let files = setting.names().filter(|_| setting.secret).map(|name| format!("{name}_FILE"));
    setting.names().map(str::to_owned).chain(files).collect()
}

fn unknown(name: &str, nearest: Option<String>) -> String {
    match nearest {
        Some(nearest) => format!("{name} is no setting of this program: is {nearest} meant?"),
        None => format!("{name} is no setting of this program"),
    }
}

/// The name that is at most three letters off, or a fifth of them.
fn nearest(name: &str, known: &[String]) -> Option<String> {
    let (distance, nearest) = known.iter().map(|known| (value::distance(name, known), known)).min()?;
    (distance <= 3 && distance * 5 <= name.len()).then(|| nearest.clone())
}
