//! Options of VMs and containers: objects edit, strings replace, what is wrong is refused before anything is sent.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::time::Duration;

use proxmox_mcp::{config::Auth, sandbox::Sandbox};
use serde_json::{Value, json};
use support::{Test, options, start};

const VM: &str = "proxmox-configure-vm";
const LXC: &str = "proxmox-configure-lxc";

/// The configuration as it will be.
async fn config(test: &Test, vmid: u32) -> Value {
    let tool = if (108..112).contains(&vmid) { "proxmox-lxc-info" } else { "proxmox-vm-info" };
    test.call(tool, json!({"vmid": vmid})).await["config"].clone()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// As [`text`], of all warnings.
fn warnings(outcome: &Value) -> String {
    outcome["warnings"].as_array().map(|all| all.iter().map(text).collect::<Vec<_>>().join("\n")).unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn a_stopped_vm_takes_everything_at_once() {
    let test = start(options()).await;
    let params = json!({"memory": 8192, "cores": "4", "onboot": true, "tablet": "no", "tags": ["ops", "Lab"], "description": "a=b;c&d\nü"});
    let done = test.call(VM, json!({"vmid": 107, "params": params, "confirm": true})).await;
    assert_eq!(done["state"], "done");
    assert_eq!(
        done["result"],
        json!({"stored": {"tags": "lab;ops"}}),
        "nothing is pending, and the tags were put in order"
    );
    let now = config(&test, 107).await;
    assert_eq!((text(&now["memory"]), &now["cores"], &now["onboot"]), ("8192", &json!(4), &json!(1)));
    assert_eq!((&now["tablet"], text(&now["description"])), (&json!(0), "a=b;c&d\nü"));
    assert_eq!(test.sent.writes(), ["PUT /nodes/pve2/qemu/107/config"]);
}

#[tokio::test(start_paused = true)]
async fn a_running_vm_says_what_it_took_and_what_waits_for_a_restart() {
    let test = start(options()).await;
    let done = test.call(VM, json!({"vmid": 100, "params": {"cores": 4, "name": "web-1"}, "confirm": true})).await;
    assert_eq!(done["result"]["applied"], json!(["name"]));
    assert_eq!(done["result"]["pending"], json!({"cores": "4"}));
    assert!(text(&done["result"]["note"]).contains("restart"));
    let reverted = test.call(VM, json!({"vmid": 100, "revert": ["cores"], "confirm": true})).await;
    assert_eq!(reverted["result"], json!({"applied": ["cores"]}));
    assert_eq!(config(&test, 100).await["cores"], 2);
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_shows_the_difference_and_sends_nothing() {
    let test = start(options()).await;
    let plan = test.call(VM, json!({"vmid": 100, "params": {"cores": 4, "memory": 4096}, "dry_run": true})).await;
    assert_eq!(plan["changes"], json!([{"key": "cores", "old": "2", "new": "4"}]), "memory is 4096 already");
    assert!(plan["requests"][0]["params"]["digest"].is_string());
    let asked = test.call(VM, json!({"vmid": 100, "params": {"cores": 4}})).await;
    assert_eq!(asked["state"], "needs_confirmation");
    assert_eq!(test.sent.writes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn an_object_changes_only_the_keys_it_names() {
    let test = start(options()).await;
    let before = config(&test, 100).await;
    let mac = text(&before["net0"]).split(['=', ',']).nth(1).unwrap().to_owned();
    let params = json!({"net0": {"bridge": "vmbr1", "tag": 20, "trunks": [30, 31], "firewall": null},
        "agent": {"fstrim_cloned_disks": true}, "scsi0": {"discard": null, "ssd": true}});
    test.call(VM, json!({"vmid": 100, "params": params, "confirm": true})).await;
    let now = config(&test, 100).await;
    assert_eq!(text(&now["net0"]), format!("virtio={mac},bridge=vmbr1,tag=20,trunks=30;31"));
    assert_eq!(text(&now["agent"]), "enabled=1,fstrim_cloned_disks=1");
    assert_eq!(text(&now["scsi0"]), "nas:100/vm-100-disk-0.qcow2,iothread=1,size=32G,ssd=1");
}

#[tokio::test(start_paused = true)]
async fn a_network_card_keeps_its_address_whatever_else_changes() {
    let test = start(options()).await;
    let before = config(&test, 107).await;
    let mac = text(&before["net0"]).split(['=', ',']).nth(1).unwrap().to_owned();
    for (given, kept) in [
        (json!("virtio,bridge=vmbr1"), format!("virtio={mac},bridge=vmbr1")),
        (json!("model=e1000,bridge=vmbr0,firewall=1"), format!("e1000={mac},bridge=vmbr0,firewall=1")),
        (json!({"model": "virtio"}), format!("virtio={mac},bridge=vmbr0,firewall=1")),
        (json!({"virtio": "BC:24:11:00:00:0A"}), "virtio=BC:24:11:00:00:0A,bridge=vmbr0,firewall=1".to_owned()),
    ] {
        let done = test.call(VM, json!({"vmid": 107, "params": {"net0": given}, "confirm": true})).await;
        assert_eq!(text(&config(&test, 107).await["net0"]), kept, "{given}");
        assert_eq!(warnings(&done).contains("keeps its MAC address"), given.is_string(), "{given}: {done}");
    }
    let done = test
        .call(LXC, json!({"vmid": 111, "params": {"net0": "name=eth0,bridge=vmbr1,ip=dhcp"}, "confirm": true}))
        .await;
    assert!(warnings(&done).contains("hwaddr=…"), "{done}");
    let net0 = config(&test, 111).await["net0"].clone();
    assert!(text(&net0).contains("bridge=vmbr1") && text(&net0).contains("hwaddr=BC:24:11:"), "{net0}");
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_is_named_and_nothing_is_sent() {
    let test = start(options()).await;
    for (params, words) in [
        (json!({"memroy": 1024}), "did you mean 'memory'"),
        (json!({"nett1": "virtio"}), "did you mean 'net1'"),
        (json!({"net0": {"brigde": "vmbr1"}}), "net0: there is no key 'brigde'\nhint: did you mean 'bridge'"),
        (json!({"net40": "virtio"}), "a VM has no option 'net40'"),
        (json!({"cores": "many"}), "cores: type check ('integer') failed - got 'many'"),
        (json!({"memory": 4}), "memory.current: value must have a minimum value of 16"),
        (json!({"net0": {"tag": 5000}}), "net0.tag: value must have a maximum value of 4094"),
        (json!({"net1": "bridge=vmbr0"}), "net1.model: property is missing"),
        (json!({"onboot": "perhaps"}), "onboot: type check ('boolean') failed - got 'perhaps'"),
        (json!({"name": {"a": 1}}), "name: expected one value, not an object"),
        (json!({"node": "pve2"}), "a VM has no option 'node'"),
        (json!({"delete": "cores", "cores": 4}), "cores: cannot be set and deleted"),
        (json!({"force": true, "cores": 4}), "'force' requires this property"),
        (json!({}), "nothing to change"),
    ] {
        let said = test.fails(VM, json!({"vmid": 100, "params": params, "confirm": true})).await;
        assert!(said.contains(words), "{params}: {said}");
    }
    let said = test.fails(VM, json!({"vmid": 100, "delete": ["nosuch"], "confirm": true})).await;
    assert!(said.contains("no option 'nosuch'"), "{said}");
    let said = test.fails(LXC, json!({"vmid": 108, "params": {"balloon": 1}, "confirm": true})).await;
    assert!(said.contains("a container has no option 'balloon'"), "{said}");
    assert_eq!(test.sent.writes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_change_in_between_is_refused_and_reported() {
    let test = start(options()).await;
    let held = test.sandbox.by_hand().hold_lock(107).await;
    let asked = json!({"vmid": 107, "params": {"cores": 4}, "confirm": true});
    let meanwhile = async {
        // The request waits for the lock that somebody holds, who changes the VM.
        tokio::time::sleep(Duration::from_secs(3)).await;
        test.sandbox.by_hand().set(107, "sockets", Some("2"));
        drop(held);
    };
    let (said, ()) = tokio::join!(test.fails(VM, asked.clone()), meanwhile);
    assert!(said.contains("checksum mismatch (file change by other user?)"), "{said}");
    assert!(said.contains("changed it since it was read"), "{said}");
    assert_eq!(config(&test, 107).await["cores"], 1, "as it was");
    test.call(VM, asked).await;
    assert_eq!(config(&test, 107).await["cores"], 4);
}

#[tokio::test(start_paused = true)]
async fn a_digest_that_is_given_is_the_one_that_counts() {
    let test = start(options()).await;
    let old = config(&test, 111).await["digest"].clone();
    let with = |digest: &Value| json!({"vmid": 111, "params": {"cores": 2, "digest": digest}, "confirm": true});
    test.call(LXC, with(&old)).await;
    let said = test.fails(LXC, with(&old)).await;
    assert!(said.contains("detected modified configuration - file changed by other user?"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn new_disks_are_made_in_a_task_and_removed_in_two_steps() {
    let test = start(options()).await;
    let done =
        test.call(VM, json!({"vmid": 107, "params": {"scsi1": "nas:8,ssd=1"}, "confirm": true, "wait": true})).await;
    assert_eq!((&done["state"], &done["exitstatus"]), (&json!("done"), &json!("OK")));
    assert_eq!(text(&done["result"]["stored"]["scsi1"]), "nas:107/vm-107-disk-0.raw,size=8G,ssd=1");
    assert_eq!(test.sent.writes(), ["POST /nodes/pve2/qemu/107/config"]);
    let running = test.call(VM, json!({"vmid": 107, "params": {"scsi2": {"file": "nas:1"}}, "confirm": true})).await;
    assert_eq!(running["state"], "running");
    test.call("proxmox-wait-task", json!({"upid": running["upid"]})).await;

    let done = test.call(VM, json!({"vmid": 107, "delete": ["scsi1"], "confirm": true})).await;
    assert!(warnings(&done).contains("scsi1: the volume nas:107/vm-107-disk-0.raw stays, as an unused disk"), "{done}");
    assert_eq!(config(&test, 107).await["unused0"], "nas:107/vm-107-disk-0.raw");
    let plan = test.call(VM, json!({"vmid": 107, "params": {"unused0": null}, "dry_run": true})).await;
    assert!(warnings(&plan).contains("is destroyed with all that is on it"), "{plan}");
    assert_eq!(plan["requests"][0]["method"], "POST");
    test.call(VM, json!({"vmid": 107, "params": {"unused0": null}, "confirm": true, "wait": true})).await;
    assert!(config(&test, 107).await["unused0"].is_null());
}

#[tokio::test(start_paused = true)]
async fn a_device_of_the_boot_order_is_missed_there() {
    let test = start(options()).await;
    let done = test.call(VM, json!({"vmid": 107, "delete": "net0,scsi0", "confirm": true})).await;
    assert!(
        warnings(&done).contains("scsi0 leaves the boot order") && warnings(&done).contains("net0 leaves"),
        "{done}"
    );
    assert_eq!(config(&test, 107).await["boot"], "order=ide2");
    let done = test.call(VM, json!({"vmid": 107, "params": {"boot": ["ide2"]}, "confirm": true})).await;
    assert_eq!(done["state"], "done");
    let said = test.fails(VM, json!({"vmid": 107, "params": {"boot": "order=scsi9"}, "confirm": true})).await;
    assert!(said.contains("invalid bootorder: device 'scsi9' does not exist"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn what_is_root_s_alone_is_a_problem_for_a_token_and_not_for_root() {
    let test = start(options()).await;
    let asked = json!({"vmid": 107, "params": {"args": "-device foo", "hostpci0": "0000:01:00.0"}, "dry_run": true});
    let plan = test.call(VM, asked.clone()).await;
    let problems: Vec<&str> = plan["problems"].as_array().unwrap().iter().map(text).collect();
    assert!(problems.iter().any(|p| p.starts_with("args: only root@pam")) && problems.len() == 2, "{problems:?}");
    let said = test.fails(VM, json!({"vmid": 107, "params": {"args": "-device foo"}, "confirm": true})).await;
    assert!(said.contains("args: only root@pam with its password"), "{said}");
    assert_eq!(test.sent.writes(), Vec::<String>::new());
    let plan = test
        .call(VM, json!({"vmid": 107, "params": {"usb0": "mapping=key", "serial0": "socket"}, "dry_run": true}))
        .await;
    assert!(plan["problems"].is_null(), "{plan}");

    let sandbox = Sandbox::new(options());
    let who = sandbox.credentials();
    let auth = Auth::Password { username: who.username.clone(), password: who.password.clone(), totp: None };
    let config = support::config(&sandbox, auth);
    let test = support::with(sandbox, config).await;
    assert!(test.call(VM, asked).await["problems"].is_null());
    test.sandbox.by_hand().set(107, "lock", Some("backup"));
    test.call(VM, json!({"vmid": 107, "delete": ["lock"], "params": {"skiplock": true}, "confirm": true})).await;
    test.call(VM, json!({"vmid": 107, "params": {"args": "-device foo"}, "confirm": true})).await;
}

#[tokio::test(start_paused = true)]
async fn a_locked_guest_is_a_problem_before_anything_is_sent() {
    let test = start(options()).await;
    test.sandbox.by_hand().set(107, "lock", Some("backup"));
    let said = test.fails(VM, json!({"vmid": 107, "params": {"cores": 4}, "confirm": true})).await;
    assert!(said.contains("is locked (backup)"), "{said}");
    assert_eq!(test.sent.writes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_running_container_is_configured_and_says_what_waits() {
    let test = start(options()).await;
    let params = json!({"memory": 1024, "nameserver": ["1.1.1.1", "9.9.9.9"], "features": {"nesting": true}});
    let done = test.call(LXC, json!({"name": "pihole", "params": params, "confirm": true})).await;
    assert_eq!(done["result"]["pending"]["nameserver"], "1.1.1.1 9.9.9.9");
    assert!(done["result"]["applied"].as_array().unwrap().contains(&json!("memory")), "{done}");
    assert_eq!(config(&test, 108).await["memory"], 1024);
    let said = test.fails(LXC, json!({"vmid": 107, "params": {"cores": 4}, "confirm": true})).await;
    assert!(said.contains("VM"), "another kind of guest: {said}");
}

#[tokio::test(start_paused = true)]
async fn passwords_and_keys_are_sent_as_proxmox_wants_them_and_not_shown() {
    let test = start(options()).await;
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICWBFD79BkRJbzud0NCHkaPMJ8MZpOmPbR6v8vh3qDQ+ alice at home";
    let params = json!({"cipassword": "hunter2hunter2", "sshkeys": [key]});
    let done = test.call(VM, json!({"vmid": 9000, "params": params, "confirm": true})).await;
    assert!(!done.to_string().contains("hunter2"), "{done}");
    assert!(done["changes"].as_array().unwrap().contains(&json!({"key": "sshkeys", "new": key})), "{done}");
    assert!(text(&config(&test, 9000).await["sshkeys"]).contains("%2B%20alice%20at%20home"));
}
