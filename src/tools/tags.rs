//! Tags of guests: added, removed, found by.

use std::collections::{BTreeMap, BTreeSet};

use super::list::Page;
use crate::{
    pve::{Edit, Options},
    tool::*,
};

pub const TOOLS: &[Entry] = &[Entry::action::<TagsAdd>(), Entry::action::<TagsRemove>(), Entry::list::<FindByTag>()];

/// Add tags to a VM or container; those it has stay.
#[derive(Deserialize, JsonSchema)]
struct TagsAdd {
    #[serde(flatten)]
    guest: GuestRef,
    tags: Vec<String>,
}

/// Remove tags from a VM or container.
#[derive(Deserialize, JsonSchema)]
struct TagsRemove {
    #[serde(flatten)]
    guest: GuestRef,
    tags: Vec<String>,
}

impl Tool for TagsAdd {
    const NAME: &str = "proxmox-tags-add";
    const TITLE: &str = "Add tags";
    const API: &[&str] = &["GET /cluster/options", "PUT /nodes/{node}/{type}/{vmid}/config"];
    const EXAMPLE: (&str, &str) = ("Tag web-01 as critical", r#"{"name": "web-01", "tags": ["critical"]}"#);
}

impl Tool for TagsRemove {
    const NAME: &str = "proxmox-tags-remove";
    const TITLE: &str = "Remove tags";
    const API: &[&str] = &["GET /cluster/options", "PUT /nodes/{node}/{type}/{vmid}/config"];
    const EXAMPLE: (&str, &str) = ("devbox is no dev machine any more", r#"{"name": "devbox", "tags": ["dev"]}"#);
}

impl Action for TagsAdd {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::instant();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        change(pve, &self.guest, "tag", &self.tags, true).await
    }
}

impl Action for TagsRemove {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::instant();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        change(pve, &self.guest, "untag", &self.tags, false).await
    }
}

/// As Proxmox separates them.
fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| matches!(c, ',' | ';') || c.is_whitespace()).filter(|tag| !tag.is_empty())
}

/// Whether upper and lower case make two tags: Proxmox keeps all in lower case, unless the data center's tag style says
/// otherwise. Asked only where it matters.
async fn case_sensitive(pve: &Reader<'_>, tags: &[String]) -> bool {
    #[derive(Deserialize)]
    struct Options {
        #[serde(rename = "tag-style")]
        tag_style: Option<TagStyle>,
    }
    #[derive(Deserialize)]
    struct TagStyle {
        #[serde(default, rename = "case-sensitive")]
        case_sensitive: bool,
    }
    if !tags.iter().any(|tag| tag.contains(char::is_uppercase)) {
        return false;
    }
    let options = pve.get::<Options>("/cluster/options").await;
    options.is_ok_and(|options| options.tag_style.is_some_and(|style| style.case_sensitive))
}

async fn change(pve: &Reader<'_>, guest: &GuestRef, verb: &str, tags: &[String], add: bool) -> Result<Plan> {
    let guest = pve.guest(guest, Want::Any).await?;
    let keep_case = case_sensitive(pve, tags).await;
    let cased = |tag: &str| if keep_case { tag.to_owned() } else { tag.to_lowercase() };
    let asked: BTreeSet<String> = tags.iter().flat_map(|tags| split(tags)).map(cased).collect();
    if asked.is_empty() {
        return Err(Error::bad_argument("tags: expected at least one tag"));
    }
    let config = pve.config(&guest).await?;
    let options = Options::of(pve.api(), &guest, &config)?;
    for tag in &asked {
        options.check([("tags", tag.as_str())]).map_err(|_| {
            Error::bad_argument(format!("tags: '{tag}' is no tag"))
                .hint("letters, digits, _ - + and . are allowed; the first one is a letter, a digit or _")
        })?;
    }
    let old = config.get("tags").unwrap_or_default();
    let old: BTreeSet<&str> = split(&old).collect();
    let hit: Vec<&String> = asked.iter().filter(|tag| old.contains(tag.as_str()) != add).collect();
    let plan = Plan::on(&guest, verb);
    if hit.is_empty() {
        let all = asked.into_iter().collect::<Vec<_>>().join(", ");
        let words = if add { "has already" } else { "has none of" };
        let plan = plan.no_undo("nothing changes");
        return Ok(plan.warn_if(true, || format!("nothing to do: {guest} {words} {all}")));
    }
    let new: BTreeSet<&str> = match add {
        true => old.iter().copied().chain(hit.into_iter().map(String::as_str)).collect(),
        false => old.iter().copied().filter(|tag| !asked.contains(*tag)).collect(),
    };
    let new = new.into_iter().collect::<Vec<_>>().join(";");
    let edit = if new.is_empty() { Edit::default().delete("tags") } else { Edit::default().set("tags", &new) };
    let plan = plan.about("tags", new);
    Ok(edit.step(plan, &guest, &config))
}

/// Find VMs and containers by tag; without one, every tag with how many guests have it.
#[derive(Deserialize, JsonSchema)]
struct FindByTag {
    tag: Option<String>,
    #[serde(flatten)]
    page: Page,
}

impl Tool for FindByTag {
    const NAME: &str = "proxmox-find-by-tag";
    const TITLE: &str = "Find guests by tag";
    const API: &[&str] = &["GET /cluster/resources"];
    const EXAMPLE: (&str, &str) = ("What is tagged prod?", r#"{"tag": "prod"}"#);
}

#[derive(Serialize, JsonSchema)]
struct Found {
    /// Of the guests with the tag, or of the tags.
    total: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    guests: Vec<Tagged>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tags: BTreeMap<String, usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Tagged {
    vmid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// qemu or lxc.
    kind: &'static str,
    node: String,
    status: String,
    tags: String,
}

impl Query for FindByTag {
    type Output = Found;
    async fn query(&self, pve: &Reader<'_>) -> Result<Found> {
        let all = if self.page.is_first() { pve.resources_now().await? } else { pve.resources().await? };
        let mut tags = BTreeMap::new();
        for guest in all.iter() {
            for tag in guest.tags() {
                *tags.entry(tag.to_owned()).or_default() += 1;
            }
        }
        let Some(tag) = self.tag.as_deref().map(str::trim).filter(|tag| !tag.is_empty()) else {
            return Ok(Found { total: tags.len(), guests: Vec::new(), tags, note: None, next_cursor: None });
        };
        let has = |guest: &&crate::pve::Resource| guest.tags().any(|known| known.eq_ignore_ascii_case(tag));
        let found: Vec<Tagged> = all.iter().filter(has).map(Tagged::from).collect();
        let near = || crate::arguments::nearest(tag, tags.keys().map(String::as_str)).map(str::to_owned);
        let note = found.is_empty().then(|| match near() {
            Some(near) => format!("no guest has this tag; did you mean '{near}'?"),
            None => "no guest that is visible has this tag; leave it out to see all tags".to_owned(),
        });
        let total = found.len();
        let (guests, next_cursor) = self.page.of(found, |guest| guest.vmid)?;
        Ok(Found { total, guests, tags: BTreeMap::new(), note, next_cursor })
    }
}

impl From<&crate::pve::Resource> for Tagged {
    fn from(guest: &crate::pve::Resource) -> Self {
        Self {
            vmid: guest.vmid,
            name: guest.name.as_deref().map(str::to_owned),
            kind: guest.kind.path(),
            node: guest.node.to_string(),
            status: guest.status.to_string(),
            tags: guest.tags().collect::<Vec<_>>().join(";"),
        }
    }
}
