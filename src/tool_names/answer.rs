//! What an answer or an error says of other tools, in the names that its caller knows.

use serde_json::{Map, Value, json};

use super::{
    Names,
    alias::{Alias, To},
    parse,
};
use crate::{
    app::App,
    call::{self, Answer, Context},
    error::{Error, Result},
    tool::Entry,
};

/// What the names of our own tools begin with.
const OURS: &str = "proxmox-";
/// The texts of ours in an answer.
const TEXTS: &[&str] = &["next", "note"];

/// Calls one of our tools for a caller who knows others.
///
/// # Errors
/// The tool's.
pub async fn of(app: &App, entry: &Entry, args: Map<String, Value>, context: &Context) -> Result<Answer> {
    let names = app.tool_names();
    match call::run(app, entry.name, args, context).await {
        Ok(mut answer) => {
            if let Some(data) = answer.data.as_object_mut() {
                tell(app, data);
            }
            Ok(answer)
        }
        Err(error) => Err(failed(names, error)),
    }
}

fn failed(names: Names, error: Error) -> Error {
    error.reworded(|text| in_words(names, text))
}

fn tell(app: &App, data: &mut Map<String, Value>) {
    let names = app.tool_names();
    for key in TEXTS {
        if let Some(Value::String(text)) = data.get_mut(*key) {
            *text = in_words(names, text);
        }
    }
    let Some(undo) = data.get("undo").cloned() else { return };
    let node = data.get("about").and_then(|about| about.get("node"));
    match names.aliases().filter(|alias| alias.can_call(app)).find_map(|alias| back(alias, &undo, node)) {
        Some(undo) => drop(data.insert("undo".to_owned(), undo)),
        None => {
            data.shift_remove("undo");
            data.insert("no_undo".to_owned(), "no single call of this server's tools takes it back".into());
        }
    }
}

/// The same call by this older name, where it can say the same.
fn back(alias: &Alias, undo: &Value, node: Option<&Value>) -> Option<Value> {
    let tool = undo["tool"].as_str()?;
    if !stands_for(alias, tool) {
        return None;
    }
    let (mut args, mut params) = (undo["arguments"].as_object()?.clone(), Map::new());
    if let Some(Value::Object(given)) = args.shift_remove("params") {
        params = given;
    }
    let mut cluster = args.shift_remove(super::CLUSTER);
    args.retain(|key, value| alias.fixed.iter().all(|(fixed, json)| fixed != key || parse(json) != *value));
    let mut told = Map::new();
    for argument in alias.arguments {
        let value = match argument.to {
            To::Own("node") => args.shift_remove("node").or_else(|| node.cloned()),
            To::Own(own) => args.shift_remove(own),
            To::Param(key) => params.shift_remove(key),
            To::Work | To::Nothing => None,
        };
        match value {
            Some(value) => drop(told.insert(argument.name.to_owned(), value)),
            None if argument.needed => return None,
            None => {}
        }
    }
    if !args.is_empty() || !params.is_empty() {
        return None;
    }
    told.extend(cluster.take().map(|cluster| (super::CLUSTER.to_owned(), cluster)));
    let mut call = json!({"tool": alias.name, "arguments": told});
    if let Some(note) = undo.get("note") {
        call["note"] = note.clone();
    }
    Some(call)
}

/// Whether an alias is another name for this tool, and nothing more.
fn stands_for(alias: &Alias, tool: &str) -> bool {
    alias.work.is_none() && matches!(alias.to, [only] if only.tools().any(|name| name == tool))
}

/// A text with our names replaced, where there are others.
fn in_words(names: Names, text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(OURS) {
        let (before, found) = rest.split_at(at);
        let end = found.find(|c: char| !c.is_ascii_lowercase() && c != '-').unwrap_or(found.len());
        let (name, after) = found.split_at(end);
        let older = names.aliases().find(|alias| stands_for(alias, name));
        out.push_str(before);
        out.push_str(older.map_or(name, |alias| alias.name));
        rest = after;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_names_are_told_by_theirs_where_there_are_any() {
        let text = "look at proxmox-list-lxc, or proxmox-task-log; (proxmox-start-vm)";
        assert_eq!(in_words(Names::Camel, text), "look at listContainers, or proxmox-task-log; (startVM)");
        assert_eq!(in_words(Names::Machines, text), text.replace("proxmox-start-vm", "start_machine"));
    }
}
