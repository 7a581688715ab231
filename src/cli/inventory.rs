//! `inventory`: all guests for Ansible, as its inventory scripts say it (`--list`, `--host NAME`), or as a file. Only that on stdout;
//! what is missing is told on stderr.

use std::{
    io::{IsTerminal, Write},
    process::ExitCode,
};

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Map, Value, json};

use super::{open, print};
use crate::{
    call::{self, Context},
    config::{ALL_CLUSTERS, Config},
    error::{Error, Result},
    tools::ansible::hosts::Inventory,
};

const TOOL: &str = "proxmox-inventory";
/// Options that are arguments of the tool, under the tool's names.
const PASSED: [(&str, &str); 11] = [
    ("ssh-user", "ssh_user"),
    ("ssh-key", "ssh_private_key_path"),
    ("ssh-port", "port"),
    ("prefer-interface", "prefer_interface"),
    ("name", "name"),
    ("node", "node"),
    ("pool", "pool"),
    ("tag", "tag"),
    ("status", "status"),
    ("kind", "kind"),
    ("cluster", "cluster"),
];

pub fn command() -> Command {
    let option = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    let by_group = |name, value, help| option(name, value, help).action(ArgAction::Append);
    Command::new("inventory")
        .about("Print all guests as an Ansible inventory: groups by node, pool, tag, OS, status and kind")
        .after_help(
            "As an inventory script: a file with #!/bin/sh, exec proxmox-mcp inventory \"$@\" and whatever options are wanted. See docs/ansible.md.",
        )
        .arg(Arg::new("list").long("list").action(ArgAction::SetTrue).help("All hosts and groups (the default)"))
        .arg(option("host", "NAME", "The variables of one host").conflicts_with_all(["list", "format"]))
        .arg(
            option("format", "FORMAT", "json, which is what scripts answer; yaml or ini for a file")
                .value_parser(["json", "yaml", "ini"])
                .default_value("json"),
        )
        .arg(option("ssh-user", "USER", "ansible_user of all hosts"))
        .arg(option("ssh-key", "FILE", "ansible_ssh_private_key_file of all hosts"))
        .arg(option("ssh-port", "PORT", "ansible_port of all hosts"))
        .arg(by_group("group-user", "GROUP=USER", "ansible_user of a group, such as tag_db=postgres; may be repeated"))
        .arg(by_group("group-key", "GROUP=FILE", "The private key of a group; may be repeated"))
        .arg(option("prefer-interface", "NAME", "Whose address is taken: eth1, or net1"))
        .arg(Arg::new("ipv6").long("ipv6").action(ArgAction::SetTrue).help("IPv6 addresses where there are any"))
        .arg(option("name", "PATTERN", "Only guests of such names: web-*"))
        .arg(option("node", "NODE", "Only guests on this node"))
        .arg(option("pool", "POOL", "Only guests in this pool"))
        .arg(option("tag", "TAG", "Only guests with this tag"))
        .arg(option("status", "STATUS", "Only running, stopped, paused or unknown guests"))
        .arg(option("kind", "KIND", "Only qemu or lxc"))
        .arg(option("cluster", "NAME", "Only this cluster [default: all that are configured]"))
}

pub async fn run(config: &Config, args: &ArgMatches) -> Result<ExitCode> {
    let mut arguments = arguments(args)?;
    let (app, _cluster) = open(config).await?;
    if app.clusters().len() > 1 {
        arguments.entry("cluster").or_insert_with(|| ALL_CLUSTERS.into());
    }
    let context = Context { client: Some("the command line".to_owned()), ..Context::default() };
    let made = call::run(&app, TOOL, arguments, &context).await?.data;
    for failed in made["failed_clusters"].as_array().into_iter().flatten() {
        let (cluster, error) = (failed["cluster"].as_str(), failed["error"].as_str());
        complain(&format!("cluster {}: {}", cluster.unwrap_or_default(), error.unwrap_or_default()));
    }
    // Ansible shows all that a script says there as an error: hints are for people.
    let hints = if std::io::stderr().is_terminal() { made["notes"].as_array() } else { None };
    for note in hints.into_iter().flatten().filter_map(Value::as_str) {
        complain(note);
    }
    let text = made["inventory"].as_str().unwrap_or_default();
    match args.get_one::<String>("host") {
        None => print(text.trim_end()),
        Some(host) => {
            let variables = Inventory::from_json(text)?.variables_of(host);
            let variables = variables.ok_or_else(|| Error::not_found(format!("no host {host} in this inventory")))?;
            print(&serde_json::to_string_pretty(&variables).map_err(|e| Error::internal(e.to_string()))?);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The tool's arguments.
fn arguments(args: &ArgMatches) -> Result<Map<String, Value>> {
    let text = |name: &str| args.get_one::<String>(name).map(|text| Value::from(text.as_str()));
    let mut all = Map::from_iter([("format".to_owned(), text("format").unwrap_or_default())]);
    all.extend(PASSED.iter().filter_map(|(option, argument)| Some(((*argument).to_owned(), text(option)?))));
    all.insert("ipv6".to_owned(), args.get_flag("ipv6").into());
    for (option, argument) in [("group-user", "users"), ("group-key", "keys")] {
        let mut by_group = json!({});
        for given in args.get_many::<String>(option).into_iter().flatten() {
            let pair = given.split_once('=').filter(|(group, value)| !group.is_empty() && !value.is_empty());
            let wrong = || Error::bad_argument(format!("--{option}: expected GROUP=VALUE, got '{given}'"));
            let (group, value) = pair.ok_or_else(wrong)?;
            by_group[group] = value.into();
        }
        all.insert(argument.to_owned(), by_group);
    }
    Ok(all)
}

fn complain(text: &str) {
    drop(writeln!(std::io::stderr(), "proxmox-mcp: {text}"));
}
