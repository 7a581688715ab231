//! The simulated cluster for this program's own use: the settings that lead to it, and the cluster that `--sandbox` starts.

use std::net::SocketAddr;

use crate::{
    config::{Auth, ClusterConfig, Config, Endpoint, ONLY_CLUSTER, Safety, Timeouts, Tls, TokenId},
    error::{Error, Result},
    sandbox::{Fault, Options, Sandbox, Server},
};

/// For a client in the same process, as root by API token. The addresses are the nodes' names, which no network knows.
pub fn cluster_config(sandbox: &Sandbox) -> ClusterConfig {
    let credentials = sandbox.credentials();
    let (user, name) = credentials.token_id.split_once('!').unwrap_or((&credentials.token_id, ""));
    let endpoints = sandbox.options().nodes.iter().map(|node| Endpoint { host: node.clone(), port: 8006 }).collect();
    ClusterConfig {
        name: ONLY_CLUSTER.to_owned(),
        endpoints,
        auth: Auth::Token {
            id: TokenId { user: user.to_owned(), name: name.to_owned() },
            secret: credentials.token_secret.clone(),
        },
        tls: Tls::System,
        default_node: None,
        default_storage: None,
        default_bridge: None,
        upload_dir: None,
        timeouts: Timeouts::default(),
        sources: Vec::new(),
    }
}

/// A simulated cluster on a free loopback port, and the configuration that leads to it over HTTPS.
pub struct Embedded {
    config: Config,
    /// Closes the listener when it goes.
    _server: Server,
}

impl Embedded {
    /// # Errors
    /// No free loopback port; a fault that is none.
    pub async fn start(config: &Config) -> Result<Self> {
        let fault = config.sandbox_fault.as_deref().map(str::parse::<Fault>).transpose();
        let fault = fault.map_err(|e| Error::bad_setting(format!("PROXMOX_SANDBOX_FAULT: {e}")))?;
        let sandbox = Sandbox::new(Options { faults: fault.into_iter().collect(), ..Options::default() });
        let server = sandbox
            .listen(SocketAddr::from(([127, 0, 0, 1], 0)))
            .await
            .map_err(|e| Error::internal(format!("the simulated cluster cannot listen: {e}")))?;
        let cluster = ClusterConfig {
            endpoints: vec![Endpoint { host: server.addr.ip().to_string(), port: server.addr.port() }],
            tls: Tls::Fingerprints(vec![server.sha256]),
            timeouts: config.timeouts,
            upload_dir: config.upload_dir.clone(),
            ..cluster_config(&sandbox)
        };
        // Nothing of this cluster outlives the program.
        let safety = Safety { state_dir: None, ..config.safety.clone() };
        Ok(Self { config: Config { clusters: vec![cluster], safety, ..config.clone() }, _server: server })
    }

    pub fn config(&self) -> &Config {
        &self.config
    }
}
