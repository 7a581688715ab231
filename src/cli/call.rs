//! `call`: one call of one tool. JSON on stdout, a progress bar on stderr; exit 0 done, 1 a tool's error, 2 wrong use.

use std::{
    io::{IsTerminal, Write},
    process::ExitCode,
};

use clap::{Arg, ArgMatches, Command};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::{FAILED, USAGE, bars::Bar, complain, open, print};
use crate::{
    call::{Answer, App, Context, Person},
    config::Config,
    confirm::{Asked, GOOD_FOR, Mode, QUESTIONS, pending, question},
    error::{Error, Kind, Result},
    tool_names,
};

pub fn command() -> Command {
    Command::new("call")
        .about("Call one tool and print its result as JSON")
        .after_help("Exit code: 0 done, 1 the tool's error, 2 wrong use (a confirmation that is missing, too).\n\nExample: proxmox-mcp --sandbox call proxmox-list-vms status=running limit=5")
        .arg(Arg::new("tool").value_name("TOOL").required(true).help("Name of the tool, as `proxmox-mcp tools` lists it"))
        .arg(Arg::new("arguments").value_name("KEY=VALUE").num_args(0..).help("Arguments; a value that begins with { or [ is JSON"))
        .arg(Arg::new("json").long("json").value_name("OBJECT").help("Arguments as one JSON object, or - to read it from stdin; KEY=VALUE beats it"))
}

pub async fn run(config: &Config, matches: &ArgMatches) -> Result<ExitCode> {
    let tool = matches.get_one::<String>("tool").cloned().unwrap_or_default();
    let words = matches.get_many::<String>("arguments").into_iter().flatten().map(String::as_str);
    let json = match matches.get_one::<String>("json").map(String::as_str) {
        // What is too long for a command line.
        Some("-") => Some(std::io::read_to_string(std::io::stdin()).map_err(unreadable)?),
        given => given.map(str::to_owned),
    };
    let arguments = arguments(json.as_deref(), words)?;
    let (app, _cluster) = open(config).await?;
    let cancel = CancellationToken::new();
    let stop = cancel.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            stop.cancel();
        }
    });
    let outcome = confirmed(&app, &tool, &arguments, &cancel).await;
    let (data, code) = match outcome {
        Ok(answer) if answer.data["state"] == "needs_confirmation" => (answer.data, USAGE),
        Ok(answer) => (answer.data, 0),
        Err(error) => {
            complain(&error);
            let usage = error.kind() == Kind::BadArgument || !tool_names::knows(&app, &tool);
            (json!({"error": error.parts()}), if usage { USAGE } else { FAILED })
        }
    };
    print(&serde_json::to_string_pretty(&data).map_err(|e| Error::internal(e.to_string()))?);
    Ok(code.into())
}

fn unreadable(error: std::io::Error) -> Error {
    Error::bad_argument(format!("--json: stdin cannot be read: {error}"))
}

/// Calls the tool, and asks on the terminal where a person has to say yes.
async fn confirmed(
    app: &App,
    tool: &str,
    arguments: &Map<String, Value>,
    cancel: &CancellationToken,
) -> Result<Answer> {
    let terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    let mut person = if terminal { Person::CanBeAsked } else { Person::Nobody("stdin is no terminal") };
    for asked in 0.. {
        let bar = Bar::new(tool);
        let context = Context {
            progress: bar.progress(),
            cancel: cancel.clone(),
            client: Some("the command line".to_owned()),
            request: None,
            person,
            hand_over: None,
        };
        let answer = tool_names::call(app, tool, arguments.clone(), &context).await;
        bar.clear();
        let answer = answer?;
        let waits = pending(&answer.data).filter(|_| terminal && app.confirm().mode() == Mode::Human);
        let Some(Asked { plan_id, summary }) = waits else { return Ok(answer) };
        if asked == QUESTIONS {
            break;
        }
        if !ask(&question(tool, app.cluster_of(arguments), &answer.data), cancel).await {
            return Err(Error::new(Kind::Denied, format!("nobody said yes: {summary}")).hint("nothing was sent"));
        }
        person = Person::SaidYes(plan_id);
    }
    let message = format!("the plan changed {QUESTIONS} times while it was asked about");
    Err(Error::new(Kind::Conflict, message).hint("nothing was sent; something else is changing the same things"))
}

/// Asks on stderr and reads a line of stdin; whatever is no yes, or comes too late, is a no.
async fn ask(question: &str, cancel: &CancellationToken) -> bool {
    drop(write!(std::io::stderr(), "{question}\n\nDo it? [y/N] "));
    let (answered, answer) = tokio::sync::oneshot::channel();
    // A thread of its own, which nothing waits for when the program ends.
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = std::io::stdin().read_line(&mut line);
        // Whoever asked may have gone.
        let _ = answered.send(read.is_ok() && is_yes(&line));
    });
    let said = tokio::select! {
        said = answer => said.unwrap_or(false),
        () = cancel.cancelled() => false,
        () = tokio::time::sleep(GOOD_FOR) => false,
    };
    drop(writeln!(std::io::stderr()));
    said
}

fn is_yes(line: &str) -> bool {
    ["y", "yes"].iter().any(|yes| line.trim().eq_ignore_ascii_case(yes))
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
    fn only_a_yes_is_a_yes() {
        assert!(["y\n", "Yes\n", " YES "].iter().all(|line| is_yes(line)));
        assert!(["", "\n", "n\n", "yesno\n", "ja\n"].iter().all(|line| !is_yes(line)));
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
