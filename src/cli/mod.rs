//! The command line: `serve` (the default), `call`, `tools`, `demo`, `sandbox`, `doctor`, `mint`, `audit`, `resume`, `health`,
//! `inventory`. Stdout is for results only;
//! logs, progress and errors go to stderr.

use std::{ffi::OsString, io::Write, process::ExitCode, sync::Arc};

use clap::{Arg, ArgAction, ArgMatches, Command, error::ErrorKind};

use crate::{
    call::App,
    config::{self, Config},
    embedded::Embedded,
    error::{Error, Kind, Result},
    mcp, web,
};

mod audit;
mod bars;
mod call;
mod demo;
mod doctor;
mod health;
mod inventory;
mod logging;
mod mint;
mod resume;
mod sandbox;
mod signals;
mod tools;

/// Wrong use: a bad flag, setting or argument.
const USAGE: u8 = 2;
/// A tool's error, or a failed check.
const FAILED: u8 = 1;

/// The whole command tree, settings included.
pub fn command() -> Command {
    Command::new(env!("CARGO_PKG_NAME"))
        .version(env!("CARGO_PKG_VERSION"))
        .about(
            "Lets an AI agent run a Proxmox VE cluster: MCP server over stdio and HTTP, REST API, and a command line for the same tools",
        )
        .after_help(
            "Without a command it serves, over stdio unless --http or --rest names an address. Settings come from flags, then the environment, then .env.",
        )
        .args(config::clap_args())
        .subcommand(Command::new("serve").about("Serve MCP over stdio, or over HTTP with --http ADDRESS (the default)"))
        .subcommand(call::command())
        .subcommand(
            Command::new("tools")
                .about("List the tools, or find some by words")
                .arg(Arg::new("words").value_name("WORDS").num_args(0..).help("What to find: `snapshot`, `list vms`"))
                .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("With schemas, as JSON")),
        )
        .subcommand(
            Command::new("demo").about("Clone and start a VM on a simulated cluster, through a real MCP conversation"),
        )
        .subcommand(sandbox::command())
        .subcommand(doctor::command())
        .subcommand(mint::command())
        .subcommand(audit::command())
        .subcommand(resume::command())
        .subcommand(health::command())
        .subcommand(inventory::command())
}

/// Runs the program.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let matches = match command().try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(e) => {
            // Help and version are answers: they go to stdout and are no failure.
            let asked = matches!(e.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            drop(e.print());
            return if asked { ExitCode::SUCCESS } else { USAGE.into() };
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return complain(&Error::internal(format!("cannot start: {e}"))),
    };
    let code = runtime.block_on(run(&matches)).unwrap_or_else(|e| complain(&e));
    // A blocking read of stdin may still be under way; nothing waits for it.
    runtime.shutdown_background();
    code
}

async fn run(matches: &ArgMatches) -> Result<ExitCode> {
    // These need no cluster, so none need be configured.
    match matches.subcommand() {
        Some(("tools", args)) => {
            let words = args.get_many::<String>("words").into_iter().flatten().cloned().collect::<Vec<_>>();
            let names = config::load_without_clusters(matches)?.safety.tool_names;
            return tools::run(names, &words.join(" "), args.get_flag("json"));
        }
        Some(("demo", _)) => return demo::run().await,
        Some(("sandbox", args)) => return sandbox::run(args).await,
        Some(("mint", args)) => return mint::run(args),
        Some(("health", args)) => return health::run(&config::load_without_clusters(matches)?, args).await,
        Some(("audit", args)) => return audit::run(&config::load_without_clusters(matches)?, args),
        _ => {}
    }
    let config = config::load(matches)?;
    logging::start(&config);
    match matches.subcommand() {
        None | Some(("serve", _)) => {
            let (app, _cluster) = open(&config).await?;
            left_behind(&app);
            let (app, grace, signals) = (Arc::new(app), config.shutdown_grace, signals::endings());
            match config.web.is_asked_for() {
                true => web::serve(Arc::clone(&app), &config.web, grace, signals).await?,
                false => mcp::serve_stdio(Arc::clone(&app), grace, signals).await?,
            }
            ways_back(&app).await;
            Ok(ExitCode::SUCCESS)
        }
        Some(("call", args)) => call::run(&config, args).await,
        Some(("resume", args)) => resume::run(&config, args).await,
        Some(("doctor", args)) => doctor::run(&config, args).await,
        Some(("inventory", args)) => inventory::run(&config, args).await,
        Some((other, _)) => Err(Error::internal(format!("no command {other}"))),
    }
}

/// Says so where a process that was killed left something half done.
fn left_behind(app: &App) {
    let left = app.journal().and_then(|journal| journal.left().ok()).map_or(0, |(left, _)| left.len());
    if left > 0 {
        tracing::warn!("{left} call(s) were cut off half way: `proxmox-mcp resume` tells, finishes or takes them back");
    }
}

/// Waits until what was begun is taken back; a signal ends that, and leaves the rest to `resume`.
async fn ways_back(app: &App) {
    let lasting = app.lasting();
    lasting.close();
    if lasting.is_empty() {
        return;
    }
    drop(writeln!(std::io::stderr(), "proxmox-mcp: what was begun is taken back first; a signal ends that, too"));
    let mut signals = signals::endings();
    tokio::select! {
        () = lasting.wait() => {}
        _ = signals.recv() => {}
    }
}

/// The application on the configured clusters, or on an embedded one: that lives as long as the second value.
async fn open(config: &Config) -> Result<(App, Option<Embedded>)> {
    if !config.sandbox {
        return Ok((App::new(config)?, None));
    }
    let embedded = Embedded::start(config).await?;
    Ok((App::new(embedded.config())?, Some(embedded)))
}

/// An error on stderr: one line for what went wrong with the use, all that is known for the rest.
fn complain(error: &Error) -> ExitCode {
    let usage = matches!(error.kind(), Kind::BadSetting | Kind::BadArgument);
    let text = match (usage, &error.parts().hint) {
        (true, Some(hint)) => format!("{error} ({hint})"),
        (true, None) => error.to_string(),
        (false, _) => error.report(),
    };
    drop(writeln!(std::io::stderr(), "proxmox-mcp: {text}"));
    if usage { USAGE.into() } else { FAILED.into() }
}

/// Writes to stdout; a reader that has gone (`| head`) is no fault.
fn print(text: &str) {
    drop(writeln!(std::io::stdout(), "{text}"));
}
