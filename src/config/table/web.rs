//! The settings of `serve` over HTTP: where it listens, who gets in, how much of it there may be.

use super::{BASE, Group, Scope, Setting};

const WEB: Setting = Setting { group: Group::Web, scope: Scope::Program, ..BASE };

pub static HTTP: Setting = Setting {
    name: "PROXMOX_MCP_HTTP",
    flag: "http",
    value: "ADDRESS",
    example: "127.0.0.1:8812",
    help: "Address on which `serve` serves MCP over HTTP, at /mcp and /proxmox/mcp, and the REST API. Without it, MCP over stdio is served.",
    ..WEB
};
pub static REST: Setting = Setting {
    name: "PROXMOX_MCP_REST",
    flag: "rest",
    value: "ADDRESS",
    example: "127.0.0.1:8811",
    help: "Address of its own for the REST API and its page; it is then not served at the other one.",
    ..WEB
};
pub static STATELESS: Setting = Setting {
    name: "PROXMOX_MCP_STATELESS",
    flag: "stateless",
    value: "BOOL",
    default: Some("false"),
    example: "true",
    help: "Keep no MCP sessions, for several replicas behind a balancer: clients of the older protocol then get no questions and no news.",
    ..WEB
};
pub static API_KEY: Setting = Setting {
    name: "PROXMOX_MCP_API_KEY",
    flag: "api-key-file",
    value: "SECRET",
    example: "at least 16 random characters",
    help: "Key that callers show as bearer token or in X-API-Key. Several, one a line or separated by semicolons, are written NAME:KEY, each followed by what it may do: mode=read-only toolsets=discovery,snapshots tools=… exclude=…. A file of them is read again when it changes.",
    secret: true,
    ..WEB
};
pub static INSECURE_NO_AUTH: Setting = Setting {
    name: "PROXMOX_MCP_INSECURE_NO_AUTH",
    flag: "insecure-no-auth",
    value: "BOOL",
    default: Some("false"),
    example: "false",
    help: "Let everybody in who reaches the port, on addresses of other machines, too. Without it and without a key, only loopback addresses are listened on.",
    ..WEB
};
pub static ALLOWED_HOSTS: Setting = Setting {
    name: "PROXMOX_MCP_ALLOWED_HOSTS",
    flag: "allowed-hosts",
    value: "NAMES",
    example: "mcp.example.com",
    help: "Names under which this server may be reached, separated by commas, beside localhost and addresses in numbers; * for any.",
    ..WEB
};
pub static ALLOWED_ORIGINS: Setting = Setting {
    name: "PROXMOX_MCP_ALLOWED_ORIGINS",
    flag: "allowed-origins",
    value: "ORIGINS",
    example: "https://chat.example.com",
    help: "Web pages of other servers that may call this one from a browser, separated by commas; * for any.",
    ..WEB
};
pub static PUBLIC_URL: Setting = Setting {
    name: "PROXMOX_MCP_PUBLIC_URL",
    flag: "public-url",
    value: "URL",
    example: "https://mcp.example.com",
    help: "Address by which clients know this server, where it stands behind a proxy: in the OpenAPI document and in OAuth metadata. Its name is allowed as a host.",
    ..WEB
};
pub static TLS_CERT: Setting = Setting {
    name: "PROXMOX_MCP_TLS_CERT",
    flag: "tls-cert",
    value: "FILE",
    example: "/etc/proxmox-mcp/cert.pem",
    help: "Certificate to serve HTTPS with, and those that lead to its authority, as PEM; with PROXMOX_MCP_TLS_KEY.",
    ..WEB
};
pub static TLS_KEY: Setting = Setting {
    name: "PROXMOX_MCP_TLS_KEY",
    flag: "tls-key",
    value: "FILE",
    example: "/etc/proxmox-mcp/key.pem",
    help: "The certificate's private key, as PEM.",
    ..WEB
};
pub static MAX_BODY: Setting = Setting {
    name: "PROXMOX_MCP_MAX_BODY",
    flag: "max-body",
    value: "SIZE",
    default: Some("4M"),
    example: "4M",
    help: "The most that one request's body may have; a number alone is KiB.",
    ..WEB
};
pub static MAX_CONNECTIONS: Setting = Setting {
    name: "PROXMOX_MCP_MAX_CONNECTIONS",
    flag: "max-connections",
    value: "NUMBER",
    default: Some("1000"),
    example: "1000",
    help: "How many connections there may be at a time; more wait.",
    ..WEB
};
pub static MAX_CALLS: Setting = Setting {
    name: "PROXMOX_MCP_MAX_CALLS",
    flag: "max-calls",
    value: "NUMBER",
    default: Some("500"),
    example: "500",
    help: "How many requests of one key may be under way at a time, streams included.",
    ..WEB
};
pub static RATE: Setting = Setting {
    name: "PROXMOX_MCP_RATE",
    flag: "rate",
    value: "NUMBER",
    default: Some("6000"),
    example: "600",
    help: "Requests that one key may send in a minute, up to as many at once; 0 for no limit.",
    ..WEB
};
pub static OAUTH_ISSUER: Setting = Setting {
    name: "PROXMOX_MCP_OAUTH_ISSUER",
    flag: "oauth-issuer",
    value: "URL",
    example: "https://login.example.com/realms/home",
    help: "Issuer whose access tokens (JWT) are taken, beside keys. Its keys are found by its metadata.",
    ..WEB
};
pub static OAUTH_AUDIENCE: Setting = Setting {
    name: "PROXMOX_MCP_OAUTH_AUDIENCE",
    flag: "oauth-audience",
    value: "TEXT",
    example: "https://mcp.example.com/mcp",
    help: "Whom those tokens must be for; without it, PROXMOX_MCP_PUBLIC_URL with /mcp.",
    ..WEB
};
pub static OAUTH_SCOPES: Setting = Setting {
    name: "PROXMOX_MCP_OAUTH_SCOPES",
    flag: "oauth-scopes",
    value: "PAIRS",
    default: Some("proxmox:read=read-only,proxmox:write=no-delete,proxmox:admin=full"),
    example: "proxmox:read=read-only,proxmox:admin=full",
    help: "Which scope of such a token allows which mode, separated by commas; the most of what a token has counts, and one with none of them is refused.",
    ..WEB
};
