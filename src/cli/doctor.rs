//! `doctor`: is everything in place? Prints the checks as text, or as JSON.

use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::print;
use crate::{
    config::Config,
    doctor,
    embedded::Embedded,
    error::{Error, Result},
};

pub fn command() -> Command {
    Command::new("doctor")
        .about("Check settings, connection, certificate, login and rights, with a hint for each problem")
        .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("As JSON"))
}

pub async fn run(config: &Config, args: &ArgMatches) -> Result<ExitCode> {
    let embedded = if config.sandbox { Some(Embedded::start(config).await?) } else { None };
    let report = doctor::examine(embedded.as_ref().map_or(config, Embedded::config)).await;
    if args.get_flag("json") {
        print(&serde_json::to_string_pretty(&report).map_err(|e| Error::internal(e.to_string()))?);
    } else {
        print(&report.text());
    }
    Ok(report.exit_code().into())
}
