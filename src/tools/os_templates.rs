//! Container templates of the public index: which there are, which are here, and downloading one.

use std::cmp::Ordering;

use serde_json::json;

use super::{
    files::{self, Content},
    list::Page,
};
use crate::{error::Kind, pve::encode, tool::*};

pub const TOOLS: &[Entry] = &[Entry::query::<ListOsTemplates>(), Entry::action::<DownloadOsTemplate>()];

/// List container templates: those that Proxmox offers, and those on the storages already.
#[derive(Deserialize, JsonSchema)]
struct ListOsTemplates {
    node: Option<String>,
    storage: Option<String>,
    search: Option<String>,
    #[serde(flatten)]
    page: Page,
}

impl Tool for ListOsTemplates {
    const NAME: &str = "proxmox-list-os-templates";
    const TITLE: &str = "List container templates";
    const API: &[&str] = &["GET /nodes/{node}/aplinfo"];
    const EXAMPLE: (&str, &str) =
        ("Which Debian templates are there for containers?", r#"{"node": "pve1", "search": "debian"}"#);
}

/// A row of the index.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Appliance {
    pub template: String,
    #[serde(default)]
    package: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    os: String,
    #[serde(default)]
    section: String,
    headline: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Templates {
    node: String,
    total: usize,
    templates: Vec<Template>,
    /// On the storages, and not in the index.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    others: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Template {
    template: String,
    os: String,
    version: String,
    section: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    headline: Option<String>,
    /// Volumes that hold it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    downloaded: Vec<String>,
}

impl Appliance {
    /// Of a file on a storage: what its name tells.
    pub fn of_file(name: &str) -> Self {
        let mut parts = name.splitn(3, '_').map(str::to_owned);
        let (package, version) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let section = if package.starts_with("turnkey-") { "turnkeylinux" } else { "system" };
        Self {
            template: name.to_owned(),
            package,
            version,
            os: String::new(),
            section: section.to_owned(),
            headline: None,
        }
    }
}

/// The templates that Proxmox offers, as a node knows them.
///
/// # Errors
/// Proxmox's.
pub(super) async fn index(pve: &Reader<'_>, node: &str) -> Result<Vec<Appliance>> {
    pve.get(format!("/nodes/{}/aplinfo", encode(node))).await
}

/// The templates on one storage.
///
/// # Errors
/// Proxmox's.
pub(super) async fn volumes(pve: &Reader<'_>, node: &str, storage: &str) -> Result<Vec<String>> {
    #[derive(Deserialize)]
    struct Row {
        volid: String,
    }
    let path = format!("/nodes/{}/storage/{}/content", encode(node), encode(storage));
    let rows: Vec<Row> = pve.request(&Request::get(path).param("content", "vztmpl")).await?;
    Ok(rows.into_iter().map(|row| row.volid).collect())
}

/// The name of a volume's file.
pub(super) fn file(volid: &str) -> &str {
    volid.rsplit('/').next().unwrap_or_default()
}

/// Whether all words occur in it.
fn has(text: &str, words: &str) -> bool {
    let text = text.to_lowercase();
    words.to_lowercase().split_whitespace().all(|word| text.contains(word))
}

impl Query for ListOsTemplates {
    type Output = Templates;
    async fn query(&self, pve: &Reader<'_>) -> Result<Templates> {
        let node = self.node(pve).await?;
        let storages = match &self.storage {
            Some(storage) => vec![storage.clone()],
            None => pve.storages(&node, "vztmpl").await?.into_iter().map(|storage| storage.storage).collect(),
        };
        let (mut here, mut silent) = (Vec::new(), Vec::new());
        for storage in &storages {
            match volumes(pve, &node, storage).await {
                Ok(found) => here.extend(found),
                Err(e) if self.storage.is_some() => return Err(e),
                Err(e) => silent.push(format!("{storage} does not tell what it holds: {e}")),
            }
        }
        let mut all = index(pve, &node).await?;
        let wanted = |text: &str| self.search.as_deref().is_none_or(|words| has(text, words));
        let known: Vec<String> = all.iter().map(|one| one.template.clone()).collect();
        let mut others = here.clone();
        others.retain(|volid| !known.iter().any(|name| name == file(volid)) && wanted(file(volid)));
        others.sort();
        all.retain(|one| {
            wanted(&format!("{} {} {}", one.template, one.os, one.headline.as_deref().unwrap_or_default()))
        });
        let total = all.len();
        let (all, next_cursor) = self.page.of(all, |one| one.template.clone())?;
        let templates = all
            .into_iter()
            .map(|one| Template {
                downloaded: here.iter().filter(|volid| file(volid) == one.template).cloned().collect(),
                template: one.template,
                os: one.os,
                version: one.version,
                section: one.section,
                headline: one.headline,
            })
            .collect();
        if known.is_empty() {
            silent.push(format!("{node} has no index yet: `pveam update` on it fetches one"));
        }
        let note = (!silent.is_empty()).then(|| silent.join("; "));
        Ok(Templates { node, total, templates, others, next_cursor, note })
    }
}

impl ListOsTemplates {
    /// The index is the same on all nodes: any that is online will do.
    async fn node(&self, pve: &Reader<'_>) -> Result<String> {
        if let Some(node) = self.node.as_deref().or(pve.default_node()) {
            return Ok(node.to_owned());
        }
        let nodes = pve.nodes().await?;
        let online = nodes.iter().find(|node| node.is_online()).or(nodes.first());
        online.map(|node| node.node.clone()).ok_or_else(|| Error::not_found("node: there is none"))
    }
}

/// Download a container template of Proxmox's index; part of a name means the newest that fits.
#[derive(Deserialize, JsonSchema)]
struct DownloadOsTemplate {
    template_name: String,
    node: Option<String>,
    storage: Option<String>,
    #[serde(default = "yes")]
    verify_checksum: bool,
}

fn yes() -> bool {
    true
}

impl Tool for DownloadOsTemplate {
    const NAME: &str = "proxmox-download-os-template";
    const TITLE: &str = "Download a container template";
    const API: &[&str] = &["GET /nodes/{node}/aplinfo", "POST /nodes/{node}/aplinfo"];
    const EXAMPLE: (&str, &str) = (
        "Get the newest Alpine template",
        r#"{"template_name": "alpine", "node": "pve1", "storage": "local", "confirm": true}"#,
    );
}

impl Action for DownloadOsTemplate {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::new(1800).confirmed().waiting();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let node = pve.node(self.node.as_deref()).await?;
        let index = index(pve, &node).await?;
        let chosen = choose("template_name", &index, &self.template_name)?;
        let storage = pve.storage(self.storage.as_deref(), &node, "vztmpl").await?;
        let volid = format!("{storage}:vztmpl/{}", chosen.template);
        let there = files::exists(pve, &node, Content::Vztmpl, &volid).await?;
        let undo = match there {
            Some(false) => Undo::call("proxmox-delete-volume", json!({"volid": volid, "node": node})),
            Some(true) => Undo::never("nothing changes"),
            None => Undo::never("whether it was there before is not known"),
        };
        let mut plan = Plan::new(format!("download the template {} to {node} as {volid}", chosen.template))
            .about("volid", volid.as_str())
            .about("node", node.as_str())
            .warn_if(there == Some(true), || format!("{volid} exists: kept if its checksum is right"))
            .warn_if(!self.verify_checksum, || "Proxmox verifies the checksum of a template in any case".to_owned())
            .step(
                Request::post(format!("/nodes/{}/aplinfo", encode(&node)))
                    .param("storage", storage)
                    .param("template", &chosen.template),
            );
        plan.undo = Some(undo);
        Ok(plan)
    }
}

/// The template of that name, or the newest of the one kind that the words fit.
///
/// # Errors
/// `NotFound`; `Ambiguous` where it fits several kinds.
pub(super) fn choose<'a>(field: &str, index: &'a [Appliance], wanted: &str) -> Result<&'a Appliance> {
    let wanted = file(wanted).trim();
    if let Some(exact) = index.iter().find(|one| one.template == wanted) {
        return Ok(exact);
    }
    let mut fitting: Vec<&Appliance> = index.iter().filter(|one| has(&one.template, wanted)).collect();
    // "debian-12" means the system, and not one of a hundred appliances made of it.
    if fitting.iter().any(|one| one.section == "system") {
        fitting.retain(|one| one.section == "system");
    }
    fitting.sort_by(|a, b| newer(&a.package, &b.package).then_with(|| newer(&a.version, &b.version)));
    let Some(newest) = fitting.last().copied() else {
        return Err(Error::not_found(format!("{field}: no template in the index fits '{wanted}'"))
            .hint("proxmox-list-os-templates shows them all"));
    };
    if fitting.iter().all(|one| kind(one) == kind(newest)) {
        return Ok(newest);
    }
    let names: Vec<&str> = fitting.iter().rev().take(20).map(|one| one.template.as_str()).collect();
    Err(Error::new(Kind::Ambiguous, format!("{field}: '{wanted}' fits {} templates of several kinds", fitting.len()))
        .hint(format!("say more of the name: {}", names.join(", "))))
}

/// What a package is, whatever its version: its name without digits.
fn kind(one: &Appliance) -> String {
    one.package.chars().filter(|c| !c.is_ascii_digit() && *c != '.').collect()
}

/// Compares as people do: numbers by value (12.7 is older than 12.12).
fn newer(a: &str, b: &str) -> Ordering {
    let parts = |text: &str| -> Vec<(u64, String)> {
        let pieces = text.split(|c: char| !c.is_ascii_alphanumeric());
        pieces.map(|piece| (piece.parse().unwrap_or(0), piece.to_owned())).collect()
    };
    let order = |(a, b): (&(u64, String), &(u64, String))| {
        let numbers = a.0.cmp(&b.0);
        // Different leading zeros do not count, different words do.
        if a.0 > 0 && b.0 > 0 { numbers } else { numbers.then_with(|| a.1.cmp(&b.1)) }
    };
    let (a, b) = (parts(a), parts(b));
    let differing = a.iter().zip(&b).map(order).find(|order| *order != Ordering::Equal);
    differing.unwrap_or_else(|| a.len().cmp(&b.len()))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn index() -> Vec<Appliance> {
        let rows = [
            ("system", "debian-9-standard", "9.13-1"),
            ("system", "debian-12-standard", "12.7-1"),
            ("system", "debian-12-standard", "12.12-1"),
            ("system", "alpine-3.9-default", "20190101"),
            ("system", "alpine-3.22-default", "20250617"),
            ("turnkeylinux", "turnkey-core", "18.1-1"),
        ];
        let row = |(section, package, version): (&str, &str, &str)| Appliance {
            template: format!("{package}_{version}_amd64.tar.zst"),
            package: package.to_owned(),
            version: version.to_owned(),
            os: String::new(),
            section: section.to_owned(),
            headline: None,
        };
        rows.into_iter().map(row).collect()
    }

    #[test]
    fn part_of_a_name_means_the_newest_of_its_kind() {
        let index = index();
        let chosen = |wanted: &str| {
            choose("template_name", &index, wanted).map(|one| one.template.as_str()).map_err(|e| e.kind())
        };
        assert_eq!(chosen("debian"), Ok("debian-12-standard_12.12-1_amd64.tar.zst"));
        assert_eq!(chosen("Debian 9"), Ok("debian-9-standard_9.13-1_amd64.tar.zst"));
        assert_eq!(chosen("debian-12-standard_12.7"), Ok("debian-12-standard_12.7-1_amd64.tar.zst"));
        assert_eq!(chosen("alpine"), Ok("alpine-3.22-default_20250617_amd64.tar.zst"));
        assert_eq!(chosen("turnkey"), Ok("turnkey-core_18.1-1_amd64.tar.zst"));
        assert_eq!(chosen("a"), Err(Kind::Ambiguous));
        assert_eq!(chosen("windows"), Err(Kind::NotFound));
    }

    #[test]
    fn an_exact_name_is_taken_as_it_is() {
        let index = index();
        let name = "local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst";
        assert_eq!(choose("template_name", &index, name).unwrap().version, "12.7-1");
    }
}
