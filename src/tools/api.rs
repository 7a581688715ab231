//! The API itself: what it has at a path, any GET, and, where the operator allows it, any other request. Everything is
//! held to the built-in facts about the API before it is sent.

mod docs;
mod target;

use http::Method;
use serde_json::{Map, Value};

use self::target::Target;
use crate::{pve::secrets, tool::*};

pub const TOOLS: &[Entry] = &[Entry::query::<docs::ApiDocs>(), Entry::query::<ApiGet>(), Entry::action::<ApiWrite>()];

/// A longer text in an answer is cut.
const TEXT: usize = 16_000;

/// Send any GET of the Proxmox API, where no other tool answers; see proxmox-api-docs.
#[derive(Deserialize, JsonSchema)]
struct ApiGet {
    /// Such as /nodes/pve1/apt/versions
    path: String,
    params: Option<Map<String, Value>>,
    /// Most rows to return.
    #[serde(default = "hundred")]
    #[schemars(range(min = 1, max = 10_000))]
    limit: usize,
}

fn hundred() -> usize {
    100
}

impl Tool for ApiGet {
    const NAME: &str = "proxmox-api-get";
    const TITLE: &str = "Read any API path";
    const API: &[&str] = &["GET *"];
    const EXAMPLE: (&str, &str) = ("What do the datacenter options say?", r#"{"path": "/cluster/options"}"#);
}

#[derive(Serialize, JsonSchema)]
struct Found {
    path: String,
    /// Rows there are, where data is a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
    /// As Proxmox answers; secrets are masked.
    data: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

impl Query for ApiGet {
    type Output = Found;
    async fn query(&self, pve: &Reader<'_>) -> Result<Found> {
        let target = Target::find(pve.api(), &Method::GET, &self.path)?;
        target.check_login(pve)?;
        let request = target.request(self.params.as_ref())?;
        let listing = pve.list::<Value>(&request).await?;
        let mut data = listing.data;
        secrets::mask(&request.path, &mut data);
        let mut notes = Vec::new();
        let total = data.as_array().map(|rows| listing.total.unwrap_or(rows.len() as u64));
        if let Value::Array(rows) = &mut data
            && rows.len() > self.limit
        {
            notes.push(format!("the first {} of {} rows: raise limit, or narrow it down", self.limit, rows.len()));
            rows.truncate(self.limit);
        }
        if cut(&mut data) {
            notes.push(format!("texts are cut at {TEXT} characters"));
        }
        let note = Some(notes.join("; ")).filter(|note| !note.is_empty());
        Ok(Found { path: request.path, total, data, note })
    }
}

/// Cuts what is too long to be read; whether there was any.
fn cut(value: &mut Value) -> bool {
    match value {
        Value::String(text) if text.len() > TEXT => {
            let end = text.floor_char_boundary(TEXT);
            text.truncate(end);
            true
        }
        Value::Array(items) => items.iter_mut().fold(false, |any, item| cut(item) | any),
        Value::Object(map) => map.values_mut().fold(false, |any, item| cut(item) | any),
        _ => false,
    }
}

/// Send any POST, PUT or DELETE of the Proxmox API, where no other tool does it. Look at proxmox-api-docs first.
#[derive(Deserialize, JsonSchema)]
struct ApiWrite {
    method: Verb,
    path: String,
    params: Option<Map<String, Value>>,
}

#[derive(Deserialize, JsonSchema, Clone, Copy)]
#[serde(rename_all = "UPPERCASE")]
enum Verb {
    Post,
    Put,
    Delete,
}

impl Tool for ApiWrite {
    const NAME: &str = "proxmox-api-write";
    const TITLE: &str = "Send any API request";
    const API: &[&str] = &["POST *", "PUT *", "DELETE *"];
    const EXAMPLE: (&str, &str) = (
        "Set the datacenter's keyboard to German",
        r#"{"method": "PUT", "path": "/cluster/options", "params": {"keyboard": "de"}, "confirm": true}"#,
    );
}

impl Action for ApiWrite {
    const EFFECT: Effect = Effect::Destroy;
    const CONTROL: Control = Control::new(600).confirmed();
    const LOOKS_AFTER: bool = true;
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let method = match self.method {
            Verb::Post => Method::POST,
            Verb::Put => Method::PUT,
            Verb::Delete => Method::DELETE,
        };
        let target = Target::find(pve.api(), &method, &self.path)?;
        target.check_login(pve)?;
        let request = target.request(self.params.as_ref())?;
        let plan = Plan::new(format!("send {request} ({})", target.endpoint.name)).step(request);
        Ok(plan.no_undo("what takes back any request is not known"))
    }

    async fn result(&self, _: &Reader<'_>, plan: &Plan, done: Done<'_>) -> Result<Option<Value>> {
        let path = plan.requests.first().map_or("", |request| request.path.as_str());
        let is_task = |answer: &Value| answer.as_str().is_some_and(|text| text.starts_with("UPID:"));
        let mut answer = done.answers.first().filter(|answer| !answer.is_null() && !is_task(answer)).cloned();
        if let Some(answer) = &mut answer {
            secrets::mask(path, answer);
            cut(answer);
        }
        Ok(answer)
    }
}
