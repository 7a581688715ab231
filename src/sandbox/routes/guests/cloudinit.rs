//! Cloud-init of VMs: what differs from the drive, the drive's regeneration, and its files as PVE writes them.

use std::{fmt::Write, sync::Arc};

use futures::future::BoxFuture;
use http::Method;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use crate::sandbox::{
    call::Call,
    config::{Config, property},
    guest::{Kind, is_numbered},
    router::Route,
    wire::{Answer, Answered, Refusal},
};

pub const ROUTES: &[Route] = &[
    Route::get("/nodes/{node}/qemu/{vmid}/cloudinit", pending),
    Route::slow(Method::PUT, "/nodes/{node}/qemu/{vmid}/cloudinit", regenerate),
    Route::get("/nodes/{node}/qemu/{vmid}/cloudinit/dump", dump),
];

/// The options that the cloud-init drive is made from.
const OPTIONS: [&str; 8] =
    ["cicustom", "cipassword", "citype", "ciuser", "nameserver", "searchdomain", "sshkeys", "name"];

fn pending(call: &Call) -> Answered {
    let state = call.sandbox.state();
    let guest = state.guest(call.node(), Kind::Qemu, call.vmid())?;
    let rows = guest.config.iter().filter(|(key, _)| OPTIONS.contains(key) && *key != "name").map(|(key, value)| {
        let value = if key == "cipassword" { "**********" } else { value };
        json!({"key": key, "value": value})
    });
    Ok(rows.collect::<Vec<Value>>().into())
}

fn regenerate(call: Arc<Call>) -> BoxFuture<'static, Answered> {
    Box::pin(async move {
        let _lock = call.lock(Kind::Qemu, call.vmid()).await?;
        let state = call.sandbox.state();
        let guest = state.guest(call.node(), Kind::Qemu, call.vmid())?;
        guest.check_lock().map_err(Refusal::failed)?;
        Ok(Answer::null())
    })
}

fn dump(call: &Call) -> Answered {
    let state = call.sandbox.state();
    let guest = state.guest(call.node(), Kind::Qemu, call.vmid())?;
    let text = match call.text("type") {
        "user" => user(&guest.config, guest.vmid),
        "network" => network(&guest.config),
        _ => format!("instance-id: {}\n", crate::sandbox::config::digest(&user(&guest.config, guest.vmid))),
    };
    Ok(Answer::from(text))
}

fn user(config: &Config, vmid: u32) -> String {
    let hostname = config.get("name").map_or_else(|| format!("VM{vmid}"), str::to_owned);
    let mut out = format!("#cloud-config\nhostname: {hostname}\nmanage_etc_hosts: true\n");
    match config.get("searchdomain") {
        Some(domain) => {
            let _ = writeln!(out, "fqdn: {hostname}.{domain}");
        }
        None => {
            let _ = writeln!(out, "fqdn: {hostname}");
        }
    }
    if let Some(user) = config.get("ciuser") {
        let _ = writeln!(out, "user: {user}");
    }
    if let Some(password) = config.get("cipassword") {
        let _ = writeln!(out, "password: {password}");
    }
    if let Some(keys) = config.get("sshkeys") {
        out.push_str("ssh_authorized_keys:\n");
        for key in percent_decode_str(keys).decode_utf8_lossy().lines() {
            let _ = writeln!(out, "  - {key}");
        }
    }
    out.push_str("chpasswd:\n  expire: False\nusers:\n  - default\n");
    if config.get("ciupgrade") != Some("0") {
        out.push_str("package_upgrade: true\n");
    }
    out
}

fn network(config: &Config) -> String {
    let mut out = "version: 1\nconfig:\n".to_owned();
    let mut devices: Vec<_> = config.iter().filter(|(key, _)| is_numbered(key, "net")).collect();
    devices.sort_unstable();
    for (key, device) in devices {
        let number = key.trim_start_matches("net");
        let mac = device.split(',').next().and_then(|model| model.split_once('=')).map_or("", |(_, mac)| mac);
        let _ = write!(
            out,
            "    - type: physical\n      name: eth{number}\n      mac_address: '{}'\n      subnets:\n",
            mac.to_lowercase()
        );
        let ipconfig = config.get(&format!("ipconfig{number}")).unwrap_or_default();
        for (ip, gateway, automatic) in [("ip", "gw", "dhcp4"), ("ip6", "gw6", "ipv6_slaac")] {
            match property(ipconfig, ip) {
                Some("dhcp") => {
                    let _ = writeln!(out, "      - type: {}", if ip == "ip" { "dhcp4" } else { "dhcp6" });
                }
                Some("auto") => {
                    let _ = writeln!(out, "      - type: {automatic}");
                }
                Some(address) => {
                    let kind = if ip == "ip" { "static" } else { "static6" };
                    let _ = writeln!(out, "      - type: {kind}\n        address: '{address}'");
                    if let Some(gateway) = property(ipconfig, gateway) {
                        let _ = writeln!(out, "        gateway: '{gateway}'");
                    }
                }
                None => {}
            }
        }
    }
    let list =
        |key: &str| config.get(key).unwrap_or_default().split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let (servers, domains) = (list("nameserver"), list("searchdomain"));
    if !servers.is_empty() || !domains.is_empty() {
        out.push_str("    - type: nameserver\n");
        for (title, items) in [("address", servers), ("search", domains)] {
            if !items.is_empty() {
                let _ = writeln!(out, "      {title}:");
                for item in items {
                    let _ = writeln!(out, "      - '{item}'");
                }
            }
        }
    }
    out
}
