//! The client against a scripted transport, on a paused clock: what is sent, how often, and what is made of failures.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod failures;
mod login;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request as Sent, Response};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::*;
use crate::{
    config::{Auth, Endpoint, Timeouts, Tls, TokenId},
    policy::{Approved, Effect, Facts, Policy, rules::Fact},
    pve::transport::SendError,
};

type Outcome = Result<Response<Bytes>, SendError>;
type Script = dyn Fn(usize, &Sent<Bytes>) -> BoxFuture<'static, Outcome> + Send + Sync;

/// Answers by a script that is told how many requests came before, and remembers what was sent.
struct Scripted {
    script: Box<Script>,
    sent: Mutex<Vec<Sent<Bytes>>>,
}

impl Scripted {
    fn new(script: impl Fn(usize, &Sent<Bytes>) -> Outcome + Send + Sync + 'static) -> Arc<Self> {
        Self::slowly(move |n, request| {
            let outcome = script(n, request);
            Box::pin(async move { outcome })
        })
    }
    fn slowly(
        script: impl Fn(usize, &Sent<Bytes>) -> BoxFuture<'static, Outcome> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self { script: Box::new(script), sent: Mutex::default() })
    }
    /// `METHOD host/path?query body` of each request.
    fn sent(&self) -> Vec<String> {
        let line = |r: &Sent<Bytes>| {
            let uri = r.uri();
            let target = uri.path_and_query().unwrap().as_str().trim_start_matches("/api2/json");
            let body = String::from_utf8_lossy(r.body());
            format!("{} {}{target} {body}", r.method(), uri.host().unwrap()).trim_end().to_string()
        };
        self.sent.lock().unwrap().iter().map(line).collect()
    }
    fn header(&self, n: usize, name: &str) -> Option<String> {
        let sent = self.sent.lock().unwrap();
        sent[n].headers().get(name).map(|value| value.to_str().unwrap().to_string())
    }
    fn count(&self, part: &str) -> usize {
        self.sent().iter().filter(|line| line.contains(part)).count()
    }
}

impl Transport for Scripted {
    fn send(&self, request: Sent<Bytes>) -> BoxFuture<'_, Outcome> {
        let n = self.sent.lock().unwrap().len();
        let outcome = (self.script)(n, &request);
        self.sent.lock().unwrap().push(request);
        outcome
    }
}

fn ok(data: Value) -> Outcome {
    Ok(Response::new(json!({ "data": data }).to_string().into()))
}

fn refuse(status: u16, reason: &'static str, body: &str) -> Outcome {
    let mut response = Response::new(Bytes::from(body.to_string()));
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
    response.extensions_mut().insert(hyper::ext::ReasonPhrase::from_static(reason.as_bytes()));
    Ok(response)
}

fn lost() -> Outcome {
    Err(SendError::Lost("connection reset by peer".into()))
}

fn cluster(hosts: &[&str], auth: Auth) -> ClusterConfig {
    ClusterConfig {
        name: crate::config::ONLY_CLUSTER.into(),
        endpoints: hosts.iter().map(|host| Endpoint { host: host.to_string(), port: 8006 }).collect(),
        auth,
        tls: Tls::System,
        default_node: None,
        default_storage: None,
        default_bridge: None,
        upload_dir: None,
        timeouts: Timeouts { connect: Duration::from_secs(5), request: Duration::from_secs(30) },
        sources: Vec::new(),
    }
}

fn token() -> Auth {
    Auth::Token { id: TokenId { user: "ai@pve".into(), name: "mcp".into() }, secret: "s3cr3t".into() }
}

fn password(totp: Option<&str>) -> Auth {
    Auth::Password { username: "ai@pve".into(), password: "pa ss;=".into(), totp: totp.map(Into::into) }
}

fn client(transport: &Arc<Scripted>, auth: Auth) -> Client {
    Client::with_transport(&cluster(&["a"], auth), transport.clone())
}

async fn write(client: &Client, request: Request) -> Result<Value> {
    client.execute(&approved(request)).await
}

fn start() -> Request {
    Request::post("/nodes/n/qemu/100/status/start")
}

#[tokio::test(start_paused = true)]
async fn parameters_of_get_and_delete_go_into_the_query_and_those_of_post_and_put_into_a_form() {
    let transport = Scripted::new(|_, _| ok(json!(null)));
    let client = client(&transport, token());
    client.get::<Value>(&Request::get("/cluster/resources").param("type", "vm")).await.unwrap();
    write(&client, Request::put("/nodes/n/qemu/1/config").param("sshkeys", "a%20b;c=d&e+ü")).await.unwrap();
    write(&client, Request::post("/x")).await.unwrap();
    write(&client, Request::delete("/nodes/n/qemu/1").param("purge", 1)).await.unwrap();
    assert_eq!(
        transport.sent(),
        [
            "GET a/cluster/resources?type=vm",
            "PUT a/nodes/n/qemu/1/config sshkeys=a%2520b%3Bc%3Dd%26e%2B%C3%BC",
            "POST a/x",
            "DELETE a/nodes/n/qemu/1?purge=1",
        ]
    );
    assert_eq!(transport.header(1, "content-type").as_deref(), Some("application/x-www-form-urlencoded"));
    assert_eq!(transport.header(0, "authorization").as_deref(), Some("PVEAPIToken=ai@pve!mcp=s3cr3t"));
    assert_eq!(transport.header(2, "csrfpreventiontoken"), None);
    assert_eq!(transport.header(0, "user-agent").unwrap(), concat!("proxmox-mcp/", env!("CARGO_PKG_VERSION")));
    assert!(transport.sent.lock().unwrap()[0].headers()["authorization"].is_sensitive());
}

#[tokio::test(start_paused = true)]
async fn only_gets_are_sent_without_approval() {
    let transport = Scripted::new(|_, _| ok(json!(1)));
    let error = client(&transport, token()).fetch(&start()).await.unwrap_err();
    assert_eq!((error.kind(), transport.sent().len()), (Kind::Internal, 0));
}

#[tokio::test(start_paused = true)]
async fn a_port_that_serves_something_else_is_recognised() {
    let transport = Scripted::new(|_, _| refuse(404, "Not Found", "<html>"));
    let error = client(&transport, token()).get::<Value>(&Request::get("/version")).await.unwrap_err();
    assert_eq!((error.kind(), error.parts().status), (Kind::BadAnswer, Some(404)));
}

#[tokio::test(start_paused = true)]
async fn a_refused_certificate_gives_the_line_to_add_and_is_not_tried_again() {
    let transport = Scripted::new(|_, _| {
        Err(SendError::Certificate { message: "it has expired".into(), presented: "AB:CD".into() })
    });
    let error = client(&transport, token()).get::<Value>(&Request::get("/version")).await.unwrap_err();
    assert_eq!((error.kind(), transport.sent().len()), (Kind::Certificate, 1));
    assert!(error.to_string().contains("it has expired") && error.to_string().contains("AB:CD"), "{error}");
    assert_eq!(error.parts().hint.as_deref(), Some("PROXMOX_FINGERPRINT=AB:CD"));
    let named = ClusterConfig { name: "home".into(), ..cluster(&["a"], token()) };
    let error = Client::with_transport(&named, transport.clone()).get::<Value>(&Request::get("/version")).await;
    assert_eq!(error.unwrap_err().parts().hint.as_deref(), Some("PROXMOX_CLUSTER_home_FINGERPRINT=AB:CD"));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_not_json_is_shown_by_its_beginning_only() {
    let transport = Scripted::new(|_, _| Ok(Response::new(format!("<html>{}", "ü".repeat(5000)).into())));
    let error = client(&transport, token()).get::<Value>(&Request::get("/version")).await.unwrap_err();
    assert_eq!((error.kind(), transport.sent().len()), (Kind::BadAnswer, 1));
    assert!(error.to_string().contains("<html>üü") && error.to_string().chars().count() < 300, "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_proxmox_quotes_is_masked() {
    let body = r#"{"message":"value 'hunter22' is too weak","errors":{"password":"'hunter22'"}}"#;
    let transport = Scripted::new(move |_, _| refuse(400, "value 'hunter22' is too weak", body));
    let request = Request::put("/access/password").secret("password", "hunter22");
    let error = write(&client(&transport, token()), request).await.unwrap_err();
    assert_eq!(error.to_string(), "value '********' is too weak; password: '********'");
    assert!(!format!("{error:?}").contains("hunter22"), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn totals_and_changes_beside_the_data_are_kept() {
    let transport = Scripted::new(|_, _| Ok(Response::new(r#"{"total":"7","changes":"--- a","data":["1",2]}"#.into())));
    let listing: Listing<Vec<u32>> = client(&transport, token()).list(&Request::get("/x")).await.unwrap();
    assert_eq!((listing.data, listing.total, listing.changes.as_deref()), (vec![1, 2], Some(7), Some("--- a")));
}

#[tokio::test(start_paused = true)]
async fn parameters_larger_than_proxmox_takes_are_refused_here() {
    let transport = Scripted::new(|_, _| ok(json!(null)));
    let error = write(&client(&transport, token()), start().param("x", "a".repeat(600_000))).await.unwrap_err();
    assert_eq!((error.kind(), transport.sent().len()), (Kind::BadArgument, 0));
}

/// Let through: nothing forbids to touch the guest.
fn approved(request: Request) -> Approved {
    let guests = [1, 100].map(|vmid| Fact { vmid, ..Fact::default() });
    let facts = Facts::known(guests.to_vec());
    let mut approved = Policy::default().approve(Effect::Write, &[request], &facts).unwrap();
    approved.remove(0)
}
