//! The table of settings: every name that is accepted, its default and its help. Parsing, `--help`, `.env.example` and the
//! README's table are all made from it; it knows no values.

mod cluster;
mod safety;
mod web;

pub use cluster::*;
pub use safety::*;
pub use web::*;

/// One setting. Its aliases are the names that other Proxmox programs use for the same thing.
#[derive(Debug, PartialEq, Eq)]
pub struct Setting {
    /// The environment variable, `PROXMOX_…`.
    pub name: &'static str,
    /// Other accepted variables, in the order in which they are looked for after `name`.
    pub aliases: &'static [&'static str],
    /// The command-line flag, without the two dashes; for a secret that of its file.
    pub flag: &'static str,
    /// What the value looks like, for `--help`.
    pub value: &'static str,
    /// What applies when it is not set, as it would be written.
    pub default: Option<&'static str>,
    /// A value for `.env.example`.
    pub example: &'static str,
    /// One sentence or two, without Markdown.
    pub help: &'static str,
    /// Never printed. Every name of it also exists as `…_FILE`, and on the command line only so, since
    /// arguments can be read by every user of the machine.
    pub secret: bool,
    pub group: Group,
    pub scope: Scope,
}

/// The heading under which a setting stands in `--help` and the documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    Endpoint,
    Token,
    Password,
    Tls,
    Defaults,
    Timeouts,
    Clusters,
    Safety,
    Web,
    Program,
}

impl Group {
    pub const ALL: &[Self] = &[
        Self::Endpoint,
        Self::Token,
        Self::Password,
        Self::Tls,
        Self::Defaults,
        Self::Timeouts,
        Self::Clusters,
        Self::Safety,
        Self::Web,
        Self::Program,
    ];

    pub fn title(self) -> &'static str {
        match self {
            Self::Endpoint => "Endpoint",
            Self::Token => "API token",
            Self::Password => "Password login",
            Self::Tls => "TLS",
            Self::Defaults => "Defaults",
            Self::Timeouts => "Timeouts",
            Self::Clusters => "Several clusters",
            Self::Safety => "What agents may do",
            Self::Web => "Over HTTP",
            Self::Program => "Program",
        }
    }
}

/// Whether each of several clusters has its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// One for the program.
    Program,
    /// Each cluster has its own as `PROXMOX_CLUSTER_<name>_…`; the plain name is the default for all clusters.
    Shared,
    /// Each cluster has its own; the plain name never applies to one of several clusters. Endpoints and credentials are
    /// of this kind: a token must not be sent to a server that it was not given for.
    Own,
}

impl Setting {
    /// Every variable of it, the canonical one first, without the `…_FILE` forms.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }

    /// Whether it may be written under `PROXMOX_CLUSTER_<name>_`.
    pub fn per_cluster(&self) -> bool {
        self.scope != Scope::Program
    }
}

/// A plain setting of one cluster: the base that the entries below differ from.
const BASE: Setting = Setting {
    name: "",
    aliases: &[],
    flag: "",
    value: "TEXT",
    default: None,
    example: "",
    help: "",
    secret: false,
    group: Group::Endpoint,
    scope: Scope::Own,
};

pub static CALL_TIMEOUT: Setting = Setting {
    name: "PROXMOX_CALL_TIMEOUT",
    flag: "call-timeout",
    value: "SECONDS",
    default: Some("0"),
    example: "10m",
    help: "The most that one call of a tool may take, waiting for tasks included; 0 for no limit. It then ends with what was done and the task that goes on.",
    group: Group::Timeouts,
    scope: Scope::Program,
    ..BASE
};
pub static SHUTDOWN_GRACE: Setting = Setting {
    name: "PROXMOX_SHUTDOWN_GRACE",
    flag: "shutdown-grace",
    value: "SECONDS",
    default: Some("10"),
    example: "10",
    help: "How long calls under way may go on when the client has gone or a signal ends the server; then those that wait are cancelled, and their tasks go on. A second signal ends it at once.",
    group: Group::Timeouts,
    scope: Scope::Program,
    ..BASE
};
pub static UPLOAD_DIR: Setting = Setting {
    name: "PROXMOX_UPLOAD_DIR",
    flag: "upload-dir",
    value: "DIR",
    example: "/srv/isos",
    help: "Directory on this machine whose files may be uploaded. Without it, nothing is: a tool shall not send any file it is told to.",
    group: Group::Program,
    scope: Scope::Shared,
    ..BASE
};
pub static CLUSTERS: Setting = Setting {
    name: "PROXMOX_CLUSTERS",
    flag: "clusters",
    value: "NAMES",
    example: "home,work",
    help: "Names of several clusters, separated by commas; the first is the default. Each then has its settings under PROXMOX_CLUSTER_<name>_, such as PROXMOX_CLUSTER_home_API_URL.",
    group: Group::Clusters,
    scope: Scope::Program,
    ..BASE
};
pub static SANDBOX: Setting = Setting {
    name: "PROXMOX_SANDBOX",
    flag: "sandbox",
    value: "BOOL",
    default: Some("false"),
    example: "false",
    help: "Run against the embedded simulated cluster; endpoints and credentials are then ignored.",
    group: Group::Program,
    scope: Scope::Program,
    ..BASE
};
pub static SANDBOX_FAULT: Setting = Setting {
    name: "PROXMOX_SANDBOX_FAULT",
    flag: "sandbox-fault",
    value: "FAULT",
    example: "task-failure=no space left:PUT /nodes/*/qemu/*/resize:count=1",
    help: "What shall go wrong in the embedded simulated cluster, as `sandbox --fault` takes it.",
    group: Group::Program,
    scope: Scope::Program,
    ..BASE
};
pub static API_WRITE: Setting = Setting {
    name: "PROXMOX_API_WRITE",
    flag: "api-write",
    value: "BOOL",
    default: Some("false"),
    example: "true",
    help: "Whether the tool proxmox-api-write is there, which sends any POST, PUT or DELETE of the Proxmox API.",
    group: Group::Program,
    scope: Scope::Program,
    ..BASE
};
pub static LOG_LEVEL: Setting = Setting {
    name: "PROXMOX_LOG",
    aliases: &["PROXMOX_LOG_LEVEL", "LOG_LEVEL"],
    flag: "log-level",
    value: "LEVEL",
    default: Some("warn"),
    example: "warn",
    help: "How much is logged, to stderr only: off, error, warn, info, debug or trace.",
    group: Group::Program,
    scope: Scope::Program,
    ..BASE
};
pub static LOG_FORMAT: Setting = Setting {
    name: "PROXMOX_LOG_FORMAT",
    flag: "log-format",
    value: "FORMAT",
    default: Some("text"),
    example: "json",
    help: "How it is logged: text, or json (an object a line).",
    group: Group::Program,
    scope: Scope::Program,
    ..BASE
};
pub static ENV_FILE: Setting = Setting {
    name: "PROXMOX_ENV_FILE",
    flag: "env-file",
    value: "FILE",
    default: Some(".env"),
    example: "/etc/proxmox-mcp/env",
    help: "File of settings, read after flags and environment. Without it, .env in the working directory, if there is one.",
    group: Group::Program,
    scope: Scope::Program,
    ..BASE
};

/// All settings; documents show them by group.
pub static SETTINGS: &[&Setting] = &[
    &API_URL,
    &PORT,
    &TOKEN_ID,
    &TOKEN_SECRET,
    &TOKEN,
    &USER,
    &PASSWORD,
    &TOTP_SECRET,
    &AUTH_METHOD,
    &FINGERPRINT,
    &CA_FILE,
    &VERIFY,
    &REQUIRE_VERIFIED_TLS,
    &DEFAULT_NODE,
    &DEFAULT_STORAGE,
    &DEFAULT_BRIDGE,
    &CONNECT_TIMEOUT,
    &REQUEST_TIMEOUT,
    &CALL_TIMEOUT,
    &SHUTDOWN_GRACE,
    &CLUSTERS,
    &UPLOAD_DIR,
    &MODE,
    &READ_ONLY,
    &TOOLSETS,
    &TOOLS,
    &EXCLUDE_TOOLS,
    &FACE,
    &TOOL_NAMES,
    &ALLOW_GUESTS,
    &PROTECT_GUESTS,
    &ALLOW_NODES,
    &ALLOW_STORAGES,
    &MAX_GUESTS,
    &MAX_CORES,
    &MAX_MEMORY,
    &MAX_DISK,
    &EXEC,
    &EXEC_ALLOW,
    &FREEZE_FILE,
    &CONFIRM,
    &CONFIRM_FALLBACK,
    &CONFIRM_TOOLS,
    &AUDIT_FILE,
    &STATE_DIR,
    &KEY,
    &HTTP,
    &REST,
    &STATELESS,
    &API_KEY,
    &INSECURE_NO_AUTH,
    &ALLOWED_HOSTS,
    &ALLOWED_ORIGINS,
    &PUBLIC_URL,
    &TLS_CERT,
    &TLS_KEY,
    &MAX_BODY,
    &MAX_CONNECTIONS,
    &MAX_CALLS,
    &RATE,
    &OAUTH_ISSUER,
    &OAUTH_AUDIENCE,
    &OAUTH_SCOPES,
    &SANDBOX,
    &SANDBOX_FAULT,
    &API_WRITE,
    &LOG_LEVEL,
    &LOG_FORMAT,
    &ENV_FILE,
];

/// Names that other servers read and that have no effect here: told apart from misspelt ones. Each stands for itself and
/// for `PROXMOX_CLUSTER_<name>_` with its ending.
pub const WITHOUT_EFFECT: &[&str] = &[
    "PROXMOX_REGION",
    "PROXMOX_TIER",
    "PROXMOX_CLUSTER_PATTERNS",
    "PROXMOX_CLUSTER_VALIDATION",
    "PROXMOX_CLUSTER_CACHE_TTL",
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_name_and_flag_belongs_to_one_setting() {
        let mut names = BTreeSet::new();
        let mut flags = BTreeSet::new();
        for setting in SETTINGS {
            for name in setting.names() {
                assert!(names.insert(name.to_owned()), "{name} twice");
                if setting.secret {
                    assert!(names.insert(format!("{name}_FILE")), "{name}_FILE twice");
                }
            }
            assert!(flags.insert(setting.flag), "--{} twice", setting.flag);
            assert_eq!(setting.secret, setting.flag.ends_with("-file") && setting.value != "FILE");
        }
    }

    #[test]
    fn every_setting_is_documented_and_starts_with_the_prefix() {
        for setting in SETTINGS {
            assert!(setting.name.starts_with("PROXMOX_"), "{}", setting.name);
            assert!(setting.help.ends_with('.') && !setting.help.contains('\n'), "{}", setting.name);
            assert!(!setting.example.is_empty() && !setting.flag.is_empty(), "{}", setting.name);
        }
    }

    #[test]
    fn endpoints_and_credentials_are_never_shared_between_clusters() {
        for setting in [&API_URL, &TOKEN_ID, &TOKEN_SECRET, &TOKEN, &USER, &PASSWORD, &TOTP_SECRET] {
            assert_eq!(setting.scope, Scope::Own, "{}", setting.name);
        }
    }
}
