//! Firewalls.

use super::*;

const RULES: &str = "/nodes/pve1/qemu/100/firewall/rules";

#[tokio::test(start_paused = true)]
async fn a_new_rule_is_the_first_one_and_a_digest_guards_the_others() {
    let sandbox = cluster(|_| {});
    let ssh = call(&sandbox, &format!("POST {RULES}"), "type=in&action=ACCEPT&proto=tcp&dport=22&enable=1&pos=5").await;
    assert_eq!(ssh.data(), &Value::Null);
    call(&sandbox, &format!("POST {RULES}"), "type=in&action=DROP&source=10.0.0.0/8").await.data();
    let rules = call(&sandbox, &format!("GET {RULES}"), "").await.data().clone();
    let facts: Vec<_> = ["action", "pos", "enable", "ipversion"].map(|key| rules[0][key].clone()).to_vec();
    assert_eq!(facts, ["DROP".into(), Value::from(0), 0.into(), 4.into()]);
    let digest = rules[0]["digest"].as_str().unwrap();
    let first = call(&sandbox, &format!("PUT {RULES}/1"), &format!("comment=x&digest={digest}")).await;
    assert_eq!(first.data(), &Value::Null);
    let stale = call(&sandbox, &format!("PUT {RULES}/1"), &format!("comment=y&digest={digest}")).await;
    assert_eq!(stale.refusal(), (500, "detected modified configuration - file changed by other user? Try again."));
    call(&sandbox, &format!("PUT {RULES}/0"), "moveto=2").await.data();
    assert_eq!(call(&sandbox, &format!("GET {RULES}/0"), "").await.data()["action"], "ACCEPT");
    assert_eq!(call(&sandbox, &format!("GET {RULES}/9"), "").await.refusal(), (500, "no rule at position 9"));
}

#[tokio::test(start_paused = true)]
async fn a_rule_names_only_what_is_there() {
    let sandbox = cluster(|_| {});
    let wrong = call(&sandbox, &format!("POST {RULES}"), "type=in&action=FOO&dport=22&source=office").await;
    let errors = serde_json::json!({
        "action": "unknown action 'FOO'",
        "proto": "missing property - 'dport' requires this property",
        "source": "no such alias 'office'",
    });
    assert_eq!((wrong.status, &wrong.body["errors"]), (400, &errors));
    call(&sandbox, "POST /cluster/firewall/aliases", "name=office&cidr=10.9.0.0/16").await.data();
    let right = call(&sandbox, &format!("POST {RULES}"), "type=in&action=ACCEPT&source=office").await;
    assert_eq!(right.data(), &Value::Null);
    let refs = call(&sandbox, "GET /nodes/pve1/qemu/100/firewall/refs", "").await;
    assert_eq!(refs.data()[0]["ref"], "dc/office");
}

#[tokio::test(start_paused = true)]
async fn a_set_that_is_not_empty_stays() {
    let sandbox = cluster(|_| {});
    call(&sandbox, "POST /cluster/firewall/ipset", "name=s1").await.data();
    call(&sandbox, "POST /cluster/firewall/ipset/s1", "cidr=10.0.0.0/24").await.data();
    let full = call(&sandbox, "DELETE /cluster/firewall/ipset/s1", "").await;
    assert_eq!(full.refusal(), (500, "IPSet 's1' is not empty"));
    call(&sandbox, "DELETE /cluster/firewall/ipset/s1/10.0.0.0%2F24", "").await.data();
    assert_eq!(call(&sandbox, "DELETE /cluster/firewall/ipset/s1", "").await.data(), &Value::Null);
}
