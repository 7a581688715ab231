//! Rules against what is touched.

use super::*;
use crate::{
    policy::{
        Bounds,
        rules::{Names, Rules},
    },
    pve::Request,
};

fn fact(vmid: u32) -> Fact {
    Fact {
        vmid,
        name: Some(format!("web-{vmid}")),
        node: Some("pve1".to_owned()),
        pool: Some("dev".to_owned()),
        ..Fact::default()
    }
}

fn rules(text: &str) -> Rules {
    Rules::parse(text).unwrap_or_default()
}

/// What is said of these requests where these guests are there.
fn said(settings: &Settings, requests: &[Request], guests: Vec<Fact>) -> String {
    let facts = Facts::known(guests);
    match check(settings, &Reach::of(requests), &facts) {
        Ok(()) => "yes".to_owned(),
        Err(e) => e.to_string(),
    }
}

fn start(vmid: u32) -> Vec<Request> {
    vec![Request::post(format!("/nodes/pve1/qemu/{vmid}/status/start"))]
}

#[test]
fn the_protected_are_protected_without_any_setting() {
    let settings = Settings::default();
    assert_eq!(said(&settings, &start(100), vec![fact(100)]), "yes");
    let flag = Fact { protection: true, ..fact(100) };
    assert_eq!(
        said(&settings, &start(100), vec![flag]),
        "guest 100 (web-100) is protected: its protection option is set"
    );
    let tag = Fact { tags: vec!["a".to_owned(), "Protected".to_owned()], ..fact(100) };
    assert_eq!(said(&settings, &start(100), vec![tag]), "guest 100 (web-100) is protected: it has the tag 'protected'");
}

#[test]
fn a_refusal_names_the_rule() {
    let settings = Settings { protected: rules("pool:prod, 100-109"), ..Settings::default() };
    assert_eq!(
        said(&settings, &start(105), vec![fact(105)]),
        "guest 105 (web-105) is protected: PROXMOX_PROTECT_GUESTS has '100-109'"
    );
    let settings = Settings { allowed: rules("name:test-*,200-299"), ..Settings::default() };
    assert_eq!(
        said(&settings, &start(100), vec![fact(100)]),
        "guest 100 (web-100) may not be touched: it is not among PROXMOX_ALLOW_GUESTS=name:test-*,200-299"
    );
    assert_eq!(said(&settings, &start(200), vec![fact(200)]), "yes");
}

#[test]
fn a_new_guest_is_held_to_the_rules_by_what_it_is_going_to_be() {
    let settings = Settings { allowed: rules("pool:dev"), ..Settings::default() };
    let clone =
        |pool: Option<&str>| vec![Request::post("/nodes/pve1/qemu/9000/clone").param("newid", 120).maybe("pool", pool)];
    // The template is protected, and may be copied.
    let template = || vec![Fact { protection: true, pool: None, ..fact(9000) }];
    assert_eq!(said(&settings, &clone(Some("dev")), template()), "yes");
    assert!(said(&settings, &clone(None), template()).starts_with("guest 120 may not be touched"));
}

#[test]
fn nodes_storages_numbers_and_sizes_have_limits() {
    let settings = Settings {
        nodes: Names::parse("pve1").unwrap_or_default(),
        storages: Names::parse("local-*").unwrap_or_default(),
        bounds: Bounds { guests: Some(2), cores: Some(8), memory: Some(8 << 30), disk: Some(100 << 30) },
        ..Settings::default()
    };
    let config = |key: &'static str, value: &str| vec![Request::put("/nodes/pve1/qemu/100/config").param(key, value)];
    for (requests, said_of) in [
        (config("cores", "8"), "yes"),
        (config("cores", "9"), "9 cores is over the limit PROXMOX_MAX_CORES=8"),
        (config("memory", "8192"), "yes"),
        (config("memory", "8193"), "8193M of memory is over the limit PROXMOX_MAX_MEMORY=8G"),
        (config("scsi1", "local-lvm:100"), "yes"),
        (config("scsi1", "local-lvm:101"), "a disk of 101G is over the limit PROXMOX_MAX_DISK=100G"),
        (config("scsi1", "nas:1"), "storage nas is not among PROXMOX_ALLOW_STORAGES=local-*"),
        (
            vec![Request::post("/nodes/pve1/qemu/100/migrate").param("target", "pve2")],
            "node pve2 is not among PROXMOX_ALLOW_NODES=pve1",
        ),
        (
            vec![Request::post("/nodes/pve1/stopall").param("vms", "100,101,102")],
            "this would change 3 guests: PROXMOX_MAX_GUESTS=2 is the limit of one call",
        ),
    ] {
        let guests: Vec<Fact> = Reach::of(&requests).guests.into_keys().map(fact).collect();
        assert_eq!(said(&settings, &requests, guests.clone()), said_of);
        assert_eq!(said(&Settings::default(), &requests, guests), "yes");
    }
}

#[test]
fn what_was_not_looked_at_is_not_approved() {
    assert_eq!(said(&Settings::default(), &start(100), Vec::new()), "nothing was found out about guest 100");
}
