//! Notes and tags of guests.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{Test, options, start};

async fn tags(test: &Test, vmid: u32) -> String {
    let info = test.call("proxmox-vm-info", json!({"vmid": vmid})).await;
    info["config"]["tags"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(start_paused = true)]
async fn notes_are_written_read_appended_to_and_removed() {
    let test = start(options()).await;
    let empty = test.call("proxmox-vm-notes-read", json!({"vmid": 107})).await;
    assert_eq!((&empty["format"], &empty["notes"]), (&json!("none"), &json!("")));
    let write = |more: Value| {
        let mut asked = json!({"vmid": 107, "confirm": true});
        asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        test.call("proxmox-vm-notes-update", asked)
    };
    let first = write(json!({"content": "# Sandbox\n100% a+b&c=d; ü"})).await;
    assert!(first["result"].is_null(), "there were none before: {first}");
    let second = write(json!({"content": "- more", "mode": "append"})).await;
    assert_eq!(second["result"]["backup_notes"], "# Sandbox\n100% a+b&c=d; ü");
    let read = test.call("proxmox-vm-notes-read", json!({"vmid": 107})).await;
    assert_eq!((&read["format"], &read["notes"]), (&json!("markdown"), &json!("# Sandbox\n100% a+b&c=d; ü\n- more")));
    let third = write(json!({"content": "<b>new</b>", "format": "html", "backup": false})).await;
    assert!(third["result"].is_null(), "{third}");
    let plain = test.call("proxmox-vm-notes-read", json!({"vmid": 107, "format": "plain"})).await;
    assert_eq!((&plain["format"], &plain["notes"]), (&json!("html"), &json!("new")));
    let gone = test.call("proxmox-vm-notes-remove", json!({"vmid": 107, "confirm": true})).await;
    assert_eq!(gone["result"]["backup_notes"], "<b>new</b>");
    assert_eq!(test.call("proxmox-vm-notes-read", json!({"vmid": 107})).await["notes"], "");
}

#[tokio::test(start_paused = true)]
async fn containers_have_notes_and_either_tool_finds_either_kind() {
    let test = start(options()).await;
    let write = json!({"name": "pihole", "content": "DNS for all", "confirm": true});
    test.call("proxmox-lxc-notes-update", write).await;
    assert_eq!(test.call("proxmox-vm-notes-read", json!({"name": "pihole"})).await["notes"], "DNS for all");
    test.call(
        "proxmox-vm-notes-update",
        json!({"vmid": 108, "content": "and DHCP", "mode": "append", "confirm": true}),
    )
    .await;
    let read = test.call("proxmox-lxc-notes-read", json!({"vmid": 108})).await;
    assert_eq!(read["notes"], "DNS for all\nand DHCP");
    test.call("proxmox-lxc-notes-remove", json!({"vmid": 108, "confirm": true})).await;
    let said = test.fails("proxmox-lxc-notes-read", json!({"name": "nobody"})).await;
    assert!(said.contains("nobody"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn secrets_in_notes_are_masked_unless_asked_for() {
    let test = start(options()).await;
    let notes = "Web server\npassword: hunter2\nAPI key = abc123\n";
    test.sandbox.by_hand().set(107, "description", Some(notes));
    let read = test.call("proxmox-vm-notes-read", json!({"vmid": 107})).await;
    assert_eq!(
        (&read["notes"], &read["masked"]),
        (&json!("Web server\npassword: ********\nAPI key = ********"), &json!(2))
    );
    let open = test.call("proxmox-vm-notes-read", json!({"vmid": 107, "parse_secrets": false})).await;
    assert!(open["notes"].as_str().unwrap().contains("hunter2") && open["masked"].is_null());
    let plan = test.call("proxmox-vm-notes-remove", json!({"vmid": 107, "backup": false, "dry_run": true})).await;
    assert!(!plan.to_string().contains("hunter2"), "{plan}");
}

#[tokio::test(start_paused = true)]
async fn notes_that_proxmox_would_not_take_are_refused_and_dry_runs_send_nothing() {
    let test = start(options()).await;
    let update = "proxmox-vm-notes-update";
    for (content, format, words) in [
        ("x".repeat(8193), "auto", "notes may have 8192 characters, these would have 8193"),
        ("<script>x</script>".to_owned(), "html", "'<script' does not belong into notes"),
        ("no tags".to_owned(), "html", "there is no HTML in it"),
        (" ".to_owned(), "auto", "expected some text"),
    ] {
        let said =
            test.fails(update, json!({"vmid": 107, "content": content, "format": format, "confirm": true})).await;
        assert!(said.contains(words), "{said}");
    }
    let asked = test.call(update, json!({"vmid": 107, "content": "x"})).await;
    assert_eq!(asked["state"], "needs_confirmation");
    let plan = test.call(update, json!({"vmid": 107, "content": "a <b>\nc", "format": "plain", "dry_run": true})).await;
    assert_eq!(plan["requests"][0]["params"]["description"], "a &lt;b&gt;  \nc");
    assert_eq!(test.sent.writes(), Vec::<String>::new());
    test.call(update, json!({"vmid": 107, "content": "no tags", "format": "html", "validate": false, "confirm": true}))
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_template_of_notes_says_what_is_missing_in_it() {
    let test = start(options()).await;
    let variables = json!({"name": "db-01", "owner": "shop & co", "engine": "PostgreSQL", "runs_on": "a|b"});
    let ask = |format: &str| json!({"template_type": "Database", "format": format, "variables": variables});
    let html = test.call("proxmox-notes-template", ask("html")).await;
    assert!(html["content"].as_str().unwrap().contains("<tr><td>Owner</td><td>shop &amp; co</td></tr>"), "{html}");
    assert_eq!(html["missing"], json!(["purpose", "date", "port", "backup", "links"]));
    let markdown = test.call("proxmox-notes-template", ask("markdown")).await;
    let text = markdown["content"].as_str().unwrap();
    assert!(text.starts_with("## db-01\n") && text.contains("| Runs on | a\\|b |"), "{text}");
    assert!(test.call("proxmox-notes-template", ask("plain")).await["content"].as_str().unwrap().contains("Port: …"));
    let said = test.fails("proxmox-notes-template", json!({"template_type": "mainframe"})).await;
    assert!(said.contains("template_type: expected one of service, database"), "{said}");
    assert_eq!(test.sent.writes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn tags_are_added_and_removed_and_the_others_stay() {
    let test = start(options()).await;
    assert_eq!(tags(&test, 100).await, "prod;web");
    let added = test.call("proxmox-tags-add", json!({"vmid": 100, "tags": ["Critical", "web"]})).await;
    assert_eq!(added["changes"], json!([{"key": "tags", "old": "prod;web", "new": "critical;prod;web"}]));
    assert_eq!(tags(&test, 100).await, "critical;prod;web");
    test.sent.forget();
    let again = test.call("proxmox-tags-add", json!({"vmid": 100, "tags": "critical, prod"})).await;
    assert!(again["warnings"][0].as_str().unwrap().contains("has already critical, prod"), "{again}");
    let plan = test.call("proxmox-tags-remove", json!({"vmid": 100, "tags": ["web"], "dry_run": true})).await;
    assert_eq!(plan["about"]["tags"], "critical;prod");
    assert_eq!(test.sent.writes(), Vec::<String>::new());
    test.call("proxmox-tags-remove", json!({"vmid": 100, "tags": ["PROD", "none"]})).await;
    assert_eq!(tags(&test, 100).await, "critical;web");
    test.call("proxmox-tags-remove", json!({"vmid": 100, "tags": ["critical", "web"]})).await;
    assert_eq!(tags(&test, 100).await, "");
    let said = test.fails("proxmox-tags-add", json!({"vmid": 100, "tags": ["bad!tag"]})).await;
    assert!(said.contains("tags: 'bad!tag' is no tag"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn guests_are_found_by_tag_and_all_tags_are_counted() {
    let test = start(options()).await;
    test.call("proxmox-tags-add", json!({"name": "devbox", "tags": ["gpu"]})).await;
    let found = test.call("proxmox-find-by-tag", json!({"tag": "GPU"})).await;
    assert_eq!(
        (&found["total"], &found["guests"][0]["name"], &found["guests"][0]["kind"]),
        (&json!(1), &json!("devbox"), &json!("lxc"))
    );
    let page = test.call("proxmox-find-by-tag", json!({"tag": "prod", "limit": 2})).await;
    assert_eq!(page["guests"].as_array().unwrap().len(), 2);
    let rest = test.call("proxmox-find-by-tag", json!({"tag": "prod", "cursor": page["next_cursor"]})).await;
    assert_eq!(rest["guests"].as_array().unwrap().len() + 2, page["total"].as_u64().unwrap() as usize);
    let all = test.call("proxmox-find-by-tag", json!({})).await;
    assert_eq!((&all["tags"]["gpu"], &all["tags"]["prod"]), (&json!(1), &page["total"]));
    let none = test.call("proxmox-find-by-tag", json!({"tag": "prdo"})).await;
    assert!(none["note"].as_str().unwrap().contains("did you mean 'prod'"), "{none}");
}

#[tokio::test(start_paused = true)]
async fn tags_and_notes_changed_in_between_are_not_overwritten() {
    let test = start(options()).await;
    let held = test.sandbox.by_hand().hold_lock(107).await;
    let meanwhile = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        test.sandbox.by_hand().set(107, "tags", Some("somebody;else"));
        drop(held);
    };
    let (said, ()) = tokio::join!(test.fails("proxmox-tags-add", json!({"vmid": 107, "tags": ["x"]})), meanwhile);
    assert!(said.contains("checksum mismatch"), "{said}");
    assert_eq!(tags(&test, 107).await, "somebody;else");
}
