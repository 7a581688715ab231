//! Access tokens: of an issuer in this process, good ones and all kinds of bad ones.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{Json, Router, routing::get};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::StatusCode;
use proxmox_mcp::{
    config::{KeySource, OAuth, Safety, Web},
    policy::Mode,
    sandbox::Options,
};
use reqwest::Response;
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair},
};
use serde_json::{Value, json};
use support::{
    everything, options,
    web::{Served, serve_with},
};

const AUDIENCE: &str = "https://mcp.example/mcp";
const KEY: &str = "hunter2-ops-0123456789";

/// Signs, as an issuer does.
enum Signer {
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl Signer {
    fn ec() -> Self {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &SystemRandom::new());
        Self::Ec(pair.unwrap())
    }
    fn ed() -> Self {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self::Ed(Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap())
    }
    fn algorithm(&self) -> &'static str {
        match self {
            Self::Ec(_) => "ES256",
            Self::Ed(_) => "EdDSA",
        }
    }
    fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Ec(pair) => pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec(),
            Self::Ed(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }
    fn public(&self, id: &str) -> Value {
        match self {
            Self::Ec(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({"kty": "EC", "crv": "P-256", "kid": id, "use": "sig", "x": text(x), "y": text(y)})
            }
            Self::Ed(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "kid": id, "alg": "EdDSA", "x": text(pair.public_key().as_ref())})
            }
        }
    }
    fn token(&self, id: &str, claims: &Value) -> String {
        self.with_header(&json!({"typ": "at+jwt", "alg": self.algorithm(), "kid": id}), claims)
    }
    fn with_header(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", text(header.to_string().as_bytes()), text(claims.to_string().as_bytes()));
        format!("{message}.{}", text(&self.sign(message.as_bytes())))
    }
}

fn text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// An issuer with these keys; how often they were asked for.
struct Issuer {
    url: String,
    keys: Arc<Mutex<Vec<Value>>>,
    asked: Arc<AtomicUsize>,
}

async fn issuer(path: &str, keys: Vec<Value>) -> Issuer {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/realms/home", listener.local_addr().unwrap());
    let (keys, asked) = (Arc::new(Mutex::new(keys)), Arc::new(AtomicUsize::new(0)));
    let metadata = json!({"issuer": url, "jwks_uri": format!("{url}/certs")});
    let (served, count) = (keys.clone(), asked.clone());
    let certs = move || {
        count.fetch_add(1, Ordering::Relaxed);
        let keys = served.lock().unwrap().clone();
        async move { Json(json!({"keys": keys})) }
    };
    let routes =
        Router::new().route(path, get(move || async move { Json(metadata) })).route("/realms/home/certs", get(certs));
    let serve = async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = hyper_util::service::TowerToHyperService::new(routes.clone());
            let io = hyper_util::rt::TokioIo::new(stream);
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(io, service));
        }
    };
    tokio::spawn(serve);
    Issuer { url, keys, asked }
}

const OPENID: &str = "/realms/home/.well-known/openid-configuration";
const RFC8414: &str = "/.well-known/oauth-authorization-server/realms/home";

fn scopes() -> Vec<(String, Mode)> {
    [("proxmox:read", Mode::ReadOnly), ("proxmox:write", Mode::NoDelete), ("proxmox:admin", Mode::Full)]
        .map(|(scope, mode)| (scope.to_owned(), mode))
        .to_vec()
}

fn web(issuer: &str) -> Web {
    let oauth = OAuth { issuer: issuer.to_owned(), audience: AUDIENCE.to_owned(), scopes: scopes() };
    let keys = Some(KeySource::Text(format!("ops:{KEY}").into()));
    Web { oauth: Some(oauth), keys, public_url: Some("https://mcp.example".to_owned()), ..Web::default() }
}

async fn serve(web: Web) -> Served {
    serve_with(web, everything(), Options { time_scale: 100.0, ..options() }).await
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Claims of a good token, with some of them otherwise; null takes one away.
fn claims(issuer: &str, other: Value) -> Value {
    let mut claims = json!({"iss": issuer, "aud": AUDIENCE, "sub": "anna", "exp": now() + 300, "nbf": now() - 10,
        "scope": "openid proxmox:read"});
    let all = claims.as_object_mut().unwrap();
    for (key, value) in other.as_object().unwrap() {
        all.insert(key.clone(), value.clone());
    }
    all.retain(|_, value| !value.is_null());
    claims
}

async fn show(server: &Served, token: &str) -> Response {
    server.http.get(server.at("/tools")).bearer_auth(token).send().await.unwrap()
}

async fn refused(server: &Served, token: &str, status: StatusCode) -> (String, Value) {
    let answer = show(server, token).await;
    assert_eq!(answer.status(), status);
    let challenge = answer.headers().get("www-authenticate").map(|header| header.to_str().unwrap().to_owned());
    let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert!(!body.to_string().contains(token), "{body}");
    assert_eq!(server.sent.count(), 0);
    (challenge.unwrap_or_default(), body)
}

#[tokio::test]
async fn a_good_token_carries_what_its_strongest_scope_allows() {
    let (ec, ed) = (Signer::ec(), Signer::ed());
    for path in [OPENID, RFC8414] {
        let unknown = json!({"kty": "XYZ", "kid": "odd", "key_ops": 7});
        let issuer = issuer(path, vec![unknown, ec.public("one"), ed.public("two")]).await;
        let server = serve(web(&issuer.url)).await;
        for (signer, id, other, deletes, writes) in [
            (&ec, "one", json!({}), false, false),
            (&ed, "two", json!({"scope": "proxmox:read proxmox:write"}), false, true),
            (&ec, "one", json!({"scope": null, "scp": ["proxmox:admin", "proxmox:read"]}), true, true),
            (&ec, "one", json!({"aud": ["somebody", AUDIENCE], "sub": null, "client_id": "robot"}), false, false),
            (&ec, "one", json!({"aud": "https://mcp.example/proxmox/mcp"}), false, false),
        ] {
            let token = signer.token(id, &claims(&issuer.url, other.clone()));
            let tools = server.session(Some(&token)).await.tools().await;
            let has = |name: &str| tools.iter().any(|tool| tool == name);
            assert!(has("proxmox-list-vms"), "{other}");
            assert_eq!((has("proxmox-delete-vm"), has("proxmox-start-vm")), (deletes, writes), "{other}");
        }
        // Without a name of its key, the one that fits is taken.
        let token = ed.with_header(&json!({"alg": "EdDSA"}), &claims(&issuer.url, json!({})));
        assert_eq!(show(&server, &token).await.status(), 200);
        assert_eq!(issuer.asked.load(Ordering::Relaxed), 1, "the keys are kept");
        // A key is a key.
        assert_eq!(show(&server, KEY).await.status(), 200);
    }
}

#[tokio::test]
async fn a_token_that_is_not_good_is_refused_and_it_is_said_why() {
    let (ec, other) = (Signer::ec(), Signer::ec());
    let issuer = issuer(OPENID, vec![ec.public("one")]).await;
    let server =
        serve(Web { limits: proxmox_mcp::config::Limits { failures: 0, ..Default::default() }, ..web(&issuer.url) });
    let server = server.await;
    let good = claims(&issuer.url, json!({}));
    let with = |changed: Value| ec.token("one", &claims(&issuer.url, changed));
    let none = format!("{}.{}.", text(br#"{"alg":"none"}"#), text(good.to_string().as_bytes()));
    let shared = {
        // Signed with the public key as if it were a shared secret.
        let header = text(br#"{"alg":"HS256","kid":"one"}"#);
        format!("{header}.{}.{}", text(good.to_string().as_bytes()), text(&[7; 32]))
    };
    let token = ec.token("one", &good);
    let (head, signature) = token.rsplit_once('.').unwrap();
    let (header, _) = head.split_once('.').unwrap();
    let more = claims(&issuer.url, json!({"scope": "proxmox:admin"}));
    let changed = format!("{header}.{}.{signature}", text(more.to_string().as_bytes()));
    for (token, why) in [
        ("hunter2".to_owned(), "neither a key of this server nor an access token"),
        ("a.b.c".to_owned(), "neither a key"),
        (none, "neither a key"),
        (shared, "not signed with RS256, ES256 or EdDSA"),
        (changed, "signature is not good"),
        (other.token("one", &good), "signature is not good"),
        (other.token("two", &good), "a key that its issuer does not have"),
        (with(json!({"exp": now() - 60})), "has expired"),
        (with(json!({"exp": null})), "has no 'exp'"),
        (with(json!({"exp": "tomorrow"})), "has no 'exp'"),
        (with(json!({"nbf": now() + 600})), "not valid yet"),
        (with(json!({"iss": "https://evil.example"})), "is not from http://127.0.0.1"),
        (with(json!({"iss": format!("{}/", issuer.url)})), "is not from http://127.0.0.1"),
        (with(json!({"iss": [issuer.url, "https://evil.example"]})), "cannot be understood"),
        (with(json!({"iss": null})), "cannot be understood"),
        (with(json!({"aud": "https://other.example"})), "expected the audience https://mcp.example/mcp"),
        (with(json!({"aud": null})), "has no 'aud'"),
        (with(json!({"sub": null})), "does not say whose it is"),
        (with(json!({"sub": ""})), "does not say whose it is"),
        (ec.with_header(&json!({"alg": "ES256", "kid": "one", "crit": ["b64"]}), &good), "wants more of its reader"),
    ] {
        let (challenge, body) = refused(&server, &token, StatusCode::UNAUTHORIZED).await;
        assert!(body["detail"].as_str().unwrap().contains(why), "{why}: {body}");
        let metadata = "https://mcp.example/.well-known/oauth-protected-resource";
        assert_eq!(challenge, format!("Bearer error=\"invalid_token\", resource_metadata=\"{metadata}\""));
    }
}

#[tokio::test]
async fn a_token_without_a_scope_that_counts_is_good_for_nothing() {
    let ec = Signer::ec();
    let issuer = issuer(OPENID, vec![ec.public("one")]).await;
    let server = serve(web(&issuer.url)).await;
    for other in [json!({"scope": "openid"}), json!({"scope": null}), json!({"scope": "proxmox:reader xproxmox:read"})]
    {
        let token = ec.token("one", &claims(&issuer.url, other));
        let (challenge, body) = refused(&server, &token, StatusCode::FORBIDDEN).await;
        assert!(
            challenge.starts_with("Bearer error=\"insufficient_scope\", scope=\"proxmox:read\", resource_metadata=")
        );
        assert!(body["detail"].as_str().unwrap().contains("proxmox:read, proxmox:write, proxmox:admin"), "{body}");
    }
}

#[tokio::test]
async fn new_keys_of_the_issuer_are_asked_for_but_not_by_every_token() {
    let (one, two) = (Signer::ec(), Signer::ed());
    let issuer = issuer(OPENID, vec![one.public("one")]).await;
    let server = serve(web(&issuer.url)).await;
    let good = claims(&issuer.url, json!({}));
    assert_eq!(show(&server, &one.token("one", &good)).await.status(), 200);
    issuer.keys.lock().unwrap().push(two.public("two"));
    for _ in 0..5 {
        assert_eq!(show(&server, &two.token("two", &good)).await.status(), 401);
    }
    assert_eq!(issuer.asked.load(Ordering::Relaxed), 1);
    // With less patience, it is there at the next token.
    let mut impatient = web(&issuer.url);
    impatient.limits.refetch = Duration::ZERO;
    let server = serve(impatient).await;
    issuer.keys.lock().unwrap().pop();
    assert_eq!(show(&server, &two.token("two", &good)).await.status(), 401);
    issuer.keys.lock().unwrap().push(two.public("two"));
    assert_eq!(show(&server, &two.token("two", &good)).await.status(), 200);
}

#[tokio::test]
async fn an_issuer_that_cannot_be_asked_is_no_fault_of_the_token() {
    let ec = Signer::ec();
    // Nobody listens there any more; and metadata of somebody else is as good as none.
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let other = issuer(OPENID, vec![ec.public("one")]).await;
    let other = other.url.replace("127.0.0.1", "localhost");
    for issuer in [format!("http://{gone}"), other] {
        let server = serve(web(&issuer)).await;
        let (_, body) =
            refused(&server, &ec.token("one", &claims(&issuer, json!({}))), StatusCode::SERVICE_UNAVAILABLE).await;
        assert!(body["detail"].as_str().unwrap().contains("issuer cannot be had"), "{body}");
        assert_eq!(show(&server, KEY).await.status(), 200);
    }
}

#[tokio::test]
async fn a_client_without_a_token_is_told_where_to_get_one() {
    let issuer = issuer(OPENID, Vec::new()).await;
    let server = serve(web(&issuer.url)).await;
    for path in ["/mcp", "/proxmox/mcp"] {
        let answer = server.http.post(server.at(path)).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        let metadata = format!("https://mcp.example/.well-known/oauth-protected-resource{path}");
        assert_eq!(answer.headers()["www-authenticate"], format!("Bearer resource_metadata=\"{metadata}\""));
        let told =
            server.http.get(server.at(metadata.strip_prefix("https://mcp.example").unwrap())).send().await.unwrap();
        assert_eq!(told.status(), 200);
        let told: Value = told.json().await.unwrap();
        assert_eq!(told["resource"], format!("https://mcp.example{path}"));
        assert_eq!(told["authorization_servers"], json!([issuer.url]));
        assert_eq!(told["scopes_supported"], json!(["proxmox:read", "proxmox:write", "proxmox:admin"]));
        assert_eq!(told["bearer_methods_supported"], json!(["header"]));
    }
    let root = server.http.get(server.at("/.well-known/oauth-protected-resource")).send().await.unwrap();
    assert_eq!(root.json::<Value>().await.unwrap()["resource"], "https://mcp.example/mcp");
    assert_eq!(issuer.asked.load(Ordering::Relaxed), 0);
    // Where no tokens are taken, there is nothing to tell.
    let server = serve(Web { oauth: None, ..web("") }).await;
    let none = server.http.get(server.at("/.well-known/oauth-protected-resource/mcp")).send().await.unwrap();
    assert_eq!(none.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_record_has_the_subject_of_the_token_and_sessions_are_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.jsonl");
    let ec = Signer::ec();
    let issuer = issuer(OPENID, vec![ec.public("one")]).await;
    let safety = Safety { audit_file: Some(file.clone()), ..everything() };
    let server = serve_with(web(&issuer.url), safety, Options { time_scale: 100.0, ..options() }).await;
    let token = |sub: &str, scope: &str| ec.token("one", &claims(&issuer.url, json!({"sub": sub, "scope": scope})));
    let (anna, ben) = (token("anna", "proxmox:write"), token("ben", "proxmox:write"));
    let (anna, mut ben) = (server.session(Some(&anna)).await, server.session(Some(&ben)).await);
    let done = anna.call("proxmox-reboot-vm", json!({"vmid": 100, "confirm": true})).await;
    assert_ne!(done["isError"], true, "{done}");
    assert!(std::fs::read_to_string(&file).unwrap().contains("\"caller\":\"anna\""));
    ben.id = anna.id.clone();
    assert_eq!(ben.post(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})).await.status(), 404);
}
