//! `tools`: the catalogue, or what is found of it, as a table or with schemas as JSON.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::print;
use crate::{
    app::App,
    config::Safety,
    error::{Error, Result},
    policy::{Effect, Settings},
    router,
    tool_names::{self, Alias, Listed, Names},
    tools,
};

/// How many tools are shown of those that are found.
const FOUND: usize = 10;

pub fn run(names: Names, words: &str, as_json: bool) -> Result<ExitCode> {
    if names != Names::Native {
        return older(names, words, as_json);
    }
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
            print(&format!("  {:<width$} {:<9} {}", tool.name, mark(tool.effect), tool.title));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn mark(effect: Effect) -> &'static str {
    match effect {
        Effect::Read => "reads",
        Effect::Write => "changes",
        Effect::Destroy => "destroys",
        Effect::Execute => "executes",
    }
}

/// The tools by older names: all, or those that all the words occur in.
fn older(names: Names, words: &str, as_json: bool) -> Result<ExitCode> {
    let everything = Safety { policy: Settings::everything()?, tool_names: names, ..Safety::default() };
    let fits = |tool: &Listed| {
        let text = format!("{} {} {}", tool.name, tool.title, tool.description).to_lowercase();
        words.split_whitespace().all(|word| text.contains(&word.to_lowercase()))
    };
    let mut found = tool_names::listed(&App::with_clusters(Vec::new(), &everything)?);
    found.retain(fits);
    if as_json {
        let shown = |tool: &Listed| {
            let calls: Vec<&str> =
                names.alias(tool.name).into_iter().flat_map(Alias::entries).map(|e| e.name).collect();
            json!({
                "name": tool.name, "title": tool.title, "effect": tool.effect, "description": tool.description,
                "inputSchema": tool.input, "outputSchema": tool.entry.output_schema(), "calls": calls,
            })
        };
        let all: Vec<Value> = found.iter().map(shown).collect();
        print(&serde_json::to_string_pretty(&all).map_err(|e| Error::internal(e.to_string()))?);
        return Ok(ExitCode::SUCCESS);
    }
    let width = found.iter().map(|tool| tool.name.len()).max().unwrap_or_default();
    for tool in &found {
        print(&format!("{:<width$} {:<9} {}", tool.name, mark(tool.effect), tool.description));
    }
    if found.is_empty() {
        print(&format!("no tool fits '{words}'"));
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
