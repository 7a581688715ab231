//! What a node tells of its system.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use serde_json::json;
use support::{options, start};

#[tokio::test(start_paused = true)]
async fn services_are_counted_by_state() {
    let test = start(options()).await;
    let found = test.call("proxmox-list-services", json!({"node": "pve2"})).await;
    assert_eq!((&found["node"], &found["counts"]["running"]), (&json!("pve2"), &json!(21)));
    let proxy = found["services"].as_array().unwrap().iter().find(|s| s["service"] == "pveproxy").unwrap();
    assert_eq!((&proxy["state"], proxy["unit"].is_null()), (&json!("running"), true));
    let said = test.fails("proxmox-list-services", json!({"node": "pve9"})).await;
    assert!(said.contains("hostname lookup 'pve9' failed"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn disks_are_listed_with_health_and_one_with_its_attributes() {
    let test = start(options()).await;
    let found = test.call("proxmox-list-node-disks", json!({"node": "pve1"})).await;
    let disks = found["disks"].as_array().unwrap();
    assert_eq!((&disks[0]["disk"], &disks[0]["life_left_percent"]), (&json!("/dev/nvme0n1"), &json!(97)));
    assert_eq!(
        (&disks[1]["health"], disks[1]["life_left_percent"].is_null(), &disks[1]["rpm"]),
        (&json!("PASSED"), true, &json!(7200))
    );
    let one = test.call("proxmox-list-node-disks", json!({"node": "pve1", "disk": "/dev/sda"})).await;
    assert_eq!(
        (&one["smart"]["health"], &one["attributes"][0]["name"]),
        (&json!("PASSED"), &json!("Raw_Read_Error_Rate"))
    );
    let nvme = test.call("proxmox-list-node-disks", json!({"node": "pve1", "disk": "/dev/nvme0n1"})).await;
    assert!(nvme["smart"]["text"].as_str().unwrap().contains("Percentage Used"), "{nvme}");
    let said = test.fails("proxmox-list-node-disks", json!({"node": "pve1", "disk": "sda"})).await;
    assert!(said.contains("expected a device as in /dev/sda"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn updates_tell_old_and_new_versions_and_of_a_new_kernel() {
    let test = start(options()).await;
    let found = test.call("proxmox-list-updates", json!({"node": "pve1"})).await;
    assert_eq!(found["total"], 3);
    assert_eq!(
        (&found["updates"][2]["package"], &found["updates"][2]["old_version"]),
        (&json!("pve-manager"), &json!("9.2.11"))
    );
    assert!(found["note"].as_str().unwrap().contains("reboot"), "{found}");
}

#[tokio::test(start_paused = true)]
async fn certificates_tell_the_days_that_are_left() {
    let test = start(options()).await;
    let found = test.call("proxmox-list-certificates", json!({"node": "pve1"})).await;
    assert_eq!(found["total"], 2);
    let own = &found["certificates"][1];
    assert_eq!(own["filename"], "pve-ssl.pem");
    let days = own["days_left"].as_i64().unwrap();
    assert!((600..730).contains(&days), "{days}");
    assert!(own["names"].to_string().contains("10.0.0.11") && own["pem"].is_null(), "{own}");
    assert_eq!(own["key"], "rsaEncryption 2048");
}

#[tokio::test(start_paused = true)]
async fn the_journal_comes_packed_and_its_last_lines_are_shown() {
    let test = start(options()).await;
    let last = test.call("proxmox-node-journal", json!({"node": "pve1", "last": 5})).await;
    let lines = last["lines"].as_array().unwrap();
    assert_eq!(lines.len(), 5);
    assert!(lines.iter().all(|line| line.as_str().unwrap().contains(" pve1 ")), "{last}");
    let hour = test.call("proxmox-node-journal", json!({"node": "pve1", "since": 1_800_000_000 - 3600})).await;
    assert_eq!(hour["total"], 7);
    test.call("proxmox-start-vm", json!({"name": "win11-test", "wait": true})).await;
    let found = test.call("proxmox-node-journal", json!({"node": "pve1", "search": "QMSTART:106"})).await;
    assert_eq!(found["total"], 2, "{found}");
}
