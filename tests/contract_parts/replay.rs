//! Sends recorded requests to the simulated cluster: its own tickets, secrets, digests and UPIDs in the place of the
//! recorded ones, and as much time between them as there was.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request};
use proxmox_mcp::{
    pve::{api::Api, encode},
    sandbox::Sandbox,
};
use serde_json::Value;

use super::{
    compare::Answer,
    deeds::{self, Shell},
};

/// Never longer than this for a task.
const PATIENCE: Duration = Duration::from_secs(120);

pub struct Replay<'a> {
    sandbox: Sandbox,
    api: Api,
    shell: Shell,
    records: &'a [Value],
    /// The record that comes next.
    at: usize,
    served: BTreeSet<(String, &'static str)>,
    /// Recorded text (UPID, digest) → ours.
    ours: HashMap<String, String>,
    /// Token → its secret here.
    secrets: HashMap<String, String>,
    tickets: BTreeMap<String, (String, String)>,
    /// Recorded UPIDs of tasks that may be running.
    running: Vec<String>,
    last_begun: tokio::time::Instant,
}

impl<'a> Replay<'a> {
    pub fn new(records: &'a [Value]) -> Self {
        let sandbox = deeds::server();
        let served = sandbox.served().map(|(method, path)| (method.to_string(), path)).collect();
        Self {
            sandbox,
            api: Api::embedded(),
            shell: Shell::default(),
            records,
            at: 0,
            served,
            ours: HashMap::new(),
            secrets: [("root@pam!full".to_owned(), "full-secret".to_owned())].into(),
            tickets: BTreeMap::new(),
            running: Vec::new(),
            last_begun: tokio::time::Instant::now(),
        }
    }

    /// Method and template of a record; its path where the API has no such method.
    pub fn method(&self, record: &Value) -> String {
        let (method, path) = (record["method"].as_str().unwrap(), record["path"].as_str().unwrap());
        let known = self.find(method, path);
        format!("{method} {}", known.unwrap_or(path))
    }

    fn find(&self, method: &str, path: &str) -> Option<&'static str> {
        let path = path.split('?').next().unwrap_or_default();
        let path = path.strip_prefix("/api2/").and_then(|path| path.split_once('/')).map_or("", |(_, path)| path);
        let path = percent_encoding::percent_decode_str(path).decode_utf8_lossy().into_owned();
        let method = Method::from_bytes(method.as_bytes()).ok()?;
        self.api.lookup(&method, &path).map(|(endpoint, _)| endpoint.path)
    }

    /// Sends the next record; nothing comes back where its method is not served, or it speaks of a task that is not
    /// there because what began it is not served.
    pub async fn send(&mut self, record: &Value) -> Option<Answer> {
        let (method, path) = (record["method"].as_str()?, record["path"].as_str()?);
        self.pass_time().await;
        self.shell.before(&self.sandbox, record["seq"].as_u64()?).await;
        self.at += 1;
        if let Some(template) = self.find(method, path)
            && !self.served.contains(&(method.to_owned(), template))
        {
            return None;
        }
        let path = self.translated(&decoded(path));
        if path.contains("UPID:pve:0000") && self.is_recorded_task(&path) {
            return None;
        }
        if record["note"].as_str().is_some_and(|note| note.contains("(after exit; second read)")) {
            self.see_exit(record, &path).await;
        }
        let request = self.request(record, &path).await;
        let response = self.sandbox.handle(request).await.ok()?;
        let reason = proxmox_mcp::sandbox::reason(&response).into_owned();
        let body = serde_json::from_slice(response.body())
            .unwrap_or_else(|_| String::from_utf8_lossy(response.body()).into_owned().into());
        let body: Value = body;
        let said = serde_json::from_str(&self.recorded(&body.to_string())).unwrap_or_default();
        let content_type = response.headers().get("content-type").map_or("", |v| v.to_str().unwrap_or_default());
        let answer = Answer {
            status: response.status().as_u16(),
            reason: self.recorded(&reason),
            content_type: content_type.to_owned(),
            body: said,
        };
        self.learn(record, &body);
        Some(answer)
    }

    /// Looks at a process until it has ended, as was done unrecorded before the second read of its result.
    async fn see_exit(&mut self, record: &Value, path: &str) {
        let begun = tokio::time::Instant::now();
        while begun.elapsed() < PATIENCE {
            let request = self.request(record, path).await;
            let Ok(response) = self.sandbox.handle(request).await else { return };
            let body: Value = serde_json::from_slice(response.body()).unwrap_or_default();
            if body["data"]["exited"] != 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }

    /// Whether a path speaks of a task of the recording that has none of ours in its place.
    fn is_recorded_task(&self, path: &str) -> bool {
        self.records.iter().any(|other| upid(other).is_some_and(|upid| path.contains(upid)))
    }

    /// What the recording calls ours.
    fn recorded(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (theirs, ours) in &self.ours {
            text = text.replace(ours.as_str(), theirs);
        }
        text
    }

    fn translated(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (theirs, ours) in &self.ours {
            text = text.replace(theirs.as_str(), ours);
        }
        text
    }

    async fn request(&mut self, record: &Value, path: &str) -> Request<Bytes> {
        let method = record["method"].as_str().unwrap();
        let (path, mut query) =
            path.split_once('?').map_or((path.to_owned(), String::new()), |(p, q)| (p.to_owned(), q.to_owned()));
        // Encoded but for the slashes, which are part of the path's structure or of a volume's name.
        let path = path.split('/').map(|segment| encode(segment).into_owned()).collect::<Vec<_>>().join("/");
        let content_type = record["request_headers"]["Content-Type"]
            .as_str()
            .or(record["request_content_type"].as_str())
            .unwrap_or("application/x-www-form-urlencoded")
            .to_owned();
        let pairs = self.pairs(&record["params"]);
        let form = || {
            let pairs = pairs.iter().flat_map(|(key, value)| match value {
                Value::Array(list) => list.iter().map(|one| (key, text(one))).collect::<Vec<_>>(),
                one => vec![(key, text(one))],
            });
            pairs.map(|(key, value)| format!("{}={}", encode(key), encode(&value))).collect::<Vec<_>>().join("&")
        };
        let mut body = String::new();
        if let Some(raw) = record["request_body"].as_str() {
            body = whole(raw);
        } else if matches!(method, "GET" | "DELETE" | "HEAD") {
            query = [query, form()].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("&");
        } else if content_type == "application/json" {
            body = Value::Object(pairs.iter().cloned().collect()).to_string();
        } else {
            body = form();
        }
        let uri = if query.is_empty() { path } else { format!("{path}?{query}") };
        let mut builder = Request::builder().method(method).uri(format!("https://pve:8006{uri}"));
        if !body.is_empty() {
            builder = builder.header("content-type", content_type);
        }
        for (name, value) in self.credentials(record).await {
            builder = builder.header(name, value);
        }
        builder.body(body.into()).unwrap()
    }

    fn pairs(&self, params: &Value) -> Vec<(String, Value)> {
        let own = |value: &Value| match value {
            Value::String(text) => self.translated(text).into(),
            other => other.clone(),
        };
        match params {
            Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), own(value))).collect(),
            Value::Array(list) => {
                list.iter().map(|pair| (pair[0].as_str().unwrap().to_owned(), own(&pair[1]))).collect()
            }
            _ => Vec::new(),
        }
    }

    async fn credentials(&mut self, record: &Value) -> Vec<(&'static str, String)> {
        let token = |id: &str, secret: &str| vec![("authorization", format!("PVEAPIToken={id}={secret}"))];
        let note = record["note"].as_str().unwrap_or_default();
        let secret = |name: &str| self.secrets.get(name).cloned().unwrap_or_default();
        match record["auth"].as_str().unwrap() {
            "token" => token("root@pam!full", "full-secret"),
            "token:alice-privsep" => token("alice@pve!t1", &secret("alice@pve!t1")),
            alice if alice.starts_with("token:alice") => token("alice@pve!t2", &secret("alice@pve!t2")),
            "none" if note.starts_with("Bearer") => vec![("authorization", "Bearer abc".to_owned())],
            "none" if note.starts_with("space instead") => {
                vec![("authorization", "PVEAPIToken root@pam!full=full-secret".to_owned())]
            }
            "none" => Vec::new(),
            "bad" if note.contains("no secret") => vec![("authorization", "PVEAPIToken=root@pam!full".to_owned())],
            "bad" if note.starts_with("malformed") => vec![("authorization", "PVEAPIToken=nonsense".to_owned())],
            "bad" if note.starts_with("unknown") => token("root@pam!nosuch", "full-secret"),
            "bad" => token("root@pam!full", "wrong-secret"),
            "ticket-bad" | "ticket-expired" => vec![("cookie", "PVEAuthCookie=PVE:root@pam:00000000::AAAA".to_owned())],
            kind => {
                let (user, password) = if kind == "ticket:alice" {
                    ("alice@pve", "alice-secret-1")
                } else {
                    ("root@pam", "root-password")
                };
                let (ticket, csrf) = self.ticket(user, password).await;
                let mut out = vec![("cookie", format!("PVEAuthCookie={}", encode(&ticket)))];
                match record["request_headers"]["CSRFPreventionToken"].as_str() {
                    Some(_) if note.contains("bad CSRF") || note.contains("expired CSRF") => {
                        out.push(("csrfpreventiontoken", "6B00F3D0:AAAA".to_owned()));
                    }
                    Some(_) => out.push(("csrfpreventiontoken", csrf)),
                    None => {}
                }
                out
            }
        }
    }

    async fn ticket(&mut self, user: &str, password: &str) -> (String, String) {
        let body = format!("username={}&password={password}", encode(user));
        let request = Request::post("https://pve:8006/api2/json/access/ticket").body(Bytes::from(body)).unwrap();
        let response = self.sandbox.handle(request).await.unwrap();
        let body: Value = serde_json::from_slice(response.body()).unwrap();
        let data = &body["data"];
        let pair = (text(&data["ticket"]), text(&data["CSRFPreventionToken"]));
        self.tickets.insert(user.to_owned(), pair.clone());
        pair
    }

    /// Notes what stands for what.
    fn learn(&mut self, record: &Value, ours: &Value) {
        let real = &record["body"]["data"];
        let ours = &ours["data"];
        if let (Some(theirs), Some(upid)) = (upid(record), ours.as_str()) {
            self.ours.insert(theirs.to_owned(), upid.to_owned());
            self.running.push(theirs.to_owned());
            self.last_begun = tokio::time::Instant::now();
        }
        if let (Some(theirs), Some(digest)) = (digest(real), digest(ours)) {
            self.ours.insert(theirs.to_owned(), digest.to_owned());
        }
        if let (Some(id), Some(secret)) = (ours["full-tokenid"].as_str(), ours["value"].as_str()) {
            self.secrets.insert(id.to_owned(), secret.to_owned());
        }
        // Backups are named after the time at which they were made.
        for theirs in real.as_array().into_iter().flatten().filter(|row| row["content"] == "backup") {
            let same = |row: &&Value| row["content"] == "backup" && row["vmid"] == theirs["vmid"];
            if let Some(same) = ours.as_array().and_then(|rows| rows.iter().find(same)) {
                let file = |volid: &Value| text(volid).rsplit('/').next().unwrap_or_default().to_owned();
                self.ours.insert(file(&theirs["volid"]), file(&same["volid"]));
            }
        }
        if let Some(ticket) = ours["ticket"].as_str() {
            self.ours.insert(text(&real["ticket"]), ticket.to_owned());
            let user = text(&ours["username"]);
            self.tickets.insert(user, (ticket.to_owned(), text(&ours["CSRFPreventionToken"])));
        }
    }

    /// Lets as much time pass before the next record as the recording did: until a task's end where the record shows
    /// that end; not at all where a later one does; else until the next task was begun.
    async fn pass_time(&mut self) {
        let record = &self.records[self.at];
        let next = self.records[self.at..].iter().position(|other| upid(other).is_some()).map(|n| self.at + n);
        let until_next = &self.records[self.at..next.unwrap_or(self.records.len())];
        let before = &self.records[..self.at];
        let mut all = true;
        for theirs in self.running.clone() {
            let shows = shows_end(record, &theirs);
            // Asked for after it was seen running, it was waited for.
            let seen = before
                .iter()
                .rev()
                .take_while(|other| upid(other) != Some(&theirs))
                .any(|other| mentions(other, &theirs));
            if !shows && !seen && until_next.iter().any(|later| shows_end(later, &theirs)) {
                all = false;
                continue;
            }
            let limit = if shows { PATIENCE } else { self.gap(next) };
            if self.wait(&theirs, limit).await {
                self.running.retain(|other| *other != theirs);
            }
        }
        // Nobody waits for a task: the rest of the time passes too, in equal parts.
        if all {
            let rest = self.gap(next).min(PATIENCE).saturating_sub(self.last_begun.elapsed());
            tokio::time::sleep(rest / (until_next.len() as u32 + 1)).await;
        }
    }

    /// The time between the last task's begin and the next one's, less what answers in between took.
    fn gap(&self, next: Option<usize>) -> Duration {
        let last = self.records[..self.at].iter().rposition(|other| upid(other).is_some());
        let (Some(last), Some(next)) = (last, next) else { return PATIENCE };
        let begin =
            |at: usize| upid(&self.records[at]).and_then(|upid| u64::from_str_radix(upid.split(':').nth(3)?, 16).ok());
        let (Some(from), Some(to)) = (begin(last), begin(next)) else { return PATIENCE };
        // The server was restarted in between.
        let Some(ticks) = to.checked_sub(from) else { return PATIENCE };
        let waits =
            self.records[last..next].iter().map(|other| other["elapsed_s"].as_f64().unwrap_or(0.0)).sum::<f64>();
        Duration::from_secs_f64((ticks as f64 / 100.0 - waits).max(0.0))
    }

    /// Waits for the end of a task; whether it came.
    async fn wait(&self, theirs: &str, limit: Duration) -> bool {
        let Some(ours) = self.ours.get(theirs) else { return true };
        let begun = tokio::time::Instant::now();
        loop {
            let uri = format!("https://pve:8006/api2/json/nodes/pve/tasks/{}/status", encode(ours));
            let request = Request::get(uri).header("authorization", "PVEAPIToken=root@pam!full=full-secret");
            let response = self.sandbox.handle(request.body(Bytes::new()).unwrap()).await.unwrap();
            let body: Value = serde_json::from_slice(response.body()).unwrap_or_default();
            if body["data"]["status"] != "running" {
                return true;
            }
            if begun.elapsed() >= limit {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// A form as it was sent: the recorder cut bodies short, and all files that are not whole there were 4096 zeros.
fn whole(body: &str) -> String {
    let Some(boundary) = body.split("\r\n").next().filter(|line| line.starts_with("--") && !line.contains('=')) else {
        return body.to_owned();
    };
    let Some((head, file)) = body.rsplit_once("\r\n\r\n").filter(|(_, file)| !file.contains(boundary)) else {
        return body.to_owned();
    };
    assert!(file.bytes().all(|byte| byte == 0), "what is this file? {file}");
    format!("{head}\r\n\r\n{}\r\n{boundary}--\r\n", "\0".repeat(4096))
}

/// The UPID that a record answers.
fn upid(record: &Value) -> Option<&str> {
    record["body"]["data"].as_str().filter(|text| text.starts_with("UPID:"))
}

fn digest(data: &Value) -> Option<&str> {
    data["digest"].as_str().or_else(|| data[0]["digest"].as_str())
}

/// Whether a record asks for a task.
fn mentions(record: &Value, upid: &str) -> bool {
    decoded(record["path"].as_str().unwrap_or_default()).contains(upid)
}

/// Whether a record shows how a task ended.
fn shows_end(record: &Value, upid: &str) -> bool {
    let path = decoded(record["path"].as_str().unwrap_or_default());
    if !mentions(record, upid) {
        return false;
    }
    let data = &record["body"]["data"];
    let last = data.as_array().and_then(|lines| lines.last()).map(|line| text(&line["t"])).unwrap_or_default();
    data["status"] == "stopped"
        || last.starts_with("TASK ")
        || (path.ends_with("/log") && last == "QEMU Guest Agent is not running - received interrupt")
}

fn decoded(path: &str) -> String {
    percent_encoding::percent_decode_str(path).decode_utf8_lossy().into_owned()
}

/// A value as a form has it.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        Value::Bool(value) => u8::from(*value).to_string(),
        other => other.to_string(),
    }
}
