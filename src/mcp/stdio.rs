//! MCP over stdin and stdout, from the first message to an orderly end.

use std::{sync::Arc, time::Duration};

use rmcp::{
    ServiceExt,
    service::ServerInitializeError,
    transport::{async_rw::AsyncRwTransport, stdio_pipes},
};
use tokio::{sync::mpsc, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{
    ending::{Answering, Ending},
    server::Server,
};
use crate::{
    call::App,
    error::{Error, Kind, Result},
};

/// What a cancelled call may take to say so.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Serves until stdin ends or a signal comes. Calls under way may then go on for `grace`, after which those that wait are
/// cancelled; all are answered.
///
/// # Errors
/// A client that does not speak the protocol; a second signal, at which nothing is waited for any more.
pub async fn serve_stdio(app: Arc<App>, grace: Duration, signals: mpsc::Receiver<()>) -> Result<()> {
    let ending = Ending::default();
    let server = Server::new(app).ended_by(ending.calls.clone());
    let news = server.session_ended();
    tokio::select! {
        served = serve(server, ending.clone()) => served,
        ended = end(&ending, news, grace, signals) => ended,
    }
}

async fn serve(server: Server, ending: Ending) -> Result<()> {
    let wrong = |e: String| Error::internal(format!("MCP over stdio: {e}"));
    // The pipe transport works on what MCP clients give; anything else (a file, a terminal) falls back to blocking reads.
    let (input, output) = stdio_pipes();
    let transport = Answering::new(AsyncRwTransport::new_server(input, output), ending);
    let running = match server.serve(transport).await {
        Ok(running) => running,
        // A client that goes before it has said anything is no fault.
        Err(ServerInitializeError::ConnectionClosed(_)) => return Ok(()),
        Err(e) => return Err(wrong(e.to_string())),
    };
    running.waiting().await.map_err(|e| wrong(e.to_string()))?;
    Ok(())
}

/// Waits for the end to begin, and for the calls to end no longer than they may take.
async fn end(ending: &Ending, news: CancellationToken, grace: Duration, mut signals: mpsc::Receiver<()>) -> Result<()> {
    tokio::select! {
        () = ending.begun.cancelled() => {}
        Some(()) = signals.recv() => ending.begun.cancel(),
    }
    news.cancel();
    let patience = async {
        sleep(grace).await;
        ending.calls.cancel();
        sleep(LAST_WORDS).await;
    };
    tokio::select! {
        () = patience => Ok(()),
        Some(()) = signals.recv() => Err(Error::new(Kind::Cancelled, "stopped before all calls had ended")),
    }
}
