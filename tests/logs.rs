//! The log of the real process: a line for each request and each call, by which they are found again, and no secret at any
//! level.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
};

use serde_json::{Value, json};

/// What must not be read anywhere.
const KEY: &str = "K3y-0f-a-caller-that-is-l0ng";
const PASSWORD: &str = "hunter2hunter2";
const QUERY: &str = "s3ss10n-0f-s0meb0dy";

struct Server {
    child: Child,
    url: String,
    log: Arc<Mutex<Vec<String>>>,
    reading: Option<JoinHandle<()>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
    }
}

impl Server {
    fn start(directory: &tempfile::TempDir, args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_proxmox-mcp"));
        command.args(["--sandbox", "--http", "127.0.0.1:0", "--log-level", "trace"]).args(args);
        command
            .env_clear()
            .env("PROXMOX_MCP_API_KEY", format!("ops:{KEY}"))
            .env("PROXMOX_AUDIT_FILE", directory.path().join("audit"));
        let mut child = command.current_dir(directory.path()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let log = Arc::<Mutex<Vec<String>>>::default();
        let url = loop {
            let line = lines.next().unwrap();
            if let Some((_, url)) = line.split_once("REST at ") {
                break url.to_owned();
            }
            log.lock().unwrap().push(line);
        };
        let kept = Arc::clone(&log);
        let reading = std::thread::spawn(move || lines.for_each(|line| kept.lock().unwrap().push(line)));
        Self { child, url, log, reading: Some(reading) }
    }

    /// Ends it, and gives back all that it said.
    fn end(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.reading.take().unwrap().join().unwrap();
        std::mem::take(&mut self.log.lock().unwrap())
    }

    async fn ask(&self, id: &str, session: Option<&str>, body: Value) -> reqwest::Response {
        // The older transport has its sessions in the address.
        let query = if id == "older" { format!("?sessionId={QUERY}") } else { String::new() };
        let mut request = support::web::http_client()
            .post(format!("{}/mcp{query}", self.url))
            .header("Accept", "application/json, text/event-stream")
            .header("Authorization", format!("Bearer {KEY}"))
            .header("X-API-Key", KEY)
            .header("X-Request-Id", id)
            .json(&body);
        if let Some(session) = session {
            request = request.header("Mcp-Session-Id", session);
        }
        request.send().await.unwrap()
    }

    /// Sets a password, confirmed.
    async fn set_a_password(&self) {
        let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}});
        assert_eq!(self.ask("older", None, hello.clone()).await.status(), 404);
        let answer = self.ask("hello-1", None, hello).await;
        let session = answer.headers()["mcp-session-id"].to_str().unwrap().to_owned();
        answer.text().await.unwrap();
        let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        self.ask("hello-2", Some(&session), initialized).await.text().await.unwrap();
        let arguments = json!({"vmid": 9000, "ciuser": "ops", "cipassword": PASSWORD, "confirm": true});
        let call = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {
            "name": "proxmox-cloudinit-set", "arguments": arguments}});
        let answer = self.ask("the-call", Some(&session), call).await.text().await.unwrap();
        assert!(answer.contains("\\\"state\\\"") || answer.contains("\"state\""), "{answer}");
        assert!(!answer.contains("\"isError\":true"), "{answer}");
    }
}

#[tokio::test]
async fn one_id_leads_through_the_log_and_the_record() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(&directory, &["--log-format", "json"]);
    server.set_a_password().await;
    let lines: Vec<Value> = server.end().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let find = |message: &str, id: &str| {
        let is = |line: &&Value| line["message"] == message && (line["request"] == id || line["span"]["request"] == id);
        lines.iter().find(is).unwrap_or(&Value::Null).clone()
    };
    let http = find("http", "the-call");
    assert_eq!((&http["method"], &http["path"], &http["status"]), (&json!("POST"), &json!("/mcp"), &json!(200)));
    assert!(http["client"].as_str().unwrap().starts_with("127.0.0.1:"), "{http}");
    assert!(http["ms"].is_u64() && http["level"] == "INFO", "{http}");
    let call = find("call", "the-call");
    assert_eq!((&call["outcome"], &call["span"]["tool"]), (&json!("ok"), &json!("proxmox-cloudinit-set")));
    assert_eq!((&call["span"]["caller"], &http["caller"]), (&json!("ops"), &json!("ops")));
    assert!(call["ms"].is_u64() && call["level"] == "INFO", "{call}");
    // What was asked of Proxmox for this call is found by the same id.
    let upstream = lines.iter().filter(|line| line["span"]["request"] == "the-call" && line["endpoint"].is_string());
    assert!(upstream.count() > 1);
    let record = std::fs::read_to_string(directory.path().join("audit")).unwrap();
    let begun: Value =
        serde_json::from_str(record.lines().find(|line| line.contains("\"requests\"")).unwrap()).unwrap();
    assert!(begun.to_string().contains("\"request\":\"the-call\""), "{begun}");
}

#[tokio::test]
async fn nothing_secret_is_logged_at_any_level() {
    for format in ["text", "json"] {
        let directory = tempfile::tempdir().unwrap();
        let server = Server::start(&directory, &["--log-format", format]);
        server.set_a_password().await;
        let log = server.end().join("\n");
        assert!(log.contains("proxmox-cloudinit-set") && log.contains("/nodes/pve1/qemu/9000/config"), "{log}");
        for secret in [KEY, PASSWORD, QUERY, "PVEAPIToken"] {
            assert!(!log.contains(secret), "{format}: {secret} in\n{log}");
        }
    }
}
