//! MCP over real sockets: many clients at once, connections that break, and the end of the program.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use proxmox_mcp::{config::Web, sandbox::Options};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use support::{
    everything, options,
    web::{Served, http_client, serve, serve_with},
};
use tokio::time::{sleep, timeout};

const BOTH: &str = "application/json, text/event-stream";
const PATIENCE: Duration = Duration::from_secs(60);

fn hello() -> Value {
    json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}})
}

/// A client with a session.
struct Session {
    http: Client,
    url: String,
    id: Option<String>,
}

impl Session {
    async fn begin(http: Client, url: String) -> Self {
        let mut session = Self { http, url, id: None };
        let response = session.send(json!({"id": 0, "method": "initialize", "params": hello()}), BOTH).await;
        let id = response.headers()["mcp-session-id"].to_str().unwrap().to_owned();
        session.id = Some(id);
        assert_eq!(message(response).await["result"]["serverInfo"]["name"], "proxmox-mcp");
        let noted = session.send(json!({"method": "notifications/initialized"}), BOTH).await;
        assert_eq!(noted.status(), StatusCode::ACCEPTED);
        session
    }

    async fn send(&self, mut message: Value, accept: &str) -> Response {
        message["jsonrpc"] = json!("2.0");
        let request = self.http.post(&self.url).header("accept", accept).json(&message);
        let request = match &self.id {
            Some(id) => request.header("mcp-session-id", id),
            None => request,
        };
        request.send().await.unwrap()
    }

    async fn call(&self, tool: &str, arguments: Value) -> Value {
        let params = json!({"name": tool, "arguments": arguments});
        message(self.send(json!({"id": 7, "method": "tools/call", "params": params}), BOTH).await).await
    }
}

/// The answer, in whichever form it came; progress is passed over.
async fn message(response: Response) -> Value {
    assert_eq!(response.status(), StatusCode::OK);
    let text = response.text().await.unwrap();
    let lines = text.lines().map(|line| line.strip_prefix("data:").unwrap_or(line));
    let mut messages = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    messages.find(|message| message.get("method").is_none()).unwrap()
}

/// Opens a stream and reads its beginning.
async fn stream(http: &Client, url: String, headers: &[(&str, &str)]) -> Response {
    let request = http.get(url).header("accept", "text/event-stream");
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let mut response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    response.chunk().await.unwrap().unwrap();
    response
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_clients_at_once_are_served() {
    let server = serve().await;
    let client = async |n: usize| {
        let path = ["/mcp", "/proxmox/mcp"][n % 2];
        // With a connection of its own.
        let session = Session::begin(http_client(), server.at(path)).await;
        let tools = message(session.send(json!({"id": 1, "method": "tools/list"}), BOTH).await).await;
        assert!(tools["result"]["tools"].as_array().unwrap().len() > 100);
        let nodes = session.call("proxmox-list-nodes", json!({})).await;
        assert_eq!(nodes["result"]["structuredContent"]["total"], 3, "{nodes}");
    };
    futures::future::join_all((0..200).map(client)).await;
}

/// Waits until the server has nothing to ask the cluster for.
async fn is_quiet(server: &Served) -> bool {
    for _ in 0..100 {
        let before = server.sent.count();
        sleep(Duration::from_secs(3)).await;
        if server.sent.count() == before {
            return true;
        }
    }
    false
}

#[tokio::test]
async fn a_wait_ends_when_its_connection_breaks() {
    // It would take many minutes.
    let server = serve_with(Web::default(), everything(), Options { time_scale: 0.01, ..options() }).await;
    let modern = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    });
    for (accept, vmid) in [(BOTH, 107), ("*/*", 100)] {
        let arguments = json!({"source_vmid": vmid, "full": true, "confirm": true, "wait": true, "poll_interval": 1});
        let params = json!({"name": "proxmox-clone-vm", "arguments": arguments, "_meta": modern});
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
        let request = http_client().post(server.at("/mcp")).header("accept", accept).json(&call);
        let request = request.header("mcp-protocol-version", "2026-07-28").header("mcp-method", "tools/call");
        let request = request.header("mcp-name", "proxmox-clone-vm").send();
        assert!(timeout(Duration::from_secs(4), request).await.is_err(), "it was answered");
        assert!(is_quiet(&server).await, "{accept}: it still looks at its task");
    }
}

#[tokio::test]
async fn the_end_does_not_wait_for_streams_nor_for_connections_that_are_kept() {
    let server = serve().await;
    let idle = Session::begin(server.http.clone(), server.at("/mcp")).await;
    let news = stream(&server.http, server.at("/mcp"), &[("mcp-session-id", idle.id.as_deref().unwrap())]).await;
    let sse = stream(&server.http, server.at("/sse"), &[]).await;
    let silent = tokio::net::TcpStream::connect(server.url.trim_start_matches("http://")).await.unwrap();
    server.ending.begun.cancel();
    for mut stream in [news, sse] {
        let ends = async { while let Ok(Some(_)) = stream.chunk().await {} };
        timeout(PATIENCE, ends).await.unwrap();
    }
    let mut server = server;
    timeout(Duration::from_secs(5), &mut server.serving).await.unwrap().unwrap();
    drop(silent);
    assert!(server.http.get(server.at("/livez")).send().await.is_err(), "it still listens");
}

#[tokio::test]
async fn a_call_under_way_is_answered_before_the_end() {
    let server = serve_with(Web::default(), everything(), Options { time_scale: 10.0, ..options() }).await;
    let session = Session::begin(server.http.clone(), server.at("/mcp")).await;
    let clone = json!({"source_vmid": 107, "full": true, "confirm": true, "wait": true});
    let call = session.call("proxmox-clone-vm", clone);
    let end = async {
        while server.sent.count() < 8 {
            sleep(Duration::from_millis(20)).await;
        }
        server.ending.begun.cancel();
    };
    let (reply, ()) = tokio::join!(call, end);
    assert_eq!(reply["result"]["structuredContent"]["state"], "done", "{reply}");
    let mut server = server;
    timeout(PATIENCE, &mut server.serving).await.unwrap().unwrap();
}

/// The program itself.
struct Program {
    child: Child,
    url: String,
}

impl Program {
    fn start(grace: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_proxmox-mcp"))
            .args(["--sandbox", "--http", "127.0.0.1:0", "--shutdown-grace", grace, "serve"])
            .env_clear()
            .current_dir(std::env::temp_dir())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut url = None;
        let mut lines = lines.map_while(Result::ok);
        for line in &mut lines {
            if let Some((_, at)) = line.split_once("http://") {
                url = Some(format!("http://{}", at.split_whitespace().next().unwrap()));
                break;
            }
        }
        // What else it says shall not block it.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, url: url.unwrap() }
    }

    #[cfg(unix)]
    fn terminate(&self) {
        let sent = Command::new("kill").args(["-s", "TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    async fn ends(mut self) -> (bool, Duration) {
        let began = Instant::now();
        let ended = tokio::task::spawn_blocking(move || self.child.wait().unwrap().success()).await.unwrap();
        (ended, began.elapsed())
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_signal_ends_the_program_though_streams_are_open() {
    let program = Program::start("600");
    let http = http_client();
    let idle = Session::begin(http.clone(), format!("{}/mcp", program.url)).await;
    let news = stream(&http, format!("{}/mcp", program.url), &[("mcp-session-id", idle.id.as_deref().unwrap())]).await;
    let sse = stream(&http, format!("{}/proxmox/mcp", program.url), &[]).await;
    program.terminate();
    let (well, took) = program.ends().await;
    // Far less than the time that calls would have been given.
    assert!(well && took < PATIENCE, "{took:?}");
    drop((news, sse));
}

#[cfg(unix)]
#[tokio::test]
async fn a_call_that_waits_when_the_signal_comes_is_told_that_it_was_cancelled() {
    let program = Program::start("3");
    let session = Session::begin(http_client(), format!("{}/mcp", program.url)).await;
    let clone = json!({"source_vmid": 107, "full": true, "confirm": true, "wait": true});
    let call = session.call("proxmox-clone-vm", clone);
    let end = async {
        sleep(Duration::from_secs(2)).await;
        program.terminate();
    };
    let (reply, ()) = tokio::join!(call, end);
    assert_eq!(reply["result"]["_meta"]["proxmox-mcp/error"]["kind"], "cancelled", "{reply}");
    assert!(reply.to_string().contains("UPID:"), "{reply}");
    assert!(program.ends().await.0);
}
