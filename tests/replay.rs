//! The recordings of a real server, replayed against the simulated cluster in their order: for every method that the
//! sandbox serves, status, reason phrase, and the presence and JSON types of the fields have to agree (not the values
//! that differ by nature). What does not agree is explained, one by one, in `replay/explained.txt`.
#![expect(clippy::unwrap_used, reason = "tests")]
#![expect(clippy::print_stdout, reason = "the share that agrees is to be seen")]

#[path = "replay/compare.rs"]
mod compare;

use std::collections::BTreeMap;

use bytes::Bytes;
use compare::{differences, learn};
use http::{Method, Request};
use hyper::ext::ReasonPhrase;
use percent_encoding::percent_decode_str;
use proxmox_mcp::{
    pve::{api::Api, encode},
    sandbox::{Options, Sandbox},
};
use secrecy::ExposeSecret;
use serde_json::Value;

const EXPLAINED: &str = include_str!("replay/explained.txt");

/// What one recording's values are called here: UPIDs, digests, secrets, tickets.
type Names = BTreeMap<String, String>;

struct Player {
    sandbox: Sandbox,
    api: Api,
    names: Names,
    /// Tickets and CSRF tokens by user.
    sessions: BTreeMap<String, (String, String)>,
    templates: Vec<(Method, &'static str)>,
}

/// Status, reason phrase, body (a string where it is no JSON).
struct Answer {
    status: u16,
    reason: String,
    body: Value,
}

impl Player {
    fn new() -> Self {
        let sandbox = Sandbox::new(Options {
            nodes: vec!["pve".to_owned()],
            guests: 0,
            fixed_secrets: true,
            epoch: Some(std::time::Duration::from_secs(1_795_224_711)),
            ..Options::default()
        });
        let templates = sandbox.served().map(|(method, path)| (method.clone(), path)).collect();
        Self { sandbox, api: Api::embedded(), names: Names::new(), sessions: BTreeMap::new(), templates }
    }

    fn is_served(&self, method: &str, path: &str) -> bool {
        let Ok(method) = method.parse::<Method>() else { return false };
        let found = self.api.lookup(&method, &percent_decode_str(path).decode_utf8_lossy());
        // A method that does not exist is to be refused; one that exists and is not served yet is left out.
        found.is_none_or(|(endpoint, _)| self.templates.iter().any(|(m, t)| *m == method && *t == endpoint.path))
    }

    /// A recorded text with the names that things have here.
    fn rename(&self, text: &str) -> String {
        let mut out = text.to_owned();
        for (theirs, ours) in &self.names {
            if out.contains(theirs.as_str()) {
                out = out.replace(theirs.as_str(), ours);
            }
        }
        out
    }

    async fn send(&self, request: http::request::Builder, body: &str) -> Answer {
        let request = request.body(Bytes::copy_from_slice(body.as_bytes())).unwrap();
        let response = self.sandbox.handle(request).await.unwrap();
        let reason = response.extensions().get::<ReasonPhrase>().map(|reason| reason.as_bytes().to_vec());
        let text = String::from_utf8_lossy(response.body()).into_owned();
        Answer {
            status: response.status().as_u16(),
            reason: String::from_utf8(reason.unwrap_or_default()).unwrap(),
            body: serde_json::from_str(&text).unwrap_or(Value::String(text)),
        }
    }

    /// Sends with the token of root.
    async fn call(&self, line: &str, params: &str) -> Answer {
        let (method, path) = line.split_once(' ').unwrap();
        let (path, body) = match method {
            "GET" | "DELETE" => (format!("{path}?{params}"), ""),
            _ => (path.to_owned(), params),
        };
        let request = Request::builder().method(method).uri(format!("/api2/json{path}"));
        self.send(request.header("Authorization", self.root()), body).await
    }

    fn root(&self) -> String {
        let known = self.sandbox.credentials();
        format!("PVEAPIToken={}={}", known.token_id, known.token_secret.expose_secret())
    }

    /// The ticket of a user, logged in when it is first wanted.
    async fn session(&mut self, user: &str, password: &str) -> (String, String) {
        if let Some(session) = self.sessions.get(user) {
            return session.clone();
        }
        let form = format!("username={}&password={}", encode(user), encode(password));
        let answer = self.call_open("POST /access/ticket", &form).await;
        let text = |key: &str| answer.body["data"][key].as_str().unwrap_or_default().to_owned();
        let session = (text("ticket"), text("CSRFPreventionToken"));
        self.sessions.insert(user.to_owned(), session.clone());
        session
    }

    async fn call_open(&self, line: &str, params: &str) -> Answer {
        let (method, path) = line.split_once(' ').unwrap();
        self.send(Request::builder().method(method).uri(format!("/api2/json{path}")), params).await
    }

    /// What stood on the server before the recordings begin.
    async fn prepare(&mut self) {
        self.names.insert("root@pam!full".to_owned(), "root@pam!sandbox".to_owned());
        let password = self.sandbox.credentials().password.expose_secret().to_owned();
        self.names.insert("root-password".to_owned(), password);
        self.call("POST /storage", "storage=data&type=dir&path=/srv/data&content=images,rootdir").await;
        let vm = "vmid=100&name=test100&memory=512&net0=virtio,bridge=vmbr0&scsi0=data:1&boot=order%3Dscsi0%3Bnet0";
        self.call("POST /nodes/pve/qemu", vm).await;
        self.settle().await;
    }

    /// Lets all tasks end.
    async fn settle(&self) {
        for _ in 0..600 {
            let running = self.call("GET /nodes/pve/tasks", "source=active&limit=1").await;
            if running.body["data"].as_array().is_none_or(Vec::is_empty) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        }
    }

    async fn credentials(&mut self, recorded: &Value) -> Vec<(&'static str, String)> {
        let auth = recorded["auth"].as_str().unwrap_or("token");
        let token = |this: &Self, name: &str| -> String {
            let secret = this.names.get(&format!("secret of {name}")).cloned().unwrap_or_default();
            format!("PVEAPIToken=alice@pve!{name}={secret}")
        };
        match auth {
            "token" => vec![("Authorization", self.root())],
            "token:alice-privsep" => vec![("Authorization", token(self, "t1"))],
            "token:alice" | "token:alice-acl" | "token:alice-noacl" => vec![("Authorization", token(self, "t2"))],
            "bad" => vec![("Authorization", "PVEAPIToken=root@pam!sandbox=00000000".to_owned())],
            "ticket-bad" | "ticket-expired" => {
                vec![("Cookie", "PVEAuthCookie=PVE%3Aroot@pam%3A00000000%3A%3AAAAA".to_owned())]
            }
            "ticket" | "ticket:alice" => {
                let (user, password) = match auth {
                    "ticket" => ("root@pam", self.sandbox.credentials().password.expose_secret().to_owned()),
                    _ => ("alice@pve", "alice-secret-1".to_owned()),
                };
                let (ticket, csrf) = self.session(user, &password).await;
                let note = recorded["note"].as_str().unwrap_or_default();
                let mut headers = vec![("Cookie", format!("PVEAuthCookie={}", encode(&ticket)))];
                match note {
                    "ticket POST without CSRFPreventionToken header" => {}
                    "bad CSRF token" | "valid ticket, expired CSRF token" => {
                        headers.push(("CSRFPreventionToken", "6B00F3D0:AAAA".to_owned()));
                    }
                    _ => headers.push(("CSRFPreventionToken", csrf)),
                }
                headers
            }
            _ if recorded["note"] == "space instead of = after PVEAPIToken" => {
                vec![("Authorization", self.root().replacen('=', " ", 1))]
            }
            _ => Vec::new(),
        }
    }

    /// Plays one recording and says how the answers differ; nothing where the method is not served.
    async fn play(&mut self, recorded: &Value) -> Option<Vec<String>> {
        let method = recorded["method"].as_str()?;
        let full = recorded["path"].as_str()?;
        let path = full.strip_prefix("/api2/")?.split_once('/').map_or("", |(_, path)| path);
        let path = format!("/{}", path.split('?').next()?);
        if !self.is_served(method, &path) {
            return None;
        }
        // A task whose beginning was not played.
        let upid = percent_decode_str(full)
            .decode_utf8_lossy()
            .split('/')
            .find(|part| part.starts_with("UPID:"))
            .map(str::to_owned);
        if upid.is_some_and(|upid| !self.names.contains_key(&upid) && !upid.contains(":00000001:")) {
            return None;
        }
        if recorded["note"].as_str()?.starts_with("final task status") {
            self.settle().await;
        }
        let mut uri = self.rename_path(full);
        let json = recorded["request_content_type"] == "application/json";
        let mut body = String::new();
        if let Some(raw) = recorded["request_body"].as_str() {
            body = raw.to_owned();
        } else if let Some(params) = recorded["params"].as_object() {
            let text = match json {
                true => Value::from(params.clone()).to_string(),
                false => self.form(params),
            };
            match method {
                "GET" | "DELETE" => uri = format!("{uri}{}{text}", if uri.contains('?') { '&' } else { '?' }),
                _ => body = text,
            }
        }
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in self.credentials(recorded).await {
            request = request.header(name, value);
        }
        if let Some(kind) = recorded["request_content_type"].as_str() {
            request = request.header("Content-Type", kind);
        }
        let answer = self.send(request, &body).await;
        learn(&recorded["body"], &answer.body, &mut self.names);
        if let Some(full) = answer.body["data"]["full-tokenid"].as_str() {
            let secret = answer.body["data"]["value"].as_str().unwrap_or_default().to_owned();
            self.names.insert(format!("secret of {}", full.split('!').nth(1)?), secret);
        }
        Some(differences(recorded, (answer.status, &self.unname(&answer.reason), &answer.body)))
    }

    fn form(&self, params: &serde_json::Map<String, Value>) -> String {
        let scalar = |value: &Value| match value {
            Value::String(text) => encode(&self.rename(text)).into_owned(),
            other => encode(&other.to_string()).into_owned(),
        };
        let mut pairs = Vec::new();
        for (key, value) in params {
            match value {
                Value::Array(values) => pairs.extend(values.iter().map(|v| format!("{}={}", encode(key), scalar(v)))),
                one => pairs.push(format!("{}={}", encode(key), scalar(one))),
            }
        }
        pairs.join("&")
    }

    fn rename_path(&self, path: &str) -> String {
        let mut out = self.rename(path);
        for (theirs, ours) in &self.names {
            out = out.replace(encode(theirs).as_ref(), encode(ours).as_ref());
        }
        out
    }

    /// A text of ours with the names that things have in the recordings.
    fn unname(&self, text: &str) -> String {
        self.names
            .iter()
            .filter(|(theirs, _)| theirs.len() > 30)
            .fold(text.to_owned(), |text, (theirs, ours)| text.replace(ours.as_str(), theirs))
    }
}

#[tokio::test(start_paused = true)]
async fn the_sandbox_answers_as_the_recorded_server_did() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/pve/recordings.jsonl");
    let Ok(text) = std::fs::read_to_string(file) else {
        println!("skipped: {file} is not there");
        return;
    };
    let explained: BTreeMap<u64, &str> = EXPLAINED
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(seq, reason)| Some((seq.parse().ok()?, reason)))
        .collect();
    let mut player = Player::new();
    player.prepare().await;
    let (mut played, mut agreed, mut open, mut idle) = (0, 0, Vec::new(), Vec::new());
    for line in text.lines() {
        let recorded: Value = serde_json::from_str(line).unwrap();
        let Some(found) = player.play(&recorded).await else { continue };
        played += 1;
        let seq = recorded["seq"].as_u64().unwrap();
        match (found.is_empty(), explained.contains_key(&seq)) {
            (true, known) => {
                agreed += 1;
                if known {
                    idle.push(seq);
                }
            }
            (false, true) => {}
            (false, false) => {
                let (method, path) = (recorded["method"].as_str().unwrap(), recorded["path"].as_str().unwrap());
                open.push(format!("{seq} {method} {path} {}: {}", recorded["params"], found.join("; ")));
            }
        }
    }
    println!("{agreed} of {played} recordings agree ({:.1} %)", f64::from(agreed) * 100.0 / f64::from(played));
    assert!(open.is_empty(), "{} not explained:\n{}", open.len(), open.join("\n"));
    assert!(idle.is_empty(), "explained, but they agree: {idle:?}");
}
