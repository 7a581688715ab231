//! The nodes that the sandbox begins with.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::sandbox::{config::Config, state::Node};

/// A node of the cluster; `index` from 0.
pub fn node(name: &str, index: usize, now: u64) -> Node {
    let number = index as u32 + 1;
    let address = format!("10.0.0.{}", 10 + number.min(200));
    let fingerprint = Sha256::digest(name).iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":");
    let mut dns = Map::new();
    dns.insert("search".to_owned(), "example.test".into());
    dns.insert("dns1".to_owned(), "10.0.0.1".into());
    Node {
        name: name.to_owned(),
        id: number,
        online: true,
        network: network(&address, number),
        address,
        fingerprint,
        boot: now - 1_900_000 - u64::from(number) * 7_321,
        cpus: 16,
        memory: 64 << 30,
        disk: 94 << 30,
        network_pending: None,
        config: match number {
            1 => Config::new(),
            _ => Config::new().with("wakeonlan", format!("D8:5E:D3:00:{:02X}:{:02X}", number >> 8, number & 0xff)),
        },
        dns,
        timezone: "UTC".to_owned(),
        stopped_services: BTreeSet::new(),
        updates: vec![
            ["libssl3t64", "3.5.1-1+deb13u1", "3.5.4-1~deb13u1", "Secure Sockets Layer toolkit - shared libraries"],
            ["proxmox-kernel-6.17", "6.17.4-2", "6.17.9-1", "Latest Proxmox Kernel Image"],
            ["pve-manager", "9.2.11", "9.2.13", "Proxmox Virtual Environment Management Tools"],
        ],
    }
}

fn network(address: &str, number: u32) -> BTreeMap<String, Map<String, Value>> {
    let interfaces = [
        json!({"iface": "eno1", "type": "eth", "exists": 1, "active": 1, "method": "manual", "method6": "manual",
            "families": ["inet"], "priority": 3}),
        json!({"iface": "eno2", "type": "eth", "exists": 1, "method": "manual", "method6": "manual",
            "families": ["inet"], "priority": 5}),
        json!({"iface": "vmbr0", "type": "bridge", "active": 1, "autostart": 1, "address": address,
            "netmask": "24", "cidr": format!("{address}/24"), "gateway": "10.0.0.1", "bridge_ports": "eno1",
            "bridge_stp": "off", "bridge_fd": "0", "method": "static", "method6": "manual", "families": ["inet"],
            "priority": 4, "comments": "LAN\n"}),
        json!({"iface": "vmbr1", "type": "bridge", "active": 1, "autostart": 1, "address": format!("10.20.0.{}", 10 + number.min(200)),
            "netmask": "24", "cidr": format!("10.20.0.{}/24", 10 + number.min(200)), "bridge_ports": "eno2", "bridge_stp": "off",
            "bridge_fd": "0", "bridge_vlan_aware": 1, "bridge_vids": "2-4094", "method": "static", "method6": "manual",
            "families": ["inet"], "priority": 6, "comments": "storage and VLANs\n"}),
    ];
    let named = interfaces.into_iter().filter_map(|value| match value {
        Value::Object(map) => Some((map.get("iface")?.as_str()?.to_owned(), map)),
        _ => None,
    });
    named.collect()
}
