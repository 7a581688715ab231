//! Serving over HTTP: settings to [`Web`].

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use secrecy::SecretString;

use super::{
    safety::{bytes, file},
    sources::Lookup,
    table::{self, Setting},
    value,
};
use crate::{
    error::{Error, Result},
    policy::Mode,
};

/// How the program is served over HTTP.
#[derive(Debug, Clone, Default)]
pub struct Web {
    /// MCP, and REST where it has no address of its own.
    pub http: Option<SocketAddr>,
    pub rest: Option<SocketAddr>,
    pub stateless: bool,
    pub keys: Option<KeySource>,
    pub insecure_no_auth: bool,
    pub allowed_hosts: Vec<String>,
    pub allowed_origins: Vec<String>,
    /// Without a slash at the end.
    pub public_url: Option<String>,
    pub tls: Option<TlsFiles>,
    pub limits: Limits,
    pub oauth: Option<OAuth>,
}

impl Web {
    /// Whether it is served over HTTP at all.
    pub fn is_asked_for(&self) -> bool {
        self.http.is_some() || self.rest.is_some()
    }

    /// Whether other machines can get there.
    pub fn is_exposed(&self) -> bool {
        self.exposed().is_some()
    }

    /// The first address that is not this machine's alone, with its setting.
    pub fn exposed(&self) -> Option<(&'static str, SocketAddr)> {
        let all = [(table::HTTP.name, self.http), (table::REST.name, self.rest)];
        let mut given = all.into_iter().filter_map(|(setting, address)| Some((setting, address?)));
        given.find(|(_, address)| !address.ip().to_canonical().is_loopback())
    }
}

/// Where the keys stand.
#[derive(Debug, Clone)]
pub enum KeySource {
    Text(SecretString),
    /// Read again when it changes.
    File(PathBuf),
}

/// PEM files.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// How much of it there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one request's body.
    pub body: usize,
    /// Connections at a time, all callers together.
    pub connections: usize,
    /// Requests of one caller at a time.
    pub calls: usize,
    /// Requests of one caller a minute; 0: no limit.
    pub rate: u32,
    /// Keys and tokens that are not good, from one address in a minute, before it is told to wait.
    pub failures: u32,
    /// How long a client may take for a request's head, for its body, and for a TLS handshake; and do nothing between requests.
    pub patience: Duration,
    /// How often files that may change are looked at: keys, certificate.
    pub reread: Duration,
    /// An issuer's keys are asked for no more often than this.
    pub refetch: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 4 << 20,
            connections: 1000,
            calls: 500,
            rate: 6000,
            failures: 30,
            patience: Duration::from_secs(30),
            reread: Duration::from_secs(1),
            refetch: Duration::from_secs(30),
        }
    }
}

/// Whose access tokens are taken, and what they allow.
#[derive(Debug, Clone)]
pub struct OAuth {
    pub issuer: String,
    pub audience: String,
    /// Scope → mode.
    pub scopes: Vec<(String, Mode)>,
}

pub fn web(lookup: &mut Lookup<'_>) -> Result<Web> {
    // The one name that needs no looking up.
    let address = |text: &str| text.replace("localhost:", "127.0.0.1:").parse::<SocketAddr>().ok().map(Some);
    let http = lookup.parsed(&table::HTTP, ADDRESS, None, address)?;
    let rest = lookup.parsed(&table::REST, ADDRESS, None, address)?;
    let stateless = lookup.parsed(&table::STATELESS, "true or false", false, value::boolean)?;
    let insecure_no_auth = lookup.parsed(&table::INSECURE_NO_AUTH, "true or false", false, value::boolean)?;
    let public_url = lookup.parsed(&table::PUBLIC_URL, URL, None, |text| url(text).map(Some))?;
    let keys = keys(lookup)?;
    let oauth = oauth(lookup, public_url.as_deref())?;
    let guards = [keys.as_ref().map(|_| &table::API_KEY), oauth.as_ref().map(|_| &table::OAUTH_ISSUER)];
    if let Some(guard) = guards.into_iter().flatten().next().filter(|_| insecure_no_auth) {
        let unused = format!("{} is not used: {} is set too", table::INSECURE_NO_AUTH.name, guard.name);
        lookup.warnings.push(unused);
    }
    Ok(Web {
        http,
        rest,
        stateless,
        keys,
        insecure_no_auth,
        allowed_hosts: list(lookup, &table::ALLOWED_HOSTS, HOSTS, is_host)?,
        allowed_origins: list(lookup, &table::ALLOWED_ORIGINS, ORIGINS, is_origin)?,
        tls: tls(lookup)?,
        limits: limits(lookup)?,
        oauth,
        public_url,
    })
}

const ADDRESS: &str = "an address and a port, such as 127.0.0.1:8812 or 0.0.0.0:8812";
const URL: &str = "an address that begins with https:// or http://";
const HOSTS: &str = "names separated by commas, each with or without a port, or *";
const ORIGINS: &str = "origins separated by commas, such as https://chat.example.com, without a path; or *";
const COUNT: &str = "a whole number, 1 or more";
const SCOPES: &str = "SCOPE=MODE separated by commas, with the modes read-only, no-delete and full";

fn keys(lookup: &mut Lookup<'_>) -> Result<Option<KeySource>> {
    let Some(found) = lookup.find(&table::API_KEY)? else { return Ok(None) };
    lookup.used(&found);
    Ok(Some(match &found.file {
        Some(file) => KeySource::File(file.clone()),
        None => KeySource::Text(found.text().to_owned().into()),
    }))
}

fn list(
    lookup: &mut Lookup<'_>,
    setting: &'static Setting,
    expected: &str,
    fits: fn(&str) -> bool,
) -> Result<Vec<String>> {
    let split = |text: &str| {
        let all = text.split([',', ' ']).filter(|name| !name.is_empty());
        all.map(|name| fits(name).then(|| name.to_owned())).collect()
    };
    lookup.parsed(setting, expected, Vec::new(), split)
}

fn is_host(text: &str) -> bool {
    text == "*" || (!text.contains(['@', '*']) && text.parse::<http::uri::Authority>().is_ok())
}

fn is_origin(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return ["*", "null"].contains(&text) };
    let name = rest.strip_suffix(":*").unwrap_or(rest);
    !scheme.is_empty() && name != "*" && is_host(name)
}

/// Without a slash at the end, so that a path can follow.
fn url(text: &str) -> Option<String> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"))?;
    (!rest.is_empty() && !rest.contains([' ', '?', '#'])).then(|| text.trim_end_matches('/').to_owned())
}

fn tls(lookup: &mut Lookup<'_>) -> Result<Option<TlsFiles>> {
    match (file(lookup, &table::TLS_CERT)?, file(lookup, &table::TLS_KEY)?) {
        (Some(cert), Some(key)) => Ok(Some(TlsFiles { cert, key })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(Error::bad_setting("PROXMOX_MCP_TLS_KEY: expected the key of PROXMOX_MCP_TLS_CERT")),
        (None, Some(_)) => {
            Err(Error::bad_setting("PROXMOX_MCP_TLS_CERT: expected the certificate of PROXMOX_MCP_TLS_KEY"))
        }
    }
}

fn limits(lookup: &mut Lookup<'_>) -> Result<Limits> {
    let default = Limits::default();
    let count = |text: &str| text.parse().ok().filter(|count: &usize| *count > 0);
    Ok(Limits {
        body: lookup.parsed(&table::MAX_BODY, "a size such as 4M, or KiB", default.body, |text| {
            usize::try_from(bytes(text, 10)??).ok()
        })?,
        connections: lookup.parsed(&table::MAX_CONNECTIONS, COUNT, default.connections, count)?,
        calls: lookup.parsed(&table::MAX_CALLS, COUNT, default.calls, count)?,
        rate: lookup.parsed(&table::RATE, "a whole number, 0 for no limit", default.rate, |text| text.parse().ok())?,
        ..default
    })
}

fn oauth(lookup: &mut Lookup<'_>, public_url: Option<&str>) -> Result<Option<OAuth>> {
    // An issuer's name is compared to the letter, so a slash at its end stays.
    let issuer = lookup.parsed(&table::OAUTH_ISSUER, URL, None, |text| url(text).map(|_| Some(text.to_owned())))?;
    let audience = lookup.parsed(&table::OAUTH_AUDIENCE, "a text", None, |text| Some(Some(text.to_owned())))?;
    let pairs = |text: &str| text.split(',').map(|pair| scope(pair.trim())).collect::<Option<Vec<_>>>();
    let default = pairs(table::OAUTH_SCOPES.default.unwrap_or_default()).unwrap_or_default();
    let scopes = lookup.parsed(&table::OAUTH_SCOPES, SCOPES, default, pairs)?;
    let Some(issuer) = issuer else { return Ok(None) };
    let Some(audience) = audience.or_else(|| public_url.map(|url| format!("{url}/mcp"))) else {
        return Err(Error::bad_setting(
            "PROXMOX_MCP_OAUTH_AUDIENCE: expected whom the tokens are for (or PROXMOX_MCP_PUBLIC_URL)",
        ));
    };
    Ok(Some(OAuth { issuer, audience, scopes }))
}

fn scope(pair: &str) -> Option<(String, Mode)> {
    let (scope, mode) = pair.rsplit_once('=')?;
    // What a scope may be made of by RFC 6749.
    let fits = |c: char| c.is_ascii_graphic() && !['"', '\\'].contains(&c);
    (!scope.is_empty() && scope.chars().all(fits)).then(|| Some((scope.to_owned(), Mode::parse(mode)?))).flatten()
}
