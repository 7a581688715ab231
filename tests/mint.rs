//! What `mint` prints is run, command by command, on the simulated cluster; then every tool's example is, with that token.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use proxmox_mcp::{
    config::{Auth, TokenId},
    embedded::cluster_config,
    mint::{self, Order},
    pve::api::Api,
    rights::Release,
    sandbox::Sandbox,
    tool::Entry,
    tools::FAMILIES,
    toolsets,
};
use serde_json::{Value, json};
use support::{Test, options};

/// Two servers on simulated clusters where the commands were run, each line changed first: with root's token, and with the
/// one that they make.
async fn with_commands(text: &str, change: impl Fn(&str) -> String) -> [Test; 2] {
    [made(text, &change, true).await, made(text, &change, false).await]
}

async fn made(text: &str, change: &impl Fn(&str) -> String, as_root: bool) -> Test {
    let sandbox = Sandbox::new(options());
    let mut secret = None;
    for line in text.lines().filter(|line| line.starts_with("pveum")) {
        secret = secret.or(support::pveum::run(&sandbox, &change(line)).await);
    }
    let id = text.lines().find_map(|line| line.strip_prefix("PROXMOX_TOKEN_ID=")).unwrap();
    let (user, name) = id.split_once('!').unwrap();
    let id = TokenId { user: user.to_owned(), name: name.to_owned() };
    let mut config = match as_root {
        true => cluster_config(&sandbox),
        false => support::config(&sandbox, Auth::Token { id, secret: secret.unwrap().into() }),
    };
    config.upload_dir = Some(support::upload_dir());
    support::with(sandbox, config).await
}

/// Further calls, for what the examples leave out.
const CALLS: &[(&str, &str)] = &[
    ("proxmox-configure-vm", r#"{"vmid": 107, "params": {"scsi2": "local-lvm:4"}, "confirm": true}"#),
    ("proxmox-configure-vm", r#"{"vmid": 107, "params": {"ide0": "none,media=cdrom"}, "confirm": true}"#),
    ("proxmox-configure-vm", r#"{"vmid": 107, "params": {"ciuser": "ops"}, "confirm": true}"#),
    ("proxmox-configure-vm", r#"{"vmid": 107, "params": {"vga": "qxl"}, "confirm": true}"#),
    (
        "proxmox-disk-import",
        r#"{"vmid": 107, "source": "https://cloud-images.ubuntu.com/noble.img", "filename": "n.qcow2", "storage": "local-lvm"}"#,
    ),
    (
        "proxmox-configure-vm",
        r#"{"name": "web-01", "params": {"cores": 4}, "snapshot_first": true, "confirm": true, "wait": true}"#,
    ),
    ("proxmox-delete-vm", r#"{"vmid": 101, "force": true, "confirm": true, "wait": true}"#),
    ("proxmox-firewall-log", r#"{"vmid": 100}"#),
    ("proxmox-pool-add", r#"{"poolid": "production", "storage": "local", "confirm": true}"#),
];

/// What these show is different for everybody.
const OWN: &[&str] = &["proxmox-my-permissions", "proxmox-list-acl"];

/// What some arguments take that no call here has.
const CONDITIONAL: &[(&str, &str)] = &[
    ("template", "Sys.Audit"),
    ("backups", "VM.Config.Network"),
    ("backups", "Sys.Audit"),
    ("configure", "Sys.Audit"),
    // What images, templates, pools, HA and cloud-init take, which the examples do without.
    ("provision", "Datastore.Allocate"),
    ("provision", "Datastore.AllocateTemplate"),
    ("provision", "Pool.Allocate"),
    ("provision", "Sys.Console"),
    ("provision", "Sys.Modify"),
    ("provision", "VM.Config.Cloudinit"),
    // Of a saved state only.
    ("diff", "Pool.Audit"),
    // Of guests that are not seen none is in the way.
    ("evacuate", "VM.Audit"),
    // What the other actions take.
    ("bulk", "Datastore.AllocateSpace"),
    ("bulk", "VM.Backup"),
    ("bulk", "VM.Config.CPU"),
    ("bulk", "VM.Config.Disk"),
    ("bulk", "VM.Config.Memory"),
    ("bulk", "VM.Config.Network"),
    ("bulk", "VM.Config.Options"),
    ("bulk", "VM.GuestAgent.Unrestricted"),
    ("bulk", "VM.Migrate"),
    ("bulk", "VM.PowerMgmt"),
];

/// The calls of these tools: their examples, and more.
fn calls(tools: &[&'static Entry]) -> Vec<(&'static Entry, &'static str)> {
    // Records of changes are kept, and read, on this machine.
    let tools = tools.iter().filter(|entry| !entry.audited);
    let of = |entry: &&'static Entry| {
        let entry = *entry;
        let more = CALLS.iter().filter(move |(tool, _)| *tool == entry.name).map(|(_, arguments)| *arguments);
        std::iter::once(entry.example.1).chain(more).map(move |arguments| (entry, arguments))
    };
    tools.flat_map(of).collect()
}

/// A call of a tool; `UPID:…` stands for the newest task of the cluster.
async fn run(test: &Test, root: &Test, (entry, arguments): (&Entry, &str)) -> Result<Value, String> {
    let mut arguments: Value = serde_json::from_str(arguments).unwrap();
    if arguments["upid"] == "UPID:…" {
        let tasks = root.call("proxmox-list-tasks", json!({"limit": 1})).await;
        arguments["upid"] = tasks["tasks"][0]["upid"].clone();
    }
    test.mcp.call(entry.name, arguments).await.map_err(|e| e.to_string())
}

/// Why the call does not do with these credentials what it does as root.
async fn wrong(text: &str, call: (&Entry, &str), change: impl Fn(&str) -> String) -> Option<String> {
    let [root, test] = with_commands(text, change).await;
    let result = match run(&test, &root, call).await {
        Ok(result) => result,
        Err(e) => return Some(e),
    };
    if result.to_string().contains("Permission check failed") {
        return Some(result.to_string());
    }
    if call.0.control.is_none() && !OWN.contains(&call.0.name) {
        let expected = run(&root, &root, call).await.unwrap();
        if expected != result {
            return Some(format!("it sees {result}\nand root {expected}"));
        }
    }
    None
}

/// What is minted for these tools, unless they take nothing that can be given.
fn minted(names: &str) -> Option<(Vec<&'static Entry>, String)> {
    let tools = mint::select(names).unwrap();
    let text = mint::text(&Api::embedded(), &tools, names, &Order::default()).ok()?;
    Some((tools, text))
}

#[tokio::test(start_paused = true)]
async fn every_call_of_a_toolset_works_with_the_token_minted_for_it() {
    let mut found = Vec::new();
    let mut nothing = Vec::new();
    for name in toolsets::names().filter(|name| *name != toolsets::ALL) {
        let Some((tools, text)) = minted(name) else {
            nothing.push(name);
            continue;
        };
        for call in calls(&tools) {
            if let Some(why) = wrong(&text, call, str::to_owned).await {
                found.push(format!("{name} {} {}: {}", call.0.name, call.1, why.chars().take(700).collect::<String>()));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    // These take what they are asked for takes.
    assert_eq!(nothing, ["api", "undo"]);
}

#[tokio::test(start_paused = true)]
async fn every_privilege_that_is_minted_is_needed_by_some_call() {
    let api = Api::embedded();
    let mut idle = Vec::new();
    for (family, _) in FAMILIES {
        let Some((tools, text)) = minted(family) else { continue };
        let role = mint::role(&api, &tools, &["/".to_owned()], Release::Nine);
        for (privilege, users) in &role.privileges {
            let without = |line: &str| {
                let Some((head, list)) = line.split_once("--privs ") else { return line.to_owned() };
                let left: Vec<&str> = list.split(',').filter(|name| name != privilege).collect();
                format!("{head}--privs '{}'", left.join(","))
            };
            let mut needed = CONDITIONAL.contains(&(family, privilege));
            for call in calls(&tools).into_iter().filter(|(entry, _)| users.contains(&entry.name)) {
                needed = needed || wrong(&text, call, without).await.is_some();
            }
            if !needed {
                idle.push(format!("{family} {privilege}"));
            }
        }
    }
    assert!(idle.is_empty(), "{idle:#?}");
}

#[tokio::test]
async fn a_token_is_minted_for_some_paths_only() {
    let tools = mint::select("snapshots,node-status").unwrap();
    let order = Order { paths: vec!["/pool/dev".to_owned(), "/vms/100".to_owned()], ..Order::default() };
    let text = mint::text(&Api::embedded(), &tools, "x", &order).unwrap();
    assert!(text.contains("pveum role add ProxmoxMCP --privs VM.Audit,VM.Snapshot\n"), "{text}");
    for line in [
        "pveum acl modify /pool/dev --users mcp@pve --tokens 'mcp@pve!mcp' --roles ProxmoxMCP\n",
        "pveum acl modify /vms/100 --users mcp@pve --tokens 'mcp@pve!mcp' --roles ProxmoxMCP\n",
        "# not given, as it counts on none of these paths: Sys.Audit on /nodes/{node}, for proxmox-node-status",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[test]
fn an_older_release_has_other_privileges_and_root_needs_no_role_itself() {
    let tools = mint::select("agent").unwrap();
    let order = Order { user: "root@pam".to_owned(), ..Order::default() };
    let text = mint::text(&Api::embedded(), &tools, "agent", &order).unwrap();
    assert!(text.contains("on Proxmox VE 8 instead: pveum role add ProxmoxMCP --privs VM.Audit,VM.Monitor)"), "{text}");
    assert!(text.contains("pveum acl modify / --tokens 'root@pam!mcp' --roles ProxmoxMCP"), "{text}");
    assert!(!text.contains("pveum user add") && !text.contains("--users"), "{text}");
}

#[test]
fn what_proxmox_would_refuse_is_refused() {
    let tools = mint::select("snapshots").unwrap();
    let good = Order::default;
    for (order, words) in [
        (Order { user: "mcp".to_owned(), ..good() }, "--user: expected USER@REALM"),
        (Order { token: "1; rm".to_owned(), ..good() }, "--token: expected a name"),
        (Order { role: "PVEAuditor".to_owned(), ..good() }, "--role: expected a new name"),
        (Order { paths: vec!["/qemu/100".to_owned()], ..good() }, "--path: expected a path"),
        (
            Order { paths: vec!["/storage".to_owned()], ..good() },
            "--for snapshots: these tools take no privileges on /storage",
        ),
    ] {
        let error = mint::text(&Api::embedded(), &tools, "snapshots", &order).unwrap_err();
        assert!(error.to_string().starts_with(words), "{error}");
    }
    assert!(mint::select("snapshot").err().unwrap().to_string().starts_with("--for: no toolset 'snapshot'"));
}
