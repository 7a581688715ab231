//! What came of a changed configuration: what is in effect, what waits for a restart, and what Proxmox made of it.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::tool::*;

/// A row of `GET …/pending`.
#[derive(Deserialize)]
struct Row {
    key: String,
    value: Option<String>,
    pending: Option<String>,
    /// 2: by force.
    #[serde(default)]
    delete: u8,
}

#[derive(Serialize)]
struct Applied {
    /// In effect; not told of a stopped guest, where everything is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    applied: Vec<String>,
    /// Where it is not what was sent.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    stored: BTreeMap<String, String>,
    /// With the coming value; `(removed)` where that is none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pending: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'static str>,
}

/// Looks at the guest whose configuration the plan changed. A tool that asks this declares `GET …/pending`.
///
/// # Errors
/// Proxmox's.
pub async fn applied(pve: &Reader<'_>, plan: &Plan) -> Result<Option<Value>> {
    let change = plan.requests.iter().find(|r| r.path.ends_with("/config"));
    let Some((request, guest)) = change.and_then(|r| Some((r, r.path.strip_suffix("/config")?))) else {
        return Ok(None);
    };
    let rows: Vec<Row> = pve.get(format!("{guest}/pending")).await?;
    let running = plan.about.get("status").is_some_and(|status| status == "running");
    let mut out = Applied { applied: Vec::new(), stored: BTreeMap::new(), pending: BTreeMap::new(), note: None };
    for Row { key, pending, delete, .. } in rows.iter().filter(|row| row.pending.is_some() || row.delete > 0) {
        let coming = pending.clone().filter(|_| *delete == 0).unwrap_or_else(|| "(removed)".to_owned());
        out.pending.insert(key.clone(), coming);
    }
    for (key, sent) in request.shown_params().into_iter().filter(|(key, _)| key != "digest") {
        let sent = sent.as_str().unwrap_or_default();
        if matches!(key.as_str(), "delete" | "revert") {
            let done = sent.split(',').filter(|key| running && !out.pending.contains_key(*key));
            out.applied.extend(done.map(str::to_owned));
            continue;
        }
        let Some(row) = rows.iter().find(|row| row.key == key) else { continue };
        let kept = row.pending.as_deref().or(row.value.as_deref()).unwrap_or_default();
        if kept.trim_end() != sent.trim_end() && sent != "********" {
            out.stored.insert(key.clone(), kept.to_owned());
        }
        if running && !out.pending.contains_key(&key) {
            out.applied.push(key);
        }
    }
    out.note = (!out.pending.is_empty()).then_some("what is pending takes effect when Proxmox restarts the guest");
    if out.applied.is_empty() && out.stored.is_empty() && out.pending.is_empty() {
        return Ok(None);
    }
    serde_json::to_value(out).map(Some).map_err(|e| Error::internal(e.to_string()))
}
