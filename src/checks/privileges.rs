//! Whether the credentials may do what a plan is going to ask, and the command that would let them.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, stream};
use http::Method;

use super::{AT_ONCE, Checked, asked::Asked};
use crate::pve::{
    Request,
    api::Api,
    grant,
    rights::{self, Held, Lack, Need},
};

pub async fn check(pve: &Asked<'_>, api: &Api, requests: &[Request]) -> Option<Checked> {
    let needs: Vec<Need> = requests
        .iter()
        .filter(|request| request.method != Method::GET)
        .flat_map(|request| rights::needs(api, request))
        .collect();
    let mut paths = BTreeSet::new();
    needs.iter().for_each(|need| need.paths(&mut paths));
    if paths.is_empty() {
        return None;
    }
    let held = stream::iter(paths).map(|path| held(pve, path)).buffered(AT_ONCE).collect::<Vec<_>>().await;
    let held: Held = held.into_iter().collect::<Option<_>>()?;
    let mut missing: Vec<Lack> = needs.iter().flat_map(|need| need.missing(&held)).collect();
    missing.sort_by(|a, b| a.words.cmp(&b.words));
    missing.dedup_by(|a, b| a.words == b.words);
    Some(match missing.as_slice() {
        [] => Checked::good("the credentials have the privileges for it"),
        missing => Checked::problem(grant::told(&pve.who(), missing)),
    })
}

async fn held(pve: &Asked<'_>, path: String) -> Option<(String, BTreeSet<String>)> {
    let request = Request::get("/access/permissions").param("path", &path);
    let answer: BTreeMap<String, BTreeMap<String, bool>> = pve.request(request).await.ok()?;
    let privileges = answer.into_values().flat_map(BTreeMap::into_keys).collect();
    Some((path, privileges))
}
