//! `call`: one call of one tool. JSON on stdout, a progress bar on stderr; exit 0 done, 1 a tool's error, 2 wrong use.

use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command};
use serde_json::{Map, Value, json};

use super::{FAILED, USAGE, bars::Bar, complain, open, print};
use crate::{
    call::{self, Context},
    config::Config,
    error::{Error, Kind, Result},
};

pub fn command() -> Command {
    Command::new("call")
        .about("Call one tool and print its result as JSON")
        .after_help("Exit code: 0 done, 1 the tool's error, 2 wrong use (a confirmation that is missing, too).\n\nExample: proxmox-mcp --sandbox call proxmox-list-vms status=running limit=5")
        .arg(Arg::new("tool").value_name("TOOL").required(true).help("Name of the tool, as `proxmox-mcp tools` lists it"))
        .arg(Arg::new("arguments").value_name("KEY=VALUE").num_args(0..).help("Arguments; a value that begins with { or [ is JSON"))
        .arg(Arg::new("json").long("json").value_name("OBJECT").help("Arguments as one JSON object; KEY=VALUE beats it"))
}

pub async fn run(config: &Config, matches: &ArgMatches) -> Result<ExitCode> {
    let tool = matches.get_one::<String>("tool").cloned().unwrap_or_default();
    let words = matches.get_many::<String>("arguments").into_iter().flatten().map(String::as_str);
    let arguments = arguments(matches.get_one::<String>("json").map(String::as_str), words)?;
    let (app, _cluster) = open(config).await?;
    let bar = Bar::new(&tool);
    let context = Context { progress: bar.progress(), ..Context::default() };
    let cancel = context.cancel.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            cancel.cancel();
        }
    });
    let outcome = call::run(&app, &tool, arguments, &context).await;
    bar.clear();
    let (data, code) = match outcome {
        Ok(answer) if answer.data["state"] == "needs_confirmation" => (answer.data, USAGE),
        Ok(answer) => (answer.data, 0),
        Err(error) => {
            complain(&error);
            let usage = error.kind() == Kind::BadArgument || call::is_unknown_tool(&tool);
            (json!({"error": error.parts()}), if usage { USAGE } else { FAILED })
        }
    };
    print(&serde_json::to_string_pretty(&data).map_err(|e| Error::internal(e.to_string()))?);
    Ok(code.into())
}

/// The arguments of a call from the command line's words. Types are brought in order by the tool's schema later.
fn arguments<'a>(json: Option<&str>, words: impl Iterator<Item = &'a str>) -> Result<Map<String, Value>> {
    let mut arguments = match json.map(serde_json::from_str) {
        None => Map::new(),
        Some(Ok(Value::Object(map))) => map,
        Some(Ok(other)) => return Err(Error::bad_argument(format!("--json: expected an object, got {other}"))),
        Some(Err(e)) => return Err(Error::bad_argument(format!("--json: not JSON: {e}"))),
    };
    for word in words {
        let Some((key, value)) = word.split_once('=') else {
            return Err(Error::bad_argument(format!("'{word}': expected KEY=VALUE, as in vmid=100")));
        };
        let value = if value.starts_with(['{', '[']) {
            serde_json::from_str(value).map_err(|e| Error::bad_argument(format!("{key}: not JSON: {e}")))?
        } else {
            Value::from(value)
        };
        arguments.insert(key.to_owned(), value);
    }
    Ok(arguments)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: Option<&str>, words: &[&str]) -> Result<Value, String> {
        arguments(json, words.iter().copied()).map(Value::Object).map_err(|e| e.to_string())
    }

    #[test]
    fn words_and_json_combine_and_words_win() {
        assert_eq!(
            read(Some(r#"{"vmid": 1, "wait": true}"#), &["vmid=100", "name=a=b", "tags=[\"x\"]"]),
            Ok(json!({"vmid": "100", "wait": true, "name": "a=b", "tags": ["x"]}))
        );
    }

    #[test]
    fn what_is_no_argument_is_named() {
        assert_eq!(read(None, &["vmid"]), Err("'vmid': expected KEY=VALUE, as in vmid=100".to_owned()));
        assert_eq!(read(Some("[]"), &[]), Err("--json: expected an object, got []".to_owned()));
        assert!(read(Some("{"), &[]).is_err_and(|e| e.starts_with("--json: not JSON")));
    }
}
