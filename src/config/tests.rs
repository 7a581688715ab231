//! The whole way from flags, environment and `.env` to a configuration. Hermetic: files exist only in a table.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod refused;
mod safety;
mod systems;
mod trust;

use std::path::Path;

use secrecy::ExposeSecret;

use super::*;

const FINGERPRINT: &str =
    "AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA";
const URL: (&str, &str) = ("PROXMOX_API_URL", "https://pve:8006");
const TOKEN: (&str, &str) = ("PROXMOX_TOKEN", "mcp@pve!mcp=hunter2");

type Pairs<'a> = &'a [(&'a str, &'a str)];

#[derive(Default)]
struct Given<'a> {
    flags: Pairs<'a>,
    env: Pairs<'a>,
    files: Pairs<'a>,
}

fn map(pairs: Pairs<'_>) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

impl Given<'_> {
    fn resolve(&self) -> Result<Config> {
        let read = |path: &Path| {
            let file = self.files.iter().find(|(name, _)| Path::new(name) == path);
            file.map(|(_, text)| (*text).to_owned()).ok_or_else(|| ErrorKind::NotFound.into())
        };
        resolve(&collect(map(self.flags), map(self.env), &read)?, &read)
    }
}

fn env(env: Pairs<'_>) -> Result<Config> {
    Given { env, ..Given::default() }.resolve()
}

fn dotenv(text: &str) -> Result<Config> {
    Given { files: &[(".env", text)], ..Given::default() }.resolve()
}

/// One line for all that tells servers and credentials apart.
fn shown(cluster: &ClusterConfig) -> String {
    let endpoints: Vec<String> = cluster.endpoints.iter().map(ToString::to_string).collect();
    let auth = match &cluster.auth {
        Auth::Token { id, secret } => format!("token {id} {}", secret.expose_secret()),
        Auth::Password { username, password, totp } => format!(
            "password {username} {}{}",
            password.expose_secret(),
            totp.as_ref().map(|secret| format!(" {}", secret.expose_secret())).unwrap_or_default()
        ),
    };
    let tls = match &cluster.tls {
        Tls::Fingerprints(all) => format!("{} fingerprints", all.len()),
        other => format!("{other:?}"),
    };
    format!("{} | {auth} | {tls}", endpoints.join(" "))
}

fn only(config: Result<Config>) -> String {
    let config = config.unwrap();
    assert_eq!(config.clusters.len(), 1);
    shown(&config.clusters[0])
}

fn line(config: Result<Config>) -> String {
    let error = config.map(|config| format!("{config:?}")).unwrap_err();
    assert_eq!(error.kind(), crate::error::Kind::BadSetting);
    let message = error.to_string();
    assert!(!message.contains('\n'), "{message}");
    assert!(!message.contains("hunter2"), "{message}");
    message
}

#[test]
fn a_password_login_has_a_realm_and_perhaps_a_second_factor() {
    let cases: &[(Pairs<'_>, &str)] = &[
        (&[("PROXMOX_USER", "root"), ("PROXMOX_PASSWORD", " a b ")], "password root@pam  a b "),
        (&[("PROXMOX_USERNAME", "me@corp.com@ad"), ("PROXMOX_PASSWORD", "p")], "password me@corp.com@ad p"),
        (
            &[("PROXMOX_USER", "a@pve"), ("PROXMOX_PASSWORD_FILE", "/p"), ("PROXMOX_TOTP_SECRET", "jbsw y3dp")],
            "password a@pve hunter2 JBSWY3DP",
        ),
        (
            &[("PROXMOX_AUTH_METHOD", "PASSWORD"), TOKEN, ("PROXMOX_USER", "a@pve"), ("PROXMOX_PASSWORD", "p")],
            "password a@pve p",
        ),
        (&[("PROXMOX_TOKEN_ID", "a@pve!x"), ("PROXMOX_USER", "a@pve"), ("PROXMOX_PASSWORD", "p")], "password a@pve p"),
    ];
    for (settings, expected) in cases {
        let env: Vec<_> = settings.iter().copied().chain([URL]).collect();
        let config = Given { env: &env, files: &[("/p", "hunter2\n")], ..Given::default() }.resolve();
        assert_eq!(only(config), format!("https://pve:8006 | {expected} | System"), "{settings:?}");
    }
}

#[test]
fn flags_go_before_the_environment_and_that_before_the_file() {
    let given = Given {
        flags: &[("api-url", "from-flag")],
        env: &[("PROXMOX_HOST", "from-env"), ("PROXMOX_PORT", "1"), ("PROXMOX_DEFAULT_NODE", " ")],
        files: &[(
            ".env",
            "PROXMOX_API_URL=from-file\nPROXMOX_PORT=2\nPROXMOX_TOKEN=a@pve!x=s\nPROXMOX_DEFAULT_NODE=n",
        )],
    };
    let config = given.resolve().unwrap();
    assert_eq!(shown(&config.clusters[0]), "https://from-flag:1 | token a@pve!x s | System");
    assert_eq!(config.env_file.as_deref(), Some(Path::new(".env")));
    let sources: Vec<String> = config.clusters[0]
        .sources
        .iter()
        .map(|source| {
            let value = source.value.as_deref().unwrap_or("-");
            format!("{} = {value} ({}, {})", source.setting, source.name_used, source.origin)
        })
        .collect();
    assert_eq!(
        sources,
        [
            "PROXMOX_PORT = 1 (PROXMOX_PORT, environment)",
            "PROXMOX_API_URL = from-flag (--api-url, flag)",
            "PROXMOX_AUTH_METHOD = token (PROXMOX_AUTH_METHOD, default)",
            "PROXMOX_TOKEN = - (PROXMOX_TOKEN, .env)",
            "PROXMOX_VERIFY = true (PROXMOX_VERIFY, default)",
            "PROXMOX_DEFAULT_NODE = n (PROXMOX_DEFAULT_NODE, .env)",
            "PROXMOX_DEFAULT_STORAGE = - (PROXMOX_DEFAULT_STORAGE, default)",
            "PROXMOX_DEFAULT_BRIDGE = - (PROXMOX_DEFAULT_BRIDGE, default)",
            "PROXMOX_CONNECT_TIMEOUT = 5 (PROXMOX_CONNECT_TIMEOUT, default)",
            "PROXMOX_TIMEOUT = 30 (PROXMOX_TIMEOUT, default)",
            "PROXMOX_UPLOAD_DIR = - (PROXMOX_UPLOAD_DIR, default)",
        ]
    );
}

#[test]
fn credentials_of_a_stronger_source_go_before_those_of_a_weaker_one() {
    let password = [URL, ("PROXMOX_USER", "a@pve"), ("PROXMOX_PASSWORD", "p")];
    let given = Given { env: &password, files: &[(".env", "PROXMOX_TOKEN=a@pve!x=s")], ..Given::default() };
    assert_eq!(only(given.resolve()), "https://pve:8006 | password a@pve p | System");
    let parts = [URL, ("PROXMOX_TOKEN_ID", "a@pve!env"), ("PROXMOX_TOKEN_SECRET", "s")];
    let given = Given { flags: &[("token-file", "/t")], env: &parts, files: &[("/t", "a@pve!flag=s")] };
    assert_eq!(only(given.resolve()), "https://pve:8006 | token a@pve!flag s | System");
}

#[test]
fn two_names_for_one_setting_are_decided_by_the_table_and_reported() {
    let config = env(&[("PROXMOX_HOST", "second"), ("PROXMOX_URL", "first"), TOKEN]).unwrap();
    assert_eq!(config.clusters[0].endpoints[0].host, "first");
    assert_eq!(config.warnings, ["PROXMOX_HOST is not used: PROXMOX_URL is set too, and goes first"]);
    let config = env(&[("PROXMOX_HOST", "same"), ("PROXMOX_URL", "same"), TOKEN]).unwrap();
    assert_eq!(config.warnings, Vec::<String>::new());
}

#[test]
fn members_of_a_cluster_are_tried_in_the_order_given() {
    let config = env(&[
        ("PROXMOX_HOST", " pve1, https://pve2:443/api2/json,[::1],pve1:8007, pve1,"),
        ("PROXMOX_PORT", "8007"),
        TOKEN,
    ]);
    assert!(only(config).starts_with("https://pve1:8007 https://pve2:443 https://[::1]:8007 |"));
}

#[test]
fn the_safest_of_contradicting_tls_settings_counts() {
    let ca = ("PROXMOX_CA_FILE", "/ca.pem");
    let pin = ("PROXMOX_FINGERPRINT", FINGERPRINT);
    let off = ("PROXMOX_VERIFY", "off");
    let cases: &[(Pairs<'_>, &str, usize)] = &[
        (&[], "System", 0),
        (&[("VERIFY_SSL", "YES")], "System", 0),
        (&[off], "Insecure", 0),
        (&[("PROXMOX_REJECT_UNAUTHORIZED", "0")], "Insecure", 0),
        (&[ca], "CaFile(\"/ca.pem\")", 0),
        (&[ca, off], "CaFile(\"/ca.pem\")", 1),
        (&[pin], "1 fingerprints", 0),
        (&[pin, off], "1 fingerprints", 1),
        (&[pin, ca, off], "1 fingerprints", 2),
    ];
    for (settings, expected, warnings) in cases {
        let env: Vec<_> = settings.iter().copied().chain([URL, TOKEN]).collect();
        let files = [("/ca.pem", "-----BEGIN CERTIFICATE-----\n")];
        let config = Given { env: &env, files: &files, ..Given::default() }.resolve().unwrap();
        assert!(shown(&config.clusters[0]).ends_with(&format!("| {expected}")), "{settings:?}");
        assert_eq!(config.warnings.len(), *warnings, "{:?}", config.warnings);
    }
}

#[test]
fn shared_settings_are_defaults_but_credentials_never_reach_another_cluster() {
    let base = [
        ("PROXMOX_CLUSTERS", "a, b"),
        ("PROXMOX_CLUSTER_a_HOST", "a"),
        ("PROXMOX_CLUSTER_a_TOKEN", "m@pve!a=s"),
        ("PROXMOX_CLUSTER_B_HOST", "b"),
        ("PROXMOX_FINGERPRINT", FINGERPRINT),
        ("PROXMOX_TIMEOUT", "10"),
        ("PROXMOX_CLUSTER_a_TIMEOUT", "20"),
        ("PROXMOX_DEFAULT_STORAGE", "ceph"),
        ("PROXMOX_DEFAULT_NODE", "pve"),
        ("PROXMOX_PORT", "443"),
    ];
    let own = [("PROXMOX_CLUSTER_B_TOKEN", "m@pve!b=t"), ("PROXMOX_CLUSTER_b_VERIFY", "true")];
    let all: Vec<_> = base.into_iter().chain(own).collect();
    let config = env(&all).unwrap();
    let lines: Vec<String> = config.clusters.iter().map(shown).collect();
    assert_eq!(lines, ["https://a:443 | token m@pve!a s | 1 fingerprints", "https://b:443 | token m@pve!b t | System"]);
    let [a, b] = config.clusters.as_slice() else { panic!("two clusters") };
    assert_eq!((a.timeouts.request.as_secs(), b.timeouts.request.as_secs()), (20, 10));
    assert_eq!(config.timeouts.request.as_secs(), 10);
    assert_eq!((a.default_storage.as_deref(), a.default_node.as_deref()), (Some("ceph"), None));
    assert_eq!(
        config.warnings,
        [
            "PROXMOX_DEFAULT_NODE is not used: PROXMOX_CLUSTERS names several clusters, which take PROXMOX_CLUSTER_a_DEFAULT_NODE and its like"
        ]
    );

    let without: Vec<_> = base.into_iter().chain([TOKEN]).collect();
    assert_eq!(
        line(env(&without)),
        "PROXMOX_CLUSTER_b_TOKEN_ID is not set: expected an API token as user@realm!name (such as mcp@pve!mcp), \
         with PROXMOX_CLUSTER_b_TOKEN_SECRET (or PROXMOX_CLUSTER_b_USER and PROXMOX_CLUSTER_b_PASSWORD)"
    );
}

#[test]
fn the_sandbox_needs_no_settings_and_ignores_those_of_servers() {
    for given in [
        Given { flags: &[("sandbox", "true")], ..Given::default() },
        Given { env: &[("PROXMOX_SANDBOX", "1"), ("PROXMOX_API_URL", "http://nonsense")], ..Given::default() },
        Given { env: &[("PROXMOX_SANDBOX", "on"), ("PROXMOX_CLUSTERS", "a,b")], ..Given::default() },
    ] {
        let config = given.resolve().unwrap();
        assert!(config.sandbox && config.clusters.is_empty());
    }
}

#[test]
fn a_configuration_can_be_printed_without_its_secrets() {
    let configs = [
        env(&[URL, TOKEN]),
        env(&[URL, ("PROXMOX_TOKEN_ID", "a@pve!x"), ("PROXMOX_TOKEN_SECRET", "hunter2")]),
        env(&[URL, ("PROXMOX_USER", "a"), ("PROXMOX_PASSWORD", "hunter2"), ("PROXMOX_TOTP_SECRET", "HUNTER22")]),
    ];
    for config in configs {
        let printed = format!("{:?}", config.unwrap());
        assert!(printed.contains("https") || printed.contains("pve"));
        assert!(!printed.to_lowercase().contains("hunter2"), "{printed}");
    }
}

#[test]
fn flags_are_read_wherever_between_the_commands_they_stand() {
    let command =
        || clap::Command::new("x").args(clap_args()).subcommand(clap::Command::new("call").arg(Arg::new("tool")));
    for arguments in
        [["x", "--api-url", "pve", "--sandbox", "call", "tool"], ["x", "call", "--sandbox", "tool", "--api-url", "pve"]]
    {
        let matches = command().try_get_matches_from(arguments).unwrap();
        assert_eq!(flags(&matches), map(&[("api-url", "pve"), ("sandbox", "true")]));
    }
    assert!(command().try_get_matches_from(["x", "--token-secret", "hunter2"]).is_err());
    command().debug_assert();
}

#[test]
fn the_example_env_file_is_a_valid_configuration() {
    let config = dotenv(&crate::docs::env_example());
    assert_eq!(
        only(config),
        "https://pve.example.com:8006 | token mcp@pve!mcp xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx | System"
    );
}
