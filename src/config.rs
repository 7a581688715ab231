//! Settings: from flags, environment and `.env` to a checked [`Config`]. Contacts nobody and changes nothing; every failure
//! is one line that names the variable and what was expected, and never holds a secret.

mod auth;
mod clusters;
mod dotenv;
mod endpoint;
mod safety;
mod sources;
pub mod table;
mod tls;
mod value;
mod web;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::ErrorKind,
    path::PathBuf,
    time::Duration,
};

use clap::{Arg, ArgMatches};
use tracing::level_filters::LevelFilter;

pub use self::{
    auth::{Auth, TokenId},
    endpoint::{DEFAULT_PORT, Endpoint},
    safety::Safety,
    sources::{DotEnv, Inputs, Origin, ReadFile, Source},
    tls::Tls,
    web::{KeySource, Limits, OAuth, TlsFiles, Web},
};
use self::{
    sources::Lookup,
    table::{SETTINGS, Setting},
};
use crate::error::{Error, Result};

/// Everything that was configured.
#[derive(Debug, Clone)]
pub struct Config {
    /// The first is the default. Empty only in the sandbox, which brings its own, and where none was asked for.
    pub clusters: Vec<ClusterConfig>,
    pub sandbox: bool,
    /// What shall go wrong in it.
    pub sandbox_fault: Option<String>,
    /// What stands between an agent and the cluster.
    pub safety: Safety,
    /// How it is served over HTTP.
    pub web: Web,
    pub log_level: LevelFilter,
    pub log_format: LogFormat,
    /// The shared timeouts; each cluster has its own copy, possibly changed.
    pub timeouts: Timeouts,
    /// The most that one call may take.
    pub call_timeout: Option<Duration>,
    /// How long calls may go on when the server ends.
    pub shutdown_grace: Duration,
    /// The shared directory for uploads; as the timeouts.
    pub upload_dir: Option<PathBuf>,
    /// The `.env` file that was read, if any.
    pub env_file: Option<PathBuf>,
    /// Where the program's own settings came from.
    pub sources: Vec<Source>,
    /// What is worth a look and no error: misspelt names, settings that another one overrides. For `doctor`.
    pub warnings: Vec<String>,
}

/// One cluster, or a single server.
#[derive(Debug, Clone)]
pub struct ClusterConfig {
    /// Its name in `PROXMOX_CLUSTERS`; `default` where there is only one.
    pub name: String,
    /// Never empty: members of the same cluster, to be tried in order.
    pub endpoints: Vec<Endpoint>,
    pub auth: Auth,
    pub tls: Tls,
    pub default_node: Option<String>,
    pub default_storage: Option<String>,
    pub default_bridge: Option<String>,
    /// The directory whose files may be uploaded; as given, nobody has looked at it.
    pub upload_dir: Option<PathBuf>,
    pub timeouts: Timeouts,
    /// Which name each setting came from.
    pub sources: Vec<Source>,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    #[default]
    Text,
    /// An object a line.
    Json,
}

/// How long to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For one endpoint to accept a connection.
    pub connect: Duration,
    /// For one request, from sending to the end of the answer.
    pub request: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        // Proxmox VE itself gives up after 30 s on a request that it passes on to another node.
        Self { connect: Duration::from_secs(5), request: Duration::from_secs(30) }
    }
}

/// The name of the only cluster, where `PROXMOX_CLUSTERS` gives none.
pub const ONLY_CLUSTER: &str = "default";

/// What a call says in place of a cluster's name when it means every one; no cluster is called so.
pub const ALL_CLUSTERS: &str = "all";

/// How a cluster's own setting is written: `PROXMOX_CLUSTER_home_FINGERPRINT`, or the plain name where there is only one.
pub fn own_name(cluster: &str, setting: &str) -> String {
    match cluster {
        ONLY_CLUSTER => setting.to_owned(),
        name => clusters::own_name(name, setting),
    }
}

/// The settings as command-line arguments, valid for every command.
pub fn clap_args() -> Vec<Arg> {
    SETTINGS
        .iter()
        .map(|setting| {
            let arg = Arg::new(setting.flag)
                .long(setting.flag)
                .value_name(if setting.secret { "FILE" } else { setting.value })
                .help(flag_help(setting))
                .help_heading(setting.group.title())
                .global(true);
            if [&table::SANDBOX, &table::READ_ONLY, &table::STATELESS, &table::INSECURE_NO_AUTH].contains(setting) {
                arg.num_args(0..=1).require_equals(true).default_missing_value("true")
            } else {
                arg
            }
        })
        .collect()
}

fn flag_help(setting: &Setting) -> String {
    let what =
        if setting.secret { format!("File with the {}", lower_first(setting.help)) } else { setting.help.to_owned() };
    let default = setting.default.map(|value| format!(" [default: {value}]")).unwrap_or_default();
    format!("{what}{default} [env: {}]", setting.name)
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match (chars.next(), chars.as_str()) {
        // `API token` keeps its capitals.
        (Some(first), rest) if !rest.starts_with(char::is_uppercase) => {
            first.to_lowercase().chain(rest.chars()).collect()
        }
        _ => text.to_owned(),
    }
}

/// Reads flags, environment and `.env`, and resolves them.
///
/// # Errors
/// `BadSetting`, as [`collect`] and [`resolve`].
pub fn load(matches: &ArgMatches) -> Result<Config> {
    resolve(&inputs(matches)?, READ)
}

/// As [`load`], for commands that need no cluster: its settings are not looked at, and may be missing or wrong.
///
/// # Errors
/// `BadSetting`, for the program's own settings.
pub fn load_without_clusters(matches: &ArgMatches) -> Result<Config> {
    resolve_for(&inputs(matches)?, READ, false)
}

const READ: ReadFile<'_> = &|path| std::fs::read_to_string(path);

fn inputs(matches: &ArgMatches) -> Result<Inputs> {
    let mut env = BTreeMap::new();
    for (name, value) in std::env::vars_os() {
        let Some(name) = name.to_str() else { continue };
        match value.into_string() {
            Ok(value) => {
                env.insert(name.to_owned(), value);
            }
            Err(_) if name.starts_with("PROXMOX_") => {
                return Err(Error::bad_setting(format!("{name}: expected UTF-8 text")));
            }
            Err(_) => {}
        }
    }
    collect(flags(matches), env, READ)
}

/// The settings among the arguments, wherever between the commands they stand.
fn flags(matches: &ArgMatches) -> BTreeMap<String, String> {
    let mut flags = BTreeMap::new();
    let mut level = Some(matches);
    while let Some(matches) = level {
        for setting in SETTINGS {
            if let Ok(Some(value)) = matches.try_get_one::<String>(setting.flag) {
                flags.insert(setting.flag.to_owned(), value.clone());
            }
        }
        level = matches.subcommand().map(|(_, matches)| matches);
    }
    flags
}

/// Puts the sources together: finds and reads the `.env` file.
///
/// # Errors
/// A file that was named and cannot be read, or a line that cannot be understood. A missing `.env` is none.
pub fn collect(flags: BTreeMap<String, String>, env: BTreeMap<String, String>, read: ReadFile<'_>) -> Result<Inputs> {
    let mut inputs = Inputs { flags, env, dotenv: None };
    let mut lookup = Lookup::new(&inputs, read, Vec::new());
    let named = lookup.find(&table::ENV_FILE)?;
    let path = match &named {
        Some(found) => lookup.expand(found.text()),
        None => PathBuf::from(table::ENV_FILE.default.unwrap_or_default()),
    };
    inputs.dotenv = match (read(&path), named) {
        (Ok(text), named) => Some(DotEnv { named: named.is_some(), ..dotenv::parse(&path, &text)? }),
        (Err(error), Some(found)) => return Err(found.bad(&format!("a readable file ({error})"))),
        // A directory of that name is somebody's Python environment.
        (Err(error), None) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::IsADirectory) => None,
        (Err(error), None) => {
            return Err(Error::bad_setting(format!("{}: expected a readable file ({error})", path.display())));
        }
    };
    Ok(inputs)
}

/// Makes the configuration of what was given.
///
/// # Errors
/// `BadSetting` with one line that names the variable and what was expected.
pub fn resolve(inputs: &Inputs, read: ReadFile<'_>) -> Result<Config> {
    resolve_for(inputs, read, true)
}

fn resolve_for(inputs: &Inputs, read: ReadFile<'_>, with_clusters: bool) -> Result<Config> {
    let mut program = Lookup::new(inputs, read, Vec::new());
    let sandbox = program.parsed(&table::SANDBOX, "true or false", false, value::boolean)?;
    let sandbox_fault = program.find(&table::SANDBOX_FAULT)?;
    sandbox_fault.iter().for_each(|found| program.used(found));
    let safety = safety::safety(&mut program)?;
    let web = web::web(&mut program)?;
    let strict = program.parsed(&table::REQUIRE_VERIFIED_TLS, "true or false", false, value::boolean)?;
    let log_level =
        program.parsed(&table::LOG_LEVEL, "off, error, warn, info, debug or trace", LevelFilter::WARN, value::level)?;
    let log_format = program.parsed(&table::LOG_FORMAT, "text or json", LogFormat::Text, value::log_format)?;
    let call_timeout = program.parsed(&table::CALL_TIMEOUT, LIMIT_OR_NONE, Duration::ZERO, value::duration_or_none)?;
    let shutdown_grace =
        program.parsed(&table::SHUTDOWN_GRACE, LIMIT_OR_NONE, Duration::from_secs(10), value::duration_or_none)?;
    let with_clusters = with_clusters && !sandbox;
    let named = if with_clusters { program.find(&table::CLUSTERS)? } else { None };
    let names = match &named {
        Some(found) => {
            program.used(found);
            clusters::names(found)?
        }
        None => Vec::new(),
    };
    if let Some(first) = names.first() {
        clusters::refuse_plain_settings(&mut program, first)?;
    }
    // Its sources are told by the clusters, each of which looks for itself.
    let mut plain = Lookup::new(inputs, read, Vec::new());
    let (shared, upload_dir) = (timeouts(&mut plain)?, upload_dir(&mut plain)?);

    let mut warnings = clusters::unknown_names(inputs, &names);
    let mut resolved = Vec::new();
    let all: Vec<(&str, Vec<String>)> = match names.as_slice() {
        _ if !with_clusters => Vec::new(),
        [] => vec![(ONLY_CLUSTER, Vec::new())],
        names => names.iter().map(|name| (name.as_str(), clusters::prefixes(name))).collect(),
    };
    for (name, prefixes) in all {
        let mut lookup = Lookup::new(inputs, read, prefixes);
        resolved.push(cluster(name, &mut lookup, strict)?);
        warnings.append(&mut lookup.warnings);
    }
    warnings.append(&mut program.warnings);
    // Clusters that share a setting would each say the same.
    let mut seen = BTreeSet::new();
    warnings.retain(|warning| seen.insert(warning.clone()));
    Ok(Config {
        clusters: resolved,
        sandbox,
        sandbox_fault: sandbox_fault.map(|found| found.text().to_owned()),
        safety,
        web,
        log_level,
        log_format,
        timeouts: shared,
        call_timeout: (!call_timeout.is_zero()).then_some(call_timeout),
        shutdown_grace,
        upload_dir,
        env_file: inputs.dotenv.as_ref().map(|file| file.path.clone()),
        sources: program.sources,
        warnings,
    })
}

fn cluster(name: &str, lookup: &mut Lookup<'_>, strict: bool) -> Result<ClusterConfig> {
    let endpoints = endpoint::endpoints(lookup)?;
    let auth = auth::auth(lookup)?;
    let tls = tls::tls(lookup, strict)?;
    let default_node = lookup.parsed(&table::DEFAULT_NODE, "the name of a node", None, word)?;
    let default_storage = lookup.parsed(&table::DEFAULT_STORAGE, "the name of a storage", None, word)?;
    let default_bridge = lookup.parsed(&table::DEFAULT_BRIDGE, "the name of a bridge", None, word)?;
    let timeouts = timeouts(lookup)?;
    let upload_dir = upload_dir(lookup)?;
    Ok(ClusterConfig {
        name: name.to_owned(),
        endpoints,
        auth,
        tls,
        default_node,
        default_storage,
        default_bridge,
        upload_dir,
        timeouts,
        sources: std::mem::take(&mut lookup.sources),
    })
}

const LIMIT_OR_NONE: &str = "seconds, 0 to a day (0, 10, 500ms, 10m)";

fn timeouts(lookup: &mut Lookup<'_>) -> Result<Timeouts> {
    const EXPECTED: &str = "seconds, more than 0 and at most a day (5, 0.5, 500ms, 1m)";
    let Timeouts { connect, request } = Timeouts::default();
    Ok(Timeouts {
        connect: lookup.parsed(&table::CONNECT_TIMEOUT, EXPECTED, connect, value::duration)?,
        request: lookup.parsed(&table::REQUEST_TIMEOUT, EXPECTED, request, value::duration)?,
    })
}

fn upload_dir(lookup: &mut Lookup<'_>) -> Result<Option<PathBuf>> {
    let given = lookup.parsed(&table::UPLOAD_DIR, "a directory", None, |text| Some(Some(text.to_owned())))?;
    Ok(given.map(|text: String| lookup.expand(&text)))
}

/// A name that can stand in a request's path.
fn word(text: &str) -> Option<Option<String>> {
    let possible = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    text.chars().all(possible).then(|| Some(text.to_owned()))
}

#[cfg(test)]
mod tests;
