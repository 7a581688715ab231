//! A whole server in this process, for tests: MCP client ↔ MCP server ↔ simulated cluster, no sockets, on tokio's paused
//! clock. Every request that passes is held to the facts about the Proxmox API, where they are at hand.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![expect(dead_code, reason = "each test file uses its own part")]

pub mod facts;
pub mod older_names;
pub mod pveum;
pub mod web;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock},
};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Method, Request, Response};
use proxmox_mcp::{
    call::{App, Cluster},
    config::{Auth, ClusterConfig, Safety},
    mcp::Connection,
    policy::Settings,
    progress::{Progress, Update},
    pve::{Client, SendError, Transport, Upload, encode},
    sandbox::{Options, Sandbox},
    tool::Entry,
    tool_names::Alias,
};
use secrecy::ExposeSecret;
use serde_json::{Map, Value};

/// The cluster's default, with secrets and times that do not change.
pub fn options() -> Options {
    Options { fixed_secrets: true, epoch: Some(std::time::Duration::from_secs(1_800_000_000)), ..Options::default() }
}

pub struct Test {
    pub sandbox: Sandbox,
    pub app: Arc<App>,
    pub mcp: Connection,
    pub sent: Arc<Wire>,
    pub progress: Arc<Mutex<Vec<Update>>>,
}

/// Passes requests on, remembers them, and checks them.
pub struct Wire {
    sandbox: Sandbox,
    requests: Mutex<Vec<(Method, String)>>,
}

impl Transport for Wire {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, SendError>> {
        facts::check(&request);
        let path = request.uri().path().trim_start_matches("/api2/json").to_owned();
        self.requests.lock().unwrap().push((request.method().clone(), path));
        self.sandbox.send(request)
    }

    fn upload(&self, request: Request<Upload>) -> BoxFuture<'_, Result<Response<Bytes>, SendError>> {
        let fields: Vec<String> =
            request.body().fields().iter().map(|(key, value)| format!("{}={}", encode(key), encode(value))).collect();
        let (parts, upload) = request.into_parts();
        facts::check(&Request::from_parts(parts.clone(), fields.join("&").into()));
        let path = parts.uri.path().trim_start_matches("/api2/json").to_owned();
        self.requests.lock().unwrap().push((parts.method.clone(), path));
        self.sandbox.upload(Request::from_parts(parts, upload))
    }
}

impl Wire {
    /// Forgets what was sent so far.
    pub fn forget(&self) {
        self.requests.lock().unwrap().clear();
    }
    /// `METHOD /path` of everything sent that matches, in order.
    pub fn matching(&self, wanted: impl Fn(&Method, &str) -> bool) -> Vec<String> {
        let all = self.requests.lock().unwrap();
        all.iter()
            .filter(|(method, path)| wanted(method, path))
            .map(|(method, path)| format!("{method} {path}"))
            .collect()
    }
    pub fn writes(&self) -> Vec<String> {
        self.matching(|method, path| *method != Method::GET && path != "/access/ticket")
    }
    pub fn count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}

/// With other credentials than root's.
pub fn config(sandbox: &Sandbox, auth: Auth) -> ClusterConfig {
    ClusterConfig { auth, ..proxmox_mcp::embedded::cluster_config(sandbox) }
}

pub async fn start(options: Options) -> Test {
    let sandbox = Sandbox::new(options);
    let mut config = proxmox_mcp::embedded::cluster_config(&sandbox);
    config.upload_dir = Some(upload_dir());
    with(sandbox, config).await
}

/// The directory for uploads: an image and a template, both small.
pub fn upload_dir() -> PathBuf {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    let make = || {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("uploads");
        std::fs::create_dir_all(&folder).unwrap();
        for (name, bytes) in [("debian.iso", 700_000), ("debian.tar.zst", 5_000)] {
            let content: Vec<u8> = (0..bytes).map(|n: u32| ((n * 31) >> 3) as u8).collect();
            // Renamed, because other tests may be at it too.
            let draft = folder.join(format!("{name}.{}", std::process::id()));
            std::fs::write(&draft, content).unwrap();
            std::fs::rename(draft, folder.join(name)).unwrap();
        }
        folder
    };
    MADE.get_or_init(make).clone()
}

/// Families whose tools change the cluster's things and not a guest: `undo_cluster.rs` takes them back, `undo.rs` the others.
pub const OF_THE_CLUSTER: &[&str] = &[
    "backups",
    "backup_jobs",
    "replication",
    "storage",
    "upload",
    "os_templates",
    "network",
    "firewall",
    "agent",
    "ansible",
    "tasks",
    "cluster",
    "ha",
    "node_system",
    "node_power",
    "pools",
    "users",
    "permissions",
    "api",
    "clusters",
];

/// Every tool, and nothing forbidden.
pub fn everything() -> Safety {
    Safety { policy: Settings::everything().unwrap(), ..Safety::default() }
}

pub async fn with(sandbox: Sandbox, config: ClusterConfig) -> Test {
    guarded(sandbox, config, everything()).await
}

/// A way to the cluster that remembers what passes.
pub fn wire(sandbox: &Sandbox) -> Arc<Wire> {
    Arc::new(Wire { sandbox: sandbox.clone(), requests: Mutex::default() })
}

/// With what an operator allows, asks for and records.
pub async fn guarded(sandbox: Sandbox, config: ClusterConfig, safety: Safety) -> Test {
    let sent = wire(&sandbox);
    let client = Client::with_transport(&config, sent.clone());
    let app = App::with_clusters(vec![Cluster { name: config.name, client }], &safety).unwrap();
    let app = Arc::new(app);
    let progress = Arc::new(Mutex::new(Vec::new()));
    let seen = progress.clone();
    let listener = Progress::to(move |update| seen.lock().unwrap().push(update));
    let mcp = Connection::local(Arc::clone(&app), listener).await.expect("client and server understand one another");
    Test { sandbox, app, mcp, sent, progress }
}

impl Test {
    /// Calls a tool that must succeed, with a result that fits the tool's output schema.
    pub async fn call(&self, tool: &str, arguments: Value) -> Value {
        match self.mcp.call(tool, arguments.clone()).await {
            Ok(value) => {
                let entry = proxmox_mcp::tools::all().find(|entry| entry.name == tool).unwrap();
                fits(tool, entry.output_schema(), &value);
                value
            }
            Err(e) => panic!("{tool} {arguments}: {e}"),
        }
    }

    /// The arguments of a tool's example; `UPID:…` stands for the newest task of the cluster.
    pub async fn example(&self, entry: &Entry) -> Value {
        let (name, arguments) = (entry.name, entry.example.1);
        let mut arguments: Value =
            serde_json::from_str(arguments).unwrap_or_else(|e| panic!("{name}: its example is no JSON: {e}"));
        if arguments["upid"] == "UPID:…" {
            let tasks = self.call("proxmox-list-tasks", serde_json::json!({"limit": 1})).await;
            arguments["upid"] = tasks["tasks"][0]["upid"].clone();
        }
        arguments
    }

    /// The arguments of an older name's example; `UPID:…` stands for a task that goes on.
    pub async fn older_example(&self, alias: &Alias) -> Value {
        let mut arguments: Value = serde_json::from_str(alias.example.1).unwrap();
        for key in ["upid", "job_id"] {
            if arguments[key] == "UPID:…" {
                let backup = serde_json::json!({"node": "pve2", "vmid": "101", "storage": "nas", "wait": false});
                arguments[key] = self.mcp.call("create_backup", backup).await.unwrap()["upid"].clone();
            }
        }
        arguments
    }

    /// What is told to nobody: the credentials, and the passwords among these arguments.
    pub fn secrets(&self, arguments: &Value) -> Vec<String> {
        fn given(value: &Value, secret: bool, out: &mut Vec<String>) {
            match value {
                Value::Object(map) => map.iter().for_each(|(key, value)| given(value, key.contains("password"), out)),
                Value::Array(items) => items.iter().for_each(|item| given(item, secret, out)),
                Value::String(text) if secret => out.push(text.clone()),
                _ => {}
            }
        }
        let known = self.sandbox.credentials();
        let mut all = vec!["PVE:root@pam".to_owned(), known.token_secret.expose_secret().to_owned()];
        all.push(known.password.expose_secret().to_owned());
        given(arguments, false, &mut all);
        all
    }

    /// Calls a tool that must fail; what it says.
    pub async fn fails(&self, tool: &str, arguments: Value) -> String {
        match self.mcp.call(tool, arguments.clone()).await {
            Ok(value) => panic!("{tool} {arguments} succeeded: {value}"),
            Err(e) => e.to_string(),
        }
    }
}

/// All of the cluster that a caller can change, without what moves by itself: counters, and what the statistics daemon saw
/// last.
pub fn settled(sandbox: &Sandbox) -> String {
    let mut within: Option<usize> = None;
    let mut kept = Vec::new();
    let all = sandbox.snapshot();
    for line in all.lines() {
        let depth = line.len() - line.trim_start().len();
        if within.is_some_and(|begun| depth > begun) {
            continue;
        }
        // The line that ends what was left out.
        let end = within.take().is_some() && matches!(line.trim(), "}," | ")," | "],");
        if end || line.trim().starts_with("changed:") {
            continue;
        }
        match line.trim().starts_with("shown:") {
            true => within = Some(depth).filter(|_| !line.ends_with(',')),
            false => kept.push(line),
        }
    }
    kept.join("\n")
}

/// Holds a result to its tool's output schema, closed: nothing that the schema does not name.
pub fn fits(tool: &str, schema: Map<String, Value>, value: &Value) {
    let mut schema = Value::Object(schema);
    close(&mut schema);
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<String> = validator.iter_errors(value).map(|e| format!("{e} at {}", e.instance_path())).collect();
    assert!(errors.is_empty(), "{tool}: {}\n{value}", errors.join("; "));
}

fn close(schema: &mut Value) {
    if let Value::Object(map) = schema {
        if map.contains_key("properties") {
            map.entry("additionalProperties").or_insert(Value::Bool(false));
        }
        map.values_mut().for_each(close);
    } else if let Value::Array(items) = schema {
        items.iter_mut().for_each(close);
    }
}
