//! Nodes, the cluster, its tasks and logs.

use serde_json::{Value, json};

use super::NODE;
use crate::{
    error::{Error, Result},
    tool_names::alias::{Alias, Argument, Call, Given, Target::Tool},
    tools::time,
};

const JOB: Argument = Argument::own("job_id", "upid").needed().words("UPID of the task.");
const LOG: &[Argument] = &[
    NODE,
    Argument::same("limit").default("100").words("Most lines."),
    Argument::same("start").words("First line, from 0."),
    Argument::same("since").words("Unix time."),
];

pub const ALIASES: &[Alias] = &[
    Alias::new("list_targets", "List targets", "List the configured clusters.")
        .to(&[Tool("proxmox-list-all-clusters")])
        .example("Which clusters are there?", "{}"),
    Alias::new("get_nodes", "List nodes", "List the cluster's nodes with state, load and memory.")
        .to(&[Tool("proxmox-list-nodes")])
        .example("Which nodes are there?", "{}"),
    Alias::new("get_node_status", "Node status", "Show one node's load, memory and versions.")
        .to(&[Tool("proxmox-node-status")])
        .takes(&[NODE.words("Name of the node.")])
        .example("Montre moi le statut du node pve1", r#"{"node": "pve1"}"#),
    Alias::new("list_bridges", "List bridges", "List a node's bridges: what a NIC can be put on.")
        .to(&[Tool("proxmox-list-bridges")])
        .takes(&[NODE.words("Name of the node.")])
        .example("Which bridges has pve1?", r#"{"node": "pve1"}"#),
    Alias::new("get_cluster_status", "Cluster status", "Show quorum, nodes with addresses, Proxmox's version.")
        .to(&[Tool("proxmox-cluster-status")])
        .example("Does the cluster have quorum?", "{}"),
    Alias::new("get_next_vmid", "Next free VMID", "Show the next free VMID. Nothing is reserved.")
        .to(&[Tool("proxmox-next-vmid")])
        .example("Which VMID is free?", "{}"),
    Alias::new(
        "list_jobs",
        "List jobs",
        "List recent tasks, newest first; their UPIDs are the job_id of the other tools.",
    )
    .to(&[Tool("proxmox-list-tasks")])
    .takes(&[
        Argument::work("status", "string").words("failed: only those."),
        Argument::same("limit").default("100").words("Most rows."),
    ])
    .work(jobs)
    .example("Which jobs failed lately?", r#"{"status": "failed"}"#),
    Alias::new("get_job", "Show a job", "Show a task's state, progress and last log lines.")
        .to(&[Tool("proxmox-task-status")])
        .takes(&[JOB, Argument::nothing("refresh", "boolean").words("No effect: it is always asked for.")])
        .example("Is that job done?", r#"{"job_id": "UPID:…"}"#),
    Alias::new("poll_job", "Poll a job", "Show a task's state, progress and last log lines.")
        .to(&[Tool("proxmox-task-status")])
        .takes(&[JOB])
        .example("How far is it?", r#"{"job_id": "UPID:…"}"#),
    Alias::new("cancel_job", "Cancel a job", "Stop a running task. What it has done stays, perhaps a lock too.")
        .to(&[Tool("proxmox-stop-task")])
        .takes(&[JOB])
        .example("Cancel that job", r#"{"job_id": "UPID:…", "confirm": true}"#),
    Alias::new("get_task_log", "Task log", "Read a task's log.")
        .to(&[Tool("proxmox-task-log")])
        .takes(&[
            Argument::nothing("node", "string").words("No effect: the UPID says it."),
            Argument::same("upid").needed().words("UPID of the task."),
            Argument::same("start").words("First line, from 0."),
            Argument::same("limit").default("50").words("Most lines."),
        ])
        .example("Why did that task fail?", r#"{"node": "pve1", "upid": "UPID:…"}"#),
    Alias::new("get_node_syslog", "Node log", "Read the last lines of a node's journal.")
        .to(&[Tool("proxmox-node-journal")])
        .takes(&[
            NODE.words("Name of the node."),
            Argument::own("limit", "last").default("100").words("Most lines."),
            Argument::work("since", "string").words("UTC: YYYY-MM-DD, or with HH:MM or HH:MM:SS."),
            Argument::own("service", "search").words("Only lines with this text, such as pvedaemon."),
        ])
        .work(syslog)
        .example("What does pvedaemon on pve1 say?", r#"{"node": "pve1", "service": "pvedaemon", "limit": 20}"#),
    Alias::new("get_cluster_log", "Cluster log", "Read the newest entries of the cluster's log.")
        .to(&[Tool("proxmox-api-get")])
        .takes(&[Argument::work("max_entries", "integer").default("50").words("Most entries.")])
        .fixed(&[("path", r#""/cluster/log""#), ("limit", "10000")])
        .work(cluster_log)
        .example("What happened in the cluster?", r#"{"max_entries": 10}"#),
    Alias::new("get_node_firewall_log", "Node firewall log", "Read the firewall log of a node.")
        .to(&[Tool("proxmox-firewall-log")])
        .takes(LOG)
        .example("What did the firewall of pve1 drop?", r#"{"node": "pve1"}"#),
];

fn jobs(mut given: Given) -> Result<Vec<Call>> {
    match given.take_text("status").as_deref() {
        None | Some("") => {}
        Some("failed") => drop(given.args.insert("errors".to_owned(), true.into())),
        Some(other) => {
            return Err(Error::bad_argument(format!("status: expected failed, or nothing for all, got '{other}'")));
        }
    }
    Ok(vec![given.call(0)])
}

fn syslog(mut given: Given) -> Result<Vec<Call>> {
    if let Some(since) = given.take_text("since") {
        given.args.insert("since".to_owned(), time::parse("since", &since)?.into());
    }
    Ok(vec![given.call(0)])
}

fn cluster_log(mut given: Given) -> Result<Vec<Call>> {
    let max = given.take("max_entries").unwrap_or(Value::Null);
    given.args.insert("params".to_owned(), json!({"max": max}));
    Ok(vec![given.call(0)])
}
