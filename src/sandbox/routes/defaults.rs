//! What a server answers about things that nobody set up on it: mappings, ACME, notifications as they come, CPU models,
//! no Ceph. They are read only here: what would change them is not simulated.

use serde_json::{Value, json};

use crate::sandbox::{
    call::Call,
    router::Route,
    wire::{Answered, Refusal},
};

pub const ROUTES: &[Route] = &[
    Route::get("/cluster/mapping/dir", none),
    Route::get("/cluster/mapping/pci", none),
    Route::get("/cluster/mapping/usb", none),
    Route::get("/cluster/acme/account", none),
    Route::get("/cluster/acme/directories", acme_directories),
    Route::get("/cluster/jobs/realm-sync", none),
    Route::get("/cluster/qemu/custom-cpu-models", none),
    Route::get("/cluster/metrics/server", none),
    Route::get("/cluster/bulk-action", |_| Ok(json!([{"name": "guest"}]).into())),
    Route::get("/cluster/bulk-action/guest", bulk_actions),
    Route::get("/cluster/notifications/endpoints/gotify", none),
    Route::get("/cluster/notifications/endpoints/sendmail", sendmail),
    Route::get("/cluster/notifications/endpoints/smtp", none),
    Route::get("/cluster/notifications/endpoints/webhook", none),
    Route::get("/cluster/notifications/targets", targets),
    Route::get("/cluster/notifications/matchers", matchers),
    Route::get("/cluster/notifications/matcher-fields", matcher_fields),
    Route::get("/cluster/ceph/status", no_ceph),
    Route::get("/cluster/ceph/metadata", no_ceph),
    Route::get("/nodes/{node}/ceph/status", no_ceph),
    Route::get("/nodes/{node}/capabilities/qemu/cpu", cpu_models),
    Route::get("/nodes/{node}/capabilities/qemu/migration", |_| Ok(json!({"has-dbus-vmstate": true}).into())),
    Route::get("/nodes/{node}/hardware/usb", none),
    Route::get("/nodes/{node}/scan", scans),
];

fn none(_: &Call) -> Answered {
    Ok(json!([]).into())
}

fn no_ceph(_: &Call) -> Answered {
    Err(Refusal::failed("binary not installed: /usr/bin/ceph-mon"))
}

fn acme_directories(_: &Call) -> Answered {
    Ok(json!([
        {"name": "Let's Encrypt V2", "url": "https://acme-v02.api.letsencrypt.org/directory"},
        {"name": "Let's Encrypt V2 Staging", "url": "https://acme-staging-v02.api.letsencrypt.org/directory"},
    ])
    .into())
}

fn bulk_actions(_: &Call) -> Answered {
    Ok(json!([{"name": "start"}, {"name": "shutdown"}, {"name": "suspend"}, {"name": "migrate"}]).into())
}

/// The target that every server has from the beginning.
const MAIL: &str = "mail-to-root";

fn sendmail(_: &Call) -> Answered {
    Ok(json!([{
        "name": MAIL, "comment": "Send mails to root@pam's email address", "mailto-user": ["root@pam"], "origin": "builtin",
    }])
    .into())
}

fn targets(_: &Call) -> Answered {
    let target = json!({"name": MAIL, "comment": "Send mails to root@pam's email address", "origin": "builtin", "type": "sendmail"});
    Ok(json!([target]).into())
}

fn matchers(_: &Call) -> Answered {
    Ok(json!([{
        "name": "default-matcher", "comment": "Route all notifications to mail-to-root", "mode": "all", "origin": "builtin",
        "target": [MAIL],
    }])
    .into())
}

fn matcher_fields(_: &Call) -> Answered {
    Ok(json!([{"name": "type"}, {"name": "hostname"}, {"name": "job-id"}]).into())
}

fn scans(_: &Call) -> Answered {
    let methods = ["cifs", "iscsi", "lvm", "nfs", "pbs", "zfs"];
    Ok(methods.iter().map(|method| json!({"method": method})).collect::<Value>().into())
}

fn cpu_models(_: &Call) -> Answered {
    let by_vendor = [("GenuineIntel", INTEL), ("AuthenticAMD", AMD), ("default", COMMON)];
    let models = by_vendor.iter().flat_map(|(vendor, names)| {
        names.split_whitespace().map(move |name| {
            let mut model = json!({"custom": 0, "name": name, "vendor": vendor});
            if name.starts_with("x86-64-v") {
                model["abstract"] = 1.into();
            }
            model
        })
    });
    Ok(models.collect::<Value>().into())
}

/// The CPU models of a 9.2 server.
const INTEL: &str = "486 Broadwell Broadwell-IBRS Broadwell-noTSX Broadwell-noTSX-IBRS Cascadelake-Server
    Cascadelake-Server-noTSX Cascadelake-Server-v2 Cascadelake-Server-v4 Cascadelake-Server-v5 ClearwaterForest Conroe
    Cooperlake Cooperlake-v2 GraniteRapids GraniteRapids-v2 GraniteRapids-v3 Haswell Haswell-IBRS Haswell-noTSX
    Haswell-noTSX-IBRS Icelake-Client Icelake-Client-noTSX Icelake-Server Icelake-Server-noTSX Icelake-Server-v3
    Icelake-Server-v4 Icelake-Server-v5 Icelake-Server-v6 Icelake-Server-v7 IvyBridge IvyBridge-IBRS KnightsMill Nehalem
    Nehalem-IBRS Penryn SandyBridge SandyBridge-IBRS SapphireRapids SapphireRapids-v2 SapphireRapids-v3 SapphireRapids-v4
    SierraForest SierraForest-v2 SierraForest-v3 Skylake-Client Skylake-Client-IBRS Skylake-Client-noTSX-IBRS
    Skylake-Client-v4 Skylake-Server Skylake-Server-IBRS Skylake-Server-noTSX-IBRS Skylake-Server-v4 Skylake-Server-v5
    Westmere Westmere-IBRS core2duo coreduo pentium pentium2 pentium3";
const AMD: &str = "EPYC EPYC-Genoa EPYC-Genoa-v2 EPYC-IBPB EPYC-Milan EPYC-Milan-v2 EPYC-Milan-v3 EPYC-Rome EPYC-Rome-v2
    EPYC-Rome-v3 EPYC-Rome-v4 EPYC-Rome-v5 EPYC-Turin EPYC-v3 EPYC-v4 EPYC-v5 Opteron_G1 Opteron_G2 Opteron_G3 Opteron_G4
    Opteron_G5 athlon phenom";
const COMMON: &str = "host kvm32 kvm64 max qemu32 qemu64 x86-64-v2 x86-64-v2-AES x86-64-v3 x86-64-v4";
