//! Container templates: the index, and downloading from it.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use serde_json::{Value, json};
use support::{options, start};

fn names(list: &Value) -> Vec<&str> {
    list["templates"].as_array().unwrap().iter().map(|t| t["template"].as_str().unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn the_index_is_listed_with_what_is_here_already() {
    let test = start(options()).await;
    let list = test.call("proxmox-list-os-templates", json!({"search": "debian-12-standard"})).await;
    assert_eq!(names(&list), ["debian-12-standard_12.12-1_amd64.tar.zst", "debian-12-standard_12.7-1_amd64.tar.zst"]);
    assert_eq!(list["templates"][1]["downloaded"], json!(["local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst"]));
    assert!(list["templates"][0]["downloaded"].is_null());
    let all = test.call("proxmox-list-os-templates", json!({"node": "pve2", "limit": 3})).await;
    assert!(all["total"].as_u64().unwrap() > 10 && names(&all).len() == 3 && all["next_cursor"].is_string(), "{all}");
    let nas = test.call("proxmox-list-os-templates", json!({"storage": "nas", "search": "alpine"})).await;
    assert!(nas["templates"].as_array().unwrap().iter().all(|t| t["downloaded"].is_null()), "{nas}");
}

#[tokio::test(start_paused = true)]
async fn what_is_here_and_in_no_index_is_listed_too() {
    let test = start(options()).await;
    let upload = json!({"node": "pve1", "storage": "nas", "file_path": "debian.tar.zst", "confirm": true});
    test.call("proxmox-upload-template", upload).await;
    let list = test.call("proxmox-list-os-templates", json!({"node": "pve1"})).await;
    assert_eq!(list["others"], json!(["nas:vztmpl/debian.tar.zst"]));
}

#[tokio::test(start_paused = true)]
async fn part_of_a_name_downloads_the_newest() {
    let test = start(options()).await;
    let given = json!({"template_name": "debian-12", "node": "pve1", "storage": "nas", "confirm": true});
    let done = test.call("proxmox-download-os-template", given).await;
    assert_eq!((&done["state"], &done["exitstatus"]), (&json!("done"), &json!("OK")));
    assert_eq!(done["about"]["volid"], "nas:vztmpl/debian-12-standard_12.12-1_amd64.tar.zst");
    let list =
        test.call("proxmox-list-os-templates", json!({"node": "pve3", "search": "debian-12-standard_12.12"})).await;
    assert_eq!(list["templates"][0]["downloaded"], json!(["nas:vztmpl/debian-12-standard_12.12-1_amd64.tar.zst"]));
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_names_the_template_and_downloads_nothing() {
    let test = start(options()).await;
    let given = json!({"template_name": "alpine-3.20", "node": "pve1", "storage": "local", "verify_checksum": false, "dry_run": true});
    let plan = test.call("proxmox-download-os-template", given).await;
    assert_eq!(plan["requests"][0]["path"], "/nodes/pve1/aplinfo");
    let warnings = plan["warnings"].to_string();
    assert!(warnings.contains("exists: kept") && warnings.contains("in any case"), "{plan}");
    assert!(test.sent.writes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_name_that_fits_several_or_none_is_refused_with_what_there_is() {
    let test = start(options()).await;
    let given = |name: &str| json!({"template_name": name, "node": "pve1", "storage": "local", "confirm": true});
    let said = test.fails("proxmox-download-os-template", given("linux")).await;
    assert!(said.contains("several kinds") && said.contains("rockylinux-9"), "{said}");
    let said = test.fails("proxmox-download-os-template", given("windows")).await;
    assert!(said.contains("no template in the index"), "{said}");
    assert!(test.sent.writes().is_empty());
}
