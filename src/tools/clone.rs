//! Clones of VMs.

use crate::tool::*;

pub const TOOLS: &[Entry] = &[Entry::action::<CloneVm>()];

/// Clone a VM or template into a new VM. Leave new_vmid out to take the next free one.
#[derive(Deserialize, JsonSchema)]
struct CloneVm {
    /// The VM or template to clone.
    #[schemars(range(min = 100, max = 999_999_999))]
    source_vmid: u32,
    /// VMID of the clone.
    #[schemars(range(min = 100, max = 999_999_999))]
    new_vmid: Option<u32>,
    /// Where the source is; found by itself.
    source_node: Option<String>,
    /// Where the clone shall be (needs shared storage).
    target_node: Option<String>,
    /// Name of the clone, a valid DNS name.
    #[schemars(length(min = 1, max = 255))]
    name: Option<String>,
    /// Storage of the clone's disks (full clones only).
    storage: Option<String>,
    /// Copy all disks; false makes a linked clone of a template.
    #[serde(default = "yes")]
    full: bool,
}

fn yes() -> bool {
    true
}

impl Tool for CloneVm {
    const NAME: &str = "proxmox-clone-vm";
    const TITLE: &str = "Clone a VM";
    const API: &[&str] = &["GET /cluster/nextid", "POST /nodes/{node}/qemu/{vmid}/clone"];
    const EXAMPLE: (&str, &str) = (
        "Clone the Debian template to web-03",
        r#"{"source_vmid": 9000, "name": "web-03", "confirm": true, "wait": true}"#,
    );
}

impl Action for CloneVm {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::new(900).confirmed();
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        if !self.full && self.storage.is_some() {
            return Err(Error::bad_argument("storage: not possible for a linked clone (full: false)")
                .hint("leave storage out: a linked clone's disks stay on the template's storage"));
        }
        let source = GuestRef { vmid: Some(self.source_vmid), name: None, node: self.source_node.clone() };
        let source = pve.guest(&source, Want::Vm).await?;
        let newid = match self.new_vmid {
            Some(vmid) => vmid,
            None => pve.next_vmid().await?,
        };
        let node = self.target_node.as_deref().unwrap_or(&source.node);
        let request = Request::post(source.path("clone"))
            .param("newid", newid)
            .maybe("name", self.name.as_deref())
            .maybe("target", self.target_node.as_deref().filter(|t| **t != *source.node))
            .maybe("storage", self.storage.as_deref())
            .param("full", u8::from(self.full));
        let name = self.name.as_ref().map(|n| format!(" ({n})")).unwrap_or_default();
        let kind = if self.full { "full" } else { "linked" };
        let mut plan = Plan::new(format!("clone {source} to VM {newid}{name} on {node} as a {kind} clone"))
            .about("vmid", newid)
            .about("node", node)
            .step(request)
            .warn_if(!self.full && !source.template, || {
                format!("{source} is no template: Proxmox makes linked clones of templates only")
            });
        if let Some(name) = &self.name {
            plan = plan.about("name", name.as_str());
        }
        plan.chosen_vmid = self.new_vmid.is_none().then_some(newid);
        Ok(plan)
    }
}
