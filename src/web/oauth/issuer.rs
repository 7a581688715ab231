//! The issuer's public keys: found by its metadata, kept, and asked for again when a token names one that is not known.

use std::{
    net::IpAddr,
    sync::{PoisonError, RwLock},
    time::Duration,
};

use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::{
    sync::{Mutex, OnceCell},
    time::Instant,
};

use crate::{
    error::{Error, Result},
    pve::system_client_config,
};

/// Keys are asked for again after this, so that one that was withdrawn is not believed for ever.
const STALE: Duration = Duration::from_secs(3600);
const CONNECT: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(10);
const LONGEST: usize = 1 << 20;

/// One issuer of tokens.
pub struct Issuer {
    name: String,
    /// No more often than this, whatever tokens come.
    refetch: Duration,
    http: OnceCell<reqwest::Client>,
    known: RwLock<Option<(Vec<Jwk>, Instant)>>,
    /// The last attempt, and what was wrong with it.
    attempt: Mutex<Option<(Instant, Option<String>)>>,
}

#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

impl Issuer {
    /// # Errors
    /// `BadSetting` for an address that others on the way could answer for.
    pub fn new(name: &str, refetch: Duration) -> Result<Self> {
        if !is_safe(name) {
            return Err(Error::bad_setting("PROXMOX_MCP_OAUTH_ISSUER: expected an address that begins with https://"));
        }
        Ok(Self {
            name: name.to_owned(),
            refetch,
            http: OnceCell::new(),
            known: RwLock::default(),
            attempt: Mutex::default(),
        })
    }

    /// The keys that a token may be signed with: the one that it names, else all that fit.
    ///
    /// # Errors
    /// Why nobody can tell.
    pub async fn keys(&self, id: Option<&str>, algorithm: Algorithm) -> Result<Vec<DecodingKey>, String> {
        let (found, fresh) = self.found(id, algorithm);
        if fresh && !found.is_empty() {
            return Ok(found);
        }
        // While somebody else asks, what was good is good.
        let mut attempt = match self.attempt.try_lock() {
            Ok(attempt) => attempt,
            Err(_) if !found.is_empty() => return Ok(found),
            Err(_) => self.attempt.lock().await,
        };
        if attempt.as_ref().is_none_or(|(at, _)| at.elapsed() >= self.refetch) {
            let fetched = self.fetch().await;
            *attempt = Some((Instant::now(), fetched.as_ref().err().cloned()));
            match fetched {
                Ok(keys) => *self.known.write().unwrap_or_else(PoisonError::into_inner) = Some((keys, Instant::now())),
                Err(why) => tracing::warn!("the keys of {} cannot be had: {why}", self.name),
            }
        }
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner).is_some();
        match attempt.as_ref().and_then(|(_, failed)| failed.as_ref()) {
            Some(_) if !known => Err("the keys of the access token's issuer cannot be had at the moment".to_owned()),
            _ => Ok(self.found(id, algorithm).0),
        }
    }

    fn found(&self, id: Option<&str>, algorithm: Algorithm) -> (Vec<DecodingKey>, bool) {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let Some((keys, at)) = known.as_ref() else { return (Vec::new(), false) };
        let named = |key: &&Jwk| id.is_none() || key.common.key_id.as_deref() == id;
        let fitting = keys.iter().filter(named).filter(|key| fits(key, algorithm));
        (fitting.filter_map(|key| DecodingKey::from_jwk(key).ok()).collect(), at.elapsed() < STALE)
    }

    async fn fetch(&self) -> Result<Vec<Jwk>, String> {
        let mut why = String::new();
        for address in addresses(&self.name) {
            match self.get::<Metadata>(&address).await {
                Ok(found) if found.issuer != self.name => {
                    return Err(format!("{address} is the metadata of another issuer"));
                }
                Ok(found) if !is_safe(&found.jwks_uri) => {
                    return Err(format!("{address} has a jwks_uri that does not begin with https://"));
                }
                Ok(found) => {
                    let set = self.get::<KeySet>(&found.jwks_uri).await?;
                    // One that is not understood is no reason not to believe the others.
                    return Ok(set.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok()).collect());
                }
                Err(e) => why = e,
            }
        }
        Err(why)
    }

    async fn get<T: DeserializeOwned>(&self, address: &str) -> Result<T, String> {
        let wrong = |e: reqwest::Error| format!("{address}: {e}");
        let client = self.http.get_or_try_init(|| build(is_loopback(&self.name))).await?;
        let answer = client.get(address).header("accept", "application/json").send().await.map_err(wrong)?;
        let mut answer = answer.error_for_status().map_err(wrong)?;
        let mut whole = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(wrong)? {
            whole.extend_from_slice(&piece);
            if whole.len() > LONGEST {
                return Err(format!("{address}: the answer is too long"));
            }
        }
        serde_json::from_slice(&whole).map_err(|e| format!("{address}: {e}"))
    }
}

async fn build(local: bool) -> Result<reqwest::Client, String> {
    // The system's trust store is hundreds of files: not on an async thread.
    let tls = tokio::task::spawn_blocking(system_client_config).await.map_err(|e| e.to_string())?;
    let builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls.map_err(|e| e.to_string())?)
        .user_agent(concat!("proxmox-mcp/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT)
        .timeout(ANSWER)
        .redirect(reqwest::redirect::Policy::none());
    let builder = if local { builder.no_proxy() } else { builder };
    builder.build().map_err(|e| e.to_string())
}

/// Where an issuer's metadata stands, by OpenID Connect and by RFC 8414, which puts it before the path.
fn addresses(issuer: &str) -> [String; 2] {
    let issuer = issuer.trim_end_matches('/');
    let start = issuer.find("://").map_or(0, |at| at + 3);
    let (origin, path) = issuer[start..].find('/').map_or((issuer, ""), |at| issuer.split_at(start + at));
    [
        format!("{issuer}/.well-known/openid-configuration"),
        format!("{origin}/.well-known/oauth-authorization-server{path}"),
    ]
}

/// Nobody on the way can answer in its place.
fn is_safe(address: &str) -> bool {
    address.starts_with("https://") || (address.starts_with("http://") && is_loopback(address))
}

fn is_loopback(address: &str) -> bool {
    let Ok(uri) = address.parse::<http::Uri>() else { return false };
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Whether this key is for signatures of that kind.
fn fits(key: &Jwk, algorithm: Algorithm) -> bool {
    let signs = matches!(key.common.public_key_use, None | Some(PublicKeyUse::Signature));
    let only = match algorithm {
        Algorithm::RS256 => KeyAlgorithm::RS256,
        Algorithm::ES256 => KeyAlgorithm::ES256,
        _ => KeyAlgorithm::EdDSA,
    };
    let named = key.common.key_algorithm.is_none_or(|named| named == only);
    let kind = match (&key.algorithm, algorithm) {
        (AlgorithmParameters::RSA(_), Algorithm::RS256) => true,
        (AlgorithmParameters::EllipticCurve(curve), Algorithm::ES256) => curve.curve == EllipticCurve::P256,
        (AlgorithmParameters::OctetKeyPair(curve), Algorithm::EdDSA) => curve.curve == EllipticCurve::Ed25519,
        _ => false,
    };
    signs && named && kind
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_stands_where_both_standards_put_it() {
        assert_eq!(
            addresses("https://login.example/realms/home/"),
            [
                "https://login.example/realms/home/.well-known/openid-configuration",
                "https://login.example/.well-known/oauth-authorization-server/realms/home",
            ]
        );
        assert_eq!(addresses("https://a")[1], "https://a/.well-known/oauth-authorization-server");
    }

    #[test]
    fn an_issuer_has_https_or_is_on_this_machine() {
        for (address, safe) in [
            ("https://login.example", true),
            ("http://login.example", false),
            ("http://127.0.0.1:1/a", true),
            ("http://[::1]", true),
            ("http://localhost:8080", true),
            ("http://localhost.evil.example", false),
            ("http://127.0.0.1@evil.example", false),
            ("file:///etc/passwd", false),
        ] {
            assert_eq!(is_safe(address), safe, "{address}");
        }
    }
}
