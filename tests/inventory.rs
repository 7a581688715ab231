//! All guests as an Ansible inventory: which hosts, which groups, which variables, and what silent guests and nodes cost.
//! `.ci/inventory` has the real Ansible read it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::{
    collections::BTreeSet,
    process::{Command, Output},
    sync::Arc,
    time::Duration,
};

use proxmox_mcp::{
    call::{self, App, Cluster, Context},
    config::ClusterConfig,
    embedded::cluster_config,
    pve::Client,
    sandbox::{Fault, FaultKind, Options, Sandbox},
};
use serde_json::{Value, json};
use support::{Test, options, start};

const TOOL: &str = "proxmox-inventory";

/// The inventory as a script says it, beside the rest of the result.
async fn made(test: &Test, mut arguments: Value) -> (Value, Value) {
    arguments["format"] = json!("json");
    let result = test.call(TOOL, arguments).await;
    (parse(&result), result)
}

fn parse(result: &Value) -> Value {
    serde_json::from_str(result["inventory"].as_str().unwrap()).unwrap()
}

fn hosts(inventory: &Value) -> Vec<&str> {
    inventory["_meta"]["hostvars"].as_object().unwrap().keys().map(String::as_str).collect()
}

/// The cluster's list shows new names a little later.
async fn names_are_known() {
    tokio::time::sleep(Duration::from_secs(30)).await;
}

fn with_addresses(inventory: &Value) -> usize {
    let all = inventory["_meta"]["hostvars"].as_object().unwrap();
    all.values().filter(|variables| variables.get("ansible_host").is_some()).count()
}

#[tokio::test(start_paused = true)]
async fn every_guest_is_a_host_of_its_groups_and_templates_are_none() {
    let test = start(options()).await;
    let (inventory, result) = made(&test, json!({})).await;
    assert_eq!((&result["hosts"], &result["with_address"]), (&json!(12), &json!(9)));
    assert!(!hosts(&inventory).contains(&"debian-12-cloud"), "{inventory}");
    assert_eq!(inventory["tag_web"]["hosts"], json!(["web-01", "web-02"]));
    assert_eq!(inventory["status_stopped"]["hosts"], json!(["devbox", "scratch-01", "win11-test"]));
    assert_eq!(inventory["os_windows"]["hosts"], json!(["win11-test"]));
    assert_eq!(inventory["kind_lxc"]["hosts"], json!(["devbox", "nginx-proxy", "pihole", "redis-01"]));
    assert_eq!(
        inventory["_meta"]["hostvars"]["web-01"],
        json!({
            "ansible_host": "192.168.0.120", "proxmox_vmid": 100, "proxmox_node": "pve1", "proxmox_kind": "qemu",
            "proxmox_status": "running", "proxmox_pool": "production", "proxmox_tags": ["prod", "web"],
            "proxmox_os": "debian", "proxmox_os_version": "12",
        })
    );
    // Every group is a child of all, and nothing else is.
    let named: BTreeSet<&str> = inventory.as_object().unwrap().keys().map(String::as_str).collect();
    let children: BTreeSet<&str> =
        inventory["all"]["children"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(children, &named - &BTreeSet::from(["_meta", "all"]));
    for group in ["node_pve1", "pool_production", "os_linux", "os_debian"] {
        assert!(children.contains(group), "{children:?}");
    }
    assert!(test.sent.writes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn yaml_and_ini_say_what_json_says() {
    let test = start(options()).await;
    let arguments = json!({"ssh_user": "admin", "port": 2222, "users": {"tag_db": "postgres"}});
    let (script, _) = made(&test, arguments.clone()).await;
    let text = async |format: &str| {
        let mut arguments = arguments.clone();
        arguments["format"] = json!(format);
        test.call(TOOL, arguments).await["inventory"].as_str().unwrap().to_owned()
    };
    let yaml: Value = serde_saphyr::from_str(&text("yaml").await).unwrap();
    assert_eq!(yaml["all"]["hosts"], script["_meta"]["hostvars"]);
    assert_eq!(yaml["all"]["vars"], script["all"]["vars"]);
    let ini = text("ini").await;
    for group in script["all"]["children"].as_array().unwrap() {
        let group = group.as_str().unwrap();
        let of_yaml: Vec<&String> = yaml["all"]["children"][group]["hosts"].as_object().unwrap().keys().collect();
        assert_eq!(json!(of_yaml), script[group]["hosts"], "{group}");
        let section = ini.split(&format!("\n[{group}]\n")).nth(1).unwrap_or_else(|| panic!("{group}: {ini}"));
        let of_ini: Vec<&str> = section.lines().take_while(|line| !line.is_empty()).collect();
        assert_eq!(json!(of_ini), script[group]["hosts"], "{group}");
    }
    assert!(ini.contains("\n[all:vars]\nansible_user=admin\nansible_port=2222\n"), "{ini}");
    assert!(ini.contains("\n[tag_db:vars]\nansible_user=postgres\n"), "{ini}");
}

#[tokio::test(start_paused = true)]
async fn users_keys_and_ports_are_variables_of_groups() {
    let test = start(options()).await;
    let arguments = json!({
        "ssh_user": "admin", "ssh_private_key_path": "~/.ssh/lab", "port": 2222,
        "users": {"tag_db": "postgres", "tag_nope": "x"}, "keys": {"kind_lxc": "/keys/lxc"},
    });
    let (inventory, result) = made(&test, arguments).await;
    let all = json!({"ansible_user": "admin", "ansible_port": 2222, "ansible_ssh_private_key_file": "~/.ssh/lab"});
    assert_eq!(inventory["all"]["vars"], all);
    assert_eq!(inventory["tag_db"]["vars"], json!({"ansible_user": "postgres"}));
    assert_eq!(inventory["kind_lxc"]["vars"], json!({"ansible_ssh_private_key_file": "/keys/lxc"}));
    assert_eq!(result["notes"][0], "no group tag_nope here, for ansible_user x");
    // Where nobody is named, it is Ansible's own settings that count.
    let (inventory, _) = made(&test, json!({})).await;
    assert_eq!(inventory["all"].get("vars"), None);
}

#[tokio::test(start_paused = true)]
async fn filters_choose_the_hosts() {
    let test = start(options()).await;
    for (filter, wanted) in [
        (json!({"name": "web-*"}), vec!["web-01", "web-02"]),
        (json!({"vmids": [100, 108]}), vec!["pihole", "web-01"]),
        (json!({"pool": "development", "status": "running"}), vec!["gitlab-runner"]),
        (json!({"tag": "prod", "node": "pve3", "kind": "lxc"}), vec!["redis-01"]),
        (json!({"tag": "nothing"}), vec![]),
    ] {
        let (inventory, result) = made(&test, filter.clone()).await;
        assert_eq!(hosts(&inventory), wanted, "{filter}");
        assert_eq!(result["hosts"], wanted.len(), "{filter}");
    }
    let empty = test.call(TOOL, json!({"tag": "nothing", "format": "yaml"})).await;
    assert_eq!(empty["inventory"], "all:\n  hosts: {}\n");
    assert_eq!(
        test.fails(TOOL, json!({"node": "pve9"})).await.lines().next(),
        Some("node: no node 'pve9' in this cluster")
    );
}

#[tokio::test(start_paused = true)]
async fn what_has_no_address_is_told_once_for_each_reason() {
    let test = start(options()).await;
    test.sandbox.by_hand().set(107, "ipconfig0", Some("ip=10.9.8.7/24")).set(104, "agent", None);
    test.sent.forget();
    let (inventory, result) = made(&test, json!({})).await;
    assert_eq!(inventory["_meta"]["hostvars"]["scratch-01"]["ansible_host"], "10.9.8.7");
    assert_eq!(
        result["without_address"],
        json!([
            {"count": 1, "why": "no guest agent enabled, and no fixed address in the configuration", "hosts": ["grafana"]},
            {"count": 2, "why": "not running, and no fixed address in the configuration", "hosts": ["win11-test", "devbox"]},
        ])
    );
    // Whoever cannot answer is not asked.
    for vmid in ["104", "106", "107", "111"] {
        let asked = test.sent.matching(|_, path| path.contains(vmid) && !path.ends_with("/config"));
        assert_eq!(asked, [""; 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_hangs_holds_nobody_up() {
    let test = start(options()).await;
    let stalled = Fault::new(FaultKind::Stall).on(http::Method::GET, "/nodes/*/qemu/100/agent/network-get-interfaces");
    test.sandbox.fault(stalled);
    let begun = tokio::time::Instant::now();
    let (inventory, result) = made(&test, json!({"status": "running"})).await;
    assert!(begun.elapsed().as_secs() < 7, "{:?}", begun.elapsed());
    assert_eq!((hosts(&inventory).len(), with_addresses(&inventory)), (9, 8));
    assert_eq!(result["without_address"], json!([{"count": 1, "why": "no answer within 5 s", "hosts": ["web-01"]}]));
    assert_eq!(test.sent.matching(|_, path| path.ends_with("/qemu/100/agent/get-osinfo")), [""; 0]);
    // What it is called by its configuration stands in for what it would say.
    assert_eq!(inventory["_meta"]["hostvars"]["web-01"]["proxmox_os"], "l26");
}

#[tokio::test(start_paused = true)]
async fn nodes_that_are_off_or_silent_never_fail_it() {
    let test = start(Options { guests: 120, ..options() }).await;
    test.sandbox.set_online("pve3", false);
    test.sent.forget();
    let (inventory, result) = made(&test, json!({})).await;
    assert_eq!(hosts(&inventory).len(), 120);
    let off = inventory["node_pve3"]["hosts"].as_array().unwrap().len();
    let rows = result["without_address"].as_array().unwrap();
    assert!(rows.iter().any(|row| row["why"] == "node pve3 is offline" && row["count"] == off), "{rows:?}");
    assert!(rows.iter().all(|row| row["hosts"].as_array().unwrap().len() <= 20), "{rows:?}");
    assert_eq!(test.sent.matching(|_, path| path.starts_with("/nodes/pve3")), [""; 0]);

    // One that is not known to be off is given up with the first guests that it does not tell of.
    test.sandbox.set_online("pve3", true);
    test.sandbox.fault(Fault::new(FaultKind::Stall).on(http::Method::GET, "/nodes/pve2/**"));
    test.sent.forget();
    let (inventory, result) = made(&test, json!({})).await;
    let silent = inventory["node_pve2"]["hosts"].as_array().unwrap().len();
    let rows = result["without_address"].as_array().unwrap();
    let why = "node pve2: no answer within 5 s";
    assert!(rows.iter().any(|row| row["why"] == why && row["count"] == silent), "{rows:?}");
    let asked = test.sent.matching(|_, path| path.starts_with("/nodes/pve2")).len();
    assert!(silent > 35 && asked <= 16, "{asked} of {silent}");
}

#[tokio::test(start_paused = true)]
async fn guests_of_one_name_and_names_that_ansible_uses_end_in_their_vmid() {
    let test = start(options()).await;
    test.sandbox.by_hand().set(101, "name", Some("web-01")).set(108, "hostname", Some("localhost"));
    names_are_known().await;
    let (inventory, result) = made(&test, json!({"node": "pve1"})).await;
    assert_eq!(result["renamed"], json!(["web-01-100", "localhost-108"]), "{inventory}");
    assert_eq!(inventory["_meta"]["hostvars"]["web-01-100"]["proxmox_name"], "web-01");
}

#[tokio::test(start_paused = true)]
async fn what_guests_are_called_is_no_template_for_ansible() {
    let test = start(options()).await;
    let evil = "{{ lookup('pipe', 'id') }}";
    test.sandbox.by_hand().set(100, "name", Some(evil)).set(100, "tags", Some("{{7*7}};{% x %}"));
    names_are_known().await;
    for format in ["json", "yaml", "ini"] {
        let result = test.call(TOOL, json!({"vmids": [100], "format": format})).await;
        let text = result["inventory"].as_str().unwrap();
        assert!(!text.contains("{{") && !text.contains("{%") && text.contains("lookup--"), "{text}");
        assert_eq!(result["untrusted"], json!(["inventory"]));
    }
}

fn cluster(name: &str) -> (Cluster, Sandbox) {
    let sandbox = Sandbox::new(options());
    let config = ClusterConfig { name: name.to_owned(), ..cluster_config(&sandbox) };
    let client = Client::with_transport(&config, Arc::new(sandbox.clone()));
    (Cluster { name: name.to_owned(), client }, sandbox)
}

#[tokio::test(start_paused = true)]
async fn several_clusters_are_one_inventory() {
    let ((home, _), (work, far)) = (cluster("home"), cluster("work"));
    far.by_hand().set(100, "name", Some("shop")).set(101, "name", Some("shop"));
    names_are_known().await;
    let app = App::with_clusters(vec![home, work], &support::everything()).unwrap();
    let ask = async |arguments: Value| {
        let arguments = arguments.as_object().cloned().unwrap();
        call::run(&app, TOOL, arguments, &Context::default()).await.unwrap().data
    };
    let arguments = json!({"cluster": "all", "format": "json", "users": {"cluster_work": "ops"}});
    let both = ask(arguments.clone()).await;
    let inventory = parse(&both);
    assert_eq!((&both["hosts"], &both["with_address"]), (&json!(24), &json!(18)));
    let all = hosts(&inventory);
    for host in ["web-01", "web-02", "shop-100", "shop-101", "pihole-home", "pihole-work"] {
        assert!(all.contains(&host), "{host}: {all:?}");
    }
    assert!(!all.contains(&"pihole"), "{all:?}");
    assert_eq!(inventory["_meta"]["hostvars"]["pihole-work"]["proxmox_cluster"], "work");
    assert_eq!(inventory["cluster_home"]["hosts"].as_array().unwrap().len(), 12);
    assert_eq!(inventory["cluster_work"]["vars"], json!({"ansible_user": "ops"}));
    assert_eq!(inventory["tag_dns"]["hosts"], json!(["pihole-home", "pihole-work"]));
    let rows = both["without_address"].as_array().unwrap();
    assert!(rows.len() == 2 && rows[1]["cluster"] == "work" && rows[1]["hosts"][0] == "win11-test-work", "{rows:?}");
    assert!(both["renamed"].as_array().unwrap().contains(&json!("pihole-home")), "{both}");
    // In one cluster alone nothing is told apart that need not be.
    assert!(hosts(&parse(&ask(json!({"cluster": "home", "format": "json"})).await)).contains(&"pihole"));

    far.fault(Fault::new(FaultKind::Refuse));
    let one = ask(arguments).await;
    assert_eq!((&one["hosts"], &one["failed_clusters"][0]["cluster"]), (&json!(12), &json!("work")));
}

fn run(arguments: &[&str]) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_proxmox-mcp"));
    program.env_clear().current_dir(std::env::temp_dir()).args(["--sandbox", "inventory"]).args(arguments);
    program.output().unwrap()
}

#[test]
fn the_command_is_an_inventory_script() {
    let list = run(&["--list"]);
    assert!(list.status.success() && list.stderr.is_empty(), "{list:?}");
    let inventory: Value = serde_json::from_slice(&list.stdout).unwrap();
    assert_eq!(inventory["tag_web"]["hosts"], json!(["web-01", "web-02"]));
    let host = run(&["--ssh-user", "admin", "--group-user", "tag_db=postgres", "--host", "postgres-01"]);
    assert!(host.status.success() && host.stderr.is_empty(), "{host:?}");
    let variables: Value = serde_json::from_slice(&host.stdout).unwrap();
    assert_eq!((&variables["ansible_user"], &variables["proxmox_vmid"]), (&json!("postgres"), &json!(102)));
    let yaml = run(&["--format", "yaml", "--tag", "db"]);
    assert!(yaml.stdout.starts_with(b"all:\n  hosts:\n    \"postgres-01\":\n"), "{yaml:?}");
    for (wrong, code) in [
        (vec!["--host", "nobody"], 1),
        (vec!["--group-user", "tag_db"], 2),
        (vec!["--status", "sleeping"], 2),
        (vec!["--format", "toml"], 2),
    ] {
        let refused = run(&wrong);
        assert_eq!(refused.status.code(), Some(code), "{wrong:?}: {refused:?}");
        assert!(refused.stdout.is_empty() && !refused.stderr.is_empty(), "{wrong:?}: {refused:?}");
    }
}
