//! The program itself, as a client starts it: over stdio, with what clients do wrong.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio},
};

use serde_json::{Value, json};

fn program(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_proxmox-mcp"));
    command
        .args(args)
        .env_clear()
        .current_dir(std::env::temp_dir())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

struct Server {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Server {
    fn start() -> Self {
        Self::with("PROXMOX_SHUTDOWN_GRACE", "10")
    }
    fn with(setting: &str, value: &str) -> Self {
        let mut child = program(&["--sandbox"]).env(setting, value).spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        let mut server = Self { child, stdin, stdout };
        server.send(&json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
            "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}}));
        assert_eq!(server.reply()["result"]["serverInfo"]["name"], "proxmox-mcp");
        server.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        server
    }
    fn line(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().unwrap();
        writeln!(stdin, "{text}").unwrap();
        stdin.flush().unwrap();
    }
    fn send(&mut self, message: &Value) {
        self.line(&message.to_string());
    }
    fn call(&mut self, id: u32, tool: &str, arguments: Value) {
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": tool, "arguments": arguments}}));
    }
    /// A call that takes seconds, read by the server but not answered yet: what came after it is answered.
    fn start_cloning(&mut self, source: u32) {
        self.call(7, "proxmox-clone-vm", json!({"source_vmid": source, "full": true, "confirm": true, "wait": true}));
        self.call(8, "proxmox-list-nodes", json!({}));
        assert_eq!(self.reply()["id"], 8);
    }
    #[cfg(unix)]
    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }
    /// The next reply; notifications are passed over. Stdout must hold nothing else.
    fn reply(&mut self) -> Value {
        loop {
            let mut line = String::new();
            assert!(self.stdout.read_line(&mut line).unwrap() > 0, "stdout ended");
            let message: Value = serde_json::from_str(&line).unwrap();
            if message.get("id").is_some() {
                return message;
            }
        }
    }
}

#[test]
fn garbage_on_stdin_is_passed_over() {
    let mut server = Server::start();
    server.line("garbage {{{");
    server.line("");
    server.line("[1, 2");
    server.call(1, "proxmox-list-nodes", json!({}));
    let reply = server.reply();
    assert_eq!((&reply["id"], &reply["result"]["structuredContent"]["total"]), (&json!(1), &json!(3)));
    drop(server.stdin.take());
    assert!(server.child.wait().unwrap().success());
}

/// A stream of news would never end by itself.
#[test]
fn a_client_that_listens_and_closes_stdin_does_not_keep_the_program() {
    let mut child = program(&["--sandbox"]).spawn().unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
    let listen = json!({"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": {
    "notifications": {"resourceSubscriptions": ["proxmox://default/guest/100"]},
    "_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }}});
    writeln!(stdin, "{listen}").unwrap();
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert!(line.contains("notifications/subscriptions/acknowledged"), "{line}");
    std::thread::sleep(std::time::Duration::from_millis(500));
    let began = std::time::Instant::now();
    drop(stdin);
    assert!(child.wait().unwrap().success());
    assert!(began.elapsed().as_secs() < 3, "{:?}", began.elapsed());
}

#[test]
fn a_call_under_way_is_answered_after_stdin_was_closed() {
    let mut server = Server::start();
    server.call(7, "proxmox-start-vm", json!({"vmid": 107, "wait": true}));
    drop(server.stdin.take());
    let reply = server.reply();
    assert_eq!((&reply["id"], &reply["result"]["structuredContent"]["exitstatus"]), (&json!(7), &json!("OK")));
    assert!(server.child.wait().unwrap().success());
}

/// More than what the protocol's library waits for.
#[test]
fn a_call_that_takes_long_is_answered_too_after_stdin_was_closed() {
    let mut server = Server::with("PROXMOX_SHUTDOWN_GRACE", "60");
    server.start_cloning(107);
    drop(server.stdin.take());
    let reply = server.reply();
    assert_eq!(
        (&reply["id"], &reply["result"]["structuredContent"]["exitstatus"]),
        (&json!(7), &json!("OK")),
        "{reply}"
    );
    assert!(server.child.wait().unwrap().success());
}

#[test]
fn a_call_that_outlasts_the_grace_is_answered_with_the_task_that_goes_on() {
    let mut server = Server::with("PROXMOX_SHUTDOWN_GRACE", "0.1");
    server.start_cloning(107);
    drop(server.stdin.take());
    let reply = server.reply();
    let error = &reply["result"]["_meta"]["proxmox-mcp/error"];
    assert_eq!((&reply["id"], &error["kind"]), (&json!(7), &json!("cancelled")), "{reply}");
    assert!(error["message"].as_str().unwrap().contains("goes on"), "{reply}");
    assert!(server.child.wait().unwrap().success());
}

#[cfg(unix)]
#[test]
fn a_signal_ends_the_reading_and_then_the_program_but_no_call() {
    for name in ["TERM", "INT"] {
        let mut server = Server::with("PROXMOX_SHUTDOWN_GRACE", "60");
        server.start_cloning(9000);
        server.signal(name);
        let reply = server.reply();
        assert_eq!((&reply["id"], &reply["result"]["isError"]), (&json!(7), &json!(false)), "{name}: {reply}");
        assert!(server.child.wait().unwrap().success(), "{name}");
        // Stdin is still open: it is the signal that ended it.
        assert!(server.stdin.is_some());
    }
    let mut idle = Server::start();
    idle.signal("TERM");
    assert!(idle.child.wait().unwrap().success());
}

#[cfg(unix)]
#[test]
fn a_second_signal_ends_the_program_at_once() {
    let mut server = Server::start();
    server.start_cloning(107);
    server.signal("TERM");
    // Two that arrive together are one.
    std::thread::sleep(std::time::Duration::from_millis(200));
    server.signal("TERM");
    let ended = server.child.wait_with_output().unwrap();
    let complaint = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(
        (ended.status.code(), complaint.contains("stopped before all calls had ended")),
        (Some(1), true),
        "{complaint}"
    );
}

#[test]
fn errors_are_results_for_tools_and_protocol_errors_for_what_is_no_tool() {
    let mut server = Server::start();
    server.call(1, "proxmox-vm-info", json!({"vmid": "x"}));
    let reply = server.reply();
    assert_eq!(reply["result"]["isError"], true);
    assert_eq!(reply["result"]["_meta"]["proxmox-mcp/error"]["kind"], "bad_argument");
    server.call(2, "nope", json!({}));
    assert_eq!(server.reply()["error"]["code"], -32602);
    drop(server.stdin.take());
    assert!(server.child.wait().unwrap().success());
}

/// Every tool's example as a dry run, through the program itself: a reply each, and nothing else on stdout.
#[test]
fn stdout_holds_replies_and_nothing_else_whatever_tool_is_called() {
    let mut server = Server::start();
    for (id, tool) in (1..).zip(proxmox_mcp::tools::all()) {
        let mut arguments: Value = serde_json::from_str(tool.example.1).unwrap();
        if tool.control.is_some() {
            arguments["dry_run"] = json!(true);
        }
        server.call(id, tool.name, arguments);
        let reply = server.reply();
        assert_eq!((&reply["id"], reply["jsonrpc"].as_str()), (&json!(id), Some("2.0")), "{}", tool.name);
        assert!(reply["result"]["content"][0]["text"].is_string(), "{}: {reply}", tool.name);
    }
    drop(server.stdin.take());
    assert!(server.child.wait().unwrap().success());
}

/// What clients go by when they ask their user.
#[test]
fn hints_say_what_a_tool_does() {
    use proxmox_mcp::{policy::Effect, tool::Entry};
    let mut server = Server::with("PROXMOX_TOOLSETS", "all");
    server.send(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}));
    let listed = server.reply();
    let listed = listed["result"]["tools"].as_array().unwrap();
    // These are there only where the operator says so.
    let optional = |entry: &&Entry| entry.name == "proxmox-api-write" || entry.audited;
    for entry in proxmox_mcp::tools::all().filter(|entry| !optional(entry)) {
        let tool = listed.iter().find(|tool| tool["name"] == entry.name).unwrap();
        let hints = &tool["annotations"];
        assert_eq!(hints["readOnlyHint"], entry.effect == Effect::Read, "{}", entry.name);
        // It stands for others, some of which delete.
        let loses = entry.effect >= Effect::Destroy || entry.name == "proxmox-bulk";
        assert_eq!(hints["destructiveHint"], loses, "{}", entry.name);
        assert_eq!(tool["title"], entry.title);
    }
    let execute = proxmox_mcp::tools::all().find(|entry| entry.name == "proxmox-guest-exec").unwrap();
    assert_eq!(execute.effect, Effect::Execute);
    // It is there only where the operator says so.
    assert!(listed.iter().all(|tool| tool["name"] != "proxmox-api-write"));
}

fn run(args: &[&str], env: &[(&str, &str)]) -> (i32, String, String) {
    let Output { status, stdout, stderr } =
        program(args).envs(env.iter().copied()).stdin(Stdio::null()).output().unwrap();
    (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn a_missing_or_wrong_setting_is_one_line_exit_code_2_and_nothing_on_stdout() {
    for (env, word) in [
        (vec![], "PROXMOX_API_URL"),
        (vec![("PROXMOX_API_URL", "https://pve:8006")], "PROXMOX_TOKEN_ID"),
        (vec![("PROXMOX_API_URL", "http://pve:8006"), ("PROXMOX_TOKEN", "a@pam!b=c")], "PROXMOX_API_URL"),
        (vec![("PROXMOX_HOST", "pve"), ("PROXMOX_TOKEN", "nonsense")], "PROXMOX_TOKEN"),
        (vec![("PROXMOX_HOST", "pve"), ("PROXMOX_TOKEN", "a@pam!b=c"), ("PROXMOX_VERIFY", "maybe")], "PROXMOX_VERIFY"),
    ] {
        let (code, stdout, stderr) = run(&["serve"], &env);
        assert_eq!((code, stdout.as_str(), stderr.lines().count()), (2, "", 1), "{env:?}: {stderr}");
        assert!(stderr.contains(word), "{env:?}: {stderr}");
    }
}

#[test]
fn call_prints_json_and_its_exit_code_tells_how_it_went() {
    let (code, stdout, _) = run(&["--sandbox", "call", "proxmox-list-vms", "status=running", "limit=2"], &[]);
    let list: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &list["total"], list["vms"].as_array().unwrap().len()), (0, &json!(6), 2));
    let (code, stdout, stderr) = run(&["--sandbox", "call", "proxmox-start-vm", "vmid=100", "wait=true"], &[]);
    let error: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &error["error"]["kind"]), (1, &json!("task_failed")), "{stderr}");
    let confirm = ["--sandbox", "call", "proxmox-delete-vm", "vmid=107"];
    for args in
        [&["--sandbox", "call", "nope"][..], &["--sandbox", "call", "proxmox-vm-info", "vmid"], &confirm, &["--nope"]]
    {
        assert_eq!(run(args, &[]).0, 2, "{args:?}");
    }
}

#[test]
fn an_endpoint_that_is_not_there_is_said_so() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let env =
        [("PROXMOX_API_URL", format!("https://127.0.0.1:{port}")), ("PROXMOX_TOKEN", "a@pam!b=5ecret".to_owned())];
    let env: Vec<(&str, &str)> = env.iter().map(|(k, v)| (*k, v.as_str())).collect();
    let (code, stdout, stderr) = run(&["call", "proxmox-list-nodes"], &env);
    let error: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &error["error"]["kind"]), (1, &json!("unavailable")), "{stderr}");
    assert!(!stdout.contains("5ecret") && !stderr.contains("5ecret"));
}
