//! What a path and parameters given by a caller mean in the Proxmox API, or what is wrong with them.

use std::{collections::BTreeMap, sync::Arc};

use http::Method;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use crate::{
    arguments::nearest,
    pve::{
        api::{Api, Endpoint, Given, Params, Property},
        encode, secrets,
    },
    tool::*,
};

/// A method of the API, with the parameters of its path.
#[derive(Debug)]
pub struct Target {
    pub endpoint: Arc<Endpoint>,
    in_path: BTreeMap<&'static str, String>,
}

/// A path as the table knows it: decoded, without the prefix that all have.
///
/// # Errors
/// What no path of the API has.
pub fn clean(given: &str) -> Result<String> {
    let path = given.trim().trim_start_matches('/');
    let path = path.strip_prefix("api2/json").or(path.strip_prefix("api2/extjs")).unwrap_or(path);
    if path.contains(['?', '#']) {
        return Err(Error::bad_argument("path: expected no '?' in it: parameters go into params"));
    }
    let path = percent_decode_str(path).decode_utf8_lossy();
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    if segments.iter().any(|segment| matches!(*segment, "." | "..")) {
        return Err(Error::bad_argument(format!("path: expected no '.' or '..' segments, got '{given}'")));
    }
    Ok(format!("/{}", segments.join("/")))
}

/// What to say of a path that the API does not have.
pub fn unknown(api: &Api, path: &str) -> Error {
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let (known, below) = api.below(path);
    let prefix: String = segments[..known].iter().map(|segment| format!("/{segment}")).collect();
    let error = Error::bad_argument(format!("path: the Proxmox API has no '{path}'"));
    let near = segments.get(known).and_then(|wrong| nearest(wrong, below.iter().copied()));
    match near {
        Some(near) => error.hint(format!("did you mean {prefix}/{near}?")),
        None => error.hint(format!("below {}: {}", if known == 0 { "/" } else { &prefix }, below.join(", "))),
    }
}

impl Target {
    /// # Errors
    /// `BadArgument` with the nearest path, or the methods that this one has.
    pub fn find(api: &Api, method: &Method, given: &str) -> Result<Self> {
        let path = clean(given)?;
        let Some((endpoint, in_path)) = api.lookup(method, &path) else {
            let methods: Vec<String> = api.methods(&path).iter().map(|e| e.method.to_string()).collect();
            return Err(match methods.is_empty() {
                true => unknown(api, &path),
                false => Error::bad_argument(format!("path: {path} has no {method}"))
                    .hint(format!("it has {}", methods.join(", "))),
            });
        };
        let last = endpoint.path.rsplit('/').next().unwrap_or_default();
        if last.ends_with("websocket") || last == "upload" {
            return Err(Error::bad_argument(format!("path: {} takes no plain request", endpoint.path)));
        }
        Ok(Self { endpoint, in_path })
    }

    /// Some methods are for logged-in users only, not for API tokens.
    ///
    /// # Errors
    /// `Permission`, as Proxmox would say.
    pub fn check_login(&self, pve: &Reader<'_>) -> Result<()> {
        if self.endpoint.allow_token || !pve.who().contains('!') {
            return Ok(());
        }
        let Endpoint { method, path, .. } = &*self.endpoint;
        Err(Error::new(crate::error::Kind::Permission, format!("{method} {path} is not available with an API token"))
            .hint("nothing was sent; it needs a login with user and password"))
    }

    /// The request, with its parameters held to what the API takes.
    ///
    /// # Errors
    /// `BadArgument` with everything that is wrong.
    pub fn request(&self, params: Option<&Map<String, Value>>) -> Result<Request> {
        let mut given = Params::new();
        let mut path = self.endpoint.path.to_owned();
        for (name, value) in &self.in_path {
            given.insert((*name).to_owned(), Given::from(value.as_str()));
            path = path.replace(&format!("{{{name}}}"), &encode(value));
        }
        let params = params.into_iter().flatten().filter_map(|(name, value)| Some((name, Given::from_json(value)?)));
        for (name, value) in params {
            let property = self.endpoint.param(name).map(|property| &**property);
            if self.in_path.contains_key(name.as_str()) {
                return Err(Error::bad_argument(format!("params.{name}: expected it in the path only")));
            }
            given.insert(name.clone(), settle(property, value));
        }
        if let Err(errors) = self.endpoint.validate(&given) {
            return Err(self.wrong(&errors, &given));
        }
        let mut request = Request::new(self.endpoint.method.clone(), path);
        for (name, value) in given.into_iter().filter(|(name, _)| !self.in_path.contains_key(name.as_str())) {
            for value in texts(value) {
                request = match secrets::is_secret(&name) {
                    true => request.secret(name.clone(), value),
                    false => request.param(name.clone(), value),
                };
            }
        }
        Ok(request)
    }

    /// All that is wrong, in Proxmox's words; unknown names with the nearest known one.
    fn wrong(&self, errors: &BTreeMap<String, String>, given: &Params) -> Error {
        let names = || self.endpoint.param_names().filter(|name| !self.in_path.contains_key(name));
        let mut hint = None;
        let said: Vec<String> = errors
            .iter()
            .map(|(name, words)| {
                if self.in_path.contains_key(name.as_str()) {
                    return format!("path: {name}: {}", words.trim_end());
                }
                if self.endpoint.param(name).is_some() {
                    let words = match given.get(name) {
                        Some(Given::Text(secret)) if secrets::is_secret(name) => words.replace(secret, secrets::MASKED),
                        _ => words.clone(),
                    };
                    return format!("params.{name}: {}", words.trim_end());
                }
                let known = nearest(name, names()).map(|near| format!("did you mean '{near}'?"));
                hint = hint.take().or(known);
                format!("unknown parameter '{name}'")
            })
            .collect();
        let (method, path) = (&self.endpoint.method, self.endpoint.path);
        Error::bad_argument(said.join("; ")).hint(hint.unwrap_or_else(|| {
            let all: Vec<&str> = names().collect();
            match all.as_slice() {
                [] => format!("nothing was sent; {method} {path} takes no parameters"),
                all if all.len() <= 12 => format!("nothing was sent; {method} {path} takes {}", all.join(", ")),
                _ => format!("nothing was sent; see proxmox-api-docs path={path} method={method}"),
            }
        }))
    }
}

/// A list for a parameter that takes a text with commas becomes that text, and true and false what forms have.
fn settle(property: Option<&Property>, given: Given) -> Given {
    let text = |one: &Given| match one {
        Given::Text(text) => Some(text.clone()),
        Given::Bool(on) => Some(u8::from(*on).to_string()),
        _ => None,
    };
    match given {
        Given::Bool(_) => text(&given).map_or(given, Given::Text),
        Given::List(list) if !property.is_some_and(|p| p.array) => {
            Given::Text(list.iter().filter_map(text).collect::<Vec<_>>().join(","))
        }
        other => other,
    }
}

/// As they are sent: an array is the same parameter several times.
fn texts(given: Given) -> Vec<String> {
    match given {
        Given::Text(text) => vec![text],
        Given::Bool(on) => vec![u8::from(on).to_string()],
        Given::List(list) => list.into_iter().flat_map(texts).collect(),
        Given::Object => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn asked(method: Method, path: &str, params: Value) -> Result<String, String> {
        let params = params.as_object().cloned();
        Target::find(&Api::embedded(), &method, path)
            .and_then(|target| target.request(params.as_ref()))
            .map(|request| format!("{request:?}"))
            .map_err(|e| match &e.parts().hint {
                Some(hint) => format!("{e} ({hint})"),
                None => e.to_string(),
            })
    }

    #[test]
    fn what_the_api_takes_is_brought_into_its_form() {
        for (method, path, params, request) in [
            (
                Method::GET,
                "/nodes/pve1/tasks",
                json!({"limit": 5, "errors": true}),
                "GET /nodes/pve1/tasks errors=1 limit=5",
            ),
            (Method::GET, "api2/json/version", json!({}), "GET /version"),
            (Method::GET, "/api2/json/version/", json!({}), "GET /version"),
            (
                Method::DELETE,
                "/nodes/pve1/storage/local/content/local:iso/x.iso",
                json!({}),
                "DELETE /nodes/pve1/storage/local/content/local%3Aiso%2Fx.iso",
            ),
            (Method::PUT, "/pools", json!({"poolid": "a", "vms": [100, 101]}), "PUT /pools poolid=a vms=100,101"),
            (
                Method::POST,
                "/access/users",
                json!({"userid": "a@pve", "password": "geheim-123"}),
                "POST /access/users password=******** userid=a@pve",
            ),
        ] {
            assert_eq!(asked(method, path, params), Ok(request.to_owned()));
        }
    }

    #[test]
    fn what_the_api_has_not_is_told_with_what_it_has() {
        for (method, path, params, words) in [
            (Method::GET, "/node", json!({}), "path: the Proxmox API has no '/node' (did you mean /nodes?)"),
            (
                Method::GET,
                "/cluster/fish",
                json!({}),
                "path: the Proxmox API has no '/cluster/fish' (below /cluster: acme, ",
            ),
            (
                Method::GET,
                "/nodes/pve1/qemu/100/clone",
                json!({}),
                "path: /nodes/pve1/qemu/100/clone has no GET (it has POST)",
            ),
            (Method::GET, "/nodes/../version", json!({}), "path: expected no '.' or '..' segments"),
            (Method::GET, "/nodes/%2e%2e/version", json!({}), "path: expected no '.' or '..' segments"),
            (Method::GET, "/version?x=1", json!({}), "path: expected no '?' in it: parameters go into params"),
            (Method::GET, "/pools", json!({"poold": "x"}), "unknown parameter 'poold' (did you mean 'poolid'?)"),
            (
                Method::GET,
                "/nodes/pve1/qemu/7/config",
                json!({}),
                "path: vmid: invalid format - value does not look like a valid VM ID",
            ),
            (Method::GET, "/nodes/pve1/tasks", json!({"limit": "many"}), "params.limit: type check ('integer') failed"),
            (
                Method::POST,
                "/access/users",
                json!({"userid": "a@pve", "password": "kurz"}),
                "params.password: value must be",
            ),
            (Method::POST, "/pools", json!({}), "params.poolid: property is missing and it is not optional"),
            (
                Method::PUT,
                "/pools",
                json!({"poolid": "x", "delete": {}}),
                "params.delete: type check ('boolean') failed",
            ),
            (
                Method::GET,
                "/nodes/pve1/vncwebsocket",
                json!({}),
                "path: /nodes/{node}/vncwebsocket takes no plain request",
            ),
        ] {
            let said = asked(method, path, params).err().unwrap_or_default();
            assert!(said.starts_with(words), "{path}: {said}");
        }
    }
}
