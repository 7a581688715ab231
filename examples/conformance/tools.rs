//! The fixture tools of one round: contents, progress, logs, and what the older era asks of the client during a call.
#![expect(deprecated, reason = "the older era samples and logs, and the suite looks at both")]

use std::time::Duration;

use rmcp::{ErrorData, RoleServer, model::*, service::RequestContext};
use serde_json::{Value, json};

use crate::{Changed, Subject, lists::IMAGE, wire};

/// A moment of silence.
const AUDIO: &str = "UklGRiUAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQEAAACA";
const STEP: Duration = Duration::from_millis(50);

pub fn text(text: impl Into<String>) -> CallToolResult {
    CallToolResult::success(vec![ContentBlock::text(text)])
}

pub async fn call(
    subject: &Subject,
    request: CallToolRequestParams,
    cx: RequestContext<RoleServer>,
) -> Result<CallToolResponse, ErrorData> {
    let argument = |name: &str| {
        let given = request.arguments.as_ref().and_then(|all| all.get(name)).and_then(Value::as_str);
        given.unwrap_or_default().to_owned()
    };
    let result = match request.name.as_ref() {
        "test_error_handling" => {
            CallToolResult::error(vec![ContentBlock::text("This tool intentionally returns an error for testing")])
        }
        "test_tool_with_progress" => {
            progress(&cx).await;
            text("Progress was reported.")
        }
        "test_tool_with_logging" => {
            log(&cx, &["Tool execution started", "Tool processing data", "Tool execution completed"]).await;
            text("Logs were sent.")
        }
        "test_logging_tool" => {
            log(&cx, &["A line of the log"]).await;
            text("A log was sent if it was asked for.")
        }
        "test_reconnection" => {
            tokio::time::sleep(STEP).await;
            text("Still there.")
        }
        "test_missing_capability" => {
            if cx.client_capabilities().is_none_or(|has| has.sampling.is_none()) {
                let needed = ClientCapabilities::builder().enable_sampling().build();
                return Err(ErrorData::missing_required_client_capability(needed));
            }
            text("The client can sample.")
        }
        "test_trigger_tool_change" => changed(subject, Changed::Tools),
        "test_trigger_prompt_change" => changed(subject, Changed::Prompts),
        "test_sampling" => sample(&cx, &argument("prompt")).await,
        "test_elicitation" => {
            let field = |words: &str| json!({"type": "string", "description": words});
            let fields = json!({"username": field("User's response"), "email": field("User's email address")});
            elicit(&cx, &argument("message"), &["username", "email"], fields).await
        }
        "test_elicitation_sep1034_defaults" => elicit(&cx, "All have defaults", &[], defaults()).await,
        "test_elicitation_sep1330_enums" => elicit(&cx, "All are choices", &[], choices()).await,
        name => CallToolResult::success(contents(name)),
    };
    Ok(result.into())
}

/// Of the tools that always say the same.
fn contents(tool: &str) -> Vec<ContentBlock> {
    let image = || json!({"type": "image", "data": IMAGE, "mimeType": "image/png"});
    let resource = |uri: &str, mime: &str, text: &str| json!({"type": "resource", "resource": {"uri": uri, "mimeType": mime, "text": text}});
    wire(match tool {
        "test_image_content" => json!([image()]),
        "test_audio_content" => json!([{"type": "audio", "data": AUDIO, "mimeType": "audio/wav"}]),
        "test_embedded_resource" => {
            json!([resource("test://embedded-resource", "text/plain", "This is an embedded resource content.")])
        }
        "test_multiple_content_types" => json!([
            {"type": "text", "text": "Multiple content types test:"},
            image(),
            resource("test://mixed-content-resource", "application/json", r#"{"test":"data","value":123}"#),
        ]),
        _ => json!([{"type": "text", "text": "This is a simple text response for testing."}]),
    })
}

fn changed(subject: &Subject, list: Changed) -> CallToolResult {
    // Without listeners nobody need be told.
    drop(subject.changes.send(list));
    text("The list was changed.")
}

async fn progress(cx: &RequestContext<RoleServer>) {
    for done in [0.0, 50.0, 100.0] {
        if let Some(token) = cx.meta.get_progress_token() {
            drop(cx.peer.notify_progress(ProgressNotificationParam::new(token, done).with_total(100.0)).await);
        }
        tokio::time::sleep(STEP).await;
    }
}

/// In the newer era only where the request says so.
async fn log(cx: &RequestContext<RoleServer>, lines: &[&str]) {
    let older = cx.protocol_version().is_some_and(|version| version.has_initialize());
    if !older && cx.meta.log_level().is_none() {
        return;
    }
    for line in lines {
        drop(
            cx.peer.notify_logging_message(LoggingMessageNotificationParam::new(LoggingLevel::Info, json!(line))).await,
        );
        tokio::time::sleep(STEP).await;
    }
}

async fn sample(cx: &RequestContext<RoleServer>, prompt: &str) -> CallToolResult {
    let request = CreateMessageRequestParams::new(vec![SamplingMessage::user_text(prompt)], 100);
    match cx.peer.create_message(request).await {
        Ok(answer) => {
            let said = answer.message.content.first().and_then(|c| c.as_text()).map(|t| t.text.clone());
            text(format!("LLM response: {}", said.unwrap_or_default()))
        }
        Err(e) => CallToolResult::error(vec![ContentBlock::text(e.to_string())]),
    }
}

async fn elicit(cx: &RequestContext<RoleServer>, message: &str, needed: &[&str], fields: Value) -> CallToolResult {
    let mut schema = json!({"type": "object", "properties": fields});
    if !needed.is_empty() {
        schema["required"] = json!(needed);
    }
    let request: ElicitRequestParams = wire(json!({"mode": "form", "message": message, "requestedSchema": schema}));
    match cx.peer.create_elicitation(request).await {
        Ok(answer) => text(format!("Elicitation completed: {}", json!(answer))),
        Err(e) => CallToolResult::error(vec![ContentBlock::text(e.to_string())]),
    }
}

fn defaults() -> Value {
    json!({
        "name": {"type": "string", "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
        "verified": {"type": "boolean", "default": true},
    })
}

fn choices() -> Value {
    let titled = json!([
        {"const": "value1", "title": "First Option"},
        {"const": "value2", "title": "Second Option"},
        {"const": "value3", "title": "Third Option"},
    ]);
    let plain = json!(["option1", "option2", "option3"]);
    let legacy = json!(["opt1", "opt2", "opt3"]);
    json!({
        "untitledSingle": {"type": "string", "enum": plain},
        "titledSingle": {"type": "string", "oneOf": titled},
        "legacyEnum": {"type": "string", "enum": legacy, "enumNames": ["Option One", "Option Two", "Option Three"]},
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": plain}},
        "titledMulti": {"type": "array", "items": {"anyOf": titled}},
    })
}
