//! `health`: asks a server that runs whether it lives, for whoever looks after it and has neither shell nor curl.

use std::{net::SocketAddr, process::ExitCode, time::Duration};

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::{FAILED, print};
use crate::{
    config::{Config, Web},
    error::{Error, Kind, Result},
};

/// Longer than a look at the clusters takes.
const PATIENCE: Duration = Duration::from_secs(6);

pub fn command() -> Command {
    Command::new("health")
        .about("Ask a server that runs over HTTP whether it lives, or with --ready whether it can work")
        .after_help("Exit code: 0 it does, 1 it does not, or there is none.")
        .arg(
            Arg::new("ready")
                .long("ready")
                .action(ArgAction::SetTrue)
                .help("Whether Proxmox can be reached and takes the login, too"),
        )
        .arg(
            Arg::new("url")
                .value_name("URL")
                .help("Where it serves [default: this machine, by PROXMOX_MCP_HTTP or PROXMOX_MCP_REST]"),
        )
}

/// # Errors
/// Nothing that serves, or not where it was looked for.
pub async fn run(config: &Config, args: &ArgMatches) -> Result<ExitCode> {
    let base = match args.get_one::<String>("url") {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None => own(&config.web)?,
    };
    let path = if args.get_flag("ready") { "readyz" } else { "livez" };
    let url = format!("{base}/{path}");
    let answer = client()?.get(&url).send().await;
    let answer =
        answer.map_err(|e| Error::new(Kind::Unavailable, format!("nothing answers at {url}: {}", told(&e))))?;
    let good = answer.status().is_success();
    let text = answer.text().await.unwrap_or_default();
    print(text.trim_end());
    Ok(if good { ExitCode::SUCCESS } else { FAILED.into() })
}

/// Where a server with these settings is reached from the same machine.
fn own(web: &Web) -> Result<String> {
    let Some(mut address) = web.http.or(web.rest) else {
        return Err(Error::bad_setting("no address: give URL, or set PROXMOX_MCP_HTTP"));
    };
    if address.ip().is_unspecified() {
        let loopback: SocketAddr =
            if address.is_ipv6() { ([0, 0, 0, 0, 0, 0, 0, 1], 0).into() } else { ([127, 0, 0, 1], 0).into() };
        address.set_ip(loopback.ip());
    }
    let scheme = if web.tls.is_some() { "https" } else { "http" };
    Ok(format!("{scheme}://{address}"))
}

/// It sends no secret and believes no more than a word, so it does not matter whose certificate it is: it is for another
/// name than this machine's anyway.
fn client() -> Result<reqwest::Client> {
    drop(rustls::crypto::ring::default_provider().install_default());
    let client = reqwest::Client::builder().tls_danger_accept_invalid_certs(true).no_proxy().timeout(PATIENCE).build();
    client.map_err(|e| Error::internal(format!("the HTTP client cannot be built: {e}")))
}

fn told(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_asked_at_its_own_address() {
        let own = |http: &str| own(&Web { http: http.parse().ok(), ..Web::default() }).map_err(|e| e.to_string());
        assert_eq!(own("0.0.0.0:8812"), Ok("http://127.0.0.1:8812".to_owned()));
        assert_eq!(own("[::]:8812"), Ok("http://[::1]:8812".to_owned()));
        assert_eq!(own("10.0.0.5:8812"), Ok("http://10.0.0.5:8812".to_owned()));
        assert_eq!(own(""), Err("no address: give URL, or set PROXMOX_MCP_HTTP".to_owned()));
    }
}
