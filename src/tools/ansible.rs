//! Guests as Ansible hosts: one as an entry for somebody's inventory, or all of them as an inventory of their own.

pub(crate) mod hosts;
mod inventory;
mod look;
pub(super) mod write;

use std::{fmt::Write, net::IpAddr};

use serde_json::{Map, Value, json};

use crate::{
    pve::{
        GuestKind,
        address::{self, Wanted},
    },
    tool::*,
};

pub const TOOLS: &[Entry] = &[Entry::query::<RegisterHost>(), Entry::together::<inventory::Inventory>()];

/// Make the Ansible inventory entry of a guest; its address is found by agent or configuration.
#[derive(Deserialize, JsonSchema)]
struct RegisterHost {
    #[serde(flatten)]
    guest: GuestRef,
    #[serde(default = "root")]
    #[schemars(length(min = 1))]
    ssh_user: String,
    ssh_private_key_path: Option<String>,
    prefer_interface: Option<String>,
    #[serde(default)]
    format: Format,
    #[serde(default)]
    ipv6: bool,
    #[schemars(range(min = 1, max = 65_535))]
    port: Option<u16>,
}

fn root() -> String {
    "root".to_owned()
}

#[derive(Deserialize, Serialize, JsonSchema, Clone, Copy, Default)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    #[default]
    Ini,
    Json,
    Yaml,
}

impl Tool for RegisterHost {
    const NAME: &str = "proxmox-register-vm-as-host";
    const TITLE: &str = "Make an Ansible inventory entry";
    const API: &[&str] = &[
        "GET /nodes/{node}/lxc/{vmid}/interfaces",
        "GET /nodes/{node}/qemu/{vmid}/agent/network-get-interfaces",
        "GET /nodes/{node}/{type}/{vmid}/config",
    ];
    const EXAMPLE: (&str, &str) =
        ("I want to manage web-01 with Ansible", r#"{"name": "web-01", "ssh_user": "admin"}"#);
}

#[derive(Serialize, JsonSchema)]
struct Registered {
    vmid: u32,
    node: String,
    /// In the inventory.
    host: String,
    address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<String>,
    /// Where the address comes from.
    source: &'static str,
    format: Format,
    inventory: String,
    /// Other addresses under which it might be reached.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    others: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
}

impl Query for RegisterHost {
    type Output = Registered;
    async fn query(&self, pve: &Reader<'_>) -> Result<Registered> {
        let guest = pve.guest(&self.guest, Want::Any).await?;
        let (config, live) = futures::join!(pve.config(&guest), address::live(pve, &guest));
        let config = config?;
        let wanted = Wanted { interface: self.prefer_interface.as_deref(), ipv6: self.ipv6 };
        let found = address::addresses(guest.kind, live, &config).choose(wanted);
        let chosen = found.map_err(|nowhere| nowhere.error(&guest))?;
        let mut notes = chosen.notes;
        if config.get("ostype").is_some_and(|kind| guest.kind == GuestKind::Qemu && kind.starts_with('w')) {
            notes.push("Windows: set ansible_connection (winrm), or ansible_shell_type for SSH".to_owned());
        }
        let host = write::host_name(&guest);
        Ok(Registered {
            vmid: guest.vmid,
            node: guest.node,
            inventory: self.inventory(&host, &chosen.address),
            host,
            address: chosen.address.to_string(),
            interface: Some(chosen.interface),
            source: chosen.source.word(),
            format: self.format,
            others: chosen.others,
            notes,
        })
    }
}

impl RegisterHost {
    fn variables(&self, address: &IpAddr) -> Map<String, Value> {
        let mut all = Map::new();
        all.insert("ansible_host".to_owned(), address.to_string().into());
        all.insert("ansible_user".to_owned(), self.ssh_user.as_str().into());
        if let Some(port) = self.port {
            all.insert("ansible_port".to_owned(), port.into());
        }
        if let Some(key) = self.ssh_private_key_path.as_deref().filter(|key| !key.is_empty()) {
            all.insert("ansible_ssh_private_key_file".to_owned(), key.into());
        }
        all
    }

    fn inventory(&self, host: &str, address: &IpAddr) -> String {
        let variables = self.variables(address);
        match self.format {
            Format::Ini => write::line(host, &variables),
            Format::Json => {
                let all = json!({"all": {"hosts": {host: variables}}});
                serde_json::to_string_pretty(&all).unwrap_or_default()
            }
            // JSON's strings and numbers are YAML's.
            Format::Yaml => {
                let mut out = format!("all:\n  hosts:\n    {}:\n", Value::from(host));
                for (key, value) in &variables {
                    let _ = writeln!(out, "      {key}: {value}");
                }
                out
            }
        }
    }
}
