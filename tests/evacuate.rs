//! Emptying nodes, bringing guests back, and evening out the load.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use serde_json::{Value, json};
use support::{options, start};

#[tokio::test(start_paused = true)]
async fn look() {
    let test = start(options()).await;
    for node in ["pve1", "pve2", "pve3"] {
        let plan = test.call("proxmox-evacuate-node", json!({"node": node, "dry_run": true})).await;
        println!("{}\n", proxmox_mcp::render::text(&plan));
    }
    let plan = test.call("proxmox-rebalance", json!({"tolerance_percent": 3})).await;
    println!("{}\n", proxmox_mcp::render::text(&plan));
    let done = test.call("proxmox-evacuate-node", json!({"node": "pve2", "confirm": true})).await;
    println!("{}\n", proxmox_mcp::render::text(&done));
    let mut undo = done["undo"]["arguments"].clone();
    undo["confirm"] = json!(true);
    let done = test.call("proxmox-evacuate-node", undo).await;
    println!("{}\n", proxmox_mcp::render::text(&done));
    let _: Value = done;
}
