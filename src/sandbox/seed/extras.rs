//! Firewall, high availability and software-defined network of the cluster that the sandbox begins with: a little of each,
//! and nothing that filters, moves or starts a guest.

use std::collections::BTreeMap;

use serde_json::json;

use crate::sandbox::{
    firewall::{Firewall, Member, Rule},
    guest::Kind,
    ha::{Options, sid},
    sdn::Item,
    state::State,
};

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// For a cluster that has its dozen of guests.
pub fn furnish(state: &mut State, nodes: &[String]) {
    firewalls(state);
    network(state);
    let Some(mail) = state.guests().get(&103).filter(|_| nodes.len() > 2) else { return };
    let name = sid(mail.kind, mail.vmid);
    let comment = "suspended until the storage is moved";
    let resource: Options = map(&[("comment", comment), ("max_restart", "2"), ("state", "ignored")]);
    let prefers = format!("{}:2,{}:1", nodes[2], nodes[1]);
    let rule = map(&[("type", "node-affinity"), ("nodes", &prefers), ("resources", &name), ("strict", "0")]);
    state.ha.resources.insert(name, resource);
    state.ha.rules.insert("mail-at-home".to_owned(), rule);
}

fn firewalls(state: &mut State) {
    let rule = |pairs: &[(&str, &str)]| -> Rule { map(pairs) };
    let open =
        |port: &str| rule(&[("type", "in"), ("action", "ACCEPT"), ("proto", "tcp"), ("dport", port), ("enable", "1")]);
    let mut cluster = Firewall::default();
    let admins = Member { cidr: "10.0.0.0/24".to_owned(), nomatch: false, comment: Some("the LAN".to_owned()) };
    cluster.sets.insert("admins".to_owned(), (Some("Who may log in".to_owned()), vec![admins]));
    cluster.groups.insert("webserver".to_owned(), (Some("Web servers".to_owned()), vec![open("80"), open("443")]));
    state.firewalls.insert("cluster".to_owned(), cluster);
    if state.guests().get(&101).is_some_and(|guest| guest.kind == Kind::Qemu) {
        let ssh = rule(&[
            ("type", "in"),
            ("action", "ACCEPT"),
            ("macro", "SSH"),
            ("source", "+dc/admins"),
            ("enable", "1"),
            ("comment", "administration"),
        ]);
        let web = rule(&[("type", "group"), ("action", "webserver"), ("enable", "1")]);
        let guest = Firewall {
            options: map(&[("enable", "1"), ("log_level_in", "info")]),
            rules: vec![ssh, web],
            ..Firewall::default()
        };
        state.firewalls.insert("guest/101".to_owned(), guest);
    }
}

fn network(state: &mut State) {
    let zone = json!({"zone": "lab", "type": "simple", "ipam": "pve", "mtu": 1450});
    let vnet = json!({"vnet": "labnet", "zone": "lab", "type": "vnet", "alias": "Lab, not applied yet"});
    let subnet = json!({"subnet": "lab-10.50.0.0-24", "cidr": "10.50.0.0/24", "network": "10.50.0.0", "mask": "24",
        "vnet": "labnet", "zone": "lab", "type": "subnet", "gateway": "10.50.0.1", "snat": 1});
    state.sdn.zones.insert("lab".to_owned(), Item::new(zone, true));
    state.sdn.vnets.insert("labnet".to_owned(), Item::new(vnet, false));
    state.sdn.subnets.insert("lab-10.50.0.0-24".to_owned(), Item::new(subnet, false));
}
