//! The core of the simulated cluster, in-process and on a paused clock.
#![expect(clippy::unwrap_used, reason = "tests")]

mod accounts;
mod basics;
mod clones;
mod disks;
mod firewall;
mod guests;
mod network;
mod tasks;

use bytes::Bytes;
use http::{Request, Response};
use secrecy::ExposeSecret;
use serde_json::Value;

use super::{Options, Sandbox, reason};

/// A cluster whose secrets and time are the same in every run.
fn cluster(change: impl FnOnce(&mut Options)) -> Sandbox {
    let mut options = Options {
        fixed_secrets: true,
        epoch: Some(std::time::Duration::from_secs(1_795_225_219)),
        ..Options::default()
    };
    change(&mut options);
    Sandbox::new(options)
}

/// An answer: status, reason phrase, body.
#[derive(Debug, PartialEq)]
struct Got {
    status: u16,
    reason: String,
    body: Value,
}

impl Got {
    fn data(&self) -> &Value {
        assert_eq!((self.status, self.reason.as_str()), (200, "OK"), "{}", self.body);
        &self.body["data"]
    }
    fn refusal(&self) -> (u16, &str) {
        (self.status, &self.reason)
    }
}

fn token(id: &str, secret: &secrecy::SecretString) -> (String, String) {
    ("Authorization".to_owned(), format!("PVEAPIToken={id}={}", secret.expose_secret()))
}

fn root(sandbox: &Sandbox) -> (String, String) {
    token(&sandbox.credentials().token_id, &sandbox.credentials().token_secret)
}

fn auditor(sandbox: &Sandbox) -> (String, String) {
    token(&sandbox.credentials().auditor_token_id, &sandbox.credentials().auditor_token_secret)
}

/// Sends `METHOD /path`, the parameters as PVE wants them, with these headers.
async fn send(sandbox: &Sandbox, line: &str, params: &str, headers: &[(String, String)]) -> Got {
    let response = raw(sandbox, line, params, headers).await;
    let phrase = reason(&response).into_owned();
    let body = serde_json::from_slice(response.body()).unwrap_or(Value::Null);
    Got { status: response.status().as_u16(), reason: phrase, body }
}

async fn raw(sandbox: &Sandbox, line: &str, params: &str, headers: &[(String, String)]) -> Response<Bytes> {
    let (method, path) = line.split_once(' ').unwrap();
    let in_query = matches!(method, "GET" | "DELETE") && !params.is_empty();
    let query = if in_query { format!("?{params}") } else { String::new() };
    let mut request = Request::builder().method(method).uri(format!("https://pve1:8006/api2/json{path}{query}"));
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let body = if in_query { Bytes::new() } else { Bytes::copy_from_slice(params.as_bytes()) };
    sandbox.handle(request.body(body).unwrap()).await.unwrap()
}

/// Sends with root's token.
async fn call(sandbox: &Sandbox, line: &str, params: &str) -> Got {
    send(sandbox, line, params, &[root(sandbox)]).await
}
