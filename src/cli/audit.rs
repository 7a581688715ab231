//! `audit`: is the record of changes whole, and what is in it last? Looks only.

use std::{path::PathBuf, process::ExitCode};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::{FAILED, print};
use crate::{
    audit::{self, Log, Recorded, Report},
    config::Config,
    error::{Error, Result},
};

pub fn command() -> Command {
    let file = |help: &'static str| Arg::new("file").value_name("FILE").value_parser(value_parser!(PathBuf)).help(help);
    Command::new("audit")
        .about("Look at the audit log: verify it, or show its last entries")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("verify")
                .about("Check that no line was changed, removed, added or cut off")
                .after_help("Exit code: 0 it is whole, 1 it is not (with the first line that is wrong).\n\nLogs that were put aside are verified with the one that follows them: proxmox-mcp audit verify audit.jsonl.1 audit.jsonl")
                .arg(file("The log; several that follow one another, oldest first [default: PROXMOX_AUDIT_FILE]").num_args(0..)),
        )
        .subcommand(
            Command::new("tail")
                .about("Show the last entries, one line for each call: time, client, tool, what, outcome, id")
                .arg(
                    Arg::new("lines")
                        .short('n')
                        .value_name("N")
                        .default_value("20")
                        .value_parser(value_parser!(usize))
                        .help("How many"),
                )
                .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("All that is on record, a JSON object a line"))
                .arg(file("The log [default: PROXMOX_AUDIT_FILE]")),
        )
}

pub fn run(config: &Config, matches: &ArgMatches) -> Result<ExitCode> {
    match matches.subcommand() {
        Some(("verify", args)) => verify(config, args),
        Some(("tail", args)) => tail(config, args),
        _ => Err(Error::internal("no such command")),
    }
}

/// The files that are named, else the configured one.
fn files(config: &Config, args: &ArgMatches) -> Result<Vec<PathBuf>> {
    let named: Vec<PathBuf> = args.get_many("file").into_iter().flatten().cloned().collect();
    if !named.is_empty() {
        return Ok(named);
    }
    let configured = config.safety.audit_file.iter().cloned().collect::<Vec<_>>();
    match configured.is_empty() {
        true => Err(Error::bad_setting("no audit log: give FILE, or set PROXMOX_AUDIT_FILE")),
        false => Ok(configured),
    }
}

fn verify(config: &Config, args: &ArgMatches) -> Result<ExitCode> {
    let files = files(config, args)?;
    let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    let log = |file: PathBuf| Log::new(file, config.safety.confirm.key.clone());
    let logs: Vec<Log> = files.into_iter().map(log).collect();
    match audit::verify(&logs) {
        Ok(report) => {
            print(&format!("{} is whole: {}", names.join(", "), told(&report)));
            Ok(ExitCode::SUCCESS)
        }
        Err(fault) => {
            print(&format!("{}: {fault}", names.join(", ")));
            Ok(FAILED.into())
        }
    }
}

/// What a whole log holds, in words.
pub fn told(report: &Report) -> String {
    let Report { lines, calls, open, torn, from, to, last, follows, .. } = report;
    let mut words = vec![format!("{lines} lines, {calls} calls, from {from} to {to}")];
    if *open > 0 {
        words.push(format!("{open} without an end: under way, or cut short with the program"));
    }
    if *torn > 0 {
        words.push(format!("{torn} left unfinished by a crash"));
    }
    words.push(format!("last line {last}"));
    if let Some(before) = follows {
        words.push(format!("goes on after a log of {} lines that ends with {}", before.lines, before.last));
    }
    words.join("\n  ")
}

fn tail(config: &Config, args: &ArgMatches) -> Result<ExitCode> {
    let last = args.get_one::<usize>("lines").copied().unwrap_or_default();
    for file in files(config, args)? {
        for entry in audit::read(&file, last)? {
            print(&if args.get_flag("json") {
                serde_json::to_string(&entry).map_err(|e| Error::internal(e.to_string()))?
            } else {
                line(&entry)
            });
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// One line for one call.
fn line(entry: &Recorded) -> String {
    let begun = &entry.begun;
    let outcome = match &entry.ended {
        None => "no end on record".to_owned(),
        Some(ended) => match (&ended.error, &ended.exitstatus) {
            (Some(error), _) => format!("failed: {}", error.message.lines().next().unwrap_or_default()),
            (None, Some(status)) if status != "OK" => status.clone(),
            (None, _) => ended.state.clone().unwrap_or_default(),
        },
    };
    let undoes = begun.undoes.as_ref().map(|id| format!(" (undoes {id})")).unwrap_or_default();
    let client = match (&begun.client, &begun.caller) {
        (Some(client), Some(caller)) => format!("{client} ({caller})"),
        (client, caller) => client.as_deref().or(caller.as_deref()).unwrap_or("-").to_owned(),
    };
    format!("{}  {client}  {}  {}{undoes}  {outcome}  {}", entry.time, begun.tool, begun.summary, begun.id)
}
