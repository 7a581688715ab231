//! The fixtures that ask the client and are called again with its answers, as the newer era does it.

use rmcp::{ErrorData, RoleServer, model::*, service::RequestContext};
use serde_json::{Value, json};

use crate::{Subject, tools::text, wire};

type Answer = Result<CallToolResponse, ErrorData>;

/// Asks for one field, by form.
pub fn form(message: &str, field: &str, kind: &str) -> Value {
    let schema = json!({"type": "object", "properties": {field: {"type": kind}}, "required": [field]});
    json!({"method": "elicitation/create", "params": {"mode": "form", "message": message, "requestedSchema": schema}})
}

fn sampling(question: &str) -> Value {
    let message = json!({"role": "user", "content": {"type": "text", "text": question}});
    json!({"method": "sampling/createMessage", "params": {"messages": [message], "maxTokens": 100}})
}

fn roots() -> Value {
    json!({"method": "roots/list", "params": {}})
}

fn ask(requests: Value, state: Option<String>) -> InputRequiredResult {
    InputRequiredResult::new(Some(wire(requests)), state)
}

/// The field of an accepted form, if the answer is one.
pub fn field<'a>(answers: Option<&'a InputResponses>, key: &str, field: &str) -> Option<&'a Value> {
    let answer = answers?.get(key)?;
    (answer["action"] == "accept").then(|| answer["content"].get(field)).flatten()
}

/// A call of one of these tools; `None`: it is another.
pub fn call(subject: &Subject, request: &CallToolRequestParams, cx: &RequestContext<RoleServer>) -> Option<Answer> {
    let answers = request.input_responses.as_ref();
    let answer = |key: &str| answers.and_then(|all| all.get(key)).filter(|answer| answer.is_object());
    let name = || form("What is your name?", "name", "string");
    let response: CallToolResponse = match request.name.as_ref() {
        "test_input_required_result_elicitation" => match field(answers, "user_name", "name").and_then(Value::as_str) {
            Some(name) => text(format!("Hello, {name}!")).into(),
            None => ask(json!({"user_name": name()}), None).into(),
        },
        "test_streaming_elicitation" => ask(json!({"user_name": name()}), None).into(),
        "test_input_required_result_sampling" => match answer("capital_question") {
            Some(answer) => text(answer["content"].to_string()).into(),
            None => ask(json!({"capital_question": sampling("What is the capital of France?")}), None).into(),
        },
        "test_input_required_result_list_roots" => match answer("client_roots") {
            Some(answer) => text(answer["roots"].to_string()).into(),
            None => ask(json!({"client_roots": roots()}), None).into(),
        },
        "test_input_required_result_capabilities" => {
            let has = cx.client_capabilities().unwrap_or_default();
            let mut requests = json!({});
            if has.sampling.is_some() {
                requests["greeting"] = sampling("Generate a greeting");
            }
            if has.elicitation.is_some() {
                requests["user_name"] = name();
            }
            ask(requests, None).into()
        }
        "test_input_required_result_request_state"
        | "test_input_required_result_tampered_state"
        | "test_input_required_result_multiple_inputs"
        | "test_input_required_result_multi_round" => return Some(with_state(subject, request)),
        _ => return None,
    };
    Some(Ok(response))
}

/// Tools that keep where they are in a sealed state, which the client brings back.
fn with_state(subject: &Subject, request: &CallToolRequestParams) -> Answer {
    let tool = request.name.as_ref();
    let seal = |round: u32| {
        let options = SealOptions::new().associated_data(tool.as_bytes());
        subject.state.seal_json_with(&round, &options).map_err(|e| ErrorData::internal_error(e.to_string(), None))
    };
    let round: u32 = match &request.request_state {
        None => 0,
        Some(state) => subject
            .state
            .open_json_with(state, tool.as_bytes())
            .map_err(|_| ErrorData::invalid_params("requestState is not what this server gave out", None))?,
    };
    let confirm = || json!({"confirm": form("Please confirm", "ok", "boolean")});
    let name = || form("What is your name?", "name", "string");
    let answers = request.input_responses.as_ref();
    let has = |key: &str| answers.is_some_and(|all| all.contains_key(key));
    Ok(match (tool, round) {
        ("test_input_required_result_multiple_inputs", 1)
            if ["user_name", "greeting", "client_roots"].map(has) == [true; 3] =>
        {
            text("All three came.").into()
        }
        ("test_input_required_result_multiple_inputs", _) => {
            let requests =
                json!({"user_name": name(), "greeting": sampling("Generate a greeting"), "client_roots": roots()});
            ask(requests, Some(seal(1)?)).into()
        }
        ("test_input_required_result_multi_round", 1) if has("step1") => {
            ask(json!({"step2": form("Step 2: What is your favorite color?", "color", "string")}), Some(seal(2)?))
                .into()
        }
        ("test_input_required_result_multi_round", 2) if has("step2") => text("Both steps were taken.").into(),
        ("test_input_required_result_multi_round", _) => {
            ask(json!({"step1": form("Step 1: What is your name?", "name", "string")}), Some(seal(1)?)).into()
        }
        (_, 1) if field(answers, "confirm", "ok").is_some() => text("state-ok").into(),
        _ => ask(confirm(), Some(seal(1)?)).into(),
    })
}

/// The prompt that asks before it says anything.
pub fn prompt(request: &GetPromptRequestParams) -> GetPromptResponse {
    match field(request.input_responses.as_ref(), "user_context", "context").and_then(Value::as_str) {
        Some(context) => {
            GetPromptResult::new(vec![PromptMessage::new_text(Role::User, format!("Context: {context}"))]).into()
        }
        None => {
            let question = form("What context should the prompt use?", "context", "string");
            ask(json!({"user_context": question}), None).into()
        }
    }
}
