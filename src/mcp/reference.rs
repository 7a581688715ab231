//! The tool reference as resources: the list of the tools, and one tool in full. Rendered from the registry, and only
//! what the policy allows.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::{
    call::{self, App},
    docs,
    error::{Error, Result},
    tool::Entry,
    tools,
};

pub const MIME_TYPE: &str = "text/markdown";

/// The tools that may be used, in the documents' order.
pub fn allowed(app: &App) -> impl Iterator<Item = &'static Entry> {
    tools::all().filter(|e| app.policy().allows_tool(e.name, e.effect, e.api).is_ok() && app.has(e))
}

/// A table of all tools.
pub fn list(app: &App) -> String {
    let mut out = format!("# Tools\n\n{} tools.\n\n", allowed(app).count());
    docs::tool_table(&mut out, allowed(app));
    out
}

/// One tool: what `tools.md` says of it, and its schemas, which are listed for a model in a shorter form.
///
/// # Errors
/// `NotFound` with the nearest name; the policy's where the tool is switched off.
pub fn tool(app: &App, name: &str) -> Result<String> {
    let Some(entry) = tools::all().find(|entry| entry.name == name) else { return Err(call::unknown_tool(name)) };
    if let Err(denied) = app.policy().allows_tool(entry.name, entry.effect, entry.api) {
        // What cannot be called is not there: the list does not have it either.
        return Err(Error::not_found(denied.to_string()).hint(denied.parts().hint.clone().unwrap_or_default()));
    }
    let clusters = app.names();
    let mut out = String::new();
    docs::tool_section(&mut out, entry);
    schema(&mut out, "Arguments", entry.input_schema(&clusters));
    schema(&mut out, "Result", entry.output_schema_for(&clusters));
    Ok(out.trim_start().to_owned())
}

fn schema(out: &mut String, title: &str, schema: Map<String, Value>) {
    let text = serde_json::to_string_pretty(&Value::Object(schema)).unwrap_or_default();
    let _ = write!(out, "\n#### {title}\n\n```json\n{text}\n```\n");
}
