//! What the settings come to, in a sentence: for `doctor`.

use super::{callers, keys, keys::ApiKey, tls::Certificate};
use crate::{config::Web, error::Result};

/// Where it would listen, and who would get in. Contacts nobody.
///
/// # Errors
/// What would keep it from starting.
pub fn about(web: &Web) -> Result<String> {
    callers::refuse_unguarded(web)?;
    if let Some(files) = &web.tls {
        Certificate::load(files)?;
    }
    let keys = keys::of(web)?;
    let scheme = if web.tls.is_some() { "https" } else { "http" };
    let addresses = [("MCP and REST", web.http), ("REST", web.rest)];
    let what = |name| if web.rest.is_some() && name == "MCP and REST" { "MCP" } else { name };
    let at = addresses.iter().filter_map(|(name, at)| at.map(|at| format!("{} at {scheme}://{at}", what(name))));
    let at = at.collect::<Vec<_>>().join(", ");
    let mut all = vec![if at.is_empty() { "no address is set, so it is not served".to_owned() } else { at }];
    match keys.len() {
        0 if web.oauth.is_some() => {}
        0 => all.push("everybody who gets there is let in".to_owned()),
        1 => all.push(format!("1 key: {}", rights(&keys))),
        count => all.push(format!("{count} keys: {}", rights(&keys))),
    }
    if let Some(oauth) = &web.oauth {
        all.push(format!("access tokens of {} for {}", oauth.issuer, oauth.audience));
    }
    if web.is_exposed() && web.tls.is_none() {
        all.push("without TLS, which has to come from a proxy in front of it".to_owned());
    }
    Ok(all.join("; "))
}

fn rights(keys: &[ApiKey]) -> String {
    let one = |key: &ApiKey| match key.rights.as_str() {
        "" => key.name.clone(),
        rights => format!("{} ({rights})", key.name),
    };
    keys.iter().map(one).collect::<Vec<_>>().join(", ")
}
