//! The settings that lead a client to the simulated cluster.

use super::{Sandbox, Server};
use crate::config::{Auth, ClusterConfig, Endpoint, ONLY_CLUSTER, Timeouts, Tls, TokenId};

impl Sandbox {
    /// For a client in the same process, as root by API token. The addresses are the nodes' names, which no network knows.
    pub fn cluster_config(&self) -> ClusterConfig {
        let credentials = self.credentials();
        let (user, name) = credentials.token_id.split_once('!').unwrap_or((&credentials.token_id, ""));
        let endpoints = self.options().nodes.iter().map(|node| Endpoint { host: node.clone(), port: 8006 }).collect();
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
            timeouts: Timeouts::default(),
            sources: Vec::new(),
        }
    }

    /// The same over HTTPS, by the pinned certificate.
    pub fn listening_config(&self, server: &Server) -> ClusterConfig {
        ClusterConfig {
            endpoints: vec![Endpoint { host: server.addr.ip().to_string(), port: server.addr.port() }],
            tls: Tls::Fingerprints(vec![server.sha256]),
            ..self.cluster_config()
        }
    }
}
