//! `doctor`: what is right and wrong with the settings, the connection, the login and the rights.

use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::{print, sandbox::Embedded};
use crate::{
    config::Config,
    doctor,
    error::{Error, Result},
};

pub fn command() -> Command {
    Command::new("doctor")
        .about("Check settings, connection, login and rights; exit code 1 where something fails")
        .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("The report as JSON"))
}

pub async fn run(config: &Config, args: &ArgMatches) -> Result<ExitCode> {
    let report = if config.sandbox {
        let embedded = Embedded::start(config).await?;
        doctor::examine(embedded.config()).await
    } else {
        doctor::examine(config).await
    };
    if args.get_flag("json") {
        print(&serde_json::to_string_pretty(&report).map_err(|e| Error::internal(e.to_string()))?);
    } else {
        print(report.text().trim_end());
    }
    Ok(ExitCode::from(report.exit_code()))
}
