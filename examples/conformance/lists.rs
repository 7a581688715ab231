//! The fixtures that only say something: the lists, the resources and the prompts.

use rmcp::model::*;
use serde_json::{Value, json};

use crate::wire;

/// A red pixel.
pub const IMAGE: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC";

/// Every fixture tool: its name, and its arguments' schema where it has any.
pub fn tools() -> Vec<Tool> {
    let none = || json!({"type": "object", "properties": {}});
    let words = |name: &str| json!({"type": "object", "properties": {name: {"type": "string"}}, "required": [name]});
    let plain = [
        "test_simple_text",
        "test_image_content",
        "test_audio_content",
        "test_embedded_resource",
        "test_multiple_content_types",
        "test_error_handling",
        "test_tool_with_progress",
        "test_tool_with_logging",
        "test_logging_tool",
        "test_reconnection",
        "test_elicitation_sep1034_defaults",
        "test_elicitation_sep1330_enums",
        "test_missing_capability",
        "test_streaming_elicitation",
        "test_trigger_tool_change",
        "test_trigger_prompt_change",
        "test_input_required_result_elicitation",
        "test_input_required_result_sampling",
        "test_input_required_result_list_roots",
        "test_input_required_result_request_state",
        "test_input_required_result_multiple_inputs",
        "test_input_required_result_multi_round",
        "test_input_required_result_tampered_state",
        "test_input_required_result_capabilities",
        "test_tool_with_task",
        "failing_job",
        "protocol_error_job",
        "multi_input",
    ];
    let compute = json!({"type": "object", "properties": {"seconds": {"type": "number"}, "label": {"type": "string"}}});
    let region = json!({"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}});
    let others = [
        ("test_sampling", words("prompt")),
        ("test_elicitation", words("message")),
        ("test_x_mcp_header", region),
        ("json_schema_2020_12_tool", composed()),
        ("greet", words("name")),
        ("slow_compute", compute),
        ("confirm_delete", words("filename")),
    ];
    let all = plain.into_iter().map(|name| (name, none())).chain(others);
    all.map(|(name, schema)| {
        wire(json!({"name": name, "description": "A fixture of the conformance suite.", "inputSchema": schema}))
    })
    .collect()
}

/// A schema with the words of JSON Schema 2020-12 that a server must pass on unchanged.
fn composed() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {"address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }},
        "properties": {
            "name": {"type": "string"},
            "address": {"$ref": "#/$defs/address"},
            "contactMethod": {"type": "string", "enum": ["phone", "email"]},
            "phone": {"type": "string"},
            "email": {"type": "string"},
        },
        "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
        "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
        "then": {"required": ["phone"]},
        "else": {"required": ["email"]},
        "additionalProperties": false,
    })
}

pub fn resources() -> Vec<Resource> {
    let named = |name: &str, mime: &str| {
        wire(json!({"uri": format!("test://{name}"), "name": name, "description": "A fixture.", "mimeType": mime}))
    };
    vec![
        named("static-text", "text/plain"),
        named("static-binary", "image/png"),
        named("watched-resource", "text/plain"),
    ]
}

pub fn templates() -> Vec<ResourceTemplate> {
    vec![wire(json!({
        "uriTemplate": "test://template/{id}/data",
        "name": "template",
        "description": "A fixture.",
        "mimeType": "application/json",
    }))]
}

/// What stands under an address, if it is a fixture's.
pub fn resource(uri: &str) -> Option<ResourceContents> {
    let text = |text: &str| json!({"uri": uri, "mimeType": "text/plain", "text": text});
    let contents = match uri {
        "test://static-text" => text("This is the content of the static text resource."),
        "test://watched-resource" => text("This is watched."),
        "test://static-binary" => json!({"uri": uri, "mimeType": "image/png", "blob": IMAGE}),
        _ => {
            let id = uri.strip_prefix("test://template/")?.strip_suffix("/data")?;
            let data = json!({"id": id, "templateTest": true, "data": format!("Data for ID: {id}")});
            json!({"uri": uri, "mimeType": "application/json", "text": data.to_string()})
        }
    };
    Some(wire(contents))
}

pub fn prompts() -> Vec<Prompt> {
    let prompt = |name: &str, arguments: &[&str]| {
        let arguments: Vec<Value> =
            arguments.iter().map(|a| json!({"name": a, "description": "Any text.", "required": true})).collect();
        wire(json!({"name": name, "description": "A fixture.", "arguments": arguments}))
    };
    vec![
        prompt("test_simple_prompt", &[]),
        prompt("test_prompt_with_arguments", &["arg1", "arg2"]),
        prompt("test_prompt_with_embedded_resource", &["resourceUri"]),
        prompt("test_prompt_with_image", &[]),
        prompt("test_input_required_result_prompt", &[]),
    ]
}

/// A prompt that needs no more than its arguments, if it is a fixture's.
pub fn prompt(request: &GetPromptRequestParams) -> Option<GetPromptResult> {
    let argument = |name: &str| {
        let given = request.arguments.as_ref().and_then(|all| all.get(name)).and_then(Value::as_str);
        given.unwrap_or_default()
    };
    let text = |text: &str| json!({"type": "text", "text": text});
    let contents = match request.name.as_str() {
        "test_simple_prompt" => vec![text("This is a simple prompt for testing.")],
        "test_prompt_with_arguments" => {
            let (one, two) = (argument("arg1"), argument("arg2"));
            vec![text(&format!("Prompt with arguments: arg1='{one}', arg2='{two}'"))]
        }
        "test_prompt_with_embedded_resource" => {
            let embedded = json!({"type": "resource", "resource": {
                "uri": argument("resourceUri"),
                "mimeType": "text/plain",
                "text": "Embedded resource content for testing.",
            }});
            vec![embedded, text("Please process the embedded resource above.")]
        }
        "test_prompt_with_image" => {
            let image = json!({"type": "image", "data": IMAGE, "mimeType": "image/png"});
            vec![image, text("Please analyze the image above.")]
        }
        _ => return None,
    };
    let message = |content| wire(json!({"role": "user", "content": content}));
    Some(GetPromptResult::new(contents.into_iter().map(message).collect()))
}
