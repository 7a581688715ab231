//! The program over HTTP on a free port, in this process: real sockets and real time, on the simulated cluster.

use std::sync::Arc;

use proxmox_mcp::{
    call::{App, Cluster},
    config::{Safety, Web},
    embedded,
    ending::Ending,
    pve::Client,
    sandbox::{Options, Sandbox},
    web::{Callers, Listener, everything, serve_on},
};
use tokio::task::JoinHandle;

use super::{Wire, everything as all_tools, options, wire};

/// A server, until it is dropped or ended.
pub struct Served {
    /// Without a slash at the end.
    pub url: String,
    pub sandbox: Sandbox,
    pub sent: Arc<Wire>,
    pub app: Arc<App>,
    pub ending: Ending,
    pub serving: JoinHandle<()>,
    pub http: reqwest::Client,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.ending.begun.cancel();
        self.ending.calls.cancel();
    }
}

impl Served {
    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }
}

/// A client that keeps its connections.
pub fn http_client() -> reqwest::Client {
    // Several tests of one process may be the first.
    drop(rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::new()
}

/// All tools for everybody, on a cluster whose tasks take little time.
pub async fn serve() -> Served {
    serve_with(Web::default(), all_tools(), Options { time_scale: 100.0, ..options() }).await
}

pub async fn serve_with(web: Web, safety: Safety, options: Options) -> Served {
    let sandbox = Sandbox::new(options);
    let config = embedded::cluster_config(&sandbox);
    let sent = wire(&sandbox);
    let client = Client::with_transport(&config, sent.clone());
    let app = Arc::new(App::with_clusters(vec![Cluster { name: config.name, client }], &safety).unwrap());
    let ending = Ending::default();
    let callers = Arc::new(Callers::new(Arc::clone(&app), &web, &ending).unwrap());
    let listener = Listener::bind(([127, 0, 0, 1], 0).into(), &web).await.unwrap();
    let url = listener.url();
    let serving = tokio::spawn(serve_on(listener, everything(&callers, &web), web.limits, ending.clone()));
    Served { url, sandbox, sent, app, ending, serving, http: http_client() }
}
