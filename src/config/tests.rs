//! The whole way from flags, environment and `.env` to a configuration. Hermetic: files exist only in a table.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

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
fn the_configuration_blocks_of_other_servers_work_unchanged() {
    let cases = [
        (
            r#"
PROXMOX_API_URL="https://proxmox.example.com:8006"
PROXMOX_TOKEN_ID="root@pam!mcp-proxmox"
PROXMOX_TOKEN_SECRET="<secret>"
PROXMOX_VERIFY="true"
PROXMOX_DEFAULT_NODE="pve"
PROXMOX_DEFAULT_STORAGE="local-lvm"
PROXMOX_DEFAULT_BRIDGE="vmbr0"
"#,
            "https://proxmox.example.com:8006 | token root@pam!mcp-proxmox <secret> | System",
        ),
        (
            r"
# URL de votre Proxmox (ex: https://192.168.1.10:8006)
PROXMOX_URL=https://192.168.1.10:8006

# Authentification via Token (recommandé)
PROXMOX_USER=root@pam
# ID du token (ex: mcp-token)
PROXMOX_TOKEN_ID=votre_token_id
PROXMOX_TOKEN_SECRET=votre_token_secret

# 'true' pour vérifier le certificat (prod), 'false' pour ignorer (self-signed)
PROXMOX_VERIFY_SSL=false
",
            "https://192.168.1.10:8006 | token root@pam!votre_token_id votre_token_secret | Insecure",
        ),
        (
            r"
PROXMOX_HOST=tu-servidor-proxmox.com
PROXMOX_PORT=8006
PROXMOX_AUTH_METHOD=token
PROXMOX_TOKEN=user@pam!tokenid=tu-token-aqui
PROXMOX_REJECT_UNAUTHORIZED=false
",
            "https://tu-servidor-proxmox.com:8006 | token user@pam!tokenid tu-token-aqui | Insecure",
        ),
        (
            r"
PROXMOX_HOST=tu-servidor-proxmox.com
PROXMOX_PORT=8006
PROXMOX_AUTH_METHOD=password
PROXMOX_USERNAME=tu-usuario@pam
PROXMOX_PASSWORD=tu-contraseña
PROXMOX_REJECT_UNAUTHORIZED=true
",
            "https://tu-servidor-proxmox.com:8006 | password tu-usuario@pam tu-contraseña | System",
        ),
    ];
    for (block, expected) in cases {
        assert_eq!(only(dotenv(block)), expected);
        assert_eq!(dotenv(block).unwrap().warnings, Vec::<String>::new(), "{block}");
    }
}

#[test]
fn the_environment_block_of_an_ide_works_unchanged() {
    let config = env(&[
        ("PROXMOX_HOST", "https://192.168.50.11:8006"),
        ("PROXMOX_USER", "root@pam"),
        ("PROXMOX_TOKEN_ID", "root@pam!antigravity"),
        ("PROXMOX_TOKEN_SECRET", "5f4dcc3b-5aa0-4444-9090-e245645666"),
        ("VERIFY_SSL", "false"),
    ]);
    let expected =
        "https://192.168.50.11:8006 | token root@pam!antigravity 5f4dcc3b-5aa0-4444-9090-e245645666 | Insecure";
    assert_eq!(only(config), expected);
}

#[test]
fn several_clusters_of_the_reference_work_unchanged() {
    let config = dotenv(
        r#"
PROXMOX_CLUSTERS=prod,lab-1
PROXMOX_CLUSTER_prod_API_URL="https://prod:8006"
PROXMOX_CLUSTER_prod_TOKEN_ID="mcp@pve!a"
PROXMOX_CLUSTER_prod_TOKEN_SECRET="one"
PROXMOX_CLUSTER_prod_VERIFY="true"
PROXMOX_CLUSTER_prod_DEFAULT_NODE="pve1"
PROXMOX_CLUSTER_prod_REGION="eu"
PROXMOX_CLUSTER_prod_TIER="gold"
PROXMOX_CLUSTER_LAB_1_API_URL="https://lab:8006"
PROXMOX_CLUSTER_LAB_1_TOKEN_ID="mcp@pve!b"
PROXMOX_CLUSTER_LAB_1_TOKEN_SECRET="two"
PROXMOX_CLUSTER_LAB_1_VERIFY="false"
PROXMOX_CLUSTER_PATTERNS=prod-:prod
PROXMOX_CLUSTER_VALIDATION=true
PROXMOX_CLUSTER_CACHE_TTL=3600
"#,
    )
    .unwrap();
    let all: Vec<String> = config.clusters.iter().map(shown).collect();
    assert_eq!(
        all,
        ["https://prod:8006 | token mcp@pve!a one | System", "https://lab:8006 | token mcp@pve!b two | Insecure"]
    );
    assert_eq!(config.clusters[0].name, "prod");
    assert_eq!(config.clusters[0].default_node.as_deref(), Some("pve1"));
    assert_eq!(config.clusters[1].default_node, None);
    let no_effect = config.warnings.iter().filter(|warning| warning.contains("has no effect here")).count();
    assert_eq!((no_effect, config.warnings.len()), (5, 5), "{:?}", config.warnings);
}

#[test]
fn every_spelling_of_a_token_is_the_same_token() {
    let spellings: &[Pairs<'_>] = &[
        &[("PROXMOX_TOKEN_ID", "mcp@pve!x"), ("PROXMOX_TOKEN_SECRET", "s")],
        &[("PROXMOX_TOKEN_ID", "mcp@pve!x"), ("PROXMOX_TOKEN_VALUE", "s")],
        &[("PROXMOX_TOKEN_NAME", "x"), ("PROXMOX_USER", "mcp@pve"), ("PROXMOX_TOKEN_VALUE", " s ")],
        &[("PROXMOX_TOKEN_ID", "x"), ("PROXMOX_USERNAME", "mcp@pve"), ("PROXMOX_TOKEN_SECRET", "s")],
        &[("PROXMOX_USER", "mcp@pve!x"), ("PROXMOX_TOKEN_SECRET", "s")],
        &[("PROXMOX_TOKEN", "mcp@pve!x=s")],
        &[("PROXMOX_API_TOKEN", "PVEAPIToken=mcp@pve!x=s")],
        &[("PROXMOX_TOKEN_FILE", "/run/token")],
        &[("PROXMOX_TOKEN_ID", "mcp@pve!x"), ("PROXMOX_TOKEN_SECRET_FILE", "/run/secret")],
        &[("PROXMOX_TOKEN_ID", "mcp@pve!x"), ("PROXMOX_TOKEN_VALUE_FILE", "~/secret"), ("HOME", "/home/u")],
        // Only complete credentials count.
        &[("PROXMOX_TOKEN", "mcp@pve!x=s"), ("PROXMOX_TOKEN_SECRET", "of nothing")],
        &[("PROXMOX_TOKEN", "mcp@pve!x=s"), ("PROXMOX_USER", "other@pve"), ("PROXMOX_PASSWORD", "p")],
    ];
    for spelling in spellings {
        let env: Vec<_> = spelling.iter().copied().chain([URL]).collect();
        let files = [("/run/secret", "s\r\n"), ("/home/u/secret", "s"), ("/run/token", "mcp@pve!x=s\n")];
        let config = Given { env: &env, files: &files, ..Given::default() }.resolve();
        assert_eq!(only(config), "https://pve:8006 | token mcp@pve!x s | System", "{spelling:?}");
    }
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
fn bad_input_gives_one_line_that_names_the_variable_and_what_was_expected() {
    let user = ("PROXMOX_USER", "a@pve");
    let password = ("PROXMOX_PASSWORD", "hunter2");
    let cases: &[(Pairs<'_>, &str)] = &[
        (&[], "PROXMOX_API_URL is not set: expected the address of a Proxmox VE server"),
        (&[("PROXMOX_API_URL", "")], "PROXMOX_API_URL is not set: expected"),
        (
            &[("PROXMOX_URL", "http://pve:8006"), TOKEN],
            "PROXMOX_URL: expected https://, not http://: Proxmox VE only redirects",
        ),
        (&[("PROXMOX_HOST", "https://root:hunter2@pve"), TOKEN], "PROXMOX_HOST: expected an address without user"),
        (&[("PROXMOX_HOST", "pve:port"), TOKEN], "PROXMOX_HOST: expected https://host:port, host:port or a host name"),
        (&[("PROXMOX_HOST", ","), TOKEN], "PROXMOX_HOST: expected https://host:port"),
        (&[("PROXMOX_HOST", "pve\nx"), TOKEN], "PROXMOX_HOST: expected https://host:port"),
        (
            &[("PROXMOX_HOST", "https://pve/pve"), TOKEN],
            "PROXMOX_HOST: expected an address with no path but /api2/json",
        ),
        (
            &[URL, ("PROXMOX_PORT", "eighty"), TOKEN],
            "PROXMOX_PORT: expected a port number from 1 to 65535; it is \"eighty\"",
        ),
        (&[URL, ("PROXMOX_PORT", "0"), TOKEN], "PROXMOX_PORT: expected a port number"),
        (&[URL], "PROXMOX_TOKEN_ID is not set: expected an API token as user@realm!name"),
        (
            &[URL, ("PROXMOX_TOKEN_ID", "a@pve!x")],
            "PROXMOX_TOKEN_SECRET is not set: expected the secret of the API token in PROXMOX_TOKEN_ID",
        ),
        (
            &[URL, ("PROXMOX_TOKEN_SECRET", "hunter2")],
            "PROXMOX_TOKEN_ID is not set: expected the token that PROXMOX_TOKEN_SECRET belongs to",
        ),
        (
            &[URL, ("PROXMOX_TOKEN_VALUE", "hunter2"), user],
            "PROXMOX_TOKEN_ID is not set: expected the token that PROXMOX_TOKEN_VALUE",
        ),
        (
            &[URL, ("PROXMOX_TOKEN_NAME", "x"), ("PROXMOX_TOKEN_SECRET", "hunter2")],
            "PROXMOX_TOKEN_NAME: expected user@realm!name (such as mcp@pve!mcp), or PROXMOX_USER beside a bare name",
        ),
        (
            &[URL, ("PROXMOX_TOKEN_ID", "hunter2"), ("PROXMOX_TOKEN_SECRET", "a@pve!x")],
            "PROXMOX_TOKEN_ID: expected user@realm!name",
        ),
        (
            &[URL, ("PROXMOX_TOKEN_ID", "a!x"), ("PROXMOX_TOKEN_SECRET", "hunter2")],
            "PROXMOX_TOKEN_ID: expected user@realm!name",
        ),
        (
            &[URL, ("PROXMOX_TOKEN_ID", "a@pve!x"), ("PROXMOX_TOKEN_SECRET", "a@pve!x=hunter2")],
            "PROXMOX_TOKEN_SECRET: expected the token's secret alone",
        ),
        (&[URL, ("PROXMOX_TOKEN", "hunter2")], "PROXMOX_TOKEN: expected user@realm!name=secret"),
        (&[URL, ("PROXMOX_TOKEN", "a@pve!x=")], "PROXMOX_TOKEN: expected user@realm!name=secret"),
        (&[URL, ("PROXMOX_TOKEN_FILE", "/missing")], "PROXMOX_TOKEN_FILE: expected a readable file; /missing:"),
        (
            &[URL, ("PROXMOX_TOKEN_FILE", "/empty")],
            "PROXMOX_TOKEN_FILE: expected the secret in the file; /empty is empty",
        ),
        (
            &[URL, user],
            "PROXMOX_TOKEN_SECRET is not set: expected the secret of an API token of PROXMOX_USER (or PROXMOX_PASSWORD",
        ),
        (&[URL, password], "PROXMOX_USER is not set: expected the user that PROXMOX_PASSWORD belongs to"),
        (&[URL, password, ("PROXMOX_USER", "a b")], "PROXMOX_USER: expected user@realm"),
        (&[URL, password, ("PROXMOX_USER", "a@pve!x")], "PROXMOX_USER: expected user@realm"),
        (&[URL, password, user, ("PROXMOX_TOTP_SECRET", "hunter2!")], "PROXMOX_TOTP_SECRET: expected base32"),
        (
            &[URL, TOKEN, ("PROXMOX_AUTH_METHOD", "ldap")],
            "PROXMOX_AUTH_METHOD: expected token or password; it is \"ldap\"",
        ),
        (
            &[URL, TOKEN, ("PROXMOX_AUTH_METHOD", "password")],
            "PROXMOX_PASSWORD is not set: expected the password to log in with",
        ),
        (
            &[URL, user, password, ("PROXMOX_AUTH_METHOD", "token")],
            "PROXMOX_TOKEN_ID is not set: expected user@realm!name",
        ),
        (&[URL, TOKEN, ("VERIFY_SSL", "maybe")], "VERIFY_SSL: expected true or false"),
        (
            &[URL, TOKEN, ("PROXMOX_FINGERPRINT", "AA:BB")],
            "PROXMOX_FINGERPRINT: expected SHA-256 fingerprints, each 32 bytes",
        ),
        (&[URL, TOKEN, ("PROXMOX_CA_FILE", "/missing")], "PROXMOX_CA_FILE: expected a readable PEM file ("),
        (
            &[URL, TOKEN, ("PROXMOX_CA_FILE", "/not.pem")],
            "PROXMOX_CA_FILE: expected a PEM file with at least one certificate",
        ),
        (&[URL, TOKEN, ("PROXMOX_TIMEOUT", "soon")], "PROXMOX_TIMEOUT: expected seconds, more than 0"),
        (&[URL, TOKEN, ("PROXMOX_CONNECT_TIMEOUT", "0")], "PROXMOX_CONNECT_TIMEOUT: expected seconds"),
        (&[URL, TOKEN, ("PROXMOX_DEFAULT_NODE", "a/b")], "PROXMOX_DEFAULT_NODE: expected the name of a node"),
        (
            &[URL, TOKEN, ("LOG_LEVEL", "loud")],
            "LOG_LEVEL: expected off, error, warn, info, debug or trace; it is \"loud\"",
        ),
        (&[("PROXMOX_SANDBOX", "perhaps")], "PROXMOX_SANDBOX: expected true or false"),
        (&[("PROXMOX_CLUSTERS", "a,b c")], "PROXMOX_CLUSTERS: expected names of letters"),
        (&[("PROXMOX_CLUSTERS", "a,all")], "PROXMOX_CLUSTERS: expected names other than all"),
        (&[("PROXMOX_CLUSTERS", "a,A")], "PROXMOX_CLUSTERS: expected names that differ"),
        (&[("PROXMOX_CLUSTERS", "a"), URL, TOKEN], "PROXMOX_CLUSTER_a_API_URL is not set: expected the address"),
        (&[("PROXMOX_ENV_FILE", "/missing"), URL, TOKEN], "PROXMOX_ENV_FILE: expected a readable file"),
        (&[("PROXMOX_ENV_FILE", "/not.env"), URL, TOKEN], "/not.env, line 2: expected NAME=value"),
    ];
    for (env, expected) in cases {
        let files = [("/empty", "\n"), ("/not.pem", "x"), ("/not.env", "A=1\nhunter2\n")];
        let message = line(Given { env, files: &files, ..Given::default() }.resolve());
        assert!(message.starts_with(expected), "{env:?}\n     got {message}\nexpected {expected}");
    }
}

#[test]
fn a_wrong_value_is_traced_to_its_flag_or_file() {
    let env = [URL, TOKEN];
    let given = Given { flags: &[("port", "x")], env: &env, files: &[] };
    assert_eq!(line(given.resolve()), "--port: expected a port number from 1 to 65535; it is \"x\"");
    let given = Given { flags: &[("env-file", "/e")], env: &env, files: &[("/e", "PROXMOX_PORT=x")] };
    assert_eq!(line(given.resolve()), "PROXMOX_PORT in /e: expected a port number from 1 to 65535; it is \"x\"");
    let given = Given { flags: &[("env-file", "/missing")], env: &env, files: &[] };
    assert!(line(given.resolve()).starts_with("--env-file: expected a readable file"));
    let given = Given { flags: &[("api-url", "x")], env: &[("PROXMOX_CLUSTERS", "a")], files: &[] };
    assert!(line(given.resolve()).starts_with("--api-url: expected no such flag beside PROXMOX_CLUSTERS"));
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
fn names_that_nothing_reads_are_reported_with_the_nearest_that_is_read() {
    let config = env(&[
        URL,
        TOKEN,
        ("PROXMOX_VERFY", "false"),
        ("PROXMOX_TOKEN_SECRT_FILE", "x"),
        ("PROXMOX_SOMETHING_ELSE_ALTOGETHER", "x"),
        ("PROXMOX_CLUSTER_a_API_URL", "x"),
        ("PROXMOXER_X", "x"),
        ("OTHER", "x"),
    ]);
    assert_eq!(
        config.unwrap().warnings,
        [
            "PROXMOX_CLUSTER_a_API_URL is not used: PROXMOX_CLUSTERS is not set",
            "PROXMOX_SOMETHING_ELSE_ALTOGETHER is no setting of this program",
            "PROXMOX_TOKEN_SECRT_FILE is no setting of this program: is PROXMOX_TOKEN_SECRET_FILE meant?",
            "PROXMOX_VERFY is no setting of this program: is PROXMOX_VERIFY meant?",
        ]
    );
    let config = env(&[
        ("PROXMOX_CLUSTERS", "a"),
        ("PROXMOX_CLUSTER_a_URL", "a"),
        ("PROXMOX_CLUSTER_A_TOKEN", "m@pve!a=s"),
        ("PROXMOX_CLUSTER_a_VERIFI", "x"),
        ("PROXMOX_CLUSTER_c_URL", "x"),
    ]);
    assert_eq!(
        config.unwrap().warnings,
        [
            "PROXMOX_CLUSTER_a_VERIFI is no setting of this program: is PROXMOX_CLUSTER_a_VERIFY meant?",
            "PROXMOX_CLUSTER_c_URL is not used: PROXMOX_CLUSTERS does not name its cluster",
        ]
    );
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
