//! `tools`: the catalogue, as a table or with schemas as JSON.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::print;
use crate::{
    error::{Error, Result},
    policy::Effect,
    tools,
};

pub fn run(as_json: bool) -> Result<ExitCode> {
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
