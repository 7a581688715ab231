//! The OpenAPI document, against what the tools really answer; and the page that shows it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::{collections::HashSet, io::Read, sync::Arc};

use axum::body::Body;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use proxmox_mcp::{
    call::{App, Cluster},
    config::{KeySource, Safety, Web},
    embedded,
    ending::Ending,
    policy::{Mode, Settings},
    pve::Client,
    sandbox::Sandbox,
    web::{Callers, everything},
};
use serde_json::{Map, Value, json};
use support::{everything as all_tools, options};

/// The program's routes without a socket, so that time can stand still.
struct Routes(TowerToHyperService<axum::Router>);

impl Routes {
    fn new(sandbox: &Sandbox, web: &Web, safety: &Safety) -> Self {
        let mut config = embedded::cluster_config(sandbox);
        config.upload_dir = Some(support::upload_dir());
        let client = Client::with_transport(&config, Arc::new(sandbox.clone()));
        let app = App::with_clusters(vec![Cluster { name: config.name, client }], safety).unwrap();
        let callers = Arc::new(Callers::new(Arc::new(app), web, &Ending::default()).unwrap());
        Self(TowerToHyperService::new(everything(&callers, web)))
    }

    fn plain() -> Self {
        Self::new(&Sandbox::new(options()), &Web::default(), &all_tools())
    }

    async fn send(&self, request: Request<Body>) -> Response<Body> {
        self.0.call(request).await.unwrap()
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Response<Body> {
        let request = Request::get(path).header("Host", "localhost");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        self.send(request.body(Body::empty()).unwrap()).await
    }

    async fn post(&self, path: &str, arguments: &Value) -> (StatusCode, Value) {
        let request = Request::post(path).header("Host", "localhost").header("Content-Type", "application/json");
        let response = self.send(request.body(arguments.to_string().into()).unwrap()).await;
        (response.status(), value(response).await)
    }

    async fn document(&self) -> Value {
        value(self.get("/openapi.json", &[]).await).await
    }
}

async fn bytes(response: Response<Body>) -> Vec<u8> {
    response.into_body().collect().await.unwrap().to_bytes().to_vec()
}

async fn value(response: Response<Body>) -> Value {
    let bytes = bytes(response).await;
    serde_json::from_slice(&bytes).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&bytes)))
}

/// The schema of an answer with this status, which stands in the document or is referred to.
fn schema(document: &Value, tool: &str, status: StatusCode) -> Value {
    let mut response = &document["paths"][format!("/tools/{tool}")]["post"]["responses"][status.as_str()];
    if let Some(name) = response["$ref"].as_str() {
        response = document.pointer(name.trim_start_matches('#')).unwrap();
    }
    let mut schema = response["content"]["application/json"]["schema"].clone();
    assert!(schema.is_object(), "{tool}: nothing is said of {status}");
    schema["components"] = document["components"].clone();
    schema
}

/// What of an answer does not depend on when it was given: which fields it has, and of what type.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), shape(value))).collect::<Map<_, _>>().into(),
        Value::Array(items) => items.iter().map(shape).collect(),
        Value::String(_) => json!("text"),
        Value::Number(_) => json!("number"),
        Value::Bool(_) | Value::Null => value.clone(),
    }
}

#[tokio::test(start_paused = true)]
async fn every_example_gives_what_the_document_says_and_what_mcp_gives() {
    let document = Routes::plain().document().await;
    // What is on record there is none of.
    for entry in proxmox_mcp::tools::all().filter(|entry| !entry.audited) {
        let test = support::start(support::options()).await;
        let arguments = test.example(entry).await;
        let routes = Routes::new(&Sandbox::new(options()), &Web::default(), &all_tools());
        let (status, answer) = routes.post(&format!("/tools/{}", entry.name), &arguments).await;
        assert!(status.is_success(), "{} {arguments}: {status} {answer}", entry.name);
        let schema = schema(&document, entry.name, status);
        let validator = jsonschema::validator_for(&schema).unwrap();
        let errors: Vec<String> = validator.iter_errors(&answer).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{}: {errors:?}\n{answer}", entry.name);
        let by_mcp = test.mcp.call(entry.name, arguments).await.unwrap();
        assert_eq!(shape(&answer), shape(&by_mcp), "{}", entry.name);
    }
}

#[tokio::test(start_paused = true)]
async fn every_tool_is_an_operation_with_its_schema_and_an_example_that_fits() {
    let document = Routes::plain().document().await;
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["servers"], json!([{"url": "/"}]));
    assert!(document.get("security").is_none());
    let mut ids = HashSet::new();
    for entry in proxmox_mcp::tools::all().filter(|entry| !entry.audited) {
        let operation = &document["paths"][format!("/tools/{}", entry.name)]["post"];
        assert_eq!(operation["operationId"], entry.name);
        assert!(ids.insert(entry.name));
        assert_eq!(operation["x-effect"], json!(entry.effect), "{}", entry.name);
        assert!(operation["description"].as_str().unwrap().len() > 10, "{}", entry.name);
        let content = &operation["requestBody"]["content"]["application/json"];
        for (name, property) in content["schema"]["properties"].as_object().unwrap() {
            assert!(!property["type"].is_null() || property["anyOf"].is_array(), "{} {name}: {property}", entry.name);
        }
        let mut example = content["example"].clone();
        if example["upid"] == "UPID:…" {
            example["upid"] = json!("UPID:pve1:0000ABCD:00000001:65000000:qmstart:100:root@pam:");
        }
        let validator = jsonschema::validator_for(&content["schema"]).unwrap();
        let errors: Vec<String> = validator.iter_errors(&example).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{}: {errors:?}", entry.name);
    }
    for path in ["/tools", "/tools/{name}", "/tasks/{upid}"] {
        assert!(document["paths"][path]["get"]["description"].is_string(), "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_document_is_the_caller_s_own() {
    let settings = Settings { mode: Mode::ReadOnly, ..Settings::everything().unwrap() };
    let reader = Safety { policy: settings, ..Safety::default() };
    let web = Web {
        public_url: Some("https://pve.example".to_owned()),
        keys: Some(KeySource::Text("a-key-of-sixteen-characters".to_owned().into())),
        ..Web::default()
    };
    let routes = Routes::new(&Sandbox::new(options()), &web, &reader);
    let refused = routes.get("/openapi.json", &[]).await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(refused.headers()["content-type"], "application/problem+json");
    let key = [("X-API-Key", "a-key-of-sixteen-characters")];
    let document = value(routes.get("/openapi.json", &key).await).await;
    assert_eq!(document["servers"], json!([{"url": "https://pve.example"}]));
    assert_eq!(document["security"], json!([{"bearer": []}, {"key": []}]));
    let paths = document["paths"].as_object().unwrap();
    let tools: Vec<&Value> = paths.values().map(|path| &path["post"]).filter(|post| post.is_object()).collect();
    assert!(tools.len() > 30 && tools.iter().all(|tool| tool["x-effect"] == "read"));
    let few = value(routes.get("/openapi.json?toolset=snapshots", &key).await).await;
    assert_eq!(few["tags"], json!([{"name": "snapshots"}, {"name": "api"}]));
}

#[tokio::test(start_paused = true)]
async fn what_stays_the_same_is_packed_and_sent_once() {
    let routes = Routes::plain();
    for path in ["/openapi.json", "/", "/page/swagger-ui-bundle.js"] {
        let plain = routes.get(path, &[]).await;
        assert!(plain.headers().get("content-encoding").is_none(), "{path}");
        let tag = plain.headers()["etag"].to_str().unwrap().to_owned();
        let plain = bytes(plain).await;
        let packed = routes.get(path, &[("Accept-Encoding", "br, gzip;q=0.5")]).await;
        assert_eq!(packed.headers()["content-encoding"], "gzip", "{path}");
        let packed = bytes(packed).await;
        assert!(packed.len() < plain.len(), "{path}");
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(&*packed).read_to_end(&mut unpacked).unwrap();
        assert!(unpacked == plain, "{path}");
        let refused = routes.get(path, &[("Accept-Encoding", "gzip;q=0")]).await;
        assert!(refused.headers().get("content-encoding").is_none(), "{path}");
        let known = routes.get(path, &[("If-None-Match", &tag)]).await;
        assert_eq!((known.status(), bytes(known).await.len()), (StatusCode::NOT_MODIFIED, 0), "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_page_needs_no_key_and_loads_nothing_from_elsewhere() {
    let web = Web { keys: Some(KeySource::Text("a-key-of-sixteen-characters".to_owned().into())), ..Web::default() };
    let routes = Routes::new(&Sandbox::new(options()), &web, &all_tools());
    let page = routes.get("/", &[]).await;
    let policy = page.headers()["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("http"), "{policy}");
    let html = String::from_utf8(bytes(page).await).unwrap();
    for named in html.split(['"']).filter(|text| text.starts_with("page/")) {
        let file = routes.get(&format!("/{named}"), &[]).await;
        assert_eq!(file.status(), StatusCode::OK, "{named}");
        assert!(!bytes(file).await.is_empty(), "{named}");
    }
    assert!(!html.contains("http"), "{html}");
    let docs = routes.get("/docs", &[]).await;
    assert_eq!((docs.status(), &docs.headers()["location"]), (StatusCode::PERMANENT_REDIRECT, &"./".parse().unwrap()));
    assert_eq!(routes.get("/page/other", &[]).await.status(), StatusCode::UNAUTHORIZED);
}
