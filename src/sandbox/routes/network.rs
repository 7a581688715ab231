//! The network interfaces of a node: changes wait until they are applied.

use std::{collections::BTreeMap, fmt::Write, time::Duration};

use serde_json::{Map, Value};

use crate::sandbox::{
    call::Call,
    router::Route,
    state::Node,
    wire::{Answer, Answered, Refusal},
};

pub const ROUTES: &[Route] = &[
    Route::get("/nodes/{node}/network", list),
    Route::post("/nodes/{node}/network", create),
    Route::put("/nodes/{node}/network", apply),
    Route::delete("/nodes/{node}/network", revert),
    Route::get("/nodes/{node}/network/{iface}", read),
    Route::put("/nodes/{node}/network/{iface}", update),
    Route::delete("/nodes/{node}/network/{iface}", delete),
];

type Interfaces = BTreeMap<String, Map<String, Value>>;

impl Node {
    /// The interfaces with the changes that wait.
    fn interfaces(&self) -> &Interfaces {
        self.network_pending.as_ref().unwrap_or(&self.network)
    }
    fn interfaces_mut(&mut self) -> &mut Interfaces {
        self.network_pending.get_or_insert_with(|| self.network.clone())
    }
}

fn missing() -> Refusal {
    Refusal::param("iface", "interface does not exist")
}

fn with_node<T>(call: &Call, act: impl FnOnce(&mut Node) -> Result<T, Refusal>) -> Result<T, Refusal> {
    let mut state = call.sandbox.state();
    let name = call.node();
    let node = state.nodes.get_mut(name);
    act(node.ok_or_else(|| Refusal::failed(format!("no such cluster node '{name}'")))?)
}

fn list(call: &Call) -> Answered {
    let state = call.sandbox.state();
    let Some(node) = state.nodes.get(call.node()) else { return Err(missing()) };
    let wanted = call.get("type").unwrap_or_default();
    let seen = |iface: &Map<String, Value>| -> bool {
        let kind = iface.get("type").and_then(Value::as_str).unwrap_or_default();
        let name = iface.get("iface").and_then(Value::as_str).unwrap_or_default();
        let bridge = kind == "bridge" || kind == "OVSBridge";
        let fits = match wanted {
            "" | "include_sdn" => true,
            "any_bridge" | "any_local_bridge" => bridge,
            other => kind == other,
        };
        // Bridges are seen by those who may use or look at them; the rest by whoever may look at the node.
        let path = format!("/sdn/zones/localnetwork/{name}");
        fits && match bridge {
            true => {
                state.check_any(&call.who, &path, &["SDN.Audit", "SDN.Use"]).is_ok()
                    || state.may(&call.who, &format!("/nodes/{}", node.name), "Sys.Audit")
            }
            false => state.may(&call.who, &format!("/nodes/{}", node.name), "Sys.Audit"),
        }
    };
    let rows: Vec<Value> =
        node.interfaces().values().filter(|iface| seen(iface)).map(|iface| iface.clone().into()).collect();
    let answer = Answer::from(rows);
    Ok(match &node.network_pending {
        Some(pending) => answer.beside("changes", difference(&node.network, pending)),
        None => answer,
    })
}

/// /etc/network/interfaces, as far as it matters for the difference that is shown.
fn file(interfaces: &Interfaces) -> Vec<String> {
    let mut lines = vec!["auto lo".to_owned(), "iface lo inet loopback".to_owned(), String::new()];
    for (name, settings) in interfaces {
        let text = |key: &str| settings.get(key).and_then(Value::as_str);
        if settings.get("autostart") == Some(&1.into()) {
            lines.push(format!("auto {name}"));
        }
        lines.push(format!("iface {name} inet {}", text("method").unwrap_or("manual")));
        for (key, word) in [
            ("cidr", "address"),
            ("gateway", "gateway"),
            ("bridge_ports", "bridge-ports"),
            ("bridge_stp", "bridge-stp"),
            ("bridge_fd", "bridge-fd"),
        ] {
            if let Some(value) = text(key) {
                lines.push(format!("\t{word} {value}"));
            }
        }
        lines.extend(text("comments").into_iter().flat_map(str::lines).map(|line| format!("#{line}")));
        lines.push(String::new());
    }
    lines
}

fn difference(old: &Interfaces, new: &Interfaces) -> String {
    let (old, new) = (file(old), file(new));
    let start = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let end = old[start..].iter().rev().zip(new[start..].iter().rev()).take_while(|(a, b)| a == b).count();
    let (gone, come) = (&old[start..old.len() - end], &new[start..new.len() - end]);
    let mut out = "--- /etc/network/interfaces\n+++ /etc/network/interfaces.new\n".to_owned();
    let _ = writeln!(out, "@@ -{},{} +{},{} @@", start + 1, gone.len(), start + 1, come.len());
    for line in gone {
        let _ = writeln!(out, "-{line}");
    }
    for line in come {
        let _ = writeln!(out, "+{line}");
    }
    out
}

/// The settings that the parameters ask for: address and netmask as PVE completes them, flags as numbers.
fn settings(call: &Call) -> Map<String, Value> {
    let mut out = Map::new();
    for (key, value) in call.params.iter().filter(|(key, _)| !["node", "delete"].contains(key)) {
        let flag = matches!(key, "autostart" | "bridge_vlan_aware");
        out.insert(key.to_owned(), if flag { u8::from(value != "0").into() } else { value.into() });
    }
    let text = |out: &Map<String, Value>, key: &str| out.get(key).and_then(Value::as_str).map(str::to_owned);
    if let Some(cidr) = text(&out, "cidr") {
        if let Some((address, bits)) = cidr.split_once('/') {
            out.insert("address".to_owned(), address.into());
            out.insert("netmask".to_owned(), bits.into());
        }
    } else if let (Some(address), Some(mask)) = (text(&out, "address"), text(&out, "netmask")) {
        let bits = match mask.parse::<std::net::Ipv4Addr>() {
            Ok(mask) => u32::from(mask).count_ones().to_string(),
            Err(_) => mask,
        };
        out.insert("cidr".to_owned(), format!("{address}/{bits}").into());
        out.insert("netmask".to_owned(), bits.into());
    }
    let method = if out.contains_key("cidr") { "static" } else { "manual" };
    out.insert("method".to_owned(), method.into());
    out.insert("method6".to_owned(), if out.contains_key("cidr6") { "static" } else { "manual" }.into());
    out.insert("families".to_owned(), vec!["inet"].into());
    if out.get("type") == Some(&"bridge".into()) {
        for (key, default) in [("bridge_stp", "off"), ("bridge_fd", "0"), ("bridge_ports", "")] {
            out.entry(key).or_insert_with(|| default.into());
        }
    }
    out
}

fn create(call: &Call) -> Answered {
    let name = call.text("iface").to_owned();
    let mut settings = settings(call);
    with_node(call, |node| {
        let interfaces = node.interfaces();
        if interfaces.contains_key(&name) {
            return Err(Refusal::param("iface", "interface already exists"));
        }
        let gateway = |map: &Map<String, Value>| map.contains_key("gateway");
        if gateway(&settings)
            && let Some((other, _)) = interfaces.iter().find(|(_, map)| gateway(map))
        {
            return Err(Refusal::param("gateway", format!("Default gateway already exists on interface '{other}'.")));
        }
        settings.insert("priority".to_owned(), (interfaces.len() + 3).into());
        node.interfaces_mut().insert(name, settings);
        Ok(Answer::null())
    })
}

fn read(call: &Call) -> Answered {
    with_node(call, |node| {
        let mut found = node.interfaces().get(call.text("iface")).ok_or_else(missing)?.clone();
        found.shift_remove("iface");
        Ok(Value::from(found).into())
    })
}

/// What is not sent is lost, the address among it.
fn update(call: &Call) -> Answered {
    let name = call.text("iface").to_owned();
    let mut new = settings(call);
    with_node(call, |node| {
        let old = node.interfaces().get(&name).ok_or_else(missing)?;
        for key in ["active", "exists", "priority"] {
            if let Some(value) = old.get(key) {
                new.insert(key.to_owned(), value.clone());
            }
        }
        node.interfaces_mut().insert(name, new);
        Ok(Answer::null())
    })
}

fn delete(call: &Call) -> Answered {
    with_node(call, |node| {
        let name = call.text("iface");
        if !node.interfaces().contains_key(name) {
            return Err(missing());
        }
        node.interfaces_mut().remove(name);
        Ok(Answer::null())
    })
}

fn revert(call: &Call) -> Answered {
    with_node(call, |node| {
        node.network_pending = None;
        Ok(Answer::null())
    })
}

fn apply(call: &Call) -> Answered {
    let name = call.node().to_owned();
    call.fork(call.node(), "srvreload", "networking", move |worker| async move {
        worker.work(Duration::from_secs(2)).await;
        if let Some(node) = worker.sandbox.state().nodes.get_mut(&name)
            && let Some(mut pending) = node.network_pending.take()
        {
            for settings in pending.values_mut().filter(|s| s.get("autostart") == Some(&1.into())) {
                settings.insert("active".to_owned(), 1.into());
            }
            node.network = pending;
        }
        Ok(())
    })
}
