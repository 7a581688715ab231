//! Nodes: the list, status, time, name servers, settings, statistics, services.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{
    guests::figures::{frame, rhythm},
    rows::wobble,
};
use crate::sandbox::{
    call::Call,
    config::digest,
    router::Route,
    state::{Node, State},
    wire::{Answer, Answered, Refusal},
};

pub const ROUTES: &[Route] = &[
    Route::get("/nodes", list),
    Route::get("/nodes/{node}/status", status),
    Route::get("/nodes/{node}/time", time),
    Route::put("/nodes/{node}/time", set_timezone),
    Route::get("/nodes/{node}/dns", dns),
    Route::put("/nodes/{node}/dns", set_dns),
    Route::get("/nodes/{node}/hosts", hosts),
    Route::get("/nodes/{node}/config", config),
    Route::put("/nodes/{node}/config", set_config),
    Route::get("/nodes/{node}/rrddata", rrddata),
    Route::get("/nodes/{node}/netstat", netstat),
    Route::get("/nodes/{node}/subscription", subscription),
    Route::get("/nodes/{node}/services", services),
    Route::get("/nodes/{node}/services/{service}", service_index),
    Route::get("/nodes/{node}/services/{service}/state", service_state),
    Route::post("/nodes/{node}/services/{service}/start", |call| service_command(call, "start")),
    Route::post("/nodes/{node}/services/{service}/stop", |call| service_command(call, "stop")),
    Route::post("/nodes/{node}/services/{service}/restart", |call| service_command(call, "restart")),
    Route::post("/nodes/{node}/services/{service}/reload", |call| service_command(call, "reload")),
];

fn list(call: &Call) -> Answered {
    let state = call.sandbox.state();
    let loads = call.sandbox.resources().loads(&state);
    let rows = state.nodes.values().map(|node| {
        let name = &node.name;
        let mut row = json!({"id": format!("node/{name}"), "node": name, "type": "node"});
        if state.may(&call.who, &format!("/nodes/{name}"), "Sys.Audit") {
            row["ssl_fingerprint"] = node.fingerprint.as_str().into();
            if let Some(load) = loads.get(name).filter(|_| node.online) {
                row["cpu"] = load.cpu.into();
                row["maxcpu"] = node.cpus.into();
                row["mem"] = load.memory.into();
                row["maxmem"] = node.memory.into();
                row["disk"] = load.disk.into();
                row["maxdisk"] = node.disk.into();
                row["uptime"] = call.now().saturating_sub(node.boot).into();
            }
        }
        row["status"] = if node.online { "online" } else { "offline" }.into();
        if node.online {
            row["level"] = "".into();
        }
        row
    });
    Ok(rows.collect::<Vec<_>>().into())
}

/// The node of the path, which is there: the router has looked.
fn node<'a>(call: &Call, state: &'a mut State) -> Result<&'a mut Node, Refusal> {
    let name = call.node();
    state.nodes.get_mut(name).ok_or_else(|| Refusal::failed(format!("no such cluster node '{name}'")))
}

fn status(call: &Call) -> Answered {
    let mut state = call.sandbox.state();
    let node = node(call, &mut state)?.clone();
    let load = call.sandbox.resources().loads(&state).get(&node.name).copied().unwrap_or_default();
    let average = |share: f64| format!("{:.2}", load.cpu * f64::from(node.cpus) * share);
    let kernel = "6.17.4-2-pve";
    let version = "#1 SMP PREEMPT_DYNAMIC PMX 6.17.4-2";
    let used = load.disk;
    Ok(json!({
        "uptime": call.now().saturating_sub(node.boot),
        "cpu": load.cpu,
        "wait": 0.0021,
        "idle": 0,
        "loadavg": [average(1.0), average(0.9), average(0.8)],
        "cpuinfo": {"cpus": node.cpus, "cores": node.cpus / 2, "sockets": 1, "model": "AMD EPYC 7313P 16-Core Processor",
            "mhz": "2994.372", "hvm": "1", "user_hz": 100, "vendor": "AuthenticAMD", "family": "25",
            "flags": "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr sse sse2 ht \
                      syscall nx svm aes avx avx2 sha_ni"},
        "memory": {"total": node.memory, "used": load.memory, "free": node.memory - load.memory,
            "available": node.memory - load.memory},
        "swap": {"total": 8u64 << 30, "used": 0, "free": 8u64 << 30},
        "rootfs": {"total": node.disk, "used": used, "free": node.disk - used, "avail": node.disk - used},
        "ksm": {"shared": 0},
        "pveversion": "pve-manager/9.2.11/14a22df35955d97d",
        "kversion": format!("Linux {kernel} {version}"),
        "current-kernel": {"sysname": "Linux", "release": kernel, "version": version, "machine": "x86_64"},
        "boot-info": {"mode": "efi", "secureboot": 0},
    })
    .into())
}

fn time(call: &Call) -> Answered {
    let mut state = call.sandbox.state();
    let node = node(call, &mut state)?;
    // The simulated nodes live in UTC whatever their time zone is called.
    Ok(json!({"timezone": node.timezone, "time": call.now(), "localtime": call.now()}).into())
}

fn set_timezone(call: &Call) -> Answered {
    let mut state = call.sandbox.state();
    node(call, &mut state)?.timezone = call.text("timezone").to_owned();
    Ok(Answer::null())
}

fn dns(call: &Call) -> Answered {
    let mut state = call.sandbox.state();
    Ok(Value::from(node(call, &mut state)?.dns.clone()).into())
}

fn set_dns(call: &Call) -> Answered {
    let mut state = call.sandbox.state();
    let given = ["search", "dns1", "dns2", "dns3"].into_iter().filter_map(|key| Some((key, call.get(key)?)));
    node(call, &mut state)?.dns = given.map(|(key, value)| (key.to_owned(), value.into())).collect();
    Ok(Answer::null())
}

fn hosts(call: &Call) -> Answered {
    let state = call.sandbox.state();
    let lines = state.nodes.values().map(|node| format!("{} {}.example.test {}\n", node.address, node.name, node.name));
    let text = format!("127.0.0.1 localhost.localdomain localhost\n{}", lines.collect::<String>());
    Ok(json!({"digest": digest(&text), "data": text}).into())
}

fn config(call: &Call) -> Answered {
    let mut state = call.sandbox.state();
    let config = &node(call, &mut state)?.config;
    let mut out: Map<String, Value> = config.iter().map(|(key, value)| (key.to_owned(), value.into())).collect();
    if !out.is_empty() {
        let mut file = String::new();
        config.write(&mut file);
        out.insert("digest".to_owned(), digest(&file).into());
    }
    if let Some(only) = call.get("property") {
        out.retain(|key, _| key == only);
    }
    Ok(Value::from(out).into())
}

fn set_config(call: &Call) -> Answered {
    let mut state = call.sandbox.state();
    let config = &mut node(call, &mut state)?.config;
    let mut file = String::new();
    config.write(&mut file);
    if call.get("digest").is_some_and(|given| given != digest(&file)) {
        let text = "detected modified configuration - file changed by other user? Try again.";
        return Err(Refusal::failed(text));
    }
    for key in call.list("delete") {
        config.remove(key);
    }
    for (key, value) in call.params.iter().filter(|(key, _)| !["node", "delete", "digest"].contains(key)) {
        config.set(key, value);
    }
    Ok(Answer::null())
}

fn rrddata(call: &Call) -> Answered {
    let mut state = call.sandbox.state();
    let node = node(call, &mut state)?.clone();
    let load = call.sandbox.resources().loads(&state).get(&node.name).copied().unwrap_or_default();
    let (step, count) = frame(call.text("timeframe"));
    let peak = if call.get("cf") == Some("MAX") && step > 60 { 1.3 } else { 1.0 };
    let last = call.now() / step * step;
    let points = (0..count).rev().map(|back| {
        let time = last - back * step;
        if !is_recorded(&node, time) {
            return json!({"time": time});
        }
        let sway = (0.8 + 0.4 * wobble(u64::from(node.id), time)) * rhythm(time) / 0.65 * peak;
        json!({"time": time, "maxcpu": node.cpus, "cpu": (load.cpu * sway).min(1.0), "iowait": 0.002 * sway,
            "loadavg": load.cpu * sway * f64::from(node.cpus), "memtotal": node.memory,
            "memused": load.memory as f64 * (0.9 + sway / 10.0), "memavailable": node.memory - load.memory,
            "swaptotal": 8u64 << 30, "swapused": 0, "roottotal": node.disk, "rootused": load.disk, "arcsize": 0,
            "netin": 250_000.0 * sway, "netout": 180_000.0 * sway, "pressurecpusome": sway, "pressureiofull": 0,
            "pressureiosome": 0.1 * sway, "pressurememoryfull": 0, "pressurememorysome": 0})
    });
    Ok(points.collect::<Vec<_>>().into())
}

/// Whether the node's statistics daemon was at work: since long before the last boot, which took ten minutes.
pub fn is_recorded(node: &Node, time: u64) -> bool {
    /// How long before the last boot figures go back.
    const RECORDS: u64 = 420 * 86_400;
    time >= node.boot || (node.boot.saturating_sub(RECORDS)..node.boot - 600).contains(&time)
}

fn netstat(call: &Call) -> Answered {
    let state = call.sandbox.state();
    let mut rows = Vec::new();
    for guest in state.guests().values().filter(|guest| guest.node == call.node() && guest.is_running()) {
        let bytes = guest.uptime(call.now()) * 1_024;
        let devices = guest.config.keys().filter(|key| crate::sandbox::guest::is_numbered(key, "net"));
        rows.extend(devices.map(|dev| {
            json!({"vmid": guest.vmid.to_string(), "dev": dev, "in": (bytes * 2).to_string(), "out": bytes.to_string()})
        }));
    }
    Ok(rows.into())
}

fn subscription(_: &Call) -> Answered {
    Ok(json!({"status": "notfound", "message": "There is no subscription key", "serverid": "0".repeat(32),
        "url": "https://www.proxmox.com/en/proxmox-virtual-environment/pricing"})
    .into())
}

/// Name and description of the services that the schema knows.
const SERVICES: &[(&str, &str)] = &[
    ("chrony", "chrony, an NTP client/server"),
    ("corosync", "Corosync Cluster Engine"),
    ("cron", "Regular background program processing daemon"),
    ("ksmtuned", "Kernel Samepage Merging (KSM) Tuning Daemon"),
    ("lxcfs", "FUSE filesystem for LXC"),
    ("postfix", "Postfix Mail Transport Agent"),
    ("proxmox-firewall", "Proxmox nftables firewall"),
    ("pve-cluster", "The Proxmox VE cluster filesystem"),
    ("pve-firewall", "Proxmox VE firewall"),
    ("pve-ha-crm", "PVE Cluster HA Resource Manager Daemon"),
    ("pve-ha-lrm", "PVE Local HA Resource Manager Daemon"),
    ("pve-lxc-syscalld", "Proxmox VE LXC Syscall Daemon"),
    ("pvedaemon", "PVE API Daemon"),
    ("pvefw-logger", "Proxmox VE firewall logger"),
    ("pveproxy", "PVE API Proxy Server"),
    ("pvescheduler", "Proxmox VE scheduler"),
    ("pvestatd", "PVE Status Daemon"),
    ("qmeventd", "PVE Qemu Event Daemon"),
    ("spiceproxy", "PVE SPICE Proxy Server"),
    ("sshd", "OpenBSD Secure Shell server"),
    ("syslog", "syslog.service"),
    ("systemd-journald", "Journal Service"),
    ("systemd-timesyncd", "systemd-timesyncd.service"),
];

fn service(node: &Node, name: &str, description: &str) -> Value {
    let installed = !matches!(name, "syslog" | "systemd-timesyncd");
    let running = installed && !node.stopped_services.contains(name);
    json!({"service": name, "name": name, "desc": description, "state": if running { "running" } else { "dead" },
        "active-state": if running { "active" } else { "inactive" },
        "unit-state": if installed { "enabled" } else { "not-found" }})
}

fn services(call: &Call) -> Answered {
    let mut state = call.sandbox.state();
    let node = node(call, &mut state)?;
    Ok(SERVICES.iter().map(|(name, text)| service(node, name, text)).collect::<Vec<_>>().into())
}

fn service_index(_: &Call) -> Answered {
    let names = ["state", "start", "stop", "restart", "reload"];
    Ok(names.iter().map(|name| json!({"subdir": name})).collect::<Vec<_>>().into())
}

fn service_state(call: &Call) -> Answered {
    let mut state = call.sandbox.state();
    let name = call.text("service");
    let known = SERVICES.iter().find(|(known, _)| *known == name);
    let node = node(call, &mut state)?;
    Ok(service(node, name, known.map_or("", |(_, text)| text)).into())
}

fn service_command(call: &Call, command: &'static str) -> Answered {
    let name = call.text("service").to_owned();
    let node = call.node().to_owned();
    if command == "stop" && matches!(name.as_str(), "pve-cluster" | "pvedaemon" | "pveproxy") {
        return Err(Refusal::failed(format!("invalid service cmd '{name} stop': refusing to stop essential service!")));
    }
    call.fork(call.node(), &format!("srv{command}"), name.clone(), move |worker| async move {
        worker.work(Duration::from_millis(800)).await;
        if let Some(node) = worker.sandbox.state().nodes.get_mut(&node) {
            match command {
                "stop" => drop(node.stopped_services.insert(name)),
                "start" | "restart" => drop(node.stopped_services.remove(&name)),
                _ => {}
            }
        }
        Ok(())
    })
}
