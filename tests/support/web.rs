//! The program over HTTP on a free port, in this process: real sockets and real time, on the simulated cluster.

use std::sync::Arc;

use proxmox_mcp::{
    call::{App, Cluster},
    config::{Safety, Web},
    embedded,
    ending::Ending,
    pve::Client,
    sandbox::{Options, Sandbox},
    web::{Callers, Listener, everything, serve_on},
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{Wire, everything as all_tools, options, wire};

/// A server, until it is dropped or ended.
pub struct Served {
    /// Without a slash at the end.
    pub url: String,
    pub sandbox: Sandbox,
    /// What went to the cluster.
    pub sent: Arc<Wire>,
    pub app: Arc<App>,
    pub ending: Ending,
    pub serving: JoinHandle<()>,
    pub http: reqwest::Client,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.ending.begun.cancel();
        self.ending.calls.cancel();
    }
}

impl Served {
    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }
}

/// One MCP session of whoever shows this key.
pub struct Session<'a> {
    server: &'a Served,
    key: Option<String>,
    pub id: String,
}

impl Served {
    /// Says hello.
    pub async fn session(&self, key: Option<&str>) -> Session<'_> {
        let mut session = Session { server: self, key: key.map(str::to_owned), id: String::new() };
        let hello = json!({"protocolVersion": "2025-06-18", "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"}});
        let answer = session.post(&request("initialize", hello)).await;
        assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
        session.id = answer.headers()["mcp-session-id"].to_str().unwrap().to_owned();
        let done = session.post(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
        assert_eq!(done.status(), 202);
        session
    }
}

fn request(method: &str, params: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
}

impl Session<'_> {
    /// Of a message, or of the stream of news.
    pub fn with_headers(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        let request = request.header("Accept", "application/json, text/event-stream");
        let request = self.key.iter().fold(request, |request, key| request.bearer_auth(key));
        if self.id.is_empty() { request } else { request.header("Mcp-Session-Id", &self.id) }
    }

    pub async fn post(&self, message: &Value) -> reqwest::Response {
        let request = self.server.http.post(self.server.at("/mcp")).json(message);
        self.with_headers(request).send().await.unwrap()
    }

    /// The result of a request that is answered.
    pub async fn ask(&self, method: &str, params: Value) -> Value {
        let answer = self.post(&request(method, params)).await;
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert_eq!(status, 200, "{text}");
        let data = text.lines().filter_map(|line| line.strip_prefix("data:"));
        let answers = data.filter_map(|data| serde_json::from_str::<Value>(data).ok());
        let mut answers = answers.filter(|message| message["id"] == 1);
        answers.next().unwrap_or_else(|| panic!("no answer to {method}: {text}"))["result"].take()
    }

    pub async fn tools(&self) -> Vec<String> {
        let listed = self.ask("tools/list", json!({})).await;
        listed["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
    }

    pub async fn call(&self, tool: &str, arguments: Value) -> Value {
        self.ask("tools/call", json!({"name": tool, "arguments": arguments})).await
    }
}

/// A client that keeps its connections.
pub fn http_client() -> reqwest::Client {
    // Several tests of one process may be the first.
    drop(rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::new()
}

/// All tools for everybody, on a cluster whose tasks take little time.
pub async fn serve() -> Served {
    serve_with(Web::default(), all_tools(), Options { time_scale: 100.0, ..options() }).await
}

pub async fn serve_with(web: Web, safety: Safety, options: Options) -> Served {
    let sandbox = Sandbox::new(options);
    let config = embedded::cluster_config(&sandbox);
    let sent = wire(&sandbox);
    let client = Client::with_transport(&config, sent.clone());
    let app = Arc::new(App::with_clusters(vec![Cluster { name: config.name, client }], &safety).unwrap());
    let ending = Ending::default();
    let callers = Arc::new(Callers::new(Arc::clone(&app), &web, &ending).unwrap());
    let listener = Listener::bind(([127, 0, 0, 1], 0).into(), &web).await.unwrap();
    let url = listener.url();
    let serving = tokio::spawn(serve_on(listener, everything(&callers, &web), web.limits, ending.clone()));
    Served { url, sandbox, sent, app, ending, serving, http: http_client() }
}
