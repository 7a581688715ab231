//! `mint`: prints the commands that make a least-privilege token.

use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::print;
use crate::{
    error::Result,
    mint::{self, Order},
    pve::api::Api,
    toolsets::DEFAULT,
};

pub fn command() -> Command {
    let arg = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    Command::new("mint")
        .about("Print the commands that make a role and a token with just the rights that the chosen tools take")
        .after_help(
            "The user is the one that --user names, mcp@pve without it. Nobody is contacted, and nothing is made.",
        )
        .arg(arg("for", "TOOLSETS", "Toolsets or single tools, separated by commas [default: default]"))
        .arg(arg("token", "NAME", "The token's name [default: mcp]"))
        .arg(arg("role", "NAME", "The role's name [default: ProxmoxMCP]"))
        .arg(
            arg("path", "PATH", "Where the role is given: /vms/100, /pool/dev, /storage/local … [default: /]")
                .num_args(1..)
                .action(ArgAction::Append),
        )
}

pub fn run(args: &ArgMatches) -> Result<ExitCode> {
    let text = |name: &str| args.try_get_one::<String>(name).ok().flatten().cloned();
    let default = Order::default();
    let paths: Vec<String> = args.get_many::<String>("path").into_iter().flatten().cloned().collect();
    let order = Order {
        user: text("user").unwrap_or(default.user),
        token: text("token").unwrap_or(default.token),
        role: text("role").unwrap_or(default.role),
        paths: if paths.is_empty() { default.paths } else { paths },
    };
    let names = text("for").unwrap_or_else(|| DEFAULT.to_owned());
    let chosen = mint::select(&names)?;
    print(&mint::text(&Api::embedded(), &chosen, &names, &order)?);
    Ok(ExitCode::SUCCESS)
}
