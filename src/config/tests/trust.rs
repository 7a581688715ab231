//! Who may say that a certificate is trusted, and what is refused where none would be verified.

use super::*;

const OFF: (&str, &str) = ("PROXMOX_VERIFY", "false");
const STRICT: (&str, &str) = ("PROXMOX_REQUIRE_VERIFIED_TLS", "true");
const PIN: (&str, &str) = ("PROXMOX_FINGERPRINT", FINGERPRINT);

fn both(env: Pairs<'_>, file: &str) -> Result<Config> {
    Given { env, files: &[(".env", file)], ..Given::default() }.resolve()
}

fn tls(config: Result<Config>) -> String {
    only(config).rsplit(" | ").next().unwrap().to_owned()
}

#[test]
fn an_unverified_certificate_is_refused_where_verified_ones_are_required() {
    assert_eq!(
        line(env(&[URL, TOKEN, STRICT, ("VERIFY_SSL", "no")])),
        "VERIFY_SSL: expected a verified certificate, as PROXMOX_REQUIRE_VERIFIED_TLS is set: remove it, and set \
         PROXMOX_FINGERPRINT or PROXMOX_CA_FILE"
    );
    let text = "PROXMOX_API_URL=pve\nPROXMOX_TOKEN=mcp@pve!mcp=hunter2\nPROXMOX_VERIFY=0\n";
    assert!(line(both(&[STRICT], text)).starts_with("PROXMOX_VERIFY in .env: expected a verified certificate"));
    let flag = [("verify", "false"), ("require-verified-tls", "true")];
    let given = Given { flags: &flag, env: &[URL, TOKEN], ..Given::default() };
    assert!(line(given.resolve()).starts_with("--verify: expected a verified certificate"));
    // What is verified by a fingerprint is verified.
    assert_eq!(tls(env(&[URL, TOKEN, STRICT, PIN, OFF])), "1 fingerprints");
    assert_eq!(tls(env(&[URL, TOKEN, STRICT])), "System");
    assert!(line(env(&[URL, TOKEN, ("PROXMOX_REQUIRE_VERIFIED_TLS", "maybe")])).contains("expected true or false"));
}

#[test]
fn the_cluster_that_switched_verification_off_is_named() {
    let all = [
        ("PROXMOX_CLUSTERS", "a,my-lab"),
        ("PROXMOX_CLUSTER_a_HOST", "a"),
        ("PROXMOX_CLUSTER_a_TOKEN", "m@pve!a=s"),
        ("PROXMOX_CLUSTER_my_lab_HOST", "b"),
        ("PROXMOX_CLUSTER_my_lab_TOKEN", "m@pve!b=t"),
        ("PROXMOX_CLUSTER_my_lab_VERIFY", "false"),
        STRICT,
    ];
    assert!(line(env(&all)).starts_with("PROXMOX_CLUSTER_my_lab_VERIFY: expected a verified certificate"));
}

#[test]
fn a_file_found_in_the_working_directory_cannot_take_the_requirement_back() {
    let file = "PROXMOX_REQUIRE_VERIFIED_TLS=false\n";
    assert!(line(both(&[URL, TOKEN, STRICT, OFF], file)).starts_with("PROXMOX_VERIFY: expected a verified"));
}

#[test]
fn a_file_found_in_the_working_directory_does_not_decide_whom_to_trust_for_an_endpoint_from_elsewhere() {
    let pin = format!("PROXMOX_FINGERPRINT={FINGERPRINT}\n");
    for (text, name) in [
        ("PROXMOX_VERIFY=false\n", "PROXMOX_VERIFY"),
        ("VERIFY_SSL=0\n", "VERIFY_SSL"),
        ("PROXMOX_CA_FILE=evil.pem\n", "PROXMOX_CA_FILE"),
        (pin.as_str(), "PROXMOX_FINGERPRINT"),
    ] {
        let said = line(both(&[URL, TOKEN], text));
        assert!(said.starts_with(&format!("{name} in .env: expected beside PROXMOX_API_URL")), "{said}");
        assert!(said.contains("comes from the environment") && said.contains("PROXMOX_ENV_FILE"), "{said}");
        let flags = Given { flags: &[("api-url", "pve")], env: &[TOKEN], files: &[(".env", text)] };
        assert!(line(flags.resolve()).contains("comes from the command line"));
        // With its own endpoint it may, as the operator wrote both; and so may a file that the operator named.
        if name.contains("VERIFY") {
            assert_eq!(tls(both(&[TOKEN], &format!("PROXMOX_API_URL=pve\n{text}"))), "Insecure");
            let named = [URL, TOKEN, ("PROXMOX_ENV_FILE", "/etc/pve.env")];
            let named = Given { env: &named, files: &[("/etc/pve.env", text)], ..Given::default() };
            assert_eq!(tls(named.resolve()), "Insecure");
        }
    }
    // Nothing is weaker for these.
    assert_eq!(tls(both(&[URL, TOKEN], "PROXMOX_VERIFY=true\n")), "System");
    assert_eq!(tls(both(&[URL, TOKEN, PIN], "PROXMOX_VERIFY=false\n")), "1 fingerprints");
    assert_eq!(tls(both(&[URL, TOKEN, ("PROXMOX_VERIFY", "true")], "PROXMOX_VERIFY=false\n")), "System");
}

#[test]
fn nor_does_it_put_a_fingerprint_out_of_use_that_all_clusters_share() {
    let all =
        [("PROXMOX_CLUSTERS", "a"), ("PROXMOX_CLUSTER_a_HOST", "a"), ("PROXMOX_CLUSTER_a_TOKEN", "m@pve!a=s"), PIN];
    let said = line(both(&all, "PROXMOX_CLUSTER_a_VERIFY=true\n"));
    assert!(said.starts_with("PROXMOX_CLUSTER_a_VERIFY in .env: expected beside PROXMOX_CLUSTER_a_HOST"), "{said}");
    assert_eq!(tls(both(&all, "PROXMOX_VERIFY=false\n")), "1 fingerprints");
}
