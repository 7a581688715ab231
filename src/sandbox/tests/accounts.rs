//! Logging in and permissions.

use totp_rs::{Algorithm, Secret, TOTP};

use super::*;
use crate::sandbox::access::Tfa;

async fn log_in(sandbox: &Sandbox, form: &str) -> Got {
    send(sandbox, "POST /access/ticket", form, &[]).await
}

fn password_form(sandbox: &Sandbox) -> String {
    format!("username=root@pam&password={}", sandbox.credentials().password.expose_secret())
}

fn session(got: &Got) -> Vec<(String, String)> {
    let text = |key: &str| got.data()[key].as_str().unwrap().to_owned();
    vec![
        ("Cookie".to_owned(), format!("PVEAuthCookie={}", crate::pve::encode(&text("ticket")))),
        ("CSRFPreventionToken".to_owned(), text("CSRFPreventionToken")),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_ticket_reads_and_with_its_csrf_token_it_writes() {
    let sandbox = cluster(|_| {});
    let session = session(&log_in(&sandbox, &password_form(&sandbox)).await);
    assert_eq!(send(&sandbox, "GET /version", "", &session[..1]).await.status, 200);
    let got = send(&sandbox, "POST /pools", "poolid=x", &session[..1]).await;
    assert_eq!(got.refusal(), (401, "Permission denied - invalid csrf token"));
    assert_eq!(send(&sandbox, "POST /pools", "poolid=x", &session).await.data(), &Value::Null);
}

#[tokio::test(start_paused = true)]
async fn a_ticket_ends_after_two_hours_unless_it_was_renewed_with_itself() {
    let sandbox = cluster(|_| {});
    let got = log_in(&sandbox, &password_form(&sandbox)).await;
    let old = session(&got);
    tokio::time::sleep(std::time::Duration::from_secs(7_000)).await;
    let ticket = got.data()["ticket"].as_str().unwrap();
    let renewed = log_in(&sandbox, &format!("username=root@pam&password={}", crate::pve::encode(ticket))).await;
    let new = session(&renewed);
    tokio::time::sleep(std::time::Duration::from_secs(300)).await;
    assert_eq!(send(&sandbox, "GET /version", "", &old).await.refusal(), (401, "Authentication failed!"));
    assert_eq!(send(&sandbox, "GET /version", "", &new).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_second_factor_is_asked_for_and_accepted_once_it_is_right() {
    let sandbox = cluster(|_| {});
    let secret = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP";
    let factor = Tfa {
        id: "totp1".to_owned(),
        description: "phone".to_owned(),
        enable: true,
        created: 0,
        secret: secret.into(),
    };
    sandbox.state().access.users.get_mut("root@pam").unwrap().tfa.push(factor);
    let first = log_in(&sandbox, &password_form(&sandbox)).await;
    assert_eq!(first.data()["NeedTFA"], 1);
    let challenge = first.data()["ticket"].as_str().unwrap();
    assert!(challenge.starts_with("PVE:!tfa!"));
    assert_eq!(send(&sandbox, "GET /version", "", &session(&first)).await.status, 401);
    let bytes = Secret::Encoded(secret.to_owned()).to_bytes().unwrap();
    let code = TOTP::new(Algorithm::SHA1, 6, 1, 30, bytes).unwrap().generate(sandbox.clock().now());
    let challenge = crate::pve::encode(challenge);
    let answer = |code: &str| format!("username=root@pam&tfa-challenge={challenge}&password=totp%3A{code}");
    assert_eq!(log_in(&sandbox, &answer("000000")).await.refusal(), (401, "authentication failure"));
    let second = log_in(&sandbox, &answer(&code)).await;
    assert_eq!(send(&sandbox, "GET /version", "", &session(&second)).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn the_auditor_sees_every_guest_and_may_make_no_pool() {
    let sandbox = cluster(|_| {});
    let auditor = [auditor(&sandbox)];
    let all = call(&sandbox, "GET /cluster/resources", "type=vm").await;
    assert_eq!(send(&sandbox, "GET /cluster/resources", "type=vm", &auditor).await.data(), all.data());
    let got = send(&sandbox, "POST /pools", "poolid=x", &auditor).await;
    assert_eq!(got.refusal(), (403, "Permission check failed (/pool/x, Pool.Allocate)"));
}

/// A user `eve@pve` with a token that has no privilege separation (`all`) and one that has (`own`).
async fn eve(sandbox: &Sandbox) -> [Vec<(String, String)>; 2] {
    call(sandbox, "POST /access/users", "userid=eve@pve&password=secret-of-eve").await.data();
    let mut out = [Vec::new(), Vec::new()];
    for (at, (name, privsep)) in [("all", 0), ("own", 1)].into_iter().enumerate() {
        let line = format!("POST /access/users/eve@pve/token/{name}");
        let got = call(sandbox, &line, &format!("privsep={privsep}")).await;
        let secret = got.data()["value"].as_str().unwrap().to_owned();
        out[at].push(("Authorization".to_owned(), format!("PVEAPIToken=eve@pve!{name}={secret}")));
    }
    out
}

#[tokio::test(start_paused = true)]
async fn a_token_of_its_own_privileges_has_what_both_it_and_its_user_have() {
    let sandbox = cluster(|_| {});
    let [all, own] = eve(&sandbox).await;
    call(&sandbox, "PUT /access/acl", "path=/vms/100&roles=PVEVMUser&users=eve@pve").await.data();
    let permissions = async |who: &[(String, String)]| {
        let got = send(&sandbox, "GET /access/permissions", "path=/vms/100", who).await;
        got.data()["/vms/100"].as_object().map(|map| map.keys().cloned().collect::<Vec<_>>())
    };
    assert!(permissions(&all).await.unwrap().contains(&"VM.PowerMgmt".to_owned()));
    assert_eq!(permissions(&own).await, None);
    call(&sandbox, "PUT /access/acl", "path=/&roles=PVEAuditor&tokens=eve@pve!own").await.data();
    assert_eq!(permissions(&own).await, Some(vec!["VM.Audit".to_owned(), "VM.GuestAgent.Audit".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn rights_on_a_pool_are_rights_on_its_guests_and_no_others() {
    let sandbox = cluster(|_| {});
    let [all, _] = eve(&sandbox).await;
    call(&sandbox, "PUT /access/acl", "path=/pool/development&roles=PVEVMUser&users=eve@pve").await.data();
    let got = send(&sandbox, "GET /cluster/resources", "type=vm", &all).await;
    let seen: Vec<u64> = got.data().as_array().unwrap().iter().map(|row| row["vmid"].as_u64().unwrap()).collect();
    let members: Vec<u64> = sandbox.state().pools["development"].guests.iter().map(|vmid| u64::from(*vmid)).collect();
    assert_eq!(seen, members);
}

#[tokio::test(start_paused = true)]
async fn an_acl_that_does_not_propagate_ends_where_it_stands() {
    let sandbox = cluster(|_| {});
    let [all, _] = eve(&sandbox).await;
    call(&sandbox, "PUT /access/acl", "path=/vms&roles=PVEVMUser&users=eve@pve&propagate=0").await.data();
    assert_eq!(send(&sandbox, "GET /cluster/resources", "type=vm", &all).await.data(), &Value::Array(Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn no_access_below_takes_away_what_came_from_above() {
    let sandbox = cluster(|_| {});
    let [all, _] = eve(&sandbox).await;
    call(&sandbox, "PUT /access/acl", "path=/vms&roles=PVEVMUser&users=eve@pve").await.data();
    call(&sandbox, "PUT /access/acl", "path=/vms/100&roles=NoAccess&users=eve@pve").await.data();
    let got = send(&sandbox, "GET /cluster/resources", "type=vm", &all).await;
    assert!(got.data().as_array().unwrap().iter().all(|row| row["vmid"] != 100));
    assert_eq!(got.data().as_array().unwrap().len(), sandbox.state().guests().len() - 1);
}

#[tokio::test(start_paused = true)]
async fn a_token_may_not_ask_for_a_ticket() {
    let sandbox = cluster(|_| {});
    let got = call(&sandbox, "POST /access/ticket", "").await;
    let text = "Permission check failed (URI '/access/ticket' not available with API token, need proper ticket.";
    assert_eq!(got.refusal(), (403, text));
    assert_eq!(got.body["message"], format!("{text}\n)\n"));
}
