//! Requests as people and models see them: secrets masked, and those that say the same of many guests said once.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::pve::Request;

/// A request as shown; secrets are masked.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Shown {
    pub method: String,
    pub path: String,
    pub params: Map<String, Value>,
    /// VMIDs of the guests to each of which it is sent: for their `{node}`, `{vmid}` and `{digest}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vmids: Option<String>,
}

impl From<&Request> for Shown {
    fn from(request: &Request) -> Self {
        Self {
            method: request.method.to_string(),
            path: request.path.clone(),
            params: request.shown_params(),
            vmids: None,
        }
    }
}

/// So many are shown one by one.
const FEW: usize = 8;

impl Shown {
    /// As they are, as far as they are few; of many those once that differ in nothing but the guest.
    pub fn many(requests: &[Request]) -> Vec<Self> {
        if requests.len() <= FEW {
            return requests.iter().map(Self::from).collect();
        }
        let mut groups: Vec<(Self, Vec<u32>, &Request)> = Vec::new();
        for request in requests {
            let (pattern, vmid) = pattern(request);
            match groups.iter_mut().find(|(known, ..)| *known == pattern) {
                Some((_, vmids, _)) if vmid.is_some() => vmids.extend(vmid),
                _ => groups.push((pattern, vmid.into_iter().collect(), request)),
            }
        }
        let shown = groups.into_iter().map(|(pattern, vmids, first)| match vmids.len() {
            0 | 1 => Self::from(first),
            _ => Self { vmids: Some(ranges(vmids)), ..pattern },
        });
        shown.collect()
    }
}

/// The request without what is its guest's own, and that guest.
fn pattern(request: &Request) -> (Shown, Option<u32>) {
    let mut shown = Shown::from(request);
    let segments: Vec<&str> = request.path.split('/').collect();
    let of_path: Option<u32> = match segments.as_slice() {
        ["", "nodes", _, "qemu" | "lxc", vmid, ..] => vmid.parse().ok(),
        _ => None,
    };
    let of_params =
        || -> Option<u32> { request.param_of("vmid").filter(|_| request.path.ends_with("/vzdump"))?.parse().ok() };
    let Some(vmid) = of_path.or_else(of_params) else { return (shown, None) };
    let own = vmid.to_string();
    let path = segments.iter().enumerate().map(|(at, segment)| match at {
        2 => "{node}",
        4 if of_path.is_some() => "{vmid}",
        _ => segment,
    });
    shown.path = path.collect::<Vec<_>>().join("/");
    for (key, value) in &mut shown.params {
        match key.as_str() {
            "vmid" if value.as_str() == Some(&own) => *value = "{vmid}".into(),
            "digest" => *value = "{digest}".into(),
            _ => {}
        }
    }
    (shown, Some(vmid))
}

/// `100-104, 107`
fn ranges(mut vmids: Vec<u32>) -> String {
    vmids.sort_unstable();
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for vmid in vmids {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(vmid) => *last = vmid,
            _ => ranges.push((vmid, vmid)),
        }
    }
    let text = |(first, last): (u32, u32)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    ranges.into_iter().map(text).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_the_same_for_many_is_said_once_and_what_differs_in_full() {
        let tags = |vmid: u32, tags: &str| {
            Request::put(format!("/nodes/pve{}/qemu/{vmid}/config", vmid % 3)).param("tags", tags).param("digest", vmid)
        };
        let mut requests: Vec<Request> = (100..108).map(|vmid| tags(vmid, "new")).collect();
        requests.push(tags(120, "new;old"));
        requests.extend([110, 112].map(|vmid| Request::post("/nodes/pve1/vzdump").param("vmid", vmid)));
        let shown = Shown::many(&requests);
        let lines: Vec<String> = shown
            .iter()
            .map(|s| format!("{} {} {}", s.path, Value::Object(s.params.clone()), s.vmids.as_deref().unwrap_or("-")))
            .collect();
        assert_eq!(
            lines,
            [
                r#"/nodes/{node}/qemu/{vmid}/config {"tags":"new","digest":"{digest}"} 100-107"#,
                r#"/nodes/pve0/qemu/120/config {"tags":"new;old","digest":"120"} -"#,
                r#"/nodes/{node}/vzdump {"vmid":"{vmid}"} 110, 112"#,
            ]
        );
        assert_eq!(Shown::many(&requests[..2]), requests[..2].iter().map(Shown::from).collect::<Vec<_>>());
    }
}
