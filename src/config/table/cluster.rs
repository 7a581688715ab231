//! The settings of a cluster: where it is, who comes, whose certificate is trusted, what a call falls back on, how long to wait.

use super::{BASE, Group, Scope, Setting};

pub static API_URL: Setting = Setting {
    name: "PROXMOX_API_URL",
    aliases: &["PROXMOX_URL", "PROXMOX_HOST"],
    flag: "api-url",
    value: "URL",
    example: "https://pve.example.com:8006",
    help: "Address of the Proxmox VE server: a URL, host:port or a bare host. Several, separated by commas, are members of the same cluster, tried in order.",
    ..BASE
};
pub static PORT: Setting = Setting {
    name: "PROXMOX_PORT",
    flag: "port",
    value: "PORT",
    default: Some("8006"),
    example: "8006",
    help: "Port of every address that names none (a proxy on the standard HTTPS port is written with :443).",
    scope: Scope::Shared,
    ..BASE
};
pub static TOKEN_ID: Setting = Setting {
    name: "PROXMOX_TOKEN_ID",
    aliases: &["PROXMOX_TOKEN_NAME"],
    flag: "token-id",
    value: "USER@REALM!NAME",
    example: "mcp@pve!mcp",
    help: "API token as user@realm!name, or its bare name together with PROXMOX_USER.",
    group: Group::Token,
    ..BASE
};
pub static TOKEN_SECRET: Setting = Setting {
    name: "PROXMOX_TOKEN_SECRET",
    aliases: &["PROXMOX_TOKEN_VALUE"],
    flag: "token-secret-file",
    value: "SECRET",
    example: "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx",
    help: "Secret of the API token, as Proxmox VE showed it once.",
    secret: true,
    group: Group::Token,
    ..BASE
};
pub static TOKEN: Setting = Setting {
    name: "PROXMOX_TOKEN",
    aliases: &["PROXMOX_API_TOKEN"],
    flag: "token-file",
    value: "USER@REALM!NAME=SECRET",
    example: "mcp@pve!mcp=xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx",
    help: "API token and its secret in one, as user@realm!name=secret.",
    secret: true,
    group: Group::Token,
    ..BASE
};
pub static USER: Setting = Setting {
    name: "PROXMOX_USER",
    aliases: &["PROXMOX_USERNAME"],
    flag: "user",
    value: "USER@REALM",
    example: "mcp@pve",
    help: "User as user@realm, of the password login or of a token given by its bare name. Without a realm: pam.",
    group: Group::Password,
    ..BASE
};
pub static PASSWORD: Setting = Setting {
    name: "PROXMOX_PASSWORD",
    flag: "password-file",
    value: "PASSWORD",
    example: "secret",
    help: "Password of the user. An API token is the better choice: it can do less, and is revoked by itself.",
    secret: true,
    group: Group::Password,
    ..BASE
};
pub static TOTP_SECRET: Setting = Setting {
    name: "PROXMOX_TOTP_SECRET",
    flag: "totp-secret-file",
    value: "BASE32",
    example: "JBSWY3DPEHPK3PXP",
    help: "Secret of the user's second factor (TOTP), in base32 as Proxmox VE shows it.",
    secret: true,
    group: Group::Password,
    ..BASE
};
pub static AUTH_METHOD: Setting = Setting {
    name: "PROXMOX_AUTH_METHOD",
    flag: "auth-method",
    value: "token|password",
    default: Some("token"),
    example: "token",
    help: "Which to use where a token and a password are both there.",
    group: Group::Password,
    scope: Scope::Shared,
    ..BASE
};
pub static VERIFY: Setting = Setting {
    name: "PROXMOX_VERIFY",
    aliases: &["PROXMOX_VERIFY_SSL", "VERIFY_SSL", "PROXMOX_REJECT_UNAUTHORIZED"],
    flag: "verify",
    value: "BOOL",
    default: Some("true"),
    example: "true",
    help: "Whether the server's certificate must be trusted by this machine. With false, anybody on the way can read the token: set PROXMOX_FINGERPRINT instead.",
    group: Group::Tls,
    scope: Scope::Shared,
    ..BASE
};
pub static CA_FILE: Setting = Setting {
    name: "PROXMOX_CA_FILE",
    flag: "ca-file",
    value: "FILE",
    example: "/etc/proxmox-mcp/pve-root-ca.pem",
    help: "Certificate authority to trust instead of this machine's, in PEM (/etc/pve/pve-root-ca.pem of the cluster).",
    group: Group::Tls,
    scope: Scope::Shared,
    ..BASE
};
pub static FINGERPRINT: Setting = Setting {
    name: "PROXMOX_FINGERPRINT",
    flag: "fingerprint",
    value: "SHA256",
    example: "AA:BB:CC:… (32 bytes)",
    help: "SHA-256 fingerprint of the server's certificate: the safe answer to a self-signed one. Several, separated by commas or spaces, where the members of a cluster have their own. Goes before PROXMOX_CA_FILE, and both before PROXMOX_VERIFY.",
    group: Group::Tls,
    scope: Scope::Shared,
    ..BASE
};
pub static REQUIRE_VERIFIED_TLS: Setting = Setting {
    name: "PROXMOX_REQUIRE_VERIFIED_TLS",
    flag: "require-verified-tls",
    value: "BOOL",
    default: Some("false"),
    example: "true",
    help: "Refuses to start where a certificate would not be verified, whatever switched that off.",
    group: Group::Tls,
    scope: Scope::Program,
    ..BASE
};
pub static DEFAULT_NODE: Setting = Setting {
    name: "PROXMOX_DEFAULT_NODE",
    flag: "default-node",
    value: "NODE",
    example: "pve1",
    help: "Node that is meant where a call names none.",
    group: Group::Defaults,
    ..BASE
};
pub static DEFAULT_STORAGE: Setting = Setting {
    name: "PROXMOX_DEFAULT_STORAGE",
    flag: "default-storage",
    value: "STORAGE",
    example: "local-lvm",
    help: "Storage for new disks where a call names none.",
    group: Group::Defaults,
    scope: Scope::Shared,
    ..BASE
};
pub static DEFAULT_BRIDGE: Setting = Setting {
    name: "PROXMOX_DEFAULT_BRIDGE",
    flag: "default-bridge",
    value: "BRIDGE",
    example: "vmbr0",
    help: "Bridge for new network devices where a call names none.",
    group: Group::Defaults,
    scope: Scope::Shared,
    ..BASE
};
pub static CONNECT_TIMEOUT: Setting = Setting {
    name: "PROXMOX_CONNECT_TIMEOUT",
    flag: "connect-timeout",
    value: "SECONDS",
    default: Some("5"),
    example: "5",
    help: "How long one address may take to accept a connection (5, 0.5, 500ms, 1m).",
    group: Group::Timeouts,
    scope: Scope::Shared,
    ..BASE
};
pub static REQUEST_TIMEOUT: Setting = Setting {
    name: "PROXMOX_TIMEOUT",
    aliases: &["PROXMOX_REQUEST_TIMEOUT"],
    flag: "timeout",
    value: "SECONDS",
    default: Some("30"),
    example: "30",
    help: "How long one request may take. Proxmox VE itself gives up after 30 s on what it passes on to another node.",
    group: Group::Timeouts,
    scope: Scope::Shared,
    ..BASE
};
