//! A client of MCP over HTTP that writes its requests itself: against the conversations of one caller, in this process and
//! without sockets, so that the paused clock can be used.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::sync::Arc;

use axum::body::{Body, BodyDataStream};
use futures::StreamExt;
use http::{HeaderMap, Request, Response, StatusCode};
use proxmox_mcp::{call::App, config::Web, ending::Ending, mcp::Conversations};
use serde_json::{Value, json};

/// How the client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// 2025-11-25, with a session.
    Session,
    /// 2026-07-28.
    Modern,
    /// 2024-11-05: one stream, and messages by POST.
    Sse,
    /// 2025-11-25 with a server that keeps no sessions.
    Stateless,
}

pub const WAYS: [Way; 4] = [Way::Session, Way::Modern, Way::Sse, Way::Stateless];
pub const BOTH: &str = "application/json, text/event-stream";

pub fn conversations(app: &Arc<App>, way: Way, ending: &Ending) -> Conversations {
    let web = Web { stateless: way == Way::Stateless, ..Web::default() };
    Conversations::new(Arc::clone(app), &web, ending)
}

/// A stream of events.
pub struct Events {
    body: BodyDataStream,
    text: String,
    /// The id of the last event.
    pub id: Option<String>,
}

impl Events {
    pub fn of(response: Response<Body>) -> Self {
        assert_eq!(response.headers()["content-type"], "text/event-stream", "{response:?}");
        Self { body: response.into_body().into_data_stream(), text: String::new(), id: None }
    }

    /// The next event with content: its name and its data. None at the end.
    pub async fn next(&mut self) -> Option<(String, String)> {
        loop {
            while let Some(end) = self.text.find("\n\n") {
                let event: String = self.text.drain(..end + 2).collect();
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
                if let Some(id) = field("id:") {
                    self.id = Some(id.to_owned());
                }
                match field("data:") {
                    Some(data) if !data.is_empty() => {
                        return Some((field("event:").unwrap_or("message").to_owned(), data.to_owned()));
                    }
                    _ => {}
                }
            }
            self.text.push_str(std::str::from_utf8(&self.body.next().await?.unwrap()).unwrap());
        }
    }

    pub async fn message(&mut self) -> Option<Value> {
        self.next().await.map(|(_, data)| serde_json::from_str(&data).unwrap())
    }
}

pub async fn json_of(response: Response<Body>) -> Value {
    assert_eq!(response.headers()["content-type"], "application/json", "{response:?}");
    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    serde_json::from_slice(&body).unwrap()
}

/// A POST of this message.
pub fn post(path: &str, accept: Option<&str>, message: &Value) -> Request<Body> {
    let request = Request::post(path).header("host", "localhost").header("content-type", "application/json");
    let request = match accept {
        Some(accept) => request.header("accept", accept),
        None => request,
    };
    request.body(Body::from(message.to_string())).unwrap()
}

pub fn get(path: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let request = Request::get(path).header("host", "localhost");
    headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).body(Body::empty()).unwrap()
}

pub struct Talk {
    pub conversations: Conversations,
    pub way: Way,
    pub accept: Option<&'static str>,
    pub session: Option<String>,
    capabilities: Value,
    /// What is read now: the session's, or the last request's.
    pub events: Option<Events>,
    /// Where messages are posted.
    pub endpoint: String,
    /// Answered without a stream.
    answered: Option<Value>,
}

impl Talk {
    pub async fn begin(conversations: &Conversations, way: Way) -> Self {
        Self::with(conversations, way, json!({}), Some(BOTH)).await
    }

    pub async fn with(
        conversations: &Conversations,
        way: Way,
        capabilities: Value,
        accept: Option<&'static str>,
    ) -> Self {
        let mut talk = Self {
            conversations: conversations.clone(),
            way,
            accept,
            session: None,
            capabilities,
            events: None,
            endpoint: "/proxmox/mcp".to_owned(),
            answered: None,
        };
        if way == Way::Sse {
            let stream = conversations.answer(get("/proxmox/mcp", &[("accept", "text/event-stream")])).await;
            let mut events = Events::of(stream);
            let (event, endpoint) = events.next().await.unwrap();
            assert_eq!(event, "endpoint");
            assert!(endpoint.starts_with("/proxmox/mcp?sessionId="), "{endpoint}");
            (talk.endpoint, talk.events) = (endpoint, Some(events));
        }
        if way != Way::Modern {
            let version = if way == Way::Sse { "2024-11-05" } else { "2025-11-25" };
            let hello = json!({"protocolVersion": version, "capabilities": talk.capabilities, "clientInfo": {"name": "test", "version": "1"}});
            talk.ask(0, "initialize", hello).await;
            assert_eq!(talk.reply().await.unwrap()["result"]["protocolVersion"], version);
            assert_eq!(talk.session.is_some(), way == Way::Session);
            talk.say(json!({"method": "notifications/initialized"})).await;
        }
        talk
    }

    fn request(&self, message: &Value) -> Request<Body> {
        let mut request = post(&self.endpoint, self.accept, message);
        let headers = request.headers_mut();
        let mut put = |name: &'static str, value: &str| headers.insert(name, value.parse().unwrap());
        if let Some(session) = &self.session {
            put("mcp-session-id", session);
        }
        if self.way == Way::Modern {
            put("mcp-protocol-version", "2026-07-28");
            put("mcp-method", message["method"].as_str().unwrap());
            let params = &message["params"];
            if let Some(name) = params["name"].as_str().or_else(|| params["taskId"].as_str()) {
                put("mcp-name", name);
            }
        }
        request
    }

    /// A notification, or an answer to the server.
    pub async fn say(&mut self, mut message: Value) {
        message["jsonrpc"] = json!("2.0");
        let response = self.conversations.answer(self.request(&message)).await;
        assert_eq!(response.status(), StatusCode::ACCEPTED, "{message}");
    }

    /// Sends a request; what it was answered with is read by [`Talk::reply`].
    pub async fn ask(&mut self, id: u32, method: &str, params: Value) -> HeaderMap {
        self.ask_as(id, method, params, None).await
    }

    pub async fn ask_as(&mut self, id: u32, method: &str, mut params: Value, request_id: Option<&str>) -> HeaderMap {
        if self.way == Way::Modern {
            params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2026-07-28");
            params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = self.capabilities.clone();
            params["_meta"]["io.modelcontextprotocol/clientInfo"] = json!({"name": "test", "version": "1"});
        }
        let message = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        let mut request = self.request(&message);
        if let Some(id) = request_id {
            request.extensions_mut().insert(proxmox_mcp::web::RequestId(id.to_owned()));
        }
        let response = self.conversations.answer(request).await;
        let headers = response.headers().clone();
        if self.way == Way::Sse {
            assert_eq!(response.status(), StatusCode::ACCEPTED);
            return headers;
        }
        assert_eq!(response.status(), StatusCode::OK, "{message}");
        if let Some(session) = headers.get("mcp-session-id") {
            self.session = Some(session.to_str().unwrap().to_owned());
        }
        if headers["content-type"] == "application/json" {
            self.answered = Some(json_of(response).await);
        } else {
            self.events = Some(Events::of(response));
        }
        headers
    }

    pub async fn call(&mut self, id: u32, tool: &str, arguments: Value) {
        self.ask(id, "tools/call", json!({"name": tool, "arguments": arguments, "_meta": {"progressToken": id}})).await;
    }

    /// The next message that is not progress. None where the stream ended without one.
    pub async fn reply(&mut self) -> Option<Value> {
        if let Some(answer) = self.answered.take() {
            return Some(answer);
        }
        loop {
            let message = self.events.as_mut().unwrap().message().await?;
            if message["method"] != "notifications/progress" {
                return Some(message);
            }
        }
    }

    /// The structured content of a call that must succeed.
    pub async fn result(&mut self, id: u32, tool: &str, arguments: Value) -> Value {
        self.call(id, tool, arguments).await;
        let reply = self.reply().await.unwrap();
        assert_eq!(reply["id"], id, "{reply}");
        let content = &reply["result"]["structuredContent"];
        if content.is_null() {
            panic!("{reply}");
        }
        content.clone()
    }
}
