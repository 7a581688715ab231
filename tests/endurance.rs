//! Thousands of requests with parameters that are right by their type and random otherwise: the simulated cluster
//! answers each of them as Proxmox would, and every task comes to an end.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use http::{Method, Request};
use proxmox_mcp::{
    pve::{
        api::{Api, Format, Kind, Property},
        encode,
    },
    sandbox::{Options, Sandbox},
};
use secrecy::ExposeSecret;
use serde_json::Value;

const REQUESTS: u32 = 6_000;

async fn send(sandbox: &Sandbox, method: &Method, path: &str, params: &str) -> (u16, Value) {
    let credentials = sandbox.credentials();
    let token = format!("PVEAPIToken={}={}", credentials.token_id, credentials.token_secret.expose_secret());
    let in_query = *method == Method::GET || *method == Method::DELETE;
    let (query, body) =
        if in_query { (format!("?{params}"), String::new()) } else { (String::new(), params.to_owned()) };
    let request = Request::builder()
        .method(method)
        .uri(format!("https://pve1:8006/api2/json{path}{query}"))
        .header("authorization", token)
        .body(Bytes::from(body))
        .unwrap();
    let response = sandbox.handle(request).await.unwrap();
    (response.status().as_u16(), serde_json::from_slice(response.body()).unwrap_or_default())
}

/// A value that its definition allows, more often than not.
fn value(name: &str, property: &Property, random: &mut fastrand::Rng) -> String {
    let pick = |random: &mut fastrand::Rng, list: &[&str]| list[random.usize(..list.len())].to_owned();
    if !property.values.is_empty() {
        return property.values[random.usize(..property.values.len())].clone();
    }
    match name {
        "node" | "target" => return pick(random, &["pve1", "pve2", "pve3", "pve1", "nosuch"]),
        "vmid" | "newid" => return random.u32(98..116).to_string(),
        "storage" | "targetstorage" => return pick(random, &["local", "local-lvm", "nas", "nosuch"]),
        "size" => return pick(random, &["+1G", "9999999999999T", "1G", "64G", "+9999999999999T", "5"]),
        "disk" | "volume" => return pick(random, &["scsi0", "rootfs", "mp0", "local:iso/x.iso"]),
        "snapname" => return pick(random, &["s1", "s2", "current"]),
        "pool" | "poolid" => return pick(random, &["production", "nosuch"]),
        "archive" | "ostemplate" => return "local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst".to_owned(),
        _ => {}
    }
    match property.kind {
        Kind::Boolean => return pick(random, &["0", "1"]),
        Kind::Integer | Kind::Number => {
            let bound = |text: Option<&str>| text.and_then(|text| text.parse::<f64>().ok());
            return match random.u8(..4) {
                0 => bound(property.maximum).unwrap_or(9e18).to_string(),
                1 => bound(property.minimum).unwrap_or(-9e18).to_string(),
                _ => random.u32(1..9).to_string(),
            };
        }
        Kind::String => {}
    }
    let keys = property.format.as_ref().is_some_and(|usage| matches!(*usage.format, Format::Keys(_)));
    if keys {
        return match name.trim_end_matches("[n]") {
            "net" => pick(random, &["virtio,bridge=vmbr0", "name=eth0,bridge=vmbr0,ip=dhcp", "model=e1000"]),
            "memory" => pick(random, &["16", "4096", "99999999999999"]),
            _ => pick(random, &["local-lvm:1", "nas:99999999999999", "local-lvm:cloudinit", "none,media=cdrom", "1"]),
        };
    }
    pick(random, &["", "a", "1", "x,y;z", "2026-11-21", "10.0.0.1", "root@pam", "%", "é✓", "local:iso/x.iso"])
}

#[tokio::test(start_paused = true)]
async fn no_request_breaks_the_cluster_and_every_task_ends() {
    let sandbox = Sandbox::new(Options { fixed_secrets: true, ..Options::default() });
    let api = Api::embedded();
    let mut served: Vec<_> = sandbox.served().map(|(method, path)| (method.clone(), path)).collect();
    served.sort_by(|a, b| (a.1, a.0.as_str()).cmp(&(b.1, b.0.as_str())));
    let mut random = fastrand::Rng::with_seed(7);
    let mut seen: BTreeMap<u16, u32> = BTreeMap::new();
    for _ in 0..REQUESTS {
        let (method, template) = &served[random.usize(..served.len())];
        // Without these there would soon be nobody left to ask.
        let power = *method == Method::POST && *template == "/nodes/{node}/status";
        if power || template.starts_with("/access") && *method != Method::GET {
            continue;
        }
        let endpoint = api.endpoint(method, template).unwrap();
        let (mut path, mut params) = ((*template).to_owned(), Vec::new());
        for (name, property) in &endpoint.params {
            let text = value(name, property, &mut random);
            let place = format!("{{{name}}}");
            if path.contains(&place) {
                path = path.replace(&place, &encode(if text.is_empty() { "x" } else { &text }));
            } else if !property.optional || random.u8(..12) == 0 {
                params.push(format!("{}={}", name.replace("[n]", "0"), encode(&text)));
            }
        }
        let (status, body) = send(&sandbox, method, &path, &params.join("&")).await;
        // 506: an upload that is no form.
        assert!([200, 400, 403, 500, 501, 506].contains(&status), "{method} {path} {params:?}: {status}");
        assert!(
            body.is_object() || path.contains("/log") || path.ends_with("/journal") || status == 506,
            "{method} {path}: {body}"
        );
        *seen.entry(status).or_default() += 1;
        if random.u8(..8) == 0 {
            tokio::time::sleep(Duration::from_millis(random.u64(..3_000))).await;
        }
    }
    // The longest: shutdowns that were given a year, and the stops that queue behind them.
    tokio::time::sleep(Duration::from_secs(100_000_000)).await;
    for node in ["pve1", "pve2", "pve3"] {
        let (_, running) = send(&sandbox, &Method::GET, &format!("/nodes/{node}/tasks"), "source=active").await;
        let running: Vec<_> =
            running["data"].as_array().unwrap().iter().filter(|task| task["status"] == "RUNNING").collect();
        assert!(running.is_empty(), "{running:?}");
        let (_, all) = send(&sandbox, &Method::GET, &format!("/nodes/{node}/tasks"), "limit=5000").await;
        let broken = all["data"].as_array().unwrap().iter().find(|task| task["status"] == "unexpected status");
        assert!(broken.is_none(), "a panic: {broken:?}");
    }
    println!("answers by status: {seen:?}");
    assert!(seen[&200] > REQUESTS / 4);
}
