//! The index of each folder of the API: the names below it.

use serde_json::{Value, json};

use crate::sandbox::{call::Call, router::Route, wire::Answered};

pub const ROUTES: &[Route] = &[
    Route::get("/access", |_| list("subdir", ACCESS)),
    Route::get("/access/openid", |_| list("subdir", &["auth-url", "login"])),
    Route::get("/cluster", |_| list("name", CLUSTER)),
    Route::get("/cluster/ha", |_| list("id", &["status", "resources", "groups", "rules"])),
    Route::get("/cluster/ha/status", |_| list("name", &["current", "manager_status"])),
    Route::get("/cluster/acme", |_| {
        list("name", &["plugins", "account", "tos", "meta", "directories", "challenge-schema"])
    }),
    Route::get("/cluster/jobs", |_| list("subdir", &["realm-sync", "schedule-analyze"])),
    Route::get("/cluster/mapping", |_| list("name", &["dir", "pci", "usb"])),
    Route::get("/cluster/metrics", |_| list("name", &["server", "export"])),
    Route::get("/cluster/notifications", |_| {
        list("name", &["endpoints", "matcher-fields", "matcher-field-values", "matchers", "targets"])
    }),
    Route::get("/cluster/notifications/endpoints", |_| list("name", &["gotify", "sendmail", "smtp", "webhook"])),
    Route::get("/nodes/{node}", node),
    Route::get("/nodes/{node}/capabilities", |_| list("name", &["qemu"])),
    Route::get("/nodes/{node}/capabilities/qemu", |_| list("name", &["cpu", "cpu-flags", "machines", "migration"])),
    Route::get("/nodes/{node}/disks", |_| {
        list("name", &["initgpt", "list", "smart", "lvm", "lvmthin", "directory", "wipedisk", "zfs"])
    }),
    Route::get("/nodes/{node}/hardware", |_| list("type", &["pci", "usb"])),
];

const ACCESS: &[&str] = &["users", "groups", "roles", "acl", "domains", "openid", "tfa", "ticket", "password"];
const CLUSTER: &[&str] = &[
    "acme",
    "backup",
    "backup-info",
    "bulk-action",
    "ceph",
    "config",
    "firewall",
    "ha",
    "jobs",
    "log",
    "mapping",
    "metrics",
    "notifications",
    "nextid",
    "options",
    "qemu",
    "replication",
    "resources",
    "status",
    "tasks",
    "sdn",
];
const NODE: &[&str] = &[
    "aplinfo",
    "apt",
    "capabilities",
    "ceph",
    "certificates",
    "config",
    "disks",
    "dns",
    "firewall",
    "hardware",
    "hosts",
    "journal",
    "lxc",
    "migrateall",
    "netstat",
    "network",
    "qemu",
    "query-oci-repo-tags",
    "query-url-metadata",
    "replication",
    "report",
    "rrd",
    "rrddata",
    "scan",
    "sdn",
    "services",
    "spiceshell",
    "startall",
    "status",
    "stopall",
    "storage",
    "subscription",
    "suspendall",
    "syslog",
    "tasks",
    "termproxy",
    "time",
    "version",
    "vncshell",
    "vncwebsocket",
    "vzdump",
    "wakeonlan",
];

fn list(key: &str, names: &[&str]) -> Answered {
    Ok(names.iter().map(|name| json!({key: name})).collect::<Vec<Value>>().into())
}

fn node(_: &Call) -> Answered {
    list("name", NODE)
}
