//! What is wrong with settings, and in which words.

use super::*;

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
        (&[("PROXMOX_MCP_HTTP", "8812")], "PROXMOX_MCP_HTTP: expected an address and a port, such as 127.0.0.1:8812"),
        (&[("PROXMOX_MCP_ALLOWED_HOSTS", "a,https://b")], "PROXMOX_MCP_ALLOWED_HOSTS: expected names separated by"),
        (&[("PROXMOX_MCP_ALLOWED_HOSTS", "*.b")], "PROXMOX_MCP_ALLOWED_HOSTS: expected names separated by commas"),
        (&[("PROXMOX_MCP_ALLOWED_ORIGINS", "chat.example")], "PROXMOX_MCP_ALLOWED_ORIGINS: expected origins"),
        (&[("PROXMOX_MCP_ALLOWED_ORIGINS", "https://a/b")], "PROXMOX_MCP_ALLOWED_ORIGINS: expected origins"),
        (&[("PROXMOX_MCP_TLS_CERT", "/c")], "PROXMOX_MCP_TLS_KEY: expected the key of PROXMOX_MCP_TLS_CERT"),
        (&[("PROXMOX_MCP_API_KEY_FILE", "/missing")], "PROXMOX_MCP_API_KEY_FILE: expected a readable file"),
        (&[("PROXMOX_MCP_OAUTH_ISSUER", "https://a")], "PROXMOX_MCP_OAUTH_AUDIENCE: expected whom the tokens are for"),
        (&[("PROXMOX_MCP_OAUTH_SCOPES", "a b=full")], "PROXMOX_MCP_OAUTH_SCOPES: expected SCOPE=MODE"),
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
fn what_says_both_that_a_key_is_needed_and_that_none_is_means_that_one_is() {
    let key = ("PROXMOX_MCP_API_KEY", "hunter2-0123456789");
    let config = env(&[URL, TOKEN, key, ("PROXMOX_MCP_INSECURE_NO_AUTH", "true")]).unwrap();
    assert_eq!(config.warnings, ["PROXMOX_MCP_INSECURE_NO_AUTH is not used: PROXMOX_MCP_API_KEY is set too"]);
}

#[test]
fn names_and_origins_are_taken_as_browsers_write_them() {
    let hosts = ("PROXMOX_MCP_ALLOWED_HOSTS", "a.example, b:8812 [fe80::1] *");
    let origins =
        ("PROXMOX_MCP_ALLOWED_ORIGINS", "https://a.example,http://b:*,http://[::1]:5,null,*,vscode-webview://x");
    let config = env(&[URL, TOKEN, hosts, origins]).unwrap();
    assert_eq!(config.web.allowed_hosts, ["a.example", "b:8812", "[fe80::1]", "*"]);
    assert_eq!(config.web.allowed_origins.len(), 6);
}
