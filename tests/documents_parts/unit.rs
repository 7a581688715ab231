//! systemd's units: their form, and that they start this program with settings that there are.

use super::{settings, shell};

const SECTIONS: &[&str] = &["Unit", "Service", "Install"];

fn entries(place: &str, text: &str) -> Vec<(String, String, String)> {
    let (mut section, mut all) = (String::new(), Vec::new());
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', ';'])) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            assert!(SECTIONS.contains(&name), "{place}: [{name}]");
            section = name.to_owned();
            continue;
        }
        let (key, value) = line.split_once('=').unwrap_or_else(|| panic!("{place}: {line} is no entry"));
        assert!(key.chars().all(|c| c.is_ascii_alphanumeric()) && !section.is_empty(), "{place}: {line}");
        all.push((section.clone(), key.to_owned(), value.to_owned()));
    }
    all
}

/// A unit, or a part that is put over one.
pub fn load(place: &str, text: &str) {
    let entries = entries(place, text);
    assert!(!entries.is_empty(), "{place}: nothing in it");
    for (_, key, value) in &entries {
        match key.as_str() {
            "Environment" => {
                let (name, _) = value.split_once('=').unwrap_or_else(|| panic!("{place}: {value}"));
                settings::known(name).unwrap_or_else(|e| panic!("{place}: {e}"));
            }
            "ExecStart" => {
                let words: Vec<String> = value.split_whitespace().map(str::to_owned).collect();
                assert!(words[0].ends_with("/proxmox-mcp"), "{place}: {value}");
                shell::arguments(place, &words[1..]);
            }
            _ => {}
        }
    }
}

/// The one that is shipped: every secret is a credential, and what shuts it in is there.
pub fn check(text: &str) {
    let place = "contrib/proxmox-mcp.service";
    load(place, text);
    let entries = entries(place, text);
    let values = |wanted: &str| -> Vec<&str> {
        entries.iter().filter(|(_, key, _)| key == wanted).map(|(_, _, value)| value.as_str()).collect()
    };
    let credentials: Vec<&str> = values("LoadCredential").iter().filter_map(|value| value.split(':').next()).collect();
    let from: Vec<&str> =
        values("Environment").iter().filter_map(|value| value.split_once("=%d/")).map(|(_, file)| file).collect();
    assert_eq!(credentials, from, "every credential is read, and nothing else");
    let env: Vec<(String, String)> = values("Environment")
        .iter()
        .map(|value| value.replace("%d", "/run/credentials").replace("%S", "/var/lib"))
        .filter_map(|value| value.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())))
        .chain([("PROXMOX_TOKEN_ID".to_owned(), "mcp@pve!mcp".to_owned())])
        .collect();
    let config = settings::resolve(&env).unwrap();
    assert!(config.web.keys.is_some() && config.safety.audit_file.is_some());
    for (key, value) in [
        ("DynamicUser", "yes"),
        ("NoNewPrivileges", "yes"),
        ("CapabilityBoundingSet", ""),
        ("ProtectSystem", "strict"),
        ("ProtectHome", "yes"),
        ("PrivateTmp", "yes"),
        ("PrivateDevices", "yes"),
        ("MemoryDenyWriteExecute", "yes"),
        ("RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX"),
        ("SystemCallArchitectures", "native"),
    ] {
        assert_eq!(values(key), [value], "{key}");
    }
    let grace = config.shutdown_grace.as_secs();
    let stop: u64 = values("TimeoutStopSec")[0].parse().unwrap();
    assert!(stop > grace, "stopped after {stop} s, with a grace of {grace} s");
}
