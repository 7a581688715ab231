//! Users, packages, commands and files: by Proxmox's own options where they suffice, else by a snippet that the operator
//! has to store, because the API takes none.

use serde_json::{Map, Value};

use super::{
    super::applied::applied,
    Wanted, ipconfig_key,
    user_data::{File, User, UserData, item, render},
};
use crate::{pve::SshKeys, tool::*};

/// Set cloud-init users, packages, commands, files; returns YAML if that takes a snippet.
#[derive(Deserialize, JsonSchema)]
pub struct ConfigureCloudInitAdvanced {
    #[serde(flatten)]
    guest: GuestRef,
    /// name, ssh_keys, password, groups, sudo, shell
    #[serde(default)]
    users: Vec<Value>,
    #[serde(default)]
    packages: Vec<String>,
    #[serde(default)]
    commands: Vec<String>,
    /// ip, gw, ipconfig1, nameserver, searchdomain
    #[serde(default)]
    network_config: Map<String, Value>,
    /// path, content, permissions, owner
    #[serde(default)]
    files: Vec<Value>,
    /// local:snippets/u.yml
    user_snippet: Option<String>,
}

impl Tool for ConfigureCloudInitAdvanced {
    const NAME: &str = "proxmox-configure-cloudinit-advanced";
    const TITLE: &str = "Configure cloud-init in depth";
    const API: &[&str] = &[
        "PUT /nodes/{node}/qemu/{vmid}/config",
        "PUT /nodes/{node}/qemu/{vmid}/cloudinit",
        "GET /nodes/{node}/{type}/{vmid}/pending",
    ];
    const EXAMPLE: (&str, &str) = (
        "Give the Ubuntu template the user deploy, an address by DHCP and our name server",
        r#"{"vmid": 9001, "users": [{"name": "deploy"}], "network_config": {"ip": "dhcp", "nameserver": "10.0.0.1"}, "confirm": true}"#,
    );
}

impl Action for ConfigureCloudInitAdvanced {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::instant().confirmed();
    const LOOKS_AFTER: bool = true;
    async fn plan(&self, pve: &Reader<'_>) -> Result<Plan> {
        let guest = pve.guest(&self.guest, Want::Vm).await?;
        let config = pve.config(&guest).await?;
        let users = self.users()?;
        let numbered = self.files.iter().enumerate();
        let files = numbered.map(|(i, file)| item("files", i, file)).collect::<Result<Vec<File>>>()?;
        let mut wanted = Wanted::default();
        network(&mut wanted, &self.network_config)?;
        let beyond = users.len() > 1
            || users.iter().any(User::is_special)
            || !(self.packages.is_empty() && self.commands.is_empty() && files.is_empty());
        if !beyond {
            if let Some(user) = users.first() {
                wanted.text("ciuser", Some(&user.name));
                wanted.text("cipassword", user.password.as_deref());
                wanted.keys((!user.ssh_keys.is_empty()).then_some(user.ssh_keys.as_slice()))?;
            }
            if let Some(snippet) = &self.user_snippet {
                wanted.text("cicustom", Some(&with_user(config.get("cicustom").as_deref(), snippet)));
            }
            return wanted.plan(pve.api(), &guest, &config);
        }
        let present = config.get("sshkeys").unwrap_or_default();
        let present = SshKeys::parse("sshkeys", [&*present]).unwrap_or_default();
        let yaml = render(&UserData {
            hostname: config.get("name").as_deref(),
            ciuser: config.get("ciuser").as_deref(),
            ssh_keys: &present.iter().map(str::to_owned).collect::<Vec<_>>(),
            users: &users,
            packages: &self.packages,
            commands: &self.commands,
            files: &files,
        });
        let Some(snippet) = &self.user_snippet else {
            let file = format!("snippets/{}.yaml", guest.name.as_deref().unwrap_or("user-data"));
            return Err(Error::bad_argument(
                "user_snippet: missing; further users, packages, commands and files need a cloud-config file, and the \
                 API of Proxmox takes no upload of snippets",
            )
            .hint(format!(
                "store this on the node as /var/lib/vz/{file} (storage local, with content type snippets), then call \
                 again with user_snippet: \"local:{file}\"\n{yaml}"
            )));
        };
        let (storage, _) = volid(snippet)?;
        wanted.text("cicustom", Some(&with_user(config.get("cicustom").as_deref(), snippet)));
        if users.iter().any(|user| user.password.is_some()) || config.get("cipassword").is_some() {
            wanted.warnings.push(
                "passwords are not written into snippets: put a hashed `passwd` there yourself, or use keys".to_owned(),
            );
        }
        if !stored(pve, &guest.node, storage, snippet).await {
            wanted.warnings.push(format!(
                "{snippet} is not among the snippets that {} shows of {storage}: without it the VM does not start",
                guest.node
            ));
        }
        Ok(wanted.plan(pve.api(), &guest, &config)?.about("user_snippet", snippet.as_str()).about("user_data", yaml))
    }
    async fn result(&self, pve: &Reader<'_>, plan: &Plan, _: Done<'_>) -> Result<Option<Value>> {
        applied(pve, plan).await
    }
}

impl ConfigureCloudInitAdvanced {
    fn users(&self) -> Result<Vec<User>> {
        let mut users = Vec::new();
        for (i, given) in self.users.iter().enumerate() {
            let mut user: User = item("users", i, given)?;
            let field = format!("users[{i}].ssh_keys");
            let keys = SshKeys::parse(&field, user.ssh_keys.iter().map(String::as_str))?;
            user.ssh_keys = keys.iter().map(str::to_owned).collect();
            users.push(user);
        }
        Ok(users)
    }
}

fn network(wanted: &mut Wanted, given: &Map<String, Value>) -> Result<()> {
    let mut first = Vec::new();
    for (key, value) in given {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Array(list) => list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
            other => return Err(Error::bad_argument(format!("network_config.{key}: expected text, got {other}"))),
        };
        match key.as_str() {
            "ip" | "address" => first.push(format!("ip={text}")),
            "gw" | "gateway" => first.push(format!("gw={text}")),
            "ip6" | "gw6" => first.push(format!("{key}={text}")),
            "nameserver" | "nameservers" | "dns" => wanted.text("nameserver", Some(&text)),
            "searchdomain" | "search" => wanted.text("searchdomain", Some(&text)),
            key if key.starts_with("ipconfig") => wanted.ip(&ipconfig_key(key)?, Some(&text))?,
            other => {
                return Err(Error::bad_argument(format!("network_config: unknown key '{other}'"))
                    .hint("known: ip, gw, ip6, gw6, ipconfig0 …, nameserver, searchdomain"));
            }
        }
    }
    if first.is_empty() { Ok(()) } else { wanted.ip("ipconfig0", Some(&first.join(","))) }
}

/// Storage and file of `local:snippets/web.yaml`.
fn volid(snippet: &str) -> Result<(&str, &str)> {
    let parts = snippet.split_once(":snippets/").filter(|(storage, file)| !storage.is_empty() && !file.is_empty());
    parts.ok_or_else(|| {
        let words = format!("user_snippet: expected a volume such as local:snippets/web.yaml, got '{snippet}'");
        Error::bad_argument(words)
    })
}

/// `cicustom` with another user-data, and what it has of network, meta and vendor data as it was.
fn with_user(present: Option<&str>, snippet: &str) -> String {
    let mut custom = crate::pve::PropertyString::parse(present.unwrap_or_default());
    custom.set("user", snippet);
    custom.to_string()
}

/// Whether the storage lists the snippet. What cannot be read is taken to be there: Proxmox has the last word.
async fn stored(pve: &Reader<'_>, node: &str, storage: &str, snippet: &str) -> bool {
    #[derive(Deserialize)]
    struct Volume {
        volid: String,
    }
    let path = format!("/nodes/{node}/storage/{}/content", crate::pve::encode(storage));
    let listed = pve.request::<Vec<Volume>>(&Request::get(path).param("content", "snippets")).await;
    listed.map_or(true, |listed| listed.iter().any(|volume| volume.volid == snippet))
}
