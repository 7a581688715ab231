//! MCP over stdin and stdout, from the first message to an orderly end.

use std::{sync::Arc, time::Duration};

use rmcp::{
    ServiceExt,
    service::ServerInitializeError,
    transport::{async_rw::AsyncRwTransport, stdio_pipes},
};
use tokio::sync::mpsc;

use super::{ending::Answering, server::Server};
use crate::{
    call::App,
    ending::Ending,
    error::{Error, Result},
};

/// Serves until stdin ends or a signal comes. Calls under way may then go on for `grace`, after which those that wait are
/// cancelled; all are answered.
///
/// # Errors
/// A client that does not speak the protocol; a second signal, at which nothing is waited for any more.
pub async fn serve_stdio(app: Arc<App>, grace: Duration, signals: mpsc::Receiver<()>) -> Result<()> {
    let ending = Ending::default();
    let server = Server::new(app).ended_by(ending.clone());
    tokio::select! {
        served = serve(server, ending.clone()) => served,
        ended = ending.run(grace, signals) => ended,
    }
}

async fn serve(server: Server, ending: Ending) -> Result<()> {
    let wrong = |e: String| Error::internal(format!("MCP over stdio: {e}"));
    // The pipe transport works on what MCP clients give; anything else (a file, a terminal) falls back to blocking reads.
    let (input, output) = stdio_pipes();
    let transport = Answering::until_the_end(AsyncRwTransport::new_server(input, output), ending);
    let running = match server.serve(transport).await {
        Ok(running) => running,
        // A client that goes before it has said anything is no fault.
        Err(ServerInitializeError::ConnectionClosed(_)) => return Ok(()),
        Err(e) => return Err(wrong(e.to_string())),
    };
    running.waiting().await.map_err(|e| wrong(e.to_string()))?;
    Ok(())
}
