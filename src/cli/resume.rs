//! `resume`: what a killed process left half done: told, gone on with, or taken back.

use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{FAILED, bars::Bar, complain, open, print};
use crate::{
    call::App,
    config::Config,
    error::{Error, Result},
    journal::Left,
    render,
    resume::{self, Wish},
};

pub fn command() -> Command {
    let flag = |name: &'static str, help: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue).help(help);
    Command::new("resume")
        .about("Show what a killed process left half done; finish it, or take it back")
        .after_help(
            "Without ID it lists what was left, and how far each part got. Nothing is changed without --finish, --rollback or --forget.\n\nExit code: 0 nothing is left (or it was listed), 1 something could not be done.",
        )
        .arg(Arg::new("id").value_name("ID").help("Which one; not needed where there is only one"))
        .arg(flag("finish", "Do what was not done yet"))
        .arg(flag("rollback", "Take back what was done"))
        .arg(flag("forget", "Change nothing, and forget that it was left"))
        .arg(flag("json", "As JSON"))
        .group(ArgGroup::new("wish").args(["finish", "rollback", "forget"]))
}

pub async fn run(config: &Config, matches: &ArgMatches) -> Result<ExitCode> {
    let (app, _cluster) = open(config).await?;
    let journal = app.journal().ok_or_else(|| {
        Error::bad_setting("nothing is kept here that could be resumed")
            .hint("set PROXMOX_STATE_DIR; a sandbox keeps nothing")
    })?;
    let (left, bad) = journal.left()?;
    for bad in &bad {
        complain(&Error::internal(format!("not readable: {bad}")));
    }
    let wish = ["finish", "rollback", "forget"].into_iter().find(|wish| matches.get_flag(wish));
    let Some(wish) = wish else {
        list(&left, matches.get_one::<String>("id"), matches.get_flag("json"))?;
        return Ok(if bad.is_empty() { ExitCode::SUCCESS } else { FAILED.into() });
    };
    let one = chosen(left, matches.get_one::<String>("id"))?;
    match wish {
        "finish" => take_up(&app, one, Wish::Finish).await,
        "rollback" => take_up(&app, one, Wish::Rollback).await,
        _ => {
            let id = one.head.id.clone();
            one.forget()?;
            print(&format!("{id} is forgotten"));
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn chosen(mut left: Vec<Left>, id: Option<&String>) -> Result<Left> {
    let ids = left.iter().map(|one| one.head.id.clone()).collect::<Vec<_>>().join(", ");
    match id {
        Some(id) => left.retain(|one| one.head.id == *id),
        None if left.len() > 1 => return Err(Error::bad_argument(format!("ID: which one? There are {ids}"))),
        None => {}
    }
    left.pop().ok_or_else(|| match ids.is_empty() {
        true => Error::not_found("nothing was left half done"),
        false => Error::not_found(format!("no record with this id; there are {ids}")),
    })
}

async fn take_up(app: &App, left: Left, wish: Wish) -> Result<ExitCode> {
    let cancel = CancellationToken::new();
    let stop = cancel.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            stop.cancel();
        }
    });
    let bar = Bar::new("resume");
    let outcome = resume::take_up(app, left, wish, bar.progress(), cancel).await;
    bar.clear();
    let (data, code) = match outcome {
        Ok(result) => (Value::Object(result), ExitCode::SUCCESS),
        Err(error) => {
            complain(&error);
            (json!({"error": error.parts()}), FAILED.into())
        }
    };
    print(&serde_json::to_string_pretty(&data).map_err(|e| Error::internal(e.to_string()))?);
    Ok(code)
}

fn list(left: &[Left], id: Option<&String>, as_json: bool) -> Result<()> {
    let told: Vec<Value> =
        left.iter().filter(|one| id.is_none_or(|id| one.head.id == *id)).map(resume::about).collect();
    if as_json {
        print(&serde_json::to_string_pretty(&told).map_err(|e| Error::internal(e.to_string()))?);
        return Ok(());
    }
    if told.is_empty() {
        print("Nothing was left half done.");
        return Ok(());
    }
    for one in told {
        print(&render::text(&one));
    }
    print("Go on with `proxmox-mcp resume ID --finish`, or take it back with --rollback.");
    Ok(())
}
