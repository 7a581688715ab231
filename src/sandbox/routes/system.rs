//! The system of a node: physical disks, package updates, certificates, journal.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::sandbox::{
    call::Call,
    router::Route,
    wire::{Answer, Answered, Data, Refusal, civil},
};

pub const ROUTES: &[Route] = &[
    Route::get("/nodes/{node}/disks/list", disks),
    Route::get("/nodes/{node}/disks/smart", smart),
    Route::get("/nodes/{node}/apt/update", updates),
    Route::get("/nodes/{node}/certificates/info", certificates),
    Route::get("/nodes/{node}/journal", journal),
];

/// The disks that each node has: device, size, model, what it is.
const DISKS: [(&str, u64, &str, &str); 2] = [
    ("/dev/nvme0n1", 1_000_204_886_016, "Samsung SSD 980 PRO 1TB", "nvme"),
    ("/dev/sda", 4_000_787_030_016, "ST4000NM000A-2HZ100", "hdd"),
];

fn number(call: &Call) -> u32 {
    call.sandbox.state().nodes.get(call.node()).map_or(1, |node| node.id)
}

/// Where no disk serves Ceph, the list of its daemons is null, whatever the API's schema says.
fn disks(call: &Call) -> Answered {
    if call.get("type").is_some() {
        return Ok(json!([]).into());
    }
    let id = number(call);
    let rows = DISKS.map(|(device, size, model, kind)| {
        let mut row = json!({"devpath": device, "gpt": 1, "mounted": u8::from(kind == "hdd"), "health": "PASSED", "model": model, "osdid": -1,
            "osdid-list": null, "rpm": if kind == "hdd" { 7200 } else { 0 }, "serial": format!("S{id}{}", &model[..4].replace(' ', "0")),
            "size": size, "type": kind, "used": if kind == "hdd" { "ext4" } else { "LVM" }, "vendor": "ATA     ",
            "wwn": format!("0x5002538{id:09}")});
        if kind == "hdd" {
            row["wearout"] = "N/A".into();
        } else {
            row["wearout"] = (100 - 3 * id.min(30)).into();
        }
        row
    });
    Ok(Value::from(rows.to_vec()).into())
}

fn smart(call: &Call) -> Answered {
    let device = call.text("disk");
    let Some((.., kind)) = DISKS.iter().find(|(known, ..)| *known == device) else {
        return Err(Refusal::failed(format!("failed to get smart data for disk {device}: not a valid local disk")));
    };
    if call.flag("healthonly") {
        return Ok(json!({"health": "PASSED"}).into());
    }
    if *kind == "nvme" {
        let text = "\nSMART/Health Information (NVMe Log 0x02)\nCritical Warning:                   0x00\n\
                    Temperature:                        41 Celsius\nAvailable Spare:                    100%\n\
                    Percentage Used:                    3%\nMedia and Data Integrity Errors:    0\n";
        return Ok(json!({"health": "PASSED", "type": "text", "text": text, "wearout": 97}).into());
    }
    let attribute = |id: u32, name: &str, value: u32, threshold: u32, raw: &str| {
        json!({"id": format!("{id:>3}"), "name": name, "flags": "POSR--", "value": value, "normalized": value,
            "worst": value, "threshold": threshold, "fail": "-", "raw": raw})
    };
    let attributes = [
        attribute(1, "Raw_Read_Error_Rate", 82, 44, "167220928"),
        attribute(5, "Reallocated_Sector_Ct", 100, 10, "0"),
        attribute(9, "Power_On_Hours", 81, 0, "17043"),
        attribute(194, "Temperature_Celsius", 34, 0, "34 (0 19 0 0 0)"),
        attribute(197, "Current_Pending_Sector", 100, 0, "0"),
    ];
    Ok(json!({"health": "PASSED", "type": "ata", "attributes": attributes}).into())
}

fn updates(call: &Call) -> Answered {
    let state = call.sandbox.state();
    let waiting = state.nodes.get(call.node()).map(|node| node.updates.clone()).unwrap_or_default();
    let rows = waiting.iter().map(|[package, old, new, title]| {
        json!({"Package": package, "Version": new, "OldVersion": old, "Title": title, "Description": title,
            "Arch": "amd64", "Section": "admin", "Priority": "optional",
            "Origin": if package.contains("pve") || package.contains("proxmox") { "Proxmox" } else { "Debian" }})
    });
    Ok(rows.collect::<Vec<_>>().into())
}

fn fingerprint(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

fn certificates(call: &Call) -> Answered {
    let state = call.sandbox.state();
    let Some(node) = state.nodes.get(call.node()) else { return Ok(json!([]).into()) };
    const YEAR: u64 = 31_536_000;
    // Made when the node was set up: a little before its last boot.
    let made = node.boot - 2_000_000;
    let authority = format!(
        "/CN=Proxmox Virtual Environment/OU={}/O=PVE Cluster Manager CA",
        &fingerprint(&state.cluster_name)[..8]
    );
    let pem = |name: &str| {
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", fingerprint(name).replace(':', ""))
    };
    Ok(json!([
        {"filename": "pve-root-ca.pem", "fingerprint": fingerprint(&authority), "issuer": authority, "subject": authority,
            "notbefore": made, "notafter": made + 10 * YEAR, "pem": pem("ca"), "public-key-bits": 4096,
            "public-key-type": "rsaEncryption", "san": []},
        {"filename": "pve-ssl.pem", "fingerprint": node.fingerprint, "issuer": authority, "notbefore": made,
            "subject": format!("/OU=PVE Cluster Node/O=Proxmox Virtual Environment/CN={}", node.name),
            "notafter": made + 2 * YEAR, "pem": pem(&node.name), "public-key-bits": 2048,
            "public-key-type": "rsaEncryption",
            "san": ["127.0.0.1", "0000:0000:0000:0000:0000:0000:0000:0001", "localhost", node.address, node.name]},
    ])
    .into())
}

/// Lines of a system that has nothing to report, one each ten minutes of the last day, and the node's tasks.
fn entries(call: &Call) -> Vec<(u64, String)> {
    const STEP: u64 = 600;
    const QUIET: [&str; 4] = [
        "systemd[1]: Starting fstrim.service - Discard unused filesystem blocks...",
        "pmxcfs[1034]: [status] notice: received log",
        "pvestatd[1312]: status update time (5.113 seconds)",
        "smartd[902]: Device: /dev/sda [SAT], SMART Usage Attribute: 194 Temperature_Celsius changed from 34 to 35",
    ];
    let state = call.sandbox.state();
    let last = call.now() / STEP * STEP;
    let mut lines: Vec<(u64, String)> = (0..144)
        .rev()
        .map(|back| (last - back * STEP, QUIET[((last / STEP - back) % 4) as usize].to_owned()))
        .collect();
    let own = state.log.iter().filter(|entry| entry.node == call.node());
    lines.extend(
        own.map(|entry| (entry.time, format!("{}[{}]: <{}> {}", entry.tag, entry.pid, entry.user, entry.message))),
    );
    lines.sort_by_key(|(time, _)| *time);
    lines
}

fn journal(call: &Call) -> Answered {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let number = |name: &str| call.int(name).and_then(|n| u64::try_from(n).ok());
    let (since, until) = (number("since").unwrap_or(0), number("until").unwrap_or(u64::MAX));
    let mut all = entries(call);
    all.retain(|(time, _)| (since..=until).contains(time));
    if let Some(count) = number("lastentries") {
        all.drain(..all.len().saturating_sub(count as usize));
    }
    let cursor = |time: u64| format!("s=6f2c41d09a5d4c1c8b9e2f0a7d3e5b11;i={time:x};b=0;m={time:x};t={time:x};x=0");
    let mut lines = vec![cursor(all.first().map_or(0, |(time, _)| *time))];
    let end = cursor(all.last().map_or(0, |(time, _)| *time));
    lines.extend(all.into_iter().map(|(time, text)| {
        let (_, month, day, h, m, s, _) = civil(time);
        let month = MONTHS.get(month as usize - 1).copied().unwrap_or_default();
        format!("{month} {day:02} {h:02}:{m:02}:{s:02} {} {text}", call.node())
    }));
    lines.push(end);
    // It leaves in a pipe to gzip, whatever the client takes.
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    let body =
        packed.write_all(json!({"data": lines, "success": 1}).to_string().as_bytes()).and_then(|()| packed.finish());
    let body = body.map_err(|error| Refusal::failed(error.to_string()))?;
    let data =
        Data::File { content_type: "application/json", encoding: Some("gzip"), disposition: None, body: body.into() };
    Ok(Answer { data, ..Answer::null() })
}
