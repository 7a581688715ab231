//! Finding guests in a cluster of which the list and the nodes tell different things.

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::pve::{
    GuestKind,
    fake::{Answer, Fake},
};

/// Two nodes that answer, and one that is offline.
fn cluster(listed: Value, pve1: Value, pve2: Value) -> (Arc<Fake>, Client, ResourceCache) {
    let (fake, client) = Fake::new(Duration::from_millis(5), move |path| match path {
        "/cluster/resources?type=vm" => Answer::Data(listed.clone()),
        "/nodes" => Answer::Data(json!([
            {"node": "pve1", "status": "online"}, {"node": "pve2", "status": "online"}, {"node": "pve3", "status": "offline"}
        ])),
        "/nodes/pve1/qemu" => Answer::Data(pve1.clone()),
        "/nodes/pve2/lxc" => Answer::Data(pve2.clone()),
        "/nodes/pve1/lxc" | "/nodes/pve2/qemu" => Answer::Data(json!([])),
        _ => match path.trim_start_matches("/nodes/").split('/').collect::<Vec<_>>()[..] {
            [_, _, vmid, "status", "current"] => {
                let mut all = pve1.as_array().into_iter().chain(pve2.as_array()).flatten();
                let found = vmid.parse().ok().and_then(|vmid: u64| all.find(|g| g["vmid"] == vmid).cloned());
                found.map_or(Answer::Error(500, "Configuration file does not exist"), Answer::Data)
            }
            _ => Answer::Error(501, "not implemented"),
        },
    });
    (fake, client, ResourceCache::default())
}

fn small() -> (Arc<Fake>, Client, ResourceCache) {
    cluster(
        json!([
            {"type": "qemu", "vmid": 100, "name": "web", "node": "pve1", "status": "running", "pool": "prod"},
            {"type": "qemu", "vmid": 101, "name": "twin", "node": "pve1", "status": "stopped"},
            {"type": "qemu", "vmid": 102, "name": "twin", "node": "pve3", "status": "unknown"},
            {"type": "lxc", "vmid": 200, "name": "web", "node": "pve2", "status": "running"},
            {"type": "lxc", "vmid": 201, "name": "db01", "node": "pve2", "status": "running"},
            {"type": "qemu", "vmid": 103, "node": "pve1", "status": "unknown"},
            {"type": "qemu", "vmid": 104, "name": "old-name", "node": "pve1", "status": "stopped"},
        ]),
        json!([
            {"vmid": 100, "name": "web", "status": "running"}, {"vmid": 101, "name": "twin", "status": "stopped"},
            {"vmid": 103, "name": "fresh", "status": "running"}, {"vmid": 104, "name": "new-name", "status": "stopped"},
            {"vmid": 105, "name": "newest", "status": "stopped", "template": 1},
        ]),
        json!([{"vmid": "200", "name": "web", "status": "running"}, {"vmid": "201", "name": "db01", "status": "running"}]),
    )
}

async fn found(who: &GuestRef, want: Want) -> Result<String> {
    let (_, client, cache) = small();
    cache.find(&client, who, want).await.map(|g| g.to_string())
}

async fn refused(who: &GuestRef, want: Want) -> Result<(Kind, String, String)> {
    let (_, client, cache) = small();
    match cache.find(&client, who, want).await {
        Ok(guest) => Err(Error::internal(format!("found {guest}"))),
        Err(error) => Ok((error.kind(), error.to_string(), error.parts().hint.clone().unwrap_or_default())),
    }
}

#[tokio::test(start_paused = true)]
async fn guests_are_found_by_number_and_by_name_of_the_wanted_kind() -> Result<()> {
    assert_eq!(found(&GuestRef::vmid(100), Want::Any).await?, "VM 100 (web) on pve1");
    assert_eq!(found(&GuestRef::name("web"), Want::Vm).await?, "VM 100 (web) on pve1");
    assert_eq!(found(&GuestRef::name("web"), Want::Container).await?, "container 200 (web) on pve2");
    assert_eq!(found(&GuestRef::name("twin").on("pve1"), Want::Vm).await?, "VM 101 (twin) on pve1");
    let both = GuestRef { name: Some("db01".into()), ..GuestRef::vmid(201) };
    assert_eq!(found(&both, Want::Any).await?, "container 201 (db01) on pve2");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_is_listed_costs_one_request_for_all_who_ask() -> Result<()> {
    let (fake, client, cache) = small();
    let (web, twin) = (GuestRef::name("web"), GuestRef::vmid(101));
    let lookups = (0..100).map(|n| cache.find(&client, if n % 2 == 0 { &web } else { &twin }, Want::Vm));
    assert!(futures::future::join_all(lookups).await.iter().all(Result::is_ok));
    assert_eq!(fake.paths(), ["/cluster/resources?type=vm"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn new_and_renamed_guests_are_found_although_the_list_is_behind() -> Result<()> {
    for (who, expected) in [
        (GuestRef::vmid(103), "VM 103 (fresh) on pve1"),
        (GuestRef::name("fresh"), "VM 103 (fresh) on pve1"),
        (GuestRef::name("new-name"), "VM 104 (new-name) on pve1"),
        (GuestRef { name: Some("new-name".into()), ..GuestRef::vmid(104) }, "VM 104 (new-name) on pve1"),
        (GuestRef::name("newest"), "VM 105 (newest) on pve1"),
        (GuestRef::vmid(105), "VM 105 (newest) on pve1"),
    ] {
        assert_eq!(found(&who, Want::Vm).await?, expected, "{who:?}");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_name_that_was_just_given_away_finds_nothing() -> Result<()> {
    let (_, client, cache) = small();
    let old = GuestRef::name("old-name");
    cache.wrote(&crate::pve::Request::post("/nodes/pve1/qemu/100/status/start"));
    assert_eq!(cache.find(&client, &old, Want::Vm).await?.vmid, 104);
    cache.wrote(&crate::pve::Request::put("/nodes/pve1/qemu/104/config"));
    let error = cache.find(&client, &old, Want::Vm).await.err();
    assert_eq!(error.map(|e| e.kind()), Some(Kind::NotFound));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_ambiguous_name_lists_the_candidates() -> Result<()> {
    let (kind, message, hint) = refused(&GuestRef::name("twin"), Want::Vm).await?;
    assert_eq!(kind, Kind::Ambiguous);
    assert_eq!(message, "2 VMs are named \"twin\": VM 101 on pve1, VM 102 on pve3");
    assert_eq!(hint, "give the vmid, or the node too");
    let (kind, message, _) = refused(&GuestRef::name("web"), Want::Any).await?;
    assert_eq!((kind, message.contains("container 200 on pve2")), (Kind::Ambiguous, true));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_container_is_never_taken_for_a_vm() -> Result<()> {
    for who in [GuestRef::vmid(201), GuestRef::name("db01")] {
        let (kind, message, hint) = refused(&who, Want::Vm).await?;
        assert_eq!((kind, message.as_str()), (Kind::BadArgument, "201 (db01) is a container, not a VM"));
        assert!(hint.contains("lxc"));
    }
    let (_, message, _) = refused(&GuestRef::vmid(100), Want::Container).await?;
    assert_eq!(message, "100 (web) is a VM, not a container");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn contradictions_say_what_is_there() -> Result<()> {
    let who = GuestRef { name: Some("web".into()), ..GuestRef::vmid(101) };
    let (kind, message, _) = refused(&who, Want::Vm).await?;
    assert_eq!(kind, Kind::BadArgument);
    assert_eq!(message, "vmid 101 and name \"web\" disagree: that is VM 101 (twin) on pve1");
    let (kind, message, hint) = refused(&GuestRef::vmid(100).on("pve2"), Want::Vm).await?;
    assert_eq!((kind, message.as_str()), (Kind::BadArgument, "VM 100 (web) on pve1, not on pve2"));
    assert_eq!(hint, "leave node out, or give node=pve1");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_is_not_found_says_what_was_searched_and_what_is_similar() -> Result<()> {
    let (kind, message, hint) = refused(&GuestRef::name("dbo1"), Want::Any).await?;
    assert_eq!(kind, Kind::NotFound);
    assert!(message.starts_with("no guest is named \"dbo1\" among the 7 guests"), "{message}");
    assert!(message.ends_with("gave no answer: pve3 (offline)"), "{message}");
    assert!(hint.contains("did you mean db01 (201)?") && hint.contains("VM.Audit"), "{hint}");
    let (_, _, hint) = refused(&GuestRef::name("nothing-like-it").on("pve9"), Want::Any).await?;
    assert!(hint.contains("there is no node pve9, only pve1, pve2, pve3") && !hint.contains("mean"), "{hint}");
    let (_, message, _) = refused(&GuestRef::vmid(999), Want::Vm).await?;
    assert!(message.starts_with("no VM has the vmid 999"), "{message}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_moved_is_found_again_on_its_new_node() -> Result<()> {
    let (_, client, cache) = small();
    let mut guest = cache.find(&client, &GuestRef::vmid(100), Want::Any).await?;
    guest.node = "pve2".into();
    assert_eq!(cache.find_again(&client, &guest).await?.node, "pve1");
    guest.kind = GuestKind::Lxc;
    assert!(cache.find_again(&client, &guest).await.is_err_and(|e| e.is_not_found()));
    Ok(())
}
