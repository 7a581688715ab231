//! Two servers, each a process of its own, and one cluster: ten calls at once that ask for free VMIDs.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, Command, Stdio},
    thread,
};

use serde_json::{Value, json};

/// Killed when it goes, whatever became of the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn program(args: &[&str], env: &[(String, String)]) -> Running {
    let mut command = Command::new(env!("CARGO_BIN_EXE_proxmox-mcp"));
    command.args(args).env_clear().envs(env.iter().cloned()).current_dir(std::env::temp_dir());
    Running(command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap())
}

/// The cluster, and the settings that lead to it.
fn cluster() -> (Running, Vec<(String, String)>) {
    let mut sandbox = program(&["sandbox", "--listen", "127.0.0.1:0", "--time-scale", "20"], &[]);
    let lines = BufReader::new(sandbox.0.stdout.take().unwrap()).lines().map(|line| line.unwrap());
    let settings = lines.skip(1).take(4).map(|line| {
        let (key, value) = line.split_once('=').unwrap();
        (key.to_owned(), value.to_owned())
    });
    let settings = settings.collect();
    (sandbox, settings)
}

/// Makes calls over stdio, all at once; their results.
fn calls(env: &[(String, String)], tool: &str, all: &[Value]) -> Vec<Value> {
    let mut server = program(&[], env);
    let (mut stdin, stdout) = (server.0.stdin.take().unwrap(), server.0.stdout.take().unwrap());
    let mut send = |message: Value| writeln!(stdin, "{message}").unwrap();
    send(json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}}));
    send(json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
    for (i, arguments) in all.iter().enumerate() {
        let params = json!({"name": tool, "arguments": arguments});
        send(json!({"jsonrpc": "2.0", "id": i + 1, "method": "tools/call", "params": params}));
    }
    let replies = BufReader::new(stdout).lines().map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let results = replies.filter(|message| message["id"].as_u64() > Some(0)).take(all.len());
    let mut results: Vec<Value> = results.collect();
    results.sort_by_key(|message| message["id"].as_u64());
    results.into_iter().map(|message| message["result"]["structuredContent"].clone()).collect()
}

#[test]
fn ten_calls_of_two_processes_get_ten_vmids_and_leave_nothing_half() {
    let (_cluster, env) = cluster();
    let process = |from: usize| {
        let env = env.clone();
        thread::spawn(move || {
            let all: Vec<Value> = (from..from + 5)
                .map(|i| json!({"name": format!("web{i}"), "template": "9000", "linked": true, "confirm": true}))
                .collect();
            calls(&env, "proxmox-provision-vm", &all)
        })
    };
    let processes = [process(0), process(5)];
    let done: Vec<Value> = processes.into_iter().flat_map(|process| process.join().unwrap()).collect();
    let mut vmids: Vec<u64> = done
        .iter()
        .map(|done| done["result"]["machines"][0]["vmid"].as_u64().unwrap_or_else(|| panic!("{done}")))
        .collect();
    vmids.sort_unstable();
    vmids.dedup();
    assert_eq!(vmids.len(), 10, "{vmids:?}");
    let listed = calls(&env, "proxmox-list-vms", &[json!({"limit": 100})]);
    let web = |vm: &&Value| vm["vmid"].as_u64().is_some_and(|vmid| vmids.contains(&vmid));
    let rows: Vec<&Value> = listed[0]["vms"].as_array().unwrap().iter().filter(web).collect();
    assert_eq!(rows.len(), 10, "{listed:?}");
    // The list is some seconds behind with states, so each is asked.
    let each: Vec<Value> = vmids.iter().map(|vmid| json!({"vmid": vmid})).collect();
    let states = calls(&env, "proxmox-vm-info", &each);
    assert!(states.iter().all(|vm| vm["status"] == "running" && vm.get("lock").is_none()), "{states:?}");
}
