//! `demo`: the program starts itself as an MCP server on the simulated cluster, connects to it as a client, and
//! provisions a VM, telling what it does. Nothing here is faked: each line is the answer to a call.

use std::{
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use serde_json::{Value, json};

use super::{bars::Bars, print};
use crate::{
    error::{Error, Result},
    mcp::Connection,
    progress::Progress,
};

/// The bar that progress goes to, while a call runs.
type Current = Arc<Mutex<Progress>>;

pub async fn run() -> Result<ExitCode> {
    let started = Instant::now();
    let program = std::env::current_exe().map_err(|e| Error::internal(format!("cannot find this program: {e}")))?;
    let current = Current::default();
    let listener = current.clone();
    let progress = Progress::to(move |update| {
        listener.lock().unwrap_or_else(PoisonError::into_inner).report(update);
    });
    let args = ["--sandbox", "--sandbox-fault", FAULT, "--log-level", "warn", "serve"].map(Into::into);
    let demo = Demo { connection: Connection::start(&program, &args, progress).await?, current };
    demo.play().await?;
    demo.connection.close().await;
    say(
        "",
        &format!(
            "Done in {:.1} s. All of this ran against a simulated Proxmox VE cluster inside this program.",
            started.elapsed().as_secs_f64()
        ),
    );
    print("Next: connect it to Claude or Cursor, or to your own cluster: see README.md.");
    Ok(ExitCode::SUCCESS)
}

/// The first disk that is to grow does not: only the last step comes to that.
const FAULT: &str = "task-failure=insufficient free space in volume group pve:PUT /nodes/*/qemu/*/resize:count=1";

struct Demo {
    connection: Connection,
    current: Current,
}

fn say(step: &str, text: &str) {
    print(&format!("\n{step}{text}"));
}

impl Demo {
    async fn play(&self) -> Result<()> {
        let tools = self.connection.tools().await?;
        print(&format!(
            "This program now runs twice: as an MCP server on a simulated cluster, and as a client (like Claude)\nthat talks to it. The server is {} with {} tools.",
            self.connection.server(),
            tools.len()
        ));

        say("1. ", "Which nodes are there?");
        let nodes = self.call("proxmox-list-nodes", json!({})).await?;
        for node in rows(&nodes, "nodes") {
            print(&format!(
                "   {:<6} {:<8} {} CPUs, {} of {} MiB memory used",
                text(node, "node"),
                text(node, "status"),
                node["cpus"],
                node["mem_mib"],
                node["maxmem_mib"]
            ));
        }

        say("2. ", "Which templates can be cloned?");
        let templates = self.call("proxmox-list-vms", json!({"template": true})).await?;
        let templates = rows(&templates, "vms");
        for template in templates {
            print(&format!("   {} {} on {}", template["vmid"], text(template, "name"), text(template, "node")));
        }
        let Some(template) = templates.first() else {
            return Err(Error::internal("the simulated cluster has no template"));
        };

        let mut clone = json!({"source_vmid": template["vmid"], "name": "demo-web01", "full": true});
        say(
            "3. ",
            &format!(
                "Clone {} as demo-web01: first a dry run. It shows the exact requests and sends nothing.",
                text(template, "name")
            ),
        );
        clone["dry_run"] = json!(true);
        let plan = self.call("proxmox-clone-vm", clone.clone()).await?;
        print(&format!("   plan: {}", text(&plan, "summary")));
        for request in rows(&plan, "requests") {
            print(&format!(
                "   would send: {} {} {}",
                text(request, "method"),
                text(request, "path"),
                request["params"]
            ));
        }

        say("4. ", "Without confirmation it is not done:");
        clone["dry_run"] = json!(false);
        clone["wait"] = json!(true);
        let refused = self.call("proxmox-clone-vm", clone.clone()).await?;
        print(&format!("   {}: {}", text(&refused, "state"), text(&refused, "next")));

        say("5. ", "Now for real, confirmed and waited for:");
        clone["confirm"] = json!(true);
        let cloned = self.call("proxmox-clone-vm", clone).await?;
        let vmid = &cloned["about"]["vmid"];
        print(&format!(
            "   {}: {} ({}, {} s)",
            text(&cloned, "state"),
            text(&cloned, "summary"),
            text(&cloned, "exitstatus"),
            cloned["seconds"]
        ));

        say("6. ", &format!("Start VM {vmid} and wait until it runs:"));
        let start = self.call("proxmox-start-vm", json!({"vmid": vmid, "wait": true})).await?;
        print(&format!(
            "   {}: {} ({}, {} s)",
            text(&start, "state"),
            text(&start, "summary"),
            text(&start, "exitstatus"),
            start["seconds"]
        ));

        say("7. ", "What it is now, found by its name:");
        let info = self.call("proxmox-vm-info", json!({"name": "demo-web01"})).await?;
        print(&format!(
            "   VM {} {} on {}: {}, {} CPUs, {} MiB memory",
            info["vmid"],
            text(&info, "name"),
            text(&info, "node"),
            text(&info, "status"),
            info["current"]["cpus"],
            info["current"]["maxmem_mib"]
        ));
        print(&format!("   disk {}", text(&info["config"], "scsi0")));
        print(&format!("   NIC  {}", text(&info["config"], "net0")));
        self.three_machines(&template["vmid"]).await
    }

    /// All or none: one fails, and nothing is left of the three.
    async fn three_machines(&self, template: &Value) -> Result<()> {
        let wanted = json!({
            "name": "demo{01..03}", "template": template.to_string(), "linked": true, "cores": 2, "disk_gb": 16, "confirm": true
        });
        say(
            "8. ",
            "Three machines with one call, all or none. The simulated cluster was told to fail once when a disk grows:",
        );
        let before = self.names().await?;
        let refused = self.call("proxmox-provision-vm", wanted.clone()).await;
        let Err(error) = refused else {
            return Err(Error::internal("the three machines were made although the simulated cluster was to fail"));
        };
        for line in error.to_string().lines() {
            print(&format!("   {line}"));
        }
        let after = self.names().await?;
        if after != before {
            return Err(Error::internal(format!("something was left: {after:?} instead of {before:?}")));
        }
        print(&format!(
            "   The cluster has the same {} VMs as before, and none is named demo01, demo02 or demo03.",
            after.len()
        ));

        say("9. ", "The same call again, on a cluster that is well:");
        let made = self.call("proxmox-provision-vm", wanted).await?;
        print(&format!("   {}: {} ({} s)", text(&made, "state"), text(&made, "summary"), made["seconds"]));
        for machine in rows(&made["result"], "machines") {
            print(&format!(
                "   {} VM {} on {}: {}",
                text(machine, "name"),
                machine["vmid"],
                text(machine, "node"),
                text(machine, "address")
            ));
        }
        Ok(())
    }

    /// Every VM, by number and name.
    async fn names(&self) -> Result<Vec<String>> {
        let vms = self.call("proxmox-list-vms", json!({})).await?;
        Ok(rows(&vms, "vms").iter().map(|vm| format!("{} {}", vm["vmid"], text(vm, "name"))).collect())
    }

    /// One call, with a progress bar where it takes its time.
    async fn call(&self, tool: &str, arguments: Value) -> Result<Value> {
        let waits = arguments["wait"] == true || arguments["confirm"] == true;
        let bar = waits.then(|| Bars::default().bar(tool));
        if let Some(bar) = &bar {
            *self.current.lock().unwrap_or_else(PoisonError::into_inner) = bar.progress();
        }
        print(&format!("   → {tool} {arguments}"));
        let result = self.connection.call(tool, arguments).await;
        if let Some(bar) = bar {
            *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Progress::none();
            bar.clear();
        }
        result
    }
}

fn rows<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or("-")
}
