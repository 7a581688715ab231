//! The tool reference as resources: the list of the tools, and one tool in full. Rendered from the registry, and only
//! what the policy allows.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::{
    call::{self, App},
    docs,
    error::{Error, Result},
    tool::Entry,
    tool_names::{self, Names},
    tools,
};

pub const MIME_TYPE: &str = "text/markdown";

/// The tools that may be used, in the documents' order.
pub fn allowed(app: &App) -> impl Iterator<Item = &'static Entry> {
    tools::all().filter(|e| app.policy().allows_tool(e.name, e.effect, e.api).is_ok() && app.has(e))
}

/// The names that a caller may use.
pub fn names(app: &App) -> Vec<&'static str> {
    match app.tool_names() {
        Names::Native => allowed(app).map(|entry| entry.name).collect(),
        names => names.aliases().filter(|alias| alias.can_call(app)).map(|alias| alias.name).collect(),
    }
}

/// A table of all tools.
pub fn list(app: &App) -> String {
    let mut out = format!("# Tools\n\n{} tools.\n\n", names(app).len());
    match app.tool_names() {
        Names::Native => docs::tool_table(&mut out, allowed(app)),
        names => docs::alias_table(&mut out, names.aliases().filter(|alias| alias.can_call(app))),
    }
    out
}

/// One tool: what `tools.md` says of it, and its schemas, which are listed for a model in a shorter form.
///
/// # Errors
/// `NotFound` with the nearest name; the policy's where the tool is switched off.
pub fn tool(app: &App, name: &str) -> Result<String> {
    if app.tool_names() != Names::Native {
        return older(app, name);
    }
    let Some(entry) = tools::all().find(|entry| entry.name == name) else { return Err(call::unknown_tool(name)) };
    if let Err(denied) = app.policy().allows_tool(entry.name, entry.effect, entry.api) {
        // What cannot be called is not there: the list does not have it either.
        return Err(Error::not_found(denied.to_string()).hint(denied.parts().hint.clone().unwrap_or_default()));
    }
    let mut out = String::new();
    docs::tool_section(&mut out, entry);
    schema(&mut out, "Arguments", entry.input_schema(&app.names()));
    schema(&mut out, "Result", entry.output_schema_for(&app.names()));
    Ok(out.trim_start().to_owned())
}

/// The same by an older name.
fn older(app: &App, name: &str) -> Result<String> {
    let alias = app.tool_names().alias(name).filter(|alias| alias.can_call(app));
    let Some((alias, listed)) = alias.and_then(|alias| Some((alias, alias.listed(app)?))) else {
        return Err(tool_names::unknown(app, name));
    };
    let mut out = format!("### {name}\n\n");
    docs::alias_table(&mut out, std::iter::once(alias));
    schema(&mut out, "Arguments", listed.input);
    schema(&mut out, "Result", listed.entry.output_schema_for(&app.names()));
    Ok(out)
}

fn schema(out: &mut String, title: &str, schema: Map<String, Value>) {
    let text = serde_json::to_string_pretty(&Value::Object(schema)).unwrap_or_default();
    let _ = write!(out, "\n#### {title}\n\n```json\n{text}\n```\n");
}
