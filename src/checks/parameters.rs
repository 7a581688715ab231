//! A request's parameters against the API's own definition of them, in Proxmox's words.

use percent_encoding::percent_decode_str;

use super::Checked;
use crate::pve::{
    Param, Request,
    api::{Api, Given, Params},
};

/// What Proxmox would answer 400 for. The definitions are those of one version: where a server knows others, it has the
/// last word.
pub fn check(api: &Api, request: &Request) -> Option<Checked> {
    let path = percent_decode_str(&request.path).decode_utf8_lossy();
    let (endpoint, in_path) = api.lookup(&request.method, &path).filter(|_| request.file.is_none())?;
    let mut params: Params = in_path.into_iter().map(|(key, value)| (key.to_owned(), Given::Text(value))).collect();
    for (key, value) in &request.params {
        let given = Given::Text(value.shown().to_owned());
        let given = match params.remove(key.as_ref()) {
            Some(first) => first.and(given),
            None => given,
        };
        params.insert(key.to_string(), given);
    }
    // A secret was not looked at: its place was.
    let secret = |key: &str| request.params.iter().any(|(k, value)| k == key && matches!(value, Param::Secret(_)));
    let complaints = endpoint.complaints(&params).into_iter().filter(|(key, _)| !secret(key));
    let problems: Vec<String> = complaints.map(|(key, message)| format!("{key}: {message}")).collect();
    (!problems.is_empty()).then(|| Checked { problems, ..Checked::default() })
}
