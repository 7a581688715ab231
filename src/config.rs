//! The settings of the server: one cluster or several, how to reach them and as whom.

use std::{fmt, path::PathBuf, time::Duration};

use secrecy::SecretString;

/// How to reach one cluster, and as whom.
#[derive(Debug, Clone)]
pub struct ClusterConfig {
    pub name: String,
    /// Members of one cluster, tried in order.
    pub endpoints: Vec<Endpoint>,
    pub auth: Auth,
    pub tls: Tls,
    pub default_node: Option<String>,
    pub default_storage: Option<String>,
    pub default_bridge: Option<String>,
    pub timeouts: Timeouts,
}

/// `https://host:port`; the base path is always `/api2/json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub host: String,
    pub port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') && !self.host.starts_with('[') {
            true => write!(f, "https://[{}]:{}", self.host, self.port),
            false => write!(f, "https://{}:{}", self.host, self.port),
        }
    }
}

#[derive(Debug, Clone)]
pub enum Auth {
    Token {
        id: TokenId,
        secret: SecretString,
    },
    Password {
        /// `user@realm`
        username: String,
        password: SecretString,
        totp: Option<SecretString>,
    },
}

/// Displays as `user@realm!name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenId {
    /// `user@realm`
    pub user: String,
    pub name: String,
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}!{}", self.user, self.name)
    }
}

/// How the server's certificate is judged.
#[derive(Debug, Clone)]
pub enum Tls {
    /// By the certificate authorities that the operating system trusts.
    System,
    /// By the authorities in a PEM file.
    CaFile(PathBuf),
    /// By its SHA-256: any of these.
    Fingerprints(Vec<[u8; 32]>),
    /// Not at all.
    Insecure,
}

#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    pub connect: Duration,
    pub request: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), request: Duration::from_secs(30) }
    }
}
