//! `tools`: the catalogue, or what is found of it, as a table or with schemas as JSON.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::print;
use crate::{
    app::App,
    config::Safety,
    error::{Error, Result},
    policy::{Effect, Settings},
    router, tools,
};

/// How many tools are shown of those that are found.
const FOUND: usize = 10;

pub fn run(words: &str, as_json: bool) -> Result<ExitCode> {
    if !words.is_empty() {
        return find(words, as_json);
    }
    if as_json {
        let all: Vec<Value> = tools::FAMILIES
            .iter()
            .flat_map(|(family, tools)| tools.iter().map(move |tool| (family, tool)))
            .map(|(family, tool)| {
                json!({
                    "name": tool.name, "title": tool.title, "family": family, "effect": tool.effect,
                    "description": tool.description(), "inputSchema": tool.input_schema(&[]),
                    "outputSchema": tool.output_schema(), "api": tool.api,
                })
            })
            .collect();
        print(&serde_json::to_string_pretty(&all).map_err(|e| Error::internal(e.to_string()))?);
        return Ok(ExitCode::SUCCESS);
    }
    let width = tools::all().map(|tool| tool.name.len()).max().unwrap_or_default();
    for (family, tools) in tools::FAMILIES {
        print(&family.replace('_', " "));
        for tool in *tools {
            let mark = match tool.effect {
                Effect::Read => "reads",
                Effect::Write => "changes",
                Effect::Destroy => "destroys",
                Effect::Execute => "executes",
            };
            print(&format!("  {:<width$} {mark:<9} {}", tool.name, tool.title));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// All tools are searched, whatever a server may be told to leave out.
fn find(words: &str, as_json: bool) -> Result<ExitCode> {
    let everything = Safety { policy: Settings::everything()?, ..Safety::default() };
    let found = router::find(&App::with_clusters(Vec::new(), &everything)?, words, FOUND);
    if as_json {
        print(&serde_json::to_string_pretty(&found).map_err(|e| Error::internal(e.to_string()))?);
        return Ok(ExitCode::SUCCESS);
    }
    let tools: Vec<&Value> = found["tools"].as_array().into_iter().flatten().collect();
    let text = |tool: &Value, key: &str| tool[key].as_str().unwrap_or_default().to_owned();
    let width = tools.iter().map(|tool| text(tool, "name").len()).max().unwrap_or_default();
    for tool in &tools {
        print(&format!("{:<width$}  {}", text(tool, "name"), text(tool, "description")));
    }
    if tools.is_empty() {
        print(&format!("no tool fits '{words}'"));
    }
    Ok(ExitCode::SUCCESS)
}
