//! Pruning: Proxmox says beforehand what would go.

use super::{
    super::time::iso,
    store::{Of, Store, stores},
};
use crate::{pve::encode, tool::*};

/// Delete old backups beyond the keep_… counts (default: the storage's). A dry run names them.
#[derive(Deserialize, JsonSchema)]
pub struct PruneBackups {
    storage: Option<String>,
    node: Option<String>,
    #[schemars(range(min = 100, max = 999_999_999))]
    vmid: Option<u32>,
    name: Option<String>,
    keep_last: Option<u32>,
    keep_hourly: Option<u32>,
    keep_daily: Option<u32>,
    keep_weekly: Option<u32>,
    keep_monthly: Option<u32>,
    keep_yearly: Option<u32>,
}

impl Tool for PruneBackups {
    const NAME: &str = "proxmox-prune-backups";
    const TITLE: &str = "Prune backups";
    const API: &[&str] =
        &["GET /nodes/{node}/storage/{storage}/prunebackups", "DELETE /nodes/{node}/storage/{storage}/prunebackups"];
    const EXAMPLE: (&str, &str) = (
        "Keep only the newest backup of each guest on the NAS",
        r#"{"storage": "nas", "keep_last": 1, "confirm": true}"#,
    );
}

/// A row of `GET …/prunebackups`.
#[derive(Deserialize)]
struct Row {
    volid: String,
    ctime: Option<u64>,
    /// `keep`, `remove`, `protected`, or `renamed` (a name that no rule fits).
    mark: String,
}

impl Action for PruneBackups {
    const EFFECT: Effect = Effect::Destroy;
    const CONTROL: Control = Control::new(900).confirmed().waiting();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let rules = self.rules()?;
        let of = Of::new(pve, self.vmid, self.name.as_deref()).await?;
        if let (Some(name), None) = (&self.name, of.vmid) {
            return Err(Error::not_found(format!("name: no guest is called '{name}'"))
                .hint("for the backups of a deleted guest give its vmid"));
        }
        let (storage, node) = self.place(pve).await?;
        let path = format!("/nodes/{}/storage/{}/prunebackups", encode(&node), encode(&storage));
        let with = |request: Request| request.maybe("prune-backups", rules.as_deref()).maybe("vmid", of.vmid);
        let rows: Vec<Row> = pve.request(&with(Request::get(&path))).await?;
        let (gone, stay): (Vec<&Row>, Vec<&Row>) = rows.iter().partition(|row| row.mark == "remove");
        let protected = stay.iter().filter(|row| row.mark == "protected").count();
        let whose = of.vmid.map(|vmid| format!(" of guest {vmid}")).unwrap_or_default();
        let names = |rows: &[&Row]| rows.iter().map(|row| row.volid.clone()).collect::<Vec<_>>();
        let mut plan = Plan::new(format!(
            "delete {} of {} backups{whose} on {storage} ({})",
            gone.len(),
            rows.len(),
            rules.as_deref().unwrap_or("as the storage is set")
        ))
        .about("storage", storage)
        .about("node", node)
        .about("remove", names(&gone))
        .about("keep", names(&stay))
        .step(with(Request::delete(path)))
        .warn_if(gone.is_empty(), || "nothing is to be deleted".to_owned())
        .warn_if(protected > 0, || format!("{protected} stay because they are protected"));
        plan = plan.no_undo(if gone.is_empty() { "nothing changes" } else { "deleted backups cannot be brought back" });
        if let Some(newest) = gone.iter().filter_map(|row| row.ctime).max() {
            plan.warnings.push(format!("the newest that goes is of {}", iso(newest)));
        }
        Ok(plan)
    }
}

impl PruneBackups {
    /// The rules as Proxmox writes them; nothing where none is given.
    fn rules(&self) -> Result<Option<String>> {
        let counts = [
            ("keep-last", self.keep_last),
            ("keep-hourly", self.keep_hourly),
            ("keep-daily", self.keep_daily),
            ("keep-weekly", self.keep_weekly),
            ("keep-monthly", self.keep_monthly),
            ("keep-yearly", self.keep_yearly),
        ];
        let given: Vec<_> = counts.iter().filter_map(|(rule, count)| Some((*rule, (*count)?))).collect();
        if given.is_empty() {
            return Ok(None);
        }
        // To Proxmox all zeros mean: keep everything.
        if given.iter().all(|(_, count)| *count == 0) {
            return Err(Error::bad_argument("keep_…: at least one has to be above 0")
                .hint("to delete single backups there is proxmox-backup-delete"));
        }
        Ok(Some(given.iter().map(|(rule, count)| format!("{rule}={count}")).collect::<Vec<_>>().join(",")))
    }

    /// The storage and a node that has it.
    async fn place(&self, pve: &Reader<'_>) -> Result<(String, String)> {
        let storage = match self.storage.as_deref().or(pve.default_storage()) {
            Some(storage) => storage.to_owned(),
            None => {
                let (all, _) = stores(pve, None).await?;
                let mut names: Vec<&str> = all.iter().map(|store| store.storage.as_str()).collect();
                names.dedup();
                match names.as_slice() {
                    [only] => (*only).to_owned(),
                    names => {
                        return Err(Error::bad_argument("storage: missing; expected the name of a storage")
                            .hint(format!("with backups: {}", names.join(", "))));
                    }
                }
            }
        };
        let (all, missing) = stores(pve, Some(&storage)).await?;
        let node = self.node.as_deref().or(pve.default_node());
        let has = |store: &&Store| node.is_none_or(|node| store.nodes.iter().any(|n| n == node));
        match all.iter().filter(has).collect::<Vec<_>>().as_slice() {
            [store] => {
                let node = node.map(str::to_owned).or_else(|| store.nodes.first().cloned());
                Ok((storage, node.unwrap_or_default()))
            }
            [] => {
                Err(Error::not_found(format!("storage: {storage} is not available on {}", node.unwrap_or("any node")))
                    .hint(missing.join("; ")))
            }
            several => {
                let nodes: Vec<&str> = several.iter().flat_map(|s| s.nodes.iter().map(String::as_str)).collect();
                Err(Error::bad_argument(format!("node: missing; {storage} is another one on each node"))
                    .hint(format!("one of {}", nodes.join(", "))))
            }
        }
    }
}

/// Retention as a caller writes it (`last=3,weekly=4` or Proxmox's `keep-last=3,keep-weekly=4`), in Proxmox's form.
///
/// # Errors
/// `BadArgument` that names the field.
pub fn keep_rules(field: &str, text: &str) -> Result<String> {
    const RULES: [&str; 6] = ["last", "hourly", "daily", "weekly", "monthly", "yearly"];
    let part = |part: &str| {
        let (rule, count) = part.split_once('=')?;
        let rule = rule.trim().trim_start_matches("keep-").trim_start_matches("keep_");
        if rule == "all" && matches!(count.trim(), "1" | "true") {
            return Some("keep-all=1".to_owned());
        }
        let count: u32 = count.trim().parse().ok()?;
        RULES.contains(&rule).then(|| format!("keep-{rule}={count}"))
    };
    let parts: Option<Vec<String>> = text.split(',').filter(|p| !p.trim().is_empty()).map(part).collect();
    parts.filter(|parts| !parts.is_empty()).map(|parts| parts.join(",")).ok_or_else(|| {
        Error::bad_argument(format!("{field}: expected counts such as keep-last=3,keep-weekly=4, got '{text}'"))
            .hint("rules: keep-last, keep-hourly, keep-daily, keep-weekly, keep-monthly, keep-yearly, keep-all=1")
    })
}
