//! The guest agent of VMs: who the guest is, its addresses, its file systems; programs and files are in `work`.

mod network;
mod work;

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use http::Method;
use serde_json::{Value, json};

use super::has_system;
use crate::sandbox::{
    call::Call,
    config::property,
    guest::{Guest, Kind},
    inside::{Machine, System},
    router::Route,
    wire::{Answered, Refusal},
};

pub(super) use network::{dynamic, link_local};

pub const ROUTES: &[Route] = &[
    Route::get("/nodes/{node}/qemu/{vmid}/agent", index),
    Route::slow(Method::POST, "/nodes/{node}/qemu/{vmid}/agent", command),
    Route::slow(Method::POST, "/nodes/{node}/qemu/{vmid}/agent/exec", work::exec),
    Route::slow(Method::GET, "/nodes/{node}/qemu/{vmid}/agent/exec-status", work::exec_status),
    Route::slow(Method::GET, "/nodes/{node}/qemu/{vmid}/agent/file-read", work::file_read),
    Route::slow(Method::POST, "/nodes/{node}/qemu/{vmid}/agent/file-write", work::file_write),
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
    Route::slow(Method::POST, "/nodes/{node}/qemu/{vmid}/agent/set-user-password", work::set_user_password),
    Route::slow(Method::POST, "/nodes/{node}/qemu/{vmid}/agent/shutdown", command),
];

/// How long Proxmox waits for an agent that does not answer.
const PING: Duration = Duration::from_secs(3);
/// How many seconds after its start a system has its agent running.
const BOOTED: u64 = 5;

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

/// The VM, as soon as its agent answers.
///
/// # Errors
/// Proxmox's, after three seconds where the agent does not answer.
async fn reach(call: &Call) -> Result<Guest, Refusal> {
    let (guest, answers) = {
        let state = call.sandbox.state();
        let guest = state.guest(call.node(), Kind::Qemu, call.vmid())?;
        let agent = guest.config.get("agent").unwrap_or_default();
        let enabled = property(agent, "").or_else(|| property(agent, "enabled")) == Some("1");
        if !enabled {
            return Err(Refusal::failed("No QEMU guest agent configured"));
        }
        let Some(run) = &guest.run else {
            return Err(Refusal::failed(format!("VM {} is not running", guest.vmid)));
        };
        let booted = call.now() >= run.since + BOOTED && !run.paused;
        (guest.clone(), booted && has_system(&state, guest))
    };
    if !answers {
        call.sandbox.clock().sleep(PING).await;
        return Err(Refusal::failed("QEMU guest agent is not running"));
    }
    Ok(guest)
}

fn command(call: Arc<Call>) -> BoxFuture<'static, Answered> {
    Box::pin(async move {
        let name = call.get("command").or_else(|| call.endpoint.path.rsplit('/').next()).unwrap_or_default();
        let guest = reach(&call).await?;
        let machine = Machine::of(&guest, call.now());
        let result = match name {
            "ping" => json!({}),
            "get-host-name" => json!({"host-name": machine.host}),
            "get-osinfo" => osinfo(&machine),
            "get-time" => json!(call.now().saturating_mul(1_000_000_000)),
            "get-timezone" => json!({"zone": "UTC", "offset": 0}),
            "get-users" => json!([]),
            "get-vcpus" => (0..guest.maxcpu() as u64)
                .map(|id| json!({"logical-id": id, "online": true, "can-offline": id > 0}))
                .collect(),
            "get-fsinfo" => fsinfo(&machine),
            "network-get-interfaces" => network::interfaces(&guest, call.now()),
            "info" => info(),
            "fsfreeze-status" => json!("thawed"),
            "fstrim" => fstrim(&machine),
            "shutdown" => {
                go_down(&call);
                Value::Null
            }
            other => return Err(Refusal::failed(format!("Agent error: The command guest-{other} has not been found"))),
        };
        Ok(json!({ "result": result }).into())
    })
}

fn osinfo(machine: &Machine) -> Value {
    let system = machine.system;
    let [id, name, version, pretty] = system.release();
    let mut info = json!({
        "id": id, "name": name, "pretty-name": pretty, "version-id": version, "kernel-release": system.kernel(),
        "kernel-version": system.kernel_version(), "machine": "x86_64",
    });
    if system == System::Windows {
        info["variant"] = "client".into();
        info["variant-id"] = "client".into();
        info["version"] = "Microsoft Windows 11".into();
    }
    info
}

fn fsinfo(machine: &Machine) -> Value {
    let (name, mountpoint, kind) = match machine.system {
        System::Tiny => return json!([]),
        System::Windows => ("\\\\?\\Volume{5b1c2f0a-0000-0000-0000-100000000000}\\", "C:\\", "NTFS"),
        _ => ("sda1", "/", "ext4"),
    };
    json!([{
        "name": name, "mountpoint": mountpoint, "type": kind, "disk": [],
        "total-bytes": machine.disk, "used-bytes": machine.disk / 5,
    }])
}

fn fstrim(machine: &Machine) -> Value {
    let path = match machine.system {
        System::Tiny => return json!({"paths": []}),
        System::Windows => "C:\\",
        _ => "/",
    };
    json!({"paths": [{"path": path, "trimmed": machine.disk / 50, "minimum": 0}]})
}

fn info() -> Value {
    const COMMANDS: [(&str, bool); 24] = [
        ("guest-exec", true),
        ("guest-exec-status", true),
        ("guest-file-close", true),
        ("guest-file-flush", true),
        ("guest-file-open", true),
        ("guest-file-read", true),
        ("guest-file-write", true),
        ("guest-set-user-password", true),
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
