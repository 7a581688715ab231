//! Taking back what the audit log has on record.

use serde_json::{Map, Value};

use crate::{
    call::{self, Answer, Cx},
    tool::*,
    undo,
};

pub const TOOLS: &[Entry] =
    &[Entry::by_record::<UndoTool>(Effect::Write, Control::instant().confirmed(), |cx, args| Box::pin(run(cx, args)))];

/// Undo a change by its audit_id.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "Undo")]
struct UndoTool {
    id: String,
    #[serde(default)]
    force: bool,
}

impl Tool for UndoTool {
    const NAME: &str = undo::TOOL;
    const TITLE: &str = "Undo a change";
    const API: &[&str] = &["GET /nodes/{node}/tasks/{upid}/status"];
    const EXAMPLE: (&str, &str) = ("Take back what you did last", r#"{"id": "1m3k7q0v2x4ab", "confirm": true}"#);
}

async fn run(cx: Cx<'_>, mut args: Map<String, Value>) -> Result<Answer> {
    let given = ["id", "force"].into_iter().filter_map(|key| args.remove_entry(key)).collect();
    let UndoTool { id, force } = call::parse(given)?;
    undo::run(&cx, id.trim(), force, args).await
}
