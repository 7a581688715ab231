//! Whether the credentials may do what a plan is going to ask, and the command that would let them.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use http::Method;

use super::{Checked, asked::Asked};
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
    let held: Option<Held> = join_all(paths.into_iter().map(|path| held(pve, path))).await.into_iter().collect();
    let held = held?;
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
