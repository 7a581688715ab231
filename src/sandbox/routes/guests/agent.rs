//! The guest agent of VMs, as far as a simulated guest has an answer: who it is, its addresses, its file systems.
//! Programs are not run, and files are not kept.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use http::Method;
use serde_json::{Value, json};

use super::has_system;
use crate::sandbox::{
    call::Call,
    config::property,
    guest::{Guest, Kind, is_numbered},
    router::Route,
    wire::{Answered, Refusal},
};

pub const ROUTES: &[Route] = &[
    Route::get("/nodes/{node}/qemu/{vmid}/agent", index),
    Route::slow(Method::POST, "/nodes/{node}/qemu/{vmid}/agent", command),
    Route::slow(Method::GET, "/nodes/{node}/qemu/{vmid}/agent/get-fsinfo", command),
    Route::slow(Method::GET, "/nodes/{node}/qemu/{vmid}/agent/get-host-name", command),
    Route::slow(Method::GET, "/nodes/{node}/qemu/{vmid}/agent/get-osinfo", command),
    Route::slow(Method::GET, "/nodes/{node}/qemu/{vmid}/agent/get-time", command),
    Route::slow(Method::GET, "/nodes/{node}/qemu/{vmid}/agent/get-timezone", command),
    Route::slow(Method::GET, "/nodes/{node}/qemu/{vmid}/agent/get-users", command),
    Route::slow(Method::GET, "/nodes/{node}/qemu/{vmid}/agent/get-vcpus", command),
    Route::slow(Method::GET, "/nodes/{node}/qemu/{vmid}/agent/info", command),
    Route::slow(Method::GET, "/nodes/{node}/qemu/{vmid}/agent/network-get-interfaces", command),
    Route::slow(Method::POST, "/nodes/{node}/qemu/{vmid}/agent/fsfreeze-status", command),
    Route::slow(Method::POST, "/nodes/{node}/qemu/{vmid}/agent/fstrim", command),
    Route::slow(Method::POST, "/nodes/{node}/qemu/{vmid}/agent/ping", command),
    Route::slow(Method::POST, "/nodes/{node}/qemu/{vmid}/agent/shutdown", command),
];

/// How long Proxmox waits for an agent that does not answer.
const PING: Duration = Duration::from_secs(3);

fn index(call: &Call) -> Answered {
    call.sandbox.state().guest(call.node(), Kind::Qemu, call.vmid())?;
    const COMMANDS: [&str; 25] = [
        "exec",
        "exec-status",
        "file-read",
        "file-write",
        "fsfreeze-freeze",
        "fsfreeze-status",
        "fsfreeze-thaw",
        "fstrim",
        "get-fsinfo",
        "get-host-name",
        "get-memory-block-info",
        "get-memory-blocks",
        "get-osinfo",
        "get-time",
        "get-timezone",
        "get-users",
        "get-vcpus",
        "info",
        "network-get-interfaces",
        "ping",
        "set-user-password",
        "shutdown",
        "suspend-disk",
        "suspend-hybrid",
        "suspend-ram",
    ];
    Ok(COMMANDS.map(|name| json!({"name": name})).to_vec().into())
}

fn command(call: Arc<Call>) -> BoxFuture<'static, Answered> {
    Box::pin(async move {
        let name = call.get("command").or_else(|| call.endpoint.path.rsplit('/').next()).unwrap_or_default();
        let (guest, answers) = {
            let state = call.sandbox.state();
            let guest = state.guest(call.node(), Kind::Qemu, call.vmid())?;
            let agent = guest.config.get("agent").unwrap_or_default();
            let enabled = property(agent, "").or_else(|| property(agent, "enabled")) == Some("1");
            if !enabled {
                return Err(Refusal::failed("No QEMU guest agent configured"));
            }
            if !guest.is_running() {
                return Err(Refusal::failed(format!("VM {} is not running", guest.vmid)));
            }
            (guest.clone(), has_system(&state, guest))
        };
        if !answers {
            call.sandbox.clock().sleep(PING).await;
            return Err(Refusal::failed("QEMU guest agent is not running"));
        }
        let result = match name {
            "ping" => json!({}),
            "get-host-name" => json!({"host-name": guest.name()}),
            "get-osinfo" => json!({
                "id": "debian", "name": "Debian GNU/Linux", "pretty-name": "Debian GNU/Linux 12 (bookworm)",
                "version-id": "12", "kernel-release": "6.1.0-25-amd64", "machine": "x86_64",
                "kernel-version": "#1 SMP PREEMPT_DYNAMIC Debian 6.1.106-3 (2024-08-26)",
            }),
            "get-time" => json!(call.now().saturating_mul(1_000_000_000)),
            "get-timezone" => json!({"zone": "UTC", "offset": 0}),
            "get-users" => json!([]),
            "get-vcpus" => (0..guest.maxcpu() as u64)
                .map(|id| json!({"logical-id": id, "online": true, "can-offline": id > 0}))
                .collect(),
            "get-fsinfo" => json!([{
                "name": "sda1", "mountpoint": "/", "type": "ext4", "disk": [],
                "total-bytes": guest.maxdisk(), "used-bytes": guest.maxdisk() / 5,
            }]),
            "network-get-interfaces" => interfaces(&guest, call.now()),
            "info" => info(),
            "fsfreeze-status" => json!("thawed"),
            "fstrim" => json!({"paths": []}),
            "shutdown" => {
                go_down(&call);
                Value::Null
            }
            other => return Err(Refusal::failed(format!("Agent error: The command guest-{other} has not been found"))),
        };
        Ok(json!({ "result": result }).into())
    })
}

fn info() -> Value {
    const COMMANDS: [(&str, bool); 16] = [
        ("guest-get-osinfo", true),
        ("guest-get-timezone", true),
        ("guest-get-users", true),
        ("guest-get-host-name", true),
        ("guest-get-fsinfo", true),
        ("guest-get-vcpus", true),
        ("guest-network-get-interfaces", true),
        ("guest-fstrim", true),
        ("guest-fsfreeze-thaw", true),
        ("guest-fsfreeze-freeze", true),
        ("guest-fsfreeze-status", true),
        ("guest-shutdown", false),
        ("guest-info", true),
        ("guest-get-time", true),
        ("guest-ping", true),
        ("guest-sync", true),
    ];
    let commands =
        COMMANDS.map(|(name, responds)| json!({"name": name, "enabled": true, "success-response": responds}));
    json!({"version": "7.2.11", "supported_commands": commands})
}

/// The guest's interfaces; an address from its cloud-init settings, else one made from its VMID.
fn interfaces(guest: &Guest, now: u64) -> Value {
    let figures = |received: u64, sent: u64| {
        json!({
            "rx-bytes": received, "rx-packets": received / 700, "rx-errs": 0, "rx-dropped": 0,
            "tx-bytes": sent, "tx-packets": sent / 500, "tx-errs": 0, "tx-dropped": 0,
        })
    };
    let address =
        |ip: &str, kind: &str, prefix: u64| json!({"ip-address": ip, "ip-address-type": kind, "prefix": prefix});
    let mut out = vec![json!({
        "name": "lo", "hardware-address": "00:00:00:00:00:00", "statistics": figures(0, 0),
        "ip-addresses": [address("127.0.0.1", "ipv4", 8), address("::1", "ipv6", 128)],
    })];
    let uptime = guest.uptime(now);
    for (key, device) in guest.config.iter().filter(|(key, _)| is_numbered(key, "net")) {
        let number = key.trim_start_matches("net");
        let mac = device.split(',').next().and_then(|model| model.split_once('=')).map_or("", |(_, mac)| mac);
        let given =
            guest.config.get(&format!("ipconfig{number}")).and_then(|text| property(text, "ip")?.split_once('/'));
        let made = format!("192.168.{}.{}", guest.vmid / 200 % 250, guest.vmid % 200 + 20);
        let (ip, prefix) = given.map_or((made.as_str(), 24), |(ip, prefix)| (ip, prefix.parse().unwrap_or(24)));
        out.push(json!({
            "name": format!("eth{number}"), "hardware-address": mac.to_lowercase(),
            "ip-addresses": [address(ip, "ipv4", prefix)],
            "statistics": figures(uptime.saturating_mul(310), uptime.saturating_mul(140)),
        }));
    }
    out.into()
}

/// The system goes down by itself, without a task.
fn go_down(call: &Call) {
    let (sandbox, vmid) = (call.sandbox.clone(), call.vmid());
    tokio::spawn(async move {
        sandbox.clock().sleep(Duration::from_secs(4)).await;
        let now = sandbox.clock().now();
        if let Some(guest) = sandbox.state().guest_mut(vmid) {
            guest.ran = guest.run.take().map(|run| (run.since, now)).or(guest.ran);
        }
    });
}
