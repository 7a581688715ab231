//! `sandbox`: the simulated cluster on an address, for other clients. And `--sandbox`: the same, embedded in another
//! command, on a free loopback port.

use std::{net::SocketAddr, process::ExitCode, str::FromStr, time::Duration};

use clap::{Arg, ArgMatches, Command};
use secrecy::ExposeSecret;

use super::print;
use crate::{
    error::{Error, Result},
    sandbox::{Credentials, Fault, Options, Sandbox, Server},
};

pub fn command() -> Command {
    let arg = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    Command::new("sandbox")
        .about("Run the simulated cluster on an address and print a .env for it")
        .arg(arg("listen", "ADDR", "Address to listen on").default_value("127.0.0.1:8006"))
        .arg(arg("nodes", "NODES", "How many nodes, or their names with commas").default_value("3"))
        .arg(arg("guests", "NUMBER", "How many guests, up to 10000").default_value("12"))
        .arg(arg("seed", "NUMBER", "The same seed makes the same cluster").default_value("1"))
        .arg(arg("time-scale", "FACTOR", "Simulated seconds per second").default_value("1"))
        .arg(arg("latency-ms", "MS", "Added to every answer").default_value("0"))
        .arg(
            arg("fault", "FAULT", "What shall go wrong, as KIND[=VALUE][:[METHOD ][/path][:count=N]]: refuse, stall, drop-after-sending, 595, 596, lock-timeout, task-failure, task-warnings, expired-ticket, offline-node=NODE")
                .action(clap::ArgAction::Append),
        )
}

/// Serves until it is interrupted.
pub async fn run(args: &ArgMatches) -> Result<ExitCode> {
    let sandbox = Sandbox::new(options(args)?);
    let addr: SocketAddr = parsed(args, "listen", "ADDRESS:PORT, as in 127.0.0.1:8006")?;
    let server = listen(&sandbox, addr).await?;
    print(&env(&sandbox, &server));
    super::signals::endings().recv().await;
    server.shutdown();
    Ok(ExitCode::SUCCESS)
}

async fn listen(sandbox: &Sandbox, addr: SocketAddr) -> Result<Server> {
    sandbox.listen(addr).await.map_err(|e| Error::bad_setting(format!("--listen: cannot listen on {addr}: {e}")))
}

/// A ready `.env`: the three settings that any cluster needs, and the certificate's fingerprint.
fn env(sandbox: &Sandbox, server: &Server) -> String {
    let Credentials { username, password, token_id, token_secret, .. } = sandbox.credentials();
    format!(
        "# Simulated Proxmox VE cluster. Put this into .env; it lives as long as this process.\n\
         PROXMOX_API_URL=https://{}\n\
         PROXMOX_TOKEN_ID={token_id}\n\
         PROXMOX_TOKEN_SECRET={}\n\
         PROXMOX_FINGERPRINT={}\n\
         # Or by password, with PROXMOX_AUTH_METHOD=password:\n\
         # PROXMOX_USERNAME={username}\n\
         # PROXMOX_PASSWORD={}",
        server.addr,
        token_secret.expose_secret(),
        server.fingerprint,
        password.expose_secret(),
    )
}

fn options(args: &ArgMatches) -> Result<Options> {
    let nodes = args.get_one::<String>("nodes").map(String::as_str).unwrap_or_default();
    let nodes = match nodes.parse::<usize>() {
        Ok(count @ 1..=100) => Options::numbered_nodes(count),
        Ok(_) => return Err(Error::bad_setting("--nodes: expected 1 to 100 nodes")),
        Err(_) => nodes.split(',').map(str::trim).filter(|n| !n.is_empty()).map(str::to_owned).collect(),
    };
    let guests: usize = parsed(args, "guests", "a number from 0 to 10000")?;
    if guests > 10_000 {
        return Err(Error::bad_setting(format!("--guests: expected a number from 0 to 10000, got {guests}")));
    }
    let time_scale: f64 = parsed(args, "time-scale", "a number above 0")?;
    if !(time_scale > 0.0 && time_scale <= 100_000.0) {
        return Err(Error::bad_setting(format!("--time-scale: expected a number above 0, got {time_scale}")));
    }
    let faults = args.get_many::<String>("fault").into_iter().flatten();
    let faults = faults.map(|f| f.parse::<Fault>().map_err(|e| Error::bad_setting(format!("--fault: {e}"))));
    Ok(Options {
        nodes,
        guests,
        seed: parsed(args, "seed", "a number")?,
        time_scale,
        latency: Duration::from_millis(parsed(args, "latency-ms", "milliseconds")?),
        faults: faults.collect::<Result<_>>()?,
        ..Options::default()
    })
}

fn parsed<T: FromStr>(args: &ArgMatches, name: &str, expected: &str) -> Result<T> {
    let text = args.get_one::<String>(name).map(String::as_str).unwrap_or_default();
    text.parse().map_err(|_| Error::bad_setting(format!("--{name}: expected {expected}, got '{text}'")))
}
