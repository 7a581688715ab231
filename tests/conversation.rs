//! The conversation itself, message by message as a client writes them, in both eras of the protocol: progress,
//! cancelling, time limits, faults.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};
use proxmox_mcp::{
    call::{App, Cluster},
    mcp::Server,
    pve::{Client, SendError, Transport, Upload},
    sandbox::Sandbox,
};
use rmcp::ServiceExt;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, Lines, ReadHalf, WriteHalf},
    time::sleep,
};

/// The way to the simulated cluster: counts what passes, and blows up when it is told to.
struct Way {
    sandbox: Sandbox,
    passed: AtomicUsize,
    blows_up: AtomicBool,
}

impl Transport for Way {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, SendError>> {
        assert!(!self.blows_up.load(Ordering::SeqCst), "boom");
        self.passed.fetch_add(1, Ordering::SeqCst);
        self.sandbox.send(request)
    }
    fn upload(&self, request: Request<Upload>) -> BoxFuture<'_, Result<Response<Bytes>, SendError>> {
        self.sandbox.upload(request)
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Era {
    /// Begins with `initialize`.
    Older,
    /// Every request says who asks.
    Newer,
}
const ERAS: [Era; 2] = [Era::Older, Era::Newer];

struct Talk {
    era: Era,
    write: WriteHalf<DuplexStream>,
    lines: Lines<BufReader<ReadHalf<DuplexStream>>>,
    way: Arc<Way>,
}

impl Talk {
    async fn start(era: Era, call_timeout: Option<Duration>) -> Self {
        let sandbox = Sandbox::new(support::options());
        let config = proxmox_mcp::embedded::cluster_config(&sandbox);
        let way = Arc::new(Way { sandbox, passed: AtomicUsize::new(0), blows_up: AtomicBool::new(false) });
        let client = Client::with_transport(&config, way.clone());
        let clusters = vec![Cluster { name: config.name, client }];
        let app = App::with_clusters(clusters, &support::everything()).unwrap().with_call_timeout(call_timeout);
        let (here, there) = tokio::io::duplex(1 << 20);
        tokio::spawn(async move { Server::new(Arc::new(app)).serve(there).await.unwrap().waiting().await.unwrap() });
        let (read, write) = tokio::io::split(here);
        let mut talk = Self { era, write, lines: BufReader::new(read).lines(), way };
        if era == Era::Older {
            let hello = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}});
            talk.send(json!({"id": 0, "method": "initialize", "params": hello})).await;
            assert_eq!(talk.next().await["result"]["protocolVersion"], "2025-11-25");
            talk.send(json!({"method": "notifications/initialized"})).await;
        }
        talk
    }

    async fn send(&mut self, mut message: Value) {
        message["jsonrpc"] = json!("2.0");
        self.write.write_all(format!("{message}\n").as_bytes()).await.unwrap();
    }

    async fn call(&mut self, id: u32, tool: &str, arguments: Value) {
        let mut meta = json!({"progressToken": id});
        if self.era == Era::Newer {
            meta["io.modelcontextprotocol/protocolVersion"] = json!("2026-07-28");
            meta["io.modelcontextprotocol/clientCapabilities"] = json!({});
            meta["io.modelcontextprotocol/clientInfo"] = json!({"name": "test", "version": "1"});
        }
        let params = json!({"name": tool, "arguments": arguments, "_meta": meta});
        self.send(json!({"id": id, "method": "tools/call", "params": params})).await;
    }

    async fn next(&mut self) -> Value {
        serde_json::from_str(&self.lines.next_line().await.unwrap().unwrap()).unwrap()
    }

    /// The next reply, and the progress that was told of before it.
    async fn reply(&mut self) -> (Value, Vec<Value>) {
        let mut progress = Vec::new();
        loop {
            let message = self.next().await;
            if message.get("id").is_some() {
                return (message, progress);
            }
            assert_eq!(message["method"], "notifications/progress");
            progress.push(message["params"].clone());
        }
    }

    fn passed(&self) -> usize {
        self.way.passed.load(Ordering::SeqCst)
    }
}

/// Takes the cluster many seconds.
fn clone() -> Value {
    json!({"source_vmid": 107, "full": true, "confirm": true, "wait": true})
}

#[tokio::test(start_paused = true)]
async fn progress_ever_grows_and_is_told_before_the_result() {
    for era in ERAS {
        let mut talk = Talk::start(era, None).await;
        talk.call(7, "proxmox-clone-vm", clone()).await;
        let (reply, progress) = talk.reply().await;
        assert_eq!(
            (&reply["id"], &reply["result"]["structuredContent"]["state"]),
            (&json!(7), &json!("done")),
            "{reply}"
        );
        assert!(progress.len() > 3 && progress.iter().all(|p| p["progressToken"] == 7), "{era:?}: {progress:?}");
        let values: Vec<f64> = progress.iter().map(|p| p["progress"].as_f64().unwrap()).collect();
        assert!(values.is_sorted_by(|a, b| a < b) && values.iter().all(|v| *v <= 100.0), "{era:?}: {values:?}");
        talk.call(8, "proxmox-list-nodes", json!({})).await;
        assert_eq!(talk.reply().await.0["id"], 8, "{era:?}: something came after the result");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_call_stops_waiting_and_is_not_answered() {
    for era in ERAS {
        let mut talk = Talk::start(era, None).await;
        talk.call(7, "proxmox-clone-vm", clone()).await;
        sleep(Duration::from_secs(2)).await;
        talk.send(json!({"method": "notifications/cancelled", "params": {"requestId": 7, "reason": "enough"}})).await;
        sleep(Duration::from_secs(1)).await;
        let passed = talk.passed();
        assert!(passed > 2, "{era:?}: the call had not begun");
        sleep(Duration::from_secs(60)).await;
        assert_eq!(talk.passed(), passed, "{era:?}: it still looks at its task");
        talk.call(8, "proxmox-list-tasks", json!({"limit": 1})).await;
        let (reply, _) = talk.reply().await;
        let task = &reply["result"]["structuredContent"]["tasks"][0];
        assert_eq!(
            (&reply["id"], &task["type"], &task["status"]),
            (&json!(8), &json!("qmclone"), &json!("OK")),
            "{reply}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_fault_is_answered_and_the_next_call_is_none_the_worse() {
    for era in ERAS {
        let mut talk = Talk::start(era, None).await;
        talk.way.blows_up.store(true, Ordering::SeqCst);
        for (id, tool, arguments) in
            [(1, "proxmox-list-nodes", json!({})), (2, "proxmox-start-vm", json!({"vmid": 107}))]
        {
            talk.call(id, tool, arguments).await;
            let (reply, _) = talk.reply().await;
            assert_eq!((&reply["id"], &reply["result"]["isError"]), (&json!(id), &json!(true)), "{era:?}: {reply}");
            assert_eq!(reply["result"]["_meta"]["proxmox-mcp/error"]["kind"], "internal", "{era:?}: {reply}");
        }
        talk.way.blows_up.store(false, Ordering::SeqCst);
        talk.call(4, "proxmox-start-vm", json!({"vmid": 107, "wait": true})).await;
        let (reply, _) = talk.reply().await;
        assert_eq!(reply["result"]["structuredContent"]["exitstatus"], "OK", "{era:?}: {reply}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_takes_too_long_ends_with_what_was_done_and_the_task_that_goes_on() {
    for era in ERAS {
        let mut talk = Talk::start(era, Some(Duration::from_secs(4))).await;
        talk.call(1, "proxmox-start-vm", json!({"vmid": 107, "wait": true})).await;
        assert_eq!(talk.reply().await.0["result"]["structuredContent"]["state"], "done");
        let arguments = json!({"template": 9000, "name": "web", "hardware": {"disk_gb": 40}, "start": true, "confirm": true, "wait": true});
        talk.call(2, "proxmox-create-vm-cloudinit", arguments).await;
        let (reply, _) = talk.reply().await;
        let error = &reply["result"]["_meta"]["proxmox-mcp/error"];
        assert_eq!((&reply["id"], &error["kind"]), (&json!(2), &json!("timeout")), "{reply}");
        // Cloned, configured and enlarged; it is starting.
        let (upid, done) = (error["upid"].as_str().unwrap(), error["done"].as_array().unwrap());
        assert!(upid.contains(":qmstart:") && done.len() > 1, "{reply}");
        assert!(done[0].as_str().unwrap().ends_with("/qemu/9000/clone"), "{reply}");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(&format!("task {upid} (qmstart")) && message.ends_with("goes on"), "{reply}");
        let passed = talk.passed();
        sleep(Duration::from_secs(60)).await;
        assert_eq!(talk.passed(), passed, "{era:?}: it goes on");
        talk.call(3, "proxmox-wait-task", json!({"upid": upid})).await;
        assert_eq!(talk.reply().await.0["result"]["structuredContent"]["exitstatus"], "OK");
    }
}
