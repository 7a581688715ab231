//! The client against a scripted transport, on a paused clock: what is sent, how often, and what is made of failures.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

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
    policy::{Effect, Policy},
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
    client.execute(&Policy::default().approve(Effect::Write, request).unwrap()).await
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
async fn a_get_whose_connection_is_lost_is_sent_again_after_a_pause() {
    let transport = Scripted::new(|n, _| if n < 2 { lost() } else { ok(json!("9.2")) });
    let began = Instant::now();
    let version: String = client(&transport, token()).get(&Request::get("/version")).await.unwrap();
    assert_eq!((version.as_str(), transport.sent().len()), ("9.2", 3));
    assert!(began.elapsed() >= Duration::from_millis(400) && began.elapsed() < Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn a_get_is_given_up_after_a_few_tries() {
    let transport = Scripted::new(|_, _| lost());
    let error = client(&transport, token()).get::<Value>(&Request::get("/version")).await.unwrap_err();
    assert_eq!((error.kind(), transport.sent().len()), (Kind::Unavailable, 4));
    assert!(error.to_string().contains("connection reset by peer"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_connection_is_lost_is_unclear_and_was_sent_once() {
    let transport = Scripted::new(|_, _| lost());
    let client = Client::with_transport(&cluster(&["a", "b"], token()), transport.clone());
    let error = write(&client, start()).await.unwrap_err();
    assert_eq!((error.kind(), transport.sent().len()), (Kind::Unclear, 1));
    assert!(error.parts().hint.as_deref().unwrap().contains("task list"), "{error:?}");
    assert_eq!(error.parts().request.as_deref(), Some("POST /nodes/n/qemu/100/status/start"));
}

#[tokio::test(start_paused = true)]
async fn a_write_that_was_never_sent_goes_to_the_next_endpoint_which_is_remembered() {
    let transport = Scripted::new(|_, request| match request.uri().host() {
        Some("a") => Err(SendError::NeverSent("connection refused".into())),
        _ => ok(json!("UPID:x")),
    });
    let client = Client::with_transport(&cluster(&["a", "b", "c"], token()), transport.clone());
    assert_eq!(write(&client, start()).await.unwrap(), "UPID:x");
    client.get::<Value>(&Request::get("/version")).await.unwrap();
    assert_eq!(
        transport.sent(),
        ["POST a/nodes/n/qemu/100/status/start", "POST b/nodes/n/qemu/100/status/start", "GET b/version"]
    );
    assert_eq!(client.current_endpoint().map(|e| e.host.as_str()), Some("b"));
}

#[tokio::test(start_paused = true)]
async fn when_no_endpoint_can_be_reached_the_error_names_each() {
    let transport = Scripted::new(|_, _| Err(SendError::NeverSent("connection refused".into())));
    let client = Client::with_transport(&cluster(&["a", "b"], token()), transport.clone());
    let error = write(&client, start()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert_eq!(
        error.to_string(),
        "cannot reach Proxmox: https://a:8006: connection refused; https://b:8006: connection refused"
    );
    assert_eq!(transport.count("POST a"), 4, "certain that nothing was sent: tried again");
}

#[tokio::test(start_paused = true)]
async fn errors_of_a_handler_are_not_tried_again_and_keep_proxmoxs_words() {
    let transport = Scripted::new(|_, _| {
        refuse(
            400,
            "Parameter verification failed.",
            r#"{"data":null,"errors":{"vmid":"value must have a minimum value of 100\n"},"message":"Parameter verification failed.\n"}"#,
        )
    });
    let error = client(&transport, token()).get::<Value>(&Request::get("/x")).await.unwrap_err();
    assert_eq!((error.kind(), error.parts().status, transport.sent().len()), (Kind::BadArgument, Some(400), 1));
    assert_eq!(error.to_string(), "Parameter verification failed. vmid: value must have a minimum value of 100");
    assert_eq!(error.parts().errors["vmid"].trim(), "value must have a minimum value of 100");
}

#[tokio::test(start_paused = true)]
async fn the_reason_phrase_serves_where_the_body_is_silent_and_the_fuller_text_wins() {
    let transport = Scripted::new(|n, _| match n {
        0 => refuse(500, "VM is locked (backup)", r#"{"data":null}"#),
        1 => refuse(
            500,
            "400 Parameter verification failed.",
            r#"{"message":"400 Parameter verification failed.\nid: No such job 'x'\n"}"#,
        ),
        _ => refuse(500, "", "<html>no JSON"),
    });
    let client = client(&transport, token());
    let mut errors = Vec::new();
    for _ in 0..3 {
        let error = write(&client, start()).await.unwrap_err();
        errors.push((error.kind(), error.to_string()));
    }
    assert_eq!(errors[0], (Kind::Locked, "VM is locked (backup)".into()));
    assert_eq!(errors[1], (Kind::NotFound, "400 Parameter verification failed.\nid: No such job 'x'".into()));
    assert_eq!(errors[2], (Kind::Refused, "HTTP status 500 without a word of explanation".into()));
}

#[tokio::test(start_paused = true)]
async fn a_locked_file_is_waited_for_by_a_read_and_left_to_the_caller_by_a_write() {
    let transport = Scripted::new(|n, request| {
        if n == 0 || request.method() == "POST" {
            refuse(500, "can't lock file '/var/lock/x' - got timeout", "")
        } else {
            ok(json!(1))
        }
    });
    let client = client(&transport, token());
    assert_eq!(client.get::<u8>(&Request::get("/x")).await.unwrap(), 1);
    assert_eq!(write(&client, start()).await.unwrap_err().kind(), Kind::Locked);
    assert_eq!((transport.count("GET"), transport.count("POST")), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_596_is_unclear_for_a_write_and_for_a_read_depends_on_why() {
    let transport = Scripted::new(|_, request| match request.uri().path() {
        path if path.ends_with("slow") => refuse(596, "Connection timed out", ""),
        _ => refuse(596, "Broken pipe", ""),
    });
    let client = client(&transport, token());
    let kind = |path: &'static str, write_it: bool| {
        let (client, transport) = (client.clone(), transport.clone());
        async move {
            let before = transport.sent().len();
            let outcome = match write_it {
                true => write(&client, Request::post(path)).await,
                false => client.get(&Request::get(path)).await,
            };
            (outcome.unwrap_err().kind(), transport.sent().len() - before)
        }
    };
    assert_eq!(kind("/slow", true).await, (Kind::Unclear, 1));
    assert_eq!(kind("/pipe", true).await, (Kind::Unclear, 1));
    assert_eq!(kind("/slow", false).await, (Kind::Timeout, 1));
    assert_eq!(kind("/pipe", false).await, (Kind::Unavailable, 4));
}

#[tokio::test(start_paused = true)]
async fn a_595_was_never_processed_and_another_endpoint_may_reach_the_node() {
    let transport = Scripted::new(|_, request| match request.uri().host() {
        Some("a") => refuse(595, "No route to host", ""),
        _ => ok(json!("UPID:x")),
    });
    let client = Client::with_transport(&cluster(&["a", "b"], token()), transport.clone());
    assert_eq!(write(&client, start()).await.unwrap(), "UPID:x");
    let alone = Client::with_transport(&cluster(&["a"], token()), transport.clone());
    let error = write(&alone, start()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert_eq!(error.to_string(), "No route to host (595: the node that this request is for cannot be reached)");
    assert_eq!(transport.sent().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_hangs_ends_at_the_limit_and_delays_no_other() {
    let transport = Scripted::slowly(|_, request| match request.uri().path().ends_with("hang") {
        true => Box::pin(std::future::pending()),
        false => Box::pin(async { ok(json!(1)) }),
    });
    let client = client(&transport, token());
    let began = Instant::now();
    let hung = tokio::spawn({
        let client = client.clone();
        async move { client.get::<Value>(&Request::get("/hang")).await }
    });
    tokio::task::yield_now().await;
    for _ in 0..10 {
        client.get::<u8>(&Request::get("/fine")).await.unwrap();
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
    let error = hung.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), began.elapsed()), (Kind::Timeout, Duration::from_secs(30)));
    assert!(error.to_string().contains("no answer within 30 s"), "{error}");
    assert_eq!(transport.count("hang"), 1);
    let write_error = write(&client, Request::post("/hang")).await.unwrap_err();
    assert_eq!((write_error.kind(), transport.count("hang")), (Kind::Unclear, 2));
}

#[tokio::test(start_paused = true)]
async fn after_an_endpoint_was_silent_the_next_call_begins_with_another() {
    let transport = Scripted::slowly(|_, request| match request.uri().host() {
        Some("a") => Box::pin(std::future::pending()),
        _ => Box::pin(async { ok(json!(1)) }),
    });
    let client = Client::with_transport(&cluster(&["a", "b"], token()), transport.clone());
    assert_eq!(write(&client, start()).await.unwrap_err().kind(), Kind::Unclear);
    assert_eq!(write(&client, start()).await.unwrap(), json!(1));
    assert_eq!((transport.count("POST a"), transport.count("POST b")), (1, 1));
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

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_not_tried_again_and_its_secret_not_told() {
    let transport = Scripted::new(|_, _| refuse(401, "Authentication failed!", ""));
    let error = client(&transport, token()).get::<Value>(&Request::get("/version")).await.unwrap_err();
    assert_eq!((error.kind(), transport.sent().len()), (Kind::Unauthorized, 1));
    assert!(error.parts().hint.as_deref().unwrap().contains("ai@pve!mcp"), "{error:?}");
    assert!(!format!("{error:?}").contains("s3cr3t"), "{error:?}");
}

/// A server that gives out tickets `PVE:1`, `PVE:2`, … and refuses all but the last.
fn ticketed() -> impl Fn(usize, &Sent<Bytes>) -> Outcome + Send + Sync + 'static {
    let tickets = Mutex::new(0);
    move |_, request| {
        let mut tickets = tickets.lock().unwrap();
        if request.uri().path().ends_with("/access/ticket") {
            *tickets += 1;
            return ok(
                json!({ "ticket": format!("PVE:{tickets}"), "CSRFPreventionToken": format!("csrf{tickets}"), "username": "ai@pve" }),
            );
        }
        if request.uri().path().ends_with("/forget") {
            *tickets += 1;
            return ok(json!(1));
        }
        let cookie = request.headers().get("cookie").map(|c| c.to_str().unwrap().to_string());
        let valid = format!("PVEAuthCookie=PVE%3A{tickets}");
        let csrf = request.headers().get("csrfpreventiontoken").map(|c| c.to_str().unwrap().to_string());
        if cookie != Some(valid) {
            refuse(401, "permission denied - invalid PVE ticket", "")
        } else if request.method() != "GET" && csrf != Some(format!("csrf{tickets}")) {
            refuse(401, "Permission denied - invalid csrf token", "")
        } else {
            ok(json!(1))
        }
    }
}

#[tokio::test(start_paused = true)]
async fn many_first_calls_make_one_login() {
    let transport = Scripted::new(ticketed());
    let client = client(&transport, password(None));
    assert_eq!(transport.sent().len(), 0, "nothing before the first call");
    let version = Request::get("/version");
    let calls = (0..50).map(|_| client.get::<u8>(&version));
    futures::future::try_join_all(calls).await.unwrap();
    write(&client, start()).await.unwrap();
    assert_eq!(transport.count("/access/ticket"), 1);
    assert_eq!(transport.sent()[0], "POST a/access/ticket username=ai%40pve&password=pa%20ss%3B%3D");
    assert_eq!(transport.header(1, "csrfpreventiontoken"), None, "only where something is written");
}

#[tokio::test(start_paused = true)]
async fn a_refused_ticket_is_replaced_once_for_all_calls_and_the_write_sent_again() {
    let answer = ticketed();
    let transport = Scripted::slowly(move |n, request| {
        let outcome = answer(n, request);
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(10)).await;
            outcome
        })
    });
    let client = client(&transport, password(None));
    client.get::<u8>(&Request::get("/version")).await.unwrap();
    client.get::<u8>(&Request::get("/forget")).await.unwrap();
    let requests: Vec<_> = (0..20).map(|n| Request::get(format!("/{n}"))).collect();
    let reads = requests.iter().map(|request| client.get::<u8>(request));
    let (reads, written) = tokio::join!(futures::future::try_join_all(reads), write(&client, start()));
    assert_eq!((reads.unwrap().len(), written.unwrap()), (20, json!(1)));
    assert_eq!(transport.count("/access/ticket"), 2);
    assert_eq!(transport.count("POST a/nodes"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_ticket_that_is_refused_even_after_a_new_login_is_an_error() {
    let transport = Scripted::new(|_, request| match request.uri().path().ends_with("/access/ticket") {
        true => ok(json!({ "ticket": "PVE:x", "CSRFPreventionToken": "c" })),
        false => refuse(401, "Authentication failed!", ""),
    });
    let error = client(&transport, password(None)).get::<Value>(&Request::get("/version")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unauthorized);
    assert_eq!((transport.count("/access/ticket"), transport.count("/version")), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn an_ageing_ticket_is_renewed_by_itself_without_holding_up_the_call() {
    let transport = Scripted::slowly({
        let answer = ticketed();
        move |n, request| {
            let outcome = answer(n, request);
            let renewal = n > 1 && request.uri().path().ends_with("/access/ticket");
            Box::pin(async move {
                if renewal {
                    tokio::time::sleep(Duration::from_secs(3)).await;
                }
                outcome
            })
        }
    });
    let client = client(&transport, password(None));
    client.get::<u8>(&Request::get("/version")).await.unwrap();
    tokio::time::advance(Duration::from_secs(91 * 60)).await;
    client.get::<u8>(&Request::get("/version")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    client.get::<u8>(&Request::get("/version")).await.unwrap();
    let sent = transport.sent();
    assert_eq!(sent[3], "POST a/access/ticket username=ai%40pve&password=PVE%3A1", "the old ticket as the password");
    assert_eq!(transport.count("/access/ticket"), 2);
    assert_eq!(transport.header(4, "cookie").as_deref(), Some("PVEAuthCookie=PVE%3A2"));
    tokio::time::advance(Duration::from_secs(3 * 3600)).await;
    client.get::<u8>(&Request::get("/version")).await.unwrap();
    assert_eq!(transport.sent()[5], "POST a/access/ticket username=ai%40pve&password=pa%20ss%3B%3D", "it had expired");
}

#[tokio::test(start_paused = true)]
async fn a_login_that_hangs_ends_at_the_limit_for_all_who_wait_for_it() {
    let transport = Scripted::slowly(|_, _| Box::pin(std::future::pending()));
    let client = client(&transport, password(None));
    let began = Instant::now();
    let version = Request::get("/version");
    let outcomes = futures::future::join_all((0..5).map(|_| client.get::<u8>(&version))).await;
    assert_eq!(began.elapsed(), Duration::from_secs(30));
    for outcome in outcomes {
        assert_eq!(outcome.unwrap_err().kind(), Kind::Timeout);
    }
    assert_eq!(transport.sent().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_password_is_said_once_for_all_who_waited() {
    let transport = Scripted::slowly(|_, _| {
        Box::pin(async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            refuse(401, "authentication failure", r#"{"data":null,"message":"authentication failure\n"}"#)
        })
    });
    let client = client(&transport, password(None));
    let version = Request::get("/version");
    let outcomes = futures::future::join_all((0..5).map(|_| client.get::<u8>(&version))).await;
    assert_eq!(transport.sent().len(), 1, "five wrong logins might lock the account");
    for error in outcomes.into_iter().map(Result::unwrap_err) {
        assert_eq!(error.to_string(), "Proxmox refuses the login of ai@pve: authentication failure");
        assert!(error.parts().hint.as_deref().unwrap().contains("PROXMOX_PASSWORD"), "{error:?}");
        assert!(!format!("{error:?}").contains("pa ss"), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_factor_is_answered_with_a_totp_code() {
    let transport = Scripted::new(|_, request| {
        if !request.uri().path().ends_with("/access/ticket") {
            return ok(json!(1));
        }
        let form = String::from_utf8_lossy(request.body()).into_owned();
        match form.split_once("&tfa-challenge=") {
            None => ok(json!({ "ticket": "PVE:!tfa!{\"totp\":true}:x", "CSRFPreventionToken": "c", "NeedTFA": 1 })),
            Some((_, "PVE%3A%21tfa%21%7B%22totp%22%3Atrue%7D%3Ax")) => {
                ok(json!({ "ticket": "PVE:whole", "CSRFPreventionToken": "c2" }))
            }
            Some(_) => refuse(401, "authentication failure", ""),
        }
    });
    let client = client(&transport, password(Some("JBSW Y3DP EHPK 3PXP")));
    client.get::<u8>(&Request::get("/version")).await.unwrap();
    let second = transport.sent()[1].clone();
    let code =
        second.split("password=totp%3A").nth(1).and_then(|rest| rest.get(..6)).unwrap_or_else(|| panic!("{second}"));
    assert!(code.chars().all(|c| c.is_ascii_digit()), "{second}");
    assert_eq!(transport.header(2, "cookie").as_deref(), Some("PVEAuthCookie=PVE%3Awhole"));
}

#[tokio::test(start_paused = true)]
async fn a_second_factor_without_a_secret_names_the_setting() {
    let transport =
        Scripted::new(|_, _| ok(json!({ "ticket": "PVE:!tfa!x", "CSRFPreventionToken": "c", "NeedTFA": 1 })));
    let error = client(&transport, password(None)).get::<u8>(&Request::get("/version")).await.unwrap_err();
    assert_eq!((error.kind(), transport.sent().len()), (Kind::Unauthorized, 1));
    assert!(error.parts().hint.as_deref().unwrap().contains("PROXMOX_TOTP_SECRET"), "{error:?}");
}
