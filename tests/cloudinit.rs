//! Cloud-init: options, the drive of a running VM, and what needs a snippet.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use serde_json::{Value, json};
use support::{Test, options, start};

const SET: &str = "proxmox-cloudinit-set";
const ADVANCED: &str = "proxmox-configure-cloudinit-advanced";
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICWBFD79BkRJbzud0NCHkaPMJ8MZpOmPbR6v8vh3qDQ+ alice at home";
const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICWBFD79BkRJbzud0NCHkaPMJ8MZpOmPbR6v8vh3qDQ/ bob@example.test";

async fn config(test: &Test, vmid: u32) -> Value {
    test.call("proxmox-vm-info", json!({"vmid": vmid})).await["config"].clone()
}

fn all(outcome: &Value, field: &str) -> String {
    outcome[field].as_array().map(|all| all.iter().map(Value::to_string).collect()).unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn options_are_set_and_the_password_is_never_shown() {
    let test = start(options()).await;
    let asked = json!({"vmid": 9000, "ciuser": "ops", "cipassword": "hunter2hunter2", "ipconfig0": "ip=10.0.0.60/24,gw=10.0.0.1",
        "ipconfig": {"1": "dhcp"}, "sshkeys": format!("# keys\n{KEY}\n{OTHER}\n"), "nameserver": "10.0.0.1 10.0.0.2",
        "searchdomain": "example.test", "ciupgrade": false, "citype": "nocloud", "confirm": true});
    let done = test.call(SET, asked).await;
    assert_eq!((&done["state"], &done["about"]["drive"]), (&json!("done"), &json!("ide2")));
    assert!(!done.to_string().contains("hunter2"), "{done}");
    assert!(done["changes"].as_array().unwrap().contains(&json!({"key": "cipassword", "new": "********"})), "{done}");
    let now = config(&test, 9000).await;
    assert_eq!((&now["ciuser"], &now["ipconfig1"], &now["ciupgrade"]), (&json!("ops"), &json!("ip=dhcp"), &json!(0)));
    assert_eq!(now["ipconfig0"], "ip=10.0.0.60/24,gw=10.0.0.1");
    assert_eq!(now["cipassword"], "**********");
    let keys = now["sshkeys"].as_str().unwrap();
    assert!(keys.contains("%2B%20alice%20at%20home%0Assh-ed25519%20") && !keys.contains('+'), "{keys}");
    assert_eq!(test.sent.writes(), ["PUT /nodes/pve1/qemu/9000/config"], "a template has nothing to renew");
}

#[tokio::test(start_paused = true)]
async fn empty_text_unsets_and_a_dry_run_sends_nothing() {
    let test = start(options()).await;
    test.call(SET, json!({"vmid": 9000, "sshkeys": [KEY], "confirm": true})).await;
    test.sent.forget();
    let asked = json!({"vmid": 9000, "ciuser": "", "sshkeys": [], "ipconfig0": ""});
    let plan = test.call(SET, asked.clone()).await;
    assert_eq!(plan["state"], "needs_confirmation");
    assert_eq!(plan["requests"][0]["params"]["delete"], "ipconfig0,sshkeys,ciuser");
    assert!(all(&plan, "changes").contains("alice at home"), "keys are shown as they are written: {plan}");
    assert_eq!(test.sent.writes(), Vec::<String>::new());
    let mut asked = asked;
    asked["confirm"] = json!(true);
    test.call(SET, asked).await;
    let now = config(&test, 9000).await;
    assert!(now["ciuser"].is_null() && now["sshkeys"].is_null() && now["ipconfig0"].is_null(), "{now}");
}

#[tokio::test(start_paused = true)]
async fn a_running_vm_gets_its_drive_renewed_and_is_said_to_need_a_restart() {
    let test = start(options()).await;
    test.sandbox.by_hand().set(100, "ide0", Some("local-lvm:vm-100-cloudinit,media=cdrom,size=4M"));
    let done = test.call(SET, json!({"vmid": 100, "ipconfig0": "dhcp,auto", "confirm": true})).await;
    assert_eq!(test.sent.writes(), ["PUT /nodes/pve1/qemu/100/config", "PUT /nodes/pve1/qemu/100/cloudinit"]);
    assert!(all(&done, "warnings").contains("restart it"), "{done}");
    assert_eq!(config(&test, 100).await["ipconfig0"], "ip=dhcp,ip6=auto");
}

#[tokio::test(start_paused = true)]
async fn a_vm_without_a_drive_is_warned_of() {
    let test = start(options()).await;
    let plan = test.call(SET, json!({"vmid": 107, "ciuser": "ops", "dry_run": true})).await;
    assert!(all(&plan, "warnings").contains("has no cloud-init drive"), "{plan}");
    let drive = json!({"vmid": 107, "params": {"ide0": "local-lvm:cloudinit"}, "confirm": true, "wait": true});
    test.call("proxmox-configure-vm", drive).await;
    let plan = test.call(SET, json!({"vmid": 107, "ciuser": "ops", "dry_run": true})).await;
    assert_eq!((&plan["about"]["drive"], &plan["warnings"]), (&json!("ide0"), &Value::Null));
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_is_refused_before_anything_is_sent() {
    let test = start(options()).await;
    for (wrong, words) in [
        (json!({"ipconfig0": "ip=10.0.0.5"}), "ipconfig0: expected ip=dhcp or ip=ADDRESS/PREFIX, got ip=10.0.0.5"),
        (json!({"ipconfig0": "ip=10.0.0.500/24"}), "ipconfig0.ip: invalid format"),
        (json!({"ipconfig0": "ip=10.0.0.5/24,gateway=10.0.0.1"}), "ipconfig0.gateway: property is not defined"),
        (json!({"ipconfig": {"40": "dhcp"}}), "ipconfig: expected the number of a NIC from 0 to 31, got '40'"),
        (json!({"sshkeys": [KEY, "ssh-rsa AAAAgarbage x"]}), "sshkeys: key 2: "),
        (json!({"sshkeys": "-----BEGIN OPENSSH PRIVATE KEY-----"}), "that is a private key"),
        (json!({"citype": "nocluod"}), "citype: value 'nocluod' does not have a value in the enumeration"),
        (json!({"cicustom": "user=/etc/passwd"}), "cicustom.user: invalid format - unable to parse volume ID"),
        (json!({"nameserver": "8.8.8.8 no_such!"}), "nameserver: invalid format"),
        (json!({}), "nothing to set"),
    ] {
        let mut asked = json!({"vmid": 9000, "confirm": true});
        asked.as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
        let said = test.fails(SET, asked).await;
        assert!(said.contains(words), "{wrong}: {said}");
    }
    assert_eq!(test.sent.writes(), Vec::<String>::new());
    let plan = json!({"vmid": 9000, "ipconfig0": "ip=10.0.0.5/24,gw=10.0.1.1", "dry_run": true});
    assert!(all(&test.call(SET, plan).await, "warnings").contains("10.0.1.1 is not in the network of 10.0.0.5/24"));
}

#[tokio::test(start_paused = true)]
async fn what_proxmox_has_options_for_needs_no_snippet() {
    let test = start(options()).await;
    let asked = json!({"vmid": 9001, "users": [{"name": "deploy", "ssh_keys": KEY, "password": "hunter2hunter2"}],
        "network_config": {"ip": "10.0.0.9/24", "gateway": "10.0.0.1", "dns": ["10.0.0.1", "10.0.0.2"], "search": "example.test"},
        "confirm": true});
    let done = test.call(ADVANCED, asked).await;
    assert!(!done.to_string().contains("hunter2"), "{done}");
    let now = config(&test, 9001).await;
    assert_eq!((&now["ciuser"], &now["nameserver"]), (&json!("deploy"), &json!("10.0.0.1 10.0.0.2")));
    assert_eq!(
        (&now["ipconfig0"], &now["searchdomain"]),
        (&json!("ip=10.0.0.9/24,gw=10.0.0.1"), &json!("example.test"))
    );
    assert!(now["sshkeys"].as_str().unwrap().contains("alice") && now["cicustom"].is_null());
}

#[tokio::test(start_paused = true)]
async fn what_it_has_none_for_is_rendered_for_the_operator_to_store() {
    let test = start(options()).await;
    let mut asked = json!({"vmid": 9000, "packages": ["nginx"], "commands": ["echo \"hi: there\" > /etc/motd"],
        "users": ["ops", {"name": "web", "sudo": true, "password": "hunter2hunter2", "ssh_keys": [KEY]}],
        "files": [{"path": "/etc/x", "content": "a\nb\n", "permissions": "0644"}], "confirm": true});
    let said = test.fails(ADVANCED, asked.clone()).await;
    assert!(
        said.starts_with("user_snippet: missing") && said.contains("local:snippets/debian-12-cloud.yaml"),
        "{said}"
    );
    let yaml = "#cloud-config\nhostname: debian-12-cloud\nmanage_etc_hosts: true\nusers:\n  - name: \"ops\"\n    shell: \"/bin/bash\"\n  \
                - name: \"web\"\n    sudo: \"ALL=(ALL) NOPASSWD:ALL\"\n    shell: \"/bin/bash\"\n    ssh_authorized_keys:\n      - ";
    assert!(said.contains(yaml), "{said}");
    assert!(
        said.contains("packages:\n  - \"nginx\"\n") && said.contains("  - \"echo \\\"hi: there\\\" > /etc/motd\""),
        "{said}"
    );
    assert!(said.contains("content: \"a\\nb\\n\"\n    permissions: \"0644\"") && !said.contains("hunter2"), "{said}");
    assert_eq!(test.sent.writes(), Vec::<String>::new());

    asked["user_snippet"] = json!("local:snippets/web.yaml");
    asked["dry_run"] = json!(true);
    let plan = test.call(ADVANCED, asked.clone()).await;
    assert!(
        all(&plan, "warnings").contains("is not among the snippets") && all(&plan, "warnings").contains("passwords")
    );
    assert_eq!(plan["changes"], json!([{"key": "cicustom", "new": "user=local:snippets/web.yaml"}]));
    asked["dry_run"] = json!(false);
    let done = test.call(ADVANCED, asked).await;
    assert!(
        done["about"]["user_data"].as_str().unwrap().starts_with("#cloud-config\n")
            && !done.to_string().contains("hunter2")
    );
    assert_eq!(config(&test, 9000).await["cicustom"], "user=local:snippets/web.yaml");
    let plan = test.call(SET, json!({"vmid": 9000, "ciuser": "x", "dry_run": true})).await;
    assert!(all(&plan, "warnings").contains("they have no effect"), "{plan}");
}

#[tokio::test(start_paused = true)]
async fn packages_alone_leave_user_and_keys_in_the_file() {
    let test = start(options()).await;
    test.call(SET, json!({"vmid": 9000, "sshkeys": [KEY], "confirm": true})).await;
    let said = test.fails(ADVANCED, json!({"vmid": 9000, "packages": ["nginx"], "confirm": true})).await;
    assert!(said.contains("user: \"admin\"\nssh_authorized_keys:\n  - \"ssh-ed25519 "), "{said}");
    for (wrong, words) in [
        (json!({"users": [{"nmae": "x"}]}), "users[0]: unknown field `nmae`"),
        (json!({"files": [{"path": "/x"}]}), "files[0]: missing field `content`"),
        (json!({"network_config": {"mtu": "9000"}}), "network_config: unknown key 'mtu'"),
        (json!({"packages": ["x"], "user_snippet": "web.yaml"}), "user_snippet: expected a volume"),
    ] {
        let mut asked = json!({"vmid": 9000, "confirm": true});
        asked.as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
        let said = test.fails(ADVANCED, asked).await;
        assert!(said.contains(words), "{wrong}: {said}");
    }
}
