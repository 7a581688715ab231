//! Whole containers in one call: named, placed, addressed, made, started, waited for; or nothing left of them.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use http::Method;
use proxmox_mcp::sandbox::{Fault, FaultKind};
use serde_json::{Value, json};
use support::{Test, options, start};

const TOOL: &str = "proxmox-provision-lxc";
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICWBFD79BkRJbzud0NCHkaPMJ8MZpOmPbR6v8vh3qDQ+ alice@example.test";

/// Three of them with everything: a template that is not there yet, a mount point, pool, HA, backup job.
fn wanted() -> Value {
    json!({
        "name": "cache{01..03}", "ostemplate": "debian-11", "cores": 1, "memory_mb": 512, "swap_mb": 0, "rootfs_gb": 4,
        "mounts": ["/data=nas:2G"], "networks": [{"bridge": "vmbr0", "vlan": 20}, "vmbr0"], "ssh_keys": [KEY],
        "ip": ["10.0.0.100-10.0.0.150/24"], "gateway": "10.0.0.1", "nameserver": "10.0.0.1", "pool": "development",
        "tags": ["cache", "test"], "description": "made for a test", "ha": true, "backup_job": "some", "confirm": true,
    })
}

/// One of them, with as little as may be said.
fn little(name: &str) -> Value {
    json!({"name": name, "ostemplate": "debian-12", "confirm": true})
}

fn with(mut arguments: Value, more: Value) -> Value {
    for (key, value) in more.as_object().unwrap() {
        arguments[key] = value.clone();
    }
    arguments
}

/// A cluster with a backup job that names guests.
async fn cluster() -> Test {
    let test = start(options()).await;
    let job = json!({"storage": "nas", "schedule": "daily", "vmids": [105, 106], "id": "some", "confirm": true});
    test.call("proxmox-create-backup-job", job).await;
    test.sent.forget();
    test
}

/// All that a caller can change, without counters of the simulation.
fn state(test: &Test) -> String {
    let moves = ["changed:", "generation"];
    let lines = test.sandbox.snapshot();
    lines.lines().filter(|line| !moves.iter().any(|word| line.trim().starts_with(word))).collect::<Vec<_>>().join("\n")
}

/// The first lines in which two states differ.
fn difference(a: &str, b: &str) -> String {
    let at = a.lines().zip(b.lines()).position(|(a, b)| a != b).unwrap_or_default();
    let some = |text: &str| text.lines().skip(at.saturating_sub(3)).take(8).collect::<Vec<_>>().join("\n");
    format!("before:\n{}\nafter:\n{}", some(a), some(b))
}

async fn get(test: &Test, path: &str) -> Value {
    test.call("proxmox-api-get", json!({"path": path})).await["data"].clone()
}

async fn config(test: &Test, vmid: u64) -> Value {
    test.call("proxmox-lxc-info", json!({"vmid": vmid})).await["config"].clone()
}

fn column(made: &Value, key: &str) -> Vec<String> {
    let text = |row: &Value| row[key].as_str().map_or_else(|| row[key].to_string(), str::to_owned);
    made["result"]["machines"].as_array().unwrap().iter().map(text).collect()
}

/// What is wrong with containers that should be there with all that belongs to them.
async fn lacks(test: &Test) -> Vec<String> {
    let mut bad = Vec::new();
    let guests = get(test, "/cluster/resources").await;
    let all: Vec<&Value> =
        guests.as_array().unwrap().iter().filter(|row| row["tags"].as_str() == Some("cache;test")).collect();
    if all.len() != 3 {
        bad.push(format!("{} containers", all.len()));
    }
    let (ha, job) = (get(test, "/cluster/ha/resources").await, get(test, "/cluster/backup/some").await);
    let mut addresses = Vec::new();
    for row in all {
        let vmid = row["vmid"].as_u64().unwrap();
        let info = test.call("proxmox-lxc-info", json!({"vmid": vmid})).await;
        if info["status"] != "running" {
            bad.push(format!("{vmid} is {}", info["status"]));
        }
        let config = &info["config"];
        for (key, value) in [
            ("cores", "1"),
            ("memory", "512"),
            ("swap", "0"),
            ("nameserver", "10.0.0.1"),
            ("unprivileged", "1"),
            ("features", "nesting=1"),
            ("tags", "cache;test"),
        ] {
            let has = config[key].as_str().map_or_else(|| config[key].to_string(), str::to_owned);
            if has != value {
                bad.push(format!("{vmid} has {key} {has}"));
            }
        }
        let text = |key: &str| config[key].as_str().unwrap_or_default().to_owned();
        if !text("net0").contains("tag=20") || !text("net0").contains("gw=10.0.0.1") || text("net1").contains("ip=") {
            bad.push(format!("{vmid} has {} and {}", text("net0"), text("net1")));
        }
        addresses.extend(text("net0").split(',').find_map(|part| part.strip_prefix("ip=").map(str::to_owned)));
        if !text("mp0").contains("mp=/data") || !text("mp0").contains("size=2G") || !text("rootfs").contains("size=4G")
        {
            bad.push(format!("{vmid} has {} and {}", text("mp0"), text("rootfs")));
        }
        if !ha.as_array().unwrap().iter().any(|one| one["sid"] == format!("ct:{vmid}")) {
            bad.push(format!("{vmid} is not under HA"));
        }
        if !job["vmid"].as_str().unwrap().split(',').any(|one| one == vmid.to_string()) {
            bad.push(format!("{vmid} is not in the backup job: {}", job["vmid"]));
        }
    }
    addresses.sort();
    if addresses != ["10.0.0.100/24", "10.0.0.101/24", "10.0.0.102/24"] {
        bad.push(format!("addresses {addresses:?}"));
    }
    bad
}

#[tokio::test(start_paused = true)]
async fn containers_are_made_with_all_that_belongs_to_them_and_taken_back() {
    let test = cluster().await;
    let before = state(&test);
    let made = test.call(TOOL, wanted()).await;
    assert_eq!(lacks(&test).await, Vec::<String>::new(), "{made}");
    assert_eq!(column(&made, "name"), ["cache01", "cache02", "cache03"]);
    assert_eq!(column(&made, "address"), ["10.0.0.100", "10.0.0.101", "10.0.0.102"]);
    assert_eq!(column(&made, "ansible")[1], "cache02 ansible_host=10.0.0.101 ansible_user=root");
    // The best node first, then the others that have nearly as much memory.
    assert_eq!(column(&made, "node").iter().filter(|node| *node == "pve1").count(), 2, "{made}");
    let downloads = test.sent.matching(|method, path| *method == Method::POST && path.ends_with("/aplinfo"));
    assert_eq!(downloads.len(), 1, "a shared storage has the template for all nodes: {downloads:?}");
    assert_eq!(made["undo"]["tool"], "proxmox-deprovision");
    let note = made["undo"]["note"].as_str().unwrap();
    assert_eq!(note, "the downloaded template stays");
    let undo = with(made["undo"]["arguments"].clone(), json!({"confirm": true}));
    test.call("proxmox-deprovision", undo).await;
    let volume =
        json!({"volid": "nas:vztmpl/debian-11-standard_11.7-1_amd64.tar.zst", "node": "pve1", "confirm": true});
    test.call("proxmox-delete-volume", volume).await;
    assert!(state(&test) == before, "{}", difference(&before, &state(&test)));
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_shows_all_requests_and_the_way_back_and_sends_none() {
    let test = cluster().await;
    let plan = test.call(TOOL, with(wanted(), json!({"dry_run": true}))).await;
    assert_eq!(plan["problems"], Value::Null, "{plan}");
    let shown = |key: &str| -> Vec<String> {
        let all = plan[key].as_array().unwrap().iter();
        all.map(|shown| format!("{} {}", shown["method"].as_str().unwrap(), shown["path"].as_str().unwrap())).collect()
    };
    let (requests, back) = (shown("requests"), shown("rollback"));
    assert_eq!(requests.first().unwrap(), "POST /nodes/pve1/aplinfo");
    assert_eq!(requests.iter().filter(|request| request.ends_with("/lxc")).count(), 3, "{requests:?}");
    assert_eq!(requests.last().unwrap(), "PUT /cluster/backup/some");
    assert_eq!(
        back.last().unwrap(),
        "DELETE /nodes/pve1/storage/nas/content/nas%3Avztmpl%2Fdebian-11-standard_11.7-1_amd64.tar.zst"
    );
    let why = plan["checked"].to_string();
    assert!(why.contains("cache01 on pve1: ") && why.contains(" GiB memory not given to guests, load "), "{why}");
    assert_eq!(test.sent.writes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_failure_at_any_step_leaves_the_cluster_as_it_was_or_all_done() {
    let test = cluster().await;
    test.call(TOOL, wanted()).await;
    let mut writes = test.sent.writes();
    writes.sort();
    writes.dedup();
    let (mut bad, mut failed) = (Vec::new(), 0);
    for write in &writes {
        for kind in [
            FaultKind::TaskFailure("no space left on device".to_owned()),
            FaultKind::Status595,
            FaultKind::Drop,
            FaultKind::LockTimeout,
        ] {
            let test = cluster().await;
            let before = state(&test);
            let (method, path) = write.split_once(' ').unwrap();
            test.sandbox.fault(Fault::new(kind.clone()).on(method.parse().unwrap(), path).times(1));
            let outcome = test.mcp.call(TOOL, wanted()).await;
            let after = state(&test);
            match outcome {
                Err(e) if after != before => {
                    bad.push(format!("{write} {kind:?}: {e}\n{}", difference(&before, &after)))
                }
                Err(_) => failed += 1,
                Ok(_) => bad.extend(lacks(&test).await.into_iter().map(|why| format!("{write} {kind:?}: {why}"))),
            }
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
    assert!(writes.len() >= 8 && failed >= writes.len(), "{failed} of {writes:?} failed");
}

#[tokio::test(start_paused = true)]
async fn what_was_made_stays_where_that_is_wished() {
    let test = start(options()).await;
    let fault = FaultKind::TaskFailure("startup for container failed".to_owned());
    test.sandbox.fault(Fault::new(fault).on(Method::POST, "/nodes/*/lxc/113/status/start").times(1));
    let said = test.fails(TOOL, with(little("t{1..3}"), json!({"on_failure": "keep"}))).await;
    assert!(said.contains("starting t2: ") && said.contains("of 3: 2 done, 1 failed"), "{said}");
    assert_eq!(config(&test, 113).await["hostname"], "t2");
}

#[tokio::test(start_paused = true)]
async fn what_is_as_wanted_stays_and_what_differs_is_changed() {
    let test = cluster().await;
    test.call(TOOL, wanted()).await;
    let said = test.fails(TOOL, wanted()).await;
    assert!(said.contains("there is container 112 (cache01) on ") && said.contains("if_exists: reconcile"), "{said}");
    test.sent.forget();
    let same = with(wanted(), json!({"if_exists": "reconcile", "ssh_keys": []}));
    let outcome = test.call(TOOL, same.clone()).await;
    assert_eq!(test.sent.writes(), Vec::<String>::new(), "{outcome}");
    assert!(outcome["summary"].as_str().unwrap().starts_with("leave as it is cache01 (112, "), "{outcome}");
    let more = json!({
        "name": "cache{01..04}", "cores": 2, "rootfs_gb": 6, "mounts": ["/data=3G", "/log=1G"], "features": "nesting=0",
        "networks": [{"vlan": 30}],
    });
    let outcome = test.call(TOOL, with(same, more)).await;
    assert_eq!(column(&outcome, "address"), ["10.0.0.100", "10.0.0.101", "10.0.0.102", "10.0.0.103"]);
    let config = config(&test, 113).await;
    let text = |key: &str| config[key].as_str().unwrap_or_default().to_owned();
    assert_eq!((&config["cores"], text("features")), (&json!(2), "nesting=0".to_owned()), "{config}");
    assert!(text("rootfs").contains("size=6G") && text("mp0").contains("size=3G"), "{config}");
    assert!(text("mp1").contains("mp=/log") && config["net1"].is_null(), "{config}");
    assert!(text("net0").contains("tag=30") && text("net0").contains("ip=10.0.0.101/24"), "{config}");
    let changes = outcome["changes"].to_string();
    assert!(changes.contains("cache02: cores") && changes.contains("cache02: rootfs size"), "{changes}");
}

#[tokio::test(start_paused = true)]
async fn calls_made_at_once_share_no_vmid_and_no_address() {
    let test = start(options()).await;
    let ip = json!({"ip": ["10.0.0.100-10.0.0.110/24"], "gateway": "10.0.0.1"});
    let call = |name: &str| test.call(TOOL, with(little(name), ip.clone()));
    let (a, b, c) = tokio::join!(call("a{1..3}"), call("b{1..3}"), call("c{1..3}"));
    for key in ["vmid", "address"] {
        let mut all: Vec<String> = [&a, &b, &c].iter().flat_map(|made| column(made, key)).collect();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 9, "{key}: {all:?}");
    }
    let said = test.fails(TOOL, with(little("d{1..3}"), ip)).await;
    assert!(said.starts_with("ip: 3 needed, 2 free; taken: 10.0.0.100 (container "), "{said}");
    let one = json!({"ip": ["10.0.0.105/24"]});
    let said = test.fails(TOOL, with(little("e"), one)).await;
    assert!(said.starts_with("ip: taken: 10.0.0.105 (container ") && said.contains("on pve"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn vmids_come_from_where_they_are_wanted() {
    let test = start(options()).await;
    for (vmid, vmids) in [("200-299", [200, 201]), ("9000-", [9002, 9003]), ("110-120", [112, 113])] {
        let plan = test.call(TOOL, with(little("t{1..2}"), json!({"vmid": vmid, "dry_run": true}))).await;
        let made: Vec<u64> = plan["requests"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|request| request["params"]["vmid"].as_str()?.parse().ok())
            .collect();
        assert_eq!(made, vmids, "{vmid}");
    }
    for (vmid, words) in [
        ("100-111", "vmid: 2 are needed, and 0 free are from 100 to 111"),
        ("110-112", "vmid: 2 are needed, and 1 free is from 110 to 112"),
        ("web", "vmid: expected a VMID"),
    ] {
        let said = test.fails(TOOL, with(little("t{1..2}"), json!({"vmid": vmid}))).await;
        assert!(said.starts_with(words), "{said}");
    }
    let said = test.fails(TOOL, with(little("t"), json!({"vmid": "100"}))).await;
    assert!(said.starts_with("vmid: 100 is taken by VM 100 (web-01) on pve1"), "{said}");
    let range = json!({"method": "PUT", "path": "/cluster/options", "params": {"next-id": "lower=110,upper=114"}, "confirm": true});
    test.call("proxmox-api-write", range).await;
    let said = test.fails(TOOL, little("t{1..3}")).await;
    assert!(said.starts_with("vmid: 3 are needed, and 2 free are in the range of the datacenter's options"), "{said}");
    assert_eq!(column(&test.call(TOOL, little("t{1..2}")).await, "vmid"), ["112", "113"]);
}

#[tokio::test(start_paused = true)]
async fn a_guest_goes_where_there_is_room_and_its_template() {
    let test = start(options()).await;
    let local = json!({"node": "pve3", "file_path": "debian.tar.zst", "storage": "local", "confirm": true});
    test.call("proxmox-upload-template", local).await;
    let nodes = |made: &Value| column(made, "node").join(" ");
    let made = test.call(TOOL, with(little("own{1..2}"), json!({"ostemplate": "debian.tar.zst"}))).await;
    assert_eq!(nodes(&made), "pve3 pve3");
    let said = test.fails(TOOL, with(little("x"), json!({"ostemplate": "debian.tar.zst", "node": "pve1"}))).await;
    assert!(said.contains("debian.tar.zst"), "{said}");
    // Each takes half of what a node has: no two go to one.
    let large = json!({"rootfs_gb": 500, "storage": "local-lvm"});
    let made = test.call(TOOL, with(little("large{1..3}"), large.clone())).await;
    let mut each = column(&made, "node");
    each.sort();
    assert_eq!(each, ["pve1", "pve2", "pve3"]);
    let said = test.fails(TOOL, with(little("more"), json!({"rootfs_gb": 900, "storage": "local-lvm"}))).await;
    assert!(said.starts_with("node: none has room for it: pve1: "), "{said}");
    let said = test.fails(TOOL, with(little("more"), json!({"storage": "fast"}))).await;
    assert!(said.contains("no storage 'fast' that takes content 'rootdir'"), "{said}");
    test.sandbox.fault(Fault::new(FaultKind::OfflineNode("pve1".to_owned())).times(1));
    assert_ne!(nodes(&test.call(TOOL, little("small")).await), "pve1");
    let said = test.fails(TOOL, with(little("more"), json!({"node": "pve1"}))).await;
    assert!(said.starts_with("node: pve1 is offline"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn bad_input_is_told_by_field() {
    let test = start(options()).await;
    for (more, words) in [
        (json!({"run": ["apt-get update"]}), "run: Proxmox's API runs no commands in containers"),
        (json!({"ostemplate": "windows"}), "ostemplate: no template in the index fits 'windows'"),
        (json!({"ostemplate": "local:vztmpl/none.tar.zst"}), "ostemplate: there is no local:vztmpl/none.tar.zst"),
        (json!({"ostemplate": ""}), "ostemplate: missing"),
        (json!({"name": "web_1"}), "name: 'web_1' is no name for a guest"),
        (json!({"name": "web-01"}), "name: 'web-01' is taken by VM 100 (web-01)"),
        (json!({"ip": ["10.0.0.5"]}), "ip: expected dhcp, an address"),
        (json!({"ip": ["10.0.0.5/24"], "gateway": "10.0.9.1"}), "gateway: 10.0.9.1 is not in the network 10.0.0.0/24"),
        (json!({"gateway": "10.0.0.1"}), "gateway: only with a fixed address"),
        (json!({"name": "t{1..2}", "ip": ["10.0.0.5/24"]}), "ip: 1 addresses for 2 guests"),
        (json!({"mounts": ["data"]}), "mounts: expected '/data=20G'"),
        (json!({"networks": [{"bridge": "vmbr0", "model": "virtio"}]}), "networks: containers' devices have no model"),
        (json!({"backup_job": "none"}), "backup_job: "),
    ] {
        let said = test.fails(TOOL, with(little("t"), more.clone())).await;
        assert!(said.starts_with(words), "{more}: {said}");
    }
    assert_eq!(test.sent.writes(), Vec::<String>::new());
}
