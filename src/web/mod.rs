//! The program over HTTP: listens, decides who gets in, and hands requests on to MCP and REST. Knows neither protocol.

mod about;
mod access;
mod callers;
mod door;
mod health;
mod hosts;
pub mod keys;
mod listen;
mod oauth;
pub mod problem;
mod rate;
mod request_id;
mod routes;
mod takes;
mod tls;

use std::{io::Write, sync::Arc, time::Duration};

use tokio::sync::mpsc;

pub use self::{
    about::about,
    callers::{Caller, Callers},
    health::{Health, Reached, Readiness},
    listen::{Listener, serve_on},
    problem::Problem,
    request_id::RequestId,
    routes::{everything, mcp, rest},
    takes::taken,
};
use crate::{
    call::App,
    config::Web,
    ending::Ending,
    error::{Error, Result},
};

/// Serves until a signal comes. Requests under way may then go on for `grace`.
///
/// # Errors
/// An address that cannot be listened on, or not without a key; a second signal.
pub async fn serve(app: Arc<App>, web: &Web, grace: Duration, signals: mpsc::Receiver<()>) -> Result<()> {
    callers::refuse_unguarded(web)?;
    let ending = Ending::default();
    let callers = Arc::new(Callers::new(app, web, &ending)?);
    let mut serving = Vec::new();
    for (listener, routes, what) in bind(&callers, web).await? {
        drop(writeln!(std::io::stderr(), "proxmox-mcp: {what} at {}", listener.url()));
        serving.push(serve_on(listener, routes, web.limits, ending.clone()));
    }
    tokio::select! {
        _ = futures::future::join_all(serving) => Ok(()),
        ended = ending.run(grace, signals) => ended,
    }
}

/// Every address, and what is served there.
async fn bind(callers: &Arc<Callers>, web: &Web) -> Result<Vec<(Listener, axum::Router, &'static str)>> {
    let all = match (web.http, web.rest) {
        (None, None) => return Err(Error::bad_setting("PROXMOX_MCP_HTTP: expected an address to serve on")),
        (Some(http), Some(rest)) => {
            vec![(http, routes::mcp(callers, web), "MCP"), (rest, routes::rest(callers, web), "REST")]
        }
        (Some(http), None) => vec![(http, everything(callers, web), "MCP and REST")],
        (None, Some(rest)) => vec![(rest, routes::rest(callers, web), "REST")],
    };
    let mut bound = Vec::new();
    for (address, routes, what) in all {
        bound.push((Listener::bind(address, web).await?, routes, what));
    }
    Ok(bound)
}
